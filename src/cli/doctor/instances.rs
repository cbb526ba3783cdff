//! The checks of an instance: that it answers, what its user may do, how a restore would go. They read, and change nothing on the instance.

use super::protection::{self, Protection};
use super::{Findings, Status, cluster, log};
use crate::config::instance::{InstanceConfig, RestoreWay};
use crate::guard::facts::rights::{Right, rules as rules_of};
use crate::model::fault::{Fault, Kind};
use crate::provider::local::describe;
use crate::provider::local::endpoint::endpoint_of;
use crate::provider::local::sandbox::Sandbox;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts};
use crate::redis::hello::{hello, open};
use crate::redis::rights::{self, Need, Probing};
use crate::redis::sentinel_masters;
use crate::redis::settings::{can_replicate_from_us, sync_delay};
use crate::redis::target::Refusal;
use crate::tools::App;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time limit of a connection and of each command: an unreachable instance must not hold up the others for long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks one instance: the findings, and how far it is protected. `offered`: the urls of shards that the findings of instances before have
/// offered to add.
pub async fn check(app: &App, id: &str, fail_on_gap: bool, offered: &mut BTreeSet<String>) -> (Findings, Protection) {
    let mut findings = Findings::of(id);
    // The log first, for what is asked of the instance depends on it; shown last.
    let kept = app.provider.log_status(id).await;
    let logged = matches!(&kept, Ok(Some(kept)) if kept.on);
    let mut sentinel = false;
    if let Err(fault) = live(app, id, logged, offered, &mut findings).await {
        sentinel = sentinel_masters::is_cause_of(&fault);
        findings.fail("reachable", &fault);
    }
    let mut protection = Protection::default();
    protection::backups(app, id, sentinel, &mut protection, &mut findings).await;
    // A Sentinel has no data that a policy could have backed up.
    let mut since = None;
    if !sentinel {
        protection::policy(app, id, &mut findings).await;
        since = protection::log_since(app, id).await;
    }
    if let Ok(Some(kept)) = &kept {
        protection.reaches_by_log(kept);
    }
    log::check(app, kept, (protection::alarm(app, id), since), fail_on_gap, &mut findings).await;
    (findings, protection)
}

async fn live(
    app: &App,
    id: &str,
    logged: bool,
    offered: &mut BTreeSet<String>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let config = app.config.instances.iter().find(|i| i.id == id);
    let endpoint = match config {
        Some(config) => endpoint_of(config, &config.url).await?,
        None => sandbox(app, id).await?,
    };
    let mut conn = open(&endpoint, COMMAND_TIMEOUT).await?;
    let user = rights::whoami(&mut conn).await?;
    let user = user.or(endpoint.username.clone()).unwrap_or_else(|| "default".into());
    let facts = match ServerFacts::read(&mut conn).await {
        Ok(facts) => {
            let engine = describe::engine(facts.flavor);
            let role = if facts.role == Role::Replica { "slave" } else { "master" };
            let detail = format!("{endpoint}: {engine} {}, {role}, as user {user}", facts.version);
            findings.pass("reachable", detail);
            if !facts.failed_saves.is_empty() {
                let detail =
                    format!("it could not save its own data the last time ({})", facts.failed_saves.join(", "));
                findings.warn("saves", detail, "free its disk, and read its log; backups go on");
            }
            Some(facts)
        }
        Err(RedisError::Denied { .. }) => {
            let what = match hello(&mut conn).await? {
                Some(said) if said.sentinel => return Err(sentinel_masters::instead(&mut conn).await.into()),
                Some(said) => format!("{} {}, as", describe::engine(said.flavor), said.version),
                None => "it answers, as".to_owned(),
            };
            let detail = format!(
                "{endpoint}: {what} user {user}, who may not run INFO: what the instance holds is not known; backups work, safety backups, restores \
                 and the log do not"
            );
            findings.warn("reachable", detail, format!("ACL SETUSER {user} +info +command"));
            None
        }
        Err(e) => return Err(e.into()),
    };
    // The log follows the replica that is named for backups, and the instance itself where that replica is away.
    let mut log_source_checked = false;
    if let Some((config, from)) = config.and_then(|c| c.backup_from.as_ref().map(|from| (c, from))) {
        let source = endpoint_of(config, from).await?;
        match replica(&source, logged, findings).await {
            Ok(()) => log_source_checked = logged,
            Err(fault) => findings.fail("backup_from", &fault),
        }
    }
    // Also with such a replica: a safety backup is taken from the instance itself.
    capture(&mut conn, &user, findings).await?;
    let Some(facts) = facts else { return Ok(()) };
    if let Some(config) = config.filter(|_| facts.cluster_enabled) {
        cluster::check(app, config, &endpoint, (&mut conn, user.as_str()), offered, findings).await?;
    }
    restore(config, &facts, &mut conn, &user, findings).await?;
    if logged && !log_source_checked {
        log::source(&mut conn, &facts, findings).await?;
    }
    Ok(())
}

/// The endpoint of the sandbox, which the provider starts and ends.
async fn sandbox(app: &App, id: &str) -> Result<Endpoint, Fault> {
    if let Err(reason) = app.provider.describe(id).await?.live {
        return Err(Fault::new(Kind::Provider, "instance.unreachable", reason));
    }
    Sandbox::new(app.config.home.sandbox()).endpoint().await
}

/// Checks the replica that backups are taken from, and that a log follows.
async fn replica(source: &Endpoint, logged: bool, findings: &mut Findings) -> Result<(), Fault> {
    let mut conn = Conn::open(source, COMMAND_TIMEOUT).await?;
    let user = rights::whoami(&mut conn).await?.or(source.username.clone()).unwrap_or_else(|| "default".into());
    findings.pass("backup_from", format!("{source} answers, as user {user}"));
    capture(&mut conn, &user, findings).await?;
    if logged {
        let facts = ServerFacts::read(&mut conn).await?;
        log::source(&mut conn, &facts, findings).await?;
    }
    Ok(())
}

/// The rights that the user of a connection lacks, and those that could not be tested.
struct MissingRights {
    denied: Vec<&'static str>,
    unknown: Vec<&'static str>,
}

async fn check_rights(conn: &mut Conn, user: &str, needs: &[Need]) -> Result<MissingRights, RedisError> {
    let found = rights::ask(conn, user, needs, Probing::Uncounted).await?.steps;
    Ok(MissingRights {
        denied: rules_of(&found, |right| matches!(right, Right::Denied | Right::Absent)),
        unknown: rules_of(&found, |right| matches!(right, Right::Unknown | Right::Refused(_))),
    })
}

/// Rights as ACL rules: `+psync +ping`.
fn rules(names: &[&str]) -> String {
    names.join(" ")
}

async fn capture(conn: &mut Conn, user: &str, findings: &mut Findings) -> Result<(), Fault> {
    const NAME: &str = "backup rights";
    let needs: Vec<&str> = rights::CAPTURE.iter().map(|need| need.rule).collect();
    let MissingRights { denied, unknown } = check_rights(conn, user, &rights::CAPTURE).await?;
    if !denied.is_empty() {
        let detail = format!("user {user} lacks {}", rules(&denied));
        findings.add(Status::Fail, NAME, detail, format!("ACL SETUSER {user} {}", rules(&needs)));
    } else if !unknown.is_empty() {
        let detail =
            format!("{} not tested: user {user} may not run ACL DRYRUN, or the server has none", rules(&unknown));
        findings.warn(NAME, detail, "create-backup shows it; nothing is changed by a backup.");
    } else {
        findings.pass(NAME, rules(&needs));
    }
    match sync_delay(conn).await? {
        Some(0) => findings.pass("backup delay", "none"),
        None => {
            let detail = "not known: the user may not run CONFIG GET";
            findings.pass("backup delay", format!("{detail}; ACL SETUSER {user} +config|get lets it be known"));
        }
        Some(seconds) => findings.warn(
            "backup delay",
            format!("the server waits {seconds} s for further replicas before each backup"),
            "CONFIG SET repl-diskless-sync-delay 0, and the same line in its configuration file",
        ),
    }
    Ok(())
}

/// Checks by which method a restore would go, and whether the user has the rights for it.
async fn restore(
    config: Option<&InstanceConfig>,
    facts: &ServerFacts,
    conn: &mut Conn,
    user: &str,
    findings: &mut Findings,
) -> Result<(), Fault> {
    const NAME: &str = "restore way";
    // A node of a cluster has no database beside the old data.
    let (by_commands, commands): (&str, &[Need]) = if facts.cluster_enabled {
        ("by commands, key by key: not atomic", &rights::IN_PLACE)
    } else {
        ("by commands, beside the old data: atomic where databases and memory are free for that", &rights::BESIDE)
    };
    let forced = config.is_some_and(|c| c.restore_way == RestoreWay::Commands);
    let way: &[Need] = if forced {
        findings.pass(NAME, format!("{by_commands} (restore_way = \"commands\")"));
        commands
    } else {
        match can_replicate_from_us(facts, conn).await {
            Ok(()) if config.is_some_and(|c| c.is_encrypted() && !c.allow_plain_replication) => {
                let detail = format!("{by_commands}; over TLS, for replication would send the data in clear");
                findings.warn(
                    NAME,
                    detail,
                    "allow_plain_replication = true for the instance, where the network is safe",
                );
                commands
            }
            Ok(()) => {
                let reach = match config.and_then(|c| c.announce.as_ref()) {
                    Some(announce) => format!("it has to reach us at {announce}"),
                    None => match conn.local_addr() {
                        Some(local) => format!("it has to reach us at {}", local.ip()),
                        None => "it has to reach us on this machine".into(),
                    },
                };
                findings.pass(NAME, format!("by replication: atomic; {reach}"));
                &rights::REPLICATION
            }
            Err(RedisError::Refused(refusal)) if facts.role == Role::Replica => {
                findings.warn(NAME, refusal.to_string(), refusal.hint());
                return Ok(());
            }
            Err(RedisError::Refused(refusal)) => {
                let next = match &refusal {
                    Refusal::Config { .. } | Refusal::ReplicaOf { .. } => {
                        format!("for one by replication: ACL SETUSER {user} +config|get +config|set +replicaof")
                    }
                    Refusal::ModulesUnknown => format!("for one by replication: ACL SETUSER {user} +module|list"),
                    _ => "The plan of a restore says so too.".to_owned(),
                };
                findings.warn(NAME, format!("{by_commands}; {refusal}"), next);
                commands
            }
            Err(e) => return Err(e.into()),
        }
    };
    let needs: Vec<Need> = rights::PLAN.iter().chain(way).copied().collect();
    let names: Vec<&str> = needs.iter().map(|need| need.rule).collect();
    let MissingRights { denied, unknown } = check_rights(conn, user, &needs).await?;
    if !denied.is_empty() {
        // Not a failure: an operator may want backups alone.
        let detail = format!("user {user} lacks {}: backups only", rules(&denied));
        findings.warn("restore rights", detail, format!("ACL SETUSER {user} {}", rules(&names)));
    } else if !unknown.is_empty() {
        let detail =
            format!("{} not tested: user {user} may not run ACL DRYRUN, or the server has none", rules(&unknown));
        findings.warn("restore rights", detail, format!("ACL SETUSER {user} +acl|dryrun +acl|whoami"));
    } else {
        findings.pass("restore rights", rules(&names));
    }
    Ok(())
}
