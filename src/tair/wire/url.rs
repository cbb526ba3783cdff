//! A signed download URL: whoever has it has the data, so it is a secret with a date on it.

use crate::model::secret::Secret;
use crate::tair::params::{first, parse};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A URL under which a backup set's file can be fetched by anybody, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadUrl(Secret);

impl DownloadUrl {
    /// Takes a URL as a secret.
    pub fn new(url: impl Into<String>) -> Self {
        Self(Secret::new(url))
    }

    /// The URL itself: for fetching, or for a person who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Until when it works, where it says so: `Expires`, or `x-oss-date` and `x-oss-expires` of newer signatures.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let params = parse(self.expose().split_once('?')?.1);
        if let Some(at) = first(&params, "Expires") {
            return Timestamp::from_second(at.parse().ok()?).ok();
        }
        let from = first(&params, "x-oss-date")?;
        let from = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", from).ok()?;
        let from = from.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
        Timestamp::from_second(from.checked_add(first(&params, "x-oss-expires")?.parse().ok()?)?).ok()
    }
}

impl Serialize for DownloadUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.expose())
    }
}

pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DownloadUrl>, D::Error> {
    let text = super::lenient::text(from)?;
    Ok(text.filter(|t| t.starts_with("https://") || t.starts_with("http://")).map(DownloadUrl::new))
}

impl<'de> Deserialize<'de> for DownloadUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        optional(from)?.ok_or_else(|| serde::de::Error::custom("reply: a URL is missing"))
    }
}
