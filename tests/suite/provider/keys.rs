//! Restores of some keys: those that match become what they were, those that were not there then are gone, and every other key is as it
//! was, to the byte: on every server, of every type, whatever bytes a key has, whoever writes meanwhile, and whatever ends the program.

use crate::provider::cutover::{Proxy, Tap, contains};
use crate::provider::moment_log::now;
use crate::support::preload::Preload;
use crate::support::recorder::Recorder;
use crate::support::{Bench, Dice, Done, MATRIX, Redis, Reply, finish, program, text, unattended, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tair_backup_mcp::redis::resp::Value as Raw;
use tair_backup_mcp::redis::slots::slot;

/// What a server holds: by database and key a digest of the value, and when the key expires, to ten seconds.
pub type State = BTreeMap<(u64, Vec<u8>), (String, Option<u64>)>;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Reads all that a server holds.
pub fn state(redis: &Redis) -> State {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn = redis.conn().await;
        let mut state = State::new();
        for db in 0..16_u64 {
            if conn.cmd_str(&["SELECT", &db.to_string()]).await.is_err() {
                break;
            }
            let mut cursor = b"0".to_vec();
            loop {
                let Raw::Array(page) = conn.cmd(&[b"SCAN", &cursor, b"COUNT", b"1000"]).await.unwrap() else {
                    panic!()
                };
                let [Raw::Bulk(next), Raw::Array(keys)] = page.as_slice() else { panic!("{page:?}") };
                for key in keys {
                    let Raw::Bulk(key) = key else { panic!("{key:?}") };
                    let Raw::Array(digest) = conn.cmd(&[b"DEBUG", b"DIGEST-VALUE", key]).await.unwrap() else {
                        panic!()
                    };
                    let left = conn.cmd(&[b"PTTL", key]).await.unwrap().as_int().unwrap();
                    let expires = u64::try_from(left).ok().map(|left| (now_ms() + left + 5000) / 10_000);
                    state.insert((db, key.clone()), (digest[0].as_str().unwrap().to_owned(), expires));
                }
                cursor.clone_from(next);
                if cursor == b"0" {
                    break;
                }
            }
        }
        state
    })
}

/// A command of any bytes.
fn raw(redis: &Redis, db: u64, args: &[&[u8]]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn = redis.conn().await;
        conn.cmd_str(&["SELECT", &db.to_string()]).await.unwrap();
        conn.cmd(args).await.unwrap();
    });
}

/// What should be there: of keys that match what was there then, of all others what is there now.
pub fn expected(then: &State, now: &State, matches: impl Fn(&[u8]) -> bool) -> State {
    let of = |state: &State, matched: bool| {
        let state = state.iter().filter(|((_, key), _)| matches(key) == matched);
        state.map(|(key, value)| (key.clone(), value.clone())).collect::<State>()
    };
    let mut all = of(then, true);
    all.extend(of(now, false));
    all
}

/// Shows that two states are one; else which keys differ.
fn same(found: &State, wanted: &State, what: &str) {
    let missing = |of: &State, other: &State| -> Vec<String> {
        let differing = of.iter().filter(|(key, value)| other.get(*key) != Some(value));
        differing.map(|((db, key), value)| format!("db{db} {} {value:?}", String::from_utf8_lossy(key))).collect()
    };
    let (found_alone, wanted_alone) = (missing(found, wanted), missing(wanted, found));
    assert!(
        found_alone.is_empty() && wanted_alone.is_empty(),
        "{what}: found {found_alone:#?}, wanted {wanted_alone:#?}"
    );
}

fn call<'a>(source: [&'a str; 2], keys: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let call = ["restore-instance", "--instance-id", "orders", source[0], source[1], "--filter-key", keys, "--json"];
    [&call[..], more].concat()
}

/// The first call, which must make a plan.
pub fn plan(bench: &Bench, source: [&str; 2], keys: &str) -> Value {
    let planned = bench.run(&call(source, keys, &[]));
    assert_eq!((planned.code, &planned.json()["status"]), (0, &"confirmation_required".into()), "{planned:?}");
    planned.json()
}

/// Both calls: the plan, and the end.
pub fn restore(bench: &Bench, source: [&str; 2], keys: &str) -> (Value, Done) {
    let planned = plan(bench, source, keys);
    let token = text(&planned["confirmation_token"]);
    let done = bench.run(&call(source, keys, &["--confirmation-token", &token]));
    (planned, done)
}

pub fn succeeded(done: &Done) -> String {
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    text(&done.json()["message"])
}

fn check(plan: &Value, name: &str) -> (String, String) {
    let checks = plan["prechecks"].as_array().unwrap_or_else(|| panic!("{plan}"));
    let check = checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {plan}"));
    (text(&check["status"]), text(&check["detail"]))
}

/// Keys that nobody means to have, all with this beginning.
fn hostile(begin: &str) -> Vec<Vec<u8>> {
    let ends: [&[u8]; 6] = [b"\0\xff\xfe", b"a\r\nb\n", b"a,b,c", b"{tag}*?[x]", b"", "ü用户".as_bytes()];
    let long = vec![b'x'; 100 << 10];
    ends.into_iter().chain([long.as_slice()]).map(|end| [begin.as_bytes(), end].concat()).collect()
}

/// Of each type and encoding some are kept, changed, deleted and added, in several databases; of hostile keys too.
#[test]
fn what_matches_becomes_what_it_was_and_nothing_else_changes() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || becomes_what_it_was(kind));
        }
    });
}

const LIST: &str = "hash:.*,(zset|list):.*,stream:groups,expiring:.*,bad:.*,later:.*,compressible:1...";

fn in_list(key: &[u8]) -> bool {
    let begins = ["hash:", "zset:", "list:", "expiring:", "bad:", "later:"];
    let compressible = key.len() == 17 && key.starts_with(b"compressible:1");
    begins.iter().any(|begin| key.starts_with(begin.as_bytes())) || key == b"stream:groups" || compressible
}

fn becomes_what_it_was(kind: &str) {
    let redis = Redis::start(kind, &[]);
    redis.fill(0, 1);
    // Expiries are compared by ten seconds: these lie in the middle of such.
    let [expiry, later] = [100_000, 9_000].map(|tens| ((now_ms() / 10_000 + tens) * 10_000).to_string());
    for db in [0, 2] {
        for key in hostile("bad:").iter().chain(&hostile("good:")) {
            raw(&redis, db, &[b"SET", key, b"then"]);
        }
        raw(&redis, db, &[b"PEXPIREAT", &hostile("bad:")[0], expiry.as_bytes()]);
    }
    redis.run(&["SET", "bad:passed", "then", "PX", "1500"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let mut then = state(&redis);
    then.retain(|(_, key), _| key != b"bad:passed");
    let functions = redis.try_run(&["FUNCTION", "LIST", "WITHCODE"]).unwrap().text();

    // Every third key is left alone, every third changed in value or expiry, every third deleted.
    for (n, (db, key)) in then.keys().enumerate() {
        match n % 6 {
            1 => raw(&redis, *db, &[b"SET", key, b"now"]),
            2 | 5 => raw(&redis, *db, &[b"DEL", key]),
            4 => raw(&redis, *db, &[b"PEXPIREAT", key, later.as_bytes()]),
            _ => {}
        }
    }
    for db in [0, 1, 7] {
        for key in [&b"later:\xff\n"[..], b"hash:later", b"untouched:later", b"bad", b"xbad:1", b"stream:groups2"] {
            raw(&redis, db, &[b"SET", key, b"added"]);
        }
    }
    wait("the expiry to pass", Duration::from_secs(10), || {
        (redis.run(&["EXISTS", "bad:passed"]) == Reply::Int(0)).then_some(())
    });
    redis.run(&["SET", "bad:passed", "lives again"]);
    let now = state(&redis);

    let source = ["--backup-id", backup.as_str()];
    let (planned, done) = restore(&bench, source, LIST);
    let message = succeeded(&done);
    println!("{kind}: {message}");
    assert!(message.contains("nothing was written after it") && !message.contains("not known"), "{message}");
    let wanted = expected(&then, &now, in_list);
    same(&state(&redis), &wanted, &format!("{kind}: {message}"));
    assert_eq!(redis.try_run(&["FUNCTION", "LIST", "WITHCODE"]).unwrap().text(), functions, "{kind}");

    // The plan had counted what the end says.
    let matched = then.keys().filter(|(_, key)| in_list(key)).count();
    let there = now.keys().filter(|(_, key)| in_list(key)).count();
    let removed = now.keys().filter(|(db, key)| in_list(key) && !then.contains_key(&(*db, key.clone()))).count();
    assert!(message.contains(&format!("restored {matched} keys that match")), "{matched}: {message}");
    assert!(
        message.contains(&format!(
            "{removed} keys that match and were not there then, or have expired since, are removed"
        )),
        "{removed}: {message}"
    );
    assert!(message.contains("1 more had an expiry that has passed"), "{message}");
    let lost = text(&planned["impact"]["lost"]);
    assert!(
        lost.contains(&format!("of {there} keys that match now"))
            && lost.contains(&format!("{removed} that were not there then, or have expired since, are DELETED")),
        "{lost}"
    );
    assert!(text(&planned["impact"]["after"]).starts_with(&format!("{matched} keys that match")), "{planned}");
    assert_eq!((&planned["plan"]["way"], &planned["plan"]["filter_key"]), (&"keys".into(), &LIST.into()), "{planned}");
    let (status, detail) = check(&planned, "filter_key");
    assert!(
        status == "pass"
            && detail.contains("whole keys are matched")
            && detail.contains("later:.*: 0 in the source, 3 in the instance"),
        "{detail}"
    );

    // Job and audit have both in figures.
    let job = bench.jobs().into_iter().find(|job| job["kind"] == "restore").unwrap();
    let figures = json!({"source": matched, "target": matched, "agreement": "same", "of_some_keys": true});
    assert_eq!(job["key_statistics"], figures, "{job}");
    let told = format!("key statistics: source {matched} keys that match; target {matched} keys that match (when");
    assert!(bench.run(&["audit", "--json"]).out.contains(&told), "{told}");

    // The way back is as gentle as the act: what has been written to other keys since stays.
    redis.run(&["SET", "written", "since"]);
    let back = text(&planned["impact"]["way_back"]);
    assert!(back.ends_with(&format!("and filter_key {LIST}")), "{back}");
    let safety = text(&done.json()["plan"]["safety_backup_id"]);
    let (_, undone) = restore(&bench, ["--backup-id", &safety], LIST);
    succeeded(&undone);
    let mut was = now;
    was.extend(state(&redis).into_iter().filter(|((_, key), _)| key == b"written"));
    same(&state(&redis), &was, &format!("{kind}: the way back"));
}

/// Clients go on writing other keys, and none of that is lost; what they write is in the reckoning of the way back.
#[test]
fn writers_of_other_keys_go_on() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "60000", "user", "100"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["EVAL", "for n = 0, 59999 do redis.call('SET', 'user:' .. n, 'spoilt') end", "0"]);
    let done = AtomicBool::new(false);
    let (message, accepted) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let batch: Vec<Vec<String>> =
                    (0..20).map(|_| vec!["INCR".to_owned(), "other:count".to_owned()]).collect();
                for reply in redis.try_all(&batch).unwrap() {
                    let Reply::Int(n) = reply else { panic!("{reply:?}") };
                    assert_eq!(n, last + 1, "no accepted write is taken back");
                    last = n;
                }
            }
            last
        });
        wait("writes", Duration::from_secs(20), || {
            (redis.run(&["EXISTS", "other:count"]) == Reply::Int(1)).then_some(())
        });
        let (_, end) = restore(&bench, ["--backup-id", &backup], "user:.*");
        done.store(true, Ordering::SeqCst);
        (succeeded(&end), writer.join().unwrap())
    });
    assert!(message.contains("restored 60000 keys") && message.contains("taken after the yes"), "{message}");
    assert_eq!(redis.run(&["GET", "other:count"]).text(), accepted.to_string());
    assert!(redis.run(&["GET", "user:59999"]).text() != "spoilt");
}

/// Clients write matching keys while they are restored: a key is never gone or half written, those that nobody writes become what they were,
/// what is written last stays, and the plan says so. Whatever does not match is as its clients left it.
#[test]
fn writers_of_matching_keys_are_told() {
    const KEYS: u32 = 40_000;
    let redis = Redis::start("valkey-8.1", &[]);
    let of_each = "local all = {} for n = 100, 39999 do all[#all + 1] = redis.call('GET', 'user:' .. n) end return redis.sha1hex(table.concat(all))";
    let fill = |value: &str| {
        let script = "for n = 0, 39999 do redis.call('SET', 'user:' .. n, ARGV[1] .. n) end";
        redis.run(&["EVAL", script, "0", value]);
    };
    fill("then:");
    redis.run(&["SET", "other", "then"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let then = redis.run(&["EVAL", of_each, "0"]);
    fill("spoilt:");
    redis.run(&["SET", "other", "now"]);
    let (done, size) = (AtomicBool::new(false), || redis.run(&["DBSIZE"]).text().parse::<u32>().unwrap());
    let written = |value: &str, n: u32| ["then", "spoilt", "live"].contains(&value.trim_end_matches(&format!(":{n}")));
    let (planned, message, rounds) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 0_u32;
            while !done.load(Ordering::SeqCst) {
                round += 1;
                let set = |key: String, value: String| vec!["SET".to_owned(), key, value];
                let (n, new) = (round % 100, format!("user:new:{}", round % 1000));
                let read = (0..100).map(|n| format!("user:{n}"));
                let batch = vec![
                    set(format!("user:{n}"), format!("live:{n}")),
                    set(new, "live".into()),
                    vec!["INCR".to_owned(), "others".to_owned()],
                    std::iter::once("MGET".to_owned()).chain(read).collect(),
                ];
                let replies = redis.try_all(&batch).unwrap();
                assert_eq!(replies[2], Reply::Int(i64::from(round)));
                let Reply::List(values) = &replies[3] else { panic!("{replies:?}") };
                for (n, value) in (0..).zip(values) {
                    assert!(written(&value.text(), n), "user:{n} is {value:?}");
                }
            }
            round
        });
        wait("writes", Duration::from_secs(20), || (redis.run(&["EXISTS", "others"]) == Reply::Int(1)).then_some(()));
        let (planned, end) = restore(&bench, ["--backup-id", &backup], "user:.*");
        done.store(true, Ordering::SeqCst);
        (planned, succeeded(&end), writer.join().unwrap())
    });
    assert!(message.contains(&format!("restored {KEYS} keys")) && message.contains("taken after the yes"), "{message}");
    assert_eq!(redis.run(&["EVAL", of_each, "0"]), then, "{message}");
    assert_eq!(redis.run(&["MGET", "other", "others"]).text(), format!("now {rounds}"));
    // What came behind the last look at all keys is there, and no more than that.
    let new = size() - KEYS - 2;
    assert!(new < 1000 && (0..100).all(|n| written(&redis.run(&["GET", &format!("user:{n}")]).text(), n)), "{new}");
    let warned = planned.to_string();
    assert!(warned.contains("What clients write meanwhile to such keys is OVERWRITTEN or removed"), "{warned}");
    assert!(message.contains("of them came while the keys were written"), "{message}");
    assert_eq!(check(&planned, "write_traffic").0, "warn", "{planned}");
}

/// A way to a server on which somebody else sends a command, once, right before the first key is written: as soon as that is armed.
pub fn at_the_probe(redis: &Redis, command: &'static str) -> (Proxy, Arc<AtomicBool>) {
    // The probe is the last that is sent before the look.
    right_before(redis, "TAIR-BACKUP-MCP:PROBE", command)
}

/// The same, right before something is sent that holds these bytes, in upper case.
fn right_before(redis: &Redis, sent: &'static str, command: &'static str) -> (Proxy, Arc<AtomicBool>) {
    let (port, armed, once) = (redis.port, Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let ready = Arc::clone(&armed);
    let tap: Tap = Arc::new(move |bytes| {
        if ready.load(Ordering::SeqCst) && contains(bytes, sent) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            assert!(tcp.read(&mut [0; 64]).unwrap() > 0);
        }
    });
    let proxy = Proxy::start(redis, tap);
    (proxy, armed)
}

/// What clients write behind the last look is not lost: a key that they make stays, whether the source has it or not; what they write to one of
/// the safety backup is overwritten or removed, the end says so, and the call that it names brings that back; or the end says that it cannot be
/// got back, where the stream broke off.
#[test]
fn what_is_written_behind_the_last_look_is_not_lost() {
    std::thread::scope(|scope| {
        for (kind, broken) in [("redis-6.2", false), ("redis-8.2", false), ("valkey-9.1", false), ("redis-7.0", true)] {
            scope.spawn(move || written_behind_the_last_look(kind, broken));
        }
    });
}

fn written_behind_the_last_look(kind: &str, broken: bool) {
    let redis = Redis::start(kind, &[]);
    redis.run(&["MSET", "user:1", "then", "user:2", "then", "user:gone", "then"]);
    let written = if broken {
        "MSET user:gone paid user:new paid user:2 changed user:later changed other paid\r\nCLIENT KILL TYPE replica"
    } else {
        "MSET user:gone paid user:new paid user:2 changed user:later changed other paid"
    };
    let (proxy, armed) = right_before(&redis, "USER:1", written);
    let bench = Bench::new(&proxy.config());
    let own = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program(kind, "server"));
        finish(command.spawn().unwrap())
    };
    let backup = bench.backup();
    redis.run(&["DEL", "user:gone"]);
    redis.run(&["MSET", "user:2", "now", "user:later", "now"]);
    let call = call(["--backup-id", &backup], "user:.*", &[]);
    let planned = own(&call).json();
    let warned = planned.to_string();
    assert!(warned.contains("is OVERWRITTEN or removed unless it comes behind the key's turn"), "{warned}");
    armed.store(true, Ordering::SeqCst);
    let token = text(&planned["confirmation_token"]);
    let done = own(&[&call[..], &["--confirmation-token", &token]].concat());
    let message = succeeded(&done);
    let values = || redis.run(&["MGET", "user:1", "user:2", "user:gone", "user:new", "other"]).text();
    assert_eq!(values(), "then then paid paid paid", "{kind}: {message}");
    assert_eq!(redis.run(&["EXISTS", "user:later"]), Reply::Int(0), "{kind}: {message}");
    let job = text(&done.json()["job_id"]);
    let call_back = format!("before_position {job}");
    let of_the_end = if broken {
        [
            "nothing was written after it up to the first key",
            "how many came while the keys were written is not known",
            "cannot be got back",
        ]
    } else {
        [
            "1 write commands were accepted after it, and lie in",
            "1 of them came while the keys were written",
            call_back.as_str(),
        ]
    };
    let of_both = [
        "restored 2 keys that match as",
        "; 1 keys that match and were not there then, or have expired since, are removed",
        "; 2 keys that match stay as clients made them meanwhile",
        "(1 are in ",
    ];
    for told in of_both.iter().chain(&of_the_end) {
        assert!(message.contains(told), "{kind}: {told}: {message}");
    }
    assert_eq!(message.contains(&call_back), !broken, "{kind}: {message}");
    if broken {
        return;
    }
    let back = call_before(&job, "user:.*");
    let token = text(&own(&back).json()["confirmation_token"]);
    let message = succeeded(&own(&[&back[..], &["--confirmation-token", &token]].concat()));
    assert_eq!(values(), "then changed paid paid paid", "{kind}: {message}");
    assert_eq!(redis.run(&["GET", "user:later"]).text(), "changed", "{kind}: {message}");
}

/// A write right before the first key voids a plan that told of none: nothing has been touched, and that write is there.
#[test]
fn a_write_right_before_the_first_key_is_found() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let (proxy, armed) = at_the_probe(&redis, "INCR hash:orders");
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["DEL", "hash:listpack"]);
    let source = ["--backup-id", backup.as_str()];
    let token = text(&plan(&bench, source, "hash:.*")["confirmation_token"]);
    armed.store(true, Ordering::SeqCst);
    let failed = bench.run(&call(source, "hash:.*", &["--confirmation-token", &token])).json();
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"plan.changed".into()), "{failed}");
    assert!(text(&failed["message"]).contains("1 write commands came behind the safety backup"), "{failed}");
    assert_eq!(redis.run(&["GET", "hash:orders"]).text(), "1");
    assert_eq!(redis.run(&["EXISTS", "hash:listpack"]), Reply::Int(0));
}

/// A database that cannot be selected any more gets none of its keys, and neither does any other: nothing has been touched.
#[test]
fn a_refused_select_sends_no_key_elsewhere() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["EVAL", "redis.call('SELECT', 2) for n = 1, 50 do redis.call('SET', 'user:' .. n, 'two') end", "0"]);
    let (proxy, armed) = at_the_probe(&redis, "ACL SETUSER default -select");
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["SET", "user:1", "zero"]);
    let source = ["--backup-id", backup.as_str()];
    let token = text(&plan(&bench, source, "user:.*")["confirmation_token"]);
    armed.store(true, Ordering::SeqCst);
    let failed = bench.run(&call(source, "user:.*", &["--confirmation-token", &token])).json();
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(redis.run(&["GET", "user:1"]).text(), "zero", "{failed}");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(1), "{failed}");
}

/// A target that has to make room for the keys is not called restored.
#[test]
fn what_is_evicted_meanwhile_is_told() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "20000", "user", "500"]);
    redis.run(&["DEBUG", "POPULATE", "2000", "other", "500"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["EVAL", "for n = 0, 19999 do redis.call('DEL', 'user:' .. n) end", "0"]);
    let used: u64 = redis.info("used_memory").parse().unwrap();
    redis.run(&["CONFIG", "SET", "maxmemory", &(used + (4 << 20)).to_string()]);
    redis.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let (planned, done) = restore(&bench, ["--backup-id", &backup], "user:.*");
    let (status, detail) = check(&planned, "room_for_data");
    assert!(status == "warn" && detail.contains("keys may be evicted"), "{detail}");
    assert_eq!((done.code, &done.json()["code"]), (5, &"restore.evicted".into()), "{done:?}");
    assert!(text(&done.json()["hint"]).contains("filter_key user:.*"), "{done:?}");
}

/// Whether an expiry has passed is the target's to say, however this program's clock is set: what lives there comes back and is not deleted,
/// and what has expired there counts as not there.
#[test]
fn expiries_pass_by_the_targets_clock() {
    let (redis, clock) = (Redis::start("redis-7.0", &[]), Preload::new());
    redis.run(&["SET", "user:lives", "then", "EX", "1800"]);
    redis.run(&["SET", "user:dies", "then", "PX", "1200"]);
    redis.run(&["SET", "user:stays", "then"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    wait("the expiry to pass", Duration::from_secs(10), || {
        (redis.run(&["EXISTS", "user:dies"]) == Reply::Int(0)).then_some(())
    });
    let call = call(["--backup-id", &backup], "user:.*", &[]);
    let ours = |args: &[&str]| {
        let mut command = bench.command(args);
        clock.give(&mut command);
        finish(command.spawn().unwrap())
    };
    for ahead in [3_600_000, -3_600_000] {
        clock.clock_ahead_ms(ahead);
        redis.run(&["DEL", "user:stays"]);
        redis.run(&["MSET", "user:lives", "now", "user:dies", "now"]);
        let planned = ours(&call).json();
        let lost = text(&planned["impact"]["lost"]);
        assert!(lost.contains("values of 1,") && lost.contains("; 1 that were not there then"), "{ahead}: {lost}");
        let token = text(&planned["confirmation_token"]);
        let message = succeeded(&ours(&[&call[..], &["--confirmation-token", &token]].concat()));
        assert!(message.contains("restored 2 keys") && message.contains("1 more had an expiry that has"), "{message}");
        assert_eq!(redis.run(&["MGET", "user:lives", "user:stays"]).text(), "then then", "{ahead}: {message}");
        assert_eq!(redis.run(&["EXISTS", "user:dies"]), Reply::Int(0), "{ahead}: {message}");
        let Reply::Int(left) = redis.run(&["TTL", "user:lives"]) else { panic!() };
        assert!((1..=1800).contains(&left), "{ahead}: {left}");
    }
}

/// A glob is explained with the expression meant, one that is no expression is refused with it, and what matches nothing does nothing.
#[test]
fn globs_are_explained() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["MSET", "session:1", "a", "session:2", "b", "sessions", "c"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let source = ["--backup-id", backup.as_str()];
    redis.run(&["SET", "session:1", "z"]);
    let planned = plan(&bench, source, "session:*");
    let (status, detail) = check(&planned, "filter_key");
    assert!(status == "warn" && detail.contains("looks like a glob") && detail.contains("session:.*"), "{detail}");
    assert!(detail.contains("matches no key at all"), "{detail}");
    let before = state(&redis);
    let (_, done) = restore(&bench, source, "session:*");
    let message = succeeded(&done);
    assert!(message.contains("restored 0 keys") && state(&redis) == before, "{message}");
    let refused = bench.run(&call(source, "*:1", &[]));
    assert_eq!((refused.code, &refused.json()["code"]), (2, &"restore.filter_key".into()), "{refused:?}");
    assert!(text(&refused.json()["hint"]).contains(".*:1"), "{refused:?}");
    let (_, done) = restore(&bench, source, "session:.");
    assert!(succeeded(&done).contains("restored 2 keys"), "{done:?}");
    assert_eq!(redis.run(&["GET", "session:1"]).text(), "a");
}

/// Types decide what crosses, not the version of the set: what both servers know goes over, and a key that the target cannot take is
/// refused before anybody is asked, unless it is none of the keys.
#[test]
fn keys_cross_by_their_types() {
    for (from, to) in [
        ("redis-8.2", "redis-7.0"),
        ("redis-8.2", "valkey-9.1"),
        ("valkey-9.1", "redis-8.0"),
        ("redis-7.0", "redis-6.2"),
    ] {
        let (source, target) = (Redis::start(from, &[]), Redis::start(to, &[]));
        let long = "x".repeat(5000);
        source.run(&["SET", "plain:text", &long]);
        source.run(&["SET", "plain:number", "12345678901"]);
        source.run(&[
            "EVAL",
            "for n = 1, 700 do redis.call('HSET', 'plain:hash', n, n) redis.call('SADD', 'plain:set', 'm' .. n) end",
            "0",
        ]);
        // What only its own line knows.
        match from {
            "redis-7.0" => source.run(&["RPUSH", "own:list", "a"]),
            _ => {
                source.run(&["HSET", "own:hash", "f", "v"]);
                source.run(&["HEXPIRE", "own:hash", "10000", "FIELDS", "1", "f"])
            }
        };
        let bench = Bench::unattended(&source);
        let backup = bench.backup();
        bench.configure(&unattended(&target, ""));
        target.run(&["SET", "plain:other", "1"]);
        target.run(&["SET", "own:other", "1"]);
        let (_, done) = restore(&bench, ["--backup-id", &backup], "plain:.*");
        let message = succeeded(&done);
        assert!(message.contains("restored 4 keys"), "{from} to {to}: {message}");
        for key in ["plain:text", "plain:number", "plain:hash", "plain:set"] {
            let digest = |redis: &Redis| redis.run(&["DEBUG", "DIGEST-VALUE", key]);
            assert_eq!(digest(&source), digest(&target), "{from} to {to}: {key}");
        }
        assert_eq!(target.run(&["EXISTS", "plain:other", "own:other"]), Reply::Int(1), "{from} to {to}");
        let refused = bench.run(&call(["--backup-id", &backup], "own:.*", &[])).json();
        assert_eq!(refused["status"], "blocked", "{from} to {to}: {refused}");
        let (status, detail) = check(&refused, "engine_compatible");
        assert!(status == "block" && detail.contains("of the keys that match, 1 are of type"), "{detail}");
    }
}

/// Killed at any point each key is as it was then or as it was before; the next start says so, and the same call completes it.
#[test]
fn a_kill_leaves_every_key_old_or_new() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "150000", "user", "50"]);
    redis.run(&["SET", "other", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&[
        "EVAL",
        "for n = 0, 149999 do redis.call('DEL', 'user:' .. n) redis.call('SET', 'user:new:' .. n, 'x') end",
        "0",
    ]);
    redis.run(&["SET", "other", "2"]);
    let source = ["--backup-id", backup.as_str()];
    let size = || redis.run(&["DBSIZE"]).text().parse::<u64>().unwrap();
    for more_than in [150_002_u64, 200_000] {
        let token = text(&plan(&bench, source, "user:.*")["confirmation_token"]);
        let mut child = bench.spawn(&call(source, "user:.*", &["--confirmation-token", &token]));
        wait("some keys", Duration::from_secs(60), || (size() > more_than).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let jobs = bench.jobs();
        let job = jobs.iter().find(|job| job["kind"] == "restore").unwrap();
        assert_eq!((&job["status"], &job["code"]), (&"failed".into(), &"job.interrupted".into()), "{job}");
        assert!(
            text(&job["message"]).contains("as it was in the backup or as it was before, and no other key was touched"),
            "{job}"
        );
        assert!(text(&job["hint"]).contains("filter_key user:.*"), "{job}");
        assert_eq!(redis.run(&["GET", "other"]).text(), "2");
    }
    let token = text(&plan(&bench, source, "user:.*")["confirmation_token"]);
    let done = finish(bench.spawn(&call(source, "user:.*", &["--confirmation-token", &token])));
    let message = succeeded(&done);
    assert!(
        message.contains("150000 keys that match and were not there then, or have expired since, are removed"),
        "{message}"
    );
    assert_eq!((size(), redis.run(&["GET", "other"]).text()), (150_001, "2".to_owned()), "{message}");
    let run = std::fs::read_dir(bench.home().join("run")).map_or(0, Iterator::count);
    assert!(run <= 2, "{run} files are left behind");
}

/// To a moment: what the log made of the keys by then, and only of those; a server of our own is brought there first, also where the target
/// could follow us, and nothing of it is left behind.
#[test]
fn to_a_moment() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || some_keys_to_a_moment(kind));
        }
    });
}

fn some_keys_to_a_moment(kind: &str) {
    let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    for n in 0..40 {
        let n = n.to_string();
        for command in [
            vec!["SET", "user:changed", &n],
            vec!["RPUSH", "user:list", &n],
            vec!["HSET", "other:hash", &n, "then"],
            vec!["XADD", "user:stream", "*", "f", &n],
            vec!["ZADD", "zset:scores", &n, &n],
        ] {
            redis.run(&command);
        }
        raw(&redis, 2, &[b"SET", format!("user:\n{n}").as_bytes(), b"then"]);
    }
    redis.run(&["DEL", "geo"]);
    recorder.catch_up(&redis);
    let (at, then) = (now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), state(&redis));
    redis.run(&["DEL", "user:list", "zset:scores"]);
    redis.run(&["MSET", "user:changed", "now", "user:added", "now", "geo", "now", "other:added", "now"]);
    redis.run(&["HSET", "other:hash", "1", "now"]);
    let before = state(&redis);
    recorder.catch_up(&redis);
    recorder.stop();
    let matches = |key: &[u8]| [&b"user:"[..], b"zset:", b"geo"].iter().any(|begin| key.starts_with(begin));
    let list = "user:.*,(zset:|geo).*";
    let call = call(["--restore-time", &at], list, &[]);
    let own = |args: &[&str]| {
        let mut command = bench.command(args);
        // The server program of this kind is the one that a moment is built with.
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program(kind, "server"));
        finish(command.spawn().unwrap())
    };
    let planned = own(&call).json();
    assert_eq!(planned["status"], "confirmation_required", "{kind}: {planned}");
    assert!(planned["plan"]["built_on"].is_string() && planned["plan"]["way"] == "keys", "{planned}");
    // What was counted is said to be counted in the set, and not at the moment.
    let (lost, matched) = (text(&planned["impact"]["lost"]), check(&planned, "filter_key").1);
    assert!(
        lost.contains("these figures are of the set that the moment begins with")
            && lost.contains("how many are DELETED, is known when the moment has been built")
            && matched.contains("user:.*: 0 in the set that the moment begins with, 43 in the instance"),
        "{lost}: {matched}"
    );
    let token = text(&planned["confirmation_token"]);
    let done = own(&[&call[..], &["--confirmation-token", &token]].concat());
    let message = succeeded(&done);
    println!("{kind}: {message}");
    same(&state(&redis), &expected(&then, &before, matches), &format!("{kind}: {message}"));
    assert_eq!(std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count), 0, "{kind}");

    // Back to the last write before that restore, those keys alone.
    redis.run(&["SET", "other:since", "1"]);
    let job = text(&done.json()["job_id"]);
    let back = call_before(&job, list);
    let planned = own(&back).json();
    let token = text(&planned["confirmation_token"]);
    let undone = own(&[&back[..], &["--confirmation-token", &token]].concat());
    succeeded(&undone);
    let mut was = before;
    was.extend(state(&redis).into_iter().filter(|((_, key), _)| key == b"other:since"));
    same(&state(&redis), &was, &format!("{kind}: and back"));
}

fn call_before<'a>(position: &'a str, keys: &'a str) -> Vec<&'a str> {
    call(["--before-position", position], keys, &[])
}

/// Two instances, of which the second is to get data of the first.
fn two() -> (Redis, Redis, Bench) {
    let (orders, staging) = (Redis::start("redis-7.0", &["--databases", "32"]), Redis::start("redis-7.0", &[]));
    let second = format!("[[instance]]\nid = \"staging\"\nurl = \"{}\"\n", staging.url());
    let bench = Bench::new(&format!("{}{second}", unattended(&orders, "")));
    (orders, staging, bench)
}

/// Both calls of a restore with these arguments.
fn both(bench: &Bench, args: &[&str]) -> (Value, Done) {
    let call = [&["restore-instance", "--json"], args].concat();
    let planned = bench.run(&call);
    assert_eq!((planned.code, &planned.json()["status"]), (0, &"confirmation_required".into()), "{planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    let done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
    (planned.json(), done)
}

/// Under a prefix keys come beside those that are there: what is called so already is replaced, nothing is deleted, and the way back
/// takes away what was added.
#[test]
fn under_a_prefix_nothing_is_deleted() {
    let redis = Redis::start("valkey-8.1", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let then = state(&redis);
    redis.run(&["DEL", "hash:hashtable"]);
    redis.run(&["MSET", "was.hash:listpack", "in the way", "was.hash:other", "stays", "wasXhash:listpack", "stays"]);
    let now = state(&redis);
    let source = ["--backup-id", backup.as_str()];
    let args = ["--instance-id", "orders", source[0], source[1], "--filter-key", "hash:.*,geo", "--add-prefix", "was."];
    let (planned, done) = both(&bench, &args);
    let message = succeeded(&done);
    let mut wanted = now.clone();
    let put = then.iter().filter(|((_, key), _)| key.starts_with(b"hash:") || key == b"geo");
    wanted.extend(put.map(|((db, key), value)| ((*db, [b"was.", key.as_slice()].concat()), value.clone())));
    same(&state(&redis), &wanted, &message);
    assert!(message.contains("under the prefix was.") && message.contains("nothing was removed"), "{message}");
    let lost = text(&planned["impact"]["lost"]);
    assert!(lost.contains("the values of 1 keys that are called so now; no key is deleted"), "{lost}");
    let (_, undone) = restore(
        &bench,
        ["--backup-id", &text(&done.json()["plan"]["safety_backup_id"])],
        "was\\.(?:hash:.*),was\\.(?:geo)",
    );
    assert!(
        text(&planned["impact"]["way_back"])
            .ends_with("and filter_key was\\.(?:hash:.*),was\\.(?:geo); that also takes back what others write meanwhile to keys of such names"),
        "{planned}"
    );
    succeeded(&undone);
    same(&state(&redis), &now, "the way back");

    // Without a list all keys go under the prefix.
    let (_, done) = both(&bench, &["--instance-id", "orders", source[0], source[1], "--add-prefix", "all:"]);
    succeeded(&done);
    let mut wanted = now;
    wanted.extend(then.into_iter().map(|((db, key), value)| ((db, [b"all:", key.as_slice()].concat()), value)));
    same(&state(&redis), &wanted, "afterwards");
}

/// Another instance gets some keys of a set, a whole set, and some keys of a moment; the instance that they are of is only read.
#[test]
fn of_another_instance() {
    let (orders, staging, bench) = two();
    orders.fill(0, 1);
    staging.fill(0, 2);
    let backup = bench.backup();
    let (then, before) = (state(&orders), state(&staging));
    let to = ["--instance-id", "staging", "--source-instance-id", "orders"];
    let (planned, done) =
        both(&bench, &[&to[..], &["--backup-id", &backup, "--filter-key", "zset:.*,text:.*"]].concat());
    let message = succeeded(&done);
    let matches = |key: &[u8]| key.starts_with(b"zset:") || key.starts_with(b"text:");
    let wanted = expected(&then, &before, matches);
    same(&state(&staging), &wanted, &message);
    // The plan had told what becomes of the keys of this instance, by those of the other.
    let told = &planned["impact"]["keys"];
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    let in_both = |differs: bool| {
        before.iter().filter(|(key, is)| wanted.get(*key).is_some_and(|was| (was != *is) == differs)).count()
    };
    let (lost, added) = (before.len() - in_both(true) - in_both(false), wanted.len() - in_both(true) - in_both(false));
    let counted = [lost, in_both(true), added].map(|n| n as u64);
    assert_eq!(["lost", "changed", "added"].map(count), counted, "{told}");
    assert!(told["not_compared"].is_null() && counted.iter().sum::<u64>() > 0, "{told}");
    assert!(text(&planned["impact"]["way_back"]).contains("instance_id staging"), "{planned}");
    let audit = bench.run(&["audit", "--json"]).out;
    assert!(
        audit.contains(&format!("restore of staging from {backup} of orders, only keys that match zset:.*")),
        "{audit}"
    );

    let (_, done) = both(&bench, &[&to[..], &["--backup-id", &backup]].concat());
    succeeded(&done);
    same(&state(&staging), &then, "afterwards");
    same(&state(&orders), &then, "afterwards");

    let recorder = Recorder::behind(&bench, &orders, &backup);
    orders.run(&["SET", "text:later", "1"]);
    // In a database that the other instance lacks: none of the keys is there.
    orders.run_in(20, &["SET", "text:elsewhere", "1"]);
    recorder.catch_up(&orders);
    let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    orders.run(&["SET", "text:later", "2"]);
    recorder.catch_up(&orders);
    recorder.stop();
    let moment = ["--restore-time", &at, "--filter-key", "text:later", "--add-prefix", "of-orders:"];
    let call = [&["restore-instance", "--json"], &to[..], &moment].concat();
    let own = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program("redis-7.0", "server"));
        finish(command.spawn().unwrap())
    };
    let token = text(&own(&call).json()["confirmation_token"]);
    succeeded(&own(&[&call[..], &["--confirmation-token", &token]].concat()));
    assert_eq!(staging.run(&["GET", "of-orders:text:later"]).text(), "1");
    assert_eq!(staging.run(&["DEL", "of-orders:text:later"]), Reply::Int(1));
    same(&state(&staging), &then, "afterwards");
}

/// A node of a cluster that serves these slots alone, and so has no full cluster.
fn node(kind: &str, slots: std::ops::Range<u16>) -> Redis {
    let redis = Redis::start(kind, &["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"]);
    serve(&redis, slots);
    redis
}

/// Gives a node further slots.
fn serve(redis: &Redis, slots: std::ops::Range<u16>) {
    let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
    redis.run(&[&["CLUSTER", "ADDSLOTS"][..], &slots.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    wait("the cluster", Duration::from_secs(30), || {
        redis.run(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok").then_some(())
    });
}

/// Sets keys of a kind that are in the lower half of the slots, or in the upper.
fn set_users(redis: &Redis, numbers: std::ops::Range<u32>, lower: bool, value: &str) {
    for key in numbers.map(|n| format!("user:{n}")).filter(|key| (slot(key.as_bytes()) < HALF) == lower) {
        redis.run(&["SET", &key, value]);
    }
}

const HALF: u16 = 8192;

/// A key of a slot that the source did not serve when its set was taken was on another node then: it stays, here and on another instance.
/// Where nothing tells which slots those were, none is removed; and to a moment none, if a slot may have come and gone since.
#[test]
fn keys_that_may_have_been_elsewhere_stay() {
    let (orders, staging) = (node("redis-8.0", 0..HALF), node("valkey-8.1", 0..2 * HALF));
    let second = format!("[[instance]]\nid = \"staging\"\nurl = \"{}\"\n", staging.url());
    let bench = Bench::new(&format!("{}{second}", unattended(&orders, "")));
    set_users(&orders, 0..40, true, "then");
    let backup = bench.backup();
    let then = state(&orders);
    // The other half of the slots comes, with its keys.
    serve(&orders, HALF..2 * HALF);
    for redis in [&orders, &staging] {
        set_users(redis, 0..80, true, "now");
        set_users(redis, 0..80, false, "moved");
    }
    let mut wanted = then.clone();
    wanted.extend(state(&orders).into_iter().filter(|((_, key), _)| slot(key) >= HALF));
    let stay = wanted.len() - then.len();
    let removed = 80 - wanted.len();
    let (planned, done) = restore(&bench, ["--backup-id", &backup], "user:.*");
    let message = succeeded(&done);
    same(&state(&orders), &wanted, &message);
    let told =
        format!("{stay} other keys that match stay, for they are in slots of the cluster that the source did not");
    assert!(message.contains(&told) && message.contains(&format!("; {removed} keys that match and were")), "{message}");
    let lost = text(&planned["impact"]["lost"]);
    assert!(lost.contains(&format!("; {removed} that were not there then")), "{lost}");
    assert!(lost.contains(&format!("; {stay} others that match STAY where they are in slots")), "{lost}");
    let counted = &planned["impact"]["keys"];
    assert_eq!((&counted["lost"], &counted["untouched"]), (&removed.into(), &stay.into()), "{planned}");

    let to = ["--instance-id", "staging", "--source-instance-id", "orders", "--filter-key", "user:.*"];
    let (_, done) = both(&bench, &[&to[..], &["--backup-id", &backup]].concat());
    same(&state(&staging), &wanted, &succeeded(&done));

    // Who may not ask the node does not know.
    orders.run(&["ACL", "SETUSER", "default", "-cluster|nodes"]);
    let unknown = bench.backup();
    let manifest = bench.home().join("vault/orders").join(&unknown).join("manifest.json");
    assert!(!std::fs::read_to_string(manifest).unwrap().contains("slots"));
    orders.run(&["SET", "user:later", "now"]);
    let before = state(&orders);
    let (planned, done) = restore(&bench, ["--backup-id", &unknown], "user:.*");
    let message = succeeded(&done);
    same(&state(&orders), &before, &message);
    assert!(message.contains("nothing was removed, for it is not known which slots of the cluster"), "{message}");
    assert!(text(&planned["impact"]["lost"]).contains("1 others that match STAY, for it is not known"), "{planned}");
    orders.run(&["ACL", "SETUSER", "default", "+cluster|nodes"]);

    // To a moment: the node tells that no slot has come since the set.
    let recorder = Recorder::behind(&bench, &orders, &bench.backup());
    orders.run(&["SET", "user:later", "then"]);
    recorder.catch_up(&orders);
    let (at, wanted) = (now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), state(&orders));
    orders.run(&["MSET", "{user:later}", "now", "user:later", "now"]);
    recorder.catch_up(&orders);
    recorder.stop();
    let call = call(["--restore-time", &at], "user:.*,.user:later.", &[]);
    let own = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program("redis-8.0", "server"));
        finish(command.spawn().unwrap())
    };
    for known in [true, false] {
        if !known {
            orders.run(&["MSET", "{user:later}", "now", "user:later", "now"]);
            orders.run(&["CLUSTER", "BUMPEPOCH"]);
        }
        let token = text(&own(&call).json()["confirmation_token"]);
        let message = succeeded(&own(&[&call[..], &["--confirmation-token", &token]].concat()));
        assert_eq!(orders.run(&["GET", "user:later"]).text(), "then", "{message}");
        assert_eq!(orders.run(&["EXISTS", "{user:later}"]), Reply::Int(i64::from(!known)), "{message}");
        assert_eq!(message.contains("not known which slots of the cluster"), !known, "{message}");
        orders.run(&["DEL", "{user:later}"]);
        same(&state(&orders), &wanted, &message);
    }
}

/// On a node of a cluster; keys of slots that it does not serve are refused before anybody is asked, by the names that they would get. So
/// is a user who may not do every step.
#[test]
fn on_a_node_of_a_cluster() {
    let redis = Redis::start("redis-8.0", &["--cluster-enabled", "yes"]);
    let slots = |command: &str, from: u16, to: u16| {
        let slots: Vec<String> = (from..to).map(|slot| slot.to_string()).collect();
        redis.run(&[&["CLUSTER", command][..], &slots.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    };
    slots("ADDSLOTS", 0, 16384);
    wait("the cluster", Duration::from_secs(30), || {
        (redis.try_run(&["SET", "other", "1"]).ok()? == Reply::Text("OK".into())).then_some(())
    });
    for n in 0..300 {
        redis.run(&["SET", &format!("user:{n}"), "then"]);
    }
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let then = state(&redis);
    redis.run(&["DEL", "user:1"]);
    redis.run(&["SET", "user:2", "now"]);
    redis.run(&["SET", "user:new", "now"]);
    redis.run(&["SET", "other", "2"]);
    let (wanted, source) =
        (expected(&then, &state(&redis), |key| key.starts_with(b"user:")), ["--backup-id", backup.as_str()]);
    let (_, done) = restore(&bench, source, "user:.*");
    let message = succeeded(&done);
    same(&state(&redis), &wanted, &message);
    // The slot of {x}, which the keys would get by their prefix.
    slots("DELSLOTS", 16287, 16288);
    redis.run(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    let args = [&call(source, "user:.*", &[])[..], &["--add-prefix", "{x}"]].concat();
    let blocked = bench.run(&args).json();
    let (status, detail) = check(&blocked, "engine_compatible");
    assert!(status == "block" && detail.contains("300 keys that match belong to slots"), "{detail}");
    slots("ADDSLOTS", 16287, 16288);

    redis.run(&["ACL", "SETUSER", "default", "-unlink", "-scan"]);
    let blocked = bench.run(&call(source, "user:.*", &[])).json();
    let (status, detail) = check(&blocked, "restore_rights");
    assert!(status == "block" && detail.contains("+scan") && detail.contains("+unlink"), "{detail}");
}

/// Random keys, values and expressions against a naive reading of them.
#[test]
fn random_keys_and_expressions() {
    let mut dice = Dice::new("random_keys_and_expressions");
    let redis = Redis::start("valkey-8.1", &[]);
    let bench = Bench::unattended(&redis);
    for round in 0..5 {
        redis.run(&["FLUSHALL"]);
        let key = |dice: &mut Dice| -> Vec<u8> {
            let bytes = [b'a', b'b', b':', b'\n', 0xff, b'.'];
            (0..dice.below(4)).map(|_| bytes[dice.below(bytes.len())]).collect()
        };
        let scatter = |dice: &mut Dice, value: &str| {
            for _ in 0..150 {
                let (db, key) = (dice.below(3) as u64, key(dice));
                raw(&redis, db, &[b"SET", &key, format!("{value}{}", dice.below(3)).as_bytes()]);
            }
        };
        scatter(&mut dice, "v");
        let backup = bench.backup();
        let then = state(&redis);
        for (db, key) in then.keys() {
            if dice.below(3) == 0 {
                raw(&redis, *db, &[b"DEL", key]);
            }
        }
        scatter(&mut dice, "v");
        let now = state(&redis);
        // Each item is some parts, each a byte, any byte, or any bytes.
        let parts = ["a", "b", ":", ".", ".*", "\\.", "\\n", "\\xff"];
        let items: Vec<Vec<&str>> = (0..=dice.below(3))
            .map(|_| (0..=dice.below(3)).map(|_| parts[dice.below(parts.len())]).collect())
            .collect();
        let list = items.iter().map(|item| item.concat()).collect::<Vec<_>>().join(",");
        let (_, done) = restore(&bench, ["--backup-id", &backup], &list);
        let message = succeeded(&done);
        let wanted = expected(&then, &now, |key| items.iter().any(|item| naive(item, key)));
        same(&state(&redis), &wanted, &format!("round {round}: {list}: {message}"));
    }
}

fn naive(parts: &[&str], key: &[u8]) -> bool {
    let Some((part, rest)) = parts.split_first() else { return key.is_empty() };
    let byte = match *part {
        ".*" => return (0..=key.len()).any(|n| naive(rest, &key[n..])),
        "." => None,
        "\\." => Some(b'.'),
        "\\n" => Some(b'\n'),
        "\\xff" => Some(0xff),
        other => Some(other.as_bytes()[0]),
    };
    key.split_first().is_some_and(|(first, left)| byte.is_none_or(|byte| byte == *first) && naive(rest, left))
}
