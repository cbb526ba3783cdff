//! What somebody is told: an event, of which instance, and in words. It must not hold a secret: what is here leaves the machine.

use crate::model::text::clean_to;
use crate::model::time::written;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest message, in characters.
const MESSAGE_MAX: usize = 600;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A backup by the calendar, or for the log, succeeded.
    BackupSucceeded,
    /// A set was verified and nothing was found.
    VerificationSucceeded,
    /// A backup failed.
    BackupFailed,
    /// It is not known what came of a backup.
    BackupUncertain,
    /// A restore failed.
    RestoreFailed,
    /// A restore ended, and it is not known what the instance holds.
    RestoreUncertain,
    /// A verification or a drill came to nothing.
    VerificationFailed,
    /// A verification or a drill found that a set is damaged.
    SetDamaged,
    /// A part of a log is missing.
    LogGap,
    /// A backup that was due has not been taken.
    BackupOverdue,
    /// It was made up for.
    BackupRecovered,
    /// No set has passed a drill for too long.
    DrillOverdue,
    /// One has again.
    DrillRecovered,
    /// The state store has not answered for minutes.
    StateUnreachable,
    /// It answers again.
    StateRecovered,
    /// There is more than is told one by one.
    More,
}

impl Event {
    /// Whether it is told to a monitor alone, which is to notice when nobody comes.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::BackupSucceeded | Self::VerificationSucceeded)
    }

    /// Whether something is wrong. Of what is told by its number alone its events say that.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        let is_over = matches!(self, Self::BackupRecovered | Self::DrillRecovered | Self::StateRecovered);
        !self.is_success() && !is_over && !matches!(self, Self::More)
    }

    /// The event's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackupSucceeded => "backup_succeeded",
            Self::VerificationSucceeded => "verification_succeeded",
            Self::BackupFailed => "backup_failed",
            Self::BackupUncertain => "backup_uncertain",
            Self::RestoreFailed => "restore_failed",
            Self::RestoreUncertain => "restore_uncertain",
            Self::VerificationFailed => "verification_failed",
            Self::SetDamaged => "set_damaged",
            Self::LogGap => "log_gap",
            Self::BackupOverdue => "backup_overdue",
            Self::BackupRecovered => "backup_recovered",
            Self::DrillOverdue => "drill_overdue",
            Self::DrillRecovered => "drill_recovered",
            Self::StateUnreachable => "state_unreachable",
            Self::StateRecovered => "state_recovered",
            Self::More => "more",
        }
    }
}

/// What somebody is told, as it is sent and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// What happened.
    pub event: Event,
    /// The instance; empty of what is of several.
    pub instance_id: String,
    /// The job whose end this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The code of the fault that ended the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words.
    pub message: String,
    /// When it happened, or was noticed.
    pub at: String,
    /// Since when something is missing, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The version of this program.
    pub version: String,
}

impl Notification {
    /// An event of an instance.
    #[must_use]
    pub fn new(event: Event, instance_id: &str, at: Timestamp, message: &str) -> Self {
        Self {
            event,
            instance_id: instance_id.to_owned(),
            job_id: None,
            code: None,
            message: clean_to(message, MESSAGE_MAX),
            at: written(at),
            since: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Says since when.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(written(since));
        self
    }

    /// The notification as it is sent.
    #[must_use]
    pub fn body(&self) -> String {
        // It has texts alone.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let of = if self.instance_id.is_empty() { String::new() } else { format!(" {}", self.instance_id) };
        format!("{}{of}: {}", self.event.as_str(), self.message)
    }
}

#[cfg(test)]
mod tests {
    //! An event is sent under the name that code has for it, and comes back as it was.
    use super::*;

    #[test]
    fn a_notification_comes_back() {
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        for event in [
            Event::BackupSucceeded,
            Event::RestoreUncertain,
            Event::LogGap,
            Event::DrillRecovered,
            Event::StateUnreachable,
            Event::StateRecovered,
            Event::More,
        ] {
            let told = Notification::new(event, "orders", at, "a\nb").since(at);
            let body = told.body();
            assert!(body.starts_with(&format!("{{\"event\":\"{}\"", event.as_str())), "{body}");
            assert!(!body.contains("job_id") && body.contains("\"message\":\"a b\""), "{body}");
            assert_eq!(serde_json::from_str::<Notification>(&body).unwrap(), told);
        }
    }
}
