//! Ids in the cloud's form: numbers for sets and jobs, `cb-…` for sets of a cluster.
//!
//! The ids are computed from our own and never stored, so a restart, a second process and a copied vault agree on them.
//! A set and the job that makes it have different numbers, as in the cloud, so that a client which mixes them up fails.

use sha2::{Digest as _, Sha256};

/// Bits of the hash below the time. With the time above, numbers stay under 2^53, which JavaScript can hold.
const LOW: u32 = 22;
/// 2020-01-01T00:00:00Z in seconds since 1970, from which the time in a number counts.
const EPOCH: i64 = 1_577_836_800;

/// The kind of object that a number identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
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

/// The cloud's number for one of our ids. Later ids have higher numbers, as in the cloud.
#[must_use]
pub fn number(kind: IdKind, id: &str) -> i64 {
    let salt = match kind {
        IdKind::Set => "set",
        IdKind::Job => "job",
        IdKind::Task => "task",
        IdKind::Instance => "instance",
    };
    let low = i64::try_from(hash(salt, id) >> (64 - LOW)).unwrap_or_default();
    let seconds = taken(id).map_or(0, |at| (at.as_second() - EPOCH).clamp(0, (1 << 31) - 1));
    // Zero would read as "none yet" to clients of the cloud.
    (seconds << LOW | low).max(1)
}

/// The moment in one of our ids: `b-20261123T061500Z-3f9a1c`.
#[must_use]
pub fn taken(id: &str) -> Option<jiff::Timestamp> {
    let stamp = id.split('-').find(|part| part.len() == 16 && part.ends_with('Z'))?;
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// The cloud's id for a set of a cloud-native cluster.
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
    // The 4 marks a random UUID.
    format!("{}-{}-4{}-A{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Numbers are stable, ordered by time, apart for sets and jobs, and whole in JavaScript.
    use super::*;

    #[test]
    fn numbers_are_stable_ordered_and_whole_in_javascript() {
        let (early, late) = ("b-20261123T061500Z-3f9a1c", "b-20261123T061501Z-000000");
        assert_eq!(number(IdKind::Set, early), number(IdKind::Set, early));
        assert!(number(IdKind::Set, early) < number(IdKind::Set, late));
        assert_ne!(number(IdKind::Set, early), number(IdKind::Job, early));
        assert!((1..1 << 53).contains(&number(IdKind::Set, "b-20870101T000000Z-ffffff")));
        assert!((1..1 << 53).contains(&number(IdKind::Set, "copied by hand")));
        assert_eq!(taken(early).unwrap().to_string(), "2026-11-23T06:15:00Z");
        assert!(cluster(early).starts_with("cb-") && cluster(early).len() == 15);
        assert_eq!(request_id().len(), 36);
    }
}
