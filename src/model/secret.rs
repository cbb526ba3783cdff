//! A secret: text that cannot be printed by accident.

use std::fmt;

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
/// So much of the beginning of a secret is taken out too: what quotes it may cut it off.
const BEGINNING: usize = 16;

/// Takes secrets out of what somebody else sends; `None` where it has none. They are found as they are and with any of their characters
/// as an address, an address within one, JSON or HTML writes it.
#[must_use]
pub fn take_out(text: &str, secrets: &[&str]) -> Option<String> {
    let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_bytes()).filter(|s| s.len() >= SHORTEST).collect();
    let (mut without, mut kept, mut at) = (String::new(), 0, 0);
    while at < text.len() {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let length = secrets.iter().filter_map(|secret| found(rest, secret)).max();
        if let Some(length) = length {
            without.push_str(text.get(kept..at).unwrap_or_default());
            without.push_str(TAKEN_OUT);
            kept = at + length;
        }
        at += length.unwrap_or(1);
    }
    (kept > 0).then(|| without + text.get(kept..).unwrap_or_default())
}

/// How many bytes of a text are the secret that it begins with, or enough of its beginning.
fn found(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (matched, byte) in secret.iter().enumerate() {
        let rest = text.get(length..).unwrap_or_default();
        match written(rest, *byte) {
            Some(more) => length += more,
            None if matched >= BEGINNING => break,
            None => return None,
        }
    }
    Some(length)
}

/// How many bytes of a text are this one byte, in one of the forms in which it is written.
fn written(text: &[u8], byte: u8) -> Option<usize> {
    let is = |digits: Option<&[u8]>, radix| {
        let code = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, radix).ok());
        code == Some(u32::from(byte))
    };
    match text {
        [b'%', b'2', b'5', ..] if is(text.get(3..5), 16) => return Some(5),
        [b'%', ..] if is(text.get(1..3), 16) => return Some(3),
        [b'\\', b'u', ..] if is(text.get(2..6), 16) => return Some(6),
        [b'\\', escaped, ..] if *escaped == byte => return Some(2),
        [b'&', b'#', more @ ..] => {
            let end = more.iter().take(6).position(|b| *b == b';').unwrap_or_default();
            if is(more.get(..end), 10) || is(more.get(1..end), 16) {
                return Some(end + 3);
            }
        }
        _ => {}
    }
    (text.first() == Some(&byte)).then_some(1)
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
        assert_eq!(take_out(&format!("{}... is", &SECRET[..20]), &[SECRET]).as_deref(), Some("***... is"));
    }

    #[test]
    fn nothing_else_is() {
        for text in
            ["", "CAIS", "CAIS/to+k%en=ab", "%", "%2", "\\", "\\u00", "&#", "&#99999999999;", "%25", "ü%C3", "nothing"]
        {
            assert_eq!(take_out(text, &[SECRET, "", "abc"]), None, "{text}");
        }
        assert_eq!(take_out("an abcd", &["abcd"]), None, "too short to be looked for");
    }
}
