//! Room for a set on the vault, judged before its source is asked for anything: a full disk stops the state store too, and with it
//! what must be written down.

use crate::config::blocking::blocking;
use crate::config::durable;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::text::bytes;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use std::path::Path;

impl Inner {
    /// Refuses a capture that will not fit. Where source or disk do not tell, nothing is refused: a capture that meets a full disk
    /// ends there, and nothing of it is kept.
    pub async fn has_room_for_a_set(&self, instance_id: &str) -> Result<(), Fault> {
        let Some(used) = self.memory_in_use(instance_id).await else { return Ok(()) };
        let Some(free) = self.vault.free().await? else { return Ok(()) };
        let sets = self.vault.list(instance_id, self).await?;
        let need = estimate(used, sets.iter().flatten().find(|set| set.used_memory > 0));
        if need.saturating_add(durable::RESERVE) <= free {
            return Ok(());
        }
        let message = format!(
            "there is no room for a backup of {instance_id}: about {} are needed, {} are free on the disk of the vault",
            bytes(need),
            bytes(free)
        );
        let place = self.vault.store().place("");
        // Others go by the policy alone, and a locked one by nobody.
        let deletable =
            |set: &&BackupSet| matches!(set.mode, Mode::Manual | Mode::Safety) && set.locked_until.is_none();
        let delete = sets.iter().flatten().rfind(deletable).map_or_else(String::new, |set| {
            format!(", or delete a set that nobody needs: delete_backup with instance_id {instance_id} and backup_id {} plans that of the oldest", set.id)
        });
        Err(Fault::new(Kind::Unexpected, "vault.no_room", message)
            .hint(format!("Free space in {place}{delete}; then call again.")))
    }

    /// Refuses to keep what an instance holds in a plain file for a while, where that will not fit. `dir` is where. As above, what is not
    /// told refuses nothing.
    pub async fn has_room_for_a_file(&self, instance_id: &str, dir: &Path) -> Result<(), Fault> {
        let Some(need) = self.memory_in_use(instance_id).await else { return Ok(()) };
        let path = dir.to_owned();
        let Some(free) = blocking(move || Ok(durable::free(&path).ok())).await? else { return Ok(()) };
        if need.saturating_add(durable::RESERVE) <= free {
            return Ok(());
        }
        let message = format!(
            "there is no room in {} for what {instance_id} holds: about {} are needed, {} are free",
            dir.display(),
            bytes(need),
            bytes(free)
        );
        Err(Fault::new(Kind::Provider, "compare.no_room", message).hint("Free space there, or compare two sets."))
    }

    async fn memory_in_use(&self, instance_id: &str) -> Option<u64> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await.ok()?, COMMAND_TIMEOUT).await.ok()?;
        ServerFacts::read(&mut conn).await.ok().map(|facts| facts.used_memory)
    }
}

/// Bytes that a set will about take. An RDB is smaller than the memory that its data uses, and how much smaller its compressed form
/// is the latest set tells, of which half as much again is reckoned with. Without one it is the memory in use.
fn estimate(used_memory: u64, latest: Option<&BackupSet>) -> u64 {
    let Some(set) = latest else { return used_memory };
    let in_proportion = u128::from(used_memory) * u128::from(set.stored_bytes) / u128::from(set.used_memory.max(1));
    u64::try_from(in_proportion * 3 / 2).unwrap_or(u64::MAX).min(used_memory)
}
