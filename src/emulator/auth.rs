//! Authentication: who signed a request, whether its date is fresh, and whether its nonce is new.
//!
//! Nothing of a request is used before its signature is verified, and only then is its nonce stored: a stranger can neither fill
//! the memory of nonces nor use up somebody else's.

use crate::emulator::answer::Refused;
use crate::model::secret::Secret;
use crate::tair::client::VERSION;
use crate::tair::incoming::{Incoming, Signed, WINDOW};
use crate::tair::verify::verify;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most nonces kept: more than a client makes in half an hour at 50 calls a second.
const MAX_NONCES: usize = 100_000;

/// The one access key that calls are signed with.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub access_key_secret: Secret,
    /// STS tokens of a temporary key, any of which is accepted; a client may renew its own.
    pub security_tokens: Vec<Secret>,
}

/// Admits requests that are signed with the access key.
#[derive(Debug)]
pub struct Authenticator {
    key: AccessKey,
    /// Hash of a nonce, which may be as long as a request → until when a copy of its request could still be accepted.
    nonces: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl Authenticator {
    /// An authenticator for an access key.
    #[must_use]
    pub fn new(key: AccessKey) -> Self {
        Self { key, nonces: Mutex::default() }
    }

    /// Admits a request, once.
    ///
    /// # Errors
    /// As the cloud's gateway: signature, key, date, token, version, nonce.
    pub fn admit(&self, request: &Incoming<'_>, now: Timestamp) -> Result<Signed, Refused> {
        let key = &self.key;
        let secret_of = |id: &str| (id == key.access_key_id).then(|| key.access_key_secret.clone());
        let signed = verify(request, secret_of, now)?;
        match (key.security_tokens.as_slice(), &signed.security_token) {
            ([], None) => {}
            (_, None) => return Err(Refused::new("MissingSecurityToken")),
            (ours, Some(theirs)) if ours.contains(theirs) => {}
            (_, Some(_)) => return Err(Refused::new("InvalidSecurityToken.MismatchWithAccessKey")),
        }
        if signed.version != VERSION {
            return Err(Refused::new("InvalidVersion"));
        }
        self.use_once(&signed.nonce, now)?;
        Ok(signed)
    }

    fn use_once(&self, nonce: &str, now: Timestamp) -> Result<(), Refused> {
        let nonce: [u8; 32] = Sha256::digest(nonce).into();
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= MAX_NONCES {
            nonces.retain(|_, until| *until > now);
        }
        if nonces.get(&nonce).is_some_and(|until| *until > now) {
            return Err(Refused::new("SignatureNonceUsed"));
        }
        if nonces.len() >= MAX_NONCES {
            return Err(Refused::new("Throttling.User"));
        }
        // A date may be a window ahead of our clock, and is then valid for a window more.
        let until = now.saturating_add(WINDOW * 2).unwrap_or(Timestamp::MAX);
        nonces.insert(nonce, until);
        Ok(())
    }
}
