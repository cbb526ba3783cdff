//! The archiver at real servers: what lies on the vault is what the source sent, to the byte, whatever happens between; and what is
//! missing is a gap with its cause.

use crate::support::log::{
    LONG, Load, Service, Wire, Witness, archived_to, coverage, log_of, log_until, logged, position, service_log,
};
use crate::support::{Bench, KINDS, Redis, free_port, s3, text, unattended, wait};
use serde_json::Value;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

pub const KIND: &str = "redis-7.0";

/// A bench whose one instance, `orders`, is at a url and has its log on; segments are sealed each second.
pub fn logging(url: &str, more: &str) -> Bench {
    Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n[backup_log]\nseal_seconds = 1\nsegment_megabytes = 1\nspool_megabytes = 16\n\
         [[instance]]\nid = \"orders\"\nurl = \"{url}\"\nenable_backup_log = true\n{more}\n"
    ))
}

/// What the vault has is what the witness saw, from where the newest timeline begins to where the source is now.
pub fn same_as(witness: &Witness, bench: &Bench, redis: &Redis) -> u64 {
    let (_, offset) = position(redis);
    archived_to(bench, offset);
    let (first, bytes) = logged(bench);
    let last = first + bytes.len() as u64;
    assert!(last >= offset);
    let seen = witness.between(first, last);
    let differs = bytes.iter().zip(&seen).position(|(a, b)| a != b);
    assert_eq!(differs, None, "from {first} to {last}");
    assert_eq!(coverage(bench).holes, []);
    last - first
}

pub fn causes(log: &Value) -> Vec<String> {
    log["gaps"]
        .as_array()
        .map_or_else(Vec::new, |gaps| gaps.iter().map(|gap| gap["cause"].as_str().unwrap().to_owned()).collect())
}

fn forks(redis: &Redis) -> u64 {
    redis.info("total_forks").parse().unwrap()
}

/// Where a set on the vault and the source's backlog allow it nothing forks, and the log begins with the set; the log is the source's
/// stream; WAIT is satisfied by nobody of ours.
#[test]
fn attaches_behind_a_set_without_a_fork() {
    for kind in KINDS {
        let redis = Redis::start(kind, &[]);
        let bench = logging(&redis.url(), "");
        let witness = Witness::attach(&redis);
        redis.run(&["SET", "before", "1"]);
        bench.backup();
        redis.run_in(3, &["SET", "between", "1"]);
        let before = forks(&redis);
        let service = Service::start(&bench);
        log_until(&bench, "an archiver", |log| log["archiver"].is_string());
        for n in 0..2000 {
            redis.run(&["SET", &format!("key:{n}"), "value"]);
        }
        assert!(same_as(&witness, &bench, &redis) > 2000 * 20, "{kind}");
        assert_eq!(forks(&redis), before, "{kind}: {}", service_log(&bench));
        // On one connection: what another wrote is not waited for.
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let waited = redis.try_all(&[words("SET acknowledged nobody"), words("WAIT 1 1500")]).unwrap();
        assert_eq!(waited[1].text(), "0", "{kind}");
        let log = log_until(&bench, "a window", |log| log["window"].is_object());
        assert_eq!((log["total_gaps"].as_u64(), log["on"].as_bool()), (Some(0), Some(true)), "{kind}: {log}");
        assert_eq!(service.ask_to_end(), Some(0), "{kind}");
    }
}

/// Where there is no set, one is taken and the stream goes on behind it; what is written meanwhile is in the log, and on the vault also where
/// nothing at all comes behind it.
#[test]
fn begins_with_a_base_of_its_own() {
    let redis = Redis::start(KIND, &["--repl-ping-replica-period", "3600"]);
    let witness = Witness::attach(&redis);
    redis.fill(5, 1);
    let load = Load::on(&redis);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    log_until(&bench, "a window", |log| log["window"].is_object());
    let sets = bench.backups();
    assert_eq!((sets.len(), sets[0]["mode"].as_str()), (1, Some("automated")), "{sets:?}");
    assert!(load.end() > 0);
    same_as(&witness, &bench, &redis);
}

/// The link is cut again and again, and the archiver is killed again and again, under load: nothing is lost and nothing is there twice.
#[test]
fn a_cut_link_and_a_killed_archiver_lose_nothing() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "64mb"]);
    let (wire, witness) = (Wire::to(&redis), Witness::attach(&redis));
    let bench = logging(&wire.url(), "");
    let mut service = Service::start(&bench);
    log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
    let load = Load::on(&redis);
    for round in 0..12 {
        std::thread::sleep(Duration::from_millis(150 + 70 * (round % 4)));
        match round % 3 {
            0 => {
                service.kill();
                service = Service::start(&bench);
            }
            _ => wire.cut(),
        }
    }
    load.end();
    let bytes = same_as(&witness, &bench, &redis);
    assert!(bytes > 100_000, "{bytes}");
    let log = log_of(&bench);
    assert_eq!(log["total_gaps"], 0, "{log}\n{}", service_log(&bench));
    drop(service);
}

/// A source that has written more than its backlog holds while the link was down: a gap with that cause, and a new window behind it.
#[test]
fn an_overrun_backlog_is_a_gap() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "16kb"]);
    let wire = Wire::to(&redis);
    let bench = logging(&wire.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    let before = log_until(&bench, "a window", |log| log["window"].is_object());
    wire.close();
    for n in 0..200 {
        redis.run(&["SET", &format!("key:{n}"), &"x".repeat(400)]);
    }
    wire.open();
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["backlog_overrun"]);
    redis.run(&["SET", "after", "1"]);
    archived_to(&bench, position(&redis).1);
    let after = log_until(&bench, "a window behind the gap", |log| {
        log["window"]["start_time"].as_str() >= log["gaps"][0]["from"].as_str()
    });
    assert!(before["window"]["start_time"].as_str() <= after["gaps"][0]["from"].as_str(), "{before} {after}");
    assert_eq!(coverage(&bench).runs.len(), 2);
    // For cron, and for people.
    assert_eq!(bench.run(&["doctor", "--fail-on-gap"]).code, 5);
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.code == 0 && doctor.out.contains("backlog_overrun"), "{doctor:?}");
    assert!(doctor.out.contains("repl-backlog-size"), "{doctor:?}");
    let listed = bench.run(&["describe-backups", "--instance-id", "orders"]);
    assert!(listed.out.contains("1 GAP, from "), "{listed:?}");
}

/// A source that is started anew begins another history.
#[test]
fn a_restarted_source_is_a_gap() {
    let mut redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    redis.restart();
    redis.run(&["SET", "b", "1"]);
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["source_restarted"], "{}", service_log(&bench));
    archived_to(&bench, position(&redis).1);
}

fn follows(replica: &Redis, master: &Redis) {
    replica.run(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    wait("the replica", LONG, || (replica.info("master_link_status") == "up").then_some(()));
}

fn caught_up(replica: &Redis, master: &Redis) {
    wait("the replica", LONG, || (position(replica) == position(master)).then_some(()));
}

/// A promoted replica goes on with the history under another id: the same timeline, and no gap.
#[test]
fn a_failover_is_followed() {
    for kind in KINDS {
        let (mut old, new) = (Redis::start(kind, &[]), Redis::start(kind, &[]));
        follows(&new, &old);
        let (wire, witness) = (Wire::to(&old), Witness::attach(&old));
        let bench = logging(&wire.url(), "");
        let _service = Service::start(&bench);
        log_until(&bench, "a window", |log| log["window"].is_object());
        for n in 0..500 {
            old.run(&["SET", &format!("key:{n}"), "old"]);
        }
        caught_up(&new, &old);
        let begun = coverage(&bench).runs[0].timeline.offset;
        let last = position(&old).1;
        let before = witness.between(begun, last);
        old.kill();
        new.run(&["REPLICAOF", "NO", "ONE"]);
        wire.lead_to(&new);
        for n in 0..500 {
            new.run(&["SET", &format!("key:{n}"), "new"]);
        }
        archived_to(&bench, position(&new).1);
        let log = log_of(&bench);
        assert_eq!(log["total_gaps"], 0, "{kind}: {log}\n{}", service_log(&bench));
        let coverage = coverage(&bench);
        assert_eq!((coverage.runs.len(), coverage.holes.len()), (1, 0), "{kind}");
        let (first, bytes) = logged(&bench);
        assert_eq!(bytes[..before.len()], before, "{kind}");
        assert_eq!(first, begun, "{kind}");
        let ids: std::collections::BTreeSet<_> = coverage.runs[0].segments.iter().map(|s| s.replid.clone()).collect();
        assert_eq!(ids.len(), 2, "{kind}: {ids:?}");
    }
}

/// A server that took over without the last of what was received cannot go on with it: a gap.
#[test]
fn a_failover_that_lost_writes_is_a_gap() {
    let (old, new) = (Redis::start(KIND, &[]), Redis::start(KIND, &[]));
    follows(&new, &old);
    let wire = Wire::to(&old);
    let bench = logging(&wire.url(), "");
    let _service = Service::start(&bench);
    old.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    caught_up(&new, &old);
    new.run(&["REPLICAOF", "NO", "ONE"]);
    old.run(&["SET", "lost", "1"]);
    archived_to(&bench, position(&old).1);
    wire.lead_to(&new);
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["failover_not_followed"], "{}", service_log(&bench));
}

/// Nobody followed for longer than the backlog reaches.
#[test]
fn an_archiver_that_was_down_is_a_gap() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "16kb"]);
    let bench = logging(&redis.url(), "");
    let service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    assert_eq!(service.ask_to_end(), Some(0));
    assert!(log_of(&bench)["archiver"].is_null());
    for n in 0..200 {
        redis.run(&["SET", &format!("key:{n}"), &"x".repeat(400)]);
    }
    let _service = Service::start(&bench);
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["archiver_down"]);
}

/// While the vault takes nothing the spool fills to its limit and no further; what then comes and goes out of the backlog is a gap,
/// and the log goes on once there is room.
#[test]
fn a_full_spool_is_a_gap_and_no_full_disk() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "1mb"]);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    // A file where the logs were: nothing can be put, for root neither.
    let (logs, away) = (bench.home().join("vault/.log"), bench.home().join("vault/away"));
    std::fs::rename(&logs, &away).unwrap();
    std::fs::write(&logs, "").unwrap();
    let value = "x".repeat(100_000);
    for n in 0..400 {
        redis.run(&["SET", &format!("key:{}", n % 10), &value]);
    }
    wait("the spool to be full", LONG, || service_log(&bench).contains("is full").then_some(()));
    let spooled: u64 = crate::support::files_under(&bench.home().join("spool"))
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|meta| meta.len())
        .sum();
    assert!(spooled < 17 << 20, "{spooled}");
    std::fs::remove_file(&logs).unwrap();
    std::fs::rename(&away, &logs).unwrap();
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["spool_full"], "{}", service_log(&bench));
    redis.run(&["SET", "after", "1"]);
    archived_to(&bench, position(&redis).1);
}

/// A restore in place by us opens a child of the timeline and is no gap; so does the next one. Archiving goes on.
#[test]
fn a_restore_opens_a_child() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    let backup = bench.backup();
    for round in 1..=2 {
        redis.run(&["SET", "a", &format!("written {round}")]);
        let done = bench.restore(&backup);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(redis.run(&["GET", "a"]).text(), "1");
        // What was before the restore can be restored still. A log to which nobody writes hears of its source every ten seconds.
        let log = log_until(&bench, "another window", |log| {
            redis.run(&["SET", "after", &round.to_string()]);
            log["earlier_windows"].as_array().is_some_and(|windows| windows.len() == round)
        });
        archived_to(&bench, position(&redis).1);
        let coverage = coverage(&bench);
        let child = &coverage.runs.last().unwrap().timeline;
        assert!(child.restored_from.is_some() && coverage.runs.len() == round + 1, "{child:?}");
        assert!(log["earlier_windows"][0]["end_time"].as_str() <= log["window"]["start_time"].as_str(), "{log}");
    }
    assert_eq!(log_of(&bench)["total_gaps"], 0, "{}", service_log(&bench));
}

/// Where nobody followed between two restores, the log goes on behind the second, and what is missing is a gap that blames no failover.
#[test]
fn restores_that_follow_on_each_other_are_one_break() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    let backup = bench.backup();
    assert_eq!(service.ask_to_end(), Some(0));
    let mut last = Value::Null;
    for round in 1..=3 {
        redis.run(&["SET", "a", &format!("written {round}")]);
        let done = bench.restore(&backup);
        assert_eq!(done.code, 0, "{done:?}");
        last = done.json()["job_id"].clone();
    }
    let _service = Service::start(&bench);
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["archiver_down"], "{}", service_log(&bench));
    redis.run(&["SET", "b", "1"]);
    wait("a child", LONG, || (coverage(&bench).runs.len() > 1).then_some(()));
    let child = coverage(&bench).runs.pop().unwrap().timeline;
    assert_eq!(child.restored_from.map(|from| from.job_id.into()), Some(last), "{}", service_log(&bench));
}

/// A moment of another instance begins a child as any restore does, and names no position of this log; some keys are ordinary writes of the
/// history that they go into, and no child is behind them.
#[test]
fn a_child_is_behind_a_restore_that_ended_a_history() {
    let (redis, shop) = (Redis::start(KIND, &[]), Redis::start(KIND, &[]));
    let second = format!("[[instance]]\nid = \"shop\"\nurl = \"{}\"\nenable_backup_log = true", shop.url());
    let bench = logging(&redis.url(), &second);
    let service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    shop.run(&["SET", "goods", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    wait("a window of the other", LONG, || {
        let shop = bench.json(&["describe-instances", "--instance-id", "shop"]);
        shop["instances"][0]["protection"]["log"]["window"].is_object().then_some(())
    });
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let restore = |args: &[&str]| {
        let call = [&["restore-instance", "--instance-id", "orders", "--json"], args].concat();
        let planned = wait("a plan", LONG, || {
            shop.run(&["INCR", "ticks"]);
            Some(bench.run(&call).json()).filter(|plan| plan["confirmation_token"].is_string())
        });
        let token = text(&planned["confirmation_token"]);
        let done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        text(&done.json()["job_id"])
    };
    let child = |runs: usize| {
        redis.run(&["SET", "after", &runs.to_string()]);
        wait("a child", LONG, || (coverage(&bench).runs.len() == runs).then_some(()));
        archived_to(&bench, position(&redis).1);
        coverage(&bench).runs.pop().unwrap().timeline.restored_from.unwrap()
    };
    let job = restore(&["--source-instance-id", "shop", "--restore-time", &at]);
    assert_eq!(redis.run(&["GET", "goods"]).text(), "1");
    let from = child(2);
    assert_eq!((from.job_id.as_str(), from.position.clone()), (job.as_str(), None));
    assert!(from.moment.to_string() <= at && at.starts_with(&from.moment.to_string()[..16]), "{from:?} {at}");

    // Nobody follows while the history ends, and some keys are written into the next.
    assert_eq!(service.ask_to_end(), Some(0));
    let backup = bench.backup();
    let job = restore(&["--backup-id", &backup]);
    restore(&["--backup-id", &backup, "--filter-key", "after"]);
    let _service = Service::start(&bench);
    let from = child(3);
    assert_eq!(from.job_id, job, "{}", service_log(&bench));
    assert!(from.position.is_some(), "{from:?}");
}

/// Of two services one archives; the other takes over when the first is gone.
#[test]
fn an_instance_has_one_archiver() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let first = Service::start(&bench);
    let who = log_until(&bench, "an archiver", |log| log["archived_until"].is_string())["archiver"].clone();
    assert_eq!(who, format!("process {}", first.pid()));
    let second = Service::start(&bench);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(redis.info("connected_slaves"), "1");
    assert_eq!(log_of(&bench)["archiver"], who);
    first.kill();
    log_until(&bench, "the other archiver", |log| log["archiver"] == format!("process {}", second.pid()));
    redis.run(&["SET", "a", "1"]);
    archived_to(&bench, position(&redis).1);
    assert_eq!(log_of(&bench)["total_gaps"], 0);
}

/// A log that is set on by a call begins, and one that is set off ends, while the service runs.
#[test]
fn a_call_sets_the_log_on_and_off() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    let _service = Service::start(&bench);
    assert!(log_of(&bench).is_null());
    let set = |on: &str, more: &[&str]| {
        let call = ["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", on];
        bench.json(&[&call[..], more].concat())
    };
    assert_eq!(set("true", &[])["status"], "succeeded");
    log_until(&bench, "a log", |log| log["archived_until"].is_string() && log["on"] == true);
    let token = set("false", &[])["confirmation_token"].as_str().unwrap().to_owned();
    assert_eq!(set("false", &["--confirmation-token", &token])["status"], "succeeded");
    log_until(&bench, "the end of the log", |log| log["archiver"].is_null() && log["on"] == false);
    wait("the link to end", LONG, || (redis.info("connected_slaves") == "0").then_some(()));
}

/// By password, by a user with the least rights, by a socket file, over TLS: the log is kept.
#[test]
fn any_way_to_an_instance_will_do() {
    let dir = tempfile::TempDir::new().unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let (socket, tls) = (dir.path().join("redis.sock"), free_port().to_string());
    let more = ["--unixsocket", socket.to_str().unwrap(), "--tls-port", &tls, "--tls-cert-file", certificate];
    let more = [&more[..], &["--tls-key-file", key, "--tls-ca-cert-file", certificate]].concat();
    let redis = Redis::start(KIND, &[&more[..], &["--tls-auth-clients", "no", "--requirepass", "secret"]].concat());
    redis.run(&["ACL", "SETUSER", "archiver", "on", ">pw", "+psync", "+replconf", "+ping", "+info"]);
    for (url, more) in [
        (redis.url(), ""),
        (format!("redis://127.0.0.1:{}", redis.port), "username = \"archiver\"\npassword = \"pw\""),
        (format!("unix://{}", socket.display()), "password = \"secret\""),
        (format!("rediss://127.0.0.1:{tls}"), "password = \"secret\"\ntls_insecure = true"),
    ] {
        let bench = logging(&url, more);
        let config = bench.dir.path().join("config.toml");
        std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let _service = Service::start(&bench);
        redis.run(&["SET", "a", "1"]);
        log_until(&bench, &format!("a window by {url}"), |log| log["window"].is_object());
        archived_to(&bench, position(&redis).1);
    }
}

/// Starts the service, and gives what it tells its manager, one by one.
fn told(bench: &Bench) -> (Child, impl Fn() -> String) {
    let socket = bench.dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    let child = bench.command(&["run"]).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000").spawn().unwrap();
    let notified = move || {
        let mut bytes = [0; 100];
        let n = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    (child, notified)
}

/// A bucket that takes requests and answers none holds up nothing: the service is ready, and its manager goes on hearing that it turns.
#[test]
fn a_bucket_that_says_nothing_holds_nothing_up() {
    let redis = Redis::start(KIND, &[]);
    let mut bench = Bench::unattended(&redis);
    // A home with a state, whose jobs and sets are looked at when the service begins and each minute.
    bench.backup();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("s3://backups?endpoint=http://{}", silent.local_addr().unwrap());
    bench.configure(&format!("vault = \"{url}\"\n{}", unattended(&redis, "enable_backup_log = true")));
    bench.env = s3::environment(s3::KEY.1);
    let (mut child, notified) = told(&bench);
    assert_eq!(notified(), "READY=1");
    // It is asked, and more than one look of the manager passes meanwhile.
    silent.set_nonblocking(true).unwrap();
    let _asked = wait("a request", LONG, || silent.accept().ok());
    for _ in 0..5 {
        assert_eq!(notified(), "WATCHDOG=1");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A service manager hears when the service is ready and when it stops; `--read-only` and `run` exclude each other.
#[test]
fn a_service_manager_is_told() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let (mut child, notified) = told(&bench);
    assert_eq!(notified(), "READY=1");
    assert_eq!(notified(), "WATCHDOG=1");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    wait("the end", LONG, || (notified() == "STOPPING=1").then_some(()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let refused = bench.run(&["--read-only", "run"]);
    assert!(refused.code != 0 && refused.err.contains("[mode.read_only]"), "{refused:?}");
}

/// A chat archives only where the configuration says so: else its end would be a gap.
#[test]
fn a_chat_archives_only_in_the_background() {
    let redis = Redis::start(KIND, &[]);
    for background in [false, true] {
        let bench = logging(&redis.url(), "");
        let config = std::fs::read_to_string(bench.dir.path().join("config.toml")).unwrap();
        bench.configure(&format!("background = {background}\n{config}"));
        let mut chat = bench.command(&["serve"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
        let begun = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        writeln!(chat.stdin.as_ref().unwrap(), "{hello}\n{begun}").unwrap();
        if background {
            log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
        } else {
            std::thread::sleep(Duration::from_secs(3));
            assert_eq!(log_of(&bench)["on"], true);
            assert!(log_of(&bench)["archiver"].is_null());
        }
        drop(chat.stdin.take());
        wait("the chat to end", LONG, || chat.try_wait().unwrap());
    }
}
