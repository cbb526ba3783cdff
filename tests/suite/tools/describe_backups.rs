//! The sets of an instance: by page, by range and by id, newest first.

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
    assert_eq!((&one["backups"][0]["keys"], &one["backups"][0]["status"]), (&1.into(), &"whole".into()), "{one}");
}
