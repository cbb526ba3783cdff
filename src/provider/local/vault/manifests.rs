//! Manifests as this home remembers them: recorded when a set is complete, forgotten when it is deleted here, compared whenever a set is used.

use crate::model::backup::{BackupSet, ManifestDigest};
use crate::model::fault::{Fault, Kind};
use crate::provider::local::Inner;
use crate::state::State;
use crate::state::manifests::Recorded;
use crate::vault::Vault;
use crate::vault::signed::tampered;

/// What is wrong with a manifest that is not the one that was put.
pub(super) const REPLACED: &str =
    "is not the manifest that was put: another lies in its place, its own of an earlier time or one that was edited";

impl Inner {
    /// Remembers the manifest of a set that was just made, or found whole behind a crash. The set is there also where that fails.
    pub(in crate::provider::local) async fn remember(&self, set: &BackupSet) {
        if let Err(fault) = self.state.set_manifest(&set.instance_id, &set.id, set.manifest.as_ref()).await {
            tracing::error!(backup = %set.id, "the digest of its manifest could not be written down: {fault}");
        }
    }

    /// What is remembered of an instance's sets.
    pub(in crate::provider::local) async fn recorded(&self, instance_id: &str) -> Result<Recorded, Fault> {
        self.state.manifests(Some(instance_id)).await
    }

    /// The fault of a set whose manifest is another than the one that is remembered; `None` where it is that one, or none is.
    pub(in crate::provider::local) fn replaced(&self, set: &BackupSet, recorded: &Recorded) -> Option<Fault> {
        replaced(&self.vault, set, recorded)
    }

    /// A set that was found, with whether its manifest is remembered.
    ///
    /// # Errors
    /// `backup.tampered` where another is remembered.
    pub(in crate::provider::local) fn as_remembered(
        &self,
        set: BackupSet,
        recorded: &Recorded,
    ) -> Result<BackupSet, Fault> {
        if let Some(fault) = self.replaced(&set, recorded) {
            return Err(fault);
        }
        let remembered = recorded.contains_key(&(set.instance_id.clone(), set.id.clone()));
        let manifest = set.manifest.map(|manifest| ManifestDigest { remembered, ..manifest });
        Ok(BackupSet { manifest, ..set })
    }

    /// Ids of the sets of an instance that stand in for no other.
    pub(in crate::provider::local) async fn unsound(
        &self,
        instance_id: &str,
        sets: &[BackupSet],
        recorded: &Recorded,
    ) -> Result<Vec<String>, Fault> {
        unsound(&*self.state, instance_id, sets, recorded).await
    }

    /// Finds a set whose manifest is the one that was put.
    ///
    /// # Errors
    /// As the vault's own; `backup.tampered`.
    pub(in crate::provider::local) async fn found(
        &self,
        instance_id: &str,
        backup_id: &str,
    ) -> Result<BackupSet, Fault> {
        let set = self.vault.find(instance_id, backup_id, self).await?;
        self.as_remembered(set, &self.recorded(instance_id).await?)
    }

    /// Finds a set that may be restored, as far as the set itself goes.
    ///
    /// # Errors
    /// As [`Self::set`]; `backup.unsigned`.
    pub(in crate::provider::local) async fn set_to_restore(
        &self,
        instance_id: &str,
        backup_id: &str,
    ) -> Result<BackupSet, Fault> {
        let set = self.set(instance_id, backup_id).await?;
        self.vault.may_be_restored(&set).map(|()| set)
    }

    /// Finds a set for a plan, and the fault that was found in it, where none has lifted that: it is for the plan's checks to tell.
    ///
    /// # Errors
    /// As [`Self::found`]; `backup.unsigned`.
    pub(in crate::provider::local) async fn set_to_plan(
        &self,
        instance_id: &str,
        backup_id: &str,
    ) -> Result<(BackupSet, Option<Fault>), Fault> {
        let set = self.found(instance_id, backup_id).await?;
        self.vault.may_be_restored(&set)?;
        let fault = self.found_damaged(instance_id).await?.remove(backup_id);
        Ok((set, fault))
    }

    /// Deletes a set by `deleting`, and forgets its manifest first: a crash in between leaves a set that nobody remembers, and not one that
    /// somebody else seems to have removed. What the set was verified to is forgotten behind it.
    pub(in crate::provider::local) async fn forgetting(
        &self,
        instance_id: &str,
        backup_id: &str,
        deleting: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let recorded: Option<ManifestDigest> =
            self.recorded(instance_id).await?.remove(&(instance_id.to_owned(), backup_id.to_owned()));
        self.state.set_manifest(instance_id, backup_id, None).await?;
        let deleted = deleting.await;
        if let (Err(fault), Some(recorded)) = (&deleted, &recorded)
            && fault.kind != Kind::NotFound
            && let Err(fault) = self.state.set_manifest(instance_id, backup_id, Some(recorded)).await
        {
            tracing::error!(backup = %backup_id, "the digest of its manifest could not be written down: {fault}");
        }
        if deleted.as_ref().err().is_none_or(|fault| fault.kind == Kind::NotFound)
            && let Err(fault) = self.state.forget_verified(instance_id, backup_id).await
        {
            tracing::warn!(backup = %backup_id, "what it was verified to could not be forgotten: {fault}");
        }
        deleted
    }
}

/// Whether the manifest of a set is another than the one that is remembered.
pub(in crate::provider::local) fn is_another(set: &BackupSet, recorded: &Recorded) -> bool {
    let recorded = recorded.get(&(set.instance_id.clone(), set.id.clone()));
    let there = set.manifest.as_ref().map(|manifest| &manifest.sha256);
    recorded.is_some_and(|recorded| there != Some(&recorded.sha256))
}

/// The fault of a set on a vault whose manifest is another than the one that is remembered; `None` where it is that one, or none is.
pub(in crate::provider::local) fn replaced(vault: &Vault, set: &BackupSet, recorded: &Recorded) -> Option<Fault> {
    is_another(set, recorded).then(|| tampered(&vault.manifest_place(set), REPLACED))
}

/// Ids of the sets of an instance that stand in for no other: a fault was found in them, or nobody vouches for them.
pub(in crate::provider::local) async fn unsound(
    state: &dyn State,
    instance_id: &str,
    sets: &[BackupSet],
    recorded: &Recorded,
) -> Result<Vec<String>, Fault> {
    let found = state.verifications(instance_id).await?;
    let damaged = found.into_iter().filter(|(_, found)| found.fault().is_some()).map(|(id, _)| id);
    Ok(damaged.chain(of_nobody(sets, recorded)).collect())
}

/// Ids of those of the sets for which nobody vouches: no key that is trusted has signed them, and they are not remembered. Whoever can put objects
/// on the vault can make one, of any moment.
fn of_nobody(sets: &[BackupSet], recorded: &Recorded) -> Vec<String> {
    let signed = |set: &BackupSet| set.manifest.as_ref().is_some_and(|manifest| manifest.signed_by.is_some());
    let known = |set: &BackupSet| recorded.contains_key(&(set.instance_id.clone(), set.id.clone()));
    sets.iter().filter(|set| !signed(set) && !known(set)).map(|set| set.id.clone()).collect()
}
