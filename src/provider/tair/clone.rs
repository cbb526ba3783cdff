//! A new instance from a backup or a moment: its dry run, and its making, followed until it serves.
//!
//! An idempotency token makes a repeated order the same order: one yes is one instance, whatever becomes of replies.

use crate::guard::act::{CloneOrder, Source};
use crate::guard::ledger::Ledger as _;
use crate::guard::permit::Permit;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::job::{Job, JobKind};
use crate::model::text::clean;
use crate::provider::tair::follow::{Follow, passes};
use crate::provider::tair::order::{Order, Stored};
use crate::provider::tair::trace::Trace;
use crate::provider::tair::{Inner, undo_json};
use crate::state::jobs::Begun;
use crate::tair::codes::Retry;
use crate::tair::error::TairError;
use crate::tair::wire::clone::NewInstance;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How long the cloud is trusted to remember an idempotency token across a crash of ours.
const TOKEN_GOOD: SignedDuration = SignedDuration::from_hours(1);
/// Times an order is sent again under its token.
const ORDERS: u32 = 4;

/// What a later process needs to go on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    ordered_at: Timestamp,
    order: Stored,
    /// The new instance, once the cloud has named it.
    new_instance_id: Option<String>,
    /// Whose yes it was.
    trace: Trace,
}

impl Inner {
    async fn order(&self, order: &Order) -> Result<NewInstance, TairError> {
        match order {
            Order::Redis(o) => self.client.call(o).await,
            Order::Tair(o) => self.client.call(o).await,
        }
    }

    /// Has the cloud check an order without taking it. `Err` inside: why it would not.
    pub async fn dry_run(&self, order: &Order) -> Result<Result<(), String>, Fault> {
        match self.order(&order.clone().with(None, true)).await {
            // Its success comes as an error.
            Err(e) if e.is_code("DryRunOperation") => Ok(Ok(())),
            // An instance from a dry run would cost money that nobody agreed to.
            Ok(new) => Err(Fault::new(
                Kind::Provider,
                "clone.dry_run_ignored",
                format!("the cloud answered a dry run with a new instance, {}", clean(&new.instance_id)),
            )
            .hint("Look at it with describe_instances, and release it in the console if it is there.")),
            Err(TairError::Cloud(e)) if e.meaning().retry == Retry::Never => Ok(Err(e.to_string())),
            Err(e) => Err(e.into()),
        }
    }

    /// Orders what is permitted.
    pub async fn start_clone(self: &Arc<Self>, permit: Permit, wanted: &CloneOrder) -> Result<Job, Fault> {
        let id = permit.plan().instance_id.clone();
        let source = self.attribute(&id).await?;
        let set = match &wanted.source {
            Source::Backup { backup_id } => Some(self.cloud_set(&id, backup_id).await?),
            Source::Moment { .. } => None,
        };
        let order = Order::new(self.client.region(), &source, set.as_ref(), wanted)?;
        if order.details().iter().any(|(name, value)| permit.plan().pin(name) != value) {
            let message = "the source has changed since the plan, and the order with it; nothing was ordered";
            return Err(Fault::new(Kind::Refused, "plan.changed", message).hint("Make a new plan."));
        }
        // One yes is one instance: the token is that of the permit.
        let nonce = permit.record("", String::new()).nonce;
        let token = hex(&Sha256::digest(format!("{id} {nonce}").as_bytes()));
        let order = order.with(Some(token), false);
        let inner = Arc::clone(self);
        let backup_id = set.map(|s| s.set.id).unwrap_or_default();
        let begun = self
            .jobs
            .begin(JobKind::Clone, &id, &backup_id, |job| async move {
                let started = format!("job {}, human_verified {}", job.id, permit.human_verified());
                inner.jobs.state.record(permit.record("clone.started", started)).await?;
                let done = inner.clone_instance(&job, order, Trace::of(&permit)).await;
                inner.note_end(&Trace::of(&permit), &job, &done).await;
                done
            })
            .await?;
        match begun {
            Begun::Started(job) => Ok(job),
            Begun::Joined(job) => {
                Err(Fault::new(Kind::Provider, "job.busy", format!("clone {} of {id} is running", job.id))
                    .hint("Wait for it with describe_jobs; then make a new plan."))
            }
        }
    }

    async fn clone_instance(&self, job: &Job, order: Order, trace: Trace) -> Result<String, Fault> {
        let mut record = Record { ordered_at: Timestamp::now(), order: order.stored(), new_instance_id: None, trace };
        // Written before it is sent: a crash in between is settled by sending the same order under the same token.
        self.jobs.state.save_undo(&job.id, &undo_json(&record)?).await?;
        self.jobs.state.progress(&job.id, "ordering", 0, 0).await?;
        let new = self.send_order(&order).await?;
        record.new_instance_id = Some(new.clone());
        self.jobs.state.save_undo(&job.id, &undo_json(&record)?).await?;
        self.follow_clone(job, &new).await
    }

    /// Goes on with a job whose process died.
    pub async fn resume_clone(&self, job: &Job, undo: &str) -> Result<String, Fault> {
        let Ok(record) = serde_json::from_str::<Record>(undo) else {
            return Err(Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died before it ordered the instance",
            )
            .hint("Make a new plan with create_instance_from_backup."));
        };
        let trace = record.trace.clone();
        let outcome = self.resume_order(job, record).await;
        self.note_end(&trace, job, &outcome).await;
        outcome
    }

    async fn resume_order(&self, job: &Job, record: Record) -> Result<String, Fault> {
        if let Some(new) = &record.new_instance_id {
            return self.follow_clone(job, new).await;
        }
        if Timestamp::now().duration_since(record.ordered_at) > TOKEN_GOOD {
            return Err(Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died while it ordered the instance, too long ago to ask again under the same token",
            )
            .hint("Look with describe_instances whether there is a new instance; it would be billed.")
            .next(&["describe_instances"]));
        }
        self.clone_instance(job, record.order.order()?, record.trace).await
    }

    /// Sends the order, again under its token where no reply came: that makes one instance, not two.
    async fn send_order(&self, order: &Order) -> Result<String, Fault> {
        let mut beat = self.pace.beat();
        let mut sent = 1;
        loop {
            match self.order(order).await {
                Ok(new) => return Ok(new.instance_id),
                Err(e) if sent < ORDERS && (e.is_uncertain() || passes(&e)) => {
                    tracing::warn!("the order is sent again under its token: {e}");
                    sent += 1;
                    beat.wait().await;
                }
                Err(e) if e.is_uncertain() => {
                    return Err(Fault::from(e)
                        .hint("Look with describe_instances whether there is a new instance; it would be billed.")
                        .next(&["describe_instances"]));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    async fn follow_clone(&self, job: &Job, new: &str) -> Result<String, Fault> {
        let billed = format!("{} is billed (PostPaid) until somebody releases it", clean(new));
        let mut follow = Follow::new(&self.pace, self.pace.clone, &self.jobs.stop);
        loop {
            let read = self.attribute_raw(new).await;
            let unknown =
                read.as_ref().is_err_and(|e| e.cloud().is_some_and(|c| c.meaning().fault == "instance.not_found"));
            let status = match read {
                // A new instance may not be listed at once.
                Err(_) if unknown && follow.elapsed() < self.pace.settle => "ordered".to_owned(),
                read => match follow.forgive(read).map_err(|f| with_hint(f, &billed))? {
                    Some(found) => found.and_then(|a| a.instance_status).unwrap_or_default(),
                    None => String::new(),
                },
            };
            match status.as_str() {
                "Normal" => return Ok(format!("new instance {} is ready; {billed}", clean(new))),
                "Error" | "Unavailable" | "Released" | "Inactive" => {
                    let message = format!("new instance {} became {status}", clean(new));
                    return Err(with_hint(Fault::new(Kind::Provider, "clone.failed", message), &billed));
                }
                _ => {}
            }
            let stage = format!("{} is {}, {} s", clean(new), clean(&status), follow.seconds());
            self.jobs.state.progress(&job.id, &stage, 0, 0).await?;
            follow.wait(&format!("the making of {}", clean(new))).await?;
        }
    }
}

fn with_hint(fault: Fault, more: &str) -> Fault {
    let hint = format!("{} {more}: look with describe_instances, release it in the console.", fault.hint);
    fault.hint(hint.trim())
}
