//! Ids: how they are made and what they may look like. An id names a thing; it is never a capability.

use crate::model::fault::{Fault, Kind};
use crate::model::time::compact;
use jiff::Timestamp;

/// Longest instance id in bytes: short enough for a host name's label and for a file name with a suffix.
const MAX_INSTANCE_ID: usize = 64;

/// Checks an instance id: letters, digits, `.`, `_` and `-`, starting with a letter or digit.
///
/// # Errors
/// `instance.bad_id`, naming what is allowed.
pub fn check_instance_id(id: &str) -> Result<(), Fault> {
    if is_plain_name(id, MAX_INSTANCE_ID) {
        return Ok(());
    }
    Err(Fault::new(Kind::Usage, "instance.bad_id", format!("{} is not an instance id", super::text::quoted(id)))
        .hint("An instance id has 1 to 64 letters, digits, '.', '_' or '-', and starts with a letter or digit. Call describe_instances for the ids."))
}

/// Longest list of shard ids of a cluster's set, in bytes: 256 ids of 20 digits and a comma.
const MAX_SHARD_IDS: usize = 256 * 21;

/// Checks the form of a backup id before it is used: a plain name, as on the vault and of the cloud (`165000050`,
/// `cb-zmdqj2m3`), or the ids of a cluster's shards as the cloud joins them (`1022,2480`).
///
/// # Errors
/// `backup.bad_id`.
pub fn check_backup_id(id: &str) -> Result<(), Fault> {
    if is_plain_name(id, MAX_INSTANCE_ID) || is_shard_list(id) {
        return Ok(());
    }
    Err(Fault::new(Kind::Usage, "backup.bad_id", format!("{} is not a backup id", super::text::quoted(id)))
        .hint("Call describe_backups and use a backup_id from it, unchanged."))
}

fn is_shard_list(id: &str) -> bool {
    id.len() <= MAX_SHARD_IDS
        && id.split(',').all(|n| (1..=20).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_plain_name(id: &str, max: usize) -> bool {
    let mut bytes = id.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && id.len() <= max
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// `n` random bytes from the operating system.
///
/// # Errors
/// `system.no_randomness` when the operating system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        Fault::new(Kind::Unexpected, "system.no_randomness", "the operating system gave no random bytes").because(e)
    })?;
    Ok(bytes)
}

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        // Writing to a String cannot fail.
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// A new id with a prefix, sortable by time: `b-20261123T061500Z-3f9a1c`.
///
/// # Errors
/// As [`random`].
pub fn new_id(prefix: &str, now: Timestamp) -> Result<String, Fault> {
    Ok(format!("{prefix}-{}-{}", compact(now), hex(&random::<3>()?)))
}
