//! The sets of an instance: by page, by range and by id, newest first.

use crate::support::emulator::{Emulator, KEY, SECRET};
use crate::support::recorder::{Recorder, position_of};
use crate::support::{Bench, Redis, text};
use serde_json::Value;

fn list(bench: &Bench, more: &[&str]) -> Value {
    bench.json(&[&["describe-backups", "--instance-id", "orders"], more].concat())
}

/// Three sets on two pages, newest first and each once; a range without any says how many are outside it; an id finds its set
/// whatever the range.
#[test]
fn pages_ranges_and_ids() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let made: Vec<String> = (0..3).map(|_| bench.backup()).collect();
    let page = |n: &str| list(&bench, &["--page-size", "2", "--page-number", n]);
    let (first, second) = (page("1"), page("2"));
    assert_eq!((&first["total"], &second["total"]), (&3.into(), &3.into()), "{first}");
    let ids = |reply: &Value| -> Vec<String> {
        reply["backups"].as_array().unwrap().iter().map(|set| text(&set["backup_id"])).collect()
    };
    let mut listed = [ids(&first), ids(&second)].concat();
    assert_eq!((ids(&first).len(), listed.len()), (2, 3));
    let times: Vec<String> = bench.backups().iter().map(|set| text(&set["taken_at"])).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "newest first: {times:?}");
    listed.sort();
    let mut sorted = made.clone();
    sorted.sort();
    assert_eq!(listed, sorted);

    let past = ["--start-time", "2020-01-01T00:00Z", "--end-time", "2020-01-02T00:00Z"];
    let none = list(&bench, &past);
    assert_eq!((&none["total"], &none["outside_range"]), (&0.into(), &3.into()), "{none}");
    let one = list(&bench, &[&past[..], &["--backup-id", &made[0]]].concat());
    assert_eq!(ids(&one), [made[0].clone()]);
    assert_eq!((&one["backups"][0]["keys"], &one["backups"][0]["status"]), (&1.into(), &"deep".into()), "{one}");
}

/// After a mistake the newest sets hold it: what they lost is told, and one that was taken before a restore is not the last backup. A list leaves out
/// what nobody chooses a set by.
#[test]
fn sets_of_after_the_damage_are_told_apart() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["EVAL", "for n = 1, 40 do redis.call('SET', n, n) end", "0"]);
    redis.run_in(2, &["EVAL", "for n = 1, 10 do redis.call('SET', n, n) end", "0"]);
    let bench = Bench::unattended(&redis);
    let good = bench.backup();
    redis.run(&["EVAL", "for n = 1, 20 do redis.call('DEL', n) end", "0"]);
    redis.run_in(2, &["FLUSHDB"]);
    let bad = bench.backup();
    redis.run(&["SET", "since", "1"]);
    assert_eq!(bench.restore(&good).code, 0);

    let listed = list(&bench, &[]);
    let [safety, bad_row, good_row] = listed["backups"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&safety["mode"], &bad_row["mode"]), (&"safety".into(), &"manual".into()), "{listed}");
    assert_eq!(bad_row["shrunk"], "keys 50 → 20, db 2: 10 → 0", "{listed}");
    // The last backup holds the loss already, and nothing was lost since.
    assert_eq!((&safety["shrunk"], &good_row["shrunk"]), (&Value::Null, &Value::Null), "{listed}");
    let modes: Vec<(String, String, String)> = listed["newest"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(&row["mode"]), text(&row["backup_id"]), text(&row["status"])))
        .collect();
    let newest = |mode: &str, id: &str| (mode.to_owned(), id.to_owned(), "deep".to_owned());
    assert_eq!(modes, [newest("manual", &bad), newest("safety", &text(&safety["backup_id"]))], "{listed}");
    let now: jiff::Timestamp = text(&listed["now"]).parse().unwrap();
    assert!(text(&listed["now"]).len() == 20 && (jiff::Timestamp::now().as_second() - now.as_second()).abs() < 60);
    assert_eq!((&good_row["sha256"], &good_row["finished_at"]), (&Value::Null, &Value::Null), "{listed}");
    let one = list(&bench, &["--backup-id", &good])["backups"][0].clone();
    assert!(one["sha256"].is_string() && one["finished_at"].is_string(), "{one}");

    // The one before may lie before the range.
    let since = list(&bench, &["--start-time", &text(&bad_row["taken_at"])]);
    let again = since["backups"].as_array().unwrap().iter().find(|row| row["backup_id"] == bad.as_str()).unwrap();
    assert_eq!(again["shrunk"], bad_row["shrunk"], "{since}");
    let protection = bench.json(&["describe-instances"])["instances"][0]["protection"].clone();
    assert_eq!((&protection["last_backup_id"], &protection["shrunk"]), (&bad.as_str().into(), &bad_row["shrunk"]));
    assert!(protection["newest"].as_array().unwrap().len() == 2, "{protection}");
    for call in [&["describe-backups", "--instance-id", "orders"][..], &["describe-instances"]] {
        let shown = bench.run(call).out;
        assert!(shown.contains("SHRUNK: keys 50 → 20") && shown.contains("newest: manual b-"), "{shown}");
    }
}

fn destructive(bench: &Bench, more: &[&str]) -> Value {
    list(bench, &[&["--include", "destructive"], more].concat())
}

/// What destroyed data is listed by page, newest first, with the call that goes back; what of the range nobody knows is said.
#[test]
fn what_destroyed_data_by_page_with_what_is_not_known() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    redis.run(&["SET", "a", "1"]);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    for n in 0..3 {
        redis.run(&["SET", "a", "1"]);
        redis.run(&["SWAPDB", "0", &(n + 1).to_string()]);
    }
    recorder.catch_up(&redis);
    let timeline = recorder.stop();
    redis.run(&["FLUSHALL"]);
    let (_, offset) = position_of(&bench, &bench.backup());
    let recorder = Recorder::follow(&bench, &redis, timeline, |writer| writer.skip_to(offset).unwrap());
    redis.run(&["SWAPDB", "0", "9"]);
    recorder.catch_up(&redis);
    recorder.stop();

    let pages = ["1", "2"].map(|n| destructive(&bench, &["--page-size", "3", "--page-number", n]));
    let events: Vec<&Value> = pages.iter().flat_map(|page| page["destructive"]["events"].as_array().unwrap()).collect();
    let commands: Vec<String> = events.iter().map(|event| text(&event["command"])).collect();
    // The FLUSHALL is in no log.
    assert_eq!(commands, ["SWAPDB 0 9", "SWAPDB 0 3", "SWAPDB 0 2", "SWAPDB 0 1"]);
    for page in &pages {
        let found = &page["destructive"];
        assert_eq!((&page["total"], &page["backups"]), (&4.into(), &Value::Null), "{page}");
        assert_eq!(found["restore_instance"]["before_position"], found["events"][0]["position"], "{page}");
        assert_eq!(found["gaps"][0]["cause"], "other", "{page}");
        let message = text(&found["message"]);
        for said in ["The log begins at", "is not on the vault yet", "1 part(s) of the range are in no log"] {
            assert!(message.contains(said), "{said}: {message}");
        }
    }
    assert!(text(&pages[0]["destructive"]["message"]).contains("1 older ones are on the next pages"), "{}", pages[0]);
    let at = text(&pages[1]["destructive"]["events"][0]["at"]);
    let then = destructive(&bench, &["--start-time", &at, "--end-time", &at]);
    // Others may have come within the same millisecond.
    let at_once = events.iter().filter(|event| event["at"] == at.as_str()).count();
    assert_eq!((&then["total"], text(&then["destructive"]["searched_from"])), (&at_once.into(), at), "{then}");
    let past = destructive(&bench, &["--end-time", "2020-01-01T00:00Z"]);
    assert_eq!((&past["total"], &past["destructive"]["searched_to"]), (&0.into(), &Value::Null), "{past}");

    let shown = bench.run(&["describe-backups", "--instance-id", "orders", "--include", "destructive"]);
    let position = text(&pages[0]["destructive"]["events"][0]["position"]);
    assert!(
        shown.out.contains(&format!("restore-instance --instance-id orders --before-position {position}")),
        "{shown:?}"
    );
    assert!(shown.out.contains("IN NO LOG: "), "{shown:?}");
}

/// Without a log nobody knows, and it is said what there is instead: for an instance of ours, and for one of the cloud.
#[test]
fn without_a_log_nobody_knows_what_destroyed_data() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let call = ["describe-backups", "--instance-id", "orders", "--include", "destructive"];
    let none = bench.run(&call);
    assert!(none.code == 5 && none.err.contains("[log.none]") && none.err.contains("enable_backup_log"), "{none:?}");
    let turned_on = ["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", "true"];
    assert_eq!(bench.run(&turned_on).code, 0);
    let empty = bench.run(&call);
    assert!(empty.code == 5 && empty.err.contains("nothing of orders is in its log yet"), "{empty:?}");
    for wrong in [&["--include", "everything"][..], &["--include", "destructive", "--backup-id", "b-1"]] {
        let done = bench.run(&[&call[..3], wrong].concat());
        assert!(done.code == 2 && done.err.contains("include is destructive"), "{done:?}");
    }

    let served = Bench::new(&format!("[[instance]]\nid = \"r-cloud\"\nurl = \"{}\"\n", redis.url()));
    let emulator = Emulator::start(&served, &[]);
    let cloud =
        Bench::new(&format!("[tair]\nregion = \"cn-hangzhou\"\nendpoint = \"http://127.0.0.1:{}\"\n", emulator.port));
    let mut command = cloud.command(&["describe-backups", "--instance-id", "r-cloud", "--include", "destructive"]);
    command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY).env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(5) && said.contains("[log.none]") && said.contains("audit log"), "{said}");
}
