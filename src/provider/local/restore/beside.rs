//! Restore by commands beside the old data: whether a target allows it, and the job that does it.

use crate::guard::facts::restore::{InPlaceReason, MethodReason, TargetFacts};
use crate::guard::facts::rights::{Right, rules};
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::{Plan, changed};
use crate::guard::room::{fits_beside, need};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::job::{Job, Unfinished};
use crate::model::restore::Method;
use crate::provider::local::restore::commands::{Loaded, read_to_its_end};
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::cutover::{WayBack, behind};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::restore::replication::ended_by;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::replay::beside::{Placement, partners};
use crate::redis::replay::swap::load_beside;
use crate::redis::rights::{self, Need, Probing};
use crate::redis::target::TargetState;
use crate::state::jobs::taken_over;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stage of a job whose set serves already.
const DROPPING: &str = "swapped; the old data is dropped";

/// The steps of this way for a set on a server.
pub(super) fn needs(set: &BackupSet, server: &ServerFacts) -> Vec<Need> {
    let mut needs = rights::BESIDE.to_vec();
    if server.libraries > 0 || set.functions > 0 {
        needs.extend(rights::BESIDE_FUNCTIONS);
    }
    needs
}

impl Inner {
    /// Lets commands load beside the old data where that is safe; and prefers that to following us where Sentinel watches.
    #[expect(clippy::too_many_arguments, reason = "each is another fact that the choice depends on")]
    pub(super) async fn choose_beside(
        &self,
        instance_id: &str,
        set: &BackupSet,
        server: &ServerFacts,
        unpacked: u64,
        earlier: Option<&Plan>,
        target: &mut TargetFacts,
        conn: &mut Conn,
    ) -> Result<(), Fault> {
        let watched = target.method == Method::Replication && target.sentinel;
        if target.not_ready.is_some() || !(watched || target.method == Method::Commands) {
            return Ok(());
        }
        // A plan that was made for another way is not moved to this one by a second look, which has not read the set again.
        let planned = earlier.map(Plan::direct_restore).transpose()?.map(|p| p.method);
        let against = match planned {
            Some(method) if method != Method::Beside && method == target.method => return Ok(()),
            _ => self.against_beside(instance_id, set, server, unpacked, target, conn).await?,
        };
        match against {
            None if watched => (target.method, target.method_reason) = (Method::Beside, MethodReason::Watched),
            None => target.method = Method::Beside,
            Some(_) if watched => {}
            Some(why) => target.in_place = Some(why),
        }
        Ok(())
    }

    async fn against_beside(
        &self,
        instance_id: &str,
        set: &BackupSet,
        server: &ServerFacts,
        unpacked: u64,
        target: &TargetFacts,
        conn: &mut Conn,
    ) -> Result<Option<InPlaceReason>, Fault> {
        if server.cluster_enabled {
            return Ok(Some(InPlaceReason::Cluster));
        }
        let need = need(set.used_memory, set.rdb_bytes, unpacked);
        if !fits_beside(need, target.used_memory, target.maxmemory, target.free_memory) {
            return Ok(Some(InPlaceReason::Room { need }));
        }
        let user = self.user(instance_id, conn).await?;
        // What only a probe could tell is asked with the steps of the way that is chosen.
        let asked = rights::ask(conn, &user, &needs(set, server), Probing::Uncounted).await?;
        let lacking = rules(&asked.steps, |right| matches!(right, Right::Denied | Right::Absent));
        if !lacking.is_empty() {
            return Ok(Some(InPlaceReason::Rights(lacking.join(" "))));
        }
        let found = partners(conn, set.counts.keys().copied(), &server.keyspace).await?;
        Ok(found.is_none().then_some(InPlaceReason::Databases))
    }

    /// Loads beside the old data, swaps, and drops what was swapped out.
    pub(super) async fn beside_the_old(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        contents: Contents,
    ) -> Result<Loaded, Unfinished> {
        let dir = self.run_dir().await?;
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?;
        let looked = self.still_as_planned(&mut conn, plan, &endpoint).await?;
        let dbs = set.counts.keys().copied();
        let pairs = partners(&mut conn, dbs, &looked.facts.keyspace).await.map_err(Fault::from)?;
        let few = "the target was not touched: it has too few empty databases by now";
        let placement = Placement { id: hex(&random::<8>()?), pairs: pairs.ok_or_else(|| changed(few))? };
        let ours: Vec<u64> = placement.pairs.iter().map(|pair| pair.beside).collect();
        let safety = self.last_safety(job, plan, &endpoint, looked, &ours).await?;
        let mut way_back = WayBack::new(self, job, plan, safety, ours.len() as u64);
        let mut recovery = recovery.beside(placement.clone()).written_on(&mut conn).await?;
        // From here on a crash is cleared up at the next start.
        self.jobs.save_recovery(job, &recovery).await?;
        let (frames, reader) = self.encode(set, contents, dir, |encoder| encoder.beside(placement.places()));
        let done = AtomicU64::new(0);
        let loading = load_beside(grant, &endpoint, &mut conn, &placement, frames, &mut way_back, |report| {
            done.store(report.keys, Ordering::Relaxed);
        });
        let swapped = self.show_keys(job, set, &done, loading).await;
        // No reply is no proof that the old data stays: what is kept of the stream stays until somebody knows.
        way_back.cut = match &swapped {
            Ok(_) => true,
            Err(RedisError::Restore { state, .. }) => *state == TargetState::Unknown,
            Err(RedisError::Stopped { .. }) => true,
            Err(_) => false,
        };
        let cutover = way_back.conclude(None, None).await;
        let swapped = swapped.map_err(|e| ended_by(e).map(|fault| behind(fault, cutover.as_ref())))?;
        let unseen = read_to_its_end(reader).await?;
        recovery.swapped(swapped.evicted_keys);
        // Not written down, a crash would say that it does not know; the old data is dropped all the same.
        let _ = self.jobs.save_recovery(job, &recovery).await;
        // Unless the job is another's by now, which drops it: the next restore may have begun.
        if let Ok(false) = self.jobs.progress(job, DROPPING, set.rdb_bytes, set.rdb_bytes).await {
            return Err(Unfinished::Failed(taken_over(&job.id)));
        }
        let swapped_in = Some((swapped.loaded.clone(), swapped.evicted_keys));
        let dropping = swapped.drop_old(&mut conn, &placement);
        let dropped =
            self.reporting(job, set.rdb_bytes, || (DROPPING, set.rdb_bytes), dropping).await.map_err(ended_by);
        dropped.map_err(|end| end.map(|fault| behind(fault, cutover.as_ref())))?;
        Ok(Loaded { cutover, unseen, swapped_in })
    }
}
