//! What the vault asks of the place where its objects lie: a disk now, an object store as well as that.
//!
//! Names are relative, with `/` between their parts. An object appears whole and is never written again; what cannot be done to
//! an object of a bucket is not asked for here. Blocking: the vault calls it from worker threads.

use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::Arc;

/// An object's bytes, read anywhere.
pub trait Ranges: Send + Sync {
    /// Bytes it has.
    ///
    /// # Errors
    /// Those of the store.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// Those of the store; `UnexpectedEof` where the object ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

/// An object on its way to the store.
pub trait Upload: Write + Send {
    /// Ends it. It lasts when this returns.
    ///
    /// # Errors
    /// Those of the store, from any of the writes before as well.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Where objects lie.
pub trait Store: Debug + Send + Sync {
    /// Begins an object that is too large for memory, under a name that nobody has. What a crash leaves of it may be there, cut
    /// off.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`.
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>>;

    /// Puts an object under a name that nobody has, whole or not at all. It lasts when this returns.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`, and then what has the name is as it was.
    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Opens an object. What is read is what was opened, whatever takes its name meanwhile.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>>;

    /// Every object under a prefix, by its name behind that prefix. A part that cannot be looked into is named itself.
    ///
    /// # Errors
    /// Those of the store. A prefix under which nothing lies is no error.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Gives an object another name, in one step and durably.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes an object for ever. One that is gone already is no error.
    ///
    /// # Errors
    /// Those of the store.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Removes empty folders right under a prefix, where a store has folders.
    ///
    /// # Errors
    /// Those of the store.
    fn prune(&self, prefix: &str) -> io::Result<()>;

    /// Where a name is, for messages.
    fn place(&self, name: &str) -> String;
}

/// Reads a small object whole.
///
/// # Errors
/// Those of the store; `InvalidData` where it is longer than `limit`.
pub(super) fn read_whole(store: &dyn Store, name: &str, limit: u64) -> io::Result<Vec<u8>> {
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
