//! Signed URLs of downloads: made for listed sets, and verified when a client fetches them.
//!
//! The signature is that of the cloud's object storage. Its key lives as long as the process; so do the URLs.

use crate::emulator::ids::{IdKind, number};
use crate::model::fault::Fault;
use crate::model::ids::random;
use crate::tair::params::{encode, first, parse};
use crate::tair::wire::DownloadUrl;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha1::Sha1;
use std::time::Duration;

/// The access key id in URLs.
const SIGNER: &str = "LTAIemulator";

/// Signs URLs, and verifies them.
pub struct Signer {
    key: [u8; 32],
    /// How long a URL works.
    lifetime: SignedDuration,
}

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The URL carries no signature.
    Unsigned,
    /// The URL names an unknown access key.
    Key,
    /// The URL expired at that second (since 1970).
    Expired(i64),
    /// The signature is of another path, time or key.
    Signature,
}

/// The path of an instance's sets.
#[must_use]
pub fn folder(instance_id: &str) -> String {
    format!("/custins{}/", number(IdKind::Instance, instance_id))
}

/// A set's file name, as the cloud writes it.
#[must_use]
pub fn file(set: i64, begun: Timestamp) -> String {
    format!("hins{set}_data_{}.rdb", begun.strftime("%Y%m%d%H%M%S"))
}

impl Signer {
    /// A signer with a new key, for this process.
    ///
    /// # Errors
    /// `system.no_randomness`.
    pub fn new(lifetime: Duration) -> Result<Self, Fault> {
        let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::from_hours(1));
        Ok(Self { key: random()?, lifetime })
    }

    /// The URL of a set.
    #[must_use]
    pub fn url(&self, host: &str, instance_id: &str, set: i64, begun: Timestamp, now: Timestamp) -> DownloadUrl {
        let path = format!("{}{}", folder(instance_id), file(set, begun));
        let expires = now.saturating_add(self.lifetime).unwrap_or(Timestamp::MAX).as_second();
        let signature = STANDARD.encode(self.mac(&path, expires).finalize().into_bytes());
        let signature = encode(&signature);
        DownloadUrl::new(format!("http://{host}{path}?OSSAccessKeyId={SIGNER}&Expires={expires}&Signature={signature}"))
    }

    /// The MAC of the object storage's older signature: over method, two empty headers, expiry and path.
    fn mac(&self, path: &str, expires: i64) -> Hmac<Sha1> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = <Hmac<Sha1>>::new_from_slice(&self.key).expect("a key of 32 bytes");
        mac.update(format!("GET\n\n\n{expires}\n{path}").as_bytes());
        mac
    }

    /// Verifies the URL of a request.
    ///
    /// # Errors
    /// Why the URL is refused.
    pub fn verify(&self, path: &str, query: &str, now: Timestamp) -> Result<(), Denied> {
        let params = parse(query);
        let expires: i64 = first(&params, "Expires").and_then(|e| e.parse().ok()).ok_or(Denied::Unsigned)?;
        let signature = first(&params, "Signature").ok_or(Denied::Unsigned)?;
        if first(&params, "OSSAccessKeyId") != Some(SIGNER) {
            return Err(Denied::Key);
        }
        // In the storage's order: the date first, then the signature.
        if now.as_second() > expires {
            return Err(Denied::Expired(expires));
        }
        let sent = STANDARD.decode(signature).map_err(|_| Denied::Signature)?;
        self.mac(path, expires).verify_slice(&sent).map_err(|_| Denied::Signature)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A URL opens its own path, until its time is over, and only where it was signed.
    use super::*;

    #[test]
    fn a_url_opens_its_own_path_only() {
        let (ours, other) =
            (Signer::new(Duration::from_secs(60)).unwrap(), Signer::new(Duration::from_secs(60)).unwrap());
        let now: Timestamp = "2026-11-23T06:15:00Z".parse().unwrap();
        let url = ours.url("h", "orders", 7, now, now);
        let (path, query) = url.expose().strip_prefix("http://h").unwrap().split_once('?').unwrap();
        assert_eq!(ours.verify(path, query, now), Ok(()));
        assert_eq!(other.verify(path, query, now), Err(Denied::Signature));
        assert_eq!(ours.verify("/custins1/other.rdb", query, now), Err(Denied::Signature));
        let later = now + SignedDuration::from_secs(61);
        assert!(matches!(ours.verify(path, query, later), Err(Denied::Expired(_))));
        assert_eq!(ours.verify(path, "", now), Err(Denied::Unsigned));
        assert_eq!(ours.verify(path, &query.replace(SIGNER, "LTAInobody"), now), Err(Denied::Key));
    }
}
