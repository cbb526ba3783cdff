//! A store whose data is encrypted: sets and segments, each an age file of its own (<https://age-encryption.org/v1>), under the names that
//! they have anyway. Manifests, gaps and timelines are not, so that what there is can be listed, and a lock extended, without a key.
//!
//! What was written before encryption was turned on is read as it is. It must never call something damaged for a key that is missing.

use crate::config::encryption::{Encryption, KeySource};
use crate::vault::lacking::no_key;
use crate::vault::store::{AGE, Lock, Overlaid, Ranges, Store, Upload, read_whole};
use age::secrecy::{ExposeSecret as _, SecretString};
use age::stream::{StreamReader, StreamWriter};
use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Longest header that is looked through: one of some thirty recipients.
const HEADER_MAX: usize = 4 << 10;
/// Bytes of a file's nonce, of a chunk, and of what a chunk has more when it is encrypted.
const NONCE: u64 = 16;
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;
/// Name of the vault's own key, where there is a passphrase: an age file of that passphrase, with an identity inside.
const KEY: &str = "key.age";
/// Longest file with keys, or with a passphrase.
const KEY_MAX: u64 = 64 << 10;

/// The keys, read.
struct Keys {
    identities: Vec<Identity>,
    recipients: Vec<Recipient>,
}

/// Where keys come from, and what was read of that.
struct Source {
    store: Arc<dyn Store>,
    encryption: Encryption,
    keys: OnceLock<Keys>,
}

impl Source {
    /// The keys, which are read once. `make`: without a key of its own a vault with a passphrase gets one.
    fn keys(&self, make: bool) -> io::Result<&Keys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let identities = match &self.encryption.key {
            KeySource::Identity(file) => identities(file)?,
            KeySource::PassphraseFile(file) => {
                let text = file_text(file)?;
                vec![self.own_key(text.expose_secret().trim_end_matches(['\r', '\n']), make)?]
            }
            KeySource::PassphraseEnv(name) => {
                let text = std::env::var(name);
                let text =
                    text.map_err(|_| no_key(format!("encryption.passphrase_env: there is no variable {name}")))?;
                vec![self.own_key(&text, make)?]
            }
        };
        let recipients = identities.iter().map(Identity::to_public);
        // They were checked when the configuration was read.
        let others = self.encryption.recipients.iter().filter_map(|key| key.parse().ok());
        let keys = Keys { recipients: recipients.chain(others).collect(), identities };
        Ok(self.keys.get_or_init(|| keys))
    }

    /// The vault's own key, which lies there encrypted with the passphrase.
    fn own_key(&self, passphrase: &str, make: bool) -> io::Result<Identity> {
        if passphrase.is_empty() {
            return Err(no_key("the passphrase of [encryption] is empty"));
        }
        let passphrase = SecretString::from(passphrase.to_owned());
        match read_whole(&*self.store, KEY, KEY_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(no_key(format!(
                    "{} is not there, without which nothing is decrypted",
                    self.store.place(KEY)
                )));
            }
            found => return self.decrypted_key(&found?, passphrase),
        }
        let made = Identity::generate();
        let sealed =
            age::encrypt(&scrypt::Recipient::new(passphrase.clone()), made.to_string().expose_secret().as_bytes());
        let mut upload = self.store.upload_whole(KEY)?;
        upload.write_all(&sealed.map_err(io::Error::other)?)?;
        match upload.finish() {
            Ok(()) => Ok(made),
            // Another process was first.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.decrypted_key(&read_whole(&*self.store, KEY, KEY_MAX)?, passphrase)
            }
            Err(e) => Err(e),
        }
    }

    fn decrypted_key(&self, sealed: &[u8], passphrase: SecretString) -> io::Result<Identity> {
        let place = || self.store.place(KEY);
        match age::decrypt(&scrypt::Identity::new(passphrase), sealed) {
            Ok(text) => identities_in(&SecretString::from(String::from_utf8_lossy(&text).into_owned()), &place())?
                .into_iter()
                .next()
                .ok_or_else(|| no_key(format!("{} has no key inside", place()))),
            Err(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys) => {
                Err(no_key(format!("the passphrase of [encryption] is not the one that {} was made with", place())))
            }
            Err(e) => Err(no_key(format!("{} cannot be decrypted: {e}", place()))),
        }
    }
}

/// A small file with a secret.
fn file_text(file: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|opened| opened.take(KEY_MAX).read_to_string(&mut text));
    read.map_err(|e| no_key(format!("{} of [encryption] cannot be read: {e}", file.display())))?;
    Ok(SecretString::from(text))
}

fn identities(file: &Path) -> io::Result<Vec<Identity>> {
    identities_in(&file_text(file)?, &file.display().to_string())
}

/// The keys in a text as `age-keygen` writes it.
fn identities_in(text: &SecretString, place: &str) -> io::Result<Vec<Identity>> {
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read: Result<Vec<Identity>, _> = lines.map(str::parse).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        // What is no key is not told: it may be one that was cut off.
        _ => Err(no_key(format!(
            "{place} is not as age-keygen writes it: lines AGE-SECRET-KEY-1…, and comments behind #"
        ))),
    }
}

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
        let source = Arc::new(Source { store: Arc::clone(&store), encryption, keys: OnceLock::new() });
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

/// Whether an object is encrypted: the data of a set, and a segment of the log.
fn is_data(name: &str) -> bool {
    [".zst", ".seg"].iter().any(|end| name.ends_with(end))
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

impl Decrypted {
    fn open(&self) -> io::Result<StreamReader<BufReader<Cursor>>> {
        let total = self.object.size()?;
        let input = Cursor { object: Arc::clone(&self.object), at: 0, total };
        let input = BufReader::with_capacity(usize::try_from(CHUNK + TAG).unwrap_or_default(), input);
        let keys = self.source.keys(false)?;
        let identities = keys.identities.iter().map(|key| key as &dyn age::Identity);
        let opened = Decryptor::new_buffered(input).and_then(|file| file.decrypt(identities));
        opened.map_err(|e| match e {
            DecryptError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => e,
            // The format names no key, so that a changed recipient cannot be told from another.
            DecryptError::NoMatchingKeys => {
                no_key("it is encrypted (age) for other keys than those of [encryption], or its header was changed")
            }
            e => no_whole_file(&e),
        })
    }
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
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match &mut *stream {
            Some(stream) => stream,
            none => none.insert(self.open()?),
        };
        stream.seek(SeekFrom::Start(offset))?;
        stream.read_exact(buf)
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

/// Bytes within an age file of so many, by the beginning of it, for which no key is needed; `None` where it is none, or not whole.
fn size_within(head: &[u8], total: u64) -> Option<u64> {
    if !head.starts_with(AGE) {
        return None;
    }
    let mut end = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        if line.starts_with(b"--- ") && line.ends_with(b"\n") {
            let sealed = total.checked_sub(end + NONCE)?;
            return sealed.checked_sub(sealed.div_ceil(CHUNK + TAG) * TAG);
        }
    }
    None
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
        let mut head = vec![0; usize::try_from(total).unwrap_or(HEADER_MAX).min(HEADER_MAX)];
        object.read_exact_at(&mut head, 0)?;
        let Some(size) = size_within(&head, total) else {
            // What is no age file was written before, or is damaged, as whoever reads it finds. What begins as one is not to be taken for one
            // whose key is missing.
            return if head.starts_with(AGE) {
                Err(no_whole_file(&"its header is damaged or cut"))
            } else {
                Ok(object)
            };
        };
        let source = Arc::clone(&self.source);
        Ok(Arc::new(Decrypted { object, size, source, stream: Mutex::new(None) }))
    }

    fn each(&self, prefix: &str, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.store.each(prefix, found)
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

    fn overlaid(&self, prefix: &str, found: &mut dyn FnMut(&str, Overlaid)) -> io::Result<()> {
        self.store.overlaid(prefix, found)
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
}
