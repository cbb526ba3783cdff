//! The tail that an earlier restore kept, read for a replay. What is handed on is the file that was hashed when it was opened.

use crate::archive::sift::Sift;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::PathBuf;

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A tail, read whole once and then from its beginning. Blocking.
#[derive(Debug)]
pub(in crate::provider::local) struct TailReader {
    /// `None` where nothing was written.
    file: Option<File>,
    sha256: String,
    names: BTreeSet<String>,
    commands: u64,
    /// Bytes that a replay sends.
    bytes: u64,
    sift: Sift,
    sha: Sha256,
    ended: bool,
}

impl TailReader {
    /// Opens a tail and reads it through; `None` is a tail of no bytes.
    ///
    /// # Errors
    /// `restore.tail_damaged`.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Fault> {
        let file = match &path {
            Some(path) => Some(File::open(path).map_err(damaged)?),
            None => None,
        };
        let mut first = Self {
            file,
            sha256: String::new(),
            names: BTreeSet::new(),
            commands: 0,
            bytes: 0,
            sift: Sift::default(),
            sha: Sha256::new(),
            ended: false,
        };
        while let Some(bytes) = first.piece().map_err(damaged)? {
            first.bytes += bytes.len() as u64;
        }
        if !first.sift.is_between_transactions() {
            return Err(damaged("it ends inside a command or a transaction"));
        }
        if let Some(file) = &mut first.file {
            file.rewind().map_err(damaged)?;
        }
        let Self { file, bytes, sift, sha, .. } = first;
        let (names, commands) = (sift.names(), sift.commands());
        let again = Self {
            sift: Sift::default(),
            sha: Sha256::new(),
            ended: false,
            file,
            bytes,
            names,
            commands,
            sha256: hex(&sha.finalize()),
        };
        Ok(again)
    }

    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Names of the commands, in upper case.
    pub(in crate::provider::local) const fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Commands that change data.
    pub(super) const fn commands(&self) -> u64 {
        self.commands
    }

    pub(in crate::provider::local) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Commands handed on so far that change data.
    pub(super) fn sent(&self) -> u64 {
        self.sift.commands()
    }

    pub(super) fn is_between_commands(&self) -> bool {
        self.sift.is_between_commands()
    }

    /// The next bytes of the replay; `None` behind the last.
    ///
    /// # Errors
    /// What the disk said, and that the file is not the one that was opened.
    pub(in crate::provider::local) fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let piece = self.piece()?;
        if piece.is_none() && hex(&self.sha.clone().finalize()) != self.sha256 {
            return Err("the tail is not what it was".to_owned());
        }
        Ok(piece)
    }

    fn piece(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.file.as_mut().filter(|_| !self.ended) else { return Ok(None) };
        let mut piece = vec![0; PIECE_BYTES];
        let n = file.read(&mut piece).map_err(|e| e.to_string())?;
        if n == 0 {
            self.ended = true;
            return Ok(None);
        }
        piece.truncate(n);
        self.sha.update(&piece);
        let mut kept = Vec::with_capacity(n);
        self.sift.feed(&piece, &mut kept)?;
        Ok(Some(kept))
    }
}

fn damaged(why: impl ToString) -> Fault {
    let message = format!("the tail of the restore cannot be replayed: {}", why.to_string());
    Fault::new(Kind::Damaged, "restore.tail_damaged", message)
        .hint("Restore its safety backup alone; what was written behind that is in the file only.")
}
