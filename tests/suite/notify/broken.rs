//! Whoever is to be told and hangs, refuses, sends on, or is not there: the jobs come to what they come to, nothing waits, and it is said.

use super::{KEY, Listener, doctor, program, telling};
use crate::support::http_server::Answer;
use crate::support::log::{LONG, Service, service_log};
use crate::support::{Bench, Redis, free_port, text, unattended, wait};
use std::path::Path;
use std::time::{Duration, Instant};

/// A backup that fails, because nobody listens where its instance was; what its job came to.
fn fails(bench: &Bench, redis: &mut Redis) -> (String, String) {
    redis.kill();
    let done = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!(done.code, 5, "{done:?}");
    redis.restart();
    let job = bench.jobs().remove(0);
    (text(&job["status"]), text(&job["code"]))
}

fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    // One that nobody has reaped is over.
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn who_cannot_be_told_changes_nothing() {
    let mut redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let alone = fails(&bench, &mut redis);

    // One hangs and a program does, another is not there.
    let hanging = Listener::start(|_, _| Answer::Hang);
    let pids = bench.dir.path().join("pids");
    let program = program(&bench, &format!("sleep 600 & echo $$ $! >{}; wait", pids.display()));
    let nobody = format!("http://127.0.0.1:{}/{KEY}", free_port());
    let webhook = hanging.named().lines().next().unwrap().to_owned();
    let notify = format!("[notify]\n{webhook}\ncommand = [\"{}\"]\nping_url = \"{nobody}\"\n", program.display());
    bench.configure(&format!("{notify}\n{}", unattended(&redis, "")));
    telling(&bench).await;
    let service = Service::start(&bench);
    assert_eq!(fails(&bench, &mut redis), alone);
    wait("them to be tried", LONG, || (hanging.told().len() == 1 && pids.exists()).then_some(()));
    bench.backup();
    let failed = "ping (127.0.0.1:";
    wait("the failure to be known", LONG, || {
        let (status, detail) = doctor(&bench);
        let said = detail
            .split(failed)
            .nth(1)
            .is_some_and(|of| of.contains("last notification failed: backup_failed of orders"));
        (status == "warn" && said).then_some(())
    });
    let begun = Instant::now();
    assert_eq!(service.ask_to_end(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // What it was at was not told for sure, and what it had started is over.
    assert!(doctor(&bench).1.contains("asked to end"), "{:?}", doctor(&bench));
    let pids = std::fs::read_to_string(pids).unwrap();
    wait("the program to be over", LONG, || (!pids.split_whitespace().any(lives)).then_some(()));

    // One closes, then refuses, then sends on: tried three times, and nobody else is asked.
    let odd = Listener::start(|n, _| match n {
        0 => Answer::Close,
        1 => Answer::status(500, KEY),
        _ => Answer::status(302, "").header("Location", "/elsewhere"),
    });
    let webhook = odd.named().lines().next().unwrap().to_owned();
    bench.configure(&format!("[notify]\n{webhook}\n\n{}", unattended(&redis, "")));
    let service = Service::start(&bench);
    assert_eq!(fails(&bench, &mut redis), alone);
    wait("it to be given up", LONG, || doctor(&bench).1.contains("answers with HTTP 302").then_some(()));
    assert_eq!(odd.told().len(), 3);
    assert!(odd.0.seen().iter().all(|seen| seen.path != "/elsewhere"), "{:?}", odd.0.seen());
    assert_eq!(service.ask_to_end(), Some(0));
    let log = service_log(&bench);
    assert!(log.contains("a notification was not sent") && !log.contains(KEY), "{log}");
}

/// Who is to be told is said at the start where it is wrong, and by the doctor where nobody is.
#[test]
fn nobody_and_a_wrong_one_are_said() {
    let instance = "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n";
    let bench = Bench::new(&format!("[notify]\nwebhook_url = \"http://hooks.example.com/{KEY}\"\n{instance}"));
    let done = bench.run(&["run"]);
    assert!(done.code == 2 && done.err.contains("notify.webhook_url: this is not encrypted"), "{done:?}");
    assert!(!done.err.contains(KEY), "{done:?}");
    let policy = "preferred_backup_time = \"02:00Z-03:00Z\"\n";
    for (config, status, told) in [
        (format!("{instance}{policy}"), "warn", "nobody is told when backups of orders fail"),
        (instance.to_owned(), "pass", "none"),
        (format!("metrics_file = \"a.prom\"\n{instance}{policy}"), "pass", "metrics_file"),
        (format!("[notify]\ncommand = [\"./not-there\"]\n{instance}"), "fail", "not-there"),
        (format!("[notify]\nping_url = \"https://hc.example.com/{KEY}\"\n{instance}"), "pass", "ping (hc.example.com)"),
    ] {
        bench.configure(&config);
        let said = doctor(&bench);
        assert!(said.0 == status && said.1.contains(told), "{config}: {said:?}");
    }
}
