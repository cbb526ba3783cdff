//! A moment of an instance's log, or the last write before a restore's cutover, as files that a bare server loads: the base, verified while
//! it is read, and the commands behind it.
//!
//! What has the name of the download is whole: it is written beside that, synced, and renamed. It must not replace anything.

use crate::archive::export::AofForm;
use crate::archive::{Archive, Cut, CutAt};
use crate::config::durable;
use crate::guard::facts::replay::NoMoment;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::text::bytes;
use crate::model::time::written_short;
use crate::provider::download::taken;
use crate::provider::local::Inner;
use crate::provider::local::download::told;
use crate::provider::local::restore::tail_replay::{Kept, TailReader};
use crate::provider::part::dir::PartDir;
use crate::provider::part::{failed, parts};
use crate::provider::{ExportAt, ExportOf, Exported, OnBytes};
use crate::redis::master::shift::StreamShift;
use crate::vault::Vault;
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes that an export must leave free. Its times are to fit in too, one of 16 bytes a second at most.
const RESERVE: u64 = 16 << 20;

impl Inner {
    /// Writes a moment of an instance's log to a directory.
    pub(super) async fn export(
        &self,
        instance_id: &str,
        of: ExportOf,
        to: &Path,
        on_bytes: &OnBytes,
    ) -> Result<Result<Exported, NoMoment>, Fault> {
        let found = match of.at {
            ExportAt::Log(at) => self
                .cut_since(instance_id, at, of.since)
                .await?
                .map(|cut| (cut.base.clone(), cut.at, Commands::Log(self.archive.clone(), Box::new(cut)))),
            ExportAt::Cutover(job_id) => {
                self.kept_writes(instance_id, &job_id).await?.map(|(base, moment, kept)| match kept {
                    Kept::Tail(tail) => (base, moment, Commands::Tail(tail)),
                    Kept::Log(cut) => (base, moment, Commands::Log(self.archive.clone(), cut)),
                })
            }
        };
        let (base, moment, commands) = match found {
            Ok(found) => found,
            Err(none) => return Ok(Err(none)),
        };
        let set = self.set(instance_id, &base).await?;
        let form = AofForm::of(&set.engine, &set.version);
        if of.since.is_some() && form == AofForm::SingleFile {
            let message =
                format!("Redis {} knows no times in an append-only file, so a range could not be cut", set.version);
            return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
                .hint("Leave start_time out, and call once for each moment."));
        }
        let data = self.vault.open_data(&set).await?;
        let export = Export { form, vault: self.vault.clone(), commands, moment, set };
        let (records, to) = (parts(self.state.home()), to.to_owned());
        told(on_bytes, move |on_bytes| export.place(data, &records, &to, on_bytes)).await.map(Ok)
    }

    /// The cut of a state, from a base that has the state of an earlier moment on the way.
    async fn cut_since(
        &self,
        instance_id: &str,
        at: CutAt,
        since: Option<Timestamp>,
    ) -> Result<Result<Cut, NoMoment>, Fault> {
        let bases: Vec<BackupSet> = self.sets(instance_id).await?.into_iter().flatten().collect();
        let asked = match &at {
            CutAt::Moment(at) => written_short(*at),
            CutAt::Before(position) => format!("right before {position}"),
        };
        let cut = match self.find_cut(instance_id, at.clone(), asked.clone(), bases.clone()).await? {
            Ok((cut, _)) => cut,
            Err(none) => return Ok(Err(none)),
        };
        let Some(since) = since else { return Ok(Ok(cut)) };
        let first = self.find_cut(instance_id, CutAt::Moment(since), written_short(since), bases.clone()).await?;
        let base = match first {
            Ok((first, _)) if first.base == cut.base => return Ok(Ok(cut)),
            Ok((first, _)) => first.base,
            Err(none) => return Ok(Err(none)),
        };
        let base = bases.iter().filter(|set| set.id == base).cloned().collect();
        Ok(match self.find_cut(instance_id, at, asked, base).await? {
            Ok((cut, _)) => Ok(cut),
            // Either moment has a state; no log leads from one to the other.
            Err(none) => {
                let why = format!("the log does not lead there from {} without a break", written_short(since));
                Err(NoMoment { why, ..none })
            }
        })
    }
}

/// The commands behind the base.
enum Commands {
    Log(Archive, Box<Cut>),
    Tail(Box<TailReader>),
}

/// What is written.
struct Export {
    vault: Vault,
    commands: Commands,
    /// When the last of them had been received.
    moment: Timestamp,
    set: BackupSet,
    form: AofForm,
}

impl Export {
    /// Puts the files in place, or finds that they are there.
    fn place(mut self, data: FrameReader, records: &Path, to: &Path, on_bytes: &OnBytes) -> Result<Exported, Fault> {
        let (form, moment, base) = (self.form, self.moment, self.set.clone());
        let has_times = form == AofForm::Directory && matches!(self.commands, Commands::Log(..));
        let done = |bytes, already_there| Exported { form, has_times, moment, base, bytes, already_there };
        if is_taken(to) {
            return self.files(data, to, true, on_bytes).map(|bytes| done(bytes, true));
        }
        self.has_room(to)?;
        let part = PartDir::begin(records, to)?;
        match self.files(data, part.path(), false, on_bytes) {
            Ok(bytes) => match part.place(to) {
                Ok(()) => Ok(done(bytes, false)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(taken(to)),
                Err(e) => Err(failed("finish", to, e)),
            },
            Err(fault) => {
                part.discard();
                Err(fault)
            }
        }
    }

    /// Bytes of set and commands.
    fn bytes(&self) -> u64 {
        let commands = match &self.commands {
            Commands::Log(_, cut) => cut.log_bytes,
            Commands::Tail(tail) => tail.bytes(),
        };
        self.set.rdb_bytes.saturating_add(commands)
    }

    fn has_room(&self, to: &Path) -> Result<(), Fault> {
        let dir = to.parent().unwrap_or(to);
        let free = durable::free(dir).map_err(|e| failed("look at", dir, e))?;
        let need = self.bytes();
        if need.saturating_add(RESERVE) <= free {
            return Ok(());
        }
        let message =
            format!("there is no room in {}: {} are needed, {} are free", dir.display(), bytes(need), bytes(free));
        Err(Fault::new(Kind::Unexpected, "download.no_room", message)
            .hint("Free space there, or give a directory on another disk; then call again."))
    }

    /// Writes the files below a directory, or compares those that are there; their bytes.
    fn files(&mut self, mut data: FrameReader, root: &Path, compare: bool, on_bytes: &OnBytes) -> Result<u64, Fault> {
        let damaged = |why: &str| self.vault.unreadable(&self.set, why);
        let total = self.bytes();
        let (mut sha, mut all) = (Sha256::new(), 0_u64);
        let mut out = Out::open(root, self.form.base(), compare)?;
        while let Some(frame) = data.next_frame().map_err(|e| self.vault.unreadable(&self.set, e))? {
            sha.update(&frame);
            all += frame.len() as u64;
            out.put(&frame)?;
            on_bytes(all, total);
        }
        if all != self.set.rdb_bytes || hex(&sha.finalize()) != self.set.sha256 {
            return Err(damaged("its content does not have the SHA-256 of its manifest"));
        }
        if self.form.commands() != self.form.base() {
            out.end()?;
            out = Out::open(root, self.form.commands(), compare)?;
        }
        let names = match &self.commands {
            Commands::Log(_, cut) => &cut.names,
            Commands::Tail(tail) => tail.names(),
        };
        // A file that is loaded later is as a replica that lags.
        let relative = self.form == AofForm::SingleFile;
        let mut shift = (relative || StreamShift::is_needed(names)).then(|| StreamShift::new(0, relative));
        let unreadable = |why: String| failed("write", root, io::Error::other(why));
        let mut put = |commands: &[u8], at_ms| {
            let mut moved = Vec::new();
            let commands = match &mut shift {
                Some(shift) => {
                    shift.feed(commands, at_ms, &mut moved).map_err(unreadable)?;
                    &moved
                }
                None => commands,
            };
            all += commands.len() as u64;
            on_bytes(all.min(total), total);
            out.put(commands)
        };
        match &mut self.commands {
            Commands::Log(archive, cut) => archive.export(cut, self.form, put)?,
            Commands::Tail(tail) => {
                while let Some(commands) = tail.next().map_err(unreadable)? {
                    put(&commands, self.moment.as_millisecond())?;
                }
            }
        }
        out.end()?;
        if let Some((name, text)) = self.form.manifest() {
            all += text.len() as u64;
            let mut out = Out::open(root, name, compare)?;
            out.put(text.as_bytes())?;
            out.end()?;
        }
        Ok(all)
    }
}

/// Whether something has a name that is not to be lost: an empty directory is nothing.
fn is_taken(to: &Path) -> bool {
    match std::fs::symlink_metadata(to) {
        Ok(meta) if meta.is_dir() => std::fs::read_dir(to).map_or(true, |mut all| all.next().is_some()),
        there => there.is_ok(),
    }
}

/// A file that is written, or compared with what would be.
struct Out {
    file: File,
    path: PathBuf,
    /// Whether the file was there: nothing is written then.
    compare: bool,
    /// The directory of the download.
    root: PathBuf,
    found: Vec<u8>,
}

impl Out {
    fn open(root: &Path, name: &str, compare: bool) -> Result<Self, Fault> {
        let path = root.join(name);
        let file = if compare {
            durable::open_regular(&path, false).map_err(|_| taken(root))?
        } else {
            let dir = path.parent().unwrap_or(root);
            durable::private_dir(dir)
                .and_then(|()| durable::private_file(&path))
                .map_err(|e| failed("write", &path, e))?
        };
        Ok(Self { file, path, compare, root: root.to_owned(), found: Vec::new() })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.compare {
            return self.file.write_all(bytes).map_err(|e| failed("write", &self.path, e));
        }
        self.found.resize(bytes.len(), 0);
        match self.file.read_exact(&mut self.found) {
            Ok(()) if self.found == bytes => Ok(()),
            _ => Err(taken(&self.root)),
        }
    }

    /// Syncs the file and its name, or makes sure that nothing follows in it.
    fn end(mut self) -> Result<(), Fault> {
        if self.compare {
            return match self.file.read(&mut [0]) {
                Ok(0) => Ok(()),
                _ => Err(taken(&self.root)),
            };
        }
        let dir = self.path.parent().unwrap_or(&self.root);
        self.file.sync_all().and_then(|()| durable::sync_dir(dir)).map_err(|e| failed("finish", &self.path, e))
    }
}
