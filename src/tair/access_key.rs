//! Credentials for a call of the cloud's API: an access key with its secret, and a token where they are temporary. Nothing here prints
//! a secret.

use crate::model::secret::Secret;
use jiff::{SignedDuration, Timestamp};

/// Renewed so long before they expire, or a third of their life, whichever is less.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// Credentials for a call.
#[derive(Clone)]
pub struct Credentials {
    /// The AccessKey id that requests name.
    pub access_key_id: String,
    /// The secret that belongs to the id.
    pub secret: Secret,
    /// STS token of temporary credentials.
    pub token: Option<Secret>,
    /// When temporary credentials expire.
    pub expires_at: Option<Timestamp>,
    /// When they were got.
    pub obtained_at: Timestamp,
    /// Where from, for people.
    pub source: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("source", &self.source)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials that do not expire.
    pub(super) fn fixed(id: String, secret: String, source: &str) -> Self {
        Self {
            access_key_id: id,
            secret: Secret::new(secret),
            token: None,
            expires_at: None,
            obtained_at: Timestamp::now(),
            source: source.to_owned(),
        }
    }

    pub(super) fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token.map(Secret::new);
        self
    }

    /// Says where they came by.
    pub(super) fn by(mut self, source: &str) -> Self {
        self.source = source.to_owned();
        self
    }

    /// Whether both are the same key with the same token.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id && self.secret == other.secret && self.token == other.token
    }

    /// Whether it is time for new ones.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| {
            let life = end.duration_since(self.obtained_at);
            now.duration_since(end) >= -MARGIN.min(life / 3)
        })
    }

    /// Whether they no longer work.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}
