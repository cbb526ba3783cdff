//! Deletion of sets: the manifest is renamed first, so that there is never a manifest without data. Sweeping removes the remains
//! of crashes.
//!
//! From the manifest's renaming on, the set does not exist. A crash after the renaming leaves a folder marked as deleting, which is
//! never listed and which the next sweep removes.

use crate::config::blocking::blocking;
use crate::guard::grant::{Delete, Grant};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::time::written;
use crate::vault::lacking::is_refused;
use crate::vault::layout::{DATA, DELETING, EARLIER_DELETING, EARLIER_STAGING, Folder, MANIFEST, folder, object, set};
use crate::vault::staging::Staging;
use crate::vault::{Vault, vault_fault};
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
    /// ```compile_fail,E0061
    /// use tair_backup_mcp::vault::Vault;
    /// async fn without(vault: Vault) {
    ///     vault.delete("orders", "b-20260101T000000Z-abcdef").await.ok();
    /// }
    /// ```
    ///
    /// # Errors
    /// `act.unsupported` where the grant is for another set; `backup.locked`, `backup.retained`, `backup.not_found`, `backup.damaged`;
    /// `vault.failed`, and then the set is whole. What another process hides meanwhile is deleted, too.
    pub async fn delete(&self, grant: Grant<Delete>, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        if (grant.instance_id(), grant.backup_id()) != (instance_id, Some(backup_id)) {
            let message = format!(
                "the right to delete {} of {} is none to delete {backup_id} of {instance_id}; nothing is deleted",
                grant.backup_id().unwrap_or("no set"),
                grant.instance_id()
            );
            return Err(Fault::new(Kind::Unexpected, "act.unsupported", message));
        }
        let found = async {
            let found = self.find(instance_id, backup_id, &()).await?;
            self.may_be_deleted(&found).await?;
            Ok::<_, Fault>(found)
        };
        let found = match found.await {
            // It may have been looked at while another process deleted it.
            Err(fault) if fault.kind != Kind::NotFound && self.is_hidden(instance_id, backup_id).await? => {
                let message = format!("backup {backup_id} of {instance_id} is deleted already");
                return Err(Fault::new(Kind::NotFound, "backup.not_found", message)
                    .hint("Call describe_backups for the list.")
                    .because(fault));
            }
            found => found?,
        };
        let vault = self.clone();
        blocking(move || {
            let name = |name| object(&found.instance_id, &found.id, name);
            let place = set(&found.instance_id, &found.id);
            let mut lasts = Ok(());
            if let Err(e) = vault.store.rename(&name(MANIFEST), &name(DELETING)) {
                // The reply may be lost, or another process may have come first: what lies there says it.
                if !vault.is_gone(&found.instance_id, &found.id) {
                    // Where that is refused, the set is there as it was: the other name says nothing beside the first.
                    return Err(if is_refused(&e) {
                        retained(&found.id, &e).because(e)
                    } else {
                        vault_fault("delete", &vault.store.place(&name(MANIFEST)), e)
                    });
                }
                // Data must not go before its manifest surely has.
                lasts = vault.store.deleted(&place);
            }
            // The set is gone from here on. What a crash or a failure leaves of its folder, the next sweep removes.
            if let Err(e) = lasts.and_then(|()| remove(&vault, &place)) {
                let folder = vault.store.place(&place);
                tracing::warn!("backup {} is deleted; the rest of {folder} is left to the next sweep: {e}", found.id);
            }
            Ok(())
        })
        .await
    }

    /// Whether there is no set any more, or one that is being deleted.
    async fn is_hidden(&self, instance_id: &str, backup_id: &str) -> Result<bool, Fault> {
        let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        blocking(move || Ok(vault.is_gone(&instance_id, &backup_id))).await
    }

    /// Until when nobody can delete a set: what its manifest says, or its store, whichever is later. `None`: neither keeps it now.
    ///
    /// # Errors
    /// `vault.failed` where the store does not say.
    pub async fn locked(&self, set: &BackupSet) -> Result<Option<Timestamp>, Fault> {
        let (vault, name) = (self.clone(), object(&set.instance_id, &set.id, MANIFEST));
        let by_the_store = blocking(move || {
            let lock = vault.store.lock(&name);
            lock.map_err(|e| vault_fault("ask about the lock of", &vault.store.place(&name), e))
        });
        let by_the_store = by_the_store.await?.map(|lock| lock.until);
        Ok(set.locked_until.max(by_the_store).filter(|until| *until > Timestamp::now()))
    }

    /// Whether a set may be deleted as far as locks go.
    ///
    /// # Errors
    /// `backup.locked`; `vault.failed`.
    pub async fn may_be_deleted(&self, set: &BackupSet) -> Result<(), Fault> {
        let Some(until) = self.locked(set).await? else { return Ok(()) };
        let message = format!("backup {} is locked until {}; it is retained, whole", set.id, written(until));
        Err(Fault::new(Kind::Refused, "backup.locked", message)
            .hint("Nobody can delete it before; call delete_backup again after that time."))
    }

    /// Removes what crashes have left of deleted sets, what is left of sets that nobody makes any more because their job has
    /// failed, and what earlier versions left. Data without a manifest of which no job says that it has failed stays: it may be all
    /// there is of a set. In a bucket a manifest may come to be there when its job is over and its data was discarded; it goes where no set was ever
    /// whole under its name, and else stays, for then somebody has taken its data away, or may have hidden it.
    ///
    /// # Errors
    /// `vault.failed`; those of `staging`.
    pub async fn sweep(&self, instance_id: &str, staging: &dyn Staging) -> Result<(), Fault> {
        let (vault, of) = (self.clone(), instance_id.to_owned());
        let left =
            blocking(move || leftovers(&vault, &of).map_err(|e| vault_fault("sweep", &vault.store.place(&of), e)))
                .await?;
        let (vault, of) = (self.clone(), instance_id.to_owned());
        // What was seen before is asked for only now: a set that is begun meanwhile is not among it.
        let made = if left.earlier.is_empty() { Vec::new() } else { staging.of(instance_id).await? };
        let given_up = if left.staging.is_empty() { Vec::new() } else { staging.given_up(instance_id).await? };
        let never_whole = if left.late.is_empty() { Vec::new() } else { staging.never_whole(instance_id).await? };
        blocking(move || {
            let earlier =
                left.earlier.iter().filter(|id| !made.contains(id)).map(|id| format!("{EARLIER_STAGING}{id}"));
            let all = || left.gone.into_iter().chain(earlier).try_for_each(|id| remove(&vault, &set(&of, &id)));
            all().map_err(|e| vault_fault("sweep", &vault.store.place(&of), e))?;
            left.empty.iter().for_each(|id| vault.store.prune(&set(&of, id)));
            left.staging.iter().filter(|id| given_up.contains(id)).try_for_each(|id| discard(&vault, &of, id))?;
            left.late.iter().filter(|id| never_whole.contains(id)).try_for_each(|id| discard_late(&vault, &of, id))
        })
        .await
    }

    /// Removes the data of a set whose making process died. A set that has its manifest stays.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn discard_staging(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        blocking(move || discard(&vault, &instance_id, &backup_id)).await
    }
}

/// The fault of a set that its store keeps; until when, the store does not say.
fn retained(backup_id: &str, e: &io::Error) -> Fault {
    let message = format!("backup {backup_id} is retained, whole: its bucket refused to delete it ({e})");
    Fault::new(Kind::Refused, "backup.retained", message).hint(
        "A lock of the bucket keeps it, or these credentials have no right to delete: docs/vault.md has the rights. Nothing was deleted.",
    )
}

/// What a sweep has to look at under an instance.
#[derive(Default)]
struct Leftovers {
    /// Folders of what is no set any more.
    gone: Vec<String>,
    /// Folders that were empty: somebody may have begun a set there since.
    empty: Vec<String>,
    /// Sets that lie as earlier versions staged them.
    earlier: Vec<String>,
    /// Sets of which there is data and no manifest.
    staging: Vec<String>,
    /// Sets of which there is a manifest and no data: damage, or its manifest was put by a request that outlived its process.
    late: Vec<String>,
}

/// The folders that may be leftovers. Of a far store, where each question is a journey, a listing of all says which have a manifest and its data.
fn in_question(vault: &Vault, instance_id: &str) -> io::Result<Vec<String>> {
    if !vault.is_far() {
        return vault.store.folders(instance_id);
    }
    let mut folders = vault.by_folder(instance_id)?;
    folders.retain(|id, names| {
        let has_data = names.iter().any(|name| name == DATA || name.is_empty());
        id.starts_with('.') || folder(names) != Folder::Set || !has_data
    });
    Ok(folders.into_keys().collect())
}

/// Looks for leftovers. Of a folder that has a manifest this looks at nothing else on a disk: almost all have one, and none was put there without its
/// data, whose folder is gone with it. One that cannot be looked into stays.
fn leftovers(vault: &Vault, instance_id: &str) -> io::Result<Leftovers> {
    let mut left = Leftovers::default();
    for id in in_question(vault, instance_id)? {
        if let Some(backup_id) = id.strip_prefix(EARLIER_STAGING) {
            left.earlier.push(backup_id.to_owned());
        } else if id.starts_with(EARLIER_DELETING) {
            left.gone.push(id);
        } else if !vault.store.has(&object(instance_id, &id, MANIFEST)).unwrap_or(true) {
            match folder(&vault.store.list(&set(instance_id, &id))?) {
                Folder::Deleting => left.gone.push(id),
                Folder::Nothing => left.empty.push(id),
                Folder::Staging => left.staging.push(id),
                Folder::Set => {}
            }
        } else if vault.is_far()
            && !vault.store.has(&object(instance_id, &id, DATA)).unwrap_or(true)
            // A delete marker may hide the data: it is all there is of the set then.
            && !vault.store.may_hide()
        {
            left.late.push(id);
        }
    }
    Ok(left)
}

/// [`Vault::discard_staging`], blocking.
pub(super) fn discard(vault: &Vault, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
    let place = set(instance_id, backup_id);
    let all = || -> io::Result<()> {
        remove(vault, &set(instance_id, &format!("{EARLIER_STAGING}{backup_id}")))?;
        // Of a set that is being deleted the manifest's remains go last, in a sweep.
        if matches!(folder(&vault.store.list(&place)?), Folder::Staging | Folder::Nothing) {
            remove(vault, &place)?;
        }
        Ok(())
    };
    all().map_err(|e| vault_fault("remove", &vault.store.place(&place), e))
}

/// Removes a manifest without data, which nobody misses, and then what lies beside it. Where the store keeps the manifest, all stays until a later
/// sweep.
fn discard_late(vault: &Vault, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
    let name = object(instance_id, backup_id, MANIFEST);
    let place = vault.store.place(&name);
    let gone = || -> io::Result<bool> {
        // Somebody who has a copy of the data may have brought it since.
        Ok(!vault.store.has(&object(instance_id, backup_id, DATA))? && delete_unless_kept(vault, &name)?)
    };
    if !gone().map_err(|e| vault_fault("remove", &place, e))? {
        return Ok(());
    }
    tracing::warn!("{place} was put when its job had failed and its data was discarded: it is removed");
    discard(vault, instance_id, backup_id)
}

/// Deletes an object. Whether it is gone: its store may keep it.
fn delete_unless_kept(vault: &Vault, name: &str) -> io::Result<bool> {
    match vault.store.delete(name) {
        Err(e) if is_refused(&e) => {
            tracing::info!("{} is retained: {e}", vault.store.place(name));
            Ok(false)
        }
        deleted => deleted.map(|()| true),
    }
}

/// Removes all that lies in a folder, and the folder; the word that it is being deleted last, so that a crash leaves nothing
/// without it. What its store keeps stays, with that word, until a later sweep.
fn remove(vault: &Vault, place: &str) -> io::Result<()> {
    let (last, first): (Vec<_>, Vec<_>) = vault.store.list(place)?.into_iter().partition(|name| name == DELETING);
    let delete = |name: &String| delete_unless_kept(vault, &format!("{place}/{name}"));
    let mut all_gone = true;
    for name in &first {
        all_gone &= delete(name)?;
    }
    if all_gone && !last.is_empty() {
        vault.store.deleted(place)?;
        for name in &last {
            delete(name)?;
        }
    }
    vault.store.prune(place);
    Ok(())
}
