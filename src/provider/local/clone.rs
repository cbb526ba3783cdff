//! New instances: a clone is a server of our own with what a set or a moment held. Its source is not touched, nor even asked.

use crate::config::blocking::blocking;
use crate::config::nameless::FromStart;
use crate::guard::act::{CloneOrder, Source};
use crate::guard::facts::Facts;
use crate::guard::facts::clone::LocalClone;
use crate::guard::facts::replay::{Builder, Room};
use crate::guard::facts::restore::SetLook;
use crate::guard::grant::{Grant, Order};
use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::preconditions::Preconditions;
use crate::guard::room::need;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use crate::model::instance::{CloneOf, total_keys};
use crate::model::job::{Job, JobEnd, JobKind};
use crate::model::text::{quoted, shell_word};
use crate::model::time::{written, written_ms};
use crate::provider::local::Inner;
use crate::provider::local::clones::make::{Making, not_made};
use crate::provider::local::clones::{PREFIX, Record};
use crate::provider::local::restore::built::databases_behind;
use crate::provider::local::restore::built::told;
use crate::provider::local::restore::cloned::keys_there;
use crate::provider::local::restore::facts::{damaged, source_facts, verified};
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::scratch::program::{Program, nearest_to, server_named};
use crate::redis::scratch::room::{disk_free, memory_free};
use crate::state::jobs::JobsOf;
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::sync::Arc;

/// Characters of the source's id that a clone's id begins with.
const SOURCE_CHARS: usize = 40;
/// Characters of the confirmation's nonce that make a clone's id its own.
const NONCE_CHARS: usize = 6;
/// Memory that a clone's server and its keeper take before they hold a key.
const BASE_BYTES: u64 = 32 << 20;
/// Databases that a server has at least.
const DATABASES_MIN: u64 = 16;
/// Memory that a server takes for a database, with or without keys.
const DATABASE_BYTES: u64 = 1 << 10;

impl Inner {
    /// What a clone is about: the set, verified whole for a plan, the commands behind it, the program, and the room here.
    pub(super) async fn clone_facts(
        self: &Arc<Self>,
        instance_id: &str,
        order: &CloneOrder,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        self.can_make(order).await?;
        let planned = match earlier.map(|plan| &plan.preconditions) {
            Some(Preconditions::LocalClone(planned)) => planned.replay.as_ref(),
            _ => None,
        };
        let (set, found, mut replay) = match &order.source {
            Source::Backup { backup_id } => {
                let planned = self.set_to_plan(instance_id, backup_id).await;
                let (set, found) = self.named_set((instance_id, backup_id.as_str()), planned).await?;
                (set, found, None)
            }
            source => match self.clone_moment(instance_id, source, planned).await? {
                Ok((set, replay)) => (set, None, Some(replay)),
                Err(none) => return Ok(Facts::NoMoment(none)),
            },
        };
        let (look, expired) = match self.look_at(&set, found, earlier.is_none()).await {
            Ok(None) => (SetLook::KnownFromPlan, None),
            Ok(Some((digest, statistics))) => (verified(digest, &statistics), Some(statistics.expired)),
            Err(fault) if fault.kind == Kind::Damaged => (damaged(&fault), None),
            Err(fault) => return Err(fault),
        };
        let program = match &mut replay {
            None => self.clone_room(&set).await?,
            Some(replay) => {
                replay.expiring = self.expiring(instance_id, &set.id, replay.moment, expired).await?;
                // The moment is written out before the clone is loaded from it.
                let twice = |builder: Builder| Builder {
                    disk: Room { need: builder.disk.need.saturating_mul(2), ..builder.disk },
                    memory: Room { need: builder.memory.need.saturating_add(BASE_BYTES), ..builder.memory },
                    ..builder
                };
                replay.builder.take().unwrap_or_else(|| Err(lacking(&set))).map(twice)
            }
        };
        Ok(Facts::LocalClone(Box::new(LocalClone {
            instance_id: instance_id.to_owned(),
            name: order.instance_name.as_deref().map(named),
            source: source_facts(set, expired, look),
            program,
            replay,
            delete: self.clones.delete.clone(),
            lifetime_hours: self.clones.lifetime_hours,
        })))
    }

    /// That nothing is asked for which only the cloud has, and the name is free.
    async fn can_make(&self, order: &CloneOrder) -> Result<(), Fault> {
        let CloneOrder { source: _, instance_name, instance_class, zone_id, vswitch_id, recover_config_mode } = order;
        let clouds = [
            ("instance_class", instance_class.is_some()),
            ("zone_id", zone_id.is_some()),
            ("vswitch_id", vswitch_id.is_some()),
            ("recover_config_mode", !recover_config_mode.is_empty()),
        ];
        let invalid = |message, hint: &str| Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint));
        if let Some((name, _)) = clouds.iter().find(|(_, given)| *given) {
            return invalid(format!("{name} is for an instance of the cloud; a clone here has none"), "Leave it out.");
        }
        self.end_old_clones().await;
        let Some(name) = instance_name else { return Ok(()) };
        let id = named(name);
        if check_instance_id(&id).is_err() {
            let message = format!("{} cannot be a clone's name: it becomes its id, behind {PREFIX}", quoted(name));
            return invalid(message, "Use up to 58 letters, digits, '.', '_' or '-'.");
        }
        if self.config(&id).is_some() || self.clones.find(&id).await.is_some() {
            return Err(self.clones.exists(&id));
        }
        let (sets, jobs) = (self.vault.list(&id, self).await?.len(), self.state.jobs(Some(&id)).await?.len());
        if sets + jobs == 0 {
            return Ok(());
        }
        let message = format!(
            "there was a clone {id}, and {sets} backup sets and {jobs} jobs of it are left, which would be taken for those of a new one"
        );
        Err(Fault::new(Kind::Usage, "clone.exists", message)
            .hint(format!("Give another instance_name. describe_backups with instance_id {id} shows the sets that are left, and describe_jobs the jobs.")))
    }

    /// The program that a clone of the set runs; else what is lacking, as part of a sentence.
    pub(super) async fn clone_program(&self, set: &BackupSet) -> Result<Result<Program, String>, Fault> {
        let (named, source, begins_with) =
            (self.clones.programs.clone(), server_named(&set.engine, &set.version), told(set));
        let found = blocking(move || Ok(nearest_to(&named, source, &begins_with, |_| true))).await?;
        Ok(found.ok_or_else(|| lacking(set)))
    }

    /// The program of a clone of a set, and the room that there is for it here.
    async fn clone_room(&self, set: &BackupSet) -> Result<Result<Builder, String>, Fault> {
        let program = match self.clone_program(set).await? {
            Ok(program) => program.name,
            Err(lacking) => return Ok(Err(lacking)),
        };
        let dir = self.clones.dir().to_owned();
        let (memory, disk) = blocking(move || Ok((memory_free(), disk_free(&dir)))).await?;
        let room = |need, free| Room { need, free };
        let of_databases = databases_of(set).saturating_mul(DATABASE_BYTES);
        let needed = need(set.used_memory, set.rdb_bytes, 0).saturating_add(BASE_BYTES).saturating_add(of_databases);
        let memory = room(needed, memory);
        Ok(Ok(Builder { program, memory, disk: room(set.rdb_bytes, disk) }))
    }

    /// Makes the clone that is permitted.
    pub(super) async fn start_clone(self: &Arc<Self>, permit: Permit, order: &CloneOrder) -> Result<Job, Fault> {
        let planned = match &permit.plan().preconditions {
            Preconditions::LocalClone(planned) => planned.clone(),
            _ => return Err(permit.plan().unsupported()),
        };
        let source_id = permit.plan().instance_id.clone();
        let own = |nonce: &str| {
            let (source, nonce): (String, String) =
                (source_id.chars().take(SOURCE_CHARS).collect(), nonce.chars().take(NONCE_CHARS).collect());
            format!("{PREFIX}{source}-{nonce}")
        };
        // One yes is one clone: its id is that of the permit.
        let id = order.instance_name.as_deref().map_or_else(|| own(permit.nonce()), named);
        let backup_id = match (&order.source, &planned.replay) {
            (Source::Backup { backup_id }, None) => backup_id.clone(),
            (_, Some(replay)) => replay.backup_id.clone(),
            (_, None) => return Err(permit.plan().unsupported()),
        };
        let (inner, source) = (Arc::clone(self), order.source.clone());
        self.jobs
            .begin_permitted(permit, JobKind::Clone, &backup_id, move |job, plan, permit| async move {
                inner.make_clone(permit.order()?, &job, &plan, id, &source).await
            })
            .await
    }

    /// Takes the grant because a clone costs memory and disk here, as an instance of the cloud costs money.
    async fn make_clone(&self, _: Grant<Order>, job: &Job, plan: &Plan, id: String, source: &Source) -> JobEnd {
        let Preconditions::LocalClone(planned) = &plan.preconditions else { return Err(plan.unsupported().into()) };
        self.jobs.progress(job, "verifying the backup", 0, 0).await?;
        let set = self.set_to_restore(&job.instance_id, &job.backup_id).await?;
        let known = match set.sha256 == planned.sha256 {
            true => self.vault.open_known(&set, &planned.stored_digest).await?,
            false => None,
        };
        let data = known.ok_or_else(|| changed("the backup is not the one that was planned; nothing was made"))?;
        let program = self.clone_program(&set).await?.ok().filter(|program| program.name == planned.program);
        let program = program.ok_or_else(|| changed("the program that was planned is not here any more"))?;
        let (set, contents, built, moment) = match &planned.replay {
            None => (set, Box::new(data) as Box<dyn Read + Send>, None, None),
            Some(replay) => {
                let (set, file) = self.build_for_clone(job, (source, replay), &program, &set, data).await?;
                let moment = match source {
                    Source::Moment { restore_time, .. } => Some(*restore_time),
                    Source::Backup { .. } | Source::Before { .. } => None,
                };
                (set, Box::new(FromStart::of(&file)) as Box<dyn Read + Send>, Some(file), moment)
            }
        };
        let now = Timestamp::now();
        let of = CloneOf {
            instance_id: job.instance_id.clone(),
            backup_id: job.backup_id.clone(),
            moment,
            created_at: now,
            ends_at: self.clones.ends_at(now),
        };
        let record = Record { id, of, job_id: job.id.clone(), program: program.name.clone(), made: false };
        let mut making = self.clones.begin(record).await?;
        match self.load(job, &mut making, &program, &set, contents, built).await {
            Ok((record, endpoint, counted)) => Ok(self.made(&record, &endpoint, counted, total_keys(&set.counts))),
            Err(fault) => {
                making.discard(&self.clones).await;
                Err(fault.into())
            }
        }
    }

    /// Writes the clone's file, starts its server, and counts what that has loaded.
    async fn load(
        &self,
        job: &Job,
        making: &mut Making,
        program: &Program,
        set: &BackupSet,
        mut contents: Box<dyn Read + Send>,
        built: Option<Arc<File>>,
    ) -> Result<(Record, Endpoint, (u64, bool)), Fault> {
        let failed = |why: String| not_made(&program.name, &why);
        let _ = self.jobs.progress(job, "writing the clone's file", 0, set.rdb_bytes).await;
        let dump = making.dump().map_err(|e| failed(e.to_string()).because(e))?;
        let written = blocking(move || {
            let mut dump = BufWriter::with_capacity(1 << 20, dump);
            let copied = io::copy(&mut contents, &mut dump).and_then(|n| dump.flush().map(|()| n));
            Ok(copied.map_err(|e| e.to_string()))
        });
        match written.await? {
            Ok(n) if n == set.rdb_bytes => {}
            Ok(n) => return Err(failed(format!("its file has {n} bytes, and {} were expected", set.rdb_bytes))),
            Err(why) => return Err(failed(format!("its file could not be written: {why}"))),
        }
        let _ = self.jobs.progress(job, "the clone's server loads", set.rdb_bytes, set.rdb_bytes).await;
        let databases = match &built {
            Some(_) => databases_behind(set),
            None => databases_of(set),
        };
        let endpoint = making.start(self.clones.own_program.as_deref(), program, databases, set.rdb_bytes).await?;
        let _ = self.jobs.progress(job, "counting keys", set.rdb_bytes, set.rdb_bytes).await;
        let counted = self.count_clone(&endpoint, set, built).await;
        let counted = counted.map_err(|fault| failed(fault.message.clone()).because(fault))?;
        Ok((making.made().await?, endpoint, counted))
    }

    /// A clone that is made, for the reader, and how to look at it. The password's file is named, never the password.
    fn made(&self, record: &Record, endpoint: &Endpoint, (keys, looked): (u64, bool), of_source: u64) -> String {
        let port = if let Address::Tcp { port, .. } = endpoint.address { port } else { 0 };
        let file = self.clones.password_file(&record.id);
        let keys = keys_there((keys, looked), of_source);
        format!(
            "{} has {keys} of {}; it is read-only, listens on this machine alone, and ends {}. To look at it: \
             REDISCLI_AUTH=\"$(cat {})\" redis-cli -p {port}",
            record.id,
            of(&record.of),
            written(record.of.ends_at),
            shell_word(&file.to_string_lossy())
        )
    }

    /// Ends the job of a clone whose process died: the clone is whole, or what there is of it goes.
    pub(super) async fn reconcile_clone(&self, job: &Job) -> Result<String, Fault> {
        if let Some(record) = self.clones.of_job(&job.id).await {
            if record.made && self.clones.find(&record.id).await.is_some() {
                return Ok(format!("{} was whole when its process died", record.id));
            }
            self.clones.end(&record.id).await?;
        }
        let message = "the process that made this clone died, and what it had made is removed";
        Err(Fault::new(Kind::Unexpected, "job.interrupted", message)
            .hint("Make a new plan with create_instance_from_backup."))
    }

    /// Whether the instance of a job was a clone that has ended since; one of that name that began later is another.
    pub(super) async fn clone_has_ended(&self, job: &Job) -> bool {
        self.kind(&job.instance_id) == "clone"
            && self.clones.find(&job.instance_id).await.is_none_or(|record| record.of.created_at > job.created_at)
    }

    /// Ends the clones that are past their life, and removes what is left of others. What cannot be ended now is tried again.
    pub(super) async fn end_old_clones(&self) {
        if self.read_only {
            return;
        }
        for record in self.clones.sweep().await {
            let (by, why) = match record.of.ends_at <= Timestamp::now() {
                true => ("lifetime", "its life ended"),
                false => ("server", "its server has ended before its life, which was to end"),
            };
            let what = format!("made of {}; {why} {}", of(&record.of), written(record.of.ends_at));
            self.jobs.audit(AuditRecord::now("clone.ended", by, &record.id, what)).await;
        }
    }

    /// A clone that lives.
    ///
    /// # Errors
    /// `clone.not_found` with what that instance is instead.
    pub(super) async fn living_clone(&self, id: &str) -> Result<Record, Fault> {
        if let Some(record) = self.clones.find(id).await.filter(|_| self.kind(id) == "clone") {
            return Ok(record);
        }
        let is = if self.config(id).is_some() {
            "an instance of the configuration"
        } else if self.ids.iter().any(|known| known == id) {
            "the sandbox"
        } else if id.starts_with(PREFIX) && !self.vault.list(id, self).await?.is_empty() {
            "a clone that has ended, of which backup sets are left"
        } else {
            "no clone of this home"
        };
        let message = format!("{} is {is}; only clones are deleted, while they live", quoted(id));
        let living: Vec<String> = self.clones.living().await.into_iter().map(|record| record.id).collect();
        let hint = match living.as_slice() {
            [] => "There is no clone.".to_owned(),
            all => format!("Clones: {}.", all.join(", ")),
        };
        Err(Fault::new(Kind::NotFound, "clone.not_found", message).hint(hint))
    }

    /// Ends a clone that somebody wants gone. No other instance can be deleted.
    pub(super) async fn delete_clone(&self, id: &str, caller: &str) -> Result<String, Fault> {
        let record = self.living_clone(id).await?;
        let running = self.state.latest(JobsOf::running(id)).await?;
        if let Some(job) = running.iter().find(|job| job.kind != JobKind::Verification) {
            let message = format!("{} {} is running on {id}", job.kind.as_str(), job.id);
            let hint = format!("describe_jobs with job_id {} shows when it has ended.", job.id);
            return Err(Fault::new(Kind::Provider, "job.busy", message).hint(hint));
        }
        self.clones.end(id).await?;
        let what = format!("made of {}", of(&record.of));
        self.jobs.audit(AuditRecord::now("clone.deleted", caller, id, what.clone())).await;
        Ok(format!("{id} has ended and its data is gone; it was {what}"))
    }
}

/// How many databases the server of a set's clone has.
fn databases_of(set: &BackupSet) -> u64 {
    set.counts.keys().next_back().map_or(0, |db| db.saturating_add(1)).max(DATABASES_MIN)
}

/// The id of a clone of that name.
fn named(name: &str) -> String {
    if name.starts_with(PREFIX) { name.to_owned() } else { format!("{PREFIX}{name}") }
}

fn lacking(set: &BackupSet) -> String {
    format!(
        "no program here loads {} of {} {}: put the redis-server or valkey-server of that version into PATH, or name it in the \
         configuration (server_programs)",
        set.id, set.engine, set.version
    )
}

/// What a clone is, as part of a sentence.
pub(super) fn described(record: &Record) -> String {
    format!("a clone made of {}, which would end by itself {}", of(&record.of), written(record.of.ends_at))
}

/// What a clone is made of, as part of a sentence.
fn of(of: &CloneOf) -> String {
    match of.moment {
        None => format!("{} of {}", of.backup_id, of.instance_id),
        Some(moment) => {
            format!("{} at {}, from {} and the log behind it", of.instance_id, written_ms(moment), of.backup_id)
        }
    }
}
