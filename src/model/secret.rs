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

/// Takes secrets out of what somebody else sends, as they are and as an address, an address within one, or JSON has them; `None` where
/// it has none.
#[must_use]
pub fn take_out(text: &str, secrets: &[&str]) -> Option<String> {
    let mut without = None;
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        let forms = [
            (*secret).to_owned(),
            secret.replace('/', "\\/"),
            secret.replace('=', "\\u003d"),
            escaped(secret, |byte| format!("%{byte:02X}")),
            escaped(secret, |byte| format!("%{byte:02x}")),
            escaped(secret, |byte| format!("%25{byte:02X}")),
        ];
        for form in forms {
            let now = without.as_deref().unwrap_or(text);
            if now.contains(&form) {
                without = Some(now.replace(&form, TAKEN_OUT));
            }
        }
    }
    without
}

/// A text as an address has it, with what is not plain written in a form of its own.
fn escaped(text: &str, form: impl Fn(u8) -> String) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { form(byte) }).collect()
}
