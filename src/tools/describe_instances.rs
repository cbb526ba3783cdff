//! `describe_instances`: the instances, whether each serves, and how far each is protected.

use crate::model::backup::{BackupSet, Origin, all_readable};
use crate::model::calendar::USUAL_WINDOW;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{CloneOf, Instance, total_keys};
use crate::model::sets::{last_backup, newest_at, shrunk};
use crate::model::time::{age, written, written_ms};
use crate::model::verification::{described, verified_last};
use crate::provider::InstanceQuery;
use crate::provider::local::vault_copy::Copier;
use crate::schedule::due::overdue;
use crate::tools::ToolCall;
use crate::tools::describe_backup_policy::PolicyRow;
use crate::tools::log_row::LogRow;
use crate::tools::newest_rows::{NewestRow, name_safety_backups};
use crate::tools::rows::{DatabaseRow, databases};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `describe_instances`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Only this one
    #[serde(default)]
    #[arg(long)]
    pub instance_id: Option<String>,
    /// Only ids or names containing this
    #[serde(default)]
    #[arg(long)]
    pub search: Option<String>,
    /// From 1; 20 a page
    #[serde(default)]
    #[arg(long)]
    pub page_number: Option<u32>,
}

/// Rows a page.
const PAGE: u32 = 20;

/// How far an instance can be recovered.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Protection {
    /// Id of the last backup: the newest set that can be used and is no safety backup, which holds what a restore was to undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup_id: Option<String>,
    /// When the last backup was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup_at: Option<String>,
    /// Age of the last backup, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// What the last backup lost against the one before, where that is much: `keys 400 → 200`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
    /// Of the sets that can be used the newest of each mode.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<NewestRow>,
    /// The set that was verified last since it was made, to which level and when; and behind it the one that was verified deepest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Number of sets that can be used; absent where the sets could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups: Option<usize>,
    /// Number of sets that cannot be used; absent where the sets could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<usize>,
    /// What would be lost if the instance were lost now, as part of a sentence.
    pub not_recoverable: String,
    /// The earliest moment that can be restored, with data flashback on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_log_start_time: Option<String>,
    /// The log that this program keeps of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRow>,
    /// Of an instance that this program reaches itself: when backups are taken by themselves, or the call that has them taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_policy: Option<String>,
    /// Up to when the instance can be recovered from the second place (`copy_to`) alone: when the newest set was taken of which a verified copy lies
    /// there, or the end of the log behind it that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_until: Option<String>,
    /// What the second place has of the instance, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

/// A clone's origin in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CloneRow {
    /// Id of the instance whose data it is.
    pub instance_id: String,
    /// The set that it was loaded from, or that the log was replayed behind.
    pub backup_id: String,
    /// The moment whose data it is, where the log was replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_time: Option<String>,
    /// Seconds since it was made.
    pub age_seconds: i64,
    /// When it ends by itself.
    pub ends_at: String,
}

impl CloneRow {
    fn of(clone: &CloneOf, now: Timestamp) -> Self {
        Self {
            instance_id: clone.instance_id.clone(),
            backup_id: clone.backup_id.clone(),
            restore_time: clone.moment.map(written_ms),
            age_seconds: now.as_second() - clone.created_at.as_second(),
            ends_at: written(clone.ends_at),
        }
    }
}

/// One instance in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InstanceRow {
    /// The instance's id.
    pub instance_id: String,
    /// `local`, `sandbox`, `clone` or `tair`.
    pub kind: &'static str,
    /// Where clients connect to the instance, without credentials.
    pub address: String,
    /// `running`, `unreachable`, or the cloud's own status, such as `Normal`.
    pub status: String,
    /// The cloud's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What a clone was made of, and how long it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_of: Option<CloneRow>,
    /// Why the instance cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `redis` or `valkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The server's version, as INFO or the cloud writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// `standalone` or `cluster`, with the share of slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// `master` or `slave`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Number of replicas attached. Who only reads the stream is none: a backup that is taken, or the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Bytes of memory used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_memory: Option<u64>,
    /// Bytes of the memory limit; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<u64>,
    /// Number of keys in all databases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Key counts per database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseRow>,
    /// Commands that the instance's user may not run, so that something of this row is not known; `doctor` says what to grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// Of a cluster's node: urls of the masters of other shards at none of whose addresses, as the cluster tells them, an instance is configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_shards: Vec<String>,
    /// `person`: a restore needs a person's yes. `token`: the operator waived it.
    pub confirmation: &'static str,
    /// How far the instance can be recovered.
    pub protection: Protection,
}

/// Reply of `describe_instances`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Instances {
    /// The instances of this page.
    pub instances: Vec<InstanceRow>,
    /// Number of instances on all pages.
    pub total: u64,
}

/// Describes one instance or all.
///
/// # Errors
/// `instance.not_found`, `vault.failed`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Instances, Fault> {
    let (instances, total) = match &args.instance_id {
        Some(id) => {
            call.app.known(id).await?;
            (vec![call.app.provider.describe(id).await?], 1)
        }
        None => {
            let page_number = args.page_number.unwrap_or(1);
            if page_number == 0 {
                return Err(Fault::new(Kind::Usage, "arguments.invalid", "page_number is 0").hint("It counts from 1."));
            }
            let query = InstanceQuery { search: args.search.clone(), page_number, page_size: PAGE };
            call.app.provider.instances(&query).await?
        }
    };
    let rows = instances.into_iter().map(async |instance| {
        let found = protection(call, &instance).await;
        let mut row = row(call, instance);
        match found {
            Ok(found) => row.protection = found,
            // An instance that does not answer must not hide the others, nor sets that cannot be read the rest of it.
            Err(fault) => {
                row.protection.not_recoverable = format!("not known: {}", fault.message);
                row.reason.get_or_insert(fault.message);
            }
        }
        row
    });
    Ok(Instances { instances: futures::future::join_all(rows).await, total })
}

async fn protection(call: &ToolCall<'_>, instance: &Instance) -> Result<Protection, Fault> {
    let mut sets = all_readable(call.app.provider.backups(&instance.id, None).await?)?;
    name_safety_backups(&*call.app.state, &instance.id, &mut sets).await?;
    let damaged = sets.iter().filter(|s| s.is_err()).count();
    let whole: Vec<_> = sets.into_iter().flatten().collect();
    let now = Timestamp::now();
    let last = last_backup(&whole, now);
    let verifications = call.app.state.verifications(&instance.id).await?;
    let verified: Vec<String> = verified_last(&whole, &verifications)
        .into_iter()
        .map(|(id, level, look)| format!("{id}: {}", described(level, look)))
        .collect();
    let log = LogRow::read(&*call.app.provider, &instance.id).await;
    let flashback = instance.live.as_ref().ok().and_then(|live| live.backup_log_start_time);
    let log_since = log.as_ref().and_then(|log| log.since.clone());
    let not_recoverable = match (flashback, last) {
        _ if let (Some(since), Some(log)) = (&log_since, &log)
            && let Some(newest) = &log.window =>
        {
            let between = match log.total_windows {
                ..=1 => String::new(),
                windows => format!(" or between two of its {windows} windows"),
            };
            format!("what was before {since}, in a gap of the log{between}, or is after {}", newest.end_time)
        }
        (Some(since), _) => {
            format!("what was before {}; every second since can be restored (restore_time)", written(since))
        }
        (None, None) if instance.clone_of.is_some() => {
            "what was written to the clone itself; what it was made of stays".into()
        }
        (None, None) => match newest_at(whole.iter(), now) {
            None => "everything: there is no backup".into(),
            Some(safety) => format!(
                "every change since {} ({} ago), when safety backup {} was taken before a restore: there is no other backup",
                written(safety.started_at),
                age(safety.started_at, now),
                safety.id
            ),
        },
        (None, Some(set)) => format!(
            "every change since {} ({} ago){}: point-in-time recovery is not available for this instance",
            written(set.started_at),
            age(set.started_at, now),
            lag_of(set, instance)
        ),
    };
    let (copied_until, copy) = copy(call, &instance.id, &whole).await;
    Ok(Protection {
        last_backup_id: last.map(|s| s.id.clone()),
        last_backup_at: last.map(|s| written(s.started_at)),
        age_seconds: last.map(|s| now.as_second() - s.started_at.as_second()),
        shrunk: last.and_then(|last| shrunk(whole.iter()).remove(&last.id)),
        newest: NewestRow::of(whole.iter(), &verifications, now),
        verified: (!verified.is_empty()).then(|| verified.join("; ")),
        backups: Some(whole.len()),
        damaged: Some(damaged),
        not_recoverable,
        backup_log_start_time: flashback.map(written).or(log_since),
        log,
        backup_policy: own_policy(call, instance).await?,
        copied_until,
        copy,
    })
}

/// The moment of the newest copy at the second place, and what is to be said of it; nothing where the instance has no such place.
async fn copy(call: &ToolCall<'_>, id: &str, sets: &[BackupSet]) -> (Option<String>, Option<String>) {
    let Some(copier) = Copier::of(&call.app.config, &call.app.state, id) else { return (None, None) };
    let place = copier.place();
    let newest = match copier.newest_copied(sets).await {
        Ok(newest) => newest,
        Err(fault) => return (None, Some(format!("not known: {}", fault.message))),
    };
    let log = match newest.log_until {
        Some(at) => format!(", and the log behind it up to {}", written(at)),
        None if newest.log_is_known => String::new(),
        None => ", and of the log nobody knows how far: the place took too long to say".to_owned(),
    };
    let run = call.app.config.command("run");
    let told = match (newest.wanted, newest.copied) {
        (None, _) => format!("{place} has nothing: there is no set to copy"),
        (Some(_), None) => format!("{place} has no set yet: `{run}` copies them"),
        (Some(wanted), Some(copied)) if wanted.id == copied.id => format!("{place} has {}, the newest{log}", copied.id),
        (Some(wanted), Some(copied)) => {
            format!("{place} has {}{log}; {} is not copied: `{run}` copies it", copied.id, wanted.id)
        }
    };
    (newest.until().map(written), Some(told))
}

/// The policy of an instance that this program reaches itself and that may have one, which a Sentinel may not; of those of the cloud each would be a call.
async fn own_policy(call: &ToolCall<'_>, Instance { id, sentinel, .. }: &Instance) -> Result<Option<String>, Fault> {
    if *sentinel || !call.app.config.instance_ids().contains(id) {
        return Ok(None);
    }
    let policy = call.app.provider.backup_policy(id).await?;
    if policy.has_calendar() {
        let policy = PolicyRow::of(&policy);
        let told = policy.describe();
        let scheduled = call.app.provider.scheduled(id).await?;
        let late = scheduled.and_then(|(calendar, history)| overdue(&calendar, id, &history, Timestamp::now()));
        return Ok(Some(match late {
            Some(at) => {
                let run = call.app.config.command("run");
                format!("{told}; the one that was due at {} is not taken: `{run}` takes it", written(at))
            }
            None => match policy.needs(&call.app.config) {
                Some(needs) => format!("{told}; it is carried out {needs}"),
                None => told,
            },
        }));
    }
    Ok(Some(format!(
        "none: nothing takes backups by itself; modify_backup_policy with instance_id {id} and preferred_backup_time {USUAL_WINDOW} has one taken a day"
    )))
}

/// What a set may lack of the time before it, as part of a sentence: one from a replica is as old as what that had received.
fn lag_of(set: &BackupSet, instance: &Instance) -> String {
    match &set.origin {
        // The write commands of an instance are counted with the sets that come from itself.
        Origin::Capture { address }
            if set.write_calls.is_none() && !address.is_empty() && *address != instance.address =>
        {
            format!(", and what {address}, which the backup was taken from, had not received by then")
        }
        _ => String::new(),
    }
}

fn row(call: &ToolCall<'_>, instance: Instance) -> InstanceRow {
    let mut row = InstanceRow {
        instance_id: instance.id,
        kind: instance.kind,
        address: instance.address,
        status: "unreachable".into(),
        region: None,
        clone_of: instance.clone_of.as_ref().map(|clone| CloneRow::of(clone, Timestamp::now())),
        reason: None,
        engine: None,
        engine_version: None,
        architecture: None,
        role: None,
        replicas: None,
        used_memory: None,
        maxmemory: None,
        keys: None,
        databases: Vec::new(),
        unreadable: Vec::new(),
        other_shards: Vec::new(),
        confirmation: call.app.config.guard.confirmation.as_str(),
        protection: Protection::default(),
    };
    match instance.live {
        Err(reason) => row.reason = Some(reason),
        Ok(live) => {
            row.status = live.status;
            row.region = live.region;
            row.keys = live.counts.as_ref().map(total_keys);
            row.databases = live.counts.as_ref().map(databases).unwrap_or_default();
            row.engine = known(live.engine);
            row.engine_version = known(live.version);
            row.architecture = known(live.architecture);
            row.role = live.role;
            row.replicas = live.replicas;
            row.used_memory = live.used_memory;
            row.maxmemory = live.maxmemory;
            row.unreadable = live.unreadable;
            row.other_shards = live.other_shards;
        }
    }
    row
}

/// A text that says something.
fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
