//! The fault of a set that there is not, and what may have been meant: another's set, or one whose id is nearly the same, for all ids look alike.
//!
//! What was meant must not be asked for of a set that no caller has named: in a bucket each instance and each set that is looked at is a request, and
//! whatever goes on without the set would wait for them.

use crate::config::blocking::blocking;
use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use crate::model::sets::last_backup;
use crate::model::text::{nearer_than, quoted};
use crate::vault::Vault;
use crate::vault::staging::Staging;
use jiff::Timestamp;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Most instances that are looked through: in a bucket each is a request.
const LOOKED_THROUGH: usize = 100;
/// For how long at most: what comes of it is a hint.
const WITHIN: Duration = Duration::from_secs(3);

/// The fault of a set that there is not.
pub(super) fn not_found(instance_id: &str, backup_id: &str) -> Fault {
    let message = format!("{instance_id} has no backup set {}", quoted(backup_id));
    Fault::new(Kind::NotFound, "backup.not_found", message).hint(the_list(instance_id))
}

/// Where the sets of an instance are listed, as a sentence.
fn the_list(instance_id: &str) -> String {
    format!("describe_backups with instance_id {instance_id} has the list.")
}

impl Vault {
    /// The next step where an instance has no set of an id that a caller named: whose it is, or which of the instance's may have been meant. `None`
    /// where the instance has the set, so that something else was not found, or where its sets cannot be listed.
    pub async fn hint_of_missing(&self, named: &str, backup_id: &str, staging: &dyn Staging) -> Option<String> {
        if let Some(of) = timeout(WITHIN, self.owner_of(backup_id, named)).await.ok().flatten() {
            return Some(format!(
                "It is a set of {of}: where that is an instance here, give it as instance_id, or, for a restore of {named} from it, as source_instance_id."
            ));
        }
        let listed = self.list(named, staging).await.ok()?;
        let is_it = |set: &Result<BackupSet, DamagedSet>| match set {
            Ok(set) => set.id == backup_id,
            Err(damaged) => damaged.id == backup_id,
        };
        if listed.iter().any(is_it) {
            return None;
        }
        let known: Vec<BackupSet> = listed.into_iter().flatten().collect();
        // All ids look alike: another set is no slip for one that is gone.
        let near = nearer_than(0.9, backup_id, known.iter().map(|set| set.id.as_str()));
        Some(without(named, near, &known))
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

/// The next step where an instance has no such set. `near`: the one that may have been meant; `whole`: its sets, newest first. A safety backup is never
/// offered as the latest: it most likely holds the mistake that somebody wants to undo.
fn without(instance_id: &str, near: Option<&str>, whole: &[BackupSet]) -> String {
    let list = the_list(instance_id);
    match (near, last_backup(whole, Timestamp::now())) {
        (Some(near), _) => format!("Did you mean {near}? {list}"),
        (None, Some(latest)) => format!("The latest is {}. {list}", latest.id),
        (None, None) if whole.is_empty() => {
            format!("There is no set of it yet: create_backup with instance_id {instance_id} takes one.")
        }
        (None, None) => format!("It has safety backups alone, taken before restores. {list}"),
    }
}
