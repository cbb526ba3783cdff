//! The gate: who signed a request, whether it is fresh, and whether it came before.
//!
//! Nothing of a request is looked at before its signature holds, and a nonce is remembered only then: a stranger can
//! neither fill the memory of nonces nor spend somebody else's.

use crate::emulator::answer::Refused;
use crate::model::secret::Secret;
use crate::tair::client::VERSION;
use crate::tair::incoming::{Incoming, Signed, WINDOW};
use crate::tair::verify::verify;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Nonces remembered at most: more than a client makes in half an hour at 50 calls a second.
const MOST: usize = 100_000;

/// The one account that may call.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its access key id.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: Secret,
    /// Its STS tokens, any of which will do, when its key is a temporary one; a client may renew its own.
    pub security_tokens: Vec<Secret>,
}

/// Judges requests.
#[derive(Debug)]
pub struct Gate {
    account: Account,
    /// Hash of a nonce, which may be as long as a request → until when a copy of its request could still be accepted.
    nonces: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl Gate {
    /// For an account.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self { account, nonces: Mutex::default() }
    }

    /// Lets a request in, once.
    ///
    /// # Errors
    /// As the cloud's gateway: signature, key, date, token, version, nonce.
    pub fn admit(&self, request: &Incoming<'_>, now: Timestamp) -> Result<Signed, Refused> {
        let account = &self.account;
        let secret_of = |id: &str| (id == account.access_key_id).then(|| account.access_key_secret.clone());
        let signed = verify(request, secret_of, now)?;
        match (account.security_tokens.as_slice(), &signed.security_token) {
            ([], None) => {}
            (_, None) => return Err(Refused::new("MissingSecurityToken")),
            (ours, Some(theirs)) if ours.contains(theirs) => {}
            (_, Some(_)) => return Err(Refused::new("InvalidSecurityToken.MismatchWithAccessKey")),
        }
        if signed.version != VERSION {
            return Err(Refused::new("InvalidVersion"));
        }
        self.spend(&signed.nonce, now)?;
        Ok(signed)
    }

    fn spend(&self, nonce: &str, now: Timestamp) -> Result<(), Refused> {
        let nonce: [u8; 32] = Sha256::digest(nonce).into();
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= MOST {
            nonces.retain(|_, until| *until > now);
        }
        if nonces.get(&nonce).is_some_and(|until| *until > now) {
            return Err(Refused::new("SignatureNonceUsed"));
        }
        if nonces.len() >= MOST {
            return Err(Refused::new("Throttling.User"));
        }
        // A date may be a window ahead of our clock, and is then good for a window more.
        let until = now.saturating_add(WINDOW * 2).unwrap_or(Timestamp::MAX);
        nonces.insert(nonce, until);
        Ok(())
    }
}
