//! A signed request as a server of the cloud's API receives it, and what it may be refused for.
//!
//! Shared by both signatures. It does not remember nonces: a server does, for as long as dates are accepted.

use crate::model::secret::Secret;
use crate::tair::params::{Params, parse};
use jiff::{SignedDuration, Timestamp};

/// How far a request's date may be from the server's clock.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A request as received.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// The query as it came, without the `?`.
    pub query: &'a str,
    /// All headers, names in any case.
    pub headers: &'a [(String, String)],
    /// The body's bytes.
    pub body: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// The first header of a name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Parameters of the query and, when it is a form, of the body.
    #[must_use]
    pub fn params(&self) -> Params {
        let mut params = parse(self.query);
        let form = self.header("content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
        if form && let Ok(body) = std::str::from_utf8(self.body) {
            params.extend(parse(body));
        }
        params
    }
}

/// A request whose signature holds.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The AccessKey id of who signed.
    pub access_key_id: String,
    /// Their STS token, to be judged by the server.
    pub security_token: Option<Secret>,
    /// To be refused the second time.
    pub nonce: String,
    /// The action that is called.
    pub action: String,
    /// The version of the API called.
    pub version: String,
    /// The action's parameters.
    pub params: Params,
}

/// Why a request is refused before its action is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something that a signature needs is missing or not of its form.
    #[error("The request signature does not conform to Aliyun standards: {0}.")]
    IncompleteSignature(String),
    /// Nobody has this access key id.
    #[error("Specified access key is not found.")]
    UnknownAccessKey,
    /// Signed with another secret, or changed on its way. Carries the server's string to sign, as the cloud sends it.
    #[error("Specified signature is not matched with our calculation. server string to sign is:{0}")]
    SignatureDoesNotMatch(String),
    /// Not a date of the form `yyyy-MM-ddTHH:mm:ssZ`.
    #[error("Specified time stamp or date value is not well formatted.")]
    DateFormat,
    /// Too far from the server's clock.
    #[error("Specified time stamp or date value is expired.")]
    DateExpired,
}

impl Refusal {
    /// The cloud's code for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IncompleteSignature(_) => "IncompleteSignature",
            Self::UnknownAccessKey => "InvalidAccessKeyId.NotFound",
            Self::SignatureDoesNotMatch(_) => "SignatureDoesNotMatch",
            Self::DateFormat => "InvalidTimeStamp.Format",
            Self::DateExpired => "InvalidTimeStamp.Expired",
        }
    }
}

pub(super) fn check_date(date: &str, now: Timestamp) -> Result<(), Refusal> {
    let at: Timestamp = date.trim().parse().map_err(|_| Refusal::DateFormat)?;
    if now.duration_since(at).abs() > WINDOW { Err(Refusal::DateExpired) } else { Ok(()) }
}
