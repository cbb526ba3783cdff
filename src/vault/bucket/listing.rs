//! Lists what lies in a bucket, with versions where it keeps them: any other listing leaves out what a delete marker hides.
//!
//! It, the client, its puts and its failures are the only files that know opendal. Where a bucket, or this key, does not let versions be listed, that is said once, and
//! listings are those of anybody.

use crate::config::vault::Service;
use crate::vault::bucket::client::Client;
use crate::vault::bucket::failure::said;
use futures::TryStreamExt as _;
use opendal::{ErrorKind, Lister, Operator};
use std::io;
use std::sync::atomic::Ordering;

/// Names that are taken from a listing at once.
pub(super) const AT_ONCE: usize = 1000;
/// Names that OSS is asked for at once: fewer than a thousand, and without that a hundred
/// (<https://www.alibabacloud.com/help/en/oss/developer-reference/listobjectversions>).
const PAGE_OF_OSS: usize = 999;

/// What a listing has.
#[derive(Debug)]
pub(super) struct Named {
    pub name: String,
    /// Which of the versions of that name, in a bucket that keeps them.
    pub version: Option<String>,
    /// It only says that what has the name is deleted.
    pub is_marker: bool,
    /// Nothing lies over it: it is what others see of the name.
    pub is_current: bool,
}

/// What is listed under a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// All objects, at any depth.
    Objects,
    /// The same, and what says that one is deleted.
    Versions,
    /// The folders right under it.
    Folders,
    /// As versions, and only what is right under it.
    Beside,
}

impl Listed {
    const fn has_markers(self) -> bool {
        matches!(self, Self::Versions | Self::Beside)
    }
}

/// A listing under way.
pub(super) struct Names {
    lister: Lister,
    first: Option<opendal::Entry>,
    prefix: String,
    of: Listed,
}

impl Names {
    /// The next names, at most so many; none at the end.
    pub async fn next(&mut self, most: usize) -> io::Result<Vec<Named>> {
        let mut names = Vec::new();
        while names.len() < most {
            let next = match self.first.take() {
                Some(first) => Some(first),
                None => self.lister.try_next().await.map_err(|e| said(&e))?,
            };
            let Some(entry) = next else { break };
            let Some(name) = entry.path().strip_prefix(&self.prefix) else { continue };
            // A folder is a name that ends with a slash; one may also be an object of that name, made by somebody else.
            let name = match (self.of, name.strip_suffix('/')) {
                (Listed::Objects | Listed::Versions | Listed::Beside, None) if !name.is_empty() => name.to_owned(),
                (Listed::Folders, Some(folder)) if !folder.is_empty() => folder.to_owned(),
                _ => continue,
            };
            let metadata = entry.metadata();
            let is_current = metadata.is_current().unwrap_or(true);
            let version = metadata.version().map(str::to_owned);
            names.push(Named { name, version, is_marker: metadata.is_deleted(), is_current });
        }
        Ok(names)
    }
}

impl Client {
    /// Lists what lies under a folder (the root where it is empty): all objects, all versions of them, or its own folders. Versions of one name
    /// come together, the newest first, and may come where objects are asked for.
    pub async fn names(&self, folder: &str, of: Listed) -> io::Result<Names> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = if folder.is_empty() { "/" } else { &prefix };
        let (lister, first) = self.lister(from, of).await?;
        Ok(Names { lister, first, prefix, of })
    }

    /// Lists the versions of a name, the newest first, and of those that begin with it; markers come anywhere.
    pub async fn versions_from(&self, name: &str) -> io::Result<Names> {
        let (lister, first) = self.lister(name, Listed::Versions).await?;
        Ok(Names { lister, first, prefix: String::new(), of: Listed::Versions })
    }

    /// Begins a listing, with versions where they can be listed: any other leaves out what a marker hides.
    async fn lister(&self, from: &str, of: Listed) -> io::Result<(Lister, Option<opendal::Entry>)> {
        let operator = self.operator().await?;
        let page = (self.place().service == Service::Oss).then_some(PAGE_OF_OSS);
        if !self.lists_versions() {
            return begin(&operator, from, of, page, false).await.map_err(|e| said(&e));
        }
        match begin(&operator, from, of, page, true).await {
            // A refusal counts, and so does a store that knows no such listing; one that is away is asked again.
            Err(e) if e.is_permanent() || matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                let begun = begin(&operator, from, of, page, false).await.map_err(|e| said(&e))?;
                tracing::warn!("{}: versions cannot be listed: {}", self.place(), said(&e));
                self.blind.store(true, Ordering::Relaxed);
                Ok(begun)
            }
            begun => begun.map_err(|e| said(&e)),
        }
    }
}

async fn begin(
    operator: &Operator,
    from: &str,
    of: Listed,
    page: Option<usize>,
    versions: bool,
) -> opendal::Result<(Lister, Option<opendal::Entry>)> {
    let listing =
        operator.lister_with(from).recursive(matches!(of, Listed::Objects | Listed::Versions)).versions(versions);
    let listing = listing.deleted(versions && of.has_markers());
    let listing = if let Some(page) = page { listing.limit(page) } else { listing };
    let mut lister = listing.await?;
    let first = lister.try_next().await?;
    Ok((lister, first))
}
