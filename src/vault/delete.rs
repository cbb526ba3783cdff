//! How a set ends: the manifest goes first, so that there is never a manifest without data; and what crashes leave is removed.
//!
//! From the manifest's renaming on the set does not exist. A crash after it leaves a folder that says so, which never lists and
//! which the next sweep removes.

use crate::guard::grant::{Delete, Grant};
use crate::model::fault::{Fault, Kind};
use crate::model::time::written;
use crate::vault::layout::{DELETING, EARLIER_DELETING, EARLIER_STAGING, Folder, MANIFEST, folder, object, set};
use crate::vault::staging::Staging;
use crate::vault::{Vault, vault_fault, worker};
use jiff::Timestamp;
use std::io;

impl Vault {
    /// Deletes a set for ever, by a grant for that very set. Without one this cannot be called:
    ///
    /// ```no_run
    /// use tair_backup_mcp::guard::grant::{Delete, Grant};
    /// use tair_backup_mcp::vault::Vault;
    /// async fn with(vault: Vault, grant: Grant<Delete>) {
    ///     vault.delete(grant, "orders", "b-20260101T000000Z-abcdef").await.ok();
    /// }
    /// ```
    ///
    /// ```compile_fail
    /// use tair_backup_mcp::vault::Vault;
    /// async fn without(vault: Vault) {
    ///     vault.delete("orders", "b-20260101T000000Z-abcdef").await.ok();
    /// }
    /// ```
    ///
    /// # Errors
    /// `act.unsupported` where the grant is for another set; `backup.locked`, `backup.not_found`, `backup.damaged`;
    /// `vault.failed`, and then the set is whole.
    pub async fn delete(&self, grant: Grant<Delete>, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        if (grant.instance_id(), grant.backup_id()) != (instance_id, Some(backup_id)) {
            let message = format!(
                "the right to delete {} of {} is none to delete {backup_id} of {instance_id}; nothing is deleted",
                grant.backup_id().unwrap_or("no set"),
                grant.instance_id()
            );
            return Err(Fault::new(Kind::Unexpected, "act.unsupported", message));
        }
        let found = self.find(instance_id, backup_id, &()).await?;
        if let Some(until) = found.locked_until.filter(|until| *until > Timestamp::now()) {
            let message = format!("backup {backup_id} is locked until {}; it is kept", written(until));
            return Err(Fault::new(Kind::Refused, "backup.locked", message)
                .hint("Nobody can delete it before; call delete_backup again after that time."));
        }
        let vault = self.clone();
        worker::on_a_thread(move || {
            let name = |name| object(&found.instance_id, &found.id, name);
            let hidden = vault.store.rename(&name(MANIFEST), &name(DELETING));
            hidden.map_err(|e| vault_fault("delete", &vault.store.place(&name(MANIFEST)), e))?;
            // The set is gone from here on. What a crash or a failure leaves of its folder, the next sweep removes.
            let place = set(&found.instance_id, &found.id);
            if let Err(e) = remove(&vault, &place, &found.instance_id) {
                let folder = vault.store.place(&place);
                tracing::warn!("backup {} is deleted; the rest of {folder} is left to the next sweep: {e}", found.id);
            }
            Ok(())
        })
        .await
    }

    /// Removes what crashes have left of deleted sets, and what earlier versions left of sets that nobody makes any more.
    ///
    /// # Errors
    /// `vault.failed`; those of `staging`.
    pub async fn sweep(&self, instance_id: &str, staging: &dyn Staging) -> Result<(), Fault> {
        let left = self.folders(instance_id).await?;
        let mut gone: Vec<String> = Vec::new();
        let mut made = None;
        for (id, names) in left {
            let over = match id.strip_prefix(EARLIER_STAGING) {
                Some(backup_id) => {
                    if made.is_none() {
                        made = Some(staging.of(instance_id).await?);
                    }
                    !made.iter().flatten().any(|made| made == backup_id)
                }
                None => id.starts_with(EARLIER_DELETING) || folder(&names) == Folder::Deleting,
            };
            if over {
                gone.push(id);
            }
        }
        let (vault, instance_id) = (self.clone(), instance_id.to_owned());
        worker::on_a_thread(move || {
            let all = || -> io::Result<()> {
                gone.iter().try_for_each(|id| remove(&vault, &set(&instance_id, id), &instance_id))?;
                vault.store.prune(&instance_id)
            };
            all().map_err(|e| vault_fault("sweep", &vault.store.place(&instance_id), e))
        })
        .await
    }

    /// Removes what a dead process left of a set that it was making. A set that has its manifest stays.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn discard_staging(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        worker::on_a_thread(move || discard(&vault, &instance_id, &backup_id)).await
    }
}

/// [`Vault::discard_staging`], blocking.
pub(super) fn discard(vault: &Vault, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
    let place = set(instance_id, backup_id);
    let all = || -> io::Result<()> {
        let earlier = set(instance_id, &format!("{EARLIER_STAGING}{backup_id}"));
        remove(vault, &earlier, instance_id)?;
        // Of a set that is being deleted the manifest's remains go last, in a sweep.
        if matches!(folder(&vault.store.list(&place)?), Folder::Staging | Folder::Nothing) {
            remove(vault, &place, instance_id)?;
        }
        Ok(())
    };
    all().map_err(|e| vault_fault("remove", &vault.store.place(&place), e))
}

/// Removes all that lies in a folder; the word that it is being deleted last, so that a crash leaves nothing without it.
fn remove(vault: &Vault, place: &str, instance_id: &str) -> io::Result<()> {
    let (last, first): (Vec<_>, Vec<_>) = vault.store.list(place)?.into_iter().partition(|name| name == DELETING);
    first.iter().chain(&last).try_for_each(|name| vault.store.delete(&format!("{place}/{name}")))?;
    vault.store.prune(instance_id)
}
