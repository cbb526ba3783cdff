//! Restore: the one place that overwrites data. It cannot begin without the guard's permit.

mod beside;
mod commands;
pub(super) mod facts;
mod loadable;
mod outcome;
mod packing;
mod reconcile;
mod recovery;
mod replication;
mod steps;

use crate::guard::facts::restore::LastLook;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::writes::Writes;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobEnd, JobKind};
use crate::model::restore::Method;
use crate::provider::local::restore::facts::slots_served;
use crate::provider::local::restore::outcome::{Counted, outcome};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::provider::with_way_back;
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, write_calls};
use jiff::Timestamp;
use std::sync::Arc;

/// Frames of 1 MiB on their way to the target.
const IN_FLIGHT: usize = 4;

impl Inner {
    /// Starts the restore that is permitted.
    pub async fn start_restore(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<Job, Fault> {
        let inner = Arc::clone(self);
        self.jobs
            .begin_permitted(permit, JobKind::Restore, backup_id, |job, plan, permit| async move {
                let done = inner.restore(permit.overwrite()?, &job, &plan).await;
                done.map_err(|end| end.map(|fault| with_way_back(fault, &plan.impact.way_back)))
            })
            .await
    }

    async fn restore(&self, grant: Grant<Overwrite>, job: &Job, plan: &Plan) -> JobEnd {
        self.jobs.progress(job, "verifying the backup", 0, 0).await?;
        let planned = plan.direct_restore()?;
        let set = self.vault.find(plan.act.set_of(&plan.instance_id), &job.backup_id, self).await?;
        // A bad RDB makes its target exit. The set was verified whole for the plan; before the first byte leaves us, every
        // byte of its file is shown to be the one that was verified then.
        let known = if set.sha256 == planned.sha256 {
            self.vault.open_known(&set, &planned.stored_sha256).await?
        } else {
            None
        };
        let another = "the backup is not the one that was planned; the target was not touched";
        let data = known.ok_or_else(|| changed(another))?;
        let recovery = RecoveryRecord::of(plan, &set);
        let before = self.counted(&plan.instance_id).await.ok();
        let unseen = match planned.method {
            Method::Replication => self.by_replication(grant, job, plan, recovery, &set, data).await.map(|()| 0)?,
            Method::Beside => self.beside_the_old(grant, job, plan, recovery, &set, data).await?,
            Method::Commands => self.by_commands(grant, job, plan, recovery, &set, data).await?,
        };
        // Data that is in must not be called lost because of what comes after it.
        let _ = self.jobs.progress(job, "counting keys", set.rdb_bytes, set.rdb_bytes).await;
        match self.counted(&plan.instance_id).await {
            Ok(after) => Ok(outcome(&set, before.as_ref(), &after, unseen)?),
            Err(fault) => {
                Ok(format!("restored: the target took the whole set; its keys could not be counted ({fault})"))
            }
        }
    }

    async fn counted(&self, instance_id: &str) -> Result<Counted, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        Ok(Counted::from(&ServerFacts::read(&mut conn).await?))
    }

    /// Looks at the target for the last time: nothing may have been written to it since the plan, or taken its place.
    pub(super) async fn still_as_planned(&self, conn: &mut Conn, plan: &Plan) -> Result<(), Fault> {
        let calls = write_calls(conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(conn).await?;
        let slots = slots_served(&facts, conn).await?;
        let (run_id, replication_id) = (facts.run_id, facts.replid);
        plan.last_look(&LastLook { run_id, replication_id, slots, writes: Writes { calls, read_at } })
    }
}
