//! Each event is told once, by each way, with what it is; whatever dies meanwhile, and however many processes tell.

use super::{KEY, Listener, doctor, program, somebody_tells, telling};
use crate::state::contract::new;
use crate::support::log::{LONG, Service, service_log};
use crate::support::{Bench, Redis, finish, s3, text, unattended, wait};
use serde_json::Value;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::job::JobKind;
use tair_backup_mcp::state::jobs::{JobStore as _, NewJob};
use tair_backup_mcp::state::notified::{Noticed, Notified as _, ToTell, WAITING_MAX};

/// A backup whose source is killed at it, and a set that was damaged: told by all three ways, each once, over a restart and by two services. What
/// was before anybody was told is not, nor what succeeds; a success of a verification goes to the monitor alone.
#[tokio::test]
async fn what_fails_is_told_once_by_each_way() {
    let mut redis = Redis::start("redis-7.0", &["--repl-diskless-sync-delay", "30"]);
    redis.run(&["SET", "a", "1"]);
    let (bench, listener) = (Bench::new(""), Listener::answering());
    let told = bench.dir.path().join("told");
    let script = format!(
        "echo loud; cat >>{0}; echo \" $TAIR_BACKUP_EVENT $TAIR_BACKUP_INSTANCE_ID $TAIR_BACKUP_JOB_ID $1 $(readlink /proc/$$/fd/1)\" >>{0}",
        told.display()
    );
    let program = program(&bench, &script);
    let notify = format!("[notify]\n{}command = [\"{}\", \"two words\"]\n", listener.named(), program.display());
    bench.configure(&format!("{notify}\n{}", unattended(&redis, "")));
    let fails = |redis: &mut Redis| {
        let backup = bench.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
        wait("the backup to be under way", LONG, || bench.jobs().into_iter().find(|job| job["status"] == "running"));
        redis.kill();
        let done = finish(backup);
        assert_eq!(done.code, 5, "{done:?}");
        redis.restart();
        text(&bench.jobs()[0]["job_id"])
    };
    let before = fails(&mut redis);
    let (status, detail) = doctor(&bench);
    assert!(status == "pass" && detail.contains("webhook (127.0.0.1:") && detail.contains("none sent yet"), "{detail}");

    let store = telling(&bench).await;
    let service = Service::start(&bench);
    let failed = fails(&mut redis);
    let event = listener.wait_for("backup_failed");
    let job = &bench.jobs()[0];
    for (field, of) in [("job_id", "job_id"), ("code", "code"), ("message", "message"), ("instance_id", "instance_id")]
    {
        assert_eq!(event[field], job[of], "{event} {job}");
    }
    assert_eq!((&event["at"], event.get("since")), (&job["finished_at"], None), "{event} {job}");
    assert!(failed != before && event["version"] == env!("CARGO_PKG_VERSION"), "{event}");
    assert!(text(&event["message"]).len() > 10, "{event}");
    service.kill();

    redis.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let services = [Service::start(&bench), Service::start(&bench)];
    let set = bench.backup();
    let verify =
        |level: &str| bench.run(&["verify-backup", "--instance-id", "orders", "--backup-id", &set, "--level", level]);
    assert_eq!(verify("checksum").code, 0);
    wait("the monitor to hear of it", LONG, || (listener.pings().0 == 1).then_some(()));
    let file = bench.home().join("vault/orders").join(&set).join("data.rdb.zst");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(verify("checksum").code, 6);
    let damaged = listener.wait_for("set_damaged");
    assert_eq!((&damaged["instance_id"], &damaged["code"]), (&"orders".into(), &"backup.damaged".into()), "{damaged}");
    // Of jobs of all kinds those are told that somebody has to know of.
    let ends = [
        (JobKind::Restore, Kind::Provider, "restore_failed"),
        (JobKind::Restore, Kind::Uncertain, "restore_uncertain"),
        (JobKind::Policy, Kind::Provider, ""),
        (JobKind::Verification, Kind::Provider, "verification_failed"),
    ];
    for (n, (kind, of, event)) in ends.into_iter().enumerate() {
        let id = format!("{}-{n}", kind.prefix());
        store.begin(NewJob { exclusive: false, ..new(&id, kind, "orders") }).await.unwrap();
        store.finish(&id, Err(&Fault::new(of, "restore.failed", "the target\nis away")), None).await.unwrap();
        if !event.is_empty() {
            let told = listener.wait_for(event);
            assert_eq!(
                (&told["job_id"], &told["message"]),
                (&id.as_str().into(), &"the target is away".into()),
                "{told}"
            );
        }
    }
    wait("the program to be run for all", LONG, || {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        text.contains("verification_failed orders").then_some(())
    });
    wait("the monitor to hear of all", LONG, || (listener.pings().1.len() >= 5).then_some(()));
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }

    let wanted = ["backup_failed", "set_damaged", "restore_failed", "restore_uncertain", "verification_failed"];
    let events: Vec<Value> = listener.told().iter().map(|told| told["event"].clone()).collect();
    assert_eq!(events, wanted);
    let (successes, failures) = listener.pings();
    assert_eq!((successes, failures.len()), (1, 5), "{failures:?}");
    assert!(
        failures.iter().zip(wanted).all(|(body, event)| body.starts_with(&format!("{event} orders: "))),
        "{failures:?}"
    );
    let by_program = std::fs::read_to_string(&told).unwrap();
    let lines: Vec<&str> = by_program.lines().collect();
    assert_eq!(lines.len(), 5, "{by_program}");
    for (line, event) in lines.iter().zip(listener.told()) {
        let (json, words) = line.rsplit_once("} ").unwrap();
        assert_eq!(serde_json::from_str::<Value>(&format!("{json}}}")).unwrap(), event);
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(words[3..], ["two", "words", "/dev/null"], "{line}");
        assert_eq!(
            words[..3],
            ["event", "instance_id", "job_id"].map(|field| event[field].as_str().unwrap()),
            "{line}"
        );
    }
    let (status, detail) = doctor(&bench);
    assert!(status == "pass" && detail.contains("command (tell) last sent: verification_failed of orders"), "{detail}");
    assert!(!service_log(&bench).contains(KEY), "{}", service_log(&bench));
}

/// A vault that hangs hides no failure: what it takes a look to know is told last.
#[tokio::test]
async fn a_failure_does_not_wait_for_a_vault_that_hangs() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut bench, listener) = (Bench::new(""), Listener::answering());
    bench.env = s3::environment(s3::KEY.1);
    bench.configure(&format!(
        "vault = \"s3://{}/hangs?endpoint=http://{}\"\n[notify]\n{}[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n",
        s3::BUCKET,
        hangs.local_addr().unwrap(),
        listener.named()
    ));
    let store = telling(&bench).await;
    for id in ["bj-0", "bj-1", "bj-2"] {
        store.begin(NewJob { exclusive: false, ..new(id, JobKind::Backup, "orders") }).await.unwrap();
        store.finish(id, Ok("7 keys"), None).await.unwrap();
    }
    store.begin(NewJob { exclusive: false, ..new("rj-0", JobKind::Restore, "orders") }).await.unwrap();
    let fault = Fault::new(Kind::Provider, "restore.failed", "the target is away");
    store.finish("rj-0", Err(&fault), None).await.unwrap();
    let service = Service::start(&bench);
    somebody_tells(&store).await;
    let begun = Instant::now();
    listener.wait_for("restore_failed");
    // A look takes ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    service.kill();
}

/// What a process died at may have been told, and is not told again. Of more than fit, the rest is told by its number.
#[tokio::test]
async fn what_was_tried_is_not_tried_again_and_the_rest_is_counted() {
    let (bench, listener) = (Bench::new(""), Listener::answering());
    bench.configure(&format!(
        "[notify]\n{}[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n",
        listener.named()
    ));
    let store = telling(&bench).await;
    let body = |n: u32| {
        format!(
            "{{\"event\":\"log_gap\",\"instance_id\":\"orders\",\"message\":\"{n}\",\"at\":\"\",\"version\":\"1\"}}"
        )
    };
    for n in 0..WAITING_MAX + 6 {
        assert!(store.notice(Noticed::Once(&format!("gap/{n:03}")), &body(n), &["webhook"]).await.unwrap());
    }
    let tried = store.take_to_tell("webhook").await.unwrap();
    assert!(matches!(tried, Some(ToTell::One(one)) if one.body == body(0)));
    // The monitor hears of what is over as of a success, and so where it is told by its number.
    let over = body(0).replace("log_gap", "backup_recovered");
    for n in 0..WAITING_MAX + 2 {
        assert!(store.notice(Noticed::Once(&format!("over/{n:03}")), &over, &["ping"]).await.unwrap());
    }
    let service = Service::start(&bench);
    let more = listener.wait_for("more");
    assert!(text(&more["message"]).starts_with("and 6 more"), "{more}");
    let pings = usize::try_from(WAITING_MAX).unwrap() + 1;
    wait("the monitor to hear of all", LONG, || (listener.pings().0 >= pings).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    let told: Vec<u32> =
        listener.told_of("log_gap").iter().map(|told| text(&told["message"]).parse().unwrap()).collect();
    assert_eq!(told, (1..WAITING_MAX).collect::<Vec<_>>());
    assert_eq!((listener.told().len(), listener.pings()), (told.len() + 1, (pings, Vec::new())));
    let (_, detail) = doctor(&bench);
    assert!(detail.contains("last notification failed: log_gap of orders") && detail.contains("has ended"), "{detail}");
}

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
const BEGUN: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Nobody is told twice where two processes look at once, and one goes on where the other ends: here `serve` in the background, whose client reads
/// nothing of it.
#[tokio::test]
async fn another_process_goes_on() {
    let (bench, listener) = (Bench::new(""), Listener::answering());
    let program = program(&bench, "echo loud; echo louder >&2");
    let notify = format!("[notify]\n{}command = [\"{}\"]\n", listener.named(), program.display());
    bench.configure(&format!(
        "background = true\n{notify}[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n"
    ));
    let store = telling(&bench).await;
    let service = Service::start(&bench);
    let end = async |n: u32| {
        let id = format!("vj-{n}");
        store.begin(NewJob { exclusive: false, ..new(&id, JobKind::Verification, "orders") }).await.unwrap();
        let fault = Fault::new(Kind::Provider, "verify.no_program", format!("{n}"));
        store.finish(&id, Err(&fault), None).await.unwrap();
        wait("it to be told", LONG, || {
            let told = |listed: &Value| listed["job_id"] == id.as_str();
            (listener.told().iter().any(told) && listener.pings().1.len() == listener.told().len()).then_some(())
        });
    };
    somebody_tells(&store).await;
    let mut serve = bench.command(&["serve"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut client = serve.stdin.take().unwrap();
    writeln!(client, "{HELLO}\n{BEGUN}").unwrap();
    end(1).await;
    service.kill();
    end(2).await;
    drop(client);
    let done = finish(serve);
    assert!(done.code == 0 && done.out.lines().count() == 1, "{done:?}");
    assert!(serde_json::from_str::<Value>(&done.out).is_ok() && !done.err.contains("loud"), "{done:?}");
    let jobs: Vec<Value> = listener.told().iter().map(|told| told["job_id"].clone()).collect();
    assert_eq!(jobs, ["vj-1", "vj-2"]);
    let (_, detail) = doctor(&bench);
    assert!(detail.contains("command (tell) last sent: verification_failed of orders"), "{detail}");
}
