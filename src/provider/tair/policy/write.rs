//! Writing a backup policy whole, and reading it back.
//!
//! The cloud knows no partial change, and what is left out takes its default: data flashback would go off by omission.

use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::provider::tair::Inner;
use crate::provider::tair::policy::values::{differences, read, same};
use crate::provider::tair::poller::Poller;
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::OneZero;
use crate::tair::wire::policy::{DescribeBackupPolicy, ModifyBackupPolicy};

/// Times the same policy is written while it cannot be seen whether an earlier copy arrived.
const WRITES: u32 = 3;
/// What is known once the reply is there.
const TAKEN: &str = "the cloud took the change";
/// What is known while a reply is missing.
const LOST: &str = "the reply to the change was lost";

impl Inner {
    /// Writes a whole policy and reads it back. `before` is the policy that it was made from.
    pub(super) async fn write_policy(
        &self,
        instance_id: &str,
        before: &BackupPolicy,
        then: BackupPolicy,
    ) -> Result<BackupPolicy, Fault> {
        if same(before, &then) {
            return Ok(before.clone());
        }
        let call = ModifyBackupPolicy {
            instance_id: instance_id.into(),
            preferred_backup_time: then.preferred_backup_time.clone(),
            preferred_backup_period: then.preferred_backup_period.join(","),
            backup_retention_period: Some(then.backup_retention_period.into()),
            enable_backup_log: OneZero(then.enable_backup_log),
        };
        let mut poller = Poller::new(&self.polling, self.polling.ready_timeout, &self.jobs.stop);
        let mut writes = 0;
        // A value that is not known cannot differ.
        let is = |(found, flashback_known): &(BackupPolicy, bool), wanted: &BackupPolicy| {
            let log = if *flashback_known { found.enable_backup_log } else { wanted.enable_backup_log };
            same(&BackupPolicy { enable_backup_log: log, ..found.clone() }, wanted)
        };
        loop {
            match self.client.call(&call).await {
                Ok(_) => break,
                Err(e) if e.is_uncertain() => {
                    writes += 1;
                    // That the policy cannot be read now changes nothing about what is not known.
                    let found = match self.read_policy(instance_id).await {
                        Ok(found) => found,
                        Err(unread) => return Err(uncertain(&cannot_be_read(&e.to_string(), &unread)).because(e)),
                    };
                    if is(&found, &then) {
                        break;
                    }
                    // The whole policy is written, so a copy that arrives late changes nothing more. Somebody else's
                    // change in between must not be written over.
                    let why = e.to_string();
                    if !is(&found, before) {
                        return Err(uncertain(&another(&why)).because(e));
                    }
                    if writes >= WRITES {
                        return Err(uncertain(&why).because(e));
                    }
                }
                // Refused before anything was done.
                Err(e) if e.is_cloud(CloudError::says_wait_until_ready) => {
                    if poller.elapsed() >= self.polling.ready_timeout {
                        return Err(after(writes, e));
                    }
                }
                Err(e) => return Err(after(writes, e)),
            }
            let lost = |fault: Fault| if writes > 0 { uncertain(&cannot_be_read(LOST, &fault)) } else { fault };
            poller.wait("the change of policy").await.map_err(|end| lost(end.into_fault()))?;
            // Somebody else may have changed the policy meanwhile, and theirs would be written over whole.
            let found = self.read_policy(instance_id).await.map_err(lost)?;
            if is(&found, &then) {
                break;
            }
            if !is(&found, before) {
                return Err(if writes > 0 { uncertain(&another(LOST)) } else { changed_meanwhile() });
            }
        }
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay.saturating_mul(2), &self.jobs.stop);
        loop {
            let taken = |fault: Fault| uncertain(&cannot_be_read(TAKEN, &fault));
            let answer = self.client.call(&DescribeBackupPolicy { instance_id: instance_id.into() }).await;
            if let Some(reply) = poller.look(answer) {
                let flashback_known = reply.enable_backup_log.is_some() || reply.backup_log_start_time.is_some();
                let found = (read(&reply), flashback_known);
                if is(&found, &then) {
                    return Ok(found.0);
                }
                if poller.elapsed() >= self.polling.visibility_delay {
                    let differences = differences(&then, &found.0);
                    // What was there before may be what a machine shows that lags.
                    if is(&found, before) {
                        return Err(uncertain(&format!(
                            "{TAKEN}, and still shows the policy before it: {differences}"
                        )));
                    }
                    let message = format!("the cloud took the policy, and keeps another: {differences}");
                    return Err(Fault::new(Kind::Provider, "policy.not_kept", message)
                        .hint("Look at describe_backup_policy; the instance may not offer what was asked for."));
                }
            }
            poller.wait("the change of policy").await.map_err(|end| taken(end.into_fault()))?;
        }
    }
}

fn cannot_be_read(what: &str, why: &Fault) -> String {
    format!("{what}, and the policy cannot be read back: {}", why.message)
}

fn another(what: &str) -> String {
    format!("{what}, and the policy is another by now, neither that before the change nor the one asked for")
}

/// The fault of a write that was refused: an earlier one whose reply was lost may have arrived all the same.
fn after(writes: u32, refused: TairError) -> Fault {
    if writes == 0 {
        return refused.into();
    }
    uncertain(&format!("{LOST}, and asked again the cloud said: {refused}")).because(refused)
}

/// A change of which nobody knows whether it took effect.
pub(super) fn uncertain(message: &str) -> Fault {
    Fault::new(Kind::Uncertain, "cloud.uncertain", message)
        .hint("Look at describe_backup_policy before you call again: it may have taken effect.")
}

/// The fault of a change that somebody else got in the way of.
pub(super) fn changed_meanwhile() -> Fault {
    let message = "somebody else has changed the policy meanwhile; theirs was not written over";
    Fault::new(Kind::Provider, "policy.changed_meanwhile", message)
        .hint("Look at describe_backup_policy, then call again.")
}
