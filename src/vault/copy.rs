//! Copies a set to another vault: its data and all else that belongs to it first, its manifest last, and that only when what was put has been
//! read back.
//!
//! It must put over nothing, delete nothing here, and there nothing but what this very call has put. What belongs to a set is what lies in its
//! folder: no list of names is kept. A killed copy leaves data without a manifest, which the next one compares and goes on from.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::redis::rdb::Tap as _;
use crate::vault::copy_object::{self, NotCopied, fill, finish, is_being_written};
use crate::vault::hashing::Hashing;
use crate::vault::layout::{self, DATA, DELETING, Folder, MANIFEST, folder, object};
use crate::vault::manifest::Manifest;
use crate::vault::signed::KEYS;
use crate::vault::store::read_whole;
use crate::vault::verify::verify_bytes;
use crate::vault::watch::Watch;
use crate::vault::{LONGEST_MANIFEST, Vault, damaged, data_of, vault_fault};
use std::io::{self, Write};
use std::sync::Arc;

/// Largest window of the data's compression, as a power of two: a frame of it has a mebibyte.
const WINDOW_LOG_MAX: u32 = 23;

/// What became of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCopy {
    /// It is a set there now, read back.
    Copied,
    /// It was there, with all that belongs to it.
    There,
    /// It was deleted here before it was copied whole, or is not there.
    Gone,
}

/// The fault of a name that something else has at the destination.
#[must_use]
pub fn conflict(place: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Refused, "copy.conflict", format!("{place}: {why}"))
        .hint("Nothing was put over it. Look at what lies there, or copy to another place.")
}

impl Vault {
    /// Copies a set to another vault, and says what became of it. Done again it is quick: what is there is not read.
    ///
    /// # Errors
    /// `backup.damaged` where the set is damaged here, and then it is not copied; `copy.conflict` where something else has its name there;
    /// `vault.failed`. Where `watch` was stopped, whatever that looks like; what was put is taken away.
    pub async fn copy_set(
        &self,
        to: &Self,
        instance_id: &str,
        backup_id: &str,
        watch: &Arc<Watch>,
    ) -> Result<SetCopy, Fault> {
        let (from, to, watch) = (self.clone(), to.clone(), Arc::clone(watch));
        let (instance_id, backup_id) = (instance_id.to_owned(), backup_id.to_owned());
        blocking(move || copy_set(&from, &to, &instance_id, &backup_id, &watch)).await
    }

    /// Copies what lies beside sets and log and belongs to all of them: the public keys. Whatever else lies there is none of ours.
    ///
    /// # Errors
    /// `copy.conflict` where something else has a name there, and then the others are copied; `vault.failed`.
    pub async fn copy_beside(&self, to: &Self, watch: &Arc<Watch>) -> Result<(), Fault> {
        let (from, to, watch) = (self.clone(), to.clone(), Arc::clone(watch));
        blocking(move || {
            let listed = from.store.list(KEYS).map_err(|e| vault_fault("read", &from.store.place(KEYS), e))?;
            let is_key = |file: &&String| file.ends_with(".pub") && !file.contains('/') && !file.starts_with('.');
            let mut all_there = Ok(());
            for file in listed.iter().filter(is_key) {
                match copy_one(&from, &to, &format!("{KEYS}/{file}"), &watch, None) {
                    Err(fault) if fault.kind == Kind::Refused => all_there = Err(fault),
                    copied => drop(copied?),
                }
            }
            all_there
        })
        .await
    }

    /// Whether a set with this very manifest is there, and data of its size. The data is not read: a manifest is put when it has been read back.
    ///
    /// # Errors
    /// `copy.conflict` where another set has its name there, or other data; `backup.damaged` of the manifest here; `vault.failed`.
    pub async fn is_copied(&self, to: &Self, instance_id: &str, backup_id: &str) -> Result<bool, Fault> {
        let (from, to) = (self.clone(), to.clone());
        let name = object(instance_id, backup_id, MANIFEST);
        let (instance_id, id) = (instance_id.to_owned(), backup_id.to_owned());
        blocking(move || {
            let read = |of: &Self| of.manifest(&name).map_err(|e| vault_fault("read", &of.store.place(&name), e));
            let Some(there) = read(&to)? else { return Ok(false) };
            match read(&from)? {
                None => return Ok(false),
                Some(here) if here != there => return Err(another_set(&to, &name)),
                Some(_) => {}
            }
            let set = Manifest::read(&there).map_err(|why| damaged(&from.store.place(&name), why))?;
            to.has_data_of(&BackupSet { instance_id, id, ..set })
        })
        .await
    }

    /// The instances of which there is something.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn instances(&self) -> Result<Vec<String>, Fault> {
        let vault = self.clone();
        blocking(move || {
            let folders = vault.store.folders("").map_err(|e| vault_fault("read", &vault.store.place(""), e))?;
            Ok(folders.into_iter().filter(|id| !id.starts_with('.')).collect())
        })
        .await
    }

    /// Whether data of a set's size is there; `false`: none is.
    fn has_data_of(&self, set: &BackupSet) -> Result<bool, Fault> {
        let place = self.store.place(&data_of(set));
        match self.stored_size(set) {
            Ok(size) if size == set.stored_bytes => Ok(true),
            Ok(size) => Err(conflict(&place, format!("has {size} bytes, {} belong there", set.stored_bytes))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(vault_fault("read", &place, e)),
        }
    }

    /// The bytes of a manifest; `None` where there is none.
    fn manifest(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match read_whole(&*self.store, name, LONGEST_MANIFEST) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

fn another_set(to: &Vault, manifest: &str) -> Fault {
    conflict(&to.store.place(manifest), "is the manifest of another set")
}

/// Copies an object of which nothing is known but its bytes; `has`: whether it is there, where that is known. Whether it was put.
fn copy_one(from: &Vault, to: &Vault, name: &str, watch: &Watch, has: Option<bool>) -> Result<bool, Fault> {
    let (here, there) = (from.store.place(name), to.store.place(name));
    let has = match has {
        Some(has) => has,
        None => to.store.has(name).map_err(|e| vault_fault("read", &there, e))?,
    };
    match copy_object::copy(&*from.store, &*to.store, name, watch, has) {
        Ok(Some(put)) => Ok(put),
        Ok(None) => Err(conflict(&there, format!("is another object than {here}"))),
        Err(NotCopied::Read(e)) => Err(vault_fault("read", &here, e)),
        Err(NotCopied::Write(e)) => Err(vault_fault("write", &there, e)),
        Err(NotCopied::Refused(why)) => Err(vault_fault("read back", &there, io::Error::other(why))),
    }
}

/// A set on its way.
struct Copying<'a> {
    from: &'a Vault,
    to: &'a Vault,
    set: BackupSet,
    manifest: Vec<u8>,
    watch: &'a Arc<Watch>,
    /// Whether the manifest was there before anything that this call has put.
    is_set: bool,
    /// What this call has put.
    put: Vec<String>,
}

fn copy_set(
    from: &Vault,
    to: &Vault,
    instance_id: &str,
    backup_id: &str,
    watch: &Arc<Watch>,
) -> Result<SetCopy, Fault> {
    let name = object(instance_id, backup_id, MANIFEST);
    let read = |e| vault_fault("read", &from.store.place(&name), e);
    // What cannot be read because it is being deleted is not damaged.
    let set = match from.read(instance_id, backup_id) {
        Err(_) if from.is_gone(instance_id, backup_id) => return Ok(SetCopy::Gone),
        set => set?,
    };
    let (Some(set), Some(manifest)) = (set, from.manifest(&name).map_err(read)?) else { return Ok(SetCopy::Gone) };
    let mut copying = Copying { from, to, set, manifest, watch, is_set: false, put: Vec::new() };
    let copied = copying.copy();
    if matches!(copied, Ok(SetCopy::Copied | SetCopy::There)) {
        return copied;
    }
    copying.take_back();
    match copied {
        Err(_) if !watch.is_stopped() && from.is_gone(instance_id, backup_id) => Ok(SetCopy::Gone),
        copied => copied,
    }
}

impl Copying<'_> {
    fn name(&self, of: &str) -> String {
        object(&self.set.instance_id, &self.set.id, of)
    }

    /// Names in the set's folder.
    fn listed(&self, of: &Vault) -> Result<Vec<String>, Fault> {
        let place = layout::set(&self.set.instance_id, &self.set.id);
        of.store.list(&place).map_err(|e| vault_fault("read", &of.store.place(&place), e))
    }

    fn copy(&mut self) -> Result<SetCopy, Fault> {
        let there = self.listed(self.to)?;
        let manifest = self.name(MANIFEST);
        self.is_set = match folder(&there) {
            Folder::Deleting => {
                let why = "a set of this name is being deleted there; copy again when it is gone";
                return Err(conflict(&self.to.store.place(&manifest), why));
            }
            Folder::Set => {
                self.compare_manifests(&manifest)?;
                true
            }
            Folder::Staging | Folder::Nothing => false,
        };
        for left in there.iter().filter(|name| is_being_written(name)) {
            // A killed copy has left it. One that runs beside this one would fail at it, and be done again.
            let left = self.name(left);
            self.to.store.delete(&left).map_err(|e| vault_fault("remove", &self.to.store.place(&left), e))?;
        }
        let mut new = !self.is_set;
        for name in self.listed(self.from)? {
            if name.starts_with('.') || matches!(name.as_str(), MANIFEST | DELETING) {
                continue;
            }
            let has = there.contains(&name);
            new |= if name == DATA { self.data(has)? } else { self.beside(&name, has)? };
        }
        if self.is_set {
            return Ok(if new { SetCopy::Copied } else { SetCopy::There });
        }
        // Deleted here meanwhile, it must not come to be there.
        let read = |e| vault_fault("read", &self.from.store.place(&manifest), e);
        if self.from.manifest(&manifest).map_err(read)?.as_ref() != Some(&self.manifest) {
            return Ok(SetCopy::Gone);
        }
        let written = self.to.store.put_new(&manifest, &self.manifest);
        if !matches!(&written, Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
            // From here on the manifest may be there, whatever was answered, and then what it needs must stay.
            self.put.clear();
            written.map_err(|e| vault_fault("put", &self.to.store.place(&manifest), e))?;
        }
        self.put.clear();
        self.compare_manifests(&manifest)?;
        self.is_set = true;
        // Another copy that was broken off may have taken back what it had put, and this one found.
        let has = self.to.has_data_of(&self.set)?;
        self.data(has)?;
        Ok(SetCopy::Copied)
    }

    /// The manifest that is there must be this one.
    fn compare_manifests(&self, name: &str) -> Result<(), Fault> {
        let there = self.to.manifest(name).map_err(|e| vault_fault("read", &self.to.store.place(name), e))?;
        if there.as_ref() == Some(&self.manifest) { Ok(()) } else { Err(another_set(self.to, name)) }
    }

    /// Copies the data, or looks at what is there. Whether it was put.
    fn data(&mut self, has: bool) -> Result<bool, Fault> {
        let name = self.name(DATA);
        let put = !has && self.put_data(&name)?;
        let place = self.to.store.place(&name);
        if !self.to.has_data_of(&self.set)? {
            return Err(vault_fault("read", &place, io::ErrorKind::NotFound.into()));
        }
        // With its manifest it has been read back before.
        if put || !self.is_set {
            match verify_bytes(self.to, &self.set, self.watch) {
                Err(fault) if fault.kind == Kind::Damaged && !put => {
                    return Err(conflict(&place, "is not the data of this set"));
                }
                // It is no damage of the set that was read back as another.
                Err(fault) if fault.kind == Kind::Damaged => {
                    return Err(vault_fault("read back", &place, io::Error::other(fault.message)));
                }
                verified => verified?,
            }
        }
        Ok(put)
    }

    /// Puts the data, having compared what passed with the manifest. `false`: another has the name.
    fn put_data(&mut self, name: &str) -> Result<bool, Fault> {
        let own = |e: io::Error| vault_fault("write", &self.to.store.place(name), e);
        let mut seen = Seen::new(self.set.rdb_bytes).map_err(own)?;
        let filled = fill(&*self.from.store, &*self.to.store, name, self.watch, |piece| seen.take(piece));
        let upload = match filled {
            Ok(upload) => upload,
            Err(NotCopied::Write(e)) => return Err(own(e)),
            Err(NotCopied::Read(e)) => return Err(self.from.unreadable(&self.set, e)),
            Err(NotCopied::Refused(why)) => return Err(self.damaged(&why)),
        };
        match seen.finish() {
            Ok((bytes, sha256)) if bytes == self.set.rdb_bytes && sha256 == self.set.sha256 => {}
            Ok((_, sha256)) => return Err(self.damaged(&format!("SHA-256 is {sha256}"))),
            Err(e) => return Err(self.damaged(&e.to_string())),
        }
        let put = finish(upload).map_err(|e| match e {
            NotCopied::Read(e) | NotCopied::Write(e) => own(e),
            NotCopied::Refused(why) => own(io::Error::other(why)),
        })?;
        if put {
            self.put.push(name.to_owned());
        }
        Ok(put)
    }

    /// The fault of a set that is damaged here, with the offset where a second look finds that.
    fn damaged(&self, why: &str) -> Fault {
        match verify_bytes(self.from, &self.set, self.watch) {
            Err(fault) => fault,
            Ok(()) => self.from.damaged(&self.set, format!("was read as something else for a moment: {why}")),
        }
    }

    /// Copies what else belongs to the set. Whether it was put.
    fn beside(&mut self, name: &str, has: bool) -> Result<bool, Fault> {
        let name = self.name(name);
        let put = copy_one(self.from, self.to, &name, self.watch, Some(has))?;
        if put {
            self.put.push(name);
        }
        Ok(put)
    }

    /// Takes away what this call has put, without which there was no set. Where another copy has put the manifest since, it is that set's, which
    /// was read back.
    fn take_back(&mut self) {
        if !self.is_set && self.to.store.has(&self.name(MANIFEST)).unwrap_or(true) {
            return;
        }
        for name in self.put.drain(..) {
            if let Err(e) = self.to.store.delete(&name) {
                tracing::warn!("{} is left there without its manifest: {e}", self.to.store.place(&name));
            }
        }
        self.to.store.prune(&layout::set(&self.set.instance_id, &self.set.id));
    }
}

/// Looks at data that passes: decompresses it and hashes what comes out.
struct Seen(zstd::stream::write::Decoder<'static, Sink>);

/// Where what was decompressed goes.
struct Sink {
    hashing: Hashing,
    bytes: u64,
    /// What comes after so many is none of the set's.
    most: u64,
}

impl Seen {
    fn new(most: u64) -> io::Result<Self> {
        let mut decoder = zstd::stream::write::Decoder::new(Sink { hashing: Hashing::new()?, bytes: 0, most })?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self(decoder))
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), NotCopied> {
        self.0.write_all(piece).map_err(|e| NotCopied::Refused(e.to_string()))
    }

    /// Bytes, and their SHA-256.
    fn finish(self) -> io::Result<(u64, String)> {
        let Sink { hashing, bytes, .. } = self.0.finish()?;
        Ok((bytes, hex(&hashing.finish()?)))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(io::Error::other("has more than its manifest says"));
        }
        self.hashing.bytes(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
