//! Whose a set is that was looked for at another instance: all ids look alike.

use crate::config::blocking::blocking;
use crate::vault::Vault;

/// Most instances that are looked through: in a bucket each is a request.
const LOOKED_THROUGH: usize = 100;

impl Vault {
    /// The instance that has a set of this id, where another has it than the one that was named.
    pub(super) async fn owner_of(&self, backup_id: &str, named: &str) -> Option<String> {
        let (vault, backup_id, named) = (self.clone(), backup_id.to_owned(), named.to_owned());
        let others = self.instances().await.ok()?.into_iter().filter(move |id| *id != named).take(LOOKED_THROUGH);
        let owner = blocking(move || {
            let mut others = others;
            Ok(others.find(|id| vault.read(id, &backup_id).is_ok_and(|set| set.is_some())))
        });
        owner.await.ok().flatten()
    }
}

/// The next step where an instance has no such set. `owner`: the instance that has it; `near`: the set of this one that may have been meant;
/// `latest`: its newest.
pub(super) fn hint(instance_id: &str, owner: Option<String>, near: Option<&str>, latest: Option<&String>) -> String {
    let list = format!("describe_backups with instance_id {instance_id} has the list.");
    match (owner, near, latest) {
        (Some(of), ..) => {
            format!(
                "It is a set of {of}: where that is an instance here, give it as instance_id, or, for a restore of {instance_id} from it, as source_instance_id."
            )
        }
        (None, Some(near), _) => format!("Did you mean {near}? {list}"),
        (None, None, Some(latest)) => format!("The latest is {latest}. {list}"),
        (None, None, None) => {
            format!("There is no set of it yet: create_backup with instance_id {instance_id} takes one.")
        }
    }
}
