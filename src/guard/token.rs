//! The confirmation token: a keyed MAC over the plan's digest, bound to the caller, expiring. The ledger makes it single-use.
//!
//! `rt1-` and URL-safe base64 of: nonce (12 bytes), expiry (seconds since 1970, 5 bytes), key id (3 bytes), MAC (24
//! bytes of HMAC-SHA256). A token cannot be computed without the key, so it proves that this server made exactly this plan
//! for this caller; it does not prove that a person agreed.

use crate::guard::plan::PLAN_AGAIN;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

const VERSION: &str = "rt1-";
const NONCE: usize = 12;
const EXPIRY: usize = 5;
const KEY_ID: usize = 3;
const MAC: usize = 24;

/// The key that signs tokens. Kept in the home directory, so that tokens outlive a restart.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// Identifies the key without revealing it.
    fn id(&self) -> [u8; KEY_ID] {
        let digest = Sha256::new().chain_update(b"key id").chain_update(self.0).finalize();
        let mut id = [0; KEY_ID];
        id.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        id
    }
}

/// A token as the caller echoed it: well formed, from this key. MAC and expiry are still to be verified against the plan
/// that the nonce belongs to.
#[derive(Debug)]
pub struct Echo {
    /// Name of the confirmation in the ledger, hexadecimal.
    pub nonce: String,
    head: [u8; NONCE + EXPIRY + KEY_ID],
    mac: [u8; MAC],
    expires_at: i64,
}

fn mac(key: &Key, head: &[u8], caller: &str, digest: &[u8; 32]) -> Result<Hmac<Sha256>, Fault> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0)
        .map_err(|e| Fault::new(Kind::Unexpected, "guard.key", "the guard's key cannot be used").because(e))?;
    mac.update(VERSION.as_bytes());
    mac.update(head);
    // Lengths first: no two pairs of caller and digest give the same bytes.
    mac.update(&(caller.len() as u64).to_le_bytes());
    mac.update(caller.as_bytes());
    mac.update(digest);
    Ok(mac)
}

/// Makes a token for a plan. Returns the token and the nonce that names it in the ledger.
///
/// # Errors
/// `guard.key` where the key cannot be used.
pub fn mint(
    key: &Key,
    nonce: [u8; NONCE],
    caller: &str,
    digest: &[u8; 32],
    expires_at: Timestamp,
) -> Result<(String, String), Fault> {
    let mut raw = Vec::with_capacity(NONCE + EXPIRY + KEY_ID + MAC);
    raw.extend_from_slice(&nonce);
    raw.extend(expires_at.as_second().to_be_bytes().into_iter().skip(8 - EXPIRY));
    raw.extend_from_slice(&key.id());
    let tag = mac(key, &raw, caller, digest)?.finalize().into_bytes();
    raw.extend(tag.iter().take(MAC));
    Ok((format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(raw)), hex(&nonce)))
}

/// Parses an echoed token, as far as possible without its plan.
///
/// # Errors
/// `confirm.malformed` (cut, altered, of another version or not ours), `confirm.wrong_key` (the key was changed since),
/// `confirm.expired` only from [`Echo::verify`], after the MAC: an expiry nobody signed says nothing.
pub fn read(key: &Key, token: &str) -> Result<Echo, Fault> {
    let malformed = |why: &str| {
        Fault::new(Kind::Refused, "confirm.malformed", format!("confirmation_token {why}"))
            .hint("Echo the confirmation_token exactly as the first call returned it. If it is lost, make a new plan.")
            .next(&[PLAN_AGAIN])
    };
    let body = match token.trim().split_once('-') {
        Some(("rt1", body)) => body,
        Some((v, _)) if v.starts_with("rt") && v.len() < 6 => return Err(malformed("is of another version")),
        _ => return Err(malformed("is not one of this server's")),
    };
    let raw = URL_SAFE_NO_PAD.decode(body).map_err(|_| malformed("is altered"))?;
    let (head, rest) =
        raw.split_first_chunk::<{ NONCE + EXPIRY + KEY_ID }>().ok_or_else(|| malformed("is cut short"))?;
    let tag: [u8; MAC] = rest.try_into().map_err(|_| malformed("is cut short or altered"))?;
    let (nonce, rest) = head.split_at(NONCE);
    let (expiry, key_id) = rest.split_at(EXPIRY);
    if key_id != key.id() {
        return Err(Fault::new(Kind::Refused, "confirm.wrong_key", "confirmation_token was signed with another key")
            .hint("The guard's key was changed, or the token is altered. Make a new plan.")
            .next(&[PLAN_AGAIN]));
    }
    let expires_at = expiry.iter().fold(0_i64, |n, b| n << 8 | i64::from(*b));
    Ok(Echo { nonce: hex(nonce), head: *head, mac: tag, expires_at })
}

impl Echo {
    /// Verifies the MAC against the plan and caller that the nonce stands for, then the expiry.
    ///
    /// # Errors
    /// `confirm.mismatch`, `confirm.expired`.
    pub fn verify(&self, key: &Key, caller: &str, digest: &[u8; 32], now: Timestamp) -> Result<(), Fault> {
        if mac(key, &self.head, caller, digest)?.verify_truncated_left(&self.mac).is_err() {
            return Err(mismatch("confirmation_token does not match its plan or this caller"));
        }
        if now.as_second() >= self.expires_at {
            return Err(expired());
        }
        Ok(())
    }
}

/// The fault of a token that came too late.
#[must_use]
pub fn expired() -> Fault {
    Fault::new(Kind::Refused, "confirm.expired", "confirmation_token has expired")
        .hint("Make a new plan.")
        .next(&[PLAN_AGAIN])
}

/// The token of a plan that is in the ledger, once more, for the caller whose plan it is: whoever has lost it gets the very same.
///
/// # Errors
/// `guard.key` where the key cannot be used; `confirm.mismatch` where the name is none of a token's.
pub fn again(key: &Key, nonce: &str, caller: &str, digest: &[u8; 32], expires_at: Timestamp) -> Result<String, Fault> {
    let nonce = bytes_of(nonce).ok_or_else(|| mismatch("the plan has no token"))?;
    mint(key, nonce, caller, digest, expires_at).map(|(token, _)| token)
}

/// The nonce that a confirmation is named by.
fn bytes_of(name: &str) -> Option<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    for (n, byte) in nonce.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    (name.len() == 2 * NONCE).then_some(nonce)
}

/// The fault of a token that belongs to another plan than the one called for.
pub fn mismatch(why: impl Into<String>) -> Fault {
    Fault::new(Kind::Refused, "confirm.mismatch", why)
        .hint("A token is good for the one plan it was made for. Make a plan of what you want now.")
        .next(&[PLAN_AGAIN])
}
