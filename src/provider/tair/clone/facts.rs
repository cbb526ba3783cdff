//! What is read before a new instance is ordered: its source, the order's terms, and the cloud's own check of the order, a dry
//! run. The guard judges it.

use crate::guard::act::{CloneOrder, Source};
use crate::guard::facts::Facts;
use crate::guard::facts::clone::{CloneFacts, CloneOrderFacts, CloneSource};
use crate::model::fault::{Fault, Kind};
use crate::model::text::clean;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::clone::order::Order;
use crate::provider::tair::sets::listed_facts;
use crate::provider::unsupported;
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::clone::{DryRun, NewInstance};
use crate::tair::wire::instances::InstanceState;

impl Inner {
    /// What the order of a new instance is about.
    pub async fn clone_facts(&self, id: &str, wanted: &CloneOrder, ask_cloud: bool) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        let state = self.cloud_state(&a).await?;
        let order = match architecture.can_back_up() {
            Err(no) => Err(no),
            Ok(()) => {
                // An order from another region would be refused for that.
                let ask_cloud = ask_cloud && !state.instance.is_elsewhere();
                Ok(self.order_facts(id, &a, &architecture, wanted, ask_cloud).await?)
            }
        };
        Ok(Facts::Clone(Box::new(CloneFacts { instance_id: id.to_owned(), state, order })))
    }

    async fn order_facts(
        &self,
        id: &str,
        a: &InstanceAttribute,
        architecture: &Architecture,
        wanted: &CloneOrder,
        ask_cloud: bool,
    ) -> Result<CloneOrderFacts, Fault> {
        let (set, source) = match &wanted.source {
            Source::Backup { backup_id } => {
                let listed = self.judged_set(id, backup_id).await?;
                let facts = listed_facts(&listed);
                (listed.ok(), CloneSource::Set(facts))
            }
            Source::Before { .. } => return Err(unsupported("before_position")),
            Source::Moment { restore_time, .. } => {
                (None, CloneSource::Moment { at: *restore_time, log_start: architecture.log_start })
            }
        };
        let order = Order::new(self.client.region(), a, set.as_ref(), wanted)?;
        // An order for a set that is not whole, or for an instance that is busy, would be refused for that.
        let worth_asking = !matches!(source, CloneSource::Set(Err(_))) && a.state() == InstanceState::Normal;
        let dry_run = if ask_cloud && worth_asking { Some(self.dry_run(&order).await?) } else { None };
        Ok(CloneOrderFacts { source, terms: order.terms(), dry_run, name: wanted.instance_name.clone() })
    }

    async fn check_order(&self, order: &Order) -> Result<NewInstance, TairError> {
        match order {
            Order::Redis(o) => self.client.call(&DryRun(o.clone())).await,
            Order::Tair(o) => self.client.call(&DryRun(o.clone())).await,
        }
    }

    /// Has the cloud check an order without taking it. `Err` inside: why the cloud would not take the order.
    async fn dry_run(&self, order: &Order) -> Result<Result<(), String>, Fault> {
        match self.check_order(order).await {
            Err(e) if e.is_cloud(CloudError::says_dry_run_passed) => Ok(Ok(())),
            // An instance from a dry run would cost money that nobody agreed to.
            Ok(new) => Err(Fault::new(
                Kind::Provider,
                "clone.dry_run_ignored",
                format!("the cloud answered a dry run with a new instance, {}", clean(&new.instance_id)),
            )
            .hint("Look at it with describe_instances, and release it in the console if it is there.")),
            Err(TairError::Cloud(e)) if e.is_final() => Ok(Err(e.to_string())),
            Err(e) => Err(e.into()),
        }
    }
}
