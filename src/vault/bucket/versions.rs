//! Objects of a bucket that keeps versions: what was put first under a name is what has it, whatever was put over it or hides it.
//!
//! Every object of ours is put create-only, so that a later version is another's. A deletion must name versions: without one it only hides what
//! then stays for ever, which no lock keeps anybody from. S3 and OSS have the same versions and markers, and list them in the same form.

use crate::config::vault::Service;
use crate::vault::bucket::client::{Client, Found};
use crate::vault::bucket::listing::{AT_ONCE, Named};
use crate::vault::lacking::is_refused;
use crate::vault::store::Lock;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use std::io;
use std::sync::atomic::Ordering;

/// The version of what was put before the bucket kept any, or where it keeps none.
pub(super) const NO_VERSION: &str = "null";
/// Versions of one name that may be attempts of one put, at most.
const ATTEMPTS: usize = 64;

impl Client {
    /// Looks at an object, the first that had the name; `None` where there is none.
    pub async fn look(&self, name: &str) -> io::Result<Option<Found>> {
        let current = self.stat(name, None).await?;
        // What lies over another, or is put where versions are kept, has a version. Of the others that says nothing.
        let is_first = current.as_ref().is_some_and(|found| found.version.is_none());
        if current.is_some() && !is_first {
            self.flat.store(false, Ordering::Relaxed);
        }
        if is_first || !self.lists_versions() {
            return Ok(current);
        }
        let first = self.versions(name).await?.into_iter().rfind(|one| !one.is_marker).and_then(|one| one.version);
        let seen = current.as_ref().and_then(|found| found.version.clone());
        if first.is_none() || first == seen { Ok(current) } else { self.stat(name, first).await }
    }

    /// Deletes an object for ever; one that is not there is no error. The first version goes last, so that a refusal leaves what is ours.
    ///
    /// # Errors
    /// `PermissionDenied` where a lock keeps it, or this key may not.
    pub async fn delete(&self, name: &str) -> io::Result<()> {
        if self.place().service == Service::Oss && self.is_without_versions(name).await? {
            return self.delete_one(name, None).await;
        }
        let versions = self.versions(name).await?;
        let is_alone = versions.len() == 1;
        let (markers, objects): (Vec<Named>, Vec<Named>) = versions.into_iter().partition(|one| one.is_marker);
        for one in markers.iter().chain(&objects) {
            let version = one.version.as_deref();
            let Err(refused) = self.delete_one(name, version).await else { continue };
            // Where versions are kept now, what was put before goes by that word alone: without it, it would be hidden and stay. Where none ever
            // were, a key may have no right to delete versions.
            let is_lone = is_alone && version == Some(NO_VERSION);
            if !(is_lone && is_refused(&refused) && self.keeps_none(name).await) {
                return Err(refused);
            }
            self.delete_one(name, None).await?;
        }
        Ok(())
    }

    /// Whether neither this object nor any that was looked at before has a version.
    async fn keeps_none(&self, name: &str) -> bool {
        self.look(name).await.is_ok() && self.flat.load(Ordering::Relaxed)
    }

    /// Whether an object has no version, as none that was looked at before. OSS tells one of each object in a bucket that keeps them, `null` included.
    async fn is_without_versions(&self, name: &str) -> io::Result<bool> {
        let is_without = self.stat(name, None).await?.is_some_and(|found| found.version.is_none());
        Ok(is_without && self.flat.load(Ordering::Relaxed))
    }

    /// Until when nobody can delete an object, as its bucket says to whoever may know.
    pub async fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        if !self.tells_locks() {
            return Ok(None);
        }
        // A bucket that locks keeps versions.
        let Some(found) = self.look(name).await?.filter(|found| found.version.is_some()) else { return Ok(None) };
        let headers = self.headers(name, found).await?;
        let text = |header: &str| headers.get(header).and_then(|value| value.to_str().ok());
        let put = text("last-modified").and_then(|at| rfc2822::parse(at).ok()).map(|at| at.timestamp());
        let until = text("x-amz-object-lock-retain-until-date").and_then(|at| at.parse::<Timestamp>().ok());
        Ok(until.map(|until| Lock { put, until }))
    }

    /// The versions over the first of a name, the newest first; what hides it is none.
    pub async fn later(&self, name: &str) -> io::Result<Vec<String>> {
        let mut objects = self.versions(name).await?;
        objects.retain(|one| !one.is_marker);
        objects.pop();
        Ok(objects.into_iter().filter_map(|one| one.version).collect())
    }

    /// Whether all that lies over the first of a name came by the very put that made it, and is the same to the byte: attempts whose replies were lost.
    pub async fn lies_over_itself(&self, name: &str) -> io::Result<bool> {
        let later = self.later(name).await?;
        let Some(first) = self.look(name).await?.filter(|_| later.len() < ATTEMPTS) else { return Ok(false) };
        for version in later {
            if !self.stat(name, Some(version)).await?.is_some_and(|one| one.is_same_put(&first)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every version of a name, the newest first, and behind them what hides it.
    async fn versions(&self, name: &str) -> io::Result<Vec<Named>> {
        let mut all = Vec::new();
        if self.lists_versions() {
            let mut listing = self.versions_from(name).await?;
            loop {
                let some = listing.next(AT_ONCE).await?;
                if some.is_empty() {
                    break;
                }
                all.extend(some.into_iter().filter(|one| one.name == name));
            }
            all.sort_by_key(|one| one.is_marker);
        }
        // It may have turned out just now that they cannot be listed.
        if !self.lists_versions() {
            let found = self.stat(name, None).await?;
            let named = |found: Found| Named {
                name: name.to_owned(),
                version: found.version,
                is_marker: false,
                is_current: true,
            };
            all = found.map(named).into_iter().collect();
        }
        Ok(all)
    }
}
