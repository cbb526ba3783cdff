//! The keys of what is encrypted in the vault: a file's, or the vault's own, which lies there encrypted with a passphrase and is made with the
//! first object.
//!
//! It must not make a second key where the first is gone: what was written with one is read with no other.

use crate::config::denied::why;
use crate::config::encryption::{Encryption, KeySource};
use crate::vault::lacking::{is_lacking, is_refused, no_key};
use crate::vault::layout::SEGMENT;
use crate::vault::store::{AGE, Store, read_whole};
use age::secrecy::{ExposeSecret as _, SecretString};
use age::x25519::{Identity, Recipient};
use age::{DecryptError, scrypt};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Most keys that an object is for: with more its header would be longer than what is looked through for its end.
const READERS_MAX: usize = 60;
/// Name of the vault's own key, where there is a passphrase: an age file of that passphrase, with an identity inside.
pub(super) const KEY: &str = "key.age";
/// Longest file with keys, or with a passphrase.
const KEY_MAX: u64 = 64 << 10;

/// The keys, read.
pub(super) struct Keys {
    /// What is read is decrypted with.
    pub identities: Vec<Identity>,
    /// What is written is encrypted for.
    pub recipients: Vec<Recipient>,
}

/// Where keys come from, and what was read of that.
pub(super) struct Source {
    store: Arc<dyn Store>,
    encryption: Encryption,
    keys: OnceLock<Keys>,
}

impl Source {
    /// The keys that a configuration names. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, encryption: Encryption) -> Self {
        Self { store, encryption, keys: OnceLock::new() }
    }

    /// The keys, which are read once. `make`: without a key of its own a vault with a passphrase gets one.
    pub fn keys(&self, make: bool) -> io::Result<&Keys> {
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
        let recipients: Vec<Recipient> = recipients.chain(others).collect();
        if recipients.len() > READERS_MAX {
            let n = recipients.len();
            return Err(no_key(format!("[encryption] names {n} keys, and an object can be for {READERS_MAX}")));
        }
        let keys = Keys { recipients, identities };
        Ok(self.keys.get_or_init(|| keys))
    }

    /// The vault's own key, which lies there encrypted with the passphrase.
    fn own_key(&self, passphrase: &str, make: bool) -> io::Result<Identity> {
        if passphrase.is_empty() {
            return Err(no_key("the passphrase of [encryption] is empty"));
        }
        let passphrase = SecretString::from(passphrase.to_owned());
        if let Some(sealed) = self.sealed_key()? {
            return self.decrypted_key(&sealed, passphrase);
        }
        if !make {
            return Err(no_key(format!("{} is not there, without which nothing is decrypted", self.store.place(KEY))));
        }
        if let Some(name) = encrypted_object(&*self.store)? {
            // Another process may have made the key since, and written with it.
            let sealed = self.sealed_key()?.ok_or_else(|| self.gone(&name))?;
            return self.decrypted_key(&sealed, passphrase);
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

    /// The vault's own key as it lies there; `None` where it does not.
    fn sealed_key(&self) -> io::Result<Option<Vec<u8>>> {
        match read_whole(&*self.store, KEY, KEY_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// The error of a key that is not there any more. A second one in its place would part what was written before from what comes.
    fn gone(&self, name: &str) -> io::Error {
        let (key, name) = (self.store.place(KEY), self.store.place(name));
        no_key(format!("{key} is gone, and objects here are encrypted with it ({name}); put it back from your copy"))
    }

    /// Tries whether the keys are there.
    pub fn try_key(&self) -> io::Result<()> {
        let of_the_vault = !matches!(self.encryption.key, KeySource::Identity(_));
        if of_the_vault && self.sealed_key()?.is_none() {
            return encrypted_object(&*self.store)?.map_or(Ok(()), |name| Err(self.gone(&name)));
        }
        self.keys(false).map(drop)
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
    read.map_err(|e| no_key(format!("{} of [encryption] cannot be read: {}", file.display(), why(&e, file))))?;
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

/// Whether an object is encrypted when it is written: the data of a set, and a segment of the log.
pub(super) fn is_data(name: &str) -> bool {
    name.ends_with(".zst") || name.ends_with(SEGMENT)
}

/// An object that is encrypted already.
fn encrypted_object(store: &dyn Store) -> io::Result<Option<String>> {
    for top in store.folders("")? {
        for name in ends(store, &top)? {
            if is_encrypted(store, &name)? {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

/// Of each instance the newest set that is encrypted.
pub(super) fn newest_encrypted(store: &dyn Store) -> io::Result<Vec<String>> {
    let mut newest = Vec::new();
    // No instance's id begins with a dot, and a log is long.
    for top in store.folders("")?.into_iter().filter(|top| !top.starts_with('.')) {
        for name in ends(store, &top)?.into_iter().rev() {
            if is_encrypted(store, &name)? {
                newest.push(name);
                break;
            }
        }
    }
    Ok(newest)
}

/// Of what is encrypted in a folder the ends: of an instance the first and the last set, of a timeline the first and the last segment. What lies
/// between them was written as they were, and there may be very much of it. None of a folder of somebody else, into which a disk lets nobody look.
fn ends(store: &dyn Store, top: &str) -> io::Result<Vec<String>> {
    let mut ends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let listed = store.each(top, &mut |name| {
        if !is_data(name) {
            return;
        }
        let timeline = name.rsplit_once('/').filter(|_| name.ends_with(SEGMENT)).map_or("", |(folder, _)| folder);
        let names = ends.entry(timeline.to_owned()).or_default();
        names.insert(name.to_owned());
        if names.len() > 2
            && let Some(between) = names.iter().nth(1).cloned()
        {
            names.remove(&between);
        }
    });
    match listed {
        // A bucket that refuses it refuses all that lies there.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !is_refused(&e) => return Ok(Vec::new()),
        listed => listed?,
    }
    Ok(ends.into_values().flatten().map(|name| format!("{top}/{name}")).collect())
}

fn is_encrypted(store: &dyn Store, name: &str) -> io::Result<bool> {
    let mut head = [0; AGE.len()];
    match store.open(name).and_then(|object| object.read_exact_at(&mut head, 0)) {
        Err(e) if is_lacking(&e) => Err(e),
        // One that is damaged, or was deleted since, says nothing.
        read => Ok(read.is_ok() && head == AGE),
    }
}
