//! The store of the vault's objects, as a trait: a disk of this machine, or a bucket.
//!
//! Names are relative, with `/` between their parts. An object appears whole and is never written again; no method needs more than
//! a bucket offers. Blocking: the vault calls the store from worker threads. What every store must do, one suite asks of each
//! (`tests/suite/vault/contract.rs`).

use crate::model::text::clean;
use crate::vault::lacking::another_key;
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::Arc;

/// An object open for reading at any offset.
pub trait Ranges: Send + Sync {
    /// Bytes of the object.
    ///
    /// # Errors
    /// Those of the store.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the store; `UnexpectedEof` where the object ends sooner.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

/// An object that is being written to the store.
pub trait Upload: Write + Send {
    /// Completes the object, which is durable when this returns.
    ///
    /// # Errors
    /// Those of the store, those of earlier writes included; `AlreadyExists`, and then what has the name is another's, as it was.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// What a store says of an object that nobody can delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// When it was put, where that is told.
    pub put: Option<Timestamp>,
    /// Until when nobody can delete it.
    pub until: Timestamp,
}

/// What a store does with an object that is put, only where nothing has its name, under a name that something has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondPut {
    /// It refuses it, or has shown nothing else.
    Refused,
    /// It passes over the condition and keeps both, as versions. The first counts here; the second is told to be taken, and deleted again.
    Beside,
    /// It passes over the condition, and what was there may be lost.
    Over,
}

/// What somebody else has put over an object, which is read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlaid {
    /// A mark that it is deleted.
    ByAMarker,
    /// Another object of its name.
    ByAVersion,
}

impl Overlaid {
    /// As a sentence about the object of that name.
    pub(crate) fn of(self, store: &dyn Store, name: &str) -> String {
        let what = match self {
            Self::ByAMarker => "a delete marker hides it from others; it is there, and read",
            Self::ByAVersion => "a newer version was put over it; the first is read",
        };
        format!("{}: {what}", clean(&store.place(name)))
    }
}

/// Objects of a folder that are told one by one.
const TOLD_MAX: usize = 20;

/// What somebody has put over objects under a prefix, in sentences, by the folder there in which they lie (empty: in none). Where there are many in
/// one, the last says how many more.
///
/// # Errors
/// Those of the store.
pub(crate) fn overlaid(store: &dyn Store, prefix: &str) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut all: BTreeMap<String, (Vec<String>, usize)> = BTreeMap::new();
    store.overlaid(prefix, &mut |name, what| {
        let folder = name.split_once('/').map_or("", |(folder, _)| folder);
        let (told, more) = all.entry(folder.to_owned()).or_default();
        if told.len() < TOLD_MAX {
            told.push(what.of(store, &format!("{prefix}/{name}")));
        } else {
            *more += 1;
        }
    })?;
    let whole = |(folder, (mut told, more)): (String, (Vec<String>, usize))| {
        if more > 0 {
            told.push(format!("{}: and {more} more", clean(&store.place(prefix))));
        }
        (folder, told)
    };
    Ok(all.into_iter().map(whole).collect())
}

/// A store of objects.
pub trait Store: Debug + Send + Sync {
    /// Begins an object that is too large for memory, under a name that no object has. A crash may leave the object cut off. A store that
    /// cannot keep the name free for it meanwhile says when it is finished that another has the name.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`.
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>>;

    /// Puts an object under a name that nobody has, whole or not at all, beside one that was uploaded before: a store with folders
    /// makes none for it. It lasts when this returns.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`, and then what has the name is as it was. After any other the object may be there.
    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Begins an object that is too large for memory, and appears under its name whole when it is finished, or never. Dropped before
    /// that, it leaves nothing. Finishing it fails with `AlreadyExists` where the name is taken, and then what has the name is as it was;
    /// after any other error the object may be there.
    ///
    /// # Errors
    /// Those of the store.
    fn upload_whole(&self, name: &str) -> io::Result<Box<dyn Upload>>;

    /// Opens an object. The object opened is the one read, whatever takes its name meanwhile; where that is gone, nothing is read.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>>;

    /// Names every object under a prefix, by what is behind that prefix, in no order. A folder that cannot be read is named itself.
    ///
    /// # Errors
    /// Those of the store. A prefix without objects is no error.
    fn each(&self, prefix: &str, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.each_watched(prefix, &Watch::default(), found)
    }

    /// The same, which `watch` ends at the next names.
    ///
    /// # Errors
    /// As [`Self::each`], and where it was ended.
    fn each_watched(&self, prefix: &str, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()>;

    /// The same as a list, where there cannot be many.
    ///
    /// # Errors
    /// As [`Self::each`].
    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        self.each(prefix, &mut |name| all.push(name.to_owned()))?;
        Ok(all)
    }

    /// The folders right under a prefix, without a look into them.
    ///
    /// # Errors
    /// Those of the store. A prefix under which nothing lies is no error.
    fn folders(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Whether an object has this name.
    ///
    /// # Errors
    /// Those of the store.
    fn has(&self, name: &str) -> io::Result<bool>;

    /// Gives a small object another name, durably. A store that cannot do that in one step leaves it under both after a crash, never
    /// under none; done again, it is then done.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes an object for ever. One that is gone already is no error. It may be there again after a power cut until
    /// [`Store::deleted`] is called.
    ///
    /// # Errors
    /// Those of the store; where it keeps the object, by a lock or for want of a right, one of which [`is_refused`] says so.
    ///
    /// [`is_refused`]: crate::vault::lacking::is_refused
    fn delete(&self, name: &str) -> io::Result<()>;

    /// The lock that keeps an object; `None` where there is none, or the store tells of none.
    ///
    /// # Errors
    /// Those of the store.
    fn lock(&self, _name: &str) -> io::Result<Option<Lock>> {
        Ok(None)
    }

    /// Makes the lock of an object last until a moment, to the second. Whether it did: never of what has no lock, or is locked for as long already.
    ///
    /// # Errors
    /// Those of the store; where whoever asks has no right to that, one of which [`is_refused`] says so.
    ///
    /// [`is_refused`]: crate::vault::lacking::is_refused
    fn extend_lock(&self, _name: &str, _until: Timestamp) -> io::Result<bool> {
        Ok(false)
    }

    /// What became of the last object that was put, as to the condition that nothing has its name.
    fn second_put(&self) -> SecondPut {
        SecondPut::Refused
    }

    /// Tells each object under a prefix, by what is behind that, over which somebody has put something, where a store keeps what lay there. Of the
    /// empty prefix: each that lies in no folder.
    ///
    /// # Errors
    /// Those of the store.
    fn overlaid(&self, _prefix: &str, _found: &mut dyn FnMut(&str, Overlaid)) -> io::Result<()> {
        Ok(())
    }

    /// Whether what is not there may be hidden all the same, for the store may keep versions, and whoever asks may not list them.
    fn may_hide(&self) -> bool {
        false
    }

    /// Makes what was deleted right under a folder last.
    ///
    /// # Errors
    /// Those of the store. A folder that is gone is no error.
    fn deleted(&self, folder: &str) -> io::Result<()>;

    /// Removes a folder that is empty, where a store has folders.
    fn prune(&self, folder: &str);

    /// Bytes that may still be written; `None` where a store has no such limit.
    ///
    /// # Errors
    /// Those of the store.
    fn free(&self) -> io::Result<Option<u64>>;

    /// The place of a name, for messages: a path or a url.
    fn place(&self, name: &str) -> String;

    /// How many objects are best asked for at once: several where each is a journey.
    fn at_once(&self) -> usize {
        1
    }

    /// Tries whether what lies here can be decrypted, where that takes a key: the newest set of each instance.
    ///
    /// # Errors
    /// Those of the store, and of a key that is missing.
    fn try_key(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What an age file begins with.
pub(super) const AGE: &[u8] = b"age-encryption.org/v1\n";

/// The error of an object that is not what it should be, where that is because it is encrypted, and nothing here decrypts.
pub(crate) fn encrypted_without_key(object: &dyn Ranges) -> Option<io::Error> {
    let mut head = [0; AGE.len()];
    object.read_exact_at(&mut head, 0).ok().filter(|()| head == AGE)?;
    Some(another_key("it is encrypted (age), and the configuration names no key"))
}

/// Reads a small object whole.
///
/// # Errors
/// Those of the store; `InvalidData` where it is longer than `limit`.
pub(crate) fn read_whole(store: &dyn Store, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let object = store.open(name)?;
    let size = object.size()?;
    if size > limit {
        let why = format!("has {size} bytes, more than the {limit} that such an object can have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    object.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
