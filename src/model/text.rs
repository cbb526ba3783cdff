//! Text that came from data (names, notes, keys, server messages): capped and stripped before it is shown.
//!
//! Such text is shown as data, in quotes or in a field of its own; it is never made part of an instruction.

/// Longest free text shown anywhere, in characters.
const MAX: usize = 200;

/// Strips control, bidirectional and invisible characters, folds white space, and caps at `max` characters.
#[must_use]
pub fn clean_to(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut space = false;
    for c in text.chars() {
        if c.is_whitespace() {
            space = !out.is_empty();
        } else if !is_hidden(c) {
            if out.chars().count() >= max {
                out.push('…');
                break;
            }
            if std::mem::take(&mut space) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}

/// [`clean_to`] with the usual cap of 200 characters.
#[must_use]
pub fn clean(text: &str) -> String {
    clean_to(text, MAX)
}

/// Cleaned text in quotes, for messages that repeat what a caller sent.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", clean_to(text, 80).replace('"', "'"))
}

/// The unknown field or variant that a serde error is about, and the known one nearest to it: serde lists both kinds in back
/// quotes, the unknown one first. `None` for another error.
#[must_use]
pub fn unknown_field(message: &str) -> Option<(String, Option<String>)> {
    let mut names = message.split('`').skip(1).step_by(2);
    let given = message.contains("unknown").then(|| names.next()).flatten()?;
    Some((given.to_owned(), nearest(given, names).map(str::to_owned)))
}

/// The beginning of a key, or other bytes, for a reader: what is no plain text as `\x..`, or `\u{..}` where it would not be seen; capped at
/// `max` characters. A character of which only the beginning is there is left out.
#[must_use]
pub fn escaped(bytes: &[u8], max: usize) -> String {
    let (mut out, mut left) = (String::new(), bytes);
    loop {
        let (valid, bad, rest) = match std::str::from_utf8(left) {
            Ok(text) => (text, [].as_slice(), [].as_slice()),
            Err(e) => {
                let (valid, bad) = left.split_at(e.valid_up_to());
                let (bad, rest) = bad.split_at(e.error_len().unwrap_or_default());
                (std::str::from_utf8(valid).unwrap_or_default(), bad, if bad.is_empty() { &[] } else { rest })
            }
        };
        for c in valid.chars() {
            if is_hidden(c) || c == '\\' || (c.is_whitespace() && c != ' ') {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        out.extend(bad.escape_ascii().map(char::from));
        if rest.is_empty() {
            break;
        }
        left = rest;
    }
    match out.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", out.get(..at).unwrap_or_default()),
        None => out,
    }
}

/// What stands before a command that a person types, where that is the next step.
pub const PERSON_RUNS: &str = "a person runs: ";

/// A word as a shell takes it, for commands that a person is told to type.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-=:@%+,".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Digits of a digest from which on it is cut for people, and how many are left.
const DIGEST_MIN: usize = 40;
const DIGEST_SHOWN: usize = 8;

/// A text whose long digests are cut to their first digits: `plan 3f9a1c20…`.
#[must_use]
pub fn short_digests(text: &str) -> String {
    let is_other = |c: char| !c.is_ascii_hexdigit();
    let short = |piece: &str| {
        let digits = piece.trim_end_matches(is_other);
        let shown = digits.get(..DIGEST_SHOWN).filter(|_| digits.len() >= DIGEST_MIN);
        shown.map(|shown| format!("{shown}…{}", piece.strip_prefix(digits).unwrap_or_default()))
    };
    text.split_inclusive(is_other).map(|piece| short(piece).unwrap_or_else(|| piece.to_owned())).collect()
}

/// Characters that change how the rest is shown, or are not shown at all.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A size for people, in powers of 1024: `1.2 GiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = n as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A number for people, its digits in groups of three: `1,204`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The candidate nearest to `given`, when it is near enough to be a slip.
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearer_than(0.5, given, candidates)
}

/// Longest text that is compared with others, in bytes: the comparison takes time and memory in the product of both lengths, and no
/// name of ours is half as long.
const COMPARED_MAX: usize = 128;

/// The candidate nearest to `given` that is at least `least` like it, between 0 and 1. Ids that all look alike need more than
/// names do.
#[must_use]
pub fn nearer_than<'a>(least: f64, given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > COMPARED_MAX {
        return None;
    }
    candidates
        .into_iter()
        .filter(|c| c.len() <= COMPARED_MAX)
        .map(|c| (strsim::normalized_damerau_levenshtein(&given.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= least)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::{escaped, grouped, nearest, shell_word, short_digests};

    /// A digest is cut, wherever it stands; an id and a word of hexadecimal digits are not.
    #[test]
    fn long_digests_are_cut() {
        let digest = "3f9a1c20".repeat(8);
        assert_eq!(short_digests(&format!("plan {digest}, sha256 {digest}")), "plan 3f9a1c20…, sha256 3f9a1c20…");
        for same in ["", "backup b-20261123T061500Z-3f9a1c: faced", "größe decade", "3f9a1c20"] {
            assert_eq!(short_digests(same), same);
        }
    }

    #[test]
    fn digits_are_grouped() {
        let all =
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (u64::MAX, "18,446,744,073,709,551,615")];
        for (n, shown) in all {
            assert_eq!(grouped(n), shown);
        }
    }

    /// Whatever bytes a key has, a reader sees which, and no more of them than asked for.
    #[test]
    fn keys_are_escaped() {
        assert_eq!(escaped(b"cart:", 64), "cart:");
        assert_eq!(escaped("größe \u{202e}a\n\\".as_bytes(), 64), r"größe \u{202e}a\n\\");
        assert_eq!(escaped(b"a\xff\x00b", 64), r"a\xff\u{0}b");
        let cut = "gr\u{f6}".as_bytes();
        assert_eq!(escaped(&cut[..3], 64), "gr");
        assert_eq!(escaped(&[b'x'; 9], 3), "xxx…");
    }

    /// A slip has its name; a long text is compared with nothing, nor a name with a long one.
    #[test]
    fn only_short_texts_are_compared() {
        assert_eq!(nearest("restore_instanse", ["create_backup", "restore_instance"]), Some("restore_instance"));
        let long = "x".repeat(8 << 20);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        assert_eq!(nearest("x", [long.as_str(), "x"]), Some("x"));
    }

    /// A path with blanks or quotes stays one word.
    #[test]
    fn words_of_a_shell() {
        assert_eq!(shell_word("/usr/bin/x-1.0"), "/usr/bin/x-1.0");
        assert_eq!(shell_word("/my files/x"), "'/my files/x'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
