//! New instances from a backup or a moment: a spare instance of the configuration is handed out and filled; where it names none, a clone is
//! made.
//!
//! Further terms of a call (class, zone, network) are accepted and ignored: the spare instance is as its operator started it. A
//! spare instance that was handed out stays a new instance for good.

use crate::emulator::account::instance::{EmulatedInstance, Status};
use crate::emulator::account::records::{ClientToken, Creation, Records};
use crate::emulator::actions::figures::{capacity, host_and_port};
use crate::emulator::actions::moments::moment;
use crate::emulator::actions::overwrite::fill;
use crate::emulator::actions::sets::find;
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number};
use crate::emulator::request::ActionRequest;
use crate::guard::act::Source;
use crate::model::ids::{hex, random};
use crate::model::text::clean;
use crate::tair::endpoint::regions;
use crate::tair::params::{Params, canonical};
use crate::tair::wire::clone::NewInstance;
use crate::tair::wire::{Scalar as _, Second};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Parameters that do not count when two calls are compared.
const ENVELOPE: [&str; 6] =
    ["Token", "ClientToken", "OwnerId", "OwnerAccount", "ResourceOwnerId", "ResourceOwnerAccount"];

/// The action that an order came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    /// `CreateInstance`.
    Classic,
    /// `CreateTairInstance`.
    Tair,
}

/// The terms of a new instance, beside its source.
pub struct Order<'a> {
    via: Via,
    /// How the instance is charged: `PostPaid` or `PrePaid`.
    charge: &'a str,
    /// The client's token, by which a repeated call is recognised.
    token: Option<&'a str>,
    /// Whether the call only checks if it would be carried out.
    dry_run: bool,
    /// Memory of the new instance in MB, where the call names it.
    capacity: Option<i64>,
    /// Hash of the parameters that count when two calls are compared.
    arguments: String,
    /// The new instance's name.
    name: Option<String>,
}

impl<'a> Order<'a> {
    /// Parses the order of a `CreateInstance`.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidParameter`, `InvalidDBInstanceClass.NotFound`, `InstanceClass.NotMatch`, `InvalidToken.Malformed`.
    pub fn classic(request: &ActionRequest<'a>) -> Result<Self, Refused> {
        Self::read(request, Via::Classic, "PostPaid", "Token", &["RegionId"])
    }

    /// Parses the order of a `CreateTairInstance`. Its default charge type differs, which is a trap the client has to know.
    ///
    /// # Errors
    /// As [`Self::classic`].
    pub fn tair(request: &ActionRequest<'a>) -> Result<Self, Refused> {
        let mandatory = ["RegionId", "InstanceClass", "InstanceType", "VpcId", "VSwitchId"];
        Self::read(request, Via::Tair, "PrePaid", "ClientToken", &mandatory)
    }

    fn read(
        request: &ActionRequest<'a>,
        via: Via,
        charge: &'static str,
        token: &str,
        mandatory: &[&str],
    ) -> Result<Self, Refused> {
        for name in mandatory {
            request.param(name).ok_or_else(|| Refused::missing(name))?;
        }
        if request.param("InstanceClass").or(request.param("Capacity")).is_none() {
            return Err(Refused::missing("InstanceClass"));
        }
        if let Some(class) = request.param("InstanceClass") {
            check_class(class, request.param("InstanceType").unwrap_or_default())?;
        }
        if request.param("RegionId").is_some_and(|region| !regions().contains(&region)) {
            return Err(Refused::malformed("RegionId"));
        }
        let capacity = match request.param("Capacity") {
            None => None,
            Some(text) => Some(i64::read(text).ok_or_else(|| Refused::malformed("Capacity"))?),
        };
        let charge = request.param("ChargeType").unwrap_or(charge);
        if charge == "PrePaid" && request.param("Period").is_none() {
            return Err(Refused::new("MissingParameter"));
        }
        let token = request.param(token);
        if token.is_some_and(|t| t.len() > 64 || !t.is_ascii()) {
            return Err(Refused::new("InvalidToken.Malformed"));
        }
        let dry_run = match request.param("DryRun") {
            None => false,
            Some(text) => bool::read(text).ok_or_else(|| Refused::malformed("DryRun"))?,
        };
        let arguments = arguments(request.params);
        Ok(Self { via, charge, token, dry_run, capacity, arguments, name: request.param("InstanceName").map(clean) })
    }

    /// The refusal of an account that may have no more instances.
    fn quota(&self) -> Refused {
        Refused::new(if self.charge == "PostPaid" { "QuotaExceed.AfterpayInstance" } else { "QuotaNotEnough" })
    }

    /// The instance that an earlier call with this token created.
    fn made_before(&self, records: &Records) -> Result<Option<String>, Refused> {
        match self.token.and_then(|token| records.tokens.get(token)) {
            None => Ok(None),
            Some(earlier) if earlier.arguments == self.arguments => Ok(Some(earlier.instance_id.clone())),
            Some(_) => Err(Refused::new("IdempotentParameterMismatch")),
        }
    }
}

/// Checks a class of one of both products: the parts of a name, of which the first is the product, and the second of one of Tair is its type.
fn check_class(class: &str, instance_type: &str) -> Result<(), Refused> {
    let parts: Vec<&str> = class.split('.').collect();
    match (parts.as_slice(), instance_type.strip_prefix("tair_")) {
        _ if parts.contains(&"") => Err(Refused::new("InvalidDBInstanceClass.NotFound")),
        (["tair", of, _, ..], Some(wanted)) if *of != wanted => Err(Refused::new("InstanceClass.NotMatch")),
        (["redis" | "tair", _, _, ..], _) => Ok(()),
        _ => Err(Refused::new("InvalidDBInstanceClass.NotFound")),
    }
}

fn arguments(params: &Params) -> String {
    let same: Params = params.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())).cloned().collect();
    hex(&Sha256::digest(canonical(&same)))
}

/// The result of claiming a spare instance.
enum Claim {
    /// An earlier call with the same token created this instance.
    Before(String),
    /// This call got this instance.
    Now(Box<EmulatedInstance>, Box<Creation>),
}

/// `CreateInstance` and `CreateTairInstance`.
///
/// # Errors
/// `DryRunOperation` where the call would have been carried out but for its `DryRun`; `MissingParameter`,
/// `InvalidBackupLogStatus`, `InvalidRestoreTime.Format`, `InvalidBinlog.NotValid`, `InvalidStatus`,
/// `QuotaExceed.AfterpayInstance`, `QuotaNotEnough`, `IdempotentParameterMismatch`, and those of the source and the set.
pub async fn create(request: &ActionRequest<'_>, order: Order<'_>) -> Result<NewInstance, Refused> {
    let account = request.account;
    if let Some(made) = account.records.read(|records| order.made_before(records))? {
        return reply(request, &order, &account.instance(&made)?).await;
    }
    let (source, from) = source(request).await?;
    if let Some(wanted) = order.capacity {
        let local = account.app.provider.describe(&source.id).await?;
        if wanted < capacity(local.live.as_ref().ok()) {
            return Err(Refused::new("InvalidCapacity.NotFound"));
        }
    }
    let mut spares = account.spares();
    // Spares of the source's kind come first; the servers are alike.
    let alike = |s: &EmulatedInstance| {
        (s.kind.generation, s.kind.architecture) == (source.kind.generation, source.kind.architecture)
    };
    spares.sort_by_key(|s| !alike(s));
    let clone_of = (!account.has_spares()).then(|| source.id.clone());
    if clone_of.is_some() {
        let id = format!("clone-{}", hex(&random::<4>()?));
        spares = vec![EmulatedInstance { id, kind: source.kind, created: None }];
    }
    if spares.is_empty() {
        return Err(order.quota());
    }
    if order.dry_run {
        return Err(Refused::new("DryRunOperation"));
    }
    let backup_id = match &from {
        Source::Backup { backup_id } => backup_id.clone(),
        Source::Moment { .. } | Source::Before { .. } => String::new(),
    };
    match claim(request, &order, spares, (backup_id, clone_of)).await? {
        Claim::Before(made) => reply(request, &order, &account.instance(&made)?).await,
        Claim::Now(new, created) => {
            fill(request, &source.id, from, &new.id, *created, account.faults.delay(request.action));
            reply(request, &order, &new).await
        }
    }
}

/// Hands out one of the spare instances, or a clone that is still to be made, durably.
async fn claim(
    request: &ActionRequest<'_>,
    order: &Order<'_>,
    spares: Vec<EmulatedInstance>,
    (backup_id, clone_of): (String, Option<String>),
) -> Result<Claim, Refused> {
    let at = Timestamp::now();
    request
        .account
        .records
        .change(|records| {
            // Another call may have been faster: with the same token, or with the same spare instance.
            if let Some(made) = order.made_before(records)? {
                return Ok(Claim::Before(made));
            }
            let spare =
                spares.into_iter().find(|s| records.of(&s.id).created.is_none()).ok_or_else(|| order.quota())?;
            let created = Creation {
                at,
                name: order.name.clone().unwrap_or_else(|| spare.id.clone()),
                charge: order.charge.into(),
                normal_at: None,
                failed: false,
                backup_id,
                clone_of,
            };
            request.account.activity.begin_filling(&spare.id);
            records.of(&spare.id).created = Some(created.clone());
            if let Some(token) = order.token {
                let arguments = order.arguments.clone();
                records.tokens.insert(token.to_owned(), ClientToken { at, arguments, instance_id: spare.id.clone() });
            }
            let new = EmulatedInstance { created: Some(created.clone()), ..spare };
            Ok(Claim::Now(Box::new(new), Box::new(created)))
        })
        .await
}

/// The source instance, and the set or moment that the call names.
async fn source(request: &ActionRequest<'_>) -> Result<(EmulatedInstance, Source), Refused> {
    // An empty instance cannot be made: a spare instance keeps its data until a set overwrites it.
    let source = request.param("SrcDBInstanceId").ok_or_else(|| Refused::new("ServiceNotSupport"))?;
    let source = request.account.instance(source)?;
    if request.account.status(&source).await? != Status::Normal {
        return Err(Refused::new("InvalidStatus"));
    }
    let named = (request.param("BackupId"), request.param("ClusterBackupId"), request.param("RestoreTime"));
    let set = |id: String| Source::Backup { backup_id: id };
    let from = match named {
        (Some(id), None, None) if !id.starts_with("cb-") => set(find(request, &source, id).await?.id),
        (None, Some(id), None) if id.starts_with("cb-") => set(find(request, &source, id).await?.id),
        (None, None, Some(text)) => {
            if request.account.flashback(&source).await?.is_none() {
                return Err(Refused::new("InvalidBackupLogStatus"));
            }
            let at = Second::read(text).ok_or_else(|| Refused::new("InvalidRestoreTime.Format"))?;
            moment(request, &source, at.0, None).await?
        }
        (None, None, None) => {
            let message = "BackupId or RestoreTime is mandatory for this action.";
            return Err(Refused::new("MissingParameter").status(400).say(message));
        }
        _ => return Err(Refused::new("InvalidParameter")),
    };
    Ok((source, from))
}

async fn reply(request: &ActionRequest<'_>, order: &Order<'_>, new: &EmulatedInstance) -> Result<NewInstance, Refused> {
    let local = request.account.app.provider.describe(&new.id).await?;
    let (host, port) = host_and_port(&local);
    let status = request.account.status(new).await?;
    let tair = order.via == Via::Tair;
    Ok(NewInstance {
        request_id: String::new(),
        instance_id: new.id.clone(),
        instance_name: new.created.as_ref().map(|c| c.name.clone()),
        instance_status: Some(status.as_str().into()),
        region_id: Some(request.region.clone()),
        zone_id: Some(request.param("ZoneId").map_or_else(|| request.zone(), str::to_owned)),
        connection_domain: Some(host.clone()),
        port: Some(port),
        capacity: Some(capacity(local.live.as_ref().ok())),
        bandwidth: Some(96),
        connections: Some(10_000),
        qps: Some(100_000),
        config: Some("{}".into()),
        charge_type: new.created.as_ref().map(|c| c.charge.clone()),
        order_id: Some(number(IdKind::Task, &new.id)),
        task_id: tair.then(|| number(IdKind::Task, &new.id).to_string()),
        node_type: (!tair).then(|| "MASTER_SLAVE".to_owned()),
        network_type: (!tair).then(|| "VPC".to_owned()),
        private_ip_addr: (!tair).then_some(host),
        user_name: (!tair).then(|| new.id.clone()),
        vpc_id: (!tair).then(|| request.param("VpcId").unwrap_or("vpc-emulated").to_owned()),
        v_switch_id: (!tair).then(|| request.param("VSwitchId").unwrap_or("vsw-emulated").to_owned()),
        ..NewInstance::default()
    })
}
