//! New instances: a server that this program reaches itself becomes one by being overwritten with a set of another instance. None
//! can be made from nothing here.

use crate::guard::facts::Facts;
use crate::guard::permit::Permit;
use crate::guard::plan::Plan;
use crate::model::fault::{Fault, Kind};
use crate::model::job::Job;
use crate::provider::local::Inner;
use std::sync::Arc;

impl Inner {
    /// What filling an instance with a set of another one is about: the facts of a restore.
    pub(super) async fn filling_facts(
        self: &Arc<Self>,
        instance_id: &str,
        source_instance_id: &str,
        backup_id: &str,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        self.restore_facts(instance_id, source_instance_id, backup_id, earlier).await
    }

    /// Starts the filling that is permitted.
    pub(super) async fn start_filling(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<Job, Fault> {
        self.start_restore(permit, backup_id).await
    }
}

/// No new instance can be ordered here.
pub(super) fn no_clone(instance_id: &str) -> Fault {
    let message = format!("{instance_id} is no instance of the cloud, where new ones could be made");
    Fault::new(Kind::Usage, "clone.unsupported", message)
        .hint("Start a server of your own, configure it as an instance, and restore its data by hand from download_backup's file.")
}
