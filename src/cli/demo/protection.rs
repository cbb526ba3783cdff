//! The last act: what happens when nobody remembers, a drill that shows that the backup loads, and a change from outside that is found.

use super::stage::{Stage, Who};
use super::talk::{call, client, ensure, shown, text};
use super::{Scene, failed};
use crate::config::SANDBOX;
use crate::model::fault::Fault;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Longest a verification of the sandbox's few keys is waited for, in seconds.
const WAIT_SECONDS: u64 = 60;

/// Plays the act. Behind it the backup is damaged.
pub async fn play(stage: &mut Stage, scene: &mut Scene, backup_id: &str) -> Result<(), Fault> {
    stage.step("And when nobody remembers? The backup policy");
    let reply = call(stage, scene, "describe_backup_policy", &json!({ "instance_id": SANDBOX })).await?;
    let days = reply.get("backup_retention_period").and_then(Value::as_u64).unwrap_or_default();
    let next = text(&reply, "/preferred_next_backup_time");
    ensure(days >= 7 && !next.is_empty(), || format!("nothing is backed up by itself: {reply}"))?;
    let hour = text(&reply, "/preferred_backup_time");
    stage.says(Who::Server, &format!("a backup each day within {hour}, kept for {days} days; the next at {next}"));

    stage.step("Would the backup load? A drill: a scratch server loads it, is asked what it holds, and is thrown away");
    let arguments = |level: &str| json!({ "instance_id": SANDBOX, "backup_id": backup_id, "level": level, "wait_seconds": WAIT_SECONDS });
    let reply = call(stage, scene, "verify_backup", &arguments("drill")).await?;
    ensure(text(&reply, "/status") == "succeeded", || format!("the drill did not pass: {reply}"))?;
    stage.says(Who::Server, &format!("succeeded: {}", text(&reply, "/message")));

    stage.step("Somebody changes one byte of the backup behind our back");
    let (file, at) = change_a_byte(scene, backup_id).await?;
    stage.says(Who::Damage, &format!("byte {at} of {}", file.display()));
    stage.says(Who::Agent, &shown("verify_backup", &arguments("checksum")));
    let found = client(scene)?.refused("verify_backup", &arguments("checksum")).await?;
    let named = text(&found, "/code") == "backup.damaged" && text(&found, "/message").contains("data.rdb.zst");
    ensure(named, || format!("the change was not found: {found}"))?;
    stage.says(Who::Refused, &format!("backup.damaged: {}", text(&found, "/message")));
    let arguments = json!({ "instance_id": SANDBOX, "backup_id": backup_id });
    let plan = call(stage, scene, "restore_instance", &arguments).await?;
    let blocked = text(&plan, "/status") == "blocked" && text(&plan, "/message").contains("data.rdb.zst");
    ensure(blocked, || format!("it would be restored all the same: {plan}"))?;
    stage.says(Who::Refused, "blocked by backup_verified: it is restored nowhere, and counts as nobody's way back");
    Ok(())
}

/// Turns a byte in the middle of the backup's data over, as an intruder or a failing disk might; the file, and which byte.
async fn change_a_byte(scene: &Scene, backup_id: &str) -> Result<(PathBuf, usize), Fault> {
    let file = scene.home.vault().join(SANDBOX).join(backup_id).join("data.rdb.zst");
    let wrong = |e: std::io::Error| failed(format!("cannot change {}: {e}", file.display()));
    let mut bytes = tokio::fs::read(&file).await.map_err(wrong)?;
    let at = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(at) {
        *byte = !*byte;
    }
    // Another file in its place: the file itself need not be writable.
    let other = file.with_extension("changed");
    tokio::fs::write(&other, &bytes).await.map_err(wrong)?;
    tokio::fs::rename(&other, &file).await.map_err(wrong)?;
    Ok((file, at))
}
