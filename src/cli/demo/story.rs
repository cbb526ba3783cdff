//! The steps of the demo. Each step prints the agent's call and the reply, and checks the reply.

use super::data::{self, Compared, Keys, compare};
use super::stage::{Stage, Who};
use super::talk::{call, connect, ensure, short, show_impact, shown, text};
use super::{Scene, failed, keys, moment, protection};
use crate::config::SANDBOX;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;

/// Most calls while a pre-check is pending; after that the step fails.
const PENDING_CALLS_MAX: u32 = 5;

/// Plays all steps.
pub async fn play(scene: &mut Scene, program: &Path) -> Result<(), Fault> {
    let mut stage = Stage::new();
    opening(&stage, scene, program);
    scene.client = Some(connect(scene, false).await?);

    look_around(&mut stage, scene).await?;
    let backup_id = back_up(&mut stage, scene).await?;
    download(&mut stage, scene, &backup_id).await?;

    let mut conn = data::connect(&scene.home).await?;
    let before = data::read(&mut conn).await?;
    stage.step("A release goes wrong and damages the data");
    stage.says(Who::Damage, &data::damage(&mut conn).await?);
    let damaged = data::read(&mut conn).await?;
    let found = compare(&before, &damaged);
    ensure(found.same < before.len(), || "the damage did no damage".into())?;
    stage.says(
        Who::Proof,
        &format!(
            "of {} keys {} are gone, {} changed, {} as they were",
            before.len(),
            found.gone,
            found.changed,
            found.same
        ),
    );

    let mut arguments = json!({ "instance_id": SANDBOX, "backup_id": backup_id });
    let token = plan(&mut stage, scene, &arguments, &found).await?;
    if let Some(arguments) = arguments.as_object_mut() {
        arguments.insert("confirmation_token".into(), token.into());
    }
    echo_alone(&mut stage, scene, &arguments).await?;
    let untouched = data::read(&mut conn).await?;
    ensure(untouched == damaged, || "the data changed although nobody said yes".into())?;
    stage.says(Who::Proof, &format!("the data is still damaged: {} of {} keys as they were", found.same, before.len()));

    say_yes(&mut stage, scene, &arguments).await?;
    prove(&mut stage, scene, &before).await?;
    keys::play(&mut stage, scene, &mut conn, (&backup_id, &before)).await?;
    moment::play(&mut stage, scene, &mut conn).await?;
    protection::play(&mut stage, scene, &backup_id).await?;
    audit(&mut stage, scene).await?;
    if let Some(client) = scene.client.take() {
        client.close().await?;
    }
    Ok(())
}

/// Prints the closing lines, once everything is removed.
pub fn closing(took: Duration, temporary: bool) {
    let stage = Stage::new();
    stage.text("\n");
    stage.heading(&format!("Done in {:.1} s: nothing was overwritten before a person said yes.", took.as_secs_f64()));
    stage.text(if temporary {
        "The demo's servers and directory are gone. For your own instances: tair-backup-mcp --help"
    } else {
        "The demo's servers have been stopped. For your own instances: tair-backup-mcp --help"
    });
}

fn opening(stage: &Stage, scene: &Scene, program: &Path) {
    stage.heading("A guarded restore, from end to end");
    stage.text(&format!(
        "An agent calls our MCP server; a person decides. The data is on a real server ({}) under {}{}.",
        program.display(),
        scene.home.dir().display(),
        if scene.temporary { ", removed at the end" } else { "" }
    ));
}

async fn look_around(stage: &mut Stage, scene: &mut Scene) -> Result<(), Fault> {
    stage.step("The agent looks around");
    let reply = call(stage, scene, "describe_instances", &json!({})).await?;
    let instance = reply.pointer("/instances/0").cloned().unwrap_or_default();
    ensure(text(&instance, "/instance_id") == SANDBOX, || format!("there is no sandbox: {reply}"))?;
    ensure(text(&instance, "/status") == "running", || {
        format!("the sandbox does not run: {}", text(&instance, "/reason"))
    })?;
    let number = |name: &str| instance.get(name).and_then(Value::as_u64).unwrap_or_default();
    stage.says(
        Who::Server,
        &format!(
            "{SANDBOX}: {} {}, {}, {} keys",
            text(&instance, "/engine"),
            text(&instance, "/engine_version"),
            text(&instance, "/status"),
            number("keys"),
        ),
    );
    stage.more("not recoverable: ", text(&instance, "/protection/not_recoverable"));
    Ok(())
}

async fn back_up(stage: &mut Stage, scene: &mut Scene) -> Result<String, Fault> {
    stage.step("It makes a backup before a risky change");
    let arguments = json!({ "instance_id": SANDBOX, "wait_seconds": 60, "note": "before the release" });
    let reply = call(stage, scene, "create_backup", &arguments).await?;
    let id = text(&reply, "/backup_id").to_owned();
    ensure(text(&reply, "/status") == "succeeded" && !id.is_empty(), || format!("there is no backup: {reply}"))?;
    stage.says(Who::Server, &format!("succeeded, {id}: {}", text(&reply, "/message")));
    Ok(id)
}

async fn download(stage: &mut Stage, scene: &mut Scene, backup_id: &str) -> Result<(), Fault> {
    stage.step("It downloads the backup as a plain .rdb file");
    let arguments = json!({ "instance_id": SANDBOX, "backup_id": backup_id });
    let reply = call(stage, scene, "download_backup", &arguments).await?;
    let path = text(&reply, "/path");
    stage.says(Who::Server, &format!("{path}, SHA-256 {}…", text(&reply, "/sha256").get(..16).unwrap_or_default()));
    let bytes = tokio::fs::read(path).await.map_err(|e| failed(format!("cannot read {path}: {e}")))?;
    let is_rdb = bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY");
    let as_replied = reply.get("bytes").and_then(Value::as_u64) == Some(bytes.len() as u64)
        && hex(&Sha256::digest(&bytes)) == text(&reply, "/sha256");
    ensure(is_rdb && as_replied, || format!("{path} is not what the reply says"))?;
    stage.says(Who::Proof, &format!("the file is an RDB of {} bytes with that SHA-256", bytes.len()));
    Ok(())
}

async fn plan(stage: &mut Stage, scene: &mut Scene, arguments: &Value, found: &Compared) -> Result<String, Fault> {
    stage.step("The agent asks for a restore: the first call only plans");
    let reply = call(stage, scene, "restore_instance", arguments).await?;
    let token = text(&reply, "/confirmation_token").to_owned();
    let planned = text(&reply, "/status") == "confirmation_required" && !token.is_empty();
    ensure(planned, || format!("there is no plan: {reply}"))?;
    stage.says(Who::Server, "confirmation_required. Nothing has been changed. Pre-checks:");
    let passed: Vec<&str> = items(&reply, "passed").iter().filter_map(Value::as_str).collect();
    ensure(!passed.is_empty(), || format!("no pre-check passes: {reply}"))?;
    stage.more("[pass] ", &passed.join(", "));
    for check in items(&reply, "prechecks") {
        let detail: String = text(check, "/detail").split(": ").next().unwrap_or_default().into();
        stage.more(&format!("[{}] {:<18} ", text(check, "/status"), text(check, "/name")), &detail);
    }
    show_impact(stage, &reply);
    let told = |class: &str| reply.pointer(&format!("/impact/keys/{class}")).and_then(Value::as_u64);
    let real = [("added", found.gone), ("changed", found.changed), ("lost", found.added), ("untouched", found.same)];
    ensure(real.iter().all(|(class, n)| told(class) == Some(*n as u64)), || {
        format!("the plan's impact is not what the keys show, which is {found:?}: {reply}")
    })?;
    stage.more("", &format!("confirmation_token {}, good until {}", short(&token), text(&reply, "/expires_at")));
    Ok(token)
}

/// The items of a field; none where there is no such field.
fn items<'a>(reply: &'a Value, name: &str) -> &'a [Value] {
    reply.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

async fn echo_alone(stage: &mut Stage, scene: &mut Scene, arguments: &Value) -> Result<(), Fault> {
    stage.step("It echoes the token, through a client that cannot ask a person: refused");
    let reply = call_until_checked(stage, scene, arguments).await?;
    let refused = text(&reply, "/status") == "approval_required" && text(&reply, "/code") == "person.no_channel";
    ensure(refused, || format!("a restore without a person was not refused: {reply}"))?;
    stage.says(Who::Refused, &format!("approval_required ({}). {}", text(&reply, "/code"), text(&reply, "/message")));
    Ok(())
}

/// The second call, repeated while a pre-check is pending.
async fn call_until_checked(stage: &Stage, scene: &mut Scene, arguments: &Value) -> Result<Value, Fault> {
    let mut reply = Value::Null;
    for _ in 0..PENDING_CALLS_MAX {
        reply = call(stage, scene, "restore_instance", arguments).await?;
        if text(&reply, "/status") != "prechecks_pending" {
            break;
        }
        stage.says(Who::Server, "prechecks_pending: the safety backup is not finished");
    }
    Ok(reply)
}

async fn say_yes(stage: &mut Stage, scene: &mut Scene, arguments: &Value) -> Result<(), Fault> {
    stage.step("The same token through a client that can ask: the person says yes");
    if let Some(client) = scene.client.take() {
        client.close().await?;
    }
    let mut client = connect(scene, true).await?;
    stage.says(Who::Agent, &shown("restore_instance", arguments));
    let mut person = |question: &str| {
        stage.says(Who::Person, "sees:");
        question.lines().for_each(|line| stage.more("| ", line));
        stage.says(Who::Person, &format!("types: {SANDBOX}"));
        SANDBOX.to_owned()
    };
    let reply = client.call("restore_instance", arguments, Some(&mut person)).await;
    let asked = client.asked;
    scene.client = Some(client);
    let reply = reply?;
    ensure(asked == 1, || format!("the person was asked {asked} times: {reply}"))?;
    let verified = reply.get("human_verified").and_then(Value::as_bool) == Some(true);
    ensure(text(&reply, "/status") == "succeeded" && verified, || format!("the restore did not succeed: {reply}"))?;
    stage.says(Who::Server, &format!("succeeded, human_verified: {}", text(&reply, "/message")));
    Ok(())
}

async fn prove(stage: &mut Stage, scene: &Scene, before: &Keys) -> Result<(), Fault> {
    stage.step("Is it all back? Compared key by key, past our server");
    let mut conn = data::connect(&scene.home).await?;
    let now = data::read(&mut conn).await?;
    let found = compare(before, &now);
    let all = found.same == before.len() && found.added == 0;
    ensure(all && !before.is_empty(), || format!("the data is not as it was: {found:?}"))?;
    stage.says(Who::Proof, &format!("{} of {} keys equal: type, value and expiry", found.same, before.len()));
    Ok(())
}

async fn audit(stage: &mut Stage, scene: &Scene) -> Result<(), Fault> {
    stage.step("What the audit recorded: tair-backup-mcp audit");
    let output = scene.command(["audit", "--instance-id", SANDBOX, "--limit", "1000"])?.output().await;
    let output = output.map_err(|e| failed(format!("the audit cannot be read: {e}")))?;
    let table = String::from_utf8_lossy(&output.stdout);
    ensure(output.status.success(), || "the audit cannot be read".into())?;
    let mut rest = table.as_ref();
    for event in ["planned", "no_channel", "asked", "approved", "restore.started"] {
        let at = rest.find(event).ok_or_else(|| failed(format!("the audit lacks {event}:\n{table}")))?;
        rest = rest.get(at..).unwrap_or_default();
    }
    stage.quote(table.trim_end());
    Ok(())
}
