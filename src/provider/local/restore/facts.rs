//! What a restore is about: facts of target and set, read whole for a plan and again for its act. The guard judges them.

use crate::config::instance::RestoreWay;
use crate::guard::facts::Facts;
use crate::guard::facts::look::LastLook;
use crate::guard::facts::restore::{
    DirectRestore, Libraries, MethodReason, NotReady, RunningJob, SetLook, SourceFacts, TargetFacts,
};
use crate::guard::plan::Plan;
use crate::guard::writes::Writes;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobKind;
use crate::model::key_filter::SomeKeys;
use crate::model::restore::Method;
use crate::model::text::clean;
use crate::provider::local::describe::{counts_of, engine};
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::last_safety::Looked;
use crate::provider::local::restore::proven::{Trial, planned_for_commands};
use crate::provider::local::restore::steps::{unpacked, unread};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::commandstats::write_calls;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts};
use crate::redis::limits;
use crate::redis::pause::can_pause;
use crate::redis::rdb::statistics::{Checksum, KeyStatistics};
use crate::redis::resp::Value;
use crate::redis::rights::Probing;
use crate::redis::settings::can_replicate_from_us;
use crate::redis::slots::owned_slots;
use crate::redis::target::Refusal;
use crate::state::jobs::JobsOf;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Over which write traffic is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// The opcode of data that modules keep beside the keys.
const MODULE_AUX: u8 = 247;

/// The slots that a cluster's node serves, as a plan keeps them; empty outside a cluster.
pub async fn slots_served(facts: &ServerFacts, conn: &mut Conn) -> Result<String, RedisError> {
    if !facts.cluster_enabled {
        return Ok(String::new());
    }
    let mut owned = owned_slots(conn).await?;
    owned.sort_unstable();
    Ok(owned.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(" "))
}

/// A server's position in its history; `None` without a backlog, for then the position stands still whatever is written.
pub fn position(facts: &ServerFacts) -> Option<u64> {
    facts.backlog_from.map(|_| facts.offset)
}

/// Whether a Sentinel listens on the instance, as far as the instance says.
async fn sentinel_listens(conn: &mut Conn) -> Result<bool, RedisError> {
    match conn.cmd_str(&["PUBSUB", "NUMSUB", "__sentinel__:hello"]).await {
        Ok(reply) => Ok(reply.as_array().and_then(|r| r.get(1)).and_then(Value::as_int).is_some_and(|n| n > 0)),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the guard is told of a set.
pub fn source_facts(set: BackupSet, expired: Option<u64>, look: SetLook) -> SourceFacts {
    SourceFacts {
        taken_at: set.started_at,
        rdb_bytes: set.rdb_bytes,
        used_memory: set.used_memory,
        origin_known: !set.run_id.is_empty(),
        backup_id: set.id,
        sha256: set.sha256,
        counts: set.counts,
        expired,
        without_crc64: set.proof.is_some_and(|proof| !proof.crc64),
        functions: set.functions,
        look,
    }
}

/// What verifying a set whole resulted in.
pub fn verified(stored_digest: String, statistics: &KeyStatistics) -> SetLook {
    SetLook::Verified {
        stored_digest,
        crc64: statistics.checksum == Checksum::Verified,
        module_data: statistics.opcodes.contains(&MODULE_AUX),
    }
}

/// What reading a set that is damaged resulted in, now or before: what is wrong with it, and what to do.
pub fn damaged(fault: &Fault) -> SetLook {
    SetLook::Damaged(format!("{}. {}", fault.message, fault.hint.trim_end_matches('.')))
}

impl Inner {
    /// Target and set, for a restore from a set of the instance `set_of`, of all keys or some. `behind`: and of commands behind it.
    pub async fn restore_facts(
        self: &Arc<Self>,
        instance_id: &str,
        set_of: &str,
        backup_id: &str,
        keys: Option<&SomeKeys>,
        behind: bool,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        if earlier.is_none() {
            // A target that an earlier restore left following a dead address must not be planned for as it is.
            self.recover().await?;
        }
        let (set, found) = self.set_to_plan(set_of, backup_id).await?;
        let look = self.look_at(&set, found, earlier.is_none());
        let (look, target) = tokio::join!(look, self.target(instance_id, earlier));
        let (mut target, server, mut conn) = target?;
        if keys.is_some() {
            (target.method, target.method_reason) = (Method::Keys, MethodReason::SomeKeys);
        }
        let mut trial = Trial::Passed;
        if let (Ok(Some((_, statistics))), Method::Replication, None) = (&look, target.method, &target.not_ready) {
            trial = self.try_load(&set, statistics).await?;
        }
        if let Trial::NotTried(why) = &trial {
            (target.method, target.method_reason) = (Method::Commands, MethodReason::CannotFollow(why.clone()));
        }
        if keys.is_none() && planned_for_commands(&set, earlier) {
            target.method = Method::Commands;
        }
        let limits = limits::read(&mut conn).await?;
        if let (Ok(Some((_, statistics))), None) = (&look, keys) {
            let contents = Contents::of_set(&self.vault, &set, self.vault.open_data(&set).await?);
            target.unpacked = unpacked(contents, statistics, &server, limits).await?;
        }
        let unpacked = target.unpacked;
        self.choose_beside(instance_id, &set, &server, unpacked, earlier, &mut target, &mut conn).await?;
        let probing = if earlier.is_none() { Probing::Counted } else { Probing::Uncounted };
        let removes = keys.is_some_and(SomeKeys::removes);
        self.read_steps(instance_id, &set, &server, removes, probing, &mut target, &mut conn).await?;
        let own = instance_id == set_of;
        let mut some = None;
        if let (Some(keys), Ok(read)) = (keys, &look) {
            let later = read.is_none() || target.not_ready.is_some();
            let held = if later { None } else { self.held_then(&set, behind, instance_id, &server).await };
            let (found, refused) = self.keys_facts(keys, &set, own, held, later, &server, limits, &mut conn).await?;
            (some, target.cannot_load) = (Some(found), refused);
        }
        let mut expired = None;
        let look = match look {
            Err(fault) if fault.kind == Kind::Damaged => damaged(&fault),
            Err(fault) => return Err(fault),
            Ok(None) => SetLook::KnownFromPlan,
            Ok(Some(_)) if matches!(trial, Trial::Failed(_)) => SetLook::Damaged(trial.into_reason()),
            Ok(Some((stored_digest, statistics))) => {
                if keys.is_none() {
                    target.cannot_load = self
                        .cannot_load(&set, own, &statistics, &server, target.method, limits, None, &mut conn)
                        .await?;
                }
                if target.method != Method::Replication {
                    target.unread.extend(unread(&statistics, limits));
                }
                expired = Some(statistics.expired);
                verified(stored_digest, &statistics)
            }
        };
        let source = source_facts(set, expired, look);
        let running = match earlier {
            Some(plan) => self.running_job(instance_id, plan).await?,
            None => None,
        };
        let pending_rollback = self.state.pending_rollback(instance_id).await?;
        let keys = some;
        let facts = DirectRestore { target, source, replay: None, keys, running, pending_rollback };
        Ok(Facts::DirectRestore(Box::new(facts)))
    }

    /// Whether writers of the instance can be held up, as a restore with `write_fence` promises.
    pub async fn can_fence(&self, instance_id: &str, facts: &Facts) -> Result<(), Fault> {
        let refused = |why: String| {
            let message = format!("there is no write_fence for {instance_id}: {why}");
            Err(Fault::new(Kind::Usage, "restore.no_fence", message).hint("Leave write_fence out."))
        };
        if let Facts::DirectRestore(facts) = facts
            && facts.target.method != Method::Replication
        {
            return refused("it is restored by commands, and those would wait behind the fence as well".into());
        }
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        match can_pause(&mut conn).await {
            Err(e @ (RedisError::Denied { .. } | RedisError::Server { .. })) => {
                refused(format!("its writers cannot be held up ({e}); it takes Redis 6.2 and +client|pause"))
            }
            other => Ok(other?),
        }
    }

    /// Verifies a set whole, for a plan; nothing where a plan has done that. A set in which a fault was found before is not read again.
    pub(in crate::provider::local) async fn look_at(
        &self,
        set: &BackupSet,
        found: Option<Fault>,
        whole: bool,
    ) -> Result<Option<(String, KeyStatistics)>, Fault> {
        match found {
            Some(fault) => Err(fault),
            None if whole => self.read_whole(set).await.map(Some),
            None => Ok(None),
        }
    }

    /// The job that must end before a restore can begin: without this look the job would cost the person's yes.
    async fn running_job(&self, instance_id: &str, plan: &Plan) -> Result<Option<RunningJob>, Fault> {
        let safety = plan.safety.as_ref().map_or("", |s| s.job_id.as_str());
        let running = self.state.latest(JobsOf::running(instance_id)).await?;
        // A verification touches nothing of the instance, and may go on beside a restore.
        let running = running.into_iter().find(|job| job.kind != JobKind::Verification && job.id != safety);
        Ok(running.map(|job| RunningJob { kind: job.kind.as_str(), id: job.id }))
    }

    async fn target(
        &self,
        instance_id: &str,
        earlier: Option<&Plan>,
    ) -> Result<(TargetFacts, ServerFacts, Conn), Fault> {
        let endpoint = self.endpoint(instance_id).await?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await?;
        let before = if earlier.is_none() {
            let before = write_calls(&mut conn).await?;
            tokio::time::sleep(WINDOW).await;
            Some(before)
        } else {
            None
        };
        let calls = write_calls(&mut conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(&mut conn).await?;
        let (method, method_reason, not_ready) = self.method(instance_id, &facts, &mut conn).await?;
        let slots = slots_served(&facts, &mut conn).await?;
        let sentinel = method == Method::Replication && sentinel_listens(&mut conn).await?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let measured = before.map(|b| {
            let seconds = WINDOW.as_secs_f64();
            (calls.saturating_sub(b) as f64 / seconds, seconds)
        });
        let mut writes = Writes { offset: position(&facts), removed: facts.removed, ..Writes::counted(calls, read_at) };
        if let Some(plan) = earlier {
            writes.streamed = self.behind_planned(plan, &endpoint, &facts).await.and_then(|planned| planned.streamed);
        }
        let target = TargetFacts {
            address: endpoint.to_string(),
            engine: engine(facts.flavor).into(),
            version: facts.version.clone(),
            run_id: facts.run_id.clone(),
            replication_id: facts.replid.clone(),
            not_ready,
            sentinel,
            replicas: facts.replicas,
            append_only: facts.aof_enabled,
            counts: counts_of(&facts),
            writes,
            measured,
            used_memory: facts.used_memory,
            maxmemory: facts.maxmemory,
            eviction_policy: facts.maxmemory_policy.clone(),
            free_memory: (facts.total_system_memory > 0)
                .then(|| facts.total_system_memory.saturating_sub(facts.used_memory_rss)),
            method,
            method_reason,
            in_place: None,
            rights: Vec::new(),
            libraries: Libraries::default(),
            unpacked: 0,
            unread: Vec::new(),
            cannot_load: None,
            slots,
        };
        Ok((target, facts, conn))
    }

    /// Looks at the target right before it is acted on: nothing may have been written to it since the plan that the plan does not
    /// tell of, and nobody may have taken its place.
    pub(super) async fn still_as_planned(
        &self,
        conn: &mut Conn,
        plan: &Plan,
        endpoint: &Endpoint,
    ) -> Result<Looked, Fault> {
        let calls = write_calls(conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(conn).await?;
        let slots = slots_served(&facts, conn).await?;
        let planned = self.behind_planned(plan, endpoint, &facts).await;
        let streamed = planned.as_ref().and_then(|planned| planned.streamed);
        let writes =
            Writes { offset: position(&facts), removed: facts.removed, streamed, ..Writes::counted(calls, read_at) };
        let (run_id, replication_id) = (facts.run_id.clone(), facts.replid.clone());
        plan.last_look(&LastLook { run_id, replication_id, slots, writes })?;
        Ok(Looked { facts, calls, planned })
    }

    /// How data would get in, why so, and what keeps the target from taking it now.
    async fn method(
        &self,
        instance_id: &str,
        facts: &ServerFacts,
        conn: &mut Conn,
    ) -> Result<(Method, MethodReason, Option<NotReady>), Fault> {
        let not_ready = |why| Ok((Method::Replication, MethodReason::NotJudged, Some(why)));
        if facts.loading || facts.async_loading {
            return not_ready(NotReady::Loading);
        }
        if let (Role::Replica, Some(master)) = (&facts.role, &facts.master) {
            return not_ready(NotReady::Replica { host: clean(&master.host), port: master.port });
        }
        if self.config(instance_id).is_some_and(|c| c.restore_way == RestoreWay::Commands) {
            return Ok((Method::Commands, MethodReason::Configured, None));
        }
        let encrypted = self.config(instance_id).filter(|config| config.is_encrypted());
        match can_replicate_from_us(facts, conn).await {
            Ok(()) => Ok(match encrypted {
                None => (Method::Replication, MethodReason::CanFollow, None),
                Some(config) if config.allow_plain_replication => {
                    (Method::Replication, MethodReason::CanFollowInClear, None)
                }
                Some(_) => (Method::Commands, MethodReason::WouldBeInClear, None),
            }),
            Err(RedisError::Refused(refusal @ Refusal::Replica { .. })) => {
                not_ready(NotReady::Refused(refusal.to_string()))
            }
            Err(RedisError::Refused(refusal)) => {
                Ok((Method::Commands, MethodReason::CannotFollow(refusal.to_string()), None))
            }
            Err(e) => Err(e.into()),
        }
    }
}
