//! What was written right before the cutover of an earlier restore, found for a replay: the tail that it kept, or the part of the log that
//! has the same. Of a tail what is handed on is the file that was hashed when it was opened.

use crate::archive::sift::Sift;
use crate::archive::{Cut, CutAt};
use crate::config::blocking::blocking;
use crate::guard::facts::replay::NoMoment;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::job::JobKind;
use crate::provider::local::Inner;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::PathBuf;

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where the writes are kept that were accepted between the last safety backup of an earlier restore and its cutover.
pub(in crate::provider::local) enum Kept {
    /// In a file.
    Tail(Box<TailReader>),
    /// In the instance's log.
    Log(Box<Cut>),
}

impl Inner {
    /// What an earlier restore kept of the writes between its last safety backup and its cutover: the base, when the cutover was, and the
    /// commands.
    pub(in crate::provider::local) async fn kept_writes(
        &self,
        instance_id: &str,
        job_id: &str,
    ) -> Result<Result<(String, Timestamp, Kept), NoMoment>, Fault> {
        let asked = format!("the cutover of {job_id}");
        let job = self.state.job(job_id).await?;
        let cutover = self.read_cutover(job_id).await;
        let cutover = cutover.filter(|c| c.instance_id == instance_id && job.kind == JobKind::Restore);
        let why = match &cutover {
            None => "nothing is kept of what was written before it, or it was another instance's".to_owned(),
            Some(cutover) if !cutover.is_whole() => {
                format!("not all that was written behind {} was kept", cutover.safety_backup_id)
            }
            Some(_) => String::new(),
        };
        let Some(cutover) = cutover.filter(|_| why.is_empty()) else {
            return Ok(Err(self.no_moment(instance_id, asked, why, None, None).await?));
        };
        let moment = job.serving_at.unwrap_or(job.created_at);
        if let Some(position) = cutover.in_log {
            let base = self.found(instance_id, &cutover.safety_backup_id).await?;
            let found = self.find_cut(instance_id, CutAt::Before(position), asked, vec![base]).await?;
            return Ok(found.map(|(cut, _)| (cutover.safety_backup_id, moment, Kept::Log(Box::new(cut)))));
        }
        let path = cutover.tail.map(std::path::PathBuf::from);
        let reader = blocking(move || TailReader::open(path)).await?;
        if cutover.writes_after.is_none_or(|writes| reader.commands() < writes) {
            let why = format!("of what was written behind {} some is no longer there", cutover.safety_backup_id);
            return Ok(Err(self.no_moment(instance_id, asked, why, None, None).await?));
        }
        Ok(Ok((cutover.safety_backup_id, moment, Kept::Tail(Box::new(reader)))))
    }
}

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
