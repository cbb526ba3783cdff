//! Deletion of a manual set of a cloud-native instance, and what is read before it. What the cloud would refuse is refused
//! before the cloud is asked. A deletion is a job, so that whichever process finds it says what came of it.

use crate::guard::facts::Facts;
use crate::guard::facts::backup::CloudDeletion;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, RecoveryKind, StoredRecovery};
use crate::provider::jobs::{Recoverable, tell};
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::lookup::find_set;
use crate::provider::tair::poller::Poller;
use crate::provider::tair::sets::{self, listed_facts};
use crate::tair::wire::backups::{DeleteBackup, is_plain_id};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Looks in a row that have to show the list without the set.
const ABSENT: u32 = 2;

/// What a later process needs to find out what came of a deletion.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The set that the cloud was asked to delete.
    backup_id: String,
    /// The ids of its files, by which it is kept what was found of them.
    #[serde(default)]
    files: Vec<String>,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudDeletion;
}

fn deleted(backup_id: &str) -> String {
    format!("backup {backup_id} is deleted")
}

fn still_listed(backup_id: &str, why: &str) -> Fault {
    let message = format!("it is not known whether backup {backup_id} is deleted: {why}");
    Fault::new(Kind::Uncertain, "cloud.uncertain", message).hint("Look with describe_backups before you call again.")
}

impl Inner {
    /// What a deletion is about.
    pub async fn deletion_facts(&self, id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let listed = self.listed(id, sets::always()).await?;
        let others = listed.iter().flatten().count().saturating_sub(1);
        let set = listed_facts(&find_set(listed, id, backup_id)?);
        let refused = Architecture::of(&a).can_delete_sets().err();
        let ids = [backup_id.to_owned()];
        let dependents = self.jobs.state.dependents(id, &ids).await?.remove(backup_id).unwrap_or_default();
        Ok(Facts::CloudDeletion(CloudDeletion { state: self.cloud_state(&a).await?, set, refused, others, dependents }))
    }

    /// Deletes the set that is permitted, and waits for what comes of it.
    pub async fn delete(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let bound = self.bound().await?;
        let (inner, id) = (Arc::clone(&bound), backup_id.to_owned());
        let (waiting, told) = tokio::sync::oneshot::channel();
        let job = bound
            .jobs
            .begin_permitted(permit, JobKind::Deletion, backup_id, move |job, plan, permit| async move {
                let done = inner.delete_set(&job, &plan, permit, &id).await;
                tell(waiting, &done);
                done.map_err(Into::into)
            })
            .await?;
        bound.jobs.outcome(&job, told).await
    }

    async fn delete_set(&self, job: &Job, plan: &Plan, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let id = &plan.instance_id;
        let set = self.cloud_set_as_listed(id, backup_id).await?;
        // The permit is for what was shown to the person.
        let planned = match &plan.preconditions {
            Preconditions::CloudDeletion { set, .. } => set.as_ref(),
            _ => return Err(plan.unsupported()),
        };
        if set.set.mode != Mode::Manual || planned != Some(&SetIdentity::from(&set.facts())) {
            return Err(changed("the backup is not the one that was planned; it is kept"));
        }
        let files: Vec<String> = set.shards.iter().map(|file| file.id.clone()).collect();
        let record = Record { backup_id: backup_id.to_owned(), files };
        self.jobs.save_recovery(job, &record).await?;
        let call = DeleteBackup { instance_id: id.clone(), backup_id: backup_id.to_owned() };
        let why = match self.client.granted(permit.delete()?).call(&call).await {
            Ok(_) => "the cloud took the call, and still lists it".to_owned(),
            Err(e) if e.is_uncertain() => e.to_string(),
            Err(e) => return Err(e.into()),
        };
        if !self.is_gone(id, backup_id).await {
            return Err(still_listed(backup_id, &why));
        }
        self.forget_verified(id, &record).await;
        Ok(deleted(backup_id))
    }

    /// Forgets what the verifications of a set that is gone came to, and of its files.
    async fn forget_verified(&self, instance_id: &str, gone: &Record) {
        for of in std::iter::once(&gone.backup_id).chain(&gone.files) {
            if let Err(fault) = self.jobs.state.forget_verified(instance_id, of).await {
                tracing::warn!(backup = %of, "what it was verified to could not be forgotten: {fault}");
            }
        }
    }

    /// Finds out what came of a deletion whose process died.
    pub async fn resume_deletion(&self, job: &Job, record: Option<&StoredRecovery>) -> JobEnd {
        let Some(record) = Record::read(record)? else {
            let message = "the process died before it asked the cloud for this deletion";
            return Err(Fault::new(Kind::Unexpected, "job.interrupted", message)
                .hint("The set is kept. Make a new plan with delete_backup.")
                .into());
        };
        if self.is_gone(&job.instance_id, &record.backup_id).await {
            self.forget_verified(&job.instance_id, &record).await;
            return Ok(deleted(&record.backup_id));
        }
        Err(still_listed(&record.backup_id, "the process died around the call, and the cloud still lists it").into())
    }

    /// Whether a list shows that a set is not there. One with a set whose id cannot be read shows nothing.
    async fn is_absent(&self, instance_id: &str, backup_id: &str) -> Result<bool, Fault> {
        if Architecture::of(&self.attribute(instance_id).await?).lists_cluster_sets() {
            let rows = sets::cluster_rows(&self.client, instance_id, sets::always()).await?;
            return Ok(rows
                .iter()
                .all(|row| is_plain_id(&row.cluster_backup_id) && row.cluster_backup_id != backup_id));
        }
        let rows = sets::rows(&self.client, instance_id, sets::always()).await?;
        Ok(rows.iter().all(|row| match row.id() {
            Some(id) => backup_id.split(',').all(|part| part != id),
            None => !row.has_unreadable_id() && !row.has_succeeded(),
        }))
    }

    /// Whether a set disappears from the list within the time in which changes are seen. A look that fails shows nothing.
    async fn is_gone(&self, instance_id: &str, backup_id: &str) -> bool {
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay, &self.jobs.stop);
        let mut absent = 0;
        loop {
            let shows_none = self.is_absent(instance_id, backup_id).await.unwrap_or(false);
            absent = if shows_none { absent + 1 } else { 0 };
            if absent >= ABSENT {
                return true;
            }
            if poller.wait("the deletion").await.is_err() {
                return false;
            }
        }
    }
}
