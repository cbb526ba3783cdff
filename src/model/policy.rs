//! A backup policy: when backups are taken by themselves, how long they are kept, and whether every change is archived.

use jiff::Timestamp;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPolicy {
    /// The hour in which backups begin, UTC: `02:00Z-03:00Z`.
    pub preferred_backup_time: String,
    /// Weekdays in English, in full.
    pub preferred_backup_period: Vec<String>,
    /// Days that an automated backup is kept.
    pub backup_retention_period: u32,
    /// When the next one begins.
    pub preferred_next_backup_time: Option<Timestamp>,
    /// Data flashback: every change is archived, so that any second can be restored.
    pub enable_backup_log: bool,
    /// The earliest second that can be restored.
    pub backup_log_start_time: Option<Timestamp>,
}
