//! New instances from a backup: a spare of the configuration is handed out and filled.
//!
//! What a call asks for beside the data (class, zone, network) is taken and not made: the spare is what its operator
//! started. There is no way back: a spare that was handed out is a new instance for good.

use crate::emulator::acts;
use crate::emulator::answer::Refused;
use crate::emulator::backups::find;
use crate::emulator::call::Call;
use crate::emulator::ids::{Of, number};
use crate::emulator::instances::{capacity, place};
use crate::emulator::memory::{Book, Created, Token};
use crate::emulator::world::{Emulated, Status};
use crate::model::ids::{hex, new_id};
use crate::model::text::clean;
use crate::tair::params::{Params, canonical, first};
use crate::tair::wire::Scalar as _;
use crate::tair::wire::clone::NewInstance;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Parameters that do not make a call another one.
const ENVELOPE: [&str; 6] =
    ["Token", "ClientToken", "OwnerId", "OwnerAccount", "ResourceOwnerId", "ResourceOwnerAccount"];

fn given<'a>(call: &Call<'a>, name: &str) -> Option<&'a str> {
    first(call.params, name).filter(|value| !value.is_empty())
}

/// `CreateInstance` and `CreateTairInstance`.
///
/// # Errors
/// `DryRunOperation` where the call would have been carried out but for its `DryRun`; `MissingParameter`,
/// `InvalidBackupLogStatus`, `InvalidBinlog.NotValid`, `InvalidStatus`,
/// `QuotaExceed.AfterpayInstance`, `QuotaNotEnough`, `IdempotentParameterMismatch`, and those of the source and the set.
pub async fn create(call: &Call<'_>) -> Result<NewInstance, Refused> {
    let tair = call.action == "CreateTairInstance";
    let mandatory: &[&str] =
        if tair { &["RegionId", "InstanceClass", "InstanceType", "VpcId", "VSwitchId"] } else { &["RegionId"] };
    for name in mandatory {
        given(call, name).ok_or_else(|| Refused::missing(name))?;
    }
    if given(call, "InstanceClass").or(given(call, "Capacity")).is_none() {
        return Err(Refused::missing("InstanceClass"));
    }
    // The two actions have different defaults, which is a trap the client has to know.
    let charge = given(call, "ChargeType").unwrap_or(if tair { "PrePaid" } else { "PostPaid" });
    match charge {
        "PostPaid" => {}
        "PrePaid" if given(call, "Period").is_none() => return Err(Refused::new("MissingParameter")),
        "PrePaid" => {}
        _ => return Err(Refused::malformed("ChargeType")),
    }
    let token = given(call, if tair { "ClientToken" } else { "Token" });
    if token.is_some_and(|t| t.len() > 64 || !t.is_ascii()) {
        return Err(Refused::new("InvalidToken.Malformed"));
    }
    let dry = match given(call, "DryRun") {
        None => false,
        Some(text) => bool::read(text).ok_or_else(|| Refused::malformed("DryRun"))?,
    };
    let arguments = arguments(call.params);
    if let Some(made) = call.world.memory.read(|book| made(book, token, &arguments))? {
        return reply(call, &call.world.instance(&made)?).await;
    }
    let (source, set) = from(call).await?;
    let set = set.whole.ok_or_else(|| Refused::new("IncorrectBackupSetState"))?;
    let at = Timestamp::now();
    let copy = new_id("b", at)?;
    let quota = if charge == "PostPaid" { "QuotaExceed.AfterpayInstance" } else { "QuotaNotEnough" };
    let mut spares = call.world.spares();
    // Of several, the kind of the source first; what differs is the emulated face, not the server.
    let alike =
        |s: &Emulated| (s.how.generation, s.how.architecture) == (source.how.generation, source.how.architecture);
    spares.sort_by_key(|s| !alike(s));
    if spares.is_empty() {
        return Err(Refused::new(quota));
    }
    if dry {
        return Err(Refused::new("DryRunOperation"));
    }
    let name = given(call, "InstanceName").map(clean);
    let of = |spare: &Emulated| Created {
        at,
        name: name.clone().unwrap_or_else(|| spare.id.clone()),
        charge: charge.into(),
        normal_at: None,
        failed: false,
        copy: copy.clone(),
    };
    let claimed = call.world.memory.change(|book| {
        // Another call may have been faster: with the same token, or with the same spare.
        if let Some(made) = made(book, token, &arguments)? {
            return Ok(Err(made));
        }
        let spare = spares.into_iter().find(|s| book.of(&s.id).created.is_none());
        let spare = spare.ok_or_else(|| Refused::new(quota))?;
        let created = of(&spare);
        call.world.begin_filling(&spare.id);
        book.of(&spare.id).created = Some(created.clone());
        if let Some(token) = token {
            let kept = Token { at, arguments, instance_id: spare.id.clone() };
            book.tokens.insert(token.to_owned(), kept);
        }
        let new = Emulated { created: Some(created.clone()), ..spare };
        Ok::<_, Refused>(Ok((new, created)))
    })?;
    match claimed {
        Err(made) => reply(call, &call.world.instance(&made)?).await,
        Ok((new, created)) => {
            acts::fill(call, &new.id, set, created, call.world.mishaps.hold(call.action));
            reply(call, &new).await
        }
    }
}

/// What an earlier call with this token got.
fn made(book: &Book, token: Option<&str>, arguments: &str) -> Result<Option<String>, Refused> {
    match token.and_then(|token| book.tokens.get(token)) {
        None => Ok(None),
        Some(earlier) if earlier.arguments == arguments => Ok(Some(earlier.instance_id.clone())),
        Some(_) => Err(Refused::new("IdempotentParameterMismatch")),
    }
}

/// The source and the set that are named.
async fn from(call: &Call<'_>) -> Result<(Emulated, crate::emulator::world::Set), Refused> {
    // An empty instance cannot be made: a spare holds what it holds until a set overwrites it.
    let source = given(call, "SrcDBInstanceId").ok_or_else(|| Refused::new("ServiceNotSupport"))?;
    let source = call.world.instance(source)?;
    if call.world.status(&source).await? != Status::Normal {
        return Err(Refused::new("InvalidStatus"));
    }
    let set = match (given(call, "BackupId"), given(call, "ClusterBackupId"), given(call, "RestoreTime")) {
        (Some(id), None, None) if !id.starts_with("cb-") => find(call, &source, id).await?,
        (None, Some(id), None) if id.starts_with("cb-") => find(call, &source, id).await?,
        (None, None, Some(text)) => {
            let on = call.world.memory.of(&source.id).policy.is_some_and(|p| p.flashback_since.is_some());
            if !on {
                return Err(Refused::new("InvalidBackupLogStatus"));
            }
            crate::tair::wire::Second::read(text).ok_or_else(|| Refused::new("InvalidRestoreTime.Format"))?;
            // The archive is not there yet; see `restore`.
            return Err(Refused::new("InvalidBinlog.NotValid"));
        }
        (None, None, None) => {
            let say = "BackupId or RestoreTime is mandatory for this action.";
            return Err(Refused::new("MissingParameter").status(400).say(say));
        }
        _ => return Err(Refused::new("InvalidParameter")),
    };
    Ok((source, set))
}

fn arguments(params: &Params) -> String {
    let same: Params = params.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())).cloned().collect();
    hex(&Sha256::digest(canonical(&same)))
}

async fn reply(call: &Call<'_>, new: &Emulated) -> Result<NewInstance, Refused> {
    let local = call.world.app.provider.describe(&new.id).await?;
    let (host, port) = place(&local);
    let status = call.world.status(new).await?;
    let tair = call.action == "CreateTairInstance";
    Ok(NewInstance {
        request_id: String::new(),
        instance_id: new.id.clone(),
        instance_name: new.created.as_ref().map(|c| c.name.clone()),
        instance_status: Some(status.as_str().into()),
        region_id: Some(call.region.clone()),
        zone_id: Some(given(call, "ZoneId").map_or_else(|| call.zone(), str::to_owned)),
        connection_domain: Some(host.clone()),
        port: Some(port),
        capacity: Some(capacity(local.live.as_ref().ok())),
        bandwidth: Some(96),
        connections: Some(10_000),
        qps: Some(100_000),
        config: Some("{}".into()),
        charge_type: new.created.as_ref().map(|c| c.charge.clone()),
        order_id: Some(number(Of::Task, &new.id)),
        task_id: tair.then(|| number(Of::Task, &new.id).to_string()),
        node_type: (!tair).then(|| "MASTER_SLAVE".to_owned()),
        network_type: (!tair).then(|| "VPC".to_owned()),
        private_ip_addr: (!tair).then_some(host),
        user_name: (!tair).then(|| new.id.clone()),
        vpc_id: (!tair).then(|| given(call, "VpcId").unwrap_or("vpc-emulated").to_owned()),
        v_switch_id: (!tair).then(|| given(call, "VSwitchId").unwrap_or("vsw-emulated").to_owned()),
        ..NewInstance::default()
    })
}
