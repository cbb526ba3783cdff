//! A store in a bucket on object storage. Nothing is asked of it before something is wanted.
//!
//! A bucket has no folders, no fsync and no renaming: a name's part before a slash is a folder, what was acknowledged lasts, and an object
//! is renamed by putting it again and deleting it.

mod again;
mod blocks;
mod client;
mod extending;
mod failure;
pub mod keys;
mod listing;
mod putting;
mod thread;
mod uploading;
mod versions;

use crate::config::vault::{BucketPlace, Service};
use crate::vault::store::{Lock, Overlaid, Ranges, SecondPut, Store, Upload, read_whole};
use crate::vault::watch::Watch;
use blocks::Blocks;
use client::Client;
use jiff::Timestamp;
use keys::AccessKeys;
use listing::{AT_ONCE, Listed, Named};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use thread::wait;
use uploading::Uploading;

/// Requests at once, of those who look at many objects.
const REQUESTS: usize = 8;
/// Objects under a prefix that something else lies over, before nobody asks any more whether it is something else.
const COVERED: usize = 100;
/// Longest object that is renamed, in bytes: a manifest.
const RENAMED_MAX: u64 = 8 << 20;

/// A store of objects in a bucket.
#[derive(Debug)]
pub struct Bucket {
    client: Arc<Client>,
}

impl Bucket {
    /// A store in a bucket, called by `keys`; without them by the store's own chain of credentials.
    #[must_use]
    pub fn new(place: BucketPlace, keys: Option<Arc<dyn AccessKeys>>) -> Self {
        Self { client: Arc::new(Client::new(place, keys)) }
    }

    /// Whether only another attempt of its own put lies over an object, which OSS takes where it keeps versions.
    fn lies_over_itself(&self, prefix: &str, name: &str) -> bool {
        if self.client.place().service != Service::Oss {
            return false;
        }
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let client = Arc::clone(&self.client);
        // Where that cannot be found out it is told as another's.
        wait(async move { client.lies_over_itself(&name).await }).unwrap_or(false)
    }

    fn names(&self, folder: &str, of: Listed, watch: &Watch, found: &mut dyn FnMut(&Named)) -> io::Result<()> {
        let (client, folder) = (Arc::clone(&self.client), folder.to_owned());
        let mut listing = wait(async move { client.names(&folder, of).await })?;
        loop {
            watch.count(0)?;
            let (next, names) = wait(async move {
                let names = listing.next(AT_ONCE).await?;
                Ok((listing, names))
            })?;
            if names.is_empty() {
                return Ok(());
            }
            names.iter().for_each(&mut *found);
            listing = next;
        }
    }
}

impl Store for Bucket {
    /// Nothing keeps the name free: who is first complete has it. That it is taken already is better known before gigabytes go up.
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        if self.has(name)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.upload_whole(name)
    }

    fn upload_whole(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        Ok(Box::new(Uploading::new(Arc::clone(&self.client), name.to_owned())))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (client, name, bytes) = (Arc::clone(&self.client), name.to_owned(), bytes.to_vec());
        wait(async move { client.put(&name, bytes).await })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>> {
        let (client, looked) = (Arc::clone(&self.client), name.to_owned());
        let found = wait(async move { client.look(&looked).await })?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Blocks::new(Arc::clone(&self.client), name, found)))
    }

    fn each_watched(&self, prefix: &str, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut last = String::new();
        self.names(prefix, Listed::Objects, watch, &mut |named| {
            // Versions of one name come together.
            if named.name != last {
                last.clone_from(&named.name);
                found(&last);
            }
        })
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        self.names(prefix, Listed::Folders, &Watch::default(), &mut |named| all.push(named.name.clone()))?;
        Ok(all)
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        let (client, name) = (Arc::clone(&self.client), name.to_owned());
        wait(async move { client.look(&name).await }).map(|found| found.is_some())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let bytes = read_whole(self, from, RENAMED_MAX)?;
        match self.put_new(to, &bytes) {
            // A crash came between the two before.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            put => put?,
        }
        self.delete(from)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let (client, name) = (Arc::clone(&self.client), name.to_owned());
        wait(async move { client.delete(&name).await })
    }

    fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let (client, name) = (Arc::clone(&self.client), name.to_owned());
        wait(async move { client.lock(&name).await })
    }

    fn extend_lock(&self, name: &str, until: Timestamp) -> io::Result<bool> {
        let (client, name) = (Arc::clone(&self.client), name.to_owned());
        wait(async move { client.extend_lock(&name, until).await })
    }

    fn second_put(&self) -> SecondPut {
        *self.client.second_put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn overlaid(&self, prefix: &str, found: &mut dyn FnMut(&str, Overlaid)) -> io::Result<()> {
        if !self.client.lists_versions() {
            return Ok(());
        }
        let of = if prefix.is_empty() { Listed::Beside } else { Listed::Versions };
        let (mut last, mut over, mut markers) = (String::new(), BTreeSet::new(), BTreeSet::new());
        self.names(prefix, of, &Watch::default(), &mut |named| {
            if named.is_marker {
                // One over which something was put hides nothing any more.
                if named.is_current {
                    markers.insert(named.name.clone());
                }
            } else if named.name == last {
                over.insert(named.name.clone());
            } else {
                last.clone_from(&named.name);
            }
        })?;
        let mut others = 0;
        for name in &over {
            // What is covered by others is told anyway: of many, no more are asked about.
            if others >= COVERED || !self.lies_over_itself(prefix, name) {
                others += 1;
                found(name, Overlaid::ByAVersion);
            }
        }
        if markers.is_empty() {
            return Ok(());
        }
        // What is deleted for ever may leave its marker, which hides nothing then.
        let mut hidden = BTreeSet::new();
        self.names(prefix, of, &Watch::default(), &mut |named| {
            if !named.is_marker && markers.contains(&named.name) {
                hidden.insert(named.name.clone());
            }
        })?;
        hidden.iter().for_each(|name| found(name, Overlaid::ByAMarker));
        Ok(())
    }

    fn may_hide(&self) -> bool {
        !self.client.lists_versions()
    }

    fn deleted(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn prune(&self, _: &str) {}

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn place(&self, name: &str) -> String {
        match name {
            "" => self.client.place().to_string(),
            name => format!("{}/{name}", self.client.place()),
        }
    }

    fn at_once(&self) -> usize {
        REQUESTS
    }
}
