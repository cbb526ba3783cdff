//! What is read before an act on an instance of the cloud, and what it comes to in words. The guard judges; the order of a
//! new instance is checked by the cloud itself, by a dry run.

use crate::guard::act::{Act, CloneOrder, PolicyChange, Source};
use crate::guard::checks::Precheck;
use crate::guard::cloud_checks::{self as judge, SetFacts};
use crate::guard::plan::{Plan, Policy};
use crate::guard::survey::{Instead, Pins, Survey, Words, Writes};
use crate::model::backup::{DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use crate::provider::tair::architecture::{Architecture, No, RestoreScope};
use crate::provider::tair::filter_key;
use crate::provider::tair::order::Order;
use crate::provider::tair::sets::{self, CloudSet, Listed};
use crate::provider::tair::{Inner, address_of, policy, traffic};
use crate::provider::unsupported;
use crate::tair::wire::attribute::InstanceAttribute;
use jiff::Timestamp;

/// What must stay as it is of a set.
#[must_use]
pub fn set_pins(set: &CloudSet) -> Vec<(&'static str, String)> {
    let jobs: Vec<String> = set.jobs.iter().map(ToString::to_string).collect();
    vec![
        ("backup_bytes", set.set.rdb_bytes.to_string()),
        ("backup_finished_at", written(set.set.finished_at)),
        ("backup_jobs", jobs.join(",")),
        ("backup_mode", set.set.mode.as_str().into()),
    ]
}

/// What must stay as it is of a policy.
#[must_use]
pub fn policy_pins(policy: &BackupPolicy) -> Vec<(&'static str, String)> {
    vec![
        ("preferred_backup_time", policy.preferred_backup_time.clone()),
        ("preferred_backup_period", policy.preferred_backup_period.join(",")),
        ("backup_retention_period", policy.backup_retention_period.to_string()),
        ("enable_backup_log", policy.enable_backup_log.to_string()),
    ]
}

fn pinned(pairs: Vec<(&'static str, String)>) -> Pins {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What an instance is, apart from its status, which changes while nothing else does.
fn identity(a: &InstanceAttribute) -> Vec<(&'static str, String)> {
    vec![
        ("address", address_of(a)),
        ("architecture", Architecture::of(a).describe()),
        ("instance_class", a.instance_class.clone().unwrap_or_default()),
        ("engine_version", a.engine_version.clone().unwrap_or_default()),
        ("created_at", a.create_time.clone().unwrap_or_default()),
    ]
}

fn ready(a: &InstanceAttribute) -> Precheck {
    let what = format!(
        "{}, {}",
        Architecture::of(a).describe(),
        clean(a.instance_class.as_deref().unwrap_or("unknown class"))
    );
    judge::instance_ready(a.instance_status.as_deref().unwrap_or_default(), &what)
}

/// Judges a set as it is listed.
fn exists(listed: &Listed) -> Precheck {
    let facts = match listed {
        Ok(set) => Ok(SetFacts {
            id: &set.set.id,
            taken_at: set.set.started_at,
            bytes: set.set.rdb_bytes,
            expires_at: set.set.expires_at,
        }),
        Err(damaged) => Err(damaged.reason.as_str()),
    };
    judge::backup_exists(facts, Timestamp::now())
}

fn refused(a: &InstanceAttribute, no: No, check: impl FnOnce(&str) -> Precheck) -> Survey {
    let checks = vec![ready(a), check(&no.why)];
    let instead = (!no.call.is_empty()).then_some(Instead { why: no.why, call: no.call });
    Survey { address: address_of(a), checks, pins: pinned(identity(a)), instead, ..Survey::default() }
}

impl Inner {
    /// What an act would mean.
    pub async fn survey(
        &self,
        instance_id: &str,
        act: &Act,
        earlier: Option<&Plan>,
        rules: Policy,
    ) -> Result<Survey, Fault> {
        match act {
            Act::RestoreInstance { source, write_fence } => {
                self.survey_restore(instance_id, source, *write_fence, rules, earlier).await
            }
            Act::DeleteBackup { backup_id } => self.survey_deletion(instance_id, backup_id).await,
            Act::ModifyBackupPolicy { change } => self.survey_policy(instance_id, change).await,
            Act::CreateInstanceFromBackup { order } => self.survey_clone(instance_id, order, earlier.is_none()).await,
            // New instances are ordered from the cloud; none is filled by this program.
            Act::FillInstance { .. } => Err(unsupported("fill_instance")),
        }
    }

    async fn survey_restore(
        &self,
        id: &str,
        source: &Source,
        fence: bool,
        rules: Policy,
        earlier: Option<&Plan>,
    ) -> Result<Survey, Fault> {
        let filter = match source {
            Source::Moment { filter_key: Some(text), .. } => Some(filter_key::lint(text)?),
            _ => None,
        };
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        let moment = match source {
            Source::Moment { restore_time, .. } => written(*restore_time),
            Source::Backup { .. } => String::new(),
        };
        let wanted = match source {
            Source::Backup { backup_id } => RestoreScope::Set(backup_id),
            Source::Moment { filter_key: Some(_), .. } => RestoreScope::Keys(&moment),
            Source::Moment { .. } => RestoreScope::Moment(&moment),
        };
        let known = match architecture.can_restore_in_place(id, wanted) {
            Ok(known) => known,
            Err(no) => {
                let mut survey = refused(&a, no, |why| judge::restore_in_place(Err(why)));
                // The route that is offered instead takes no keys; that an expression was wrong is worth knowing all the same.
                survey.checks.extend(filter.map(|f| judge::filter_key(f.items.len(), &f.warnings)));
                return Ok(survey);
            }
        };
        let now = Timestamp::now();
        let mut checks = vec![ready(&a), judge::restore_in_place(Ok(&known))];
        let mut pins = identity(&a);
        let mut details = Vec::new();
        let (after, since) = match source {
            Source::Backup { backup_id } => {
                let listed = self.listed_set(id, backup_id).await?;
                checks.push(exists(&listed));
                match &listed {
                    Ok(set) => {
                        let taken = written(set.set.started_at);
                        pins.extend(set_pins(set));
                        details.push(("backup_taken_at", taken.clone()));
                        (format!("backup {} of {taken}, {}", shown(&set.set.id), bytes(set.set.rdb_bytes)), taken)
                    }
                    Err(_) => (String::new(), String::new()),
                }
            }
            Source::Moment { restore_time, time_shift, .. } => {
                checks.push(judge::restore_time(*restore_time, architecture.log_start, now));
                if let Some(shift) = time_shift {
                    checks.push(judge::time_shift(*shift, *restore_time, now));
                    details.push(("time_shift", written(*shift)));
                }
                // From when moments are kept is no pin: that rolls on by itself.
                (format!("the data of {moment}, from the archive of changes"), moment.clone())
            }
        };
        if let Some(filter) = &filter {
            checks.push(judge::filter_key(filter.items.len(), &filter.warnings));
            details.push(("filter_key", filter.items.join(",")));
        }
        // Whatever was written since the plan may be in no backup, however long the person took.
        let from = traffic::looked_from(earlier.and_then(|plan| plan.writes).map(|w| w.read_at), now);
        let measured = traffic::writes(&self.client, id, architecture.shape, from).await?;
        checks.push(judge::write_traffic(measured.peak, measured.window_seconds, rules.max_writes_per_second, fence));
        if fence {
            checks.push(judge::write_fence());
        }
        let keys = traffic::keys(&self.client, id, architecture.shape).await?;
        let there = keys.map_or("a number of keys that the cloud has not measured".into(), |k| {
            let at = k.at.map(|at| format!(" (the cloud's figure of {})", written(at))).unwrap_or_default();
            format!("{} keys{at}", k.keys)
        });
        let lost = if filter.is_some() {
            format!("only keys that match filter_key are deleted and made again as of {since}; all others stay")
        } else {
            format!("all of what is there now, and every change since {since}")
        };
        Ok(Survey {
            address: address_of(&a),
            checks,
            pins: pinned(pins),
            // The cloud has no counter of writes, only rates: the moment is what the next look measures from.
            writes: Some(Writes { calls: 0, read_at: now }),
            wants_safety: true,
            words: Words {
                now: there,
                after,
                lost,
                how: "RestoreInstance".into(),
                how_meaning: format!(
                    "Alibaba Cloud overwrites the instance; it does not serve while it is BackupRecovering{}",
                    if fence { ", and writes are locked until it is over" } else { "" }
                ),
                back: remark(id, filter.is_some()),
            },
            details: pinned(details),
            ..Survey::default()
        })
    }

    async fn survey_deletion(&self, id: &str, backup_id: &str) -> Result<Survey, Fault> {
        let a = self.attribute(id).await?;
        let listed = self.listed(id, sets::always()).await?;
        let all = listed.iter().flatten().count();
        let found = find_set(listed, id, backup_id)?;
        let manual = found.as_ref().is_ok_and(|s| s.set.mode == Mode::Manual);
        let no = Architecture::of(&a).can_delete_sets().err();
        let mut pins = identity(&a);
        let mut words = Words {
            after: "the set is gone from the cloud".into(),
            how: "DeleteBackup".into(),
            how_meaning: "Alibaba Cloud deletes it for ever".into(),
            back: "none; download_backup keeps a copy if called before".into(),
            ..Words::default()
        };
        let mut checks = vec![judge::deletable(manual, no.as_ref().map(|n| n.why.as_str()))];
        match &found {
            Ok(set) => {
                pins.extend(set_pins(set));
                let left = all.saturating_sub(1);
                // Whoever agreed to one of several going did not agree to the last one going.
                pins.push(("other_backups", if left == 0 { "none" } else { "some" }.into()));
                checks.push(judge::other_backups(left));
                words.now = format!("{left} other backups beside it");
                words.lost =
                    format!("the backup of {}, {}, for ever", written(set.set.started_at), bytes(set.set.rdb_bytes));
            }
            Err(_) => checks.push(exists(&found)),
        }
        Ok(Survey { address: address_of(&a), checks, pins: pinned(pins), words, ..Survey::default() })
    }

    async fn survey_policy(&self, id: &str, change: &PolicyChange) -> Result<Survey, Fault> {
        let a = self.attribute(id).await?;
        let now = self.policy_before(id, change).await?;
        let then = policy::changed(&now, change)?;
        let lowered = policy::lowered(&now, &then);
        let in_words = |p: &BackupPolicy| {
            let log = if p.enable_backup_log { "on" } else { "off" };
            format!(
                "{} on {} days a week, kept {} days, flashback {log}",
                p.preferred_backup_time,
                p.preferred_backup_period.len(),
                p.backup_retention_period
            )
        };
        let mut pins = identity(&a);
        pins.extend(policy_pins(&now));
        Ok(Survey {
            address: address_of(&a),
            checks: vec![ready(&a), judge::protection(&lowered)],
            pins: pinned(pins),
            words: Words {
                now: in_words(&now),
                after: in_words(&then),
                lost: lowered.join("; "),
                how: "ModifyBackupPolicy".into(),
                how_meaning: "the whole policy is written, with what is not named as it is now, and read back".into(),
                back: "modify_backup_policy with the values of now; what has expired meanwhile does not come back"
                    .into(),
            },
            ..Survey::default()
        })
    }

    async fn survey_clone(&self, id: &str, wanted: &CloneOrder, dry: bool) -> Result<Survey, Fault> {
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        if let Err(no) = architecture.can_back_up() {
            return Ok(refused(&a, no, |why| judge::restore_in_place(Err(why))));
        }
        let mut checks = vec![ready(&a)];
        let mut pins = identity(&a);
        let (set, from) = match &wanted.source {
            Source::Backup { backup_id } => {
                let listed = self.listed_set(id, backup_id).await?;
                checks.push(exists(&listed));
                let set = listed.ok();
                pins.extend(set.as_ref().map(set_pins).unwrap_or_default());
                let of = set.as_ref().map(|s| written(s.set.started_at)).unwrap_or_default();
                (set, format!("backup {} of {of}", shown(backup_id)))
            }
            Source::Moment { restore_time, .. } => {
                checks.push(judge::restore_time(*restore_time, architecture.log_start, Timestamp::now()));
                (None, format!("the data of {}", written(*restore_time)))
            }
        };
        let order = Order::new(self.client.region(), &a, set.as_ref(), wanted)?;
        let details = order.details();
        pins.extend(details.iter().cloned());
        if dry && !crate::guard::checks::blocked(&checks) {
            let said = self.dry_run(&order).await?;
            checks.push(judge::dry_run(said.as_ref().copied().map_err(String::as_str)));
        }
        checks.push(judge::billing(order.class()));
        let place =
            details.iter().find(|(name, _)| *name == "new_zone_id").map_or("its region", |(_, zone)| zone.as_str());
        let name = wanted.instance_name.as_deref().map(|n| format!(" named {}", clean(n))).unwrap_or_default();
        Ok(Survey {
            address: address_of(&a),
            checks,
            pins: pinned(pins),
            words: Words {
                now: format!("{} stays as it is", clean(id)),
                after: format!("a new instance{name} of class {} in {} with {from}", order.class(), clean(place)),
                lost: "no data; money: the new instance is billed pay-as-you-go until somebody releases it".into(),
                how: match order {
                    Order::Redis(_) => "CreateInstance".into(),
                    Order::Tair(_) => "CreateTairInstance".into(),
                },
                how_meaning: "Alibaba Cloud makes it and fills it from the backup, which takes minutes to hours".into(),
                back: "release the new instance in the console; this program releases nothing".into(),
            },
            details: pinned(details),
            ..Survey::default()
        })
    }

    /// A set as it is listed, broken or whole.
    async fn listed_set(&self, id: &str, backup_id: &str) -> Result<Listed, Fault> {
        let listed = self.listed(id, sets::always()).await?;
        find_set(listed, id, backup_id)
    }

    /// A whole set.
    pub async fn cloud_set(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        self.listed_set(id, backup_id).await?.map_err(|d| damaged(id, &d))
    }

    /// A whole set, or one file of one: what can be looked at and downloaded.
    pub async fn set_or_file(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        let listed = self.listed(id, sets::always()).await?;
        let found = sets::find_file(listed, backup_id).ok_or_else(|| not_found(id, backup_id))?;
        found.map_err(|d| damaged(id, &d))
    }
}

fn damaged(id: &str, set: &DamagedSet) -> Fault {
    Fault::new(
        Kind::Damaged,
        "backup.damaged",
        format!("backup {} of {id} cannot be used: {}", shown(&set.id), set.reason),
    )
    .hint("Choose another with describe_backups.")
    .next(&["describe_backups"])
}

/// Finds a set. The id of one of its files is not the set: restored alone it would be a part of the data.
fn find_set(listed: Vec<Listed>, id: &str, backup_id: &str) -> Result<Listed, Fault> {
    let of = sets::set_of_file(&listed, backup_id);
    if let Some(found) = sets::find(listed, backup_id) {
        return Ok(found);
    }
    let Some(set) = of else { return Err(not_found(id, backup_id)) };
    let message = format!("{} is one shard of backup {set}, and only downloads take a single shard", shown(backup_id));
    Err(Fault::new(Kind::Usage, "backup.one_shard", message)
        .hint(format!("Give the whole set: backup_id {set}."))
        .next(&["describe_backups"]))
}

/// What is to be known of the way back.
fn remark(id: &str, keys_only: bool) -> String {
    let refused = format!(
        "the cloud may refuse a restore in place; then create_instance_from_backup with instance_id {id} and the same backup_id"
    );
    if keys_only {
        return format!("{refused}; restoring it would overwrite every key, not only those that match filter_key");
    }
    refused
}

/// Long lists of shards are shortened where people read them.
fn shown(id: &str) -> String {
    crate::model::text::clean_to(id, 40)
}

fn not_found(id: &str, backup_id: &str) -> Fault {
    Fault::new(
        Kind::NotFound,
        "backup.not_found",
        format!("{id} has no backup {}", crate::model::text::quoted(backup_id)),
    )
    .hint("Use a backup_id from describe_backups, unchanged; expired sets are gone.")
    .next(&["describe_backups"])
}
