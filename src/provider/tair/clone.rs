//! A new instance from a backup or a moment: the order, its dry run, and its making, followed until it serves.
//!
//! The order is made of the source's attributes. Its charge type is always PostPaid, so that releasing it ends what it
//! costs. An idempotency token makes a repeated order the same order.

use crate::guard::act::{CloneOrder, Source};
use crate::guard::ledger::Ledger as _;
use crate::guard::permit::Permit;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::job::{Job, JobKind};
use crate::model::text::{clean, quoted};
use crate::provider::tair::architecture::{Architecture, Shape};
use crate::provider::tair::follow::{Follow, passes};
use crate::provider::tair::sets::CloudSet;
use crate::provider::tair::trace::Trace;
use crate::provider::tair::{Inner, undo_json};
use crate::state::jobs::Begun;
use crate::tair::codes::Retry;
use crate::tair::error::TairError;
use crate::tair::params::Params;
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::clone::{CreateInstance, CreateTairInstance, NewInstance};
use crate::tair::wire::instances::Generation;
use crate::tair::wire::{Action as _, Second};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What every new instance is charged by.
const POST_PAID: &str = "PostPaid";
/// How long the cloud is trusted to remember an idempotency token across a crash of ours.
const TOKEN_GOOD: SignedDuration = SignedDuration::from_hours(1);
/// Times an order is sent again under its token.
const ORDERS: u32 = 4;

/// An order, as one of the two calls that take it.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// For Redis.
    Redis(CreateInstance),
    /// For Tair.
    Tair(CreateTairInstance),
}

fn unfit(code: &'static str, message: String, hint: &str) -> Fault {
    Fault::new(Kind::Usage, code, message).hint(hint)
}

/// The kind of Tair that a class is of, if it is Tair's.
fn tair_type(instance_type: Option<&str>, class: &str) -> Option<&'static str> {
    let of = |text: &str| {
        let text = text.to_ascii_lowercase().replace('.', "_");
        ["tair_rdb", "tair_scm", "tair_essd"].into_iter().find(|kind| text.starts_with(kind))
    };
    // The class decides: an order may name another one than the source's.
    of(class)
        .or_else(|| if class.to_ascii_lowercase().starts_with("redis.") { None } else { instance_type.and_then(of) })
}

/// Which settings the new instance takes over, as the wire has them.
fn recover_mode(
    order: &CloneOrder,
    set: Option<&CloudSet>,
    architecture: &Architecture,
) -> Result<Option<String>, Fault> {
    if order.recover_config_mode.is_empty() {
        return Ok(None);
    }
    if architecture.generation == Generation::Classic {
        return Err(unfit(
            "clone.recover_config",
            "recover_config_mode works for cloud-native sources only; this one is classic".into(),
            "Leave recover_config_mode out and set the new instance up by hand.",
        ));
    }
    if let Some(set) = set {
        let has = |word: &str| match word {
            "whitelist" => set.recover.whitelist,
            "config" => set.recover.config,
            "account" => set.recover.account,
            _ => false,
        };
        if let Some(missing) = order.recover_config_mode.iter().find(|m| !has(m)) {
            let offered: Vec<&str> = ["whitelist", "config", "account"].into_iter().filter(|w| has(w)).collect();
            let offered = if offered.is_empty() { "none of them".into() } else { offered.join(", ") };
            return Err(unfit(
                "clone.recover_config",
                format!("backup {} cannot give back {}: it holds {offered}", set.set.id, quoted(missing)),
                "Leave out of recover_config_mode what the set does not hold.",
            ));
        }
    }
    Ok(Some(order.recover_config_mode.join(",")))
}

impl Order {
    /// Makes the order for a new instance like its source, but for what is asked to differ.
    ///
    /// # Errors
    /// `clone.…`, naming what is missing and what to give.
    pub fn new(
        region: &str,
        source: &InstanceAttribute,
        set: Option<&CloudSet>,
        order: &CloneOrder,
    ) -> Result<Self, Fault> {
        let architecture = Architecture::of(source);
        let class = order
            .instance_class
            .clone()
            .or_else(|| source.instance_class.clone())
            .or_else(|| source.real_instance_class.clone())
            .ok_or_else(|| {
                unfit(
                    "clone.class_invalid",
                    "the cloud does not tell the source's class".into(),
                    "Give instance_class.",
                )
            })?;
        let moved = order.zone_id.is_some() && order.zone_id != source.zone_id;
        if moved && order.vswitch_id.is_none() {
            return Err(unfit(
                "clone.network_invalid",
                "a vSwitch belongs to one zone, and the source's is in another than zone_id".into(),
                "Give vswitch_id: a vSwitch of the source's VPC in that zone.",
            ));
        }
        let recover = recover_mode(order, set, &architecture)?;
        let restore_time = match order.source {
            Source::Moment { restore_time, .. } => Some(Second(restore_time)),
            Source::Backup { .. } => None,
        };
        let of_cluster = set.is_some_and(|s| s.of_cluster);
        let id = set.map(|s| s.set.id.clone());
        let (backup_id, cluster_backup_id) = if of_cluster { (None, id) } else { (id, None) };
        // Classic classes have the shards in their name.
        let sharded = architecture.shape == Shape::Cluster && architecture.generation == Generation::CloudNative;
        let shard_count = if sharded { source.shard_count } else { None };
        let secondary_zone_id = if moved { None } else { source.secondary_zone_id.clone() };
        let v_switch_id = order.vswitch_id.clone().or_else(|| source.v_switch_id.clone());
        let zone_id = order.zone_id.clone().or_else(|| source.zone_id.clone());
        let src = Some(source.instance_id.clone());
        let Some(kind) = tair_type(source.instance_type.as_deref(), &class) else {
            return Ok(Self::Redis(CreateInstance {
                region_id: region.into(),
                src_db_instance_id: src,
                backup_id,
                cluster_backup_id,
                restore_time,
                recover_config_mode: recover,
                instance_name: order.instance_name.clone(),
                instance_class: Some(class),
                capacity: None,
                instance_type: Some("Redis".into()),
                node_type: None,
                vpc_id: source.vpc_id.clone(),
                v_switch_id,
                zone_id,
                secondary_zone_id,
                engine_version: source.engine_version.clone(),
                shard_count,
                resource_group_id: source.resource_group_id.clone(),
                charge_type: POST_PAID.into(),
                dry_run: None,
                token: None,
            }));
        };
        let network = |value: Option<String>, what: &str| {
            value.ok_or_else(|| {
                unfit(
                    "clone.network_invalid",
                    format!("a Tair instance needs a {what}, and the source has none"),
                    "Make the instance in the console, or give vswitch_id and move the source into a VPC first.",
                )
            })
        };
        Ok(Self::Tair(CreateTairInstance {
            region_id: region.into(),
            src_db_instance_id: src,
            backup_id,
            cluster_backup_id,
            restore_time,
            recover_config_mode: recover,
            instance_name: order.instance_name.clone(),
            instance_class: class,
            instance_type: kind.into(),
            shard_type: None,
            vpc_id: network(source.vpc_id.clone(), "VPC")?,
            v_switch_id: network(v_switch_id, "vSwitch")?,
            storage: source.storage.as_deref().and_then(|s| s.trim().parse().ok()),
            storage_type: source.storage_type.clone(),
            zone_id,
            secondary_zone_id,
            engine_version: source.engine_version.clone(),
            shard_count,
            resource_group_id: source.resource_group_id.clone(),
            charge_type: POST_PAID.into(),
            dry_run: None,
            client_token: None,
        }))
    }

    /// The class ordered.
    #[must_use]
    pub fn class(&self) -> &str {
        match self {
            Self::Redis(o) => o.instance_class.as_deref().unwrap_or_default(),
            Self::Tair(o) => &o.instance_class,
        }
    }

    /// Class, zone and network, by name, for the reader.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let (zone, vpc, switch, version, shards) = match self {
            Self::Redis(o) => (&o.zone_id, o.vpc_id.clone(), o.v_switch_id.clone(), &o.engine_version, o.shard_count),
            Self::Tair(o) => {
                (&o.zone_id, Some(o.vpc_id.clone()), Some(o.v_switch_id.clone()), &o.engine_version, o.shard_count)
            }
        };
        let mut details =
            vec![("new_instance_class", self.class().to_owned()), ("new_charge_type", POST_PAID.to_owned())];
        let optional = [
            ("new_zone_id", zone.clone()),
            ("new_vpc_id", vpc),
            ("new_vswitch_id", switch),
            ("new_engine_version", version.clone()),
            ("new_shard_count", shards.map(|n| n.to_string())),
        ];
        details.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        details
    }

    fn with(mut self, token: Option<String>, dry: bool) -> Self {
        match &mut self {
            Self::Redis(o) => (o.token, o.dry_run) = (token, dry.then_some(true)),
            Self::Tair(o) => (o.client_token, o.dry_run) = (token, dry.then_some(true)),
        }
        self
    }

    fn stored(&self) -> Stored {
        match self {
            Self::Redis(o) => Stored { tair: false, params: o.params() },
            Self::Tair(o) => Stored { tair: true, params: o.params() },
        }
    }
}

/// An order as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    tair: bool,
    params: Params,
}

impl Stored {
    fn order(&self) -> Result<Order, Fault> {
        let read = if self.tair {
            CreateTairInstance::from_params(&self.params).map(Order::Tair)
        } else {
            CreateInstance::from_params(&self.params).map(Order::Redis)
        };
        read.map_err(|e| Fault::new(Kind::Unexpected, "job.undo", "the order written down cannot be read").because(e))
    }
}

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
