//! What the cloud's error codes mean for a caller: which fault, who has to act, and what to do next.
//!
//! Decided by code and never by HTTP status, because the gateway gives one code different statuses. A code that nobody
//! published falls to a rule by its form, or to `cloud.refused`.

use crate::tair::meanings::{MEANINGS, Meaning, UNKNOWN};

/// The meaning of a code; letter case does not matter, because the cloud varies it.
#[must_use]
pub fn meaning(code: &str) -> &'static Meaning {
    published(code).unwrap_or_else(|| by_form(code))
}

/// Whether the cloud has published a code, rather than that a rule guesses what the code means.
#[must_use]
pub fn is_published(code: &str) -> bool {
    published(code).is_some()
}

fn published(code: &str) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|m| m.codes().any(|c| c.eq_ignore_ascii_case(code)))
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
