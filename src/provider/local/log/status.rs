//! What is told of a log: by its archiver, in a file of the home that any process reads, and by the vault.
//!
//! What the archiver tells is a courtesy to whoever looks: nothing is decided by it.

use crate::archive::SHARD;
use crate::archive::collector::spooling::Spooling;
use crate::archive::{Coverage, Run};
use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::log::{Archiver, Gap, GapCause, LogStatus};
use crate::provider::local::Inner;
use crate::provider::local::log::lease_of;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What an archiver tells of its log.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    spooled_until: Option<Timestamp>,
}

impl Inner {
    fn told_file(&self, id: &str) -> PathBuf {
        self.archive.spool_dir().join(format!("{id}.json"))
    }

    /// Tells how far a log is. A crash leaves the old word or none.
    pub(super) async fn tell_of_log(&self, log: &Spooling) {
        let told = Told { spooled_until: log.progress().spooled.map(|reached| reached.at) };
        let file = self.told_file(&log.timeline.instance_id);
        let new = file.with_extension("new");
        let written = blocking(move || {
            let json = serde_json::to_vec(&told).unwrap_or_default();
            Ok(std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, &file)))
        });
        if let Ok(Err(e)) = written.await {
            tracing::debug!("how far the log is could not be told: {e}");
        }
    }

    async fn told_of_log(&self, id: &str) -> Option<Told> {
        serde_json::from_slice(&tokio::fs::read(self.told_file(id)).await.ok()?).ok()
    }

    /// What is told of an instance's log; `None` where it never had one. A set that this user may not read opens no window, and hides nothing else.
    ///
    /// # Errors
    /// `log.failed`, `log.damaged`, `state.failed`.
    pub(in crate::provider::local) async fn log_status(&self, id: &str) -> Result<Option<LogStatus>, Fault> {
        let on = self.log_is_on(id).await?;
        let bases = self.all_sets(id).await?.into_iter().flatten().collect::<Vec<_>>();
        let (archive, instance) = (self.archive.clone(), id.to_owned());
        let read = move || {
            let coverage = archive.coverage(&instance, SHARD)?;
            let windows = coverage.windows(&bases)?;
            Ok((coverage, windows))
        };
        let (coverage, windows) = blocking(read).await?;
        if !on && coverage.runs.is_empty() && coverage.gaps.is_empty() {
            return Ok(None);
        }
        let holder = self.state.holder(&lease_of(id, SHARD)).await?;
        let told = self.told_of_log(id).await;
        let archived_until = coverage.runs.iter().map(Run::until).max();
        let gaps = missing(coverage);
        let alive = holder.is_some();
        // What a dead archiver told of its spool is still there: the spool is.
        let spooled_until = told.as_ref().and_then(|told| told.spooled_until).max(archived_until);
        let who = holder.as_ref().map(|lease| lease.holder.split('-').next().unwrap_or_default().to_owned());
        Ok(Some(LogStatus {
            on,
            spooled_until,
            archived_until,
            precision_ms: windows.last().map_or(0, |window| window.precision_ms),
            windows: windows.into_iter().map(|window| (window.from, window.to)).collect(),
            gaps,
            archiver: who.map(|pid| Archiver { who: format!("process {pid}"), alive }),
        }))
    }
}

/// What a log lacks, oldest first: gaps, and holes of which no gap tells.
pub(super) fn missing(coverage: Coverage) -> Vec<Gap> {
    let mut gaps = coverage.gaps;
    for hole in coverage.holes {
        let known = gaps.iter().any(|gap| gap.timeline == hole.from.timeline && gap.after_offset == hole.from.offset);
        if !known {
            gaps.push(Gap {
                timeline: hole.from.timeline,
                shard: hole.from.shard,
                after_offset: hole.from.offset,
                from: hole.from_at.unwrap_or(hole.to_at),
                to: hole.to_at,
                cause: GapCause::Other,
                source_run_id: String::new(),
                detail: String::new(),
            });
        }
    }
    gaps.sort_by_key(|gap| gap.from);
    gaps
}
