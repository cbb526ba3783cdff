//! A backup policy: when backups are taken by themselves, how long they are kept, and whether every change is archived.

use jiff::Timestamp;

/// The backup policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPolicy {
    /// The hour in which backups begin, UTC: `02:00Z-03:00Z`; empty where none are taken by a calendar.
    pub preferred_backup_time: String,
    /// Weekdays on which backups are taken, in English and in full: `Monday`; none where there is no calendar.
    pub preferred_backup_period: Vec<String>,
    /// Days that an automated backup is kept; 0 where there is none.
    pub backup_retention_period: u32,
    /// When the next automated backup begins.
    pub preferred_next_backup_time: Option<Timestamp>,
    /// Whether data flashback is on: every change is archived, so that any second can be restored.
    pub enable_backup_log: bool,
    /// The earliest second that can be restored.
    pub backup_log_start_time: Option<Timestamp>,
}

impl BackupPolicy {
    /// The policy by which nothing is done.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            preferred_backup_time: String::new(),
            preferred_backup_period: Vec::new(),
            backup_retention_period: 0,
            preferred_next_backup_time: None,
            enable_backup_log: false,
            backup_log_start_time: None,
        }
    }

    /// Whether backups are taken by a calendar.
    #[must_use]
    pub const fn has_calendar(&self) -> bool {
        !self.preferred_backup_time.is_empty()
    }

    /// [`Self::lowered_by`] of a policy that this program keeps itself, of an instance that has so many automated sets: what such a policy does
    /// not have is not there, and nothing is unknown.
    #[must_use]
    pub fn own_lowered_by(&self, then: &Self, automated: usize) -> Vec<String> {
        if self.has_calendar() || !then.has_calendar() {
            return self.lowered_by(then);
        }
        let mut lowered = Self { enable_backup_log: self.enable_backup_log, ..then.clone() }.lowered_by(then);
        if automated > 0 {
            lowered.push(format!(
                "nothing lets automated sets go today, and {automated} are there: from now on they are kept {} days",
                then.backup_retention_period
            ));
        }
        lowered
    }

    /// What would be less protected under another policy, or may be for all that is known of this one, each as part of a sentence. Empty
    /// where nothing would be.
    #[must_use]
    pub fn lowered_by(&self, then: &Self) -> Vec<String> {
        let mut lowered = Vec::new();
        // What cannot be read may be more than what comes.
        let unknown = |what: &str| format!("it is not known what is in force, so {what} may become less");
        if self.backup_retention_period == 0 && then.backup_retention_period > 0 {
            lowered.push(unknown("the days that sets are kept"));
        }
        if self.preferred_backup_period.is_empty() && !then.preferred_backup_period.is_empty() {
            lowered.push(unknown("the weekdays on which backups are taken"));
        }
        if then.backup_retention_period < self.backup_retention_period {
            lowered.push(format!(
                "sets are kept {} days instead of {}: older ones go",
                then.backup_retention_period, self.backup_retention_period
            ));
        }
        let gone: Vec<&str> = self
            .preferred_backup_period
            .iter()
            .filter(|day| !then.preferred_backup_period.contains(day))
            .map(String::as_str)
            .collect();
        if !gone.is_empty() {
            let (few, many) = (then.preferred_backup_period.len(), self.preferred_backup_period.len());
            lowered.push(format!("no backups on {} any more ({few} days a week instead of {many})", gone.join(", ")));
        }
        if self.enable_backup_log && !then.enable_backup_log {
            lowered.push("data flashback goes off: no moment can be restored any more, only backup sets".into());
        }
        lowered
    }
}

/// What retention, or pruning by hand, does to the sets of an instance, and to its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The sets: those that can be read, newest first, and the others.
    pub sets: Vec<Retained>,
    /// Number of segments of the log that go with them.
    pub log_segments: usize,
}

/// What retention, or pruning by hand, does to a backup set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The set's id.
    pub backup_id: String,
    /// Who asked for the set, as replies say it; empty where its manifest cannot be read.
    pub mode: &'static str,
    /// When the set was taken; `None` where its manifest cannot be read.
    pub taken_at: Option<Timestamp>,
    /// Bytes of the set's files as stored; 0 where its manifest cannot be read.
    pub stored_bytes: u64,
    /// Whether the set goes.
    pub goes: bool,
    /// Why it goes or stays, as part of a sentence.
    pub why: String,
}
