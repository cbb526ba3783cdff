//! Clones of instances here: a clone holds what its set held, is read-only, is an instance like any other, says where it is from, and
//! leaves nothing when it ends.

mod crash;
mod moment;
mod servers;

use crate::provider::proof::{ID, lay};
use crate::redis::values::{entry, rdb, string};
use crate::support::clones::{Cloned, bench, digest_of};
use crate::support::{Bench, MATRIX, Redis, Reply, run_at, text, unattended};

/// Words for the source of a clone.
fn set(id: &str) -> [&str; 2] {
    ["--backup-id", id]
}

/// What a clone holds, by a backup of it: as of any instance.
fn digest(bench: &Bench, kind: &str, clone: &Cloned) -> String {
    let made = bench.json(&["create-backup", "--instance-id", &clone.id]);
    assert_eq!(made["status"], "succeeded", "{made}");
    let id = text(&made["backup_id"]);
    let file = bench.json(&["download-backup", "--instance-id", &clone.id, "--backup-id", &id]);
    digest_of(kind, text(&file["path"]).as_ref())
}

/// On every engine: made from a set, with the same data, read-only, listed with its origin, backed up and downloaded like any instance,
/// and gone without a trace when it is deleted, while its sets stay.
#[test]
fn a_clone_holds_what_its_set_held() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || holds(kind));
        }
    });
}

fn holds(kind: &str) {
    let redis = Redis::start(kind, &["--databases", "40"]);
    redis.fill(1, 7);
    redis.run_in(33, &["SET", "far", "1"]);
    redis.run(&["SET", "gone-soon", "1", "PX", "300"]);
    let bench = bench(&redis, kind);
    let backup = bench.backup();
    crate::support::wait("an expiry", std::time::Duration::from_secs(10), || {
        (redis.run(&["EXISTS", "gone-soon"]) == Reply::Int(0)).then_some(())
    });
    let (then, statistics) = (redis.digest(), redis.statistics());
    redis.run(&["FLUSHALL"]);

    let clone = bench.cloned(&set(&backup));
    let lines = clone.ask(&["INFO", "keyspace"]).text();
    let counted: Vec<_> =
        lines.lines().filter(|l| l.starts_with("db")).map(|l| l.split(",avg").next().unwrap()).collect();
    assert_eq!(counted, statistics, "{kind}");
    assert!(clone.ask(&["INFO", "server"]).text().contains(&kind.split('-').nth(1).unwrap()[..2]), "{kind}");
    refuses_writes(kind, &clone);
    is_listed(kind, &bench, &clone, &backup);
    assert_eq!(digest(&bench, kind, &clone), then, "{kind}");

    let processes = clone.processes();
    assert_eq!(processes.len(), 2, "{kind}");
    let done = bench.delete_clone(&clone.id);
    assert!(done.code == 0 && done.out.contains(&backup), "{kind}: {done:?}");
    clone.assert_gone(&processes, kind);
    assert!(bench.listed_clones().is_empty(), "{kind}");
    // Its sets outlive it, and it is said of it that it has ended.
    let sets = bench.json(&["describe-backups", "--instance-id", &clone.id]);
    assert_eq!(sets["backups"].as_array().unwrap().len(), 1, "{sets}");
    let row = bench.json(&["describe-instances", "--instance-id", &clone.id])["instances"][0].clone();
    assert!(row["status"] == "unreachable" && text(&row["reason"]).contains("has ended"), "{row}");
    let again = bench.delete_clone(&clone.id);
    assert!(again.code == 4 && again.err.contains("[clone.not_found]"), "{kind}: {again:?}");
    assert!(again.err.contains("a clone that has ended"), "{kind}: {again:?}");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(0), "{kind}: the source is not touched");
}

/// With the password that a person is pointed to everything can be looked at and nothing changed; without it nobody gets in.
fn refuses_writes(kind: &str, clone: &Cloned) {
    let before = clone.as_admin(&["DBSIZE"]);
    for allowed in [
        &["KEYS", "*"][..],
        &["SCAN", "0"],
        &["CONFIG", "GET", "maxmemory"],
        &["EVAL", "return redis.call('DBSIZE')", "0"],
        &["SCRIPT", "LOAD", "return 1"],
        &["SCRIPT", "EXISTS", "x"],
        &["SELECT", "1"],
        &["MEMORY", "USAGE", "far"],
    ] {
        assert!(!matches!(clone.ask(allowed), Reply::Error(_)), "{kind} {allowed:?}: {:?}", clone.ask(allowed));
    }
    for refused in [
        &["SET", "new", "1"][..],
        &["FLUSHALL"],
        &["SWAPDB", "0", "33"],
        &["EVAL", "return redis.call('SET', 'new', '1')", "0"],
        &["SCRIPT", "DEBUG", "YES"],
        &["SCRIPT", "FLUSH"],
        &["SCRIPT", "KILL"],
        &["RESTORE", "new", "0", "x"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["ACL", "SETUSER", "default", "+@all"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["SHUTDOWN"],
        &["MIGRATE", "127.0.0.1", "1", "far", "33", "1"],
        &["BGSAVE"],
    ] {
        assert!(matches!(clone.ask(refused), Reply::Error(_)), "{kind} {refused:?}: {:?}", clone.ask(refused));
    }
    for login in [&[][..], &["wrong"]] {
        assert!(matches!(run_at(clone.port, login, &["DBSIZE"]).unwrap(), Reply::Error(_)), "{kind} {login:?}");
    }
    assert_eq!(clone.as_admin(&["DBSIZE"]), before, "{kind}");
}

fn is_listed(kind: &str, bench: &Bench, clone: &Cloned, backup: &str) {
    let rows = bench.listed_clones();
    let [row] = &rows[..] else { panic!("{kind}: {rows:?}") };
    assert_eq!((&row["instance_id"], &row["status"]), (&clone.id.as_str().into(), &"running".into()), "{row}");
    let of = &row["clone_of"];
    assert_eq!((&of["instance_id"], &of["backup_id"]), (&"orders".into(), &backup.into()), "{row}");
    assert!(of["age_seconds"].as_i64().unwrap() < 300 && clone.message.contains(&text(&of["ends_at"])), "{row}");
    // No reply has a password.
    let password = std::fs::read_to_string(clone.dir.join("password")).unwrap();
    let told = format!("{rows:?} {} {}", clone.message, bench.run(&["audit", "--json"]).out);
    assert!(!told.contains(&password) && told.contains("redis-cli -p"), "{told}");
    let shown = bench.run(&["describe-instances"]).out;
    assert!(shown.contains(&format!("{}: a clone of orders, from {backup}; it ends ", clone.id)), "{shown}");
}

/// A restore into a clone is guarded as any, goes its usual way, and brings back what the clone held; the name asked for is its id.
#[test]
fn a_clone_can_be_restored_like_any_instance() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(1, 3);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let clone = bench.cloned(&["--backup-id", &backup, "--instance-name", "look"]);
    assert_eq!(clone.id, "clone-look");
    let before = digest(&bench, "redis-7.0", &clone);
    let mine = text(&bench.json(&["describe-backups", "--instance-id", &clone.id])["backups"][0]["backup_id"]);
    assert_eq!(clone.as_admin(&["FLUSHALL"]), Reply::Text("OK".into()));
    clone.as_admin(&["SET", "written", "1"]);
    let restore = ["restore-instance", "--instance-id", &clone.id, "--backup-id", &mine, "--json"];
    let planned = bench.run(&restore);
    assert_eq!(planned.code, 0, "{planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    assert_eq!(planned.json()["plan"]["way"], "replication", "{planned:?}");
    let done = bench.run(&[&restore[..], &["--confirmation-token", &token]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(digest(&bench, "redis-7.0", &clone), before);
    // It still lets nobody write who only looks.
    assert!(matches!(clone.ask(&["SET", "new", "1"]), Reply::Error(_)));

    let twice = bench.plan_clone(&["--backup-id", &backup, "--instance-name", "look"]);
    assert!(twice.code == 2 && twice.err.contains("[clone.exists]"), "{twice:?}");
    // The command is whole, with the home that is not the usual one.
    assert!(
        twice.err.contains("--home ") && twice.err.contains("delete-instance --instance-id clone-look"),
        "{twice:?}"
    );
    let policy = bench.run(&["modify-backup-policy", "--instance-id", &clone.id, "--enable-backup-log", "true"]);
    assert!(policy.err.contains("[policy.unsupported]"), "{policy:?}");
    assert_eq!(bench.delete_clone(&clone.id).code, 0);
    bench.assert_no_clones("when it was deleted");
    // What is left of it would be taken for the next one's.
    let again = bench.plan_clone(&["--backup-id", &backup, "--instance-name", "clone-look"]);
    assert!(again.code == 2 && again.err.contains("[clone.exists]"), "{again:?}");
    let sets = bench.json(&["describe-backups", "--instance-id", &clone.id])["backups"].as_array().unwrap().len();
    assert!(
        sets > 1 && again.err.contains(&format!("there was a clone clone-look, and {sets} backup sets")),
        "{again:?}"
    );
}

/// A set with a key in a database of a number beyond reason is no clone: the server would take memory for all that are below.
#[test]
fn databases_without_number_are_no_clone() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = bench(&redis, "redis-7.0");
    let select = [vec![254, 0x81], (1_u64 << 40).to_be_bytes().to_vec()].concat();
    let rdb = rdb("REDIS0010", &[select, entry(0, "k", &string(b"v"))].concat(), true);
    lay(&bench, rdb);
    let plan = bench.plan_clone(&set(ID)).json();
    assert_eq!(plan["status"], "blocked", "{plan}");
    assert!(text(&plan["message"]).contains("room_here"), "{plan}");
}

/// An instance of the configuration is no clone, whatever it is called: it has a policy, and is not deleted.
#[test]
fn a_configured_instance_may_be_called_like_a_clone() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = bench(&redis, "redis-7.0");
    bench.configure(&unattended(&redis, "").replace("orders", "clone-mine"));
    let row = bench.json(&["describe-instances", "--instance-id", "clone-mine"])["instances"][0].clone();
    assert_eq!(row["kind"], "local", "{row}");
    let policy = bench.run(&["modify-backup-policy", "--instance-id", "clone-mine", "--enable-backup-log", "true"]);
    assert_eq!(policy.code, 0, "{policy:?}");
    let deleted = bench.delete_clone("clone-mine");
    assert!(deleted.code == 4 && deleted.err.contains("an instance of the configuration"), "{deleted:?}");
}

/// What cannot be made is refused before anything is begun: what only the cloud has, a name that is no id, no program, and too little
/// room; a source that is away is no reason.
#[test]
fn what_cannot_be_made_is_told() {
    let mut redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let ours = bench(&redis, "redis-7.0");
    let backup = ours.backup();
    for cloud in [
        ["--instance-class", "redis.x"],
        ["--zone-id", "z"],
        ["--vswitch-id", "v"],
        ["--recover-config-mode", "config"],
    ] {
        let done = ours.plan_clone(&[&set(&backup)[..], &cloud].concat());
        assert!(
            done.code == 2 && done.err.contains("[arguments.invalid]") && done.err.contains("Leave it out"),
            "{done:?}"
        );
    }
    let done = ours.plan_clone(&["--backup-id", &backup, "--instance-name", "../up"]);
    assert!(done.code == 2 && done.err.contains("[arguments.invalid]"), "{done:?}");
    let done = ours.plan_clone(&set("b-20200101T000000Z-000000"));
    assert!(done.code == 4 && done.err.contains("[backup.not_found]"), "{done:?}");

    let blocked = |bench: &Bench, check: &str, told: &str| {
        let mut command = bench.command(&[
            "create-instance-from-backup",
            "--instance-id",
            "orders",
            "--json",
            "--backup-id",
            &backup,
        ]);
        let done = command.env("PATH", bench.dir.path()).output().unwrap();
        let reply: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        assert_eq!(reply["status"], "blocked", "{reply}");
        let found = reply["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == check).unwrap();
        assert!(found["status"] == "block" && text(&found["detail"]).contains(told), "{reply}");
    };
    // Nothing in PATH, and nothing named; and one that is too old for the set.
    let newer = Redis::start("redis-8.0", &[]);
    newer.run(&["SET", "a", "1"]);
    ours.configure(&unattended(&redis, ""));
    blocked(&ours, "engine_compatible", "server_programs");
    ours.configure(&format!(
        "server_programs = [{:?}]\n{}",
        crate::support::program("redis-6.2", "server"),
        unattended(&newer, "")
    ));
    let of_newer = ours.backup();
    let done =
        ours.run(&["create-instance-from-backup", "--instance-id", "orders", "--json", "--backup-id", &of_newer]);
    let runs_on = done.json();
    let detail =
        runs_on["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "engine_compatible").unwrap().clone();
    // Where the machine has one of its own that loads it, that is named.
    assert!(detail["status"] == "block" || !text(&runs_on["plan"]["runs_on"]).contains("6.2"), "{runs_on}");

    // A server that holds next to nothing needs its room too.
    let plan = ours.plan_clone(&set(&backup)).json();
    let lost = text(&plan["impact"]["lost"]);
    let mib: f64 = lost.split("about ").nth(1).and_then(|rest| rest.split(" MiB").next()).unwrap().parse().unwrap();
    assert!(mib >= 32.0, "{lost}");

    // The source may be gone.
    ours.configure(&format!(
        "server_programs = [{:?}]\n{}",
        crate::support::program("redis-7.0", "server"),
        unattended(&redis, "")
    ));
    redis.kill();
    let clone = ours.cloned(&set(&backup));
    assert_eq!(ours.delete_clone(&clone.id).code, 0);
    ours.assert_no_clones("when it was deleted");
}

/// Only clones are deleted, and only at a terminal where a person has to say yes.
#[test]
fn nothing_else_can_be_deleted() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let clone = bench.cloned(&set(&backup));
    let digest = redis.digest();
    for other in ["orders", "clone-of-nobody", "../clones"] {
        let done = bench.delete_clone(other);
        assert!(done.code != 0 && done.err.contains("[clone.not_found]"), "{other}: {done:?}");
    }
    let done = bench.run(&["--read-only", "delete-instance", "--instance-id", &clone.id]);
    assert!(done.code == 3 && done.err.contains("[mode.read_only]"), "{done:?}");
    let person = format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url());
    bench.configure(&person);
    let done = bench.delete_clone(&clone.id);
    assert!(
        done.code == 3
            && done.err.contains("[person.no_channel]")
            && done.err.contains("delete-instance --instance-id"),
        "{done:?}"
    );
    assert_eq!((redis.digest(), bench.listed_clones().len()), (digest, 1));
    // Nobody is asked about what is no clone.
    let other = crate::support::terminal(&bench, &[], &["delete-instance", "--instance-id", "orders"]);
    let told = format!("{}{}", other.out, other.err);
    assert!(
        other.code == 4 && told.contains("an instance of the configuration") && !told.contains("type its id"),
        "{other:?}"
    );
    let typed = |answer| {
        crate::support::terminal(&bench, &[("leaves it) > ", answer)], &["delete-instance", "--instance-id", &clone.id])
    };
    let left = typed("clone");
    assert!(left.code == 0 && left.out.contains("Left as it is") && bench.listed_clones().len() == 1, "{left:?}");
    let done = typed(&clone.id);
    assert!(done.code == 0 && done.out.contains("has ended"), "{done:?}");
    bench.assert_no_clones("when it was deleted");
}
