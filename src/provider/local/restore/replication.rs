//! Restore by replication: this process acts as the target's master, and the target swaps the set in whole.

use crate::config::instance::Announce;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::Plan;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::job::{Job, Unfinished};
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::master::session::Session;
use crate::redis::master::types::{MasterOptions, Step, Supply};
use crate::vault::frames::FrameReader;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

/// A target of many gigabytes loads for minutes, but shows signs of life all along.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

impl Inner {
    pub(super) async fn by_replication(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        data: FrameReader,
    ) -> Result<(), Unfinished> {
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let announce = self.config(&plan.instance_id).and_then(|c| c.announce.clone());
        let options = MasterOptions {
            bind: announce.as_ref().map(Announce::any),
            // An announced port is one that somebody forwards to us: it must be the one we listen on.
            port: announce.as_ref().and_then(|a| a.port).unwrap_or(0),
            allow_plain: self.config(&plan.instance_id).is_some_and(|c| c.allow_plain_replication),
            announce: announce.map(|a| (a.host, a.port)),
            stall: STALL_TIMEOUT,
            total: Some(set.rdb_bytes),
            ..MasterOptions::default()
        };
        let session = Session::prepare(&endpoint, options).await.map_err(Fault::from)?;
        self.still_as_planned(&mut Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?, plan).await?;
        // From here on a crash is rolled back at the next start.
        self.jobs.save_recovery(job, &recovery.switching(session.rollback_record())).await?;
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let supplier = {
            let bytes = set.rdb_bytes;
            tokio::task::spawn_blocking(move || supply(data, bytes, &tx))
        };
        let shown = Mutex::new(("preparing the target", 0));
        let run = session.run(grant, rx, |step| {
            let now = match step {
                Step::SettingsSaved => ("preparing the target", 0),
                Step::Switched => ("waiting for the target to connect", 0),
                Step::Connected => ("the target is connected", 0),
                Step::Streaming { sent, .. } => ("sending; the target loads", sent),
                Step::Loaded => ("loaded; promoting", set.rdb_bytes),
                Step::Promoted | Step::Restored => ("promoted; settings put back", set.rdb_bytes),
            };
            *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        });
        let how_far = || *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = self.reporting(job, set, how_far, run).await;
        // The thread ends by itself: its channel is closed.
        let _ = supplier.await;
        done.map(|_| ()).map_err(ended_by)
    }
}

/// Reads data whose file was just shown to be the one that was verified. Each frame's own checksum is right before it goes
/// out, and the end goes out only behind all of them.
fn supply(mut data: FrameReader, bytes: u64, to: &mpsc::Sender<Supply>) {
    let mut all = || -> Result<(), String> {
        let mut sent = 0;
        while let Some(frame) = data.next_frame().map_err(|e| e.to_string())? {
            sent += frame.len() as u64;
            if to.blocking_send(Supply::Chunk(frame)).is_err() {
                return Ok(());
            }
        }
        if sent == bytes { Ok(()) } else { Err(format!("the set gave {sent} bytes, its manifest says {bytes}")) }
    };
    let last = all().map_or_else(Supply::Failed, |()| Supply::Done);
    // The other side may have given up; it says why.
    let _ = to.blocking_send(last);
}

/// How a restore by replication ended. Where the target is not off us with its own settings, the recovery record is still needed.
pub(super) fn ended_by(e: RedisError) -> Unfinished {
    if matches!(e, RedisError::Restore { not_rolled_back: Some(_), .. }) {
        Unfinished::RollbackPending(e.into())
    } else {
        Unfinished::Failed(e.into())
    }
}
