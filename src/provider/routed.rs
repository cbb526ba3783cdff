//! One face for all instances: those that we reach ourselves, and those on Alibaba Cloud. An id that the configuration
//! names is ours; any other is the cloud's, where it is configured.

use crate::guard::act::{Act, PolicyChange};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::replay::NoMoment;
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, Safety};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::calendar::{Calendar, History};
use crate::model::destruction::Destructions;
use crate::model::fault::Fault;
use crate::model::impact::KeyImpact;
use crate::model::instance::{Capabilities, Capability, Instance};
use crate::model::job::Job;
use crate::model::log::LogStatus;
use crate::model::persistence::Persistence;
use crate::model::policy::{BackupPolicy, Retention};
use crate::model::pruning::Keep;
use crate::model::restore::Cutover;
use crate::model::text::nearest;
use crate::model::verification::Level;
use crate::provider::comparison::{Compared, OnStage, StateOf};
use crate::provider::local::Local;
use crate::provider::set_stream::SetStream;
use crate::provider::tair::Tair;
use crate::provider::traffic::Counters;
use crate::provider::{
    Carried, Downloaded, ExportOf, Exported, InstanceQuery, LogScope, OnBytes, Provider, Raised, Range, SignedUrl,
    WriteLock,
};
use crate::state::leases::Lease;
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

/// A provider of both kinds of instance.
pub struct Routed {
    local: Local,
    tair: Tair,
}

impl Routed {
    /// Both providers behind one.
    #[must_use]
    pub const fn new(local: Local, tair: Tair) -> Self {
        Self { local, tair }
    }

    fn of(&self, instance_id: &str) -> &dyn Provider {
        if self.local.serves(instance_id) { &self.local } else { &self.tair }
    }
}

#[async_trait]
impl Provider for Routed {
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault> {
        let ids = self.local.instance_ids();
        let found = self.of(instance_id).check_instance(instance_id).await;
        // A slip in one of our own names goes to the cloud, which cannot know what was meant.
        match nearest(instance_id, ids.iter().map(String::as_str)) {
            Some(near) => found.map_err(|fault| {
                let hint = format!("Did you mean {near}? {}", fault.hint);
                fault.hint(hint)
            }),
            None => found,
        }
    }

    /// Ours come on the first page, in front of the cloud's.
    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        let all = InstanceQuery { page_number: 1, page_size: u32::MAX, ..wanted.clone() };
        let (ours, theirs) = tokio::join!(self.local.instances(&all), self.tair.instances(wanted));
        let ours = ours?;
        let (mut rows, total) = if wanted.page_number == 1 { ours } else { (Vec::new(), ours.1) };
        match theirs {
            Ok((more, count)) => {
                rows.extend(more);
                Ok((rows, total + count))
            }
            // A cloud that cannot be asked is one row of the list; it must not hide our own instances.
            Err(away) if total > 0 => {
                let live = Err(away.told());
                rows.push(Instance {
                    id: "alibaba-cloud".into(),
                    address: String::new(),
                    kind: "tair",
                    clone_of: None,
                    live,
                    sentinel: false,
                });
                Ok((rows, total))
            }
            Err(away) => Err(away),
        }
    }

    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        self.of(instance_id).describe(instance_id).await
    }

    async fn deletable(&self, instance_id: &str) -> Result<String, Fault> {
        self.local.deletable(instance_id).await
    }

    async fn delete_instance(&self, instance_id: &str, caller: &str) -> Result<String, Fault> {
        // Whatever it is called: an instance of the cloud is never deleted.
        self.local.delete_instance(instance_id, caller).await
    }

    async fn create_backup(
        &self,
        id: &str,
        mode: Mode,
        note: &str,
        days: Option<u32>,
        caller: &str,
    ) -> Result<(Job, bool), Fault> {
        self.of(id).create_backup(id, mode, note, days, caller).await
    }

    async fn take_due(&self, instance_id: &str, note: &str, under: &Lease) -> Result<(Job, bool), Fault> {
        self.of(instance_id).take_due(instance_id, note, under).await
    }

    async fn backups(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        self.of(instance_id).backups(instance_id, range).await
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        self.of(instance_id).backup(instance_id, backup_id).await
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        self.of(&set.instance_id).download(set, to, on_bytes).await
    }

    async fn export(
        &self,
        instance_id: &str,
        of: ExportOf,
        to: &Path,
        on_bytes: &OnBytes,
    ) -> Result<Result<Exported, NoMoment>, Fault> {
        self.of(instance_id).export(instance_id, of, to, on_bytes).await
    }

    async fn download_url(&self, set: &BackupSet) -> Result<SignedUrl, Fault> {
        self.of(&set.instance_id).download_url(set).await
    }

    async fn backup_policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        self.of(instance_id).backup_policy(instance_id).await
    }

    async fn persistence(&self, instance_id: &str) -> Result<Persistence, Fault> {
        self.of(instance_id).persistence(instance_id).await
    }

    async fn raise_backup_policy(&self, id: &str, change: &PolicyChange, caller: &str) -> Result<Raised, Fault> {
        self.of(id).raise_backup_policy(id, change, caller).await
    }

    async fn capabilities(&self, instance_id: &str, asked: &[Capability]) -> Result<Capabilities, Fault> {
        self.of(instance_id).capabilities(instance_id, asked).await
    }

    async fn can_clone(&self, instance_id: &str, backup_id: &str) -> bool {
        self.of(instance_id).can_clone(instance_id, backup_id).await
    }

    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        self.of(instance_id).facts(instance_id, act, earlier).await
    }

    async fn safety_backup(&self, id: &str, assessment: &Assessment, caller: &str) -> Result<SafetyFacts, Fault> {
        self.of(id).safety_backup(id, assessment, caller).await
    }

    async fn safety_status(&self, instance_id: &str, safety: &Safety) -> Result<SafetyFacts, Fault> {
        self.of(instance_id).safety_status(instance_id, safety).await
    }

    async fn key_impact(&self, plan: &Plan, within: Duration) -> Option<KeyImpact> {
        self.of(&plan.instance_id).key_impact(plan, within).await
    }

    async fn compare(&self, from: &StateOf, to: &StateOf, on_stage: &OnStage<'_>) -> Result<Compared, Fault> {
        let ours = [from, to].iter().all(|of| self.local.instance_ids().contains(&of.instance_id));
        let of: &dyn Provider = if ours { &self.local } else { &self.tair };
        of.compare(from, to, on_stage).await
    }

    async fn verify(&self, (id, backup_id): (&str, &str), level: Level, caller: &str) -> Result<Job, Fault> {
        self.of(id).verify((id, backup_id), level, caller).await
    }

    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        let instance_id = permit.plan().instance_id.clone();
        self.of(&instance_id).carry_out(permit).await
    }

    async fn cutover(&self, job: &Job) -> Option<Cutover> {
        self.of(&job.instance_id).cutover(job).await
    }

    async fn clone_of_job(&self, job: &Job) -> Option<String> {
        self.of(&job.instance_id).clone_of_job(job).await
    }

    async fn recover(&self) -> Result<(), Fault> {
        // One that is away must not keep the other from being reconciled.
        let (ours, theirs) = tokio::join!(self.local.recover(), self.tair.recover());
        ours.and(theirs)
    }

    async fn scheduled(&self, instance_id: &str) -> Result<Option<(Calendar, History)>, Fault> {
        self.of(instance_id).scheduled(instance_id).await
    }

    async fn retention(&self, instance_id: &str, keep: Option<&Keep>) -> Result<Retention, Fault> {
        self.of(instance_id).retention(instance_id, keep).await
    }

    async fn keep_logs(&self, scope: LogScope) -> Result<(), Fault> {
        self.local.keep_logs(scope).await
    }

    async fn log_status(&self, instance_id: &str) -> Result<Option<LogStatus>, Fault> {
        self.of(instance_id).log_status(instance_id).await
    }

    async fn log_reaching(&self, id: &str, moment: Timestamp, within: Duration) -> Result<Option<LogStatus>, Fault> {
        self.of(id).log_reaching(id, moment, within).await
    }

    async fn destructive(&self, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Destructions, Fault> {
        self.of(instance_id).destructive(instance_id, range).await
    }

    async fn shut_down(&self, cancel_backups: bool) {
        tokio::join!(self.local.shut_down(cancel_backups), self.tair.shut_down(cancel_backups));
    }

    async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        self.of(&set.instance_id).read_set(set).await
    }

    async fn counters(&self, instance_id: &str) -> Result<Counters, Fault> {
        self.of(instance_id).counters(instance_id).await
    }

    async fn write_lock(&self, instance_id: &str) -> Result<WriteLock, Fault> {
        self.of(instance_id).write_lock(instance_id).await
    }

    async fn set_write_lock(&self, instance_id: &str, to: &WriteLock) -> Result<(), Fault> {
        self.of(instance_id).set_write_lock(instance_id, to).await
    }
}
