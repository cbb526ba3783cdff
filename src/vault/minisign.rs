//! Minisign's files: signatures beside what is signed, public and secret keys. What is written here `minisign` verifies and uses, and what it
//! has signed is verified here. <https://jedisct1.github.io/minisign/#signature-format>
//!
//! It must not know sets, keys that are trusted, or files: it turns bytes into texts and back. Signatures are of the BLAKE2b digest of what is
//! signed (`ED`), which is what minisign makes unless it is asked for its older form.

use crate::config::public_key::{ALGORITHM, PublicKey, key_id};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b256, Blake2b512, Digest as _};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use std::fmt;

/// The algorithm of a signature that is of a digest.
const OF_A_DIGEST: [u8; 2] = *b"ED";
/// How a secret key that is not encrypted says so.
const NOT_ENCRYPTED: [u8; 2] = [0; 2];
/// The checksum of a secret key.
const CHECKSUM: [u8; 2] = *b"B2";
/// Bytes of a secret key's file before the key itself: what encrypts it, which nothing does.
const SALT_AND_LIMITS: usize = 32 + 8 + 8;
/// What a first line begins with.
const UNTRUSTED: &str = "untrusted comment: ";
/// What the line begins with that is signed too.
const TRUSTED: &str = "trusted comment: ";
/// Longest file of these in bytes; a longer one is none.
pub(super) const LONGEST: u64 = 4096;

/// A key that signs.
pub(super) struct SecretKey {
    number: [u8; 8],
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", key_id(&self.number))
    }
}

impl SecretKey {
    /// The key of a seed. `None`: a seed that is none.
    pub(super) fn new(number: [u8; 8], seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { number, seed, pair })
    }

    /// The key by which its signatures are verified.
    pub(super) fn public(&self) -> Option<PublicKey> {
        let key = self.pair.public_key().as_ref().try_into().ok()?;
        Some(PublicKey { number: self.number, key })
    }

    /// The file of the key, which `minisign -S -s` takes; not encrypted, for nobody is there to type a password.
    pub(super) fn file(&self) -> String {
        let key = [&self.number[..], &self.seed, self.pair.public_key().as_ref()].concat();
        let checksum = checksum_of(&key);
        let bytes = [&ALGORITHM[..], &NOT_ENCRYPTED, &CHECKSUM, &[0; SALT_AND_LIMITS], &key, &checksum].concat();
        format!("{UNTRUSTED}tair-backup-mcp secret key {}\n{}\n", key_id(&self.number), STANDARD.encode(bytes))
    }

    /// Reads the file back. `None`: it is none, or is encrypted.
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(file).ok()?.lines();
        lines.next()?.strip_prefix(UNTRUSTED)?;
        let bytes = STANDARD.decode(lines.next()?).ok()?;
        let rest = bytes.strip_prefix(&[ALGORITHM, NOT_ENCRYPTED, CHECKSUM].concat()[..])?;
        let (_, rest) = rest.split_at_checked(SALT_AND_LIMITS)?;
        let (key, checksum) = rest.split_at_checked(8 + 64)?;
        if checksum != checksum_of(key) {
            return None;
        }
        let (number, key) = key.split_first_chunk::<8>()?;
        let (seed, public) = key.split_first_chunk::<32>()?;
        Self::new(*number, *seed).filter(|secret| secret.pair.public_key().as_ref() == public)
    }

    /// The file of a signature of `content`; `comment`, one line, is signed too and shown by `minisign -V`.
    pub(super) fn sign(&self, content: &[u8], comment: &str) -> String {
        let signature = self.pair.sign(&Blake2b512::digest(content));
        let signature = signature.as_ref();
        let whole = self.pair.sign(&[signature, comment.as_bytes()].concat());
        let line = STANDARD.encode([&OF_A_DIGEST[..], &self.number, signature].concat());
        let whole = STANDARD.encode(whole.as_ref());
        format!("{UNTRUSTED}signature of tair-backup-mcp\n{line}\n{TRUSTED}{comment}\n{whole}\n")
    }
}

/// BLAKE2b of 32 bytes over the algorithm and a secret key.
fn checksum_of(key: &[u8]) -> [u8; 32] {
    Blake2b256::digest([&ALGORITHM[..], key].concat()).into()
}

/// The file of a public key, as `minisign -V -p` takes it.
pub(super) fn public_file(key: &PublicKey) -> String {
    format!("{UNTRUSTED}minisign public key {}\n{}\n", key.id(), key.line())
}

/// A signature that was read.
#[derive(Debug)]
pub(super) struct Signature {
    number: [u8; 8],
    signature: [u8; 64],
    comment: String,
    whole: [u8; 64],
}

impl Signature {
    /// Reads the file of a signature. `None`: it is none, or has minisign's older form.
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(file).ok()?.lines();
        lines.next()?.strip_prefix(UNTRUSTED)?;
        let line = STANDARD.decode(lines.next()?).ok()?;
        let comment = lines.next()?.strip_prefix(TRUSTED)?.to_owned();
        let whole = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let (number, signature) = line.strip_prefix(&OF_A_DIGEST)?.split_first_chunk::<8>()?;
        Some(Self { number: *number, signature: signature.try_into().ok()?, comment, whole })
    }

    /// The number of the key that it says it was made with.
    pub(super) const fn number(&self) -> [u8; 8] {
        self.number
    }

    /// Whether it is that key's, of this content and this comment.
    pub(super) fn holds(&self, content: &[u8], by: &PublicKey) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, by.key);
        let whole = [&self.signature[..], self.comment.as_bytes()].concat();
        by.number == self.number
            && key.verify(&Blake2b512::digest(content), &self.signature).is_ok()
            && key.verify(&whole, &self.whole).is_ok()
    }
}

#[cfg(test)]
mod tests {
    //! What is written is what minisign reads, by its author's own verifier; and no byte of it may be another.
    use super::{SecretKey, Signature, public_file};
    use minisign_verify::{PublicKey as Theirs, Signature as TheirSignature};

    fn key(seed: u8) -> SecretKey {
        SecretKey::new([1, 2, 3, 4, 5, 6, 7, 8], [seed; 32]).unwrap()
    }

    #[test]
    fn minisign_verifies_what_is_signed_here() {
        let (secret, content) = (key(7), b"{\"a\": 1}");
        let public = secret.public().unwrap();
        let file = secret.sign(content, "orders/b-1\thashed");
        let theirs = Theirs::decode(&public_file(&public)).unwrap();
        let read = TheirSignature::decode(&file).unwrap();
        theirs.verify(content, &read, false).unwrap();
        assert_eq!(read.trusted_comment(), "orders/b-1\thashed");
        assert!(theirs.verify(b"{\"a\": 2}", &read, false).is_err());
        assert_eq!(public.id(), "0807060504030201");
    }

    #[test]
    fn nothing_signed_may_change() {
        let (secret, content) = (key(7), b"content");
        let public = secret.public().unwrap();
        let file = secret.sign(content, "comment");
        let holds = |file: &[u8], content: &[u8]| Signature::parse(file).is_some_and(|s| s.holds(content, &public));
        assert!(holds(file.as_bytes(), content));
        assert!(!holds(file.as_bytes(), b"contenT"));
        assert!(!holds(key(8).sign(content, "comment").as_bytes(), content), "another key of the same number");
        let first = file.find('\n').unwrap();
        // The first line alone is signed by nobody.
        for at in first..file.len() - 1 {
            let mut bytes = file.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(!holds(&bytes, content), "byte {at}");
        }
        for cut in 0..file.len() - 1 {
            assert!(!holds(&file.as_bytes()[..cut], content), "cut at {cut}");
        }
    }

    #[test]
    fn a_key_is_kept_in_a_file() {
        let file = key(7).file();
        let read = SecretKey::parse(file.as_bytes()).unwrap();
        assert_eq!(read.file(), file);
        assert_eq!(read.public(), key(7).public());
        assert!(!format!("{read:?}").contains("[7"), "{read:?}");
        let key_line = file.find('\n').unwrap() + 1;
        for at in key_line..file.len() - 1 {
            let mut bytes = file.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let other = SecretKey::parse(&bytes).is_none_or(|other| other.file() == file);
            // What would encrypt it is zero and not looked at.
            let unused = (at - key_line) / 4 * 3 < 6 + 48 && (at - key_line) / 4 * 3 > 3;
            assert!(other || unused, "character {at}");
        }
        assert!(SecretKey::parse(b"").is_none());
    }
}
