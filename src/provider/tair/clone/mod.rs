//! A new instance from a backup or a moment: ordered once, and followed until it serves.
//!
//! An idempotency token makes a repeated order the same order: one yes is one instance, whatever becomes of replies.

mod facts;
mod follow;
pub mod order;
pub(super) mod record;

use crate::guard::act::{CloneOrder, Source};
use crate::guard::grant::{Grant, Order as Ordering, Orphaned};
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::job::{Job, JobEnd, JobKind, StoredRecovery, Unfinished};
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::Inner;
use crate::provider::tair::clone::order::Order;
use crate::provider::tair::clone::record::{MAY_BE, Record, may_be};
use crate::provider::tair::poller::Poller;
use crate::tair::client::Granted;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How long the cloud is trusted to remember an idempotency token across a crash of ours.
const TOKEN_GOOD: SignedDuration = SignedDuration::from_hours(1);

impl Inner {
    /// Orders the new instance that is permitted.
    pub async fn start_clone(self: &Arc<Self>, permit: Permit, wanted: &CloneOrder) -> Result<Job, Fault> {
        let id = permit.plan().instance_id.clone();
        let source = self.attribute(&id).await?;
        let set = match &wanted.source {
            Source::Backup { backup_id } => Some(self.cloud_set(&id, backup_id).await?),
            Source::Moment { .. } | Source::Before { .. } => None,
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
        let token = hex(&Sha256::digest(format!("{id} {}", permit.nonce()).as_bytes()));
        let order = order.with_token(token);
        let bound = self.bound().await?;
        let inner = Arc::clone(&bound);
        let backup_id = set.map(|s| s.set.id).unwrap_or_default();
        bound
            .jobs
            .begin_permitted(permit, JobKind::Clone, &backup_id, move |job, _plan, permit| async move {
                inner.clone_instance(&job, order, permit.order()?).await
            })
            .await
    }

    async fn clone_instance(&self, job: &Job, order: Order, grant: Grant<Ordering>) -> JobEnd {
        let mut record =
            Record { ordered_at: self.client.now(), order: order.stored(), uncertain: false, new_instance_id: None };
        // Written down before the order is sent: a crash in between is reconciled by sending the same order under the same token.
        self.jobs.save_recovery(job, &record).await?;
        self.jobs.progress(job, "ordering", 0, 0).await?;
        self.order_and_follow(job, &order, grant, &mut record).await
    }

    async fn order_and_follow(&self, job: &Job, order: &Order, grant: Grant<Ordering>, record: &mut Record) -> JobEnd {
        let new = self.send_order(job, order, &self.client.granted(grant), record).await?;
        record.new_instance_id = Some(new.clone());
        self.keep_recovery(job, record).await;
        self.follow_clone(job, &new).await
    }

    /// Goes on with a job whose process died.
    pub async fn resume_clone(&self, job: &Job, stored: Option<&StoredRecovery>) -> JobEnd {
        let (Some(mut record), Some(stored)) = (Record::read(stored)?, stored) else {
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
        // The process that died may have sent the order.
        record.uncertain = true;
        let why = match self.read_clouds_clock(job).await? {
            Some(now) if now.duration_since(record.ordered_at) <= TOKEN_GOOD => None,
            Some(_) => Some("too long ago to ask again under the same token"),
            None => {
                Some("and the cloud, by whose clock it would be asked again under the same token, cannot be reached")
            }
        };
        if let Some(why) = why {
            let message = format!("the process died while it ordered the instance, {why}");
            return Err(Fault::new(Kind::Uncertain, "clone.uncertain", message)
                .hint(MAY_BE)
                .next(&["describe_instances"])
                .into());
        }
        let order = record.order.order()?;
        let grant = Orphaned::of(job, stored)?.repeat_order()?;
        self.order_and_follow(job, &order, grant, &mut record).await
    }

    /// Now by the cloud's clock, which dated the order and which a process that has just begun does not know before a reply; `None` where
    /// none comes for as long as an outage is waited for.
    async fn read_clouds_clock(&self, job: &Job) -> Result<Option<Timestamp>, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout, &self.jobs.stop);
        loop {
            poller.look(self.attribute_raw(&job.instance_id).await);
            if let Some(now) = self.client.clouds_now() {
                return Ok(Some(now));
            }
            match poller.wait("the cloud's clock").await {
                Ok(()) => {}
                Err(detached @ Unfinished::Detached(_)) => return Err(detached),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Sends the order, again under its token where no reply came: that makes one instance, not two.
    async fn send_order(
        &self,
        job: &Job,
        order: &Order,
        client: &Granted<'_, Ordering>,
        record: &mut Record,
    ) -> Result<String, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout.saturating_mul(2), &self.jobs.stop);
        loop {
            // By the cloud's clock: that of this machine's own uptime stands still while the machine sleeps.
            let is_old = self.client.now().duration_since(record.ordered_at) > TOKEN_GOOD;
            if record.uncertain && is_old {
                let why = "it is too long ago to ask again under the same token";
                return Err(Unfinished::RollbackPending(may_be(why)));
            }
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
                self.keep_recovery(job, record).await;
            }
            let again = (e.is_uncertain() || e.may_pass()) && poller.elapsed() < self.polling.outage_timeout;
            if !again {
                if !record.uncertain {
                    return Err(e.into());
                }
                return Err(Unfinished::RollbackPending(may_be(&e.to_string()).because(e)));
            }
            tracing::warn!(job = %job.id, "the order is sent again under its token: {e}");
            if record.uncertain {
                self.report_progress(
                    job,
                    "ordering again under the same token; an instance may exist already, and be billed",
                )
                .await?;
            }
            poller.wait("the order").await.map_err(|end| match end {
                Unfinished::Failed(fault) if record.uncertain => Unfinished::RollbackPending(may_be(&fault.message)),
                // Detached: the next process goes on under the token.
                end => end,
            })?;
        }
    }
}
