//! Recovery: what a process that died left behind is found, reconciled, and said, at the next start of any process.

use crate::guard::grant::Recovery;
use crate::guard::plan::Plan;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind, JobStatus, RecoveryKind};
use crate::model::secret::Secret;
use crate::provider::jobs::{Reconciled, Recoverable};
use crate::provider::local::Inner;
use crate::redis::conn::Conn;
use crate::redis::facts::key_counts;
use crate::redis::master::rollback::{Found, roll_back};
use crate::redis::master::types::RollbackRecord;
use crate::redis::settings::Settings;
use crate::state::jobs::Orphan;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A target that is away must not hold up a start.
const GLANCE: Duration = Duration::from_secs(3);

/// Written before a restore touches its target; all that is needed to take it off us again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// The call that brings back what was there.
    back: String,
    /// Keys the set has, for judging how far it came.
    keys: u64,
    /// What the target was before it was told to follow us; `None` for a restore by commands.
    switch: Option<SwitchRecord>,
}

impl Recoverable for RecoveryRecord {
    const KIND: RecoveryKind = RecoveryKind::LocalRestore;
}

/// [`RollbackRecord`], as stored.
#[derive(Debug, Serialize, Deserialize)]
struct SwitchRecord {
    repl_diskless_load: String,
    masterauth: Option<String>,
    masteruser: Option<String>,
    replica_read_only: String,
    host: String,
    port: u16,
    replid: String,
    run_id: String,
}

impl RecoveryRecord {
    /// Of a restore by commands, or of one that has not been told how yet.
    pub fn of(plan: &Plan, set: &BackupSet) -> Self {
        Self { back: plan.impact.way_back.clone(), keys: total_keys(&set.counts), switch: None }
    }

    /// Of a restore by replication.
    pub fn switching(self, switch: &RollbackRecord) -> Self {
        let s = &switch.settings;
        let record = SwitchRecord {
            repl_diskless_load: s.repl_diskless_load.clone(),
            masterauth: s.masterauth.as_ref().map(|p| p.expose().to_owned()),
            masteruser: s.masteruser.clone(),
            replica_read_only: s.replica_read_only.clone(),
            host: switch.host.clone(),
            port: switch.port,
            replid: switch.replid.clone(),
            run_id: switch.run_id.clone(),
        };
        Self { switch: Some(record), ..self }
    }
}

impl SwitchRecord {
    fn switch(&self) -> RollbackRecord {
        RollbackRecord {
            settings: Settings {
                repl_diskless_load: self.repl_diskless_load.clone(),
                masterauth: self.masterauth.clone().map(Secret::new),
                masteruser: self.masteruser.clone(),
                replica_read_only: self.replica_read_only.clone(),
            },
            host: self.host.clone(),
            port: self.port,
            replid: self.replid.clone(),
            run_id: self.run_id.clone(),
        }
    }
}

impl Inner {
    /// Reconciles every job whose process is dead. What is adopted is reconciled whoever asked for it and goes away.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        for id in &self.ids {
            if let Err(fault) = self.vault.sweep(id, &**self).await {
                tracing::warn!("what is left of deleted sets could not be removed: {fault}");
            }
        }
        let inner = Arc::clone(self);
        self.jobs
            .adopt(move |orphan| {
                let inner = Arc::clone(&inner);
                async move { inner.reconcile(&orphan).await }
            })
            .await
    }

    /// The error: not now.
    async fn reconcile(&self, orphan: &Orphan) -> Result<Reconciled, Fault> {
        let outcome = match orphan.job.kind {
            JobKind::Backup | JobKind::Clone => self.reconcile_backup(&orphan.job).await,
            JobKind::Restore => self.reconcile_restore(orphan).await.map_err(|away| {
                let stage = format!("its target cannot be asked yet ({})", away.message);
                Fault::new(away.kind, away.code, stage).because(away)
            })?,
        };
        if orphan.job.status != JobStatus::Failed {
            return Ok(Reconciled::Ended(outcome));
        }
        Ok(match outcome {
            // It had ended before, with a code of its own.
            Err(fault) => Reconciled::RolledBack { message: fault.message, hint: fault.hint },
            Ok(message) => Reconciled::RolledBack { message, hint: orphan.job.hint.clone() },
        })
    }

    async fn reconcile_backup(&self, job: &Job) -> Result<String, Fault> {
        // The manifest may have been the last thing its process put.
        if self.vault.find(&job.instance_id, &job.backup_id, &()).await.is_ok() {
            return Ok("the set was whole when its process died".into());
        }
        self.vault.discard_staging(&job.instance_id, &job.backup_id).await?;
        Err(Fault::new(
            Kind::Unexpected,
            "job.interrupted",
            "the process taking this backup died; nothing of it is kept",
        )
        .hint("Call create_backup again."))
    }

    /// The outer error: the target cannot be asked now.
    async fn reconcile_restore(&self, orphan: &Orphan) -> Result<Result<String, Fault>, Fault> {
        let interrupted =
            |message: String, hint: String| Fault::new(Kind::Unexpected, "job.interrupted", message).hint(hint);
        let recovery = match RecoveryRecord::read(orphan.recovery.as_ref()) {
            Ok(Some(recovery)) => recovery,
            Ok(None) => {
                return Ok(Err(interrupted(
                    "the process died before it touched the target; its data is as it was".into(),
                    "Make a new plan with restore_instance.".into(),
                )));
            }
            Err(damaged) => return Ok(Err(damaged)),
        };
        let id = &orphan.job.instance_id;
        let mut conn = Conn::open(&self.endpoint(id).await?, GLANCE).await?;
        let back = format!("What was there before: {}.", recovery.back);
        let Some(record) = &recovery.switch else {
            let keys = total_keys(&key_counts(&mut conn).await?);
            let message = format!(
                "the process died while keys were written one by one: the target holds {keys} keys, the backup has {}",
                recovery.keys
            );
            return Ok(Err(interrupted(message, format!("Restore again to complete it. {back}"))));
        };
        let stored = orphan.recovery.as_ref().map(|stored| stored.json.clone()).unwrap_or_default();
        let grant = Recovery { instance_id: id.clone(), record: stored }.roll_back();
        let rolled_back = roll_back(grant, &mut conn, &record.switch()).await?;
        let keys = total_keys(&key_counts(&mut conn).await?);
        if let Some(problem) = rolled_back.problem {
            return Err(Fault::new(Kind::Provider, "restore.unsettled", problem));
        }
        let put_back = match &rolled_back.found {
            Found::Master => "it follows nobody and its settings are as they were".to_owned(),
            Found::FollowedUs => "it has been taken off this program and its settings are as they were".to_owned(),
            Found::FollowsAnother { master } => {
                format!("it follows {master}, which is not our doing, and was left alone")
            }
        };
        let holds = match (rolled_back.loaded, rolled_back.same_process) {
            (true, _) => format!("the target holds the restored backup ({keys} keys)"),
            (false, true) => {
                format!("the target holds its old data ({keys} keys): the restore had not been swapped in")
            }
            (false, false) => {
                format!("the target has been restarted since and holds {keys} keys, whichever it had saved")
            }
        };
        let message = match orphan.job.status {
            JobStatus::Failed => format!("{}; reconciled since: {holds}; {put_back}", orphan.job.message),
            _ => format!("the process died during this restore; {holds}; {put_back}"),
        };
        if rolled_back.loaded && orphan.job.status == JobStatus::Running {
            return Ok(Ok(format!("{message}. {back}")));
        }
        Ok(Err(interrupted(message, format!("Make a new plan to restore again. {back}"))))
    }
}
