//! What a look at the whole vault came to: each set with its signature, its record and what is wrong with it; and whether it can be deleted.

use jiff::SignedDuration;

/// What a signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureState {
    /// That of a key that is trusted here.
    Good,
    /// There is none.
    Unsigned,
    /// It is not of this manifest, or none at all.
    Bad,
    /// Of a key that is not trusted here.
    Untrusted,
    /// There is no manifest whose signature it could be.
    NoManifest,
}

impl SignatureState {
    /// The word in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unsigned => "unsigned",
            Self::Bad => "bad",
            Self::Untrusted => "untrusted",
            Self::NoManifest => "none",
        }
    }
}

/// How a manifest compares with what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It is the one that was put.
    Same,
    /// It is another.
    Differs,
    /// The set is remembered, and is not there.
    Removed,
    /// Nothing is remembered of the set.
    Unknown,
}

impl RecordState {
    /// The word in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        }
    }
}

/// A set, or what is left of one.
#[derive(Debug, Clone)]
pub struct CheckedSet {
    /// The instance that it lies under.
    pub instance_id: String,
    /// Its id, by the name of its folder.
    pub backup_id: String,
    /// Its signature.
    pub signature: SignatureState,
    /// The key that the signature says it is of.
    pub key_id: Option<String>,
    /// Its record.
    pub record: RecordState,
    /// What is damaged or was changed from outside, each with the object's place. Empty: nothing that was looked for.
    pub wrong: Vec<String>,
    /// What else is to be known of it.
    pub notes: Vec<String>,
}

/// The log of an instance.
#[derive(Debug, Clone)]
pub struct CheckedLog {
    /// The instance.
    pub instance_id: String,
    /// Segments that were read; 0 where only the end of the log was looked at.
    pub segments: u64,
    /// What is damaged, or was removed from outside, each with the object's place.
    pub wrong: Vec<String>,
}

/// What a look at a vault came to.
#[derive(Debug, Clone)]
pub struct VaultCheck {
    /// Where the vault is.
    pub place: String,
    /// The key that signs here; `None` while nothing was signed.
    pub key_id: Option<String>,
    /// Its sets, by instance and id.
    pub sets: Vec<CheckedSet>,
    /// Logs that were read, or of which something is gone.
    pub logs: Vec<CheckedLog>,
    /// What somebody did to the keys that lie beside the sets, each with the object's place. Empty where only one instance was looked at.
    pub keys: Vec<String>,
    /// What else lies there and was not looked at.
    pub notes: Vec<String>,
}

impl VaultCheck {
    /// How many sets and logs have something wrong, and keys.
    #[must_use]
    pub fn wrong(&self) -> usize {
        let sets = self.sets.iter().filter(|set| !set.wrong.is_empty()).count();
        sets + self.keys.len() + self.logs.iter().filter(|log| !log.wrong.is_empty()).count()
    }
}

/// What comes of deleting an object that was just put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is done.
    Done,
    /// It is refused, and for so long after a put nobody may.
    LockedFor(SignedDuration),
    /// It is refused: by a lock whose end the store does not tell, or because this key may not.
    Refused,
    /// It is done, although the store says that a lock keeps the object.
    DoneInSpiteOfALock,
}
