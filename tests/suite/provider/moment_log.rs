//! Restores to moments of a log: transactions are whole, and a moment outside the log, or in a hole of it, is refused with its
//! neighbours. That the target ends up as its source was, whatever was written, is shown by `moments`.

use crate::support::recorder::{Recorder, position_of};
use crate::support::{Bench, Dice, Done, Redis, Reply, text};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

fn to_moment<'a>(at: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore-instance", "--instance-id", "orders", "--restore-time", at, "--json"][..], more].concat()
}

/// A moment, as it is written in a call.
pub(super) fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Both calls of a restore to a moment.
fn restore(bench: &Bench, at: Timestamp) -> Done {
    let at = written(at);
    let planned = bench.run(&to_moment(&at, &[]));
    assert_eq!(planned.code, 0, "{planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    bench.run(&to_moment(&at, &["--confirmation-token", &token]))
}

/// The check of a plan that is refused for its moment.
fn refused(bench: &Bench, at: Timestamp) -> String {
    let done = bench.run(&to_moment(&written(at), &[]));
    let plan: Value = done.json();
    assert_eq!(plan["status"], "blocked", "{plan}");
    let check = plan["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "restore_time").unwrap();
    text(&check["detail"])
}

/// Now, after which nothing that is sent later is received.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now().as_millisecond();
    while Timestamp::now().as_millisecond() <= now {
        std::hint::spin_loop();
    }
    Timestamp::from_millisecond(now).unwrap()
}

/// Commands of every type, `#` and `@` standing for random names and numbers. What a server lacks it refuses, and nothing of it is in
/// the log.
const COMMANDS: &[&str] = &[
    "SET k# @",
    "SET k# @ PX 90000000",
    "APPEND k# @",
    "INCRBY n# @",
    "INCRBYFLOAT n# 1.5",
    "SETRANGE k# 7 @",
    "GETDEL k#",
    "MSET k# @ n# @",
    "SETBIT b# @ 1",
    "BITOP OR b# b# b#",
    "PFADD p# @",
    "PFMERGE p# p#",
    "RPUSH l# @ @",
    "LPOP l#",
    "LMOVE l# l# LEFT RIGHT",
    "LINSERT l# BEFORE @ x",
    "LTRIM l# 0 50",
    "SADD s# @ @",
    "SPOP s#",
    "SMOVE s# s# @",
    "SUNIONSTORE s# s# s#",
    "ZADD z# @ m@",
    "ZINCRBY z# @ m@",
    "ZPOPMIN z#",
    "ZRANGESTORE z# z# 0 3",
    "GEOADD g# 13.3 38.1 m@",
    "HSET h# f@ @",
    "HINCRBY h# c @",
    "HDEL h# f@",
    "HPEXPIRE h# 90000000 FIELDS 1 f@",
    "HSETEX h# EX 90000 FIELDS 1 f@ v",
    "XADD x# * f @",
    "XADD x# MAXLEN 5 * f @",
    "XGROUP CREATE x# g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 2 STREAMS x# >",
    "XTRIM x# MAXLEN 3",
    "EXPIRE h# 90000",
    "PERSIST k#",
    "PEXPIREAT l# 4102444800000",
    "DEL z#",
    "UNLINK s#",
    "RENAME k# k#",
    "COPY h# h# REPLACE",
    "MOVE k# 2",
    "SORT l# ALPHA STORE l#",
    "SWAPDB 0 1",
    "SWAPDB 1 2",
    "FLUSHDB",
    "PUBLISH c @",
];

fn words(dice: &mut Dice, template: &str) -> Vec<String> {
    let fill = |word: &str, dice: &mut Dice| {
        word.replace('#', &dice.below(6).to_string()).replace('@', &dice.below(100).to_string())
    };
    template.split(' ').map(|word| fill(word, dice)).collect()
}

/// A random piece of work on one connection: commands in a random database, some in a transaction, some in a script.
pub(super) fn work(dice: &mut Dice) -> Vec<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut all = vec![owned(&["SELECT", &dice.below(3).to_string()])];
    let some: Vec<_> = (0..1 + dice.below(12))
        .map(|_| {
            // FLUSHDB comes seldom, or there would be nothing to compare.
            let rare = if dice.below(40) == 0 { COMMANDS.len() } else { COMMANDS.len() - 4 };
            let template = COMMANDS[dice.below(rare)];
            words(dice, template)
        })
        .collect();
    match dice.below(4) {
        0 => {
            all.push(owned(&["MULTI"]));
            all.extend(some.into_iter().filter(|w| !w[0].starts_with("SELECT")));
            all.push(owned(&["EXEC"]));
        }
        1 => {
            let script = "for i = 1, 5 do redis.call('INCRBY', KEYS[1], i); redis.call('SADD', KEYS[2], redis.call('TIME')[2]) end";
            all.push(words(dice, "X EVAL X 2 n# t#").split_off(1));
            all.last_mut().unwrap()[1] = script.to_owned();
            all.extend(some);
        }
        _ => all.extend(some),
    }
    all
}

/// How many random moments of one log are restored.
const MOMENTS: usize = 3;

/// Whatever moment is asked for while transactions are written, none is cut; and one before the log, or not archived yet, is refused.
#[test]
fn no_transaction_is_cut() {
    let mut dice = Dice::new("no_transaction_is_cut");
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    let before = now();
    redis.run(&["SET", "old", "1"]);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    let began = now();
    let transaction: Vec<Vec<String>> = ["MULTI", "INCR a", "RPUSH l x", "INCR b", "EXEC"]
        .map(|words| words.split(' ').map(str::to_owned).collect())
        .into();
    let many: Vec<Vec<String>> = (0..200).flat_map(|_| transaction.clone()).collect();
    while Timestamp::now().duration_since(began).as_secs_f64() < 3.0 {
        redis.try_all(&many).unwrap();
    }
    let ended = now();
    recorder.catch_up(&redis);
    recorder.stop();
    let span = ended.as_millisecond() - began.as_millisecond();
    for _ in 0..MOMENTS {
        let share = i64::try_from(dice.below(usize::try_from(span).unwrap())).unwrap();
        let mut at = Timestamp::from_millisecond(began.as_millisecond() + share).unwrap();
        // Where nothing came for a while, as on a busy machine, the moment in front of that is named instead.
        let planned = bench.run(&to_moment(&written(at), &[]));
        if planned.code == 3 {
            let told = refused(&bench, at);
            let (before, _) = told.split_once(" (before)").unwrap_or_else(|| panic!("{told}"));
            at = before.rsplit(' ').next().unwrap().parse().unwrap();
        }
        let done = restore(&bench, at);
        assert_eq!(done.code, 0, "{at}: {done:?}");
        let got = ["GET a", "GET b", "LLEN l"].map(|c| redis.run(&c.split(' ').collect::<Vec<_>>()).text());
        assert!(got[0] == got[1] && (got[0] == got[2] || got[2] == "0"), "{at}: {got:?}");
    }
    assert!(refused(&bench, before).contains("before the earliest moment"), "{}", refused(&bench, before));
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let told = refused(&bench, later);
    assert!(told.contains("does not reach there yet") && told.contains("(before)"), "{told}");
}

/// A moment in a hole of the log is refused with the last moment before it and the first behind it, and both can be restored.
#[test]
fn a_hole_in_the_log_is_refused_with_its_neighbours() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    redis.run(&["SET", "n", "0"]);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    redis.run(&["SET", "n", "1"]);
    recorder.catch_up(&redis);
    let before = now();
    let timeline = recorder.stop();
    redis.run(&["SET", "n", "2"]);
    std::thread::sleep(Duration::from_millis(50));
    let within = now();
    std::thread::sleep(Duration::from_millis(50));
    redis.run(&["SET", "n", "3"]);
    let base = bench.backup();
    let (_, offset) = position_of(&bench, &base);
    let recorder = Recorder::follow(&bench, &redis, timeline, |writer| writer.skip_to(offset).unwrap());
    redis.run(&["SET", "n", "4"]);
    recorder.catch_up(&redis);
    let after = now();
    recorder.stop();
    let told = refused(&bench, within);
    assert!(told.contains("(before)") && told.contains("(after)"), "{told}");
    for (at, n) in [(before, "1"), (after, "4")] {
        let done = restore(&bench, at);
        assert_eq!(done.code, 0, "{at}: {done:?}");
        assert_eq!(redis.run(&["GET", "n"]), Reply::Text(n.into()), "{base}");
    }
}

/// The plan tells of the moment exactly; what was restored stands in the job; the way back of a restore to a moment is as of any.
#[test]
fn a_restore_to_a_moment_is_planned_told_and_undone() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    let none = bench.run(&to_moment("2026-11-23T06:15:00.123Z", &[]));
    assert!(none.code == 5 && none.err.contains("[restore.no_flashback]"), "{none:?}");
    redis.run(&["SET", "n", "0"]);
    let base = bench.backup();
    let recorder = Recorder::behind(&bench, &redis, &base);
    redis.run(&["SET", "n", "1"]);
    recorder.catch_up(&redis);
    let at = now();
    redis.run(&["FLUSHALL"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let written = written(at);
    let planned = bench.run(&to_moment(&written, &[])).json();
    let plan = &planned["plan"];
    assert_eq!((&plan["base_backup_id"], &plan["commands_replayed"]), (&base.into(), &"1".into()), "{planned}");
    assert_eq!(plan["commands_taken_back"], "1", "{planned}");
    // The set that the log is replayed behind is needed by the plan as one that is restored as it is.
    let base = text(&plan["base_backup_id"]);
    let deletion = bench.run(&["delete-backup", "--instance-id", "orders", "--backup-id", &base, "--json"]).json();
    let lost = text(&deletion["impact"]["lost"]);
    assert!(lost.contains("can no longer be carried out"), "{deletion}");
    assert!(
        plan["position"].is_string() && plan["restored_to"].is_string() && plan["recovery_window"].is_string(),
        "{planned}"
    );
    // A write voids a plan that told of none.
    redis.run(&["SET", "m", "1"]);
    let token = text(&planned["confirmation_token"]);
    let changed = bench.run(&to_moment(&written, &["--confirmation-token", &token])).json();
    assert_eq!(changed["status"], "plan_changed", "{changed}");

    let done = restore(&bench, at);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.run(&["GET", "n"]), Reply::Text("1".into()));
    let position = text(&plan["position"]);
    let just_before = ["restore-instance", "--instance-id", "orders", "--before-position", &position, "--json"];
    let before = bench.run(&just_before).json();
    assert_eq!(before["plan"]["commands_replayed"], "1", "the FLUSHALL is at that position: {before}");
    let undone = bench.restore(&text(&done.json()["plan"]["safety_backup_id"]));
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!((redis.run(&["EXISTS", "n"]), redis.run(&["GET", "m"])), (Reply::Int(0), Reply::Text("1".into())));
}
