//! A store whose data is encrypted: sets and segments, each an age file of its own (<https://age-encryption.org/v1>), under the names that
//! they have anyway. Manifests, gaps and timelines are not, so that what there is can be listed, and a lock extended, without a key.
//!
//! What was written before encryption was turned on is read as it is. It must never call something damaged for a key that is missing.

use crate::config::encryption::Encryption;
use crate::vault::age_keys::{Source, is_data, newest_encrypted};
use crate::vault::lacking::{another_key, is_for_want_of_a_key, is_lacking, no_key};
use crate::vault::store::{AGE, Lock, Overlaid, Ranges, SecondPut, Store, Upload};
use crate::vault::watch::Watch;
use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, Encryptor};
use jiff::Timestamp;
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest header that is looked through: one of as many keys as an object can be for, each of which takes 98 bytes of it.
const HEADER_MAX: usize = 8 << 10;
/// Bytes of a file's nonce, of a chunk, and of what a chunk has more when it is encrypted.
const NONCE: u64 = 16;
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;

/// A store that encrypts the data in another.
pub struct Encrypted {
    store: Arc<dyn Store>,
    source: Arc<Source>,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Encrypted {
    /// What encrypts in a store. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, encryption: Encryption) -> Self {
        let source = Arc::new(Source::new(Arc::clone(&store), encryption));
        Self { store, source }
    }

    fn encrypting(
        &self,
        name: &str,
        upload: impl FnOnce(&dyn Store) -> io::Result<Box<dyn Upload>>,
    ) -> io::Result<Box<dyn Upload>> {
        if !is_data(name) {
            return upload(&*self.store);
        }
        let keys = self.source.keys(true)?;
        let recipients = keys.recipients.iter().map(|key| key as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Box::new(Encrypting(encryptor.wrap_output(upload(&*self.store)?)?)))
    }
}

/// An object that is encrypted while it is written.
struct Encrypting(StreamWriter<Box<dyn Upload>>);

impl Write for Encrypting {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A chunk is written when it is full, or the last.
        Ok(())
    }
}

impl Upload for Encrypting {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.finish()?.finish()
    }
}

/// An object whose bytes are those within an age file.
struct Decrypted {
    object: Arc<dyn Ranges>,
    size: u64,
    source: Arc<Source>,
    /// From the first byte that is read.
    stream: Mutex<Option<StreamReader<BufReader<Cursor>>>>,
}

/// What an age file has within, by those keys.
fn decrypting(object: Arc<dyn Ranges>, source: &Source) -> io::Result<StreamReader<BufReader<Cursor>>> {
    let total = object.size()?;
    let input =
        BufReader::with_capacity(usize::try_from(CHUNK + TAG).unwrap_or_default(), Cursor { object, at: 0, total });
    let keys = source.keys(false)?;
    let identities = keys.identities.iter().map(|key| key as &dyn age::Identity);
    let opened = Decryptor::new_buffered(input).and_then(|file| file.decrypt(identities));
    opened.map_err(|e| match e {
        DecryptError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => e,
        // The format names no key, so that a changed recipient cannot be told from another.
        DecryptError::NoMatchingKeys => {
            another_key("it is encrypted (age) for other keys than those of [encryption], or its header was changed")
        }
        e => no_whole_file(&e),
    })
}

impl Ranges for Decrypted {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        // The stream must not be led past its end, which it takes for a bug.
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut kept = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // A stream that has failed is not used again: where it is, and which chunk it holds, is then as good as unknown.
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => decrypting(Arc::clone(&self.object), &self.source)?,
        };
        stream.seek(SeekFrom::Start(offset))?;
        stream.read_exact(buf)?;
        *kept = Some(stream);
        Ok(())
    }
}

/// An object read from front to back, or from where it is told.
struct Cursor {
    object: Arc<dyn Ranges>,
    at: u64,
    total: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.total.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = left.min(buf.len());
        self.object.read_exact_at(buf.get_mut(..n).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.total.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The error of what begins as an age file and is none.
fn no_whole_file(why: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("is no whole age file: {why}"))
}

/// Bytes of an object; of a whole age file those within it.
///
/// # Errors
/// Those of the object that say nothing of it.
pub(super) fn plain_size(object: &dyn Ranges) -> io::Result<u64> {
    let total = object.size()?;
    match size_within(object, total) {
        Err(e) if is_lacking(&e) && !is_for_want_of_a_key(&e) => Err(e),
        // What is decrypted here has the size within already, whoever has its key.
        within => Ok(within.ok().flatten().unwrap_or(total)),
    }
}

/// Bytes within an age file of so many, by the beginning of it, for which no key is needed; `None` where it is none.
///
/// # Errors
/// Those of the object; `InvalidData` where it begins as one, and is not whole: it is not to be taken for one whose key is missing.
fn size_within(object: &dyn Ranges, total: u64) -> io::Result<Option<u64>> {
    let mut head = vec![0; usize::try_from(total).unwrap_or(HEADER_MAX).min(HEADER_MAX)];
    object.read_exact_at(&mut head, 0)?;
    if !head.starts_with(AGE) {
        return Ok(None);
    }
    let mut end = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        if line.starts_with(b"--- ") && line.ends_with(b"\n") {
            let sealed = total.checked_sub(end + NONCE);
            let within = sealed.and_then(|sealed| sealed.checked_sub(sealed.div_ceil(CHUNK + TAG) * TAG));
            return within.map(Some).ok_or_else(|| no_whole_file(&"it is cut"));
        }
    }
    Err(no_whole_file(&"its header is damaged or cut"))
}

impl Store for Encrypted {
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        self.encrypting(name, |store| store.upload_new(name))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.store.put_new(name, bytes)
    }

    fn upload_whole(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        self.encrypting(name, |store| store.upload_whole(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>> {
        let object = self.store.open(name)?;
        if !is_data(name) {
            return Ok(object);
        }
        let total = object.size()?;
        // What is no age file was written before, or is damaged, as whoever reads it finds.
        let Some(size) = size_within(&*object, total)? else { return Ok(object) };
        let source = Arc::clone(&self.source);
        Ok(Arc::new(Decrypted { object, size, source, stream: Mutex::new(None) }))
    }

    fn each_watched(&self, prefix: &str, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.store.each_watched(prefix, watch, found)
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.store.folders(prefix)
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        self.store.has(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.store.rename(from, to)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.store.delete(name)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        self.store.lock(name)
    }

    fn extend_lock(&self, name: &str, until: Timestamp) -> io::Result<bool> {
        self.store.extend_lock(name, until)
    }

    fn second_put(&self) -> SecondPut {
        self.store.second_put()
    }

    fn overlaid(&self, prefix: &str, found: &mut dyn FnMut(&str, Overlaid)) -> io::Result<()> {
        self.store.overlaid(prefix, found)
    }

    fn may_hide(&self) -> bool {
        self.store.may_hide()
    }

    fn deleted(&self, folder: &str) -> io::Result<()> {
        self.store.deleted(folder)
    }

    fn prune(&self, folder: &str) {
        self.store.prune(folder);
    }

    fn free(&self) -> io::Result<Option<u64>> {
        self.store.free()
    }

    fn place(&self, name: &str) -> String {
        self.store.place(name)
    }

    fn at_once(&self) -> usize {
        self.store.at_once()
    }

    fn try_key(&self) -> io::Result<()> {
        self.source.try_key()?;
        for name in newest_encrypted(&*self.store)? {
            match self.store.open(&name).and_then(|object| decrypting(object, &self.source)) {
                Err(e) if is_for_want_of_a_key(&e) => return Err(no_key(format!("{}: {e}", self.store.place(&name)))),
                Err(e) if is_lacking(&e) => return Err(e),
                // One that is damaged, or was deleted since, says nothing of the keys.
                _ => {}
            }
        }
        Ok(())
    }
}
