//! Who signs manifests and whose signatures are believed: the key of this home, made at first need, and those that the configuration trusts.
//!
//! The key never leaves the home, and is never replaced: without it, what it has signed is vouched for by its public key alone, which lies beside it
//! and in the vault, for people to copy. What lies in the vault is trusted by nobody.

use crate::config::blocking::blocking;
use crate::config::durable::{open_regular, put_new, replace_public};
use crate::config::home::{PUBLIC_KEY, SIGNING_KEY, file_fault, private_dir};
use crate::config::public_key::{PublicKey, key_id};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::random;
use crate::vault::minisign::{LONGEST, SecretKey, Signature, public_file};
use async_trait::async_trait;
use std::fmt::Debug;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Where processes of several homes that are one service know each other's keys from.
#[async_trait]
pub trait Signers: Debug + Send + Sync {
    /// Names the key of this home, and returns those of all.
    ///
    /// # Errors
    /// Those of the state store.
    async fn of_all(&self, own: &PublicKey) -> Result<Vec<PublicKey>, Fault>;
}

/// Signs, and judges signatures.
#[derive(Debug)]
pub struct Signing {
    home: PathBuf,
    trusted: Vec<PublicKey>,
    /// Who else is of this service; `None`: this home alone is.
    signers: Option<Arc<dyn Signers>>,
    /// The keys of those, as last asked.
    shared: RwLock<Shared>,
    /// Signatures so far that were of no key that is known.
    unknown: AtomicU64,
    /// Whether sets without a signature are not to be restored.
    required: bool,
    key: OnceLock<SecretKey>,
    /// Whether the public key is known to lie in the vault.
    published: AtomicBool,
}

/// The keys of all who are of this service.
#[derive(Debug, Default)]
struct Shared {
    keys: Vec<PublicKey>,
    /// Whether this process has asked for them, and so named its own.
    asked: bool,
    /// How often they were others than before.
    changes: u64,
}

/// What was known of keys at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// How often the keys of this service were others than before.
    pub changes: u64,
    /// How many signatures were of no key that is known.
    pub unknown: u64,
}

/// What a signature beside a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// There is none.
    Unsigned,
    /// That of a key that is trusted, which has this id.
    Good(String),
    /// One that says it is of a key that is trusted, and is not of this manifest; or that is no signature at all.
    Bad(&'static str),
    /// One of a key that nobody here trusts, which has this id.
    Untrusted(String),
}

impl Signing {
    /// Signs with the key of a home, and believes these keys too. Touches nothing yet.
    #[must_use]
    pub fn new(home: &Path, trusted: Vec<PublicKey>, required: bool) -> Self {
        let (home, key, published) = (home.to_owned(), OnceLock::new(), AtomicBool::new(false));
        let (shared, unknown) = (RwLock::default(), AtomicU64::new(0));
        Self { home, trusted, signers: None, shared, unknown, required, key, published }
    }

    /// Believes the keys of these homes, too.
    #[must_use]
    pub fn beside(self, signers: Arc<dyn Signers>) -> Self {
        Self { signers: Some(signers), ..self }
    }

    /// Asks who is of this service by now, and names this home's key there before anything is signed with it.
    ///
    /// # Errors
    /// `home.failed`, `vault.key`; those of the state store.
    pub(super) async fn ask_signers(self: &Arc<Self>) -> Result<(), Fault> {
        let Some(signers) = &self.signers else { return Ok(()) };
        let this = Arc::clone(self);
        let own = blocking(move || this.key()?.public().ok_or_else(|| no_key(&this.home.join(SIGNING_KEY)))).await?;
        let keys = signers.of_all(&own).await?;
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let same = keys.len() == shared.keys.len() && keys.iter().all(|key| shared.keys.contains(key));
        let changes = shared.changes + u64::from(!same);
        *shared = Shared { keys, asked: true, changes };
        Ok(())
    }

    /// The same, where this process has not asked yet.
    ///
    /// # Errors
    /// As [`Self::ask_signers`].
    pub(super) async fn ask_signers_once(self: &Arc<Self>) -> Result<(), Fault> {
        let asked = self.shared.read().unwrap_or_else(PoisonError::into_inner).asked;
        if asked { Ok(()) } else { self.ask_signers().await }
    }

    /// What is known of keys by now.
    pub(super) fn seen(&self) -> Seen {
        let changes = self.shared.read().unwrap_or_else(PoisonError::into_inner).changes;
        Seen { changes, unknown: self.unknown.load(Ordering::SeqCst) }
    }

    /// Whether sets without a signature are not to be restored.
    pub(super) const fn required(&self) -> bool {
        self.required
    }

    /// The public key of this home. `None`: nothing was signed here yet. Blocking.
    ///
    /// # Errors
    /// `home.failed`, `vault.key`.
    pub fn own(&self) -> Result<Option<PublicKey>, Fault> {
        if self.key.get().is_none()
            && let Some(key) = load(&self.home.join(SIGNING_KEY))?
        {
            // Another thread may have read it first: it is the same.
            let _ = self.key.set(key);
        }
        Ok(self.key.get().and_then(SecretKey::public))
    }

    /// The key that signs, made where there is none. Blocking.
    fn key(&self) -> Result<&SecretKey, Fault> {
        if self.own()?.is_none() {
            let _ = self.key.set(make(&self.home)?);
        }
        self.key.get().ok_or_else(|| no_key(&self.home.join(SIGNING_KEY)))
    }

    /// Signs a manifest. The file of the signature, and the public key.
    pub(super) fn sign(&self, manifest: &[u8], comment: &str) -> Result<(String, PublicKey), Fault> {
        let key = self.key()?;
        let public = key.public().ok_or_else(|| no_key(&self.home.join(SIGNING_KEY)))?;
        Ok((key.sign(manifest, comment), public))
    }

    /// Whether the public key is still to be put into the vault, for whoever asks first.
    pub(super) fn to_be_published(&self) -> bool {
        !self.published.swap(true, Ordering::Relaxed)
    }

    /// Judges what lies beside a manifest in a signature's place.
    pub(super) fn judge(&self, manifest: &[u8], file: &[u8]) -> Result<Judged, Fault> {
        let Some(signature) = Signature::parse(file) else {
            return Ok(Judged::Bad("its signature is no signature of minisign"));
        };
        let number = signature.number();
        let own = self.own()?;
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let mut known =
            own.iter().chain(&self.trusted).chain(&shared.keys).filter(|key| key.number == number).peekable();
        let id = key_id(&number);
        Ok(if known.peek().is_none() {
            self.unknown.fetch_add(1, Ordering::SeqCst);
            Judged::Untrusted(id)
        } else if known.any(|key| signature.holds(manifest, key)) {
            Judged::Good(id)
        } else {
            Judged::Bad("its signature is of another manifest, or another key's: it was edited after it was signed")
        })
    }
}

fn no_key(path: &Path) -> Fault {
    Fault::new(Kind::Unexpected, "vault.key", format!("{} is not the key that signs manifests", path.display())).hint(
        "Put the file back from a copy. Moved away, a new key is made, and sets signed before are refused until the old public key is in \
         trusted_keys.",
    )
}

fn load(path: &Path) -> Result<Option<SecretKey>, Fault> {
    let read = open_regular(path, false).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).map(|_| bytes)
    });
    match read {
        Ok(bytes) => SecretKey::parse(&bytes).map(Some).ok_or_else(|| no_key(path)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(file_fault("read", path, e)),
    }
}

/// Makes the key. No lock is taken: the file appears whole under its name, and of processes that make one at once the first has the name.
fn make(home: &Path) -> Result<SecretKey, Fault> {
    private_dir(home)?;
    let path = home.join(SIGNING_KEY);
    let made = SecretKey::new(random::<8>()?, random::<32>()?).ok_or_else(|| no_key(&path))?;
    let key = match put_new(&path, made.file().as_bytes()) {
        Ok(()) => made,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            load(&path)?.ok_or_else(|| file_fault("read", &path, ErrorKind::NotFound.into()))?
        }
        Err(e) => return Err(file_fault("write", &path, e)),
    };
    // A crash before this leaves the key without it; the vault has it too.
    let beside = home.join(PUBLIC_KEY);
    let public = key.public().ok_or_else(|| no_key(&path))?;
    replace_public(&beside, public_file(&public).as_bytes()).map_err(|e| file_fault("write", &beside, e))?;
    Ok(key)
}
