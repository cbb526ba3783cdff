//! Data flashback of an instance as the cloud tells of it: whether it is on, and the first second that can be restored.
//!
//! The log is the provider's; nothing of it is remembered here.

use crate::emulator::account::Account;
use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::answer::Refused;
use crate::model::log::LogStatus;
use crate::model::time::up_to_second;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// How long a call that switches data flashback on waits until there is something to go back to.
const BEGINS_WITHIN: Duration = Duration::from_secs(6);
/// Between two looks at a log that begins.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How far back the cloud goes, whatever it has.
const REACHES_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Data flashback that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flashback {
    /// The first whole second that can be restored; `None` while the log has not begun, or cannot be read.
    pub since: Option<Timestamp>,
}

impl Flashback {
    /// Whether a moment is one that the cloud would look for in its log.
    #[must_use]
    pub fn reaches(&self, at: Timestamp, now: Timestamp) -> bool {
        self.since.is_some_and(|since| at >= since) && now.duration_since(at) <= REACHES_BACK
    }
}

impl Account {
    /// Data flashback of an instance; `None` where it is off.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn flashback(&self, instance: &EmulatedInstance) -> Result<Option<Flashback>, Refused> {
        if !instance.kind.flashback || !self.app.provider.backup_policy(&instance.id).await?.enable_backup_log {
            return Ok(None);
        }
        let status = match self.app.provider.log_status(&instance.id).await {
            Ok(status) => status,
            // An instance is described all the same.
            Err(fault) => {
                tracing::warn!(instance_id = %instance.id, "its log cannot be read: {fault}");
                None
            }
        };
        Ok(Some(Flashback { since: status.and_then(|status| since(instance, &status)) }))
    }

    /// Waits until a log that was switched on has begun: the cloud does that behind its call, here a client can go on at once. One
    /// that takes longer begins later.
    ///
    /// # Errors
    /// What the provider refuses.
    pub async fn await_log(&self, instance: &EmulatedInstance) -> Result<(), Refused> {
        let until = Instant::now() + BEGINS_WITHIN;
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let status = self.app.provider.log_reaching(&instance.id, Timestamp::now(), left).await?;
            if status.is_none_or(|status| !status.on || since(instance, &status).is_some()) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// The first whole second of an instance's log that has been and can be restored. A spare instance that was handed out has no past
/// before that.
fn since(instance: &EmulatedInstance, status: &LogStatus) -> Option<Timestamp> {
    let born = instance.created.as_ref().and_then(|created| created.normal_at);
    status.windows.iter().find_map(|(from, to)| {
        let since = up_to_second(born.map_or(*from, |born| born.max(*from)));
        (since <= *to).then_some(since)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Only whole seconds that can be restored are told, and none from before an instance was one.
    use super::*;
    use crate::config::emulate::Emulate;
    use crate::emulator::account::records::Creation;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn the_first_second_is_whole_and_the_instances_own() {
        let status = |from: i64, to: i64| LogStatus {
            on: true,
            spooled_until: None,
            archived_until: None,
            windows: vec![(at(100), at(900)), (at(from), at(to))],
            gaps: Vec::new(),
            precision_ms: 0,
            archiver: None,
        };
        let mut instance = EmulatedInstance { id: "a".into(), kind: Emulate::default(), created: None };
        assert_eq!(since(&instance, &status(1_001, 3_000)), Some(at(2_000)));
        assert_eq!(since(&instance, &status(2_000, 2_000)), Some(at(2_000)));
        assert_eq!(since(&instance, &status(1_001, 1_999)), None);
        instance.created = Some(Creation {
            at: at(0),
            name: String::new(),
            charge: String::new(),
            normal_at: Some(at(2_500)),
            failed: false,
            backup_id: String::new(),
            clone_of: None,
        });
        assert_eq!(since(&instance, &status(1_001, 9_000)), Some(at(3_000)));
        let week = 7 * 24 * 3600 * 1000;
        let flashback = Flashback { since: Some(at(1_000)) };
        assert!(flashback.reaches(at(1_000), at(1_000 + week)) && !flashback.reaches(at(999), at(1_000)));
        assert!(!flashback.reaches(at(1_000), at(1_001 + week)));
    }
}
