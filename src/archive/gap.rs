//! Gaps: what is missing in the log, each an object with its cause. They are put once; nothing here changes or removes one.
//!
//! One that is found while the vault must not be waited for is kept in the spool until the vault has it.

use crate::archive::layout::{self, Name};
use crate::archive::{Archive, damaged, failed, record};
use crate::config::durable;
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::log::Gap;
use crate::model::text::clean;
use std::path::{Path, PathBuf};

/// Keeps a gap in the directory of a spool, until the vault has it.
///
/// # Errors
/// `log.failed`; `system.no_randomness`.
pub(super) fn keep(dir: &Path, gap: &Gap) -> Result<(), Fault> {
    let path = dir.join(layout::gap_file(gap.after_offset, gap.from, &hex(&random::<3>()?)));
    let put = || durable::put_new(&path, &serde_json::to_vec(gap)?);
    put().map_err(|e| failed("write", &path.display().to_string(), e))
}

/// The gaps that are kept in a directory.
pub(super) fn kept(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if matches!(layout::name_of(&name), Some(Name::Gap)) {
            found.push(dir.join(name));
        }
    }
    found.sort();
    Ok(found)
}

impl Archive {
    /// Puts the gaps down that a spool has kept, each under the name that it has there: one that was put before a crash is not put again.
    pub(super) fn record_kept(&self, instance_id: &str, dir: &Path) -> Result<(), Fault> {
        let fault = |path: &Path, e: std::io::Error| failed("read", &path.display().to_string(), e);
        for path in kept(dir).map_err(|e| fault(dir, e))? {
            let gap: Gap = serde_json::from_slice(&std::fs::read(&path).map_err(|e| fault(&path, e))?)
                .map_err(|e| fault(&path, e.into()))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{}/{file}", layout::timeline(instance_id, gap.shard, &gap.timeline));
            if !self.store.has(&name).map_err(|e| failed("read", &self.store.place(&name), e))? {
                record::put(&*self.store, &name, &gap)?;
            }
            std::fs::remove_file(&path).map_err(|e| fault(&path, e))?;
        }
        Ok(())
    }

    /// Puts a gap down for good.
    ///
    /// # Errors
    /// `log.failed`; `system.no_randomness`.
    pub fn record_gap(&self, instance_id: &str, gap: &Gap) -> Result<(), Fault> {
        let file = layout::gap_file(gap.after_offset, gap.from, &hex(&random::<3>()?));
        let name = format!("{}/{file}", layout::timeline(instance_id, gap.shard, &gap.timeline));
        record::put(&*self.store, &name, gap).map(drop)
    }

    /// Reads a gap of a timeline, by its name under the shard's prefix.
    pub(super) fn gap(&self, prefix: &str, timeline: &str, name: &str) -> Result<Gap, Fault> {
        let name = format!("{prefix}/{name}");
        let (gap, _) = record::read::<Gap>(&*self.store, &name)?;
        if gap.timeline != timeline {
            return Err(damaged(&self.store.place(&name), "says that it is another timeline's"));
        }
        // Whoever can write to the vault can write this too.
        Ok(Gap { source_run_id: clean(&gap.source_run_id), detail: clean(&gap.detail), ..gap })
    }
}
