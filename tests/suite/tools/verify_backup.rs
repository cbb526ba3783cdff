//! Sets verified at rest: bytes, structure, and drills. What was verified last shows wherever sets do; what is damaged is named, and never
//! used until as deep a look finds nothing; and what cannot be drilled is not called verified.

use crate::provider::proof::{ID, lay, lay_as};
use crate::redis::values::{entry, packed, rdb, string};
use crate::support::emulator::{Emulator, KEY, SECRET};
use crate::support::recorder::Recorder;
use crate::support::{Bench, Done, Redis, files_under, finish, program, text, unattended, wait, write_over};
use crate::vault::metadata;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tair_backup_mcp::vault::ingest::Metadata;

const KIND: &str = "redis-7.0";

fn args<'a>(backup: &'a str, level: &'a str) -> [&'a str; 8] {
    ["verify-backup", "--instance-id", "orders", "--backup-id", backup, "--level", level, "--json"]
}

fn done(mut command: Command) -> Done {
    finish(command.spawn().unwrap())
}

/// Verifies where the server program of one kind is the only one.
fn verify(bench: &Bench, backup: &str, level: &str) -> Done {
    done(bench.command_beside(KIND, &args(backup, level)))
}

fn row(bench: &Bench, backup: &str) -> Value {
    bench.json(&["describe-backups", "--instance-id", "orders", "--backup-id", backup])["backups"][0].clone()
}

/// Whether a row tells of that damage; it cuts a long one.
fn is_told(row: &Value, message: &str) -> bool {
    let damage = text(&row["damage"]);
    damage.len() > 100 && message.starts_with(damage.trim_end_matches('…'))
}

/// The plan is blocked by this check; what that tells.
fn blocks(asked: &Done, name: &str) -> String {
    let reply = asked.json();
    assert_eq!((asked.code, &reply["status"]), (3, &"blocked".into()), "{asked:?}");
    let check = reply["prechecks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {reply}"));
    assert_eq!(check["status"], "block", "{reply}");
    text(&check["detail"])
}

fn instance(bench: &Bench) -> Value {
    bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["protection"].clone()
}

/// Directories of servers of our own that are there.
fn scratch(bench: &Bench) -> usize {
    std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count)
}

/// Each level passes on what was taken, and is what shows; a wrong level, set or wait is refused with what would be right. Nothing of a drill
/// is left, and the instance is not asked: it is away by then.
#[test]
fn each_level_shows_where_sets_do() {
    let mut redis = Redis::start(KIND, &[]);
    redis.fill(1, 1);
    redis.run_in(3, &["SET", "soon", "1", "PX", "100"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    assert!(text(&row(&bench, &backup)["verified"]).starts_with("deep, CRC64 held"));
    assert_eq!(instance(&bench)["verified"], Value::Null);
    redis.kill();
    for (level, said, status) in [
        ("checksum", "SHA-256", "deep"),
        ("structure", "inside of every value", "deep"),
        ("drill", "has loaded it and holds, as its manifest says,", "drilled"),
    ] {
        let verified = verify(&bench, &backup, level);
        let reply = verified.json();
        assert_eq!((verified.code, text(&reply["status"])), (0, "succeeded".into()), "{level}: {verified:?}");
        assert!(text(&reply["message"]).contains(said) && text(&reply["job_id"]).starts_with("vj-"), "{reply}");
        let shown = text(&row(&bench, &backup)["verified"]);
        assert!(shown.starts_with(&format!("{level} 20")) && shown.contains("when it was made: deep"), "{shown}");
        let last = text(&instance(&bench)["verified"]);
        assert!(last.starts_with(&format!("{backup}: {level} 20")), "{last}");
        assert_eq!(
            (&row(&bench, &backup)["status"], &instance(&bench)["newest"][0]["status"]),
            (&status.into(), &status.into())
        );
    }
    let jobs = bench.jobs();
    let job = &jobs[0];
    assert_eq!((&job["kind"], &job["backup_id"]), (&"verification".into(), &backup.as_str().into()), "{job}");
    let message = text(&job["message"]);
    let read: u32 = message.rsplit_once("asked to write out ").unwrap().1.parse().unwrap();
    assert!((24..=64).contains(&read), "{message}");
    assert_eq!(scratch(&bench), 0);
    let doctor: Value = serde_json::from_str(&bench.run(&["doctor", "--json"]).out).unwrap();
    let found = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "verified").unwrap().clone();
    assert!(found["status"] == "pass" && text(&found["detail"]).starts_with(&format!("{backup}: drill 20")), "{found}");
    assert!(text(&found["detail"]).contains(" on Redis 7.0."), "{found}");

    // What is newer and less deep hides no drill.
    assert_eq!(verify(&bench, &backup, "checksum").code, 0);
    for shown in [row(&bench, &backup)["verified"].clone(), instance(&bench)["verified"].clone()] {
        let (newest, deepest) = shown.as_str().unwrap().split_once("; ").unwrap();
        assert!(
            newest.contains("checksum 20") && deepest.contains("drill 20") && deepest.contains(" on Redis 7.0."),
            "{shown}"
        );
    }

    let wrong = bench.run(&args(&backup, "deep"));
    assert!(wrong.code == 2 && wrong.err.contains("it is checksum, structure or drill"), "{wrong:?}");
    let unknown = bench.run(&args("b-none", "checksum"));
    assert!(unknown.code == 4 && unknown.err.contains("[backup.not_found]"), "{unknown:?}");
    let long = bench.run(&[&args(&backup, "checksum")[..], &["--wait-seconds", "3601"]].concat());
    assert!(long.code == 2 && long.err.contains("at most 3600"), "{long:?}");
}

/// Turns over a byte of a set. Its file, and what that held.
fn damage(bench: &Bench, backup: &str) -> (PathBuf, Vec<u8>) {
    let file = bench.home().join("vault/orders").join(backup).join("data.rdb.zst");
    let whole = std::fs::read(&file).unwrap();
    let mut other = whole.clone();
    let at = other.len() / 2;
    other[at] = !other[at];
    write_over(&file, &other);
    (file, whole)
}

/// One byte that turned over is found with file and offset, remembered, and keeps the set from being restored, cloned, downloaded, or taken
/// for a safety backup; once the byte is back, and was looked at again, the set is whole.
#[test]
fn a_damaged_set_is_named_and_never_chosen() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "1mb"]);
    redis.fill(1, 1);
    let bench = Bench::unattended(&redis);
    let (sound, backup) = (bench.backup(), bench.backup());
    let (file, whole) = damage(&bench, &backup);
    assert_eq!(row(&bench, &backup)["status"], "deep", "its size is right");

    let found = verify(&bench, &backup, "checksum");
    let reply = found.json();
    assert_eq!((found.code, text(&reply["code"])), (6, "backup.damaged".into()), "{found:?}");
    let message = text(&reply["message"]);
    assert!(message.contains("data.rdb.zst") && message.contains("offset"), "{message}");
    let listed = row(&bench, &backup);
    assert!(listed["status"] == "damaged" && is_told(&listed, &message), "{listed}");
    assert_eq!((&instance(&bench)["damaged"], &instance(&bench)["backups"]), (&1.into(), &1.into()));
    assert!(bench.backups().iter().any(|set| set["backup_id"] == backup.as_str() && set["status"] == "damaged"));
    // Also where its bytes are right again: nobody has looked.
    write_over(&file, &whole);
    let download = ["download-backup", "--instance-id", "orders", "--backup-id", &backup, "--json"];
    let clone = ["create-instance-from-backup", "--instance-id", "orders", "--backup-id", &backup, "--json"];
    let refused = bench.run(&download);
    assert!(refused.code == 6 && refused.out.contains("backup.damaged"), "{refused:?}");
    assert!(text(&refused.json()["hint"]).contains("verify_backup with the level checksum"), "{refused:?}");
    for blocked in [bench.ask(&backup), bench.run(&clone)] {
        let detail = blocks(&blocked, "backup_verified");
        assert!(detail.starts_with(&message) && detail.contains("verify_backup with the level checksum"), "{detail}");
    }
    let deletion = bench.run(&["delete-backup", "--instance-id", "orders", "--backup-id", &sound, "--json"]);
    assert!(deletion.code == 0 && deletion.out.contains("0 other backups beside it"), "{deletion:?}");
    // Nothing was written since either was taken, so that the newer one would be the safety backup.
    let planned = bench.ask(&sound);
    assert!(planned.code == 0 && planned.out.contains(&sound) && !planned.out.contains(&backup), "{planned:?}");

    let again = verify(&bench, &backup, "structure");
    assert_eq!(again.code, 0, "{again:?}");
    let listed = row(&bench, &backup);
    assert!(listed["status"] == "deep" && text(&listed["verified"]).starts_with("structure 20"), "{listed}");
    assert_eq!((bench.ask(&backup).code, bench.run(&download).code), (0, 0));
}

/// What a plan finds damaged is remembered as what a verification finds: the young set that would have been the way back blocks that plan
/// alone, for the next takes another; and a plan of that very set is blocked by the check that names the damage, until a look finds none.
#[test]
fn what_a_plan_finds_damaged_is_remembered() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "1mb"]);
    redis.fill(1, 1);
    let bench = Bench::unattended(&redis);
    let sound = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    let young = bench.backup();
    let (file, whole) = damage(&bench, &young);
    let detail = blocks(&bench.ask(&sound), "safety_backup");
    assert!(detail.contains(&young) && detail.contains("data.rdb.zst"), "{detail}");
    assert_eq!(row(&bench, &young)["status"], "damaged");
    let planned = bench.ask(&sound);
    let safety = text(&planned.json()["plan"]["safety_backup_id"]);
    assert!(planned.code == 0 && !["", &young, &sound].contains(&safety.as_str()), "{planned:?}");
    write_over(&file, &whole);
    let detail = blocks(&bench.ask(&young), "backup_verified");
    assert!(detail.contains("data.rdb.zst") && detail.contains("verify_backup with the level structure"), "{detail}");
    assert_eq!(verify(&bench, &young, "structure").code, 0);
    assert_eq!(bench.ask(&young).code, 0);
}

/// Its library has a first line as a server reads it, and code that no server compiles: every check passes, and a server ends with it.
fn unloadable() -> Vec<u8> {
    let library = [&[245][..], &string(b"#!lua name=lib\nthis is no code")].concat();
    rdb("REDIS0010", &[library, entry(0, "k", &string(b"v"))].concat(), true)
}

/// What passes every check and would not load is found by a drill, and by nothing less; and nothing less makes it whole again.
#[test]
fn a_drill_finds_what_would_not_load() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, unloadable());
    for level in ["checksum", "structure"] {
        assert_eq!(verify(&bench, ID, level).code, 0, "{level}");
    }
    let found = verify(&bench, ID, "drill");
    let reply = found.json();
    assert_eq!((found.code, text(&reply["code"])), (6, "backup.damaged".into()), "{found:?}");
    let message = text(&reply["message"]);
    for said in ["data.rdb.zst", "passes every check", "Redis 7.0", "does not load it"] {
        assert!(message.contains(said), "{said}: {message}");
    }
    assert_eq!(scratch(&bench), 0);
    assert_eq!(verify(&bench, ID, "structure").code, 0);
    assert!(is_told(&row(&bench, ID), &message), "{}", row(&bench, ID));
    let detail = blocks(&bench.ask(ID), "backup_verified");
    assert!(detail.contains("does not load it") && detail.contains("verify_backup with the level drill"), "{detail}");
    // Another version says nothing of what this one does with it, and lifts nothing.
    let other = drill_by(&bench, &pretended(&bench, "8.0.3", "exit 3"));
    let reply = other.json();
    assert_eq!((other.code, text(&reply["code"])), (5, "verify.no_program".into()), "{other:?}");
    assert!(["Redis 7.0", "Redis 8.0.3"].iter().all(|named| text(&reply["message"]).contains(named)), "{reply}");
    assert!(is_told(&row(&bench, ID), &message), "{}", row(&bench, ID));
}

/// A server program that says that it is a Redis and then does this.
fn pretended(bench: &Bench, version: &str, does: &str) -> PathBuf {
    let path = bench.dir.path().join("pretended");
    let says = format!("if [ \"$1\" = --version ]; then echo 'Redis server v={version}'; exit; fi");
    let script = format!("#!/bin/sh\n{says}\n{does}\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn drill_by(bench: &Bench, server: &Path) -> Done {
    let mut command = bench.command_beside(KIND, &args(ID, "drill"));
    command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", server);
    done(command)
}

/// A library that calls Valkey by Valkey's own name ends a Redis that loads it: that says nothing of a set of Valkey.
#[test]
fn a_program_of_another_dialect_is_no_witness() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    let code = b"#!lua name=lib\nserver.register_function('f', function() return 1 end)";
    let body = [&[245][..], &string(code), &entry(0, "k", &string(b"v"))].concat();
    let of = Metadata { engine: "valkey".into(), version: "8.1.1".into(), ..metadata() };
    lay_as(&bench, ID, rdb("REDIS0011", &body, true), of);
    let before = row(&bench, ID);
    let drilled = done(bench.command_beside("redis-8.0", &args(ID, "drill")));
    let reply = drilled.json();
    assert_eq!((drilled.code, text(&reply["code"])), (5, "verify.failed".into()), "{drilled:?}");
    for said in ["says nothing of the set", "Redis 8.0", "does not load it", "Valkey 8.1"] {
        assert!(text(&reply["message"]).contains(said), "{said}: {reply}");
    }
    assert_eq!(row(&bench, ID), before);
    let drilled = done(bench.command_beside("valkey-8.1", &args(ID, "drill")));
    assert_eq!(drilled.code, 0, "{drilled:?}");
}

/// Without a server program of the dialect there is no drill, and it is said how to get one; a program that does not start at all says
/// nothing of the set, and neither does one that starts, but is killed, asked to end or gets no memory with the set. None of this calls a set
/// verified, or damaged.
#[test]
fn what_cannot_be_drilled_is_not_called_verified() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let before = row(&bench, ID);
    let with_the_set = |does: &str| {
        let serves = program(KIND, "server");
        format!("[ ! -e dump.rdb ] || {{ {does}; }}\nexec {} \"$@\"", serves.display())
    };
    let [killed, asked, starved] = [
        "kill -9 $$",
        "echo 'User requested shutdown...' >log; exit 0",
        "echo '# Out Of Memory allocating 9 bytes!' >log; kill -ABRT $$",
    ]
    .map(with_the_set);
    let (inconclusive, nothing) = ("verify.failed", "says nothing of the set");
    for (version, does, code, said) in [
        ("6.2.14", "exit 3", "verify.no_program", "server_programs"),
        ("7.0.15", "exit 3", inconclusive, nothing),
        ("7.0.15", &killed, inconclusive, nothing),
        ("7.0.15", &asked, inconclusive, nothing),
        ("7.0.15", &starved, inconclusive, nothing),
    ] {
        let refused = drill_by(&bench, &pretended(&bench, version, does));
        let reply = refused.json();
        assert_eq!((refused.code, text(&reply["code"])), (5, code.into()), "{refused:?}");
        assert!(format!("{} {}", reply["message"], reply["hint"]).contains(said), "{reply}");
        assert_eq!(row(&bench, ID), before);
    }
    assert_eq!((scratch(&bench), &instance(&bench)["verified"]), (0, &Value::Null));
    // One that dies of it once, and then not, has loaded it.
    let once = with_the_set("[ -e ../died ] || { : >../died; exit 1; }");
    let drilled = drill_by(&bench, &pretended(&bench, "7.0.15", &once));
    assert!(drilled.code == 0 && bench.home().join("scratch/died").exists(), "{drilled:?}");
    assert!(
        text(&drilled.json()["message"]).ends_with("all 1 keys, of which it was asked to write out 1"),
        "{drilled:?}"
    );
}

/// A server that may take less memory than the set needs, and takes enough without it, says nothing of the set.
#[test]
fn a_drill_without_memory_is_inconclusive() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &packed(&vec![b'a'; 64 << 20])), true));
    let info = redis.run(&["INFO", "server"]).text();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let serves = program(KIND, "server");
    let limited = format!("ulimit -v {}\nexec {} \"$@\"", kib + (32 << 10), serves.display());
    let before = row(&bench, ID);
    let refused = drill_by(&bench, &pretended(&bench, "7.0.15", &limited));
    let reply = refused.json();
    assert_eq!((refused.code, text(&reply["code"])), (5, "verify.failed".into()), "{refused:?}");
    assert!(text(&reply["message"]).contains("got no memory"), "{reply}");
    assert_eq!((row(&bench, ID), scratch(&bench)), (before, 0));
}

/// What is damaged between the walk and the drill, while the program is asked for its version, is damage all the same.
#[test]
fn damage_met_on_the_way_to_the_server_is_kept() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let (file, whole) = damage(&bench, ID);
    let other = bench.dir.path().join("other");
    std::fs::copy(&file, &other).unwrap();
    write_over(&file, whole);
    let server = bench.dir.path().join("server");
    let damages = format!("cat {} >{}; echo 'Redis server v=7.0.15'", other.display(), file.display());
    std::fs::write(&server, format!("#!/bin/sh\n{damages}\n")).unwrap();
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o700)).unwrap();
    let found = drill_by(&bench, &server);
    let message = text(&found.json()["message"]);
    assert!(found.code == 6 && message.contains("data.rdb.zst") && message.contains("offset"), "{found:?}");
    let listed = row(&bench, ID);
    assert!(listed["status"] == "damaged" && is_told(&listed, &message), "{listed}");
    assert_eq!(scratch(&bench), 0);
}

/// Killed or asked to end in the middle of a drill: the server and its directory go, the job says so, and the set is as it was.
#[test]
fn nothing_of_a_drill_outlives_it() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let (before, within) = (row(&bench, ID), Duration::from_secs(60));
    let pid_file = bench.dir.path().join("pid");
    let begun = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", pid_file.display());
    let server = pretended(&bench, "7.0.15", &begun);
    for (signal, code) in [("KILL", "job.interrupted"), ("TERM", "job.cancelled")] {
        let _ = std::fs::remove_file(&pid_file);
        let mut command = bench.command(&args(ID, "drill"));
        let mut child = command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", &server).spawn().unwrap();
        let pid = wait("the scratch server", within, || std::fs::read_to_string(&pid_file).ok());
        // A second one waits for none: it is told which one runs.
        let second = bench.run(&args(ID, "checksum"));
        assert!(second.err.contains("verification vj-"), "{second:?}");
        assert!(second.code == 5 && second.err.contains("[job.busy]"), "{second:?}");
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        wait("the directory to go", within, || (scratch(&bench) == 0).then_some(()));
        let process = Path::new("/proc").join(pid.trim());
        wait("the server to go", within, || (!process.exists()).then_some(()));
        let job = bench.jobs().remove(0);
        assert_eq!((&job["status"], text(&job["code"])), (&"failed".into(), code.into()), "{job}");
        assert_eq!(row(&bench, ID), before);
    }
}

/// Of verifications of one set that are asked for at once by several processes only one goes on; and its end lets the next one begin.
#[test]
fn one_set_is_verified_once_at_a_time() {
    let redis = Redis::start(KIND, &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let go = bench.dir.path().join("go");
    let serves = program(KIND, "server");
    let waits = format!("while [ ! -e {} ]; do sleep 0.05; done\nexec {} \"$@\"", go.display(), serves.display());
    let server = pretended(&bench, "7.0.15", &waits);
    let begin = || {
        let mut command = bench.command(&args(ID, "drill"));
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", &server).spawn().unwrap()
    };
    let mut running: Vec<_> = (0..4).map(|_| begin()).collect();
    wait("all but one to be refused", Duration::from_secs(60), || {
        let ended = running.iter_mut().filter_map(|child| child.try_wait().unwrap()).count();
        (ended == 3).then_some(())
    });
    std::fs::write(go, "").unwrap();
    let mut codes: Vec<i32> = running.into_iter().map(|child| finish(child).code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 5, 5, 5]);
    assert_eq!(bench.jobs().len(), 1);
    assert_eq!(verify(&bench, ID, "checksum").code, 0);
}

/// With the log on, a drill builds a second of it behind the set; damage of the log is none of the set's, and a set that is damaged stands in
/// for no other as what the log begins with.
#[test]
fn a_drill_builds_a_second_of_the_log() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "16mb"]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&unattended(&redis, "enable_backup_log = true"));
    let backup = bench.backup();
    let recorder = Recorder::behind(&bench, &redis, &backup);
    for n in 0..20 {
        redis.run(&["SET", &format!("k{n}"), "1"]);
    }
    let later = bench.backup();
    redis.run(&["SET", "last", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let drilled = verify(&bench, &backup, "drill");
    assert_eq!(drilled.code, 0, "{drilled:?}");
    let message = text(&drilled.json()["message"]);
    assert!(message.contains("was built behind it") && message.contains("commands of the log"), "{message}");
    assert_eq!(scratch(&bench), 0);

    // The log begins with the older set, and where that is damaged with the later one.
    let deletion = ["delete-backup", "--instance-id", "orders", "--backup-id", &later];
    let lost = || text(&bench.json(&deletion)["impact"]["lost"]);
    assert!(!lost().contains("the log from"), "{}", lost());
    let (file, whole) = damage(&bench, &backup);
    assert_eq!(verify(&bench, &backup, "checksum").code, 6);
    assert!(lost().contains("the log from"), "{}", lost());
    write_over(&file, whole);
    assert_eq!(verify(&bench, &backup, "checksum").code, 0);
    assert!(!lost().contains("the log from"), "{}", lost());

    // The newest look is the checksum's, until the set is drilled again, whatever is wrong with the log.
    let first = text(&row(&bench, &backup)["verified"]);
    assert!(first.contains("checksum 20"), "{first}");
    let files = files_under(&bench.home().join("vault/.log"));
    for segment in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "seg")) {
        let bytes = std::fs::read(segment).unwrap();
        write_over(segment, vec![0; bytes.len()]);
    }
    let drilled = verify(&bench, &backup, "drill");
    assert!(drilled.code != 0 && text(&drilled.json()["message"]).contains("has loaded it"), "{drilled:?}");
    let then = text(&row(&bench, &backup)["verified"]);
    assert!(then.starts_with("drill 20") && !then.contains("checksum"), "{then}");
    assert_eq!(row(&bench, &backup)["status"], "drilled");
}

/// A set of the cloud is read from there, and nothing of it is kept; the cloud loads none for a trial, and it is said what can be done there.
#[test]
fn the_cloud_s_sets_are_read_from_there() {
    let redis = Redis::start(KIND, &[]);
    redis.fill(1, 1);
    let served = Bench::new(&format!("[[instance]]\nid = \"r-cloud\"\nurl = \"{}\"\n", redis.url()));
    let emulator = Emulator::start(&served, &[]);
    let cloud =
        Bench::new(&format!("[tair]\nregion = \"cn-hangzhou\"\nendpoint = \"http://127.0.0.1:{}\"\n", emulator.port));
    let call = |args: &[&str]| {
        let mut command = cloud.command(args);
        command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY).env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET);
        done(command)
    };
    let made = call(&["create-backup", "--instance-id", "r-cloud", "--json"]).json();
    let backup = text(&made["backup_id"]);
    let verify = |level| {
        call(&["verify-backup", "--instance-id", "r-cloud", "--backup-id", &backup, "--level", level, "--json"])
    };
    let refused = verify("drill");
    assert!(refused.code == 5 && refused.out.contains("verify.unsupported"), "{refused:?}");
    assert!(text(&refused.json()["hint"]).contains("create_instance_from_backup"), "{refused:?}");
    for (level, said, status) in
        [("checksum", "CRC64 holds", "verified"), ("structure", "inside of every value", "deep")]
    {
        let verified = verify(level);
        let reply = verified.json();
        assert_eq!((verified.code, text(&reply["status"])), (0, "succeeded".into()), "{level}: {verified:?}");
        let message = text(&reply["message"]);
        assert!(message.contains(said) && message.contains("kept nowhere"), "{message}");
        let listed = call(&["describe-backups", "--instance-id", "r-cloud", "--backup-id", &backup, "--json"]).json();
        let shown = text(&listed["backups"][0]["verified"]);
        assert!(shown.starts_with(&format!("{level} 20")), "{shown}");
        assert_eq!(listed["backups"][0]["status"], status, "{listed}");
    }
    let kept = files_under(&cloud.home());
    assert!(!kept.iter().any(|path| path.to_string_lossy().contains("rdb")), "{kept:?}");
}
