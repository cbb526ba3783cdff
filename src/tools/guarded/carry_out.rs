//! Carrying out the act: the token is redeemed and the act begun in one go, then its job is followed for a while.

use super::Flow;
use super::reply::carried_out;
use crate::guard::ledger::Confirmation;
use crate::guard::permit;
use crate::guard::person::Yes;
use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus};
use crate::provider::Carried;
use crate::tools::{Outcome, follow, run_detached};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the last call follows the job at least before it says "started".
const JOB_WAIT: Duration = Duration::from_secs(45);

impl Flow<'_> {
    /// Redeems the token and carries the act out.
    pub(super) async fn carry_out(&self, open: Confirmation, yes: Yes) -> Result<Outcome, Fault> {
        let app = self.call.app;
        let (state, provider, agreed) = (Arc::clone(&app.state), Arc::clone(&app.provider), open.clone());
        // Redeemed and begun in one go: a client that goes away in between must not leave a redeemed token and no act.
        let begun = run_detached(self.call, open.plan.act.noun(), async move {
            let done = async {
                let permit = permit::redeem(state.as_ref(), &agreed, yes).await?;
                let human_verified = permit.human_verified();
                let carried = provider.carry_out(permit).await.map_err(permit::token_used_up)?;
                Ok((carried, human_verified))
            };
            let done: Result<_, Fault> = done.await;
            if let Err(fault) = &done
                && let Err(e) =
                    state.record(agreed.record("refused", format!("{}: {}", fault.code, fault.message))).await
            {
                tracing::error!(instance = %agreed.plan.instance_id, "the audit could not be written: {e}");
            }
            done
        });
        let (mut carried, human_verified) = begun.await?;
        if let Carried::Job(job) = &mut carried {
            let wait = self.until.saturating_duration_since(Instant::now()).max(JOB_WAIT);
            match follow(self.call, job.clone(), wait).await {
                Ok(followed) => *job = followed,
                // The job has begun, although it cannot be followed: the caller must get its id.
                Err(fault) => tracing::error!(job = %job.id, "the job cannot be followed: {fault}"),
            }
        }
        let cutover = match &carried {
            Carried::Job(job) => app.provider.cutover(job).await,
            Carried::Done(_) | Carried::Pruned(_) => None,
        };
        // Its id, which no plan can tell, is known when its job has ended.
        let clone = match &carried {
            Carried::Job(job) if job.kind == JobKind::Clone && job.status == JobStatus::Succeeded => {
                app.provider.clone_of_job(job).await
            }
            Carried::Job(_) | Carried::Done(_) | Carried::Pruned(_) => None,
        };
        let ends_clone = clone.map(|id| app.config.command(&format!("delete-instance --instance-id {id}")));
        carried_out(&open, carried, (cutover, ends_clone), human_verified)
    }
}
