//! What a server that this program reaches itself can do. Asked before anything is tried.

use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Capabilities, Capability};
use crate::provider::local::Inner;
use crate::provider::local::download::no_url;

impl Inner {
    /// What can be done with an instance, of what is asked. Its log is listed only for what needs one, and its sets only for who lacks that;
    /// the instance is asked only for a policy.
    pub(super) async fn capabilities(&self, instance_id: &str, asked: &[Capability]) -> Capabilities {
        let by_log = [Capability::RestoreToMoment, Capability::DownloadMoment];
        let without_log = if asked.iter().any(|wanted| by_log.contains(wanted)) && !self.has_log(instance_id).await {
            Some((self.way_by_set(instance_id).await, self.way_to_a_log(instance_id).await))
        } else {
            None
        };
        let all = capabilities(instance_id, self.kind(instance_id) == "clone", without_log, self.state.is_shared());
        let sentinel =
            if asked.contains(&Capability::BackupPolicy) { self.as_sentinel(instance_id).await } else { None };
        match sentinel {
            // No backup of it would ever be taken.
            Some(fault) => all.without(Capability::BackupPolicy, fault),
            None => all,
        }
    }
}

/// What a server that this program reaches itself can do.
/// `clone`: whether it is a clone; `without_log`: of one that has no log, how a set of it is restored, and what keeps a log from now on;
/// `shared`: whether other machines share the state.
fn capabilities(instance_id: &str, clone: bool, without_log: Option<(String, String)>, shared: bool) -> Capabilities {
    let mut all = Capabilities::all();
    if let Some((by_set, to_a_log)) = without_log {
        let no_moment = format!("{instance_id} has no archive of changes, so it cannot be restored to a moment");
        let no_moment =
            Fault::new(Kind::Provider, "restore.no_flashback", no_moment).hint(format!("{by_set} {to_a_log}"));
        let no_export = format!("{instance_id} has no archive of changes, so no moment of it can be written out");
        let no_export = Fault::new(Kind::Provider, "download.no_log", no_export).hint(format!(
            "A set is written out by its backup_id (describe_backups with instance_id {instance_id}). {to_a_log}"
        ));
        all = all.without(Capability::RestoreToMoment, no_moment).without(Capability::DownloadMoment, no_export);
    }
    if clone {
        let no_policy = format!("{instance_id} is a clone, which ends by itself and has no policy");
        let no_policy = Fault::new(Kind::Usage, "policy.unsupported", no_policy).hint(format!(
            "create_backup with instance_id {instance_id} takes a backup of it, which stays when the clone has ended."
        ));
        all = all.without(Capability::BackupPolicy, no_policy);
    }
    if shared {
        // Another machine would take the jobs of such a clone over, look into its own home, and find none.
        let no_clone = "a clone is of one machine's home, and other machines share this state: no clone is made";
        let no_clone = Fault::new(Kind::Usage, "clone.shared_state", no_clone)
            .hint("Make it with a configuration without `state`, on a home of its own whose vault is the same.");
        all = all.without(Capability::Clone, no_clone);
    }
    all.without(Capability::DownloadUrl, no_url())
}
