//! The store of the vault's objects, as a trait: a disk now; an object store can implement it too.
//!
//! Names are relative, with `/` between their parts. An object appears whole and is never written again; no method needs more than
//! a bucket offers. Blocking: the vault calls the store from worker threads.

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
    /// Those of the store, those of earlier writes included.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A store of objects.
pub trait Store: Debug + Send + Sync {
    /// Begins an object that is too large for memory, under a name that no object has. A crash may leave the object cut off.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`.
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>>;

    /// Puts an object under a name that no object has, whole or not at all. The object is durable when this returns.
    ///
    /// # Errors
    /// Those of the store; `AlreadyExists`, and then the object of that name is unchanged.
    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Opens an object. The object opened is the one read, whatever takes its name meanwhile.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>>;

    /// Every object under a prefix, by its name behind that prefix. A folder that cannot be read is listed itself.
    ///
    /// # Errors
    /// Those of the store. A prefix without objects is no error.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Renames an object, in one step and durably.
    ///
    /// # Errors
    /// Those of the store; `NotFound`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes an object for ever. An object that does not exist is no error.
    ///
    /// # Errors
    /// Those of the store.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Removes empty folders right under a prefix, where a store has folders.
    ///
    /// # Errors
    /// Those of the store.
    fn prune(&self, prefix: &str) -> io::Result<()>;

    /// The place of a name, for messages: a path.
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
