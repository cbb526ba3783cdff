//! `compare-backups`: 0 where nothing differs and 1 where something does, as a table and as JSON; of sets, of two instances, of what an
//! instance holds now; and whatever is no state is refused by its name.

use crate::support::{Bench, Done, Redis, wait};
use std::time::Duration;

fn compare(bench: &Bench, args: &[&str]) -> Done {
    bench.run(&[&["compare-backups", "--instance-id", "orders"], args].concat())
}

fn two_instances(orders: &Redis, staging: &Redis) -> Bench {
    let instance = |id: &str, redis: &Redis| format!("[[instance]]\nid = \"{id}\"\nurl = \"{}\"\n", redis.url());
    Bench::new(&(instance("orders", orders) + &instance("staging", staging)))
}

#[test]
fn sets_and_what_is_there_now() {
    let (redis, other) = (Redis::start("redis-7.0", &[]), Redis::start("valkey-8.1", &[]));
    for server in [&redis, &other] {
        server.run(&["MSET", "user:1", "1", "user:2", "2", "cart:1", "3"]);
    }
    let bench = two_instances(&redis, &other);
    let first = bench.backup();
    // One set's values by what they hold, however they came there.
    redis.run(&["SET", "user:1", "9"]);
    redis.run(&["SET", "user:1", "1"]);
    let same = compare(&bench, &[&first]);
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.out.contains("keys   0 lost, 0 changed, 0 added, 3 stay as they are"), "{same:?}");
    let elsewhere = compare(&bench, &[&first, "now", "--to-instance-id", "staging"]);
    assert_eq!(elsewhere.code, 0, "{elsewhere:?}");
    assert!(elsewhere.out.contains("to   staging"), "{elsewhere:?}");

    redis.run(&["SET", "user:1", "9"]);
    redis.run(&["DEL", "cart:1"]);
    redis.run(&["SET", "a\nb:\u{202e}1", "1"]);
    let different = compare(&bench, &[&first]);
    assert_eq!(different.code, 1, "{different:?}");
    assert!(different.out.contains("keys   1 lost, 1 changed, 1 added, 1 stay as they are"), "{different:?}");
    assert!(different.out.contains("lost db0 cart:1 (") && different.err.is_empty(), "{different:?}");
    assert!(different.out.contains(r"a\nb:") && !different.out.contains('\u{202e}'), "{different:?}");
    let json = compare(&bench, &[&first, "now", "--json"]).json();
    assert_eq!((&json["equal"], &json["keys"]["lost"]), (&false.into(), &1.into()), "{json}");
    assert_eq!((&json["from"]["backup_id"], json["to"].get("backup_id")), (&first.as_str().into(), None), "{json}");
    assert_eq!(bench.jobs().len(), 1, "what is there now is looked at, not kept");

    // Several at once, of what is there now and of sets, do not meet.
    let told = std::thread::scope(|scope| {
        let one = |args: &'static [&'static str]| {
            let (bench, first) = (&bench, &first);
            scope.spawn(move || compare(bench, &[&[first.as_str()], args].concat()))
        };
        let all = [one(&["now", "--json"]), one(&["now", "--json"]), one(&["now", "--json"])];
        all.map(|thread| thread.join().unwrap().json())
    });
    assert!(told.iter().all(|one| one["keys"] == json["keys"]), "{told:?}");
}

/// States without any key are compared as any; and of functions it is told that they are not the same, and nothing of their code.
#[test]
fn nothing_at_all_and_functions() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let empty = bench.backup();
    for to in [empty.as_str(), "now"] {
        let same = compare(&bench, &[&empty, to]);
        assert_eq!(same.code, 0, "{same:?}");
        assert!(same.out.contains("keys   0 lost, 0 changed, 0 added, 0 stay as they are"), "{same:?}");
    }
    let library = |n: u32| format!("#!lua name=mylib\nredis.register_function('f', function() return {n} end)");
    redis.run(&["FUNCTION", "LOAD", &library(1)]);
    let one = bench.backup();
    redis.run(&["FUNCTION", "LOAD", "REPLACE", &library(2)]);
    for (from, to, differ) in [(&empty, one.as_str(), true), (&one, "now", true), (&one, &one, false)] {
        let done = compare(&bench, &[from, to]);
        assert_eq!(
            (done.code, done.out.contains("functions are not the same")),
            (i32::from(differ), differ),
            "{done:?}"
        );
        assert!(!done.out.contains("mylib"), "{done:?}");
        let json = compare(&bench, &[from, to, "--json"]).json();
        assert_eq!((&json["equal"], json["keys"]["libraries_differ"] == true), (&(!differ).into(), differ), "{json}");
    }
}

/// Two sets at rest are compared as each was at its own moment: what was deleted is lost, although its expiry has passed since.
#[test]
fn sets_are_judged_by_their_own_moments() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "stays", "1"]);
    let bench = Bench::unattended(&redis);
    let moment = |of: &serde_json::Value| of["moment"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // Longer where the machine is so busy that it had expired before the second set was begun.
    let (first, second, forth) = ["4000", "20000", "100000"]
        .into_iter()
        .find_map(|life| {
            redis.run(&["SET", "deleted", "1", "PX", life]);
            redis.run(&["SET", "expiring", "1", "PX", "20"]);
            let until: i64 = redis.run(&["PEXPIRETIME", "deleted"]).text().parse().unwrap();
            let first = bench.backup();
            redis.run(&["DEL", "deleted"]);
            let second = bench.backup();
            let now = || jiff::Timestamp::now().as_millisecond();
            wait("the expiry to pass", Duration::from_secs(120), || (now() > until).then_some(()));
            let forth = compare(&bench, &[&first, &second, "--json"]).json();
            (moment(&forth["to"]).as_millisecond() < until).then_some((first, second, forth))
        })
        .unwrap();
    assert_eq!(forth["at"], forth["to"]["moment"], "{forth}");
    assert_eq!((&forth["keys"]["lost"], &forth["keys"]["untouched"]), (&1.into(), &1.into()), "{forth}");
    let back = compare(&bench, &[&second, &first, "--json"]).json();
    assert_eq!((&back["keys"]["added"], &back["at"]), (&1.into(), &forth["at"]), "{back}");
    // A restore is judged by when it would serve.
    let plan = bench.ask(&first).json();
    assert_eq!((&plan["impact"]["keys"]["added"], &plan["impact"]["keys"]["lost"]), (&0.into(), &0.into()), "{plan}");
}

/// More databases than anybody needs are backed up, listed and compared as any.
#[test]
fn a_server_with_very_many_databases() {
    let redis = Redis::start("redis-7.0", &["--databases", "20000"]);
    let fill = "for db = 0, 16999 do redis.call('SELECT', db) redis.call('SET', 'k', ARGV[1]) end";
    redis.run(&["EVAL", fill, "0", "a"]);
    let bench = Bench::unattended(&redis);
    let first = bench.backup();
    let listed = bench.run(&["describe-backups", "--instance-id", "orders", "--json"]).out;
    assert!(listed.len() < 10_000, "{} bytes: {}", listed.len(), &listed[..2000]);
    redis.run_in(16_500, &["SET", "k", "b"]);
    let json = compare(&bench, &[&first, "--json"]).json();
    assert_eq!((&json["keys"]["changed"], &json["keys"]["untouched"]), (&1.into(), &16_999.into()), "{json}");
    assert_eq!((&json["keys"]["rows"][0]["db"], json["keys"]["rows"].as_array().unwrap().len()), (&16_500.into(), 1));
}

#[test]
fn what_is_no_state_is_refused() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let set = bench.backup();
    let refused = |args: &[&str], code: i32, stable: &str| {
        let done = compare(&bench, args);
        assert!(done.code == code && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    };
    refused(&["b-none"], 4, "backup.not_found");
    refused(&[&set, "2026-11-23T06:15:00"], 2, "time.bad_format");
    refused(&[&set, "2026-11-23T06:15:00Z"], 4, "compare.no_moment");
    refused(&[&set, "rj-none"], 4, "job.not_found");
    refused(&["../x"], 2, "position.bad_format");
    refused(&[&set, "now", "--to-instance-id", "order"], 4, "instance.not_found");
    let reading = bench.run(&["--read-only", "compare-backups", "--instance-id", "orders", &set]);
    assert!(reading.code == 3 && reading.err.contains("[mode.read_only]"), "{reading:?}");
    let sets = ["--read-only", "compare-backups", "--instance-id", "orders", &set, &set];
    assert_eq!(bench.run(&sets).code, 0);
    let help = bench.run(&["compare-backups", "--help"]).out;
    for part in [
        "Examples:",
        "Exit codes: 0 nothing differs, 1 something does",
        "5 instead of 1",
        "what the instance holds now",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    // What cannot be compared is no difference either, whoever looks at the exit code alone.
    redis.run(&["EVAL", "redis.call('SET', string.rep('k', 17000000), 1)", "0"]);
    let long = bench.backup();
    refused(&[&long, &long], 5, "compare.unreadable");
    redis.run(&["FLUSHALL"]);
    // What is damaged is named, and is no difference.
    let path = bench.home().join("vault/orders").join(&set).join("data.rdb.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(&[&set, "now"], 6, "compare.damaged");
}
