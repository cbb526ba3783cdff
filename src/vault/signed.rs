//! Signatures of manifests on the vault: put before the manifest that they are of, and judged whenever it is read.
//!
//! A crash between the two leaves a signature beside data, which is staging like the data alone. A manifest without one was written by an earlier
//! version, or its signature was taken away: which, the caller knows who remembers manifests.

use crate::config::blocking::blocking;
use crate::config::public_key::PublicKey;
use crate::model::backup::{BackupSet, ManifestDigest};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::vault::age_keys::KEY;
use crate::vault::lacking::is_lacking;
use crate::vault::layout::{Folder, MANIFEST, SIGNATURE, folder, object};
use crate::vault::minisign::{LONGEST, public_file};
use crate::vault::signing::{Judged, Signing};
use crate::vault::store::{overlaid, read_whole};
use crate::vault::worker::in_parallel;
use crate::vault::{LONGEST_MANIFEST, Vault, lacked, unreadable, vault_fault};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write as _};
use std::sync::Arc;

/// The folder of public keys. No instance's id begins with a dot.
pub(super) const KEYS: &str = ".keys";

/// What lies in a set's folder, for whoever looks for what is wrong.
#[derive(Debug)]
pub struct Examined {
    /// What the names in it make of it.
    pub folder: Folder,
    /// Names that none of ours has.
    pub strange: Vec<String>,
    /// SHA-256 of the manifest; `None` where it cannot be read.
    pub sha256: Option<String>,
    /// Its signature; `None` where neither is to be judged.
    pub signature: Option<Judged>,
    /// The set, or why it is none.
    pub set: Result<BackupSet, Fault>,
}

impl Vault {
    /// The same vault, whose manifests are signed and their signatures judged.
    #[must_use]
    pub fn signed(self, signing: Arc<Signing>) -> Self {
        Self { signing: Some(signing), ..self }
    }

    /// Who signs here; `None` where nothing is signed.
    #[must_use]
    pub const fn signing(&self) -> Option<&Arc<Signing>> {
        self.signing.as_ref()
    }

    /// Reads what is judged by signatures; again where one was of a key that is known only now that those of all who are of this service were asked
    /// for.
    ///
    /// # Errors
    /// Those of `read`; `home.failed`, `vault.key`; those of the state store.
    pub(super) async fn judged<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<T, Fault> {
        let Some(signing) = &self.signing else { return read().await };
        signing.ask_signers_once().await?;
        let before = signing.seen();
        let done = read().await;
        if signing.seen().unknown == before.unknown {
            return done;
        }
        signing.ask_signers().await?;
        // Another thread may have asked meanwhile.
        if signing.seen().changes == before.changes { done } else { read().await }
    }

    /// Whether a set may be restored as far as its signature goes: with `require_signed` one without may not.
    ///
    /// # Errors
    /// `backup.unsigned`.
    pub fn may_be_restored(&self, set: &BackupSet) -> Result<(), Fault> {
        let required = self.signing.as_ref().is_some_and(|signing| signing.required());
        let signed = set.manifest.as_ref().is_some_and(|manifest| manifest.signed_by.is_some());
        if signed || !required {
            return Ok(());
        }
        let message = format!("backup {} has no signature, and require_signed is on: it is not restored", set.id);
        Err(Fault::new(Kind::Refused, "backup.unsigned", message)
            .hint("Choose a set that is signed, as describe_backups and `tair-backup-mcp vault verify` say. An operator who knows this one may take require_signed out of the configuration for it."))
    }

    /// What is known of a manifest that was read, beside what it says; its signature is judged here, unless it was.
    pub(super) fn vouched_for(
        &self,
        (instance_id, backup_id): (&str, &str),
        manifest: &[u8],
        judged: Option<Judged>,
    ) -> Result<ManifestDigest, Fault> {
        let place = self.store.place(&object(instance_id, backup_id, MANIFEST));
        let signed_by = match judged.map_or_else(|| self.judge(instance_id, backup_id, manifest), Ok)? {
            Judged::Unsigned => None,
            Judged::Good(key) => Some(key),
            Judged::Bad(why) => return Err(tampered(&place, why)),
            Judged::Untrusted(key) => return Err(self.untrusted(&place, &key)),
        };
        Ok(ManifestDigest { sha256: hex(&Sha256::digest(manifest)), signed_by, remembered: false })
    }

    fn untrusted(&self, place: &str, key: &str) -> Fault {
        let at = self.store.place(&format!("{KEYS}/{key}.pub"));
        Fault::new(Kind::Damaged, "backup.untrusted", format!("{place}: is signed by key {key}, which is not trusted here"))
            .hint(format!(
                "Where that key is one of yours, put its public key, the second line of its .pub file, into trusted_keys of the \
                 configuration. A copy may lie in {at}, which proves nothing by itself. Else choose another set."
            ))
    }

    /// Judges the signature of a manifest.
    fn judge(&self, instance_id: &str, backup_id: &str, manifest: &[u8]) -> Result<Judged, Fault> {
        let Some(signing) = &self.signing else { return Ok(Judged::Unsigned) };
        let name = object(instance_id, backup_id, SIGNATURE);
        match read_whole(&*self.store, &name, LONGEST) {
            Ok(file) => signing.judge(manifest, &file),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Judged::Unsigned),
            Err(e) if is_lacking(&e) => Err(lacked("read", &self.store.place(&name), &e).because(e)),
            Err(_) => Ok(Judged::Bad("its signature cannot be read")),
        }
    }

    /// Signs a manifest that is about to be put, and puts the signature. Who it is signed by; `None` where nothing is signed here.
    ///
    /// # Errors
    /// `vault.failed`, with `another` set where another's signature has the name; `home.failed`, `vault.key`.
    pub(super) fn put_signature(
        &self,
        set: &BackupSet,
        manifest: &[u8],
        another: &mut bool,
    ) -> Result<Option<String>, Fault> {
        let Some(signing) = &self.signing else { return Ok(None) };
        let comment = format!("{}/{}\tfile:{MANIFEST}\thashed", set.instance_id, set.id);
        let (file, key) = signing.sign(manifest, &comment)?;
        if signing.to_be_published()
            && let Err(e) = self.publish(&key)
        {
            tracing::warn!("the public key {} could not be put into the vault: {e}", key.id());
        }
        let name = object(&set.instance_id, &set.id, SIGNATURE);
        match self.store.put_new(&name, file.as_bytes()) {
            Ok(()) => Ok(Some(key.id())),
            Err(e) => {
                *another = e.kind() == ErrorKind::AlreadyExists;
                Err(vault_fault("put", &self.store.place(&name), e))
            }
        }
    }

    /// Puts the public key where whoever has the vault finds it.
    fn publish(&self, key: &PublicKey) -> io::Result<()> {
        let name = format!("{KEYS}/{}.pub", key.id());
        if self.store.has(&name)? {
            return Ok(());
        }
        let mut upload = self.store.upload_whole(&name)?;
        upload.write_all(public_file(key).as_bytes())?;
        match upload.finish() {
            // Another process of this home was first.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            put => put,
        }
    }

    /// Looks into every folder of an instance. Changes nothing.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn examine(&self, instance_id: &str) -> Result<Vec<(String, Examined)>, Fault> {
        self.judged(|| self.look_into_all(instance_id)).await
    }

    async fn look_into_all(&self, instance_id: &str) -> Result<Vec<(String, Examined)>, Fault> {
        let folders = self.folders(instance_id).await?;
        let (vault, instance_id) = (self.clone(), instance_id.to_owned());
        blocking(move || {
            let ours: Vec<(String, Vec<String>)> = folders.into_iter().filter(|(id, _)| !id.starts_with('.')).collect();
            in_parallel(&ours, vault.store.at_once(), |(id, names)| {
                vault.look_into(&instance_id, id, names).map(|examined| (id.clone(), examined))
            })
        })
        .await
    }

    /// What others have put over objects of an instance, or hidden: what to say of them, by their folder.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn overlaid(&self, instance_id: &str) -> Result<BTreeMap<String, Vec<String>>, Fault> {
        let (vault, of) = (self.clone(), instance_id.to_owned());
        blocking(move || overlaid(&*vault.store, &of).map_err(|e| vault_fault("read", &vault.store.place(&of), e)))
            .await
    }

    /// The same of the keys that lie beside the sets: the public ones, and the vault's own.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn overlaid_keys(&self) -> Result<Vec<String>, Fault> {
        let vault = self.clone();
        let told = move || -> io::Result<Vec<String>> {
            let store = &*vault.store;
            let mut all: Vec<String> = overlaid(store, KEYS)?.into_values().flatten().collect();
            // What else lies there may be anybody's.
            store.overlaid("", &mut |name, what| {
                if name == KEY {
                    all.push(what.of(store, name));
                }
            })?;
            Ok(all)
        };
        let place = self.store.place("");
        blocking(move || told().map_err(|e| vault_fault("read", &place, e))).await
    }

    /// Looks into one folder again; `None` where there is no set any more. A listing may come late: whether the manifest is there, its object says.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn examine_again(&self, instance_id: &str, backup_id: &str) -> Result<Option<Examined>, Fault> {
        let (vault, instance_id, id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        blocking(move || {
            let place = crate::vault::layout::set(&instance_id, &id);
            let failed = |e| vault_fault("read", &vault.store.place(&place), e);
            let mut names = vault.store.list(&place).map_err(failed)?;
            if folder(&names) != Folder::Set && vault.store.has(&object(&instance_id, &id, MANIFEST)).map_err(failed)? {
                names.push(MANIFEST.to_owned());
            }
            match folder(&names) {
                Folder::Deleting | Folder::Nothing => Ok(None),
                Folder::Set | Folder::Staging => vault.look_into(&instance_id, &id, &names).map(Some),
            }
        })
        .await
    }

    fn look_into(&self, instance_id: &str, id: &str, names: &[String]) -> Result<Examined, Fault> {
        let name = object(instance_id, id, MANIFEST);
        let manifest = match read_whole(&*self.store, &name, LONGEST_MANIFEST) {
            Ok(manifest) => Some(manifest),
            Err(e) if is_lacking(&e) => return Err(unreadable(&self.store.place(&name), e)),
            Err(_) => None,
        };
        let signature = manifest.as_ref().map(|manifest| self.judge(instance_id, id, manifest)).transpose()?;
        let read = match &manifest {
            Some(manifest) => self.set_of((instance_id, id), manifest, signature.clone()).map(Some),
            None => self.read(instance_id, id),
        };
        let gone = || Err(Fault::new(Kind::NotFound, "backup.not_found", "there is no set any more"));
        let set = match read {
            Ok(Some(set)) => Ok(set),
            Ok(None) => gone(),
            // Deleted since its manifest was read.
            Err(fault) if fault.kind == Kind::Damaged && self.is_gone(instance_id, id) => gone(),
            Err(fault) if fault.kind == Kind::Damaged => Err(fault),
            Err(fault) => return Err(fault),
        };
        let known = |name: &&String| crate::vault::layout::is_ours(name);
        let strange = names.iter().filter(|name| !known(name)).cloned().collect();
        let sha256 = manifest.map(|manifest| hex(&Sha256::digest(manifest)));
        Ok(Examined { folder: folder(names), strange, sha256, signature, set })
    }
}

/// The fault of a manifest that somebody else than this program has changed; `why` is part of a sentence about it.
pub fn tampered(place: &str, why: &str) -> Fault {
    Fault::new(Kind::Damaged, "backup.tampered", format!("{place}: {why}")).hint(
        "Somebody changed this set from outside; it cannot be used. Choose another from describe_backups, and look at who can write to the vault: \
         `tair-backup-mcp vault verify` lists all that is wrong there. Nothing was sent to any instance.",
    )
}
