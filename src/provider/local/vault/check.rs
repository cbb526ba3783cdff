//! A look at the whole vault: every set's signature, manifest and data, against what this home remembers. It changes nothing, and judges by what
//! lies there alone: what instances hold is not asked.

use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::model::backup::ManifestDigest;
use crate::model::fault::{Fault, Kind};
use crate::model::log::LogHead;
use crate::model::text::clean;
use crate::model::vault_check::{CheckedLog, CheckedSet, RecordState, SignatureState, VaultCheck};
use crate::provider::local::vault::manifests::REPLACED;
use crate::provider::local::{Inner, Local};
use crate::state::manifests::Recorded;
use crate::vault::layout::{Folder, MANIFEST, SIGNATURE, object};
use crate::vault::signed::Examined;
use crate::vault::signing::Judged;
use crate::vault::staging::Staging as _;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Local {
    /// Looks at all that lies in the vault, or at one instance's; `deep` reads every byte of it.
    ///
    /// # Errors
    /// `vault.failed`, `state.failed`, `vault.key`, `log.failed`; `instance.not_found` where nothing lies there of the instance and nothing is
    /// remembered.
    pub async fn check_vault(&self, instance_id: Option<&str>, deep: bool) -> Result<VaultCheck, Fault> {
        self.inner.check_vault(instance_id, deep).await
    }
}

impl Inner {
    async fn check_vault(&self, wanted: Option<&str>, deep: bool) -> Result<VaultCheck, Fault> {
        // Before anything is listed: what is remembered was there by then.
        let heads = self.state.heads(wanted).await?;
        let archive = self.archive.clone();
        let logged = blocking(move || archive.instances()).await?;
        let there = self.vault.instances().await?.into_iter().chain(logged);
        let remembered = self.state.manifests(wanted).await?.into_keys().map(|(instance_id, _)| instance_id);
        let logs_of = heads.iter().map(|head| head.instance_id.clone());
        let known: BTreeSet<String> = remembered.chain(logs_of).chain(self.ids.iter().cloned()).collect();
        let mut ids: BTreeSet<String> = there.chain(known.iter().cloned()).collect();
        if let Some(wanted) = wanted {
            ids.retain(|id| id == wanted);
            if ids.is_empty() {
                let message = format!("nothing lies in the vault of {wanted}, and nothing is remembered of it");
                return Err(Fault::new(Kind::NotFound, "instance.not_found", message)
                    .hint("Call it without --instance-id to see all that lies there."));
            }
        }
        let (mut sets, mut logs, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for id in &ids {
            let is_meant = wanted.is_some() || known.contains(id);
            if !is_meant && !self.vault.may_be_listed(id).await? {
                let place = clean(&self.vault.store().place(id));
                notes.push(format!("{place}: may not be looked into, and is of no instance that this home knows"));
                continue;
            }
            sets.extend(self.check_sets(id, deep).await?);
            logs.extend(self.check_log(id, &heads, deep).await?);
        }
        let signing = self.vault.signing().cloned();
        let own = blocking(move || signing.map_or(Ok(None), |signing| signing.own())).await?;
        let key_id = own.map(|key| key.id());
        let own_signed = |set: &CheckedSet| {
            set.record == RecordState::Unknown && set.signature == SignatureState::Good && set.key_id == key_id
        };
        for set in sets.iter_mut().filter(|set| own_signed(set)) {
            set.notes.push(
                "signed by the key of this home, which does not remember it: put back after its deletion, or the home's state is younger".into(),
            );
        }
        let place = self.vault.store().place("");
        let keys = if wanted.is_none() { self.vault.overlaid_keys().await? } else { Vec::new() };
        Ok(VaultCheck { place, key_id, sets, logs, keys, notes })
    }

    /// What is told of the log of an instance; `None` where nothing was read of it, and nothing is gone.
    async fn check_log(&self, instance_id: &str, heads: &[LogHead], deep: bool) -> Result<Option<CheckedLog>, Fault> {
        let (archive, of) = (self.archive.clone(), instance_id.to_owned());
        let heads: Vec<LogHead> = heads.iter().filter(|head| head.instance_id == instance_id).cloned().collect();
        let look = move || {
            let (segments, mut wrong) = if deep { archive.check(&of, SHARD)? } else { (0, Vec::new()) };
            for head in &heads {
                wrong.extend(archive.lost_behind(head, deep)?);
            }
            Ok((segments, wrong))
        };
        let (segments, wrong) = blocking(look).await?;
        let told = segments > 0 || !wrong.is_empty();
        Ok(told.then(|| CheckedLog { instance_id: instance_id.to_owned(), segments, wrong }))
    }

    async fn check_sets(&self, instance_id: &str, deep: bool) -> Result<Vec<CheckedSet>, Fault> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let folders = self.vault.examine(instance_id).await?;
        // Behind the listing: what was made meanwhile is remembered and not listed, and is looked at again below.
        let recorded = self.recorded(instance_id).await?;
        for (id, examined) in folders {
            let checked = self.judged(instance_id, &id, examined, &recorded, deep).await?;
            if checked.is_some() {
                seen.insert(id);
            }
            found.extend(checked);
        }
        // What lies over an object is not read, and says that somebody can write there.
        for (id, what) in self.vault.overlaid(instance_id).await? {
            if let Some(set) = found.iter_mut().find(|set: &&mut CheckedSet| set.backup_id == id) {
                set.wrong.extend(what);
            }
        }
        for (_, id) in recorded.into_keys().filter(|(_, id)| !seen.contains(id)) {
            // It may have been made, or deleted by us, since.
            let again = self.recorded(instance_id).await?;
            if !again.contains_key(&(instance_id.to_owned(), id.clone())) {
                continue;
            }
            match self.vault.examine_again(instance_id, &id).await? {
                Some(examined) => found.extend(self.judged(instance_id, &id, examined, &again, deep).await?),
                None => {
                    let place = self.vault.store().place(&object(instance_id, &id, MANIFEST));
                    let wrong = format!(
                        "{place}: is not there; this home has put the set and never deleted it. Where it was meant to go, vault forget --instance-id {instance_id} --backup-id {id} says so"
                    );
                    found.push(CheckedSet {
                        instance_id: instance_id.to_owned(),
                        backup_id: id,
                        signature: SignatureState::NoManifest,
                        key_id: None,
                        record: RecordState::Removed,
                        wrong: vec![wrong],
                        notes: Vec::new(),
                    });
                }
            }
        }
        found.sort_by(|a, b| a.backup_id.cmp(&b.backup_id));
        Ok(found)
    }

    /// What is told of a folder; `None` where there is nothing to tell.
    async fn judged(
        &self,
        instance_id: &str,
        id: &str,
        examined: Examined,
        recorded: &Recorded,
        deep: bool,
    ) -> Result<Option<CheckedSet>, Fault> {
        let recorded = recorded.get(&(instance_id.to_owned(), id.to_owned()));
        match examined.folder {
            // Of a set that is being deleted the record is gone: one that has it was hidden by somebody else.
            Folder::Deleting | Folder::Nothing => return Ok(None),
            Folder::Staging if recorded.is_none() && self.of(instance_id).await?.iter().any(|made| made == id) => {
                return Ok(None);
            }
            Folder::Staging | Folder::Set => {}
        }
        let Examined { strange, sha256, signature, set, .. } = examined;
        let place = |name: &str| self.vault.store().place(&object(instance_id, id, name));
        let (signature, key_id) = state_of(signature);
        let record = record_of(sha256.as_deref(), recorded);
        let (mut wrong, mut notes) = (Vec::new(), Vec::new());
        match &set {
            Err(fault) if fault.kind == Kind::NotFound => return Ok(None),
            Err(fault) => wrong.push(clean(&fault.message)),
            Ok(set) if deep => match self.vault.verify_bytes(set, &Arc::default()).await {
                Err(fault) if fault.kind == Kind::Damaged => wrong.push(clean(&fault.message)),
                read => {
                    read?;
                    notes.push("every byte read".into());
                }
            },
            Ok(_) => {}
        }
        if record == RecordState::Differs {
            wrong.push(format!("{}: {REPLACED}", place(MANIFEST)));
        }
        if signature == SignatureState::Unsigned {
            match recorded.and_then(|recorded| recorded.signed_by.as_deref()) {
                Some(key) => wrong.push(format!("{}: is not there; key {key} had signed this set", place(SIGNATURE))),
                None => {
                    notes.push("unsigned: from before manifests were signed, or its signature was taken away".into())
                }
            }
        }
        if record == RecordState::Unknown && set.is_ok() {
            notes.push("not remembered by this home: from before, another home's, or brought here".into());
        }
        notes.extend(strange.iter().map(|name| format!("{}: is none of ours", clean(&place(name)))));
        let (instance_id, backup_id) = (instance_id.to_owned(), clean(id));
        Ok(Some(CheckedSet { instance_id, backup_id, signature, key_id, record, wrong, notes }))
    }
}

fn state_of(signature: Option<Judged>) -> (SignatureState, Option<String>) {
    match signature {
        None => (SignatureState::NoManifest, None),
        Some(Judged::Unsigned) => (SignatureState::Unsigned, None),
        Some(Judged::Good(key)) => (SignatureState::Good, Some(key)),
        Some(Judged::Bad(_)) => (SignatureState::Bad, None),
        Some(Judged::Untrusted(key)) => (SignatureState::Untrusted, Some(key)),
    }
}

fn record_of(there: Option<&str>, recorded: Option<&ManifestDigest>) -> RecordState {
    match (there, recorded) {
        (_, None) => RecordState::Unknown,
        (None, Some(_)) => RecordState::Removed,
        (Some(there), Some(recorded)) if there == recorded.sha256 => RecordState::Same,
        (Some(_), Some(_)) => RecordState::Differs,
    }
}
