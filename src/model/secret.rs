//! A secret: text that cannot be printed by accident.

use crate::model::text::is_hidden;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// A password or token. `Debug` shows nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret of a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What stands where a secret was.
const TAKEN_OUT: &str = "***";
/// Shorter ones are not looked for: they would be found in anything.
const SHORTEST: usize = 5;
/// So much of a secret in a row is taken out too: what quotes it may cut it off, or tell its end only.
const RUN: usize = 16;
/// How often what was escaped may be escaped again: an address within an address within JSON.
const LAYERS: usize = 3;

/// Takes secrets out of what somebody else sends; `None` where it has none. They are found as they are, in Base64 and in hexadecimal, and
/// in all of these with any of their characters as an address, JSON or HTML writes it, or with something between them that is not shown.
#[must_use]
pub fn take_out(text: &str, secrets: &[&str]) -> Option<String> {
    take_out_runs(text, secrets, RUN)
}

/// As [`take_out`], but what is only part of a secret stays: tokens of one service have long parts in common, and what somebody was asked
/// for may be another token.
#[must_use]
pub fn take_out_whole(text: &str, secrets: &[&str]) -> Option<String> {
    take_out_runs(text, secrets, usize::MAX)
}

fn take_out_runs(text: &str, secrets: &[&str], run: usize) -> Option<String> {
    let forms = Forms::of(secrets);
    let mut view = View { bytes: text.as_bytes().to_vec(), places: None };
    let mut hidden = forms.within(&view, run);
    for _ in 0..LAYERS {
        let (plain, escaped) = view.plain();
        view = plain;
        hidden.extend(forms.within(&view, run));
        if !escaped {
            break;
        }
    }
    if hidden.is_empty() {
        return None;
    }
    hidden.sort_by_key(|range| range.start);
    let (mut without, mut told) = (String::new(), 0);
    for Range { start, end } in hidden {
        let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        // What begins within the last one, or right behind it, is part of it.
        if start > told || without.is_empty() {
            without.push_str(text.get(told..start).unwrap_or_default());
            without.push_str(TAKEN_OUT);
        }
        told = told.max((end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(end));
    }
    without.push_str(text.get(told..).unwrap_or_default());
    Some(without)
}

/// A byte by which a secret is looked for: letter case and the two alphabets of Base64 make no difference.
const fn folded(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte.to_ascii_lowercase(),
    }
}

/// What is looked for: all forms of some secrets, and where each piece of them is in which.
struct Forms {
    all: Vec<Vec<u8>>,
    pieces: HashMap<[u8; SHORTEST], Vec<(usize, usize)>>,
}

impl Forms {
    fn of(secrets: &[&str]) -> Self {
        let mut all = Vec::new();
        for secret in secrets.iter().map(|secret| secret.as_bytes()).filter(|secret| secret.len() >= SHORTEST) {
            all.push(secret.to_vec());
            let hexadecimal = secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            // Base64 depends on how much stands before and behind: those of its characters that do not.
            let within = [(0, 0), (1, 2), (2, 3)].map(|(before, shared)| {
                let text = STANDARD_NO_PAD.encode([vec![0; before], secret.to_vec()].concat());
                let behind = usize::from((before + secret.len()) % 3 > 0);
                text.get(shared..text.len() - behind).unwrap_or_default().to_owned()
            });
            let forms = within.into_iter().chain([hexadecimal]).filter(|form| form.len() >= RUN);
            all.extend(forms.map(String::into_bytes));
        }
        let mut pieces = HashMap::<_, Vec<_>>::new();
        for (form, bytes) in all.iter().enumerate() {
            for (nth, piece) in bytes.chunks_exact(SHORTEST).enumerate() {
                let Ok(piece) = <[u8; SHORTEST]>::try_from(piece) else { continue };
                pieces.entry(piece.map(folded)).or_default().push((form, nth * SHORTEST));
            }
        }
        Self { all, pieces }
    }

    /// Where in the text that a view is of they are, or so many bytes of one in a row.
    fn within(&self, view: &View, run: usize) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut done = 0;
        for (at, piece) in view.bytes.windows(SHORTEST).enumerate() {
            let Ok(piece) = <[u8; SHORTEST]>::try_from(piece) else { continue };
            // Of several that begin here the longest counts.
            let mut behind_longest = done;
            for (form, offset) in self.pieces.get(&piece.map(folded)).into_iter().flatten() {
                let Some(form) = self.all.get(*form).filter(|_| at >= done) else { continue };
                let (before, behind) = (form.get(..*offset), form.get(*offset..));
                let (text_before, text_behind) = (view.bytes.get(..at), view.bytes.get(at..));
                let same = |(a, b): &(&u8, &u8)| folded(**a) == folded(**b);
                let before = before.unwrap_or_default().iter().rev();
                let left = before.zip(text_before.unwrap_or_default().iter().rev()).take_while(same).count();
                let behind = behind.unwrap_or_default().iter();
                let right = behind.zip(text_behind.unwrap_or_default()).take_while(same).count();
                let range = at - left..at + right;
                let whole = view.bytes.get(range.clone()) == Some(form.as_slice());
                if whole || left + right >= run {
                    behind_longest = behind_longest.max(range.end);
                    found.push(view.place(range.start).start..view.place(range.end - 1).end);
                }
            }
            done = behind_longest;
        }
        found
    }
}

/// A text as whoever reads it may: its bytes, and where in the text each of them was written.
struct View {
    bytes: Vec<u8>,
    /// `None`: each where it is.
    places: Option<Vec<(u32, u32)>>,
}

impl View {
    fn place(&self, at: usize) -> Range<usize> {
        match self.places.as_ref().and_then(|places| places.get(at)) {
            Some((start, end)) => *start as usize..*end as usize,
            None => at..at + 1,
        }
    }

    /// With what is escaped plain, and without what is not shown; and whether anything was escaped.
    fn plain(&self) -> (Self, bool) {
        let (mut bytes, mut places, mut any) = (Vec::new(), Vec::new(), false);
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let escaped = escape(rest);
            any |= escaped.is_some();
            let (shown, length) = escaped.unwrap_or_else(|| character(rest));
            let (start, end) = (self.place(at).start, self.place(at + length - 1).end);
            let mut utf8 = [0; 4];
            let written = match shown {
                Shown::Byte(byte) if !byte.is_ascii() || byte.is_ascii_graphic() => &[byte][..],
                Shown::Character(c) if !is_hidden(c) && !c.is_whitespace() => c.encode_utf8(&mut utf8).as_bytes(),
                _ => &[],
            };
            bytes.extend_from_slice(written);
            let place = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            places.extend(written.iter().map(|_| (place(start), place(end))));
            at += length;
        }
        (Self { bytes, places: Some(places) }, any)
    }
}

/// What stands for itself, or is written in another way.
enum Shown {
    Byte(u8),
    Character(char),
}

/// The character at the beginning of bytes, or the first byte where they begin with none; and its length.
fn character(text: &[u8]) -> (Shown, usize) {
    let first = text.first().copied().unwrap_or_default();
    if !first.is_ascii() {
        let read = |n: usize| Some((std::str::from_utf8(text.get(..n)?).ok()?.chars().next()?, n));
        if let Some((c, n)) = (2..=4).find_map(read) {
            return (Shown::Character(c), n);
        }
    }
    (Shown::Byte(first), 1)
}

/// What is escaped at the beginning of bytes, and the length of that.
fn escape(text: &[u8]) -> Option<(Shown, usize)> {
    let code = |digits: Option<&[u8]>, radix| {
        let digits = std::str::from_utf8(digits.filter(|d| d.iter().all(u8::is_ascii_alphanumeric))?).ok()?;
        u32::from_str_radix(digits, radix).ok()
    };
    let byte = |from, to| Some((Shown::Byte(u8::try_from(code(text.get(from..to), 16)?).ok()?), to));
    let unit = |from, to| Some((Shown::Character(char::from_u32(code(text.get(from..to), 16)?)?), to));
    match text {
        [b'%', b'u', ..] | [b'\\', b'u', ..] => unit(2, 6),
        [b'%', ..] => byte(1, 3),
        [b'\\', b'x', ..] => byte(2, 4),
        [b'\\', b'n' | b'r' | b't', ..] => Some((Shown::Byte(b' '), 2)),
        [b'\\', plain, ..] => Some((Shown::Byte(*plain), 2)),
        [b'&', more @ ..] => {
            let name = more.get(..more.iter().take(9).position(|b| *b == b';')?)?;
            let shown = match name {
                [b'#', b'x' | b'X', digits @ ..] => char::from_u32(code(Some(digits), 16)?)?,
                [b'#', digits @ ..] => char::from_u32(code(Some(digits), 10)?)?,
                b"amp" => '&',
                b"lt" => '<',
                b"gt" => '>',
                b"quot" => '"',
                b"apos" => '\'',
                b"sol" => '/',
                b"plus" => '+',
                b"equals" => '=',
                _ => return None,
            };
            Some((Shown::Character(shown), name.len() + 2))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    //! A secret is found in whatever form it is written, also cut off, and nothing else is.
    use super::*;

    const SECRET: &str = "CAIS/to+k%en=abcXYZ0123456789==";

    #[test]
    fn every_form_is_found() {
        let each = |form: fn(u8) -> String| SECRET.bytes().map(form).collect::<String>();
        let odd = |form: fn(u8) -> String| {
            let write = |(n, b): (usize, u8)| if n % 2 == 0 { char::from(b).to_string() } else { form(b) };
            SECRET.bytes().enumerate().map(write).collect::<String>()
        };
        let forms: [fn(u8) -> String; 8] = [
            |b| char::from(b).to_string(),
            |b| format!("%{b:02X}"),
            |b| format!("%{b:02x}"),
            |b| format!("%25{b:02X}"),
            |b| format!("\\u{b:04x}"),
            |b| format!("\\u{b:04X}"),
            |b| format!("&#{b};"),
            |b| format!("&#x{b:X};"),
        ];
        for form in forms {
            for written in [each(form), odd(form)] {
                assert_eq!(
                    take_out(&format!("ü {written} ü{written}"), &[SECRET]).as_deref(),
                    Some("ü *** ü***"),
                    "{written}"
                );
            }
        }
        let slashes = SECRET.replace('/', "\\/");
        assert_eq!(take_out(&slashes, &["other secret", SECRET]).as_deref(), Some("***"));
        for part in [&SECRET[..20], &SECRET[11..], &SECRET[5..25]] {
            assert_eq!(take_out(&format!("{part}... is"), &[SECRET]).as_deref(), Some("***... is"), "{part}");
        }
    }

    /// What stands before and behind decides how Base64 writes it; what is between its characters may be nothing that is seen.
    #[test]
    fn a_secret_is_found_in_another_alphabet() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        for around in ["", "k", "id", "key", "key:"] {
            let text = format!("{around}{SECRET}{around}");
            for written in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                let told = take_out(&format!("Basic {written} is wrong"), &[SECRET]).unwrap();
                // At most the characters that the neighbours have a part in are left.
                assert!(
                    told.starts_with("Basic ") && told.len() < "Basic *** is wrong".len() + 2 * around.len() + 8,
                    "{told}"
                );
            }
        }
        let hexadecimal: String = SECRET.bytes().map(|b| format!("{b:02X}")).collect();
        let spaced: String = SECRET.chars().flat_map(|c| [c, '\u{200b}']).collect();
        let json: String = SECRET.chars().map(|c| format!("{c}\\u200B")).collect();
        let folded = format!("{}\r\n {}", &SECRET[..15], &SECRET[15..]);
        let thrice: String = SECRET.bytes().map(|b| format!("%2525{b:02x}")).collect();
        let named = SECRET.replace('/', "&sol;").replace('+', "&plus;").replace('=', "&#x3d;");
        for (n, text) in
            [hexadecimal, spaced, json, folded, thrice, named, SECRET.to_lowercase()].into_iter().enumerate()
        {
            let told = take_out(&format!("a {text} z"), &[SECRET]).unwrap_or_else(|| panic!("{n}: {text}"));
            assert!(told.starts_with("a ***") && told.ends_with(" z") && told.len() < 20, "{told}");
        }
    }

    /// What is cut off in the middle of a character leaves the rest of the text as it is.
    #[test]
    fn the_rest_stays() {
        let secret = format!("{}é{}", &SECRET[..20], &SECRET[20..]);
        let told = take_out(&format!("ü {}è and ü", &SECRET[..20]), &[&secret]).unwrap();
        assert!(told.starts_with("ü ***") && told.ends_with(" and ü"), "{told}");
        let twice = format!("{SECRET} and {SECRET}{SECRET}, \"{SECRET}\"");
        assert_eq!(take_out(&twice, &[SECRET]).as_deref(), Some("*** and ***, \"***\""));
        // What was JSON stays JSON.
        let json = serde_json::json!({"Message": format!("\\{SECRET}\"{SECRET}/\n"), "n": 1}).to_string();
        let told: serde_json::Value = serde_json::from_str(&take_out(&json, &[SECRET]).unwrap()).unwrap();
        assert_eq!(told["n"], 1);
    }

    #[test]
    fn of_two_secrets_that_begin_alike_both_go() {
        assert_eq!(take_out("an abcdefgh or abcde", &["abcde", "abcdefgh"]).as_deref(), Some("an *** or ***"));
    }

    /// Session tokens of one service are alike in long parts.
    #[test]
    fn another_token_stays_where_only_whole_ones_go() {
        let (ours, theirs) = ("CAISxgJ1q6Ft5B2yfSjIr5AAAA", "CAIShhJ1q6Ft5B2yfSjIr5BBBB");
        let text = format!("{{\"SecurityToken\":\"{theirs}\",\"of\":\"{ours}\"}}");
        let told = take_out_whole(&text, &[ours]).unwrap();
        assert_eq!(told, text.replace(ours, "***"));
        assert_eq!(take_out_whole(theirs, &[ours]), None);
    }

    #[test]
    fn nothing_else_is() {
        for text in
            ["", "CAIS", "CAIS/to+k%en=ab", "%", "%2", "\\", "\\u00", "&#", "&#99999999999;", "%25", "ü%C3", "nothing"]
        {
            assert_eq!(take_out(text, &[SECRET, "", "abc"]), None, "{text}");
        }
        assert_eq!(take_out("an abcd", &["abcd"]), None, "too short to be looked for");
        assert_eq!(take_out("an ABCDE", &["abcde"]), None, "a short one has its letter case");
    }
}
