//! Instances of Tair on Alibaba Cloud, behind the trait of all providers. What is asked of the cloud and what follows from
//! its answers; the wire is a room below.
//!
//! Every write is one call with one effect: where its outcome is not known, the state is read before anything is sent again.

pub mod architecture;
mod backup;
mod backup_follow;
mod clone;
mod delete;
mod download;
mod facts;
pub mod filter_key;
pub mod order;
pub mod policy;
mod poller;
pub mod polling;
mod proof;
mod recover;
mod restore;
pub mod sets;
pub mod traffic;

use crate::guard::act::{Act, PolicyChange};
use crate::guard::assess::Assessment;
use crate::guard::facts::Facts;
use crate::guard::facts::restore::{SafetyFacts, SafetyStatus};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::preconditions::{PolicyValues, Preconditions};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Capabilities, Capability, Instance, Live};
use crate::model::job::{Job, JobStatus, Unfinished};
use crate::model::policy::BackupPolicy;
use crate::model::secret::Secret;
use crate::model::text::{nearest, quoted};
use crate::provider::jobs::{Jobs, Recoverable};
use crate::provider::{Carried, Downloaded, InstanceQuery, OnBytes, Provider, Raised, Range, SignedUrl, unsupported};
use crate::state::State;
use crate::tair::client::Client;
use crate::tair::error::TairError;
use crate::tair::wire::attribute::{DescribeInstanceAttribute, InstanceAttribute};
use crate::tair::wire::instances::{DescribeInstances, Instance as Row};
use architecture::Architecture;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use policy::NotWritten;
use polling::Polling;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// This provider's word in the store.
const PROVIDER: &str = "tair";
/// Largest page that the cloud documents.
const PAGE: u32 = 50;

/// The provider.
pub struct Tair {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    jobs: Jobs,
    polling: Polling,
    /// Held while the policy of an instance is read, written and read back.
    policies: std::sync::Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Tair {
    /// The instances of one account in one region. Asks nothing yet.
    #[must_use]
    pub fn new(client: Client, state: Arc<dyn State>) -> Self {
        Self::with(client, state, Polling::default())
    }

    /// As [`Tair::new`], at another pace.
    #[must_use]
    pub fn with(client: Client, state: Arc<dyn State>, polling: Polling) -> Self {
        let jobs = Jobs::new(PROVIDER, state);
        Self { inner: Arc::new(Inner { client, jobs, polling, policies: std::sync::Mutex::default() }) }
    }
}

/// An end of work as a fault that another is told of too; its cause stays with the first.
fn same_fault(end: &Unfinished) -> Fault {
    let fault = match end {
        Unfinished::Failed(fault) | Unfinished::RollbackPending(fault) => fault,
        Unfinished::Detached(stage) => return Unfinished::Detached(stage.clone()).into_fault(),
    };
    let mut same = Fault::new(fault.kind, fault.code, &fault.message).hint(&fault.hint).next(fault.next_actions);
    same.retry_after = fault.retry_after;
    same
}

fn address(domain: Option<&str>, port: Option<i64>, region: Option<&str>) -> String {
    match (domain, port) {
        (Some(domain), Some(port)) => format!("{domain}:{port}"),
        (Some(domain), None) => domain.to_owned(),
        _ => format!("Alibaba Cloud, {}", region.unwrap_or("unknown region")),
    }
}

/// Where an instance is.
fn address_of(a: &InstanceAttribute) -> String {
    address(a.connection_domain.as_deref(), a.port, a.region_id.as_deref())
}

fn instance(a: &InstanceAttribute) -> Instance {
    let architecture = Architecture::of(a);
    let megabytes = a.capacity.and_then(|mb| u64::try_from(mb).ok());
    Instance {
        id: a.instance_id.clone(),
        address: address_of(a),
        kind: PROVIDER,
        live: Ok(Live {
            status: a.instance_status.clone().unwrap_or_else(|| "unknown".into()),
            engine: if architecture.enterprise { "tair" } else { "redis" }.into(),
            version: a.engine_version.clone().unwrap_or_default(),
            role: None,
            architecture: architecture.describe(),
            used_memory: None,
            maxmemory: megabytes.map(|mb| mb << 20),
            counts: None,
            replicas: a.replica_count.and_then(|n| u64::try_from(n).ok()),
            region: a.region_id.clone(),
            backup_log_start_time: architecture.log_start,
        }),
    }
}

/// A row of the list says a little less.
fn instance_of_row(row: Row) -> Instance {
    instance(&InstanceAttribute { facts: row.facts, ..InstanceAttribute::default() })
}

impl Inner {
    /// The attributes of an instance, if there is one.
    async fn attribute_raw(&self, instance_id: &str) -> Result<Option<InstanceAttribute>, TairError> {
        let ask = DescribeInstanceAttribute { instance_id: instance_id.into() };
        // A gateway in between once gave another's row: only the one asked for will do.
        let found = self.client.call(&ask).await?.instances;
        Ok(found.into_iter().find(|a| a.instance_id == instance_id))
    }

    /// The attributes of an instance.
    async fn attribute(&self, instance_id: &str) -> Result<InstanceAttribute, Fault> {
        let found = self.attribute_raw(instance_id).await;
        let unknown = match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(e) if e.cloud().is_some_and(|c| c.meaning().fault == "instance.not_found") => Some(e),
            Err(e) => return Err(e.into()),
        };
        let rows = self.client.list(&DescribeInstances::default()).await.unwrap_or_default();
        let near = nearest(instance_id, rows.iter().map(|r| r.instance_id.as_str()));
        let near = near.map(|id| format!("Did you mean {id}? ")).unwrap_or_default();
        let message = format!("there is no instance {} in {}", quoted(instance_id), self.client.region());
        let fault = Fault::new(Kind::NotFound, "instance.not_found", message)
            .hint(format!("{near}describe_instances lists them; an instance of another region is unknown here."))
            .next(&["describe_instances"]);
        Err(match unknown {
            Some(e) => fault.because(e),
            None => fault,
        })
    }

    /// The sets of an instance in a range, newest first.
    async fn listed(&self, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Vec<sets::Listed>, Fault> {
        let attribute = self.attribute(instance_id).await?;
        if Architecture::of(&attribute).lists_cluster_sets() {
            let rows = sets::cluster_rows(&self.client, instance_id, range).await?;
            return Ok(sets::of_cluster_rows(instance_id, rows));
        }
        let shards = attribute.shard_count.and_then(|n| usize::try_from(n).ok());
        let rows = sets::rows(&self.client, instance_id, range).await?;
        Ok(sets::of_rows(instance_id, rows, shards))
    }

    /// Says how far a job is. What the cloud does goes on whether that could be written down or not.
    async fn tell(&self, job: &Job, stage: &str) {
        if let Err(fault) = self.jobs.progress(job, stage, 0, 0).await {
            tracing::error!(job = %job.id, "how far the job is could not be written down: {fault}");
        }
    }

    /// Writes down what a later process needs, once the cloud has taken the call: failing at that must not end the following.
    async fn keep(&self, job: &Job, record: &impl Recoverable) {
        if let Err(fault) = self.jobs.save_recovery(job, record).await {
            tracing::error!(job = %job.id, "the job's record could not be written down: {fault}");
        }
    }

    async fn safety_status(&self, instance_id: &str, job_id: &str) -> Result<SafetyFacts, Fault> {
        let job = self.jobs.state.job(job_id).await?;
        let status = match job.status {
            JobStatus::Running => SafetyStatus::Running,
            JobStatus::Failed => SafetyStatus::Failed(job.message),
            JobStatus::Succeeded => match self.cloud_set(instance_id, &job.backup_id).await {
                Ok(set) => SafetyStatus::Whole { keys: None, taken_at: set.set.started_at, reused: false },
                Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Damaged) => {
                    SafetyStatus::Failed(fault.message)
                }
                Err(fault) => return Err(fault),
            },
        };
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status })
    }

    /// Lowers, or changes otherwise, a policy as permitted.
    async fn modify_policy(&self, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let id = permit.plan().instance_id.clone();
        let lock = self.policy_lock(&id);
        let _held = lock.lock().await;
        let now = self.policy_before(&id, change).await?;
        let planned = match &permit.plan().preconditions {
            Preconditions::PolicyChange { policy, .. } => policy,
            _ => return Err(permit.plan().unsupported()),
        };
        if *planned != PolicyValues::from(&now) {
            return Err(changed("the policy has been changed since the plan; it was left as it is"));
        }
        let then = policy::changed(&now, change)?;
        let done = self.write_policy(&id, &now, then).await;
        let (event, detail) = match &done {
            Ok(_) => ("policy.changed", change.describe()),
            Err(NotWritten::Uncertain(fault)) => ("policy.uncertain", fault.message.clone()),
            Err(NotWritten::Refused(fault)) => ("policy.not_changed", format!("{}: {}", fault.code, fault.message)),
        };
        self.jobs.audit(permit.record(event, detail)).await;
        done?;
        Ok(format!("the policy is changed and was read back: {}", change.describe()))
    }
}

/// Lists a set again for a new URL.
struct Listing<'a> {
    inner: &'a Inner,
    instance_id: &'a str,
    backup_id: &'a str,
}

#[async_trait]
impl download::Renew for Listing<'_> {
    async fn shard(&self) -> Result<sets::Shard, Fault> {
        let set = self.inner.set_or_file(self.instance_id, self.backup_id).await?;
        download::only_file(&set).cloned()
    }
}

#[async_trait]
impl Provider for Tair {
    async fn check_instance(&self, instance_id: &str) -> Result<(), Fault> {
        self.inner.attribute(instance_id).await.map(|_| ())
    }

    async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        let client = &self.inner.client;
        let ask = DescribeInstances { search_key: wanted.search.clone(), ..DescribeInstances::default() };
        if (1..=PAGE).contains(&wanted.page_size) {
            let page = DescribeInstances {
                page_number: Some(wanted.page_number.max(1).into()),
                page_size: Some(wanted.page_size.into()),
                ..ask.clone()
            };
            let reply = client.call(&page).await?;
            // A server that gives smaller pages than it was asked for has other pages than we mean.
            if let (Some(total), true) =
                (reply.total_count, reply.page_size.is_none_or(|size| size == i64::from(wanted.page_size)))
            {
                let total = u64::try_from(total).unwrap_or_default();
                return Ok((reply.instances.into_iter().map(instance_of_row).collect(), total));
            }
        }
        let all = client.list(&ask).await?;
        let total = all.len() as u64;
        let size = wanted.page_size as usize;
        let skip = (wanted.page_number.saturating_sub(1) as usize).saturating_mul(size);
        Ok((all.into_iter().skip(skip).take(size).map(instance_of_row).collect(), total))
    }

    async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        Ok(instance(&self.inner.attribute(instance_id).await?))
    }

    async fn create_backup(&self, instance_id: &str, mode: Mode, _note: &str) -> Result<(Job, bool), Fault> {
        self.inner.start_backup(instance_id, mode).await
    }

    async fn backups(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        // The cloud counts in minutes and leaves the end out; the shards of a set begin one after the other.
        let margin = SignedDuration::from_mins(60);
        let asked = range.map_or_else(sets::always, |r| {
            (r.start.saturating_sub(margin).unwrap_or(r.start), r.end.saturating_add(margin).unwrap_or(r.end))
        });
        let listed = self.inner.listed(instance_id, asked).await?;
        let mut sets: Vec<Result<BackupSet, DamagedSet>> = listed.into_iter().map(|l| l.map(|set| set.set)).collect();
        sets.retain(|s| s.as_ref().map_or(true, |set| range.is_none_or(|range| range.holds(set.started_at))));
        Ok(sets)
    }

    async fn backup(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        self.inner.set_or_file(instance_id, backup_id).await.map(|set| set.set)
    }

    async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        let listing = Listing { inner: &self.inner, instance_id: &set.instance_id, backup_id: &set.id };
        download::download(&self.inner.client, &listing, to, &self.inner.polling, on_bytes).await
    }

    async fn download_url(&self, set: &BackupSet) -> Result<SignedUrl, Fault> {
        let set = self.inner.set_or_file(&set.instance_id, &set.id).await?;
        let url = download::url_of(download::only_file(&set)?, self.inner.client.is_in_vpc())?;
        Ok(SignedUrl { url: Secret::new(url.expose()), expires_at: url.expires_at() })
    }

    async fn backup_policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        self.inner.policy(instance_id).await
    }

    async fn raise_backup_policy(&self, instance_id: &str, change: &PolicyChange) -> Result<Raised, Fault> {
        self.inner.raise_policy(instance_id, change).await
    }

    /// What an instance lacks follows from its architecture, and is among the facts of each act.
    async fn capabilities(&self, _: &str) -> Result<Capabilities, Fault> {
        Ok(Capabilities::all().without(Capability::Fill, unsupported("fill_instance")))
    }

    async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        self.inner.facts(instance_id, act, earlier).await
    }

    async fn safety_backup(&self, instance_id: &str, _: &Assessment) -> Result<SafetyFacts, Fault> {
        let job = self.inner.safety_backup(instance_id).await?;
        Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status: SafetyStatus::Running })
    }

    async fn safety_status(&self, instance_id: &str, job_id: &str, _: &str) -> Result<SafetyFacts, Fault> {
        self.inner.safety_status(instance_id, job_id).await
    }

    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        match permit.plan().act.clone() {
            Act::RestoreInstance { source, write_fence } => {
                self.inner.start_restore(permit, &source, write_fence).await.map(Carried::Job)
            }
            Act::DeleteBackup { backup_id } => self.inner.delete(permit, &backup_id).await.map(Carried::Done),
            Act::ModifyBackupPolicy { change } => self.inner.modify_policy(permit, &change).await.map(Carried::Done),
            Act::CreateInstanceFromBackup { order } => self.inner.start_clone(permit, &order).await.map(Carried::Job),
            // New instances are ordered from the cloud; none is filled by this program.
            Act::FillInstance { .. } => Err(unsupported("fill_instance")),
        }
    }

    async fn recover(&self) -> Result<(), Fault> {
        self.inner.recover().await
    }

    /// What runs in the cloud goes on there, and the next process follows it: only a restore behind a write fence is seen to
    /// its end, because its fence has to be lifted.
    async fn shut_down(&self, _cancel_backups: bool) {
        self.inner.jobs.shut_down(true).await;
    }
}
