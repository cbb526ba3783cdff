//! A new instance from a backup or a moment: its dry run, and its making, followed until it serves.
//!
//! An idempotency token makes a repeated order the same order: one yes is one instance, whatever becomes of replies.

use crate::guard::act::{CloneOrder, Source};
use crate::guard::grant::{Grant, Order as Ordering, Recovery};
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::job::{Job, JobEnd, JobKind, RecoveryKind, StoredRecovery, Unfinished};
use crate::model::text::clean;
use crate::provider::jobs::Recoverable;
use crate::provider::tair::Inner;
use crate::provider::tair::order::{Order, Stored};
use crate::provider::tair::poller::{Poller, passes};
use crate::tair::client::Granted;
use crate::tair::error::TairError;
use crate::tair::retry::Retry;
use crate::tair::wire::clone::{DryRun, NewInstance};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How long the cloud is trusted to remember an idempotency token across a crash of ours.
const TOKEN_GOOD: SignedDuration = SignedDuration::from_hours(1);

/// What a later process needs to go on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    ordered_at: Timestamp,
    order: Stored,
    /// Whether an attempt at the order had no reply: then there may be an instance, whatever later ones say.
    #[serde(default)]
    uncertain: bool,
    /// The new instance, once the cloud has named it.
    new_instance_id: Option<String>,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudClone;
}

impl Inner {
    async fn check_order(&self, order: &Order) -> Result<NewInstance, TairError> {
        match order {
            Order::Redis(o) => self.client.call(&DryRun(o.clone())).await,
            Order::Tair(o) => self.client.call(&DryRun(o.clone())).await,
        }
    }

    /// Has the cloud check an order without taking it. `Err` inside: why it would not.
    pub async fn dry_run(&self, order: &Order) -> Result<Result<(), String>, Fault> {
        match self.check_order(order).await {
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
        let planned = match &permit.plan().preconditions {
            Preconditions::Clone { terms, .. } => terms.as_deref(),
            _ => return Err(permit.plan().unsupported()),
        };
        if planned != Some(&order.terms()) {
            let message = "the source has changed since the plan, and the order with it; nothing was ordered";
            return Err(changed(message));
        }
        // One yes is one instance: the token is that of the permit.
        let nonce = permit.record("", String::new()).nonce;
        let token = hex(&Sha256::digest(format!("{id} {nonce}").as_bytes()));
        let order = order.with_token(token);
        let inner = Arc::clone(self);
        let backup_id = set.map(|s| s.set.id).unwrap_or_default();
        self.jobs
            .begin_permitted(permit, JobKind::Clone, &backup_id, move |job, _plan, permit| async move {
                inner.clone_instance(&job, order, permit.order()?).await
            })
            .await
    }

    async fn clone_instance(&self, job: &Job, order: Order, grant: Grant<Ordering>) -> JobEnd {
        let mut record =
            Record { ordered_at: Timestamp::now(), order: order.stored(), uncertain: false, new_instance_id: None };
        // Written before it is sent: a crash in between is reconciled by sending the same order under the same token.
        self.jobs.save_recovery(job, &record).await?;
        self.jobs.progress(job, "ordering", 0, 0).await?;
        self.order_and_follow(job, &order, grant, &mut record).await
    }

    async fn order_and_follow(&self, job: &Job, order: &Order, grant: Grant<Ordering>, record: &mut Record) -> JobEnd {
        let new = self.send_order(job, order, &self.client.granted(grant), record).await?;
        record.new_instance_id = Some(new.clone());
        self.keep(job, record).await;
        self.follow_clone(job, &new).await
    }

    /// Goes on with a job whose process died.
    pub async fn resume_clone(&self, job: &Job, record: Option<&StoredRecovery>) -> JobEnd {
        let Some(mut record) = Record::read(record)? else {
            return Err(Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died before it ordered the instance",
            )
            .hint("Make a new plan with create_instance_from_backup.")
            .into());
        };
        if let Some(new) = &record.new_instance_id {
            return self.follow_clone(job, new).await;
        }
        // The process before may have sent it.
        record.uncertain = true;
        if Timestamp::now().duration_since(record.ordered_at) > TOKEN_GOOD {
            return Err(Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died while it ordered the instance, too long ago to ask again under the same token",
            )
            .hint(MAY_BE)
            .next(&["describe_instances"])
            .into());
        }
        let order = record.order.order()?;
        let recovery = Recovery { instance_id: job.instance_id.clone(), record: String::new() };
        self.order_and_follow(job, &order, recovery.repeat_order(), &mut record).await
    }

    /// Sends the order, again under its token where no reply came: that makes one instance, not two.
    async fn send_order(
        &self,
        job: &Job,
        order: &Order,
        client: &Granted<'_, Ordering>,
        record: &mut Record,
    ) -> Result<String, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.away.saturating_mul(2), &self.jobs.stop);
        loop {
            let sent = match order {
                Order::Redis(o) => client.call(o).await,
                Order::Tair(o) => client.call(o).await,
            };
            let e = match sent {
                Ok(new) => return Ok(new.instance_id),
                Err(e) => e,
            };
            if e.is_uncertain() && !record.uncertain {
                record.uncertain = true;
                self.keep(job, record).await;
            }
            let again = (e.is_uncertain() || passes(&e)) && poller.elapsed() < self.polling.away;
            if !again {
                if !record.uncertain {
                    return Err(e.into());
                }
                return Err(Unfinished::RollbackPending(may_be(&e.to_string()).because(e)));
            }
            tracing::warn!(job = %job.id, "the order is sent again under its token: {e}");
            if record.uncertain {
                self.tell(job, "ordering again under the same token; an instance may exist already, and be billed")
                    .await;
            }
            poller.wait("the order").await.map_err(|end| match end {
                Unfinished::Failed(fault) if record.uncertain => Unfinished::RollbackPending(may_be(&fault.message)),
                // Detached from: the next process goes on under the token.
                end => end,
            })?;
        }
    }

    async fn follow_clone(&self, job: &Job, new: &str) -> JobEnd {
        let billed = format!("{} is billed (PostPaid) until somebody releases it", clean(new));
        let mut poller = Poller::new(&self.polling, self.polling.clone, &self.jobs.stop);
        loop {
            let read = self.attribute_raw(new).await;
            let unknown =
                read.as_ref().is_err_and(|e| e.cloud().is_some_and(|c| c.meaning().fault == "instance.not_found"));
            let status = match read {
                // A new instance may not be listed at once.
                Err(_) if unknown && poller.elapsed() < self.polling.visible => "ordered".to_owned(),
                read => match poller.tolerate(read).map_err(|f| with_hint(f, &billed))? {
                    Some(found) => found.and_then(|a| a.facts.instance_status).unwrap_or_default(),
                    None => String::new(),
                },
            };
            match status.as_str() {
                "Normal" => return Ok(format!("new instance {} is ready; {billed}", clean(new))),
                "Error" | "Unavailable" | "Released" | "Inactive" => {
                    let message = format!("new instance {} became {status}", clean(new));
                    return Err(with_hint(Fault::new(Kind::Provider, "clone.failed", message), &billed).into());
                }
                _ => {}
            }
            let stage = format!("{} is {}, {} s", clean(new), clean(&status), poller.seconds());
            self.tell(job, &stage).await;
            let waited = poller.wait(&format!("the making of {}", clean(new))).await;
            waited.map_err(|end| end.map(|fault| with_hint(fault, &billed)))?;
        }
    }
}

/// What to do where nobody knows.
const MAY_BE: &str = "A new instance may exist and be billed: look with describe_instances, and release it in the console if it is not wanted.";

/// An order that had no reply, and what was said last. The record of it is still needed.
fn may_be(last: &str) -> Fault {
    let message = format!(
        "an attempt at the order had no reply, so a new instance may exist and be billed; the last attempt: {last}"
    );
    Fault::new(Kind::Provider, "clone.uncertain", message).hint(MAY_BE).next(&["describe_instances"])
}

/// The next step after a failed clone that is looked at again.
pub fn reconciled_hint(record: Option<&StoredRecovery>, hint: &str) -> String {
    match Record::read(record) {
        Ok(Some(Record { new_instance_id: Some(new), .. })) => {
            format!("New instance {} is billed (PostPaid) until somebody releases it. {hint}", clean(&new))
        }
        Ok(Some(_)) | Err(_) if !hint.contains(MAY_BE) => format!("{MAY_BE} {hint}"),
        _ => hint.to_owned(),
    }
}

fn with_hint(fault: Fault, more: &str) -> Fault {
    let hint = format!("{} {more}: look with describe_instances, release it in the console.", fault.hint);
    fault.hint(hint.trim())
}
