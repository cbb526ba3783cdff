//! Backup policies of instances that this program reaches itself: there are none yet, and that is said.

use crate::model::fault::{Fault, Kind};

/// Nothing takes backups of the instance by itself.
pub(super) fn no_policy(instance_id: &str) -> Fault {
    let message = format!("{instance_id} has no backup policy: nothing takes backups of it by itself");
    Fault::new(Kind::Usage, "policy.unsupported", message).hint("Call create_backup when one is wanted.")
}
