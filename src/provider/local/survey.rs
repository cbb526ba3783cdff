//! What a restore would mean: facts of target and set, for the guard to judge. Read whole for a plan, and again for its commit.

use crate::config::instance::RestoreWay;
use crate::guard::checks;
use crate::guard::plan::{Plan, Policy, counts_in_words};
use crate::guard::survey::{Survey, Words, Writes, pins};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::job::JobStatus;
use crate::model::restore::{Look, SourceFacts, TargetFacts, Way};
use crate::model::text::{bytes, clean};
use crate::model::time::written;
use crate::provider::blocking;
use crate::provider::local::describe::{counts_of, engine};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::RedisError;
use crate::redis::conn::{Conn, Value};
use crate::redis::facts::{Role, ServerFacts, write_calls};
use crate::redis::master::{Refusal, can_replicate_from_us};
use crate::redis::rdb::Checksum;
use crate::redis::slots::owned_slots;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Over which write traffic is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// The opcode of what modules keep beside the keys.
const MODULE_AUX: u8 = 247;

/// The slots that a cluster's node serves, as a plan pins them; empty outside a cluster.
pub async fn slots_pin(facts: &ServerFacts, conn: &mut Conn) -> Result<String, RedisError> {
    if !facts.cluster_enabled {
        return Ok(String::new());
    }
    let mut owned = owned_slots(conn).await?;
    owned.sort_unstable();
    Ok(owned.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(" "))
}

/// Whether a Sentinel listens on the instance, as far as it says.
async fn watched(conn: &mut Conn) -> Result<bool, RedisError> {
    match conn.cmd_str(&["PUBSUB", "NUMSUB", "__sentinel__:hello"]).await {
        Ok(reply) => Ok(reply.as_array().and_then(|r| r.get(1)).and_then(Value::as_int).is_some_and(|n| n > 0)),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Inner {
    /// What a restore would mean.
    pub async fn survey_restore(
        self: &Arc<Self>,
        instance_id: &str,
        backup_id: &str,
        earlier: Option<&Plan>,
        policy: Policy,
    ) -> Result<Survey, Fault> {
        let look = if earlier.is_some() { Look::Again } else { Look::Whole };
        let (mut target, source) = self.facts(instance_id, backup_id, look).await?;
        let writes = Writes { calls: target.write_calls, read_at: target.read_at };
        if let Some(plan) = earlier {
            (target.writes_per_second, target.window_seconds) = plan.traffic_since(writes);
        }
        let taken = written(source.taken_at);
        let mut judged = checks::judge(&target, &source, policy);
        if let Some(plan) = earlier {
            judged.extend(self.busy(instance_id, plan).await?);
        }
        Ok(Survey {
            checks: judged,
            pins: pins([
                ("address", &target.address),
                ("run_id", &target.run_id),
                ("replication_id", &target.replication_id),
                ("sha256", &source.sha256),
                // Not read again here: the restore compares it through the very handle that it reads from.
                ("stored_sha256", earlier.map_or(source.stored_sha256.as_str(), |plan| plan.pin("stored_sha256"))),
                ("way", target.way.as_str()),
                ("slots", &target.slots),
            ]),
            // A server without a replication backlog takes a new replication id when it is first captured.
            caused: &["replication_id"],
            writes: Some(writes),
            wants_safety: true,
            words: Words {
                now: format!("{}, {}", counts_in_words(&target.counts), bytes(target.used_memory)),
                after: format!("{} as of {taken}", counts_in_words(&source.counts)),
                lost: format!("all of what is there now, and every change since {taken}"),
                how: target.way.as_str().into(),
                how_meaning: target.way.meaning().into(),
                back: String::new(),
            },
            details: pins([("backup_taken_at", &taken), ("sha256", &source.sha256)]),
            instead: None,
            address: target.address,
        })
    }

    /// The job that must end before a restore can begin: without this look it would cost the person's yes.
    async fn busy(&self, instance_id: &str, plan: &Plan) -> Result<Option<checks::Precheck>, Fault> {
        let safety = plan.safety.as_ref().map_or("", |s| s.job_id.as_str());
        let jobs = self.state.jobs(Some(instance_id)).await?;
        let running = jobs.into_iter().find(|j| j.status == JobStatus::Running && j.id != safety);
        Ok(running.map(|j| {
            let detail = format!("{} job {} is running on this instance", j.kind.as_str(), j.id);
            checks::check("instance_idle", checks::Status::Pending, detail)
        }))
    }

    /// Target and set, for a restore.
    async fn facts(
        self: &Arc<Self>,
        instance_id: &str,
        backup_id: &str,
        look: Look,
    ) -> Result<(TargetFacts, SourceFacts), Fault> {
        if look == Look::Whole {
            // A target that an earlier restore left following a dead address must not be planned for as it stands.
            self.recover().await?;
        }
        let (vault, id, set_id) = (self.vault.clone(), instance_id.to_owned(), backup_id.to_owned());
        let set = blocking(move || vault.find(&id, &set_id)).await?;
        let verify = async {
            if look == Look::Again {
                return Ok(None);
            }
            let (vault, set) = (self.vault.clone(), set.clone());
            blocking(move || {
                // In this order: what is known to be whole is then the file that the checksum names.
                let stored_sha256 = vault.stored_sha256(&set)?;
                vault.verify(&set).map(|statistics| Some((stored_sha256, statistics)))
            })
            .await
        };
        let (verified, target) = tokio::join!(verify, self.target(instance_id, &set, look));
        let (mut target, server, mut conn) = target?;
        let mut source = SourceFacts {
            backup_id: set.id.clone(),
            taken_at: set.started_at,
            sha256: set.sha256.clone(),
            stored_sha256: String::new(),
            rdb_bytes: set.rdb_bytes,
            counts: set.counts.clone(),
            used_memory: set.used_memory,
            damage: String::new(),
            looked: false,
            crc64: true,
        };
        match verified {
            Err(fault) => source.damage = fault.message,
            Ok(None) => {}
            Ok(Some((stored_sha256, statistics))) => {
                source.stored_sha256 = stored_sha256;
                source.looked = true;
                source.crc64 = statistics.checksum == Checksum::Verified;
                if target.way == Way::Commands && statistics.opcodes.contains(&MODULE_AUX) {
                    target.way_reason.push_str("; what modules keep beside the keys, such as search indexes, is LOST");
                }
                target.cannot_load = self.cannot_load(&set, &statistics, &server, target.way, &mut conn).await?
            }
        }
        Ok((target, source))
    }

    async fn target(
        &self,
        instance_id: &str,
        set: &BackupSet,
        look: Look,
    ) -> Result<(TargetFacts, ServerFacts, Conn), Fault> {
        let endpoint = self.endpoint(instance_id).await?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await?;
        let before = match look {
            Look::Whole => {
                let before = write_calls(&mut conn).await?;
                tokio::time::sleep(WINDOW).await;
                Some(before)
            }
            Look::Again => None,
        };
        let calls = write_calls(&mut conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(&mut conn).await?;
        let (way, way_reason, not_ready) = self.way(instance_id, &facts, &mut conn).await?;
        let slots = slots_pin(&facts, &mut conn).await?;
        let mut remarks = Vec::new();
        if way == Way::Replication && watched(&mut conn).await? {
            remarks.push(
                "Sentinel watches it, and may fail over while it loads as our replica: pause that for a large set"
                    .into(),
            );
        }
        if facts.connected_slaves > 0 {
            remarks.push(format!("{} replicas are attached and will copy everything anew", facts.connected_slaves));
        }
        if facts.aof_enabled {
            remarks.push("its append-only file will be rewritten".into());
        }
        if set.run_id.is_empty() {
            remarks.push(
                "the backup's user could not read INFO, so which process it was taken from is not recorded".into(),
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let writes_per_second = before.map_or(0.0, |b| calls.saturating_sub(b) as f64 / WINDOW.as_secs_f64());
        let target = TargetFacts {
            address: endpoint.to_string(),
            engine: engine(facts.flavor).into(),
            version: facts.version.clone(),
            run_id: facts.run_id.clone(),
            replication_id: facts.replid.clone(),
            not_ready,
            remarks,
            counts: counts_of(&facts),
            write_calls: calls,
            read_at,
            writes_per_second,
            window_seconds: WINDOW.as_secs_f64(),
            used_memory: facts.used_memory,
            maxmemory: facts.maxmemory,
            free_memory: (facts.total_system_memory > 0)
                .then(|| facts.total_system_memory.saturating_sub(facts.used_memory_rss)),
            way,
            way_reason,
            cannot_load: String::new(),
            slots,
        };
        Ok((target, facts, conn))
    }

    /// How data would get in, why so, and what stands against it.
    async fn way(
        &self,
        instance_id: &str,
        facts: &ServerFacts,
        conn: &mut Conn,
    ) -> Result<(Way, String, String), Fault> {
        let none = String::new;
        if facts.loading || facts.async_loading {
            return Ok((
                Way::Replication,
                "not judged".into(),
                "the instance is loading its data; wait until it serves".into(),
            ));
        }
        if let (Role::Replica, Some(master)) = (&facts.role, &facts.master) {
            let why = format!(
                "the instance is a replica of {}:{}; restore that one, replicas follow",
                clean(&master.host),
                master.port
            );
            return Ok((Way::Replication, "not judged".into(), why));
        }
        if self.config(instance_id).is_some_and(|c| c.restore_way == RestoreWay::Commands) {
            return Ok((Way::Commands, "the configuration says so: restore_way = \"commands\"".into(), none()));
        }
        match can_replicate_from_us(facts, conn).await {
            Ok(()) => Ok((Way::Replication, "it can follow us".into(), none())),
            Err(RedisError::Refused(refusal @ Refusal::Replica { .. })) => {
                Ok((Way::Replication, "not judged".into(), refusal.to_string()))
            }
            Err(RedisError::Refused(refusal)) => Ok((Way::Commands, refusal.to_string(), none())),
            Err(e) => Err(e.into()),
        }
    }
}
