//! What a restore by commands reads: a set of the vault, or the moment that was built for it. Each names what is wrong with it.

use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::vault::Vault;
use std::error::Error;
use std::io::Read;

/// An RDB, and whose it is.
pub(super) struct Contents {
    pub(super) data: Box<dyn Read + Send>,
    pub(super) whose: Whose,
}

/// Whose an RDB is.
pub(super) enum Whose {
    Set(Vault, Box<BackupSet>),
    Built,
}

impl Contents {
    pub(super) fn of_set(vault: &Vault, set: &BackupSet, data: impl Read + Send + 'static) -> Self {
        Self { data: Box::new(data), whose: Whose::Set(vault.clone(), Box::new(set.clone())) }
    }
}

impl Whose {
    /// The fault of one that cannot be read.
    pub(super) fn unreadable(&self, why: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        match self {
            Self::Set(vault, set) => vault.unreadable(set, why),
            Self::Built => Fault::new(
                Kind::Provider,
                "restore.not_built",
                format!("the moment that was built cannot be read: {}", why.into()),
            ),
        }
    }
}
