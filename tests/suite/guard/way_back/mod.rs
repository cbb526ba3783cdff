//! The way back from a restore is proven when it is needed: the safety backup is read back whole for the plan and compared again
//! before anything is touched, is one of the very server that will be overwritten, and is used again only where nothing was
//! written since.

mod orders;
mod round;
mod writer;

use crate::guard::flow::{Silent, Typist, app};
use crate::support::{Bench, Redis, Reply, text, wait, write_over};
use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tair_backup_mcp::guard::ledger::Confirmation;
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, typed_answer};
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::model::job::JobStatus;
use tair_backup_mcp::provider::Carried;
use tair_backup_mcp::tools::{self, App, Asked, Outcome, Person, ToolCall};

/// A bench with one instance, `orders`, and a person who has to say yes.
fn attended(redis: &Redis) -> Bench {
    Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()))
}

pub fn data_of(bench: &Bench, backup: &str) -> PathBuf {
    bench.home().join("vault/orders").join(backup).join("data.rdb.zst")
}

/// Turns some bytes in the middle of a file over. Its length stays.
pub fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 8..middle + 8].iter_mut().for_each(|b| *b = !*b);
    write_over(file, bytes);
}

async fn call(app: &App, person: &dyn Person, name: &str, arguments: Value) -> Value {
    let call = ToolCall { app, caller: &Caller::mcp(), person, progress: &Silent };
    match tools::run(&call, name, arguments).await {
        Ok(Outcome::Reply { json, .. }) => json,
        Ok(Outcome::AskPerson { .. }) => panic!("nobody defers here"),
        Err(fault) => json!({ "code": fault.code, "message": fault.message, "hint": fault.hint }),
    }
}

fn safety_check(reply: &Value) -> &Value {
    let checks = reply["prechecks"].as_array().unwrap_or_else(|| panic!("no prechecks: {reply}"));
    checks.iter().find(|c| c["name"] == "safety_backup").unwrap_or_else(|| panic!("no safety_backup: {reply}"))
}

/// A set that would be used again and is damaged is no way back: the plan is blocked, and says what is damaged.
#[test]
fn a_damaged_set_is_no_way_back() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(1, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "precious", "1"]);
    let fresh = bench.backup();
    let reused = bench.ask(&backup).json();
    assert_eq!(reused["plan"]["safety_backup_id"], fresh.as_str(), "nothing was written since: {reused}");
    flip(&data_of(&bench, &fresh));
    let blocked = bench.ask(&backup);
    assert_eq!((blocked.code, &blocked.json()["status"]), (3, &"blocked".into()), "{blocked:?}");
    let detail = text(&safety_check(&blocked.json())["detail"]);
    assert!(detail.contains(&fresh) && detail.contains("damaged"), "{detail}");
    // A write makes that set none of what is there now, and the next plan takes one of its own.
    redis.run(&["SET", "precious", "2"]);
    let before = redis.digest();
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
    let back = bench.restore(&text(&done.json()["plan"]["safety_backup_id"]));
    assert_eq!((back.code, redis.digest()), (0, before), "{back:?}");
}

/// A person who says yes after the way back has rotted.
struct Rotten<'a> {
    file: &'a Path,
}

#[async_trait]
impl Person for Rotten<'_> {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, open: &Confirmation, _: &str) -> Asked {
        flip(self.file);
        Asked::Answered(typed_answer(&open.plan, "orders", Channel::Elicitation))
    }
}

/// A set that is damaged while the person is asked stops the restore before anything is touched, whether it was taken for the
/// plan or used again, and nobody is told that it brings anything back.
#[tokio::test]
async fn a_way_back_that_rots_while_the_person_thinks() {
    for again in [false, true] {
        let redis = Redis::start("redis-7.0", &[]);
        redis.fill(1, 1);
        let bench = attended(&redis);
        let backup = bench.backup();
        redis.run(&["SET", "precious", "1"]);
        if again {
            bench.backup();
        }
        let before = redis.digest();
        let app = app(&bench);
        let nobody = Typist { typed: "", asked: 0.into() };
        let planned =
            call(&app, &nobody, "restore_instance", json!({ "instance_id": "orders", "backup_id": backup })).await;
        let detail = text(&safety_check(&planned)["detail"]);
        assert!(detail.contains("verified now") && detail.contains("used again") == again, "{detail}");
        let safety = text(&planned["plan"]["safety_backup_id"]);
        let token = text(&planned["confirmation_token"]);
        let echo = json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token });
        let stopped = call(&app, &Rotten { file: &data_of(&bench, &safety) }, "restore_instance", echo).await;
        assert_eq!((&stopped["status"], &stopped["code"]), (&"failed".into(), &"plan.changed".into()), "{stopped}");
        assert!(text(&stopped["message"]).contains("no way back"), "{stopped}");
        assert!(!text(&stopped["hint"]).contains("What was there before is in"), "{stopped}");
        assert_eq!((redis.digest(), redis.info("role")), (before, "master".into()), "{again}");
    }
}

/// What the plan's set is read for is read in the job too: one that is replaced by another whole set, or gone, stops the job.
#[tokio::test]
async fn another_set_in_the_place_of_the_way_back() {
    for gone in [false, true] {
        stops_the_job(|bench, backup, safety| {
            if gone {
                std::fs::remove_dir_all(data_of(bench, safety).parent().unwrap()).unwrap();
            } else {
                write_over(&data_of(bench, safety), std::fs::read(data_of(bench, backup)).unwrap());
            }
            "plan.changed"
        })
        .await;
    }
}

/// So it is with the set that goes in: another whole one under its name, with its own manifest or under the planned one's, or a byte that
/// turned over, and nothing was said to the target.
#[tokio::test]
async fn another_set_in_the_place_of_the_backup() {
    stops_the_job(|bench, backup, safety| {
        write_over(&data_of(bench, backup), std::fs::read(data_of(bench, safety)).unwrap());
        "backup.damaged"
    })
    .await;
    for (of_before, code) in [(false, "backup.tampered"), (true, "plan.changed")] {
        stops_the_job(|bench, backup, safety| {
            let (of, by) = (data_of(bench, backup), data_of(bench, safety));
            write_over(&of, std::fs::read(&by).unwrap());
            let manifest = std::fs::read_to_string(by.with_file_name("manifest.json")).unwrap();
            let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
            (manifest["backup_id"], manifest["checksum"]) = (backup.into(), "".into());
            manifest["checksum"] = hex(&Sha256::digest(manifest.to_string())).into();
            if of_before {
                bench.as_of_before(backup);
            }
            write_over(&of.with_file_name("manifest.json"), manifest.to_string());
            code
        })
        .await;
    }
    stops_the_job(|bench, backup, _| {
        flip(&data_of(bench, backup));
        "backup.damaged"
    })
    .await;
}

/// Lets something happen to a backup and to the safety backup of its plan once the token is redeemed: the job must end with the code that
/// is returned, and must not have touched the target.
async fn stops_the_job(happens: impl FnOnce(&Bench, &str, &str) -> &'static str) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(1, 1);
    let bench = attended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "precious", "1"]);
    let before = redis.digest();
    let app = app(&bench);
    let nobody = Typist { typed: "", asked: 0.into() };
    let planned =
        call(&app, &nobody, "restore_instance", json!({ "instance_id": "orders", "backup_id": backup })).await;
    let safety = text(&planned["plan"]["safety_backup_id"]);
    let open = app.state.waiting().await.unwrap().remove(0);
    let Answer::Yes(yes) = typed_answer(&open.plan, "orders", Channel::Terminal) else { panic!("a yes") };
    let permit = permit::redeem(app.state.as_ref(), &open, yes).await.unwrap();
    let history = redis.info("master_replid");
    let code = happens(&bench, &backup, &safety);
    let Carried::Job(job) = app.provider.carry_out(permit).await.unwrap() else { panic!("a job") };
    app.provider.shut_down(false).await;
    let ended = app.state.job(&job.id).await.unwrap();
    assert_eq!((ended.status, ended.code.as_str()), (JobStatus::Failed, code), "{ended:?}");
    let said = if code == "plan.changed" { "not touched" } else { "Nothing was sent" };
    assert!(format!("{} {}", ended.message, ended.hint).contains(said), "{ended:?}");
    // A target that was told to follow somebody begins another history, also when it was taken off again.
    assert_eq!((redis.digest(), redis.info("master_replid")), (before, history), "{ended:?}");
}

/// A set is used again only where an equal offset proves that nothing was written: not after a write by a renamed command, which
/// no counter by name shows, nor of a server that keeps no backlog, nor after statistics were reset.
#[test]
fn a_set_is_used_again_only_where_nothing_was_written() {
    let redis = Redis::start("redis-7.0", &["--rename-command", "SET", "hidden", "--repl-backlog-ttl", "1"]);
    redis.run(&["HSET", "h", "f", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["HSET", "h", "f", "2"]);
    let safety = |bench: &Bench| text(&bench.ask(&backup).json()["plan"]["safety_backup_id"]);
    let written = |how: &str| {
        // While a plan is made the backlog stays: somebody is attached, or was a moment ago.
        let first = safety(&bench);
        match how {
            "a renamed command" => drop(redis.run(&["hidden", "k", "v"])),
            "no backlog" => wait("the backlog to go", Duration::from_secs(30), || {
                (redis.info("repl_backlog_active") == "0").then_some(())
            }),
            _ => drop(redis.run(&["CONFIG", "RESETSTAT"])),
        }
        assert_ne!(safety(&bench), first, "{how}");
    };
    written("a renamed command");
    written("no backlog");
    redis.run(&["CONFIG", "SET", "repl-backlog-ttl", "3600"]);
    written("reset statistics");
    let last = safety(&bench);
    assert_eq!(safety(&bench), last, "nothing was written");
}

/// What a restore replaces without a key is named to the person too: function libraries.
#[tokio::test]
async fn function_libraries_are_in_the_question() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = attended(&redis);
    let backup = bench.backup();
    let library = "#!lua name=precious\nredis.register_function('f', function() return 1 end)";
    assert_eq!(redis.run(&["FUNCTION", "LOAD", library]), Reply::Text("precious".into()));
    let asked = bench.ask(&backup).json();
    assert!(text(&asked["impact"]["lost"]).contains("precious"), "{asked}");
    let app = app(&bench);
    let open = app.state.waiting().await.unwrap().remove(0);
    let question = tair_backup_mcp::guard::person::question(&open.plan, None, &[]);
    assert!(question.contains("Lost: all of what is there now, also 1 function library (precious)"), "{question}");
}
