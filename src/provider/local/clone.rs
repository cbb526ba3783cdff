//! New instances: none can be made from nothing here. One that is there becomes one by being overwritten with another's data, which is a
//! restore.

use crate::model::fault::{Fault, Kind};

/// No new instance can be ordered here.
pub(super) fn no_clone(instance_id: &str) -> Fault {
    let message = format!("{instance_id} is no instance of the cloud, where new ones could be made");
    Fault::new(Kind::Usage, "clone.unsupported", message)
        .hint("Start a server of your own, configure it as an instance, and restore its data by hand from download_backup's file.")
}
