//! Whose a set is that was looked for at another instance: all ids look alike.
//!
//! It must not be asked for a set that no caller has named: in a bucket each instance that is looked at is a request, and whatever goes on
//! without the set would wait for them.

use crate::config::blocking::blocking;
use crate::model::ids::check_instance_id;
use crate::vault::Vault;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Most instances that are looked through: in a bucket each is a request.
const LOOKED_THROUGH: usize = 100;
/// For how long at most: what comes of it is a hint.
const WITHIN: Duration = Duration::from_secs(3);

impl Vault {
    /// The next step where another instance has a set of this id than the one that a caller named; `None` where none was found in time.
    pub async fn hint_of_owner(&self, named: &str, backup_id: &str) -> Option<String> {
        let of = timeout(WITHIN, self.owner_of(backup_id, named)).await.ok().flatten()?;
        Some(format!(
            "It is a set of {of}: where that is an instance here, give it as instance_id, or, for a restore of {named} from it, as source_instance_id."
        ))
    }

    async fn owner_of(&self, backup_id: &str, named: &str) -> Option<String> {
        let (vault, backup_id, since) = (self.clone(), backup_id.to_owned(), Instant::now());
        let mut others = self.instances().await.ok()?;
        // A folder that somebody else made may be named anything.
        others.retain(|id| id != named && check_instance_id(id).is_ok());
        let owner = blocking(move || {
            let mut looked_at = others.into_iter().take(LOOKED_THROUGH).take_while(|_| since.elapsed() < WITHIN);
            Ok(looked_at.find(|id| vault.read(id, &backup_id).is_ok_and(|set| set.is_some())))
        });
        owner.await.ok().flatten()
    }
}

/// The next step where an instance has no such set. `near`: the one that may have been meant; `latest`: its newest.
pub(super) fn without(instance_id: &str, near: Option<&str>, latest: Option<&String>) -> String {
    let list = format!("describe_backups with instance_id {instance_id} has the list.");
    match (near, latest) {
        (Some(near), _) => format!("Did you mean {near}? {list}"),
        (None, Some(latest)) => format!("The latest is {latest}. {list}"),
        (None, None) => {
            format!("There is no set of it yet: create_backup with instance_id {instance_id} takes one.")
        }
    }
}
