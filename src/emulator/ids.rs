//! Ids as the cloud has them: numbers for sets and jobs, `cb-…` for sets of a cluster.
//!
//! They are computed from our own ids and never stored, so a restart, a second process and a copied vault agree on them.
//! A set and the job that makes it have different numbers, as in the cloud, so that a client which mixes them up fails.

use sha2::{Digest as _, Sha256};

/// Bits of the hash below the time. With the time above they stay under 2^53, the last whole number of JavaScript.
const LOW: u32 = 22;
/// 2020-01-01T00:00:00Z.
const EPOCH: i64 = 1_577_836_800;

/// What a number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A backup set: `BackupId`.
    Set,
    /// The job that makes a set, numbered by the set's id: `BackupJobID`.
    Job,
    /// A task of the task centre.
    Task,
    /// An instance, in the path of a download.
    Instance,
}

fn hash(salt: &str, id: &str) -> u64 {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(id).finalize();
    digest.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The number of an id of ours. Later ids have higher numbers, as the cloud's do.
#[must_use]
pub fn number(of: Of, id: &str) -> i64 {
    let salt = match of {
        Of::Set => "set",
        Of::Job => "job",
        Of::Task => "task",
        Of::Instance => "instance",
    };
    let low = i64::try_from(hash(salt, id) >> (64 - LOW)).unwrap_or_default();
    let seconds = taken(id).map_or(0, |at| (at.as_second() - EPOCH).clamp(0, (1 << 31) - 1));
    // Zero would read as "none yet" to clients of the cloud.
    (seconds << LOW | low).max(1)
}

/// The moment that an id of ours carries: `b-20261123T061500Z-3f9a1c`.
#[must_use]
pub fn taken(id: &str) -> Option<jiff::Timestamp> {
    let stamp = id.split('-').find(|part| part.len() == 16 && part.ends_with('Z'))?;
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// The id of a set of a cloud-native cluster.
#[must_use]
pub fn cluster(backup_id: &str) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = hash("cluster", backup_id);
    let mut text = String::from("cb-");
    for _ in 0..12 {
        let digit = usize::try_from(rest % 36).unwrap_or_default();
        text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        rest /= 36;
    }
    text
}

/// A request's id: an upper-case UUID.
#[must_use]
pub fn request_id() -> String {
    let bytes = crate::model::ids::random::<16>().unwrap_or_default();
    let text = crate::model::ids::hex(&bytes).to_ascii_uppercase();
    let part = |from, to| text.get(from..to).unwrap_or_default();
    // The 4 says that it is random.
    format!("{}-{}-4{}-A{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Numbers are stable, ordered by time, apart for sets and jobs, and whole in JavaScript.
    use super::*;

    #[test]
    fn numbers_keep_their_promises() {
        let (early, late) = ("b-20261123T061500Z-3f9a1c", "b-20261123T061501Z-000000");
        assert_eq!(number(Of::Set, early), number(Of::Set, early));
        assert!(number(Of::Set, early) < number(Of::Set, late));
        assert_ne!(number(Of::Set, early), number(Of::Job, early));
        assert!((1..1 << 53).contains(&number(Of::Set, "b-20870101T000000Z-ffffff")));
        assert!((1..1 << 53).contains(&number(Of::Set, "copied by hand")));
        assert_eq!(taken(early).unwrap().to_string(), "2026-11-23T06:15:00Z");
        assert!(cluster(early).starts_with("cb-") && cluster(early).len() == 15);
        assert_eq!(request_id().len(), 36);
    }
}
