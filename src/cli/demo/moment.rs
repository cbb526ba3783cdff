//! The second act: a mistake under running writes, found in the log, undone to right before it, and the undoing undone.

use super::data::{self, Keys, compare};
use super::stage::{Stage, Who};
use super::talk::{call, client, decided, ensure, shown, text};
use super::writer::{KEY, Writer};
use super::{Scene, failed};
use crate::config::SANDBOX;
use crate::model::fault::Fault;
use crate::model::time::written_ms;
use crate::redis::conn::Conn;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the log is waited for: to be kept, and to be on the vault, where it is ten seconds later at most.
const LOG_WAIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Plays the act, on data that the application does not touch but for a key of its own.
pub async fn play(stage: &mut Stage, scene: &mut Scene, conn: &mut Conn) -> Result<(), Fault> {
    stage.step("From now on any moment can be restored: the agent turns the log on");
    let arguments = json!({ "instance_id": SANDBOX, "enable_backup_log": true });
    let reply = call(stage, scene, "modify_backup_policy", &arguments).await?;
    ensure(text(&reply, "/status") == "succeeded", || format!("the log is not on: {reply}"))?;
    let writer = Writer::start(&scene.home).await?;
    kept(scene).await?;
    stage.says(Who::Server, "succeeded: every write goes to the log, which is on the vault ten seconds later at most");

    stage.step("An application writes without a pause, and somebody empties its database");
    let before = others(data::read(conn).await?);
    conn.cmd_str(&["FLUSHDB"]).await?;
    let (last, _) = writer.jump(0).await?;
    stage.says(
        Who::Damage,
        &format!("FLUSHDB at {}, right behind the application's write {last}", written_ms(Timestamp::now())),
    );

    stage.step("The agent asks the log what destroyed data");
    let arguments = json!({ "instance_id": SANDBOX, "include": "destructive" });
    stage.says(Who::Agent, &shown("describe_backups", &arguments));
    let event = found(scene, &arguments).await?;
    let position = text(&event, "/position").to_owned();
    stage.says(Who::Server, &format!("{} at {}, position {position}", text(&event, "/command"), text(&event, "/at")));

    stage.step("It goes back to right before that, while the application goes on writing");
    let arguments = json!({ "instance_id": SANDBOX, "before_position": position });
    let job = decided(stage, scene, "restore_instance", arguments).await?;
    let (_, next) = writer.jump(1).await?;
    ensure(next == last + 1, || format!("the application's numbers go on with {next}, and not behind {last}"))?;
    let found = compare(&before, &others(data::read(conn).await?));
    let all = found.same == before.len() && found.added == 0 && !before.is_empty();
    ensure(all, || format!("the data is not as it was before the mistake: {found:?}"))?;
    stage.says(
        Who::Proof,
        &format!("{} keys are as they were, and the application's next write is {next}: not one too many", found.same),
    );

    stage.step("And back: what was written after the mistake is not lost either");
    let (last, _) = writer.jump(1).await?;
    let arguments = json!({ "instance_id": SANDBOX, "before_position": job });
    decided(stage, scene, "restore_instance", arguments).await?;
    let (_, next) = writer.jump(2).await?;
    ensure(next == last + 1, || format!("the application's numbers go on with {next}, and not behind {last}"))?;
    let left = others(data::read(conn).await?).into_keys().filter(|(db, _)| *db == 0).count();
    ensure(left == 0, || format!("{left} keys are there that the mistake had removed"))?;
    stage
        .says(Who::Proof, &format!("the application's next write is {next}: right behind its last before the restore"));
    Ok(())
}

/// All keys but the application's own.
fn others(mut keys: Keys) -> Keys {
    keys.retain(|(_, key), _| key != KEY.as_bytes());
    keys
}

/// Waits until what is written goes to the log.
async fn kept(scene: &mut Scene) -> Result<(), Fault> {
    let begun = Instant::now();
    while begun.elapsed() < LOG_WAIT {
        let reply = client(scene)?.call("describe_instances", &json!({ "instance_id": SANDBOX }), None).await?;
        if !text(&reply, "/instances/0/protection/log/spooled_until").is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(failed("nobody keeps the log"))
}

/// Waits until the log tells of what destroyed data, which must be what did; the newest such event.
async fn found(scene: &mut Scene, arguments: &Value) -> Result<Value, Fault> {
    let begun = Instant::now();
    while begun.elapsed() < LOG_WAIT {
        // Before its first segment is on the vault a log has nothing to search, and the call says so.
        if let Ok(reply) = client(scene)?.call("describe_backups", arguments, None).await
            && let Some([event, rest @ ..]) =
                reply.pointer("/destructive/events").and_then(Value::as_array).map(Vec::as_slice)
        {
            // The log may begin behind the safety backup of the three keys' return, and then tells of that too.
            let done = |event: &Value| text(event, "/command") == "RESTORE";
            ensure(rest.len() <= 1 && rest.iter().all(done), || format!("more was found than was done: {reply}"))?;
            return Ok(event.clone());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(failed("the log does not tell of the mistake"))
}
