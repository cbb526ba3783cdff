//! What a target would refuse is found out before anybody is asked: a right, a key pattern, a hidden command, a state or a limit
//! of the server. The plan is blocked with the reason and the target is as it was; what is not lacking blocks nothing.

use crate::support::{Bench, Done, Redis, Reply, text, unattended, wait};
use serde_json::Value;
use std::time::Duration;

fn check(asked: &Done, name: &str) -> (String, String) {
    let reply = asked.json();
    let checks = reply["prechecks"].as_array().unwrap_or_else(|| panic!("no prechecks: {reply}"));
    let check = checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {reply}"));
    (text(&check["status"]), text(&check["detail"]))
}

fn blocked(asked: &Done, name: &str, part: &str) {
    assert_eq!((asked.code, &asked.json()["status"]), (3, &"blocked".into()), "{asked:?}");
    let (status, detail) = check(asked, name);
    assert!(status == "block" && detail.contains(part), "{name} {status}, {part}: {detail}");
    assert_eq!(asked.json()["confirmation_token"], Value::Null);
}

const USER: &str = "username = \"bk\"\npassword = \"pw\"";
const LIBRARY: &str = "#!lua name=precious\nredis.register_function('f', function() return 1 end)";
/// What a user needs for the plan and for its safety backup.
const BASE: &str = "~* +psync +replconf +ping +info +command +select +config|get +module|list";

/// A target with data and a library, a set of it, and what was written since.
fn written_since(args: &[&str], more: &str, user: bool) -> (Redis, Bench, String) {
    let redis = Redis::start("redis-7.0", args);
    redis.run(&["SET", "a", "1"]);
    redis.run(&["FUNCTION", "LOAD", LIBRARY]);
    redis.run(&["ACL", "SETUSER", "bk", "on", ">pw", "~*", "+@all"]);
    let bench = Bench::new(&unattended(&redis, &format!("{more}\n{}", if user { USER } else { "" })));
    let backup = bench.backup();
    redis.run(&["SET", "new", "1"]);
    (redis, bench, backup)
}

fn as_user(redis: &Redis, rules: &str) {
    let rules: Vec<&str> = rules.split_whitespace().collect();
    redis.run(&[&["ACL", "SETUSER", "bk", "reset", "on", ">pw"][..], &rules].concat());
}

/// Each right that a step needs, by itself, on both ways; a user who may ask what they may do, and one who may not.
#[test]
fn a_right_that_lacks_is_found_out_before_the_yes() {
    let replication = [
        ("-config|set", "+config|set"),
        ("-replicaof", "+replicaof"),
        ("-config +config|get", "+config|set"),
        // Not asked by ACL DRYRUN: by a queue that is discarded.
        ("-acl -config|set", "+config|set"),
        // Nor by a queue: by a form of the command that no server carries out.
        ("-acl -multi -config|set", "+config|set"),
        ("-acl -multi -replicaof", "+replicaof"),
    ];
    let commands = [
        ("-flushall", "+flushall"),
        ("-restore", "+restore"),
        ("-function", "+function|flush +function|load"),
        ("-function|load", "+function|load"),
        ("-function|flush", "+function|flush"),
        ("-acl -function|flush", "+function|flush"),
        ("-acl -restore", "+restore ~*"),
        ("resetkeys ~app:*", "+restore ~*"),
        ("resetkeys ~a ~new", "+restore ~*"),
        ("resetkeys %R~*", "+restore ~*"),
        ("-acl resetkeys ~app:*", "+restore ~*"),
        ("-acl -multi resetkeys ~app:*", "+restore ~*"),
        ("-acl -multi -function|load", "+function|load"),
    ];
    for (way, lacks) in [("auto", &replication[..]), ("commands", &commands[..])] {
        // A cluster's node has one database, so nothing can be loaded beside.
        let one: &[&str] = if way == "commands" { &["--databases", "1"] } else { &[] };
        let (redis, bench, backup) = written_since(one, &format!("restore_way = \"{way}\""), true);
        let before = redis.digest();
        for (lack, named) in lacks {
            as_user(&redis, &format!("~* +@all {lack}"));
            let asked = bench.ask(&backup);
            if way == "auto" && asked.code == 0 {
                // It does not follow us then, and the plan says why.
                let (reply, detail) = (asked.json(), check(&asked, "restore_way").1);
                let command = named.trim_start_matches('+');
                assert!(reply["plan"]["way"] == "commands" && detail.contains(command), "{lack}: {detail}");
            } else {
                blocked(&asked, "restore_rights", named);
            }
            assert_eq!(redis.digest(), before, "{way} {lack}");
        }
        as_user(&redis, "~* +@all");
        let asked = bench.ask(&backup);
        assert_eq!((asked.code, check(&asked, "restore_rights").0), (0, "pass".into()), "{asked:?}");
        // Who may neither ask nor queue is told what nobody knows. Of replication each step has a form that is harmless; of what
        // deletes there is none.
        as_user(&redis, "~* +@all -acl -multi");
        let asked = bench.ask(&backup);
        let found = check(&asked, "restore_rights");
        let (status, told) = if way == "auto" { ("pass", "+replicaof") } else { ("warn", "could not be tested") };
        assert!(asked.code == 0 && found.0 == status && found.1.contains(told), "{way}: {found:?}");
        assert_eq!(redis.digest(), before);
        // Asking is no write: the plan that has asked still holds, and what is refused after all has touched nothing.
        let token = text(&asked.json()["confirmation_token"]);
        let done = bench.run(&Bench::echo(&backup, &token));
        assert_ne!(done.json()["code"], "plan.changed", "{way}: {done:?}");
    }
}

/// The least rights are enough, and functions need none where there are none.
#[test]
fn what_is_not_used_is_not_needed() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    redis.run(&["SET", "a", "1"]);
    as_user(&redis, &format!("{BASE} +restore +flushall +multi +discard"));
    let bench = Bench::new(&unattended(&redis, &format!("restore_way = \"commands\"\n{USER}")));
    let backup = bench.backup();
    redis.run(&["SET", "new", "1"]);
    let done = bench.restore(&backup);
    assert_eq!((done.code, redis.run(&["DBSIZE"])), (0, Reply::Int(1)), "{done:?}");
}

/// A restore counts as done once the target has it on disk: the right to see to that is asked for before anything is replaced, where
/// the target keeps its data there, and nowhere else.
#[test]
fn the_right_to_save_is_needed_where_the_target_saves() {
    for (keeps, lacks, needs) in [
        (["--save", "3600 1"], "-bgsave", "+bgsave"),
        (["--save", "3600 1"], "-acl -bgsave", "+bgsave"),
        (["--appendonly", "yes"], "-bgrewriteaof", "+bgrewriteaof"),
    ] {
        let (redis, bench, backup) = written_since(&keeps, "", true);
        as_user(&redis, &format!("~* +@all {lacks}"));
        blocked(&bench.ask(&backup), "restore_rights", needs);
        as_user(&redis, "~* +@all -debug");
        let done = bench.restore(&backup);
        assert_eq!((done.code, redis.run(&["DBSIZE"])), (0, Reply::Int(1)), "{done:?}");
    }
    let renamed = ["--save", "3600 1", "--rename-command", "BGSAVE", ""];
    let (redis, bench, backup) = written_since(&renamed, "", false);
    blocked(&bench.ask(&backup), "restore_rights", "no command for +bgsave");
    redis.run(&["CONFIG", "SET", "save", ""]);
    assert_eq!(bench.restore(&backup).code, 0);
}

/// Commands that the operator renamed away are named.
#[test]
fn a_hidden_command_blocks_its_way() {
    for hidden in ["RESTORE", "FLUSHALL", "FUNCTION"] {
        let redis = Redis::start("redis-7.0", &["--rename-command", hidden, "", "--databases", "1"]);
        redis.run(&["SET", "a", "1"]);
        let bench = Bench::new(&unattended(&redis, "restore_way = \"commands\""));
        let backup = bench.backup();
        redis.run(&["SET", "new", "1"]);
        let asked = bench.ask(&backup);
        if hidden == "FUNCTION" {
            // There is nothing that it would be needed for.
            assert_eq!(asked.code, 0, "{asked:?}");
        } else {
            blocked(&asked, "restore_rights", &format!("no command for +{}", hidden.to_lowercase()));
        }
        assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(2));
    }
}

/// A server that refuses writes, because it cannot save, refuses them after the yes as well.
#[test]
fn a_server_that_refuses_writes_now_is_no_target_for_commands() {
    let (redis, bench, backup) =
        written_since(&["--enable-protected-configs", "yes", "--databases", "1"], "restore_way = \"commands\"", false);
    // The safety backup of the blocked plan is not taken, so the plan is what says it.
    redis.run(&["CONFIG", "SET", "save", "3600 1"]);
    let gone = redis.dir.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    redis.run(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
    std::fs::remove_dir(&gone).unwrap();
    wait("a failed save", Duration::from_secs(30), || {
        redis.try_run(&["BGSAVE"]).ok();
        (redis.info("rdb_last_bgsave_status") == "err").then_some(())
    });
    blocked(&bench.ask(&backup), "restore_rights", "MISCONF");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(2));
}

/// A value that is longer than the target takes at once, by either of its limits.
#[test]
fn a_value_over_the_targets_own_limits() {
    let (redis, bench, _) = written_since(&[], "restore_way = \"commands\"", false);
    redis.run(&["SET", "large", &"x".repeat(3 << 20)]);
    redis.run(&["CONFIG", "SET", "rdbcompression", "no"]);
    let backup = bench.backup();
    for (limit, whole) in [("proto-max-bulk-len", "512mb"), ("client-query-buffer-limit", "1gb")] {
        redis.run(&["CONFIG", "SET", limit, "2mb"]);
        blocked(&bench.ask(&backup), "engine_compatible", &format!("{limit} is 2097152"));
        redis.run(&["CONFIG", "SET", limit, whole]);
    }
    assert_eq!(bench.ask(&backup).code, 0);
}

/// A target that would evict: the number is told, also where only its own settings make the set too large.
#[test]
fn a_target_that_would_evict_is_blocked_with_the_number() {
    for way in ["auto", "commands"] {
        let (redis, bench, _) = written_since(&[], &format!("restore_way = \"{way}\""), false);
        let lua = "for i=1,3000 do for f=1,60 do redis.call('HSET','h:'..i,'f'..f,f) end end";
        redis.run(&["EVAL", lua, "0"]);
        let used: u64 = redis.info("used_memory").parse().unwrap();
        let backup = bench.backup();
        redis.run(&["FLUSHALL"]);
        redis.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        redis.run(&["CONFIG", "SET", "maxmemory", &(used * 2 / 3).to_string()]);
        blocked(&bench.ask(&backup), "room_for_data", "would be evicted (maxmemory-policy allkeys-lru)");
        redis.run(&["CONFIG", "SET", "maxmemory", &(used * 3 / 2).to_string()]);
        let asked = bench.ask(&backup);
        assert_eq!((asked.code, check(&asked, "room_for_data").0), (0, "pass".into()), "{asked:?}");
        // The same memory, and a target that does not pack hashes.
        redis.run(&["CONFIG", "SET", "hash-max-listpack-entries", "0"]);
        blocked(&bench.ask(&backup), "room_for_data", "180000 elements that the set has packed");
    }
}

/// What is there beside keys, and what of the set will not be there, stands in what the person is shown.
#[test]
fn libraries_and_expired_keys_are_told() {
    let (redis, bench, _) = written_since(&[], "", false);
    for n in 0..5 {
        redis.run(&["SET", &format!("soon:{n}"), "1", "PX", "60"]);
    }
    // Sets hold what has expired and was not looked at since.
    redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let backup = bench.backup();
    wait("the expiry", Duration::from_secs(5), || (redis.run(&["PTTL", "soon:0"]) == Reply::Int(-2)).then_some(()));
    let asked = bench.ask(&backup);
    let impact = &asked.json()["impact"];
    let part = |name: &str| text(&impact[name]);
    assert!(part("now").contains("1 function library (precious)"), "{impact}");
    assert!(part("lost").contains("1 function library (precious)"), "{impact}");
    assert!(
        part("after").contains("7 keys (db0 7), 5 of which have expired by now and will be gone, 1 function library"),
        "{impact}"
    );
    redis.run(&["FUNCTION", "FLUSH"]);
    let asked = bench.ask(&backup);
    assert!(!text(&asked.json()["impact"]["now"]).contains("function"), "{asked:?}");
}
