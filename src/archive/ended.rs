//! Spools of timelines that are no longer written: what they hold goes to the vault beside the timeline that is.
//!
//! It must not touch a spool that somebody writes to, nor give up what is in one without a gap that says so.

use crate::archive::{Archive, SealLimits, failed, gap, layout, spool};
use crate::model::fault::{Fault, Kind};
use crate::model::log::{Gap, GapCause, LogHead, is_timeline_id};
use jiff::Timestamp;
use std::io;
use std::path::Path;

/// Bytes in a spool, and in those beside it, of the same shard.
pub(super) fn bytes_in(dir: &Path) -> (u64, u64) {
    let spools = dir.parent().and_then(|shard| std::fs::read_dir(shard).ok()).into_iter().flatten().flatten();
    let (mut own, mut beside) = (0, 0);
    for path in spools.map(|entry| entry.path()) {
        let files = spool::files(&path).into_iter().flatten();
        let bytes: u64 = files.filter_map(|(_, file)| file.metadata().ok()).map(|meta| meta.len()).sum();
        *(if path == dir { &mut own } else { &mut beside }) += bytes;
    }
    (own, beside)
}

impl Archive {
    /// Brings to the vault what ended timelines of a shard have left in the spool of this machine; the newest timeline is none of
    /// them. Whether nothing is left; `sealed` is told the newest segment of each that has come there, also where that fails later.
    ///
    /// # Errors
    /// `log.failed`, where the same can be tried again later; `log.conflict`, where another archiver wrote to one: what is left of that
    /// is set aside, and its gap put down.
    pub fn seal_ended(&self, instance_id: &str, shard: u16, sealed: &mut dyn FnMut(LogHead)) -> Result<bool, Fault> {
        let dir = self.spool.join(layout::shard(instance_id, shard));
        let left = left(&dir).map_err(|e| failed("read", &dir.display().to_string(), e))?;
        // One alone is the one that is written.
        if left.len() < 2 {
            return Ok(true);
        }
        let newest = self.timelines(instance_id, shard)?.pop().map(|timeline| timeline.id);
        let mut whole = true;
        for id in left.into_iter().filter(|id| Some(id) != newest.as_ref()) {
            whole &= self.seal_one((instance_id, shard, &id), &dir.join(&id), sealed)?;
        }
        Ok(whole)
    }

    fn seal_one(
        &self,
        (instance_id, shard, id): (&str, u16, &str),
        dir: &Path,
        sealed: &mut dyn FnMut(LogHead),
    ) -> Result<bool, Fault> {
        let io = |e: io::Error| failed("read", &dir.display().to_string(), e);
        let timeline = self.timeline(instance_id, shard, id)?;
        let mut writer = self.writer(&timeline, SealLimits::default())?;
        writer.seal_now()?;
        let mut sealer = writer.sealer();
        // A file that is damaged is set aside, with its gap, and the next call goes on behind it.
        for _ in 0..spool::files(dir).map_err(io)?.len() {
            let done = sealer.seal();
            if let Some(head) = sealer.head() {
                sealed(head);
            }
            match done {
                Ok(_) => break,
                Err(fault) if fault.kind == Kind::Damaged => {
                    tracing::warn!("the spool of an earlier timeline: {fault}")
                }
                Err(fault) if fault.kind == Kind::Refused => {
                    let archived = writer.archived_until();
                    let from = archived.map_or(timeline.opened_at, |reached| reached.at);
                    let gap = Gap {
                        timeline: timeline.id.clone(),
                        shard,
                        after_offset: archived.map_or(timeline.offset, |reached| reached.offset),
                        from,
                        to: Timestamp::now().max(from),
                        cause: GapCause::Other,
                        source_run_id: String::new(),
                        detail: "another archiver wrote to the same timeline".to_owned(),
                    };
                    self.record_gap(instance_id, &gap)?;
                    for (_, file) in spool::files(dir).map_err(io)? {
                        spool::set_aside(&file).map_err(io)?;
                    }
                    return Err(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
        // Another thread of this process may be at it still.
        let all = spool::files(dir).map_err(io)?.len() <= 1 && gap::kept(dir).map_err(io)?.is_empty();
        if all {
            writer.clear()?;
        }
        Ok(all)
    }
}

/// The timelines that have something in the spool.
fn left(shard: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(shard) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let (path, id) =
            (entry.as_ref().map(std::fs::DirEntry::path), entry.as_ref().map(std::fs::DirEntry::file_name));
        let (Ok(path), Ok(id)) = (path, id) else { continue };
        let id = id.to_string_lossy().into_owned();
        if is_timeline_id(&id) && !(spool::files(&path)?.is_empty() && gap::kept(&path)?.is_empty()) {
            found.push(id);
        }
    }
    found.sort();
    Ok(found)
}
