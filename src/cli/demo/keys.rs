//! Between the acts: three keys are deleted by mistake. A clone is looked at first, then they alone come back, and the clone ends.

use super::Scene;
use super::data::{self, Keys, compare};
use super::stage::{Stage, Who};
use super::talk::{decided, ensure};
use crate::config::SANDBOX;
use crate::model::fault::Fault;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use serde_json::json;

/// The keys that are deleted.
const MISSED: [&str; 3] = ["customer:17", "customer:18", "customer:19"];
/// These and no others: an expression matches whole keys, so `customer:170` is none of them.
const FILTER: &str = "customer:(17|18|19)";

/// Plays the steps, on data that is as in the backup. `Keys`: what the backup holds.
pub async fn play(
    stage: &mut Stage,
    scene: &mut Scene,
    conn: &mut Conn,
    (backup_id, then): (&str, &Keys),
) -> Result<(), Fault> {
    stage.step("Three customers are deleted by mistake, while the shop goes on");
    conn.cmd_str(&["HSET", "customer:170", "city", "Oslo"]).await?;
    conn.cmd_str(&["SET", "order:401", "paid"]).await?;
    let [a, b, c] = MISSED;
    conn.cmd_str(&["DEL", a, b, c]).await?;
    stage.says(Who::Damage, &format!("DEL {}", MISSED.join(" ")));
    stage.more("", "since the backup customer:170 has moved to Oslo, and order:401 was paid: neither may be lost");
    let before = data::read(conn).await?;

    stage.step("A look before anything is restored: a clone of the backup");
    let name = scene.begin_clone()?;
    let arguments = json!({ "instance_id": SANDBOX, "backup_id": backup_id, "instance_name": name });
    decided(stage, scene, "create_instance_from_backup", arguments).await?;
    let (mut clone, port) = data::connect_to_clone(&scene.home, &name).await?;
    look(stage, &mut clone, then).await?;

    stage.step("Only the three come back, and nothing else is touched");
    let arguments = json!({ "instance_id": SANDBOX, "backup_id": backup_id, "filter_key": FILTER });
    decided(stage, scene, "restore_instance", arguments).await?;
    let after = data::read(conn).await?;
    let kept = compare(&before, &after);
    let back = MISSED.iter().filter(|key| equal(then, &after, key)).count();
    let alone = kept.same == before.len() && kept.added == back && back == MISSED.len();
    ensure(alone, || format!("{back} of {} keys are back, and of the others: {kept:?}", MISSED.len()))?;
    stage.says(
        Who::Proof,
        &format!(
            "{} keys before, {} now: {back} are as in the backup, the other {} as they were",
            before.len(),
            after.len(),
            kept.same
        ),
    );

    stage.step("The clone has served: tair-backup-mcp delete-instance");
    let said = scene.end_clone().await?;
    stage.says(Who::Server, &said);
    let gone = !scene.home.clones().join(&name).exists() && clone.cmd_str(&["PING"]).await.is_err();
    ensure(gone, || format!("{name} is still there"))?;
    stage.says(Who::Proof, &format!("nothing of it is left: no server at port {port}, no directory"));
    Ok(())
}

/// What a person sees who looks at the clone: the backup's keys, and that nothing can be changed by mistake.
async fn look(stage: &Stage, clone: &mut Conn, then: &Keys) -> Result<(), Fault> {
    let value = clone.cmd_str(&["HGETALL", MISSED[0]]).await?;
    let words: Vec<&str> = value.as_array().unwrap_or_default().iter().filter_map(|word| word.as_str()).collect();
    stage.says(Who::Person, &format!("looks: HGETALL {}: {}", MISSED[0], words.join(" ")));
    let refused = matches!(clone.cmd_str(&["DEL", MISSED[0]]).await, Err(RedisError::Denied { .. }));
    let found = compare(then, &data::read(clone).await?);
    let whole = found.same == then.len() && found.added == 0;
    ensure(refused && whole, || format!("the clone is not the backup, or can be written: {refused} {found:?}"))?;
    stage.says(Who::Proof, &format!("all {} keys of the backup are in it, and a DEL is refused", found.same));
    Ok(())
}

/// Whether a key of the first database is the same in both.
fn equal(then: &Keys, now: &Keys, key: &str) -> bool {
    let key = (0, key.as_bytes().to_vec());
    then.get(&key).is_some_and(|digest| now.get(&key) == Some(digest))
}
