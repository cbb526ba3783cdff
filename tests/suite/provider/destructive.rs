//! What destroyed data on real servers of every engine, through the real archiver: however a server passes it on, it is found, nothing
//! else is, and the position given leads to the state exactly before it.

use crate::support::log::{LONG, Service, archived_to, log_until, position};
use crate::support::{Bench, MATRIX, Redis, Reply, text, wait};
use serde_json::Value;

fn logging(redis: &Redis) -> Bench {
    Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n[backup_log]\nseal_seconds = 1\n\
         [[instance]]\nid = \"orders\"\nurl = \"{}\"\nenable_backup_log = true\n",
        redis.url()
    ))
}

/// A service that keeps the log, once it does.
fn archiving(bench: &Bench) -> Service {
    let service = Service::start(bench);
    log_until(bench, "a window", |log| log["window"].is_object());
    service
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn destructive(bench: &Bench) -> Value {
    bench.json(&["describe-backups", "--instance-id", "orders", "--include", "destructive", "--page-size", "100"])
}

/// All that destroyed data: command, number of commands and keys, what the keys begin with, whether it may be something else.
fn events(reply: &Value) -> Vec<(String, u64, u64, String, bool)> {
    let field = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let number = |event: &Value, name: &str| event[name].as_u64().unwrap_or_default();
    let rows = reply["destructive"]["events"].as_array().unwrap();
    let mut all: Vec<_> = rows
        .iter()
        .map(|e| {
            let may_be = field(e, "note").contains("may ");
            (field(e, "command"), number(e, "commands"), number(e, "keys"), field(e, "key_prefix"), may_be)
        })
        .collect();
    all.sort();
    all
}

/// Twelve lines, each with another number for `#`.
fn twelve(line: &str) -> Vec<Vec<String>> {
    (0..12).map(|n| words(&line.replace('#', &n.to_string()))).collect()
}

/// What each engine makes of what removes, replaces and trims: scripts, pops, expiries and evictions come as other commands.
#[test]
fn every_engine_tells_what_destroyed_data() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || one_engine_tells(kind));
        }
    });
}

fn one_engine_tells(kind: &str) {
    let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
    redis.run(&["SET", "first", "1"]);
    let bench = logging(&redis);
    let service = archiving(&bench);
    let run = |lines: Vec<Vec<String>>| drop(redis.try_all(&lines).unwrap());
    // What the server removes by itself it removes by this.
    let own = if kind.starts_with("valkey") { "UNLINK" } else { "DEL" };
    let mut expected: Vec<(String, u64, u64, String, bool)> = Vec::new();
    let mut tells = |command: &str, commands: u64, keys: u64, prefix: &str, may_be: bool| {
        expected.push((command.into(), commands, keys, prefix.into(), may_be));
    };

    run(twelve("SET d:# 1"));
    run(vec![std::iter::once("DEL".to_owned()).chain((0..12).map(|n| format!("d:{n}"))).collect()]);
    tells("DEL", 1, 12, "d:", false);
    run(twelve("SET u:# 1"));
    run(twelve("UNLINK u:#"));
    tells("UNLINK", 12, 12, "u:", true);
    run(twelve("SET few:# 1").into_iter().take(9).collect());
    run(twelve("DEL few:#"));

    run(twelve("SET s:# 1"));
    redis.run(&["EVAL", "for n = 0, 11 do redis.call('DEL', 's:' .. n) end", "0"]);
    tells("DEL", 12, 12, "s:", false);
    run(twelve("SADD all:# a b"));
    run(twelve("SPOP all:# 5"));
    tells(own, 12, 12, "all:", true);
    run(twelve("SADD some:# a b c"));
    run(twelve("SPOP some:#"));
    tells("SREM", 12, 12, "some:", true);
    run(twelve("SET g:# 1"));
    run(twelve("GETDEL g:#"));
    tells("DEL", 12, 12, "g:", true);
    run(twelve("SET past:# 1"));
    run(twelve("EXPIRE past:# -1"));
    tells(own, 12, 12, "past:", true);
    let expired = || redis.info("expired_keys").parse::<u64>().unwrap();
    let before = expired();
    run(twelve("SET ex:# 1 PX 30"));
    tells(own, 12, 12, "ex:", true);
    if ["redis-8.0", "redis-8.2", "valkey-9.1"].contains(&kind) {
        run(twelve("HSET h:# a 1 b 2"));
        run(twelve("HPEXPIRE h:# 30 FIELDS 1 a"));
        tells("HDEL", 12, 12, "h:", true);
        wait("the fields to expire", LONG, || (redis.run(&["HLEN", "h:11"]) == Reply::Int(1)).then_some(()));
    }
    // Expired by the server itself, and not by a look at the key.
    wait("the keys to expire", LONG, || (expired() >= before + 12).then_some(()));

    run(twelve("RPUSH l:# 1 2 3"));
    run(twelve("LTRIM l:# 0 0"));
    tells("LTRIM", 12, 12, "l:", true);
    run(twelve("XADD x:# * f v"));
    run(twelve("XTRIM x:# MAXLEN 0"));
    tells("XTRIM", 12, 12, "x:", true);
    run(twelve("ZADD z:# 1 a 2 b"));
    run(twelve("ZREMRANGEBYRANK z:# 0 0"));
    tells("ZREMRANGEBYRANK", 12, 12, "z:", true);
    // What only some engines know, and what they make of it.
    if kind.starts_with("redis-8") {
        run(twelve("VADD v:# VALUES 1 1 a"));
        run(twelve("VREM v:# a"));
        tells("VREM", 12, 12, "v:", true);
    }
    if ["redis-8.0", "redis-8.2", "valkey-9.1"].contains(&kind) {
        run(twelve("HSET hg:# a 1 b 2"));
        run(twelve("HGETDEL hg:# FIELDS 1 a"));
        tells(if kind == "valkey-9.1" { "HGETDEL" } else { "HDEL" }, 12, 12, "hg:", true);
        run(twelve("HSET hs:# a 1 b 2"));
        run(twelve("HSETEX hs:# PXAT 1 FIELDS 1 a 2"));
        tells("HDEL", 12, 12, "hs:", true);
        run(twelve("HSET he:# a 1 b 2"));
        run(twelve("HGETEX he:# PXAT 1 FIELDS 1 a"));
        tells("HDEL", 12, 12, "he:", true);
    }
    if kind == "redis-8.2" {
        run(twelve("XADD xd:# 1-1 f v"));
        run(twelve("XDELEX xd:# IDS 1 1-1"));
        tells("XDELEX", 12, 12, "xd:", true);
        run(twelve("XADD xa:# 1-1 f v"));
        run(twelve("XGROUP CREATE xa:# g 0"));
        run(twelve("XREADGROUP GROUP g c STREAMS xa:# >"));
        run(twelve("XACKDEL xa:# g IDS 1 1-1"));
        tells("XACKDEL", 12, 12, "xa:", true);
    }
    if kind == "valkey-9.1" {
        run(twelve("SET if:# v"));
        run(twelve("DELIFEQ if:# v"));
        tells("DEL", 12, 12, "if:", true);
    }
    run(twelve("SET px:# 1"));
    run(twelve("GETEX px:# PXAT 1"));
    tells(own, 12, 12, "px:", true);
    run(twelve("LPOP l:#"));
    run(twelve("SET t:# 1 EX 1000"));
    run(twelve("EXPIRE t:# 2000"));

    run(["SET a:1 1", "SET b:1 1", "RENAME a:1 b:1", "RENAMENX b:1 c:1", "MOVE c:1 9"].map(words).into());
    tells("RENAME", 1, 1, "b:1", true);
    run(["SET a:1 1", "SET b:1 1", "COPY a:1 b:2", "COPY a:1 b:1 REPLACE"].map(words).into());
    tells("COPY", 1, 1, "b:1", true);
    redis.run(&["EVAL", "redis.call('RESTORE', 'b:1', 0, redis.call('DUMP', 'a:1'), 'REPLACE')", "0"]);
    tells("RESTORE", 1, 1, "b:1", true);
    run(["SELECT 3", "SET q 1", "FLUSHDB", "SET q 1", "EVAL redis.call('FLUSHDB') 0", "SWAPDB 3 4"].map(words).into());
    tells("FLUSHDB", 1, 0, "", false);
    tells("FLUSHDB", 1, 0, "", false);
    tells("SWAPDB 3 4", 1, 0, "", false);
    if kind != "redis-6.2" {
        let library = "#!lua name=f\nredis.register_function('f', function() for n = 0, 11 do redis.call('UNLINK', 'f:' .. n) end end)";
        redis.run(&["FUNCTION", "LOAD", library]);
        run(twelve("SET f:# 1"));
        run(vec![words("FCALL f 0"), words("FUNCTION FLUSH")]);
        tells("UNLINK", 12, 12, "f:", false);
        tells("FUNCTION FLUSH", 1, 0, "", false);
    }
    run(["MULTI", "SET q 1", "FLUSHALL ASYNC", "EXEC"].map(words).into());
    tells("FLUSHALL", 1, 0, "", false);

    // Evicted for want of memory.
    let value = "x".repeat(20_000);
    (0..200).for_each(|n| drop(redis.run(&["SET", &format!("ev:{n}"), &value])));
    let used: u64 = redis.info("used_memory").parse().unwrap();
    redis.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    redis.run(&["CONFIG", "SET", "maxmemory", &(used - 1_000_000).to_string()]);
    redis.run(&["SET", "one", "more"]);
    redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let evicted: u64 = redis.info("evicted_keys").parse().unwrap();
    assert!(evicted > 12, "{kind}: {evicted}");

    archived_to(&bench, position(&redis).1);
    let reply = destructive(&bench);
    let mut found = events(&reply);
    let (at, _) =
        found.iter().enumerate().find(|(_, e)| e.3.starts_with("ev:")).unwrap_or_else(|| panic!("{kind}: {reply}"));
    let eviction = found.remove(at);
    // Other keys may have been among them.
    assert!(eviction.0 == own && eviction.4 && eviction.2 + 5 > evicted, "{kind}: {eviction:?}, {evicted}");
    expected.sort();
    assert_eq!(found, expected, "{kind}");
    assert_eq!(
        (&reply["total"], &reply["destructive"]["gaps"]),
        (&(expected.len() + 1).into(), &Value::Null),
        "{kind}"
    );
    assert_eq!(service.ask_to_end(), Some(0));
}

/// The position of each, given to a restore, brings back exactly what was there before that command, though others were written right
/// before and behind it in one go: a server that was given the same up to there has the same digest.
#[test]
fn the_position_is_right_before_the_damage() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || one_engine_goes_back(kind));
        }
    });
}

fn one_engine_goes_back(kind: &str) {
    let [redis, twin] = [(); 2].map(|()| Redis::start(kind, &["--repl-backlog-size", "64mb"]));
    let write = |round: usize| -> Vec<Vec<String>> {
        let each = |n: usize| {
            ["SELECT 0", "SET cart:# v", "RPUSH orders #", "SELECT 1", "HSET stock:# left #", "SELECT 0"]
                .map(|line| words(&line.replace('#', &(round * 100 + n).to_string())))
        };
        (0..40).flat_map(each).collect()
    };
    let damages: [(&str, Vec<Vec<String>>); 4] = [
        ("DEL", (0..40).map(|n| words(&format!("DEL cart:{n}"))).collect()),
        ("FLUSHDB", vec![words("SELECT 1"), words("EVAL redis.call('FLUSHDB') 0")]),
        ("SWAPDB 0 1", vec![words("SWAPDB 0 1")]),
        ("FLUSHALL", vec![words("FLUSHALL")]),
    ];
    redis.try_all(&write(0)).unwrap();
    twin.try_all(&write(0)).unwrap();
    let bench = logging(&redis);
    let service = archiving(&bench);
    let mut before = Vec::new();
    for (round, (command, damage)) in damages.iter().enumerate() {
        let (lead, behind) = (write(2 * round + 1), write(2 * round + 2));
        redis.try_all(&[lead.as_slice(), damage, &behind].concat()).unwrap();
        twin.try_all(&lead).unwrap();
        before.push((*command, twin.digest()));
        twin.try_all(&[damage.as_slice(), &behind].concat()).unwrap();
    }
    assert_eq!(redis.digest(), twin.digest(), "{kind}");
    archived_to(&bench, position(&redis).1);
    let reply = destructive(&bench);
    assert_eq!(service.ask_to_end(), Some(0));
    assert_eq!(
        reply["destructive"]["restore_instance"]["before_position"],
        reply["destructive"]["events"][0]["position"]
    );
    for (command, digest) in &before {
        let rows = reply["destructive"]["events"].as_array().unwrap();
        let event = rows.iter().find(|event| event["command"] == *command).unwrap_or_else(|| panic!("{kind}: {reply}"));
        let position = text(&event["position"]);
        let call = ["restore-instance", "--instance-id", "orders", "--before-position", &position, "--json"];
        let planned = bench.run(&call);
        assert_eq!(planned.code, 0, "{kind}, {command}: {planned:?}");
        let token = text(&planned.json()["confirmation_token"]);
        let done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
        assert_eq!(done.code, 0, "{kind}, {command}: {done:?}");
        assert_eq!(&redis.digest(), digest, "{kind}, {command}: {done:?}");
    }
}
