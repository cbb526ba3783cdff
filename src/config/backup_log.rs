//! `[backup_log]`: how the log of an instance is kept, for all instances whose log is on.
//!
//! It must not say which instances those are: that is each instance's own, or the state store's.

use crate::config::wrong::out_of_range;
use serde::Deserialize;
use std::time::Duration;

/// Bytes of a megabyte, as settings count them.
const MEGABYTE: u64 = 1 << 20;

/// The settings of the log, as written and as they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupLogConfig {
    /// Bytes of stream, in megabytes, at which a segment is sealed.
    pub segment_megabytes: u32,
    /// Seconds after its first byte at which a segment is sealed, however small.
    pub seal_seconds: u32,
    /// Bytes on this machine's disk, in megabytes, that wait for the vault at most; past them a gap is declared.
    pub spool_megabytes: u32,
    /// Hours after which a new base is taken.
    pub base_hours: u32,
    /// Minutes that a replay since the last base may take before a new one is taken.
    pub base_replay_minutes: u32,
    /// Minutes between two bases, at least.
    pub base_apart_minutes: u32,
}

impl Default for BackupLogConfig {
    fn default() -> Self {
        Self {
            segment_megabytes: 16,
            seal_seconds: 10,
            spool_megabytes: 4096,
            base_hours: 24,
            base_replay_minutes: 10,
            base_apart_minutes: 60,
        }
    }
}

impl BackupLogConfig {
    /// Checks the values as written.
    ///
    /// # Errors
    /// Which value is out of its range, as a sentence.
    pub fn check(self) -> Result<Self, String> {
        let usual = Self::default();
        for (key, value, least, most, usual) in [
            ("segment_megabytes", self.segment_megabytes, 1, 1024, usual.segment_megabytes),
            ("seal_seconds", self.seal_seconds, 1, 3600, usual.seal_seconds),
            ("spool_megabytes", self.spool_megabytes, 16, 1 << 24, usual.spool_megabytes),
            ("base_hours", self.base_hours, 1, 24 * 30, usual.base_hours),
            ("base_replay_minutes", self.base_replay_minutes, 0, 24 * 60, usual.base_replay_minutes),
            ("base_apart_minutes", self.base_apart_minutes, 0, 24 * 60, usual.base_apart_minutes),
        ] {
            if !(least..=most).contains(&value) {
                return Err(out_of_range("backup_log.", key, value, (least, most), usual));
            }
        }
        // Else every segment would be sealed by a spool that has no room for it.
        if self.spool_megabytes < 2 * self.segment_megabytes {
            let (spool, segment) = (self.spool_megabytes, self.segment_megabytes);
            return Err(format!(
                "backup_log.spool_megabytes is {spool}, and must hold two segments of {segment} at least; write spool_megabytes = {} or more",
                2 * segment
            ));
        }
        Ok(self)
    }

    /// Bytes of stream at which a segment is sealed.
    #[must_use]
    pub const fn segment_bytes(&self) -> u64 {
        self.segment_megabytes as u64 * MEGABYTE
    }

    /// Age at which a segment is sealed.
    #[must_use]
    pub const fn seal_after(&self) -> Duration {
        Duration::from_secs(self.seal_seconds as u64)
    }

    /// Bytes that wait for the vault at most.
    #[must_use]
    pub const fn spool_bytes(&self) -> u64 {
        self.spool_megabytes as u64 * MEGABYTE
    }

    /// Age at which a base is followed by another one.
    #[must_use]
    pub const fn base_after(&self) -> Duration {
        Duration::from_secs(self.base_hours as u64 * 3600)
    }

    /// Length of a replay at which a base is followed by another one.
    #[must_use]
    pub const fn base_replay(&self) -> Duration {
        Duration::from_secs(self.base_replay_minutes as u64 * 60)
    }

    /// Time between two bases, at least.
    #[must_use]
    pub const fn base_apart(&self) -> Duration {
        Duration::from_secs(self.base_apart_minutes as u64 * 60)
    }
}

#[cfg(test)]
mod tests {
    //! A value out of its range is named, and the defaults are within theirs.
    use super::BackupLogConfig;

    #[test]
    fn values_have_ranges() {
        let default = BackupLogConfig::default();
        assert_eq!(default.check(), Ok(default));
        let none = BackupLogConfig { seal_seconds: 0, ..default };
        assert!(none.check().unwrap_err().contains("backup_log.seal_seconds"));
        let narrow = BackupLogConfig { spool_megabytes: 31, ..default };
        assert!(narrow.check().unwrap_err().contains("two segments"));
    }
}
