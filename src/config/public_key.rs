//! A public key by which manifests are verified, in minisign's form: one line of base64, as it stands in a `.pub` file.

use crate::model::text::quoted;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// The algorithm that a key of minisign names.
pub const ALGORITHM: [u8; 2] = *b"Ed";
/// Most keys that may be trusted.
const MOST_TRUSTED: usize = 64;

/// A public key of ed25519 and the number that minisign has given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    /// The key's number, as it lies in files.
    pub number: [u8; 8],
    /// The key.
    pub key: [u8; 32],
}

impl PublicKey {
    /// Reads the line of base64 that a public key of minisign is.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{} is no public key of minisign; write the second line of its .pub file, trusted_keys = [\"RWQ…\"]",
                quoted(text)
            )
        };
        let bytes = STANDARD.decode(text.trim()).map_err(|_| bad())?;
        let (algorithm, rest) = bytes.split_first_chunk::<2>().ok_or_else(bad)?;
        let (number, key) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let key = <[u8; 32]>::try_from(key).map_err(|_| bad())?;
        if *algorithm == ALGORITHM { Ok(Self { number: *number, key }) } else { Err(bad()) }
    }

    /// The key as one line.
    #[must_use]
    pub fn line(&self) -> String {
        STANDARD.encode([&ALGORITHM[..], &self.number, &self.key].concat())
    }

    /// The key's number, as minisign shows it.
    #[must_use]
    pub fn id(&self) -> String {
        key_id(&self.number)
    }
}

/// Reads `trusted_keys`.
///
/// # Errors
/// What is wrong with one of them, or that there are too many, as a sentence.
pub fn trusted(lines: &[String]) -> Result<Vec<PublicKey>, String> {
    if lines.len() > MOST_TRUSTED {
        return Err(format!("trusted_keys has {} keys; {MOST_TRUSTED} is the most: take others out", lines.len()));
    }
    lines.iter().map(|line| PublicKey::parse(line).map_err(|why| format!("trusted_keys: {why}"))).collect()
}

/// The number of a key, as minisign shows it.
#[must_use]
pub fn key_id(number: &[u8; 8]) -> String {
    let mut id = String::new();
    for byte in number.iter().rev() {
        let _ = write!(id, "{byte:02X}");
    }
    id
}

#[cfg(test)]
mod tests {
    //! A key of minisign's own is read, and anything else is refused in words.
    use super::PublicKey;

    /// The key that minisign's releases are signed with.
    const MINISIGN: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_is_one_line() {
        let key = PublicKey::parse(&format!(" {MINISIGN}\n")).unwrap();
        assert_eq!((key.line().as_str(), key.id().as_str()), (MINISIGN, "E7620F1842B4E81F"));
        for bad in ["", "RWQ", "not base64!", &MINISIGN[..54], &MINISIGN.replacen("RW", "RU", 1)] {
            let why = PublicKey::parse(bad).unwrap_err();
            assert!(why.contains("no public key of minisign"), "{bad}: {why}");
        }
    }
}
