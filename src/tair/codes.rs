//! What the cloud's error codes mean for a caller: which fault, whose turn it is, and what to do next.
//!
//! Decided by code and never by HTTP status, because the gateway gives one code different statuses. A code that nobody
//! published falls to a rule by its form, or to `cloud.refused`.

use crate::model::fault::Kind;
use crate::tair::meanings::{MEANINGS, UNKNOWN};
use std::time::Duration;

/// What sending the same call again is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: it fails again.
    Never,
    /// The call was turned away before anything was done: slow down and send it again.
    SlowDown,
    /// The server failed: a read may be sent again; whether a write took effect is not known.
    Transient,
    /// A copy of the request arrived before: a read may be sent again; a write may have taken effect.
    NonceUsed,
    /// Our clock is off: send it again with the server's time.
    Clock,
    /// The STS token has expired: send it again with a new one.
    NewToken,
    /// The instance is busy: look at its state, and send it again when it is ready.
    WhenReady,
    /// Not before tomorrow.
    Tomorrow,
}

impl Retry {
    /// How long to wait before another call makes sense, when waiting alone may cure it.
    #[must_use]
    pub const fn after(self) -> Option<Duration> {
        match self {
            Self::Never | Self::NewToken => None,
            Self::SlowDown | Self::Transient | Self::NonceUsed | Self::Clock => Some(Duration::from_secs(5)),
            Self::WhenReady => Some(Duration::from_secs(30)),
            Self::Tomorrow => Some(Duration::from_secs(24 * 3600)),
        }
    }
}

/// What a group of codes means.
#[derive(Debug)]
pub struct Meaning {
    /// The fault's code.
    pub fault: &'static str,
    /// The fault's kind.
    pub kind: Kind,
    /// What sending it again is good for.
    pub retry: Retry,
    /// The next step.
    pub hint: &'static str,
    /// Calls of ours that make sense now.
    pub next: &'static [&'static str],
    /// The cloud's codes, apart by white space.
    pub(super) codes: &'static str,
}

/// The meaning of a code; letter case does not matter, because the cloud varies it.
#[must_use]
pub fn meaning(code: &str) -> &'static Meaning {
    let exact = MEANINGS.iter().find(|m| m.codes().any(|c| c.eq_ignore_ascii_case(code)));
    exact.unwrap_or_else(|| by_form(code))
}

/// Rules for codes that no table has: the cloud's codes are built of parts.
fn by_form(code: &str) -> &'static Meaning {
    let lower = code.to_ascii_lowercase();
    let like = if lower.starts_with("throttling") || lower.contains("flowcontrol") {
        "Throttling"
    } else if lower.starts_with("serviceunavailable") {
        "ServiceUnavailable"
    } else if lower.starts_with("internalerror") || lower.starts_with("internalservererror") {
        "InternalError"
    } else if lower.starts_with("forbidden") || lower.starts_with("nopermission") {
        "Forbidden.RAM"
    } else if lower.starts_with("invalidsecuritytoken") {
        "InvalidSecurityToken.Malformed"
    } else if lower.starts_with("invalidaccesskeyid") {
        "InvalidAccessKeyId.NotFound"
    } else if lower.starts_with("signature") {
        "SignatureDoesNotMatch"
    } else if lower.contains("backup") && lower.ends_with(".notfound") {
        "InvalidBackupSetID.NotFound"
    } else if lower.contains("instance") && lower.ends_with(".notfound") {
        "InvalidInstanceId.NotFound"
    } else if lower.starts_with("missing") {
        "MissingParameter"
    } else if lower.ends_with(".malformed") || lower.ends_with(".format") {
        "InvalidParameter"
    } else {
        return &UNKNOWN;
    };
    MEANINGS.iter().find(|m| m.codes().any(|c| c == like)).unwrap_or(&UNKNOWN)
}

/// All rows, for tests and tables: fault code, kind, retry, hint and the cloud's codes.
#[must_use]
pub fn all() -> &'static [Meaning] {
    &MEANINGS
}

impl Meaning {
    /// The cloud's codes of this row.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.codes.split_ascii_whitespace()
    }
}
