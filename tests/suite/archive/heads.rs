//! What is taken from the end of a log is missed, for up to where each timeline was on the vault is remembered elsewhere; and nothing is missed that
//! retention removed, that has come since, or that lies in a copy.

use super::collector::{KIND, logging};
use super::*;
use crate::support::log::{Service, archived_to, begun, coverage, position, service_log};
use crate::support::{Bench, Redis, text, write_over};
use serde_json::Value;
use tair_backup_mcp::archive::Kept;
use tair_backup_mcp::guard::retention::Outlived;
use tair_backup_mcp::model::log::LogHead;
use tair_backup_mcp::state::heads::Heads as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::vault::watch::Watch;

/// Five segments, and the head of the log behind each.
fn five(log: &Log) -> Vec<LogHead> {
    let mut writer = log.writer(1 << 20);
    let one = |n: i64| {
        put(&mut writer, &set("a", &n.to_string()), T0 + n);
        writer.seal_now().unwrap();
        let mut sealer = writer.sealer();
        sealer.seal().unwrap();
        sealer.head().unwrap()
    };
    (0..5).map(one).collect()
}

/// What is missed of a head; reading more makes no difference.
fn missed(archive: &Archive, head: &LogHead) -> Option<String> {
    let quick = archive.lost_behind(head, false).unwrap();
    assert_eq!(archive.lost_behind(head, true).unwrap(), quick);
    quick
}

#[test]
fn the_end_of_a_timeline_is_missed_where_it_is_gone() {
    let log = Log::new();
    let heads = five(&log);
    let newest = &heads[4];
    let names: Vec<String> =
        log.segments().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(heads.iter().map(|head| head.segment.clone()).collect::<Vec<_>>(), names);
    assert_eq!((newest.offset, newest.until), (log.coverage().runs[0].last(), at(T0 + 4)));
    for head in &heads {
        assert_eq!(missed(&log.archive, head), None, "the log goes on behind an older head");
    }
    let aside = log.dir.path().join("aside");
    copy_dir(&log.vault_dir(), &aside);
    for path in &log.segments()[3..] {
        std::fs::remove_file(path).unwrap();
    }
    let told = missed(&log.archive, newest).unwrap();
    assert!(told.contains(&newest.segment) && told.contains(&format!("offset {}) now", heads[2].offset)), "{told}");
    assert!(told.contains(&format!("offset {})", newest.offset)) && told.contains(&log.timeline.id), "{told}");
    assert_eq!(missed(&log.archive, &heads[2]), None, "what is remembered is there");
    // Of a timeline of which nothing is left, or no record, that is told.
    std::fs::remove_dir_all(log.vault_dir()).unwrap();
    let told = missed(&log.archive, &heads[0]).unwrap();
    assert!(told.contains("no segment of this timeline is there"), "{told}");
    copy_dir(&aside, &log.vault_dir());
    std::fs::remove_file(log.vault_dir().join("timeline.json")).unwrap();
    let told = missed(&log.archive, newest).unwrap();
    assert!(told.contains("timeline.json: is not there"), "{told}");
    std::fs::copy(aside.join("timeline.json"), log.vault_dir().join("timeline.json")).unwrap();
    assert_eq!(missed(&log.archive, newest), None);
    // One of the middle is, by the head that it was.
    std::fs::remove_file(&log.segments()[1]).unwrap();
    let told = missed(&log.archive, &heads[1]).unwrap();
    assert!(told.contains("though the log goes on behind it"), "{told}");
}

/// Another segment under the newest's own name shows to whoever reads all.
#[test]
fn a_newest_segment_that_was_exchanged_shows() {
    let log = Log::new();
    let other = TempDir::new().unwrap();
    copy_dir(&log.dir.path().join("vault"), &other.path().join("vault"));
    let other = Log { archive: archive(other.path(), "spool"), dir: other, timeline: log.timeline.clone() };
    let write = |log: &Log, value: &str| {
        let mut writer = log.writer(1 << 20);
        put(&mut writer, &set("a", value), T0);
        writer.seal_now().unwrap();
        let mut sealer = writer.sealer();
        sealer.seal().unwrap();
        sealer.head().unwrap()
    };
    let (ours, theirs) = (write(&log, "one"), write(&other, "two"));
    assert_eq!(ours.segment, theirs.segment);
    write_over(&log.segments()[0], std::fs::read(&other.segments()[0]).unwrap());
    assert_eq!(log.archive.lost_behind(&ours, false).unwrap(), None, "what is quickly read is its name");
    let told = log.archive.lost_behind(&ours, true).unwrap().unwrap();
    assert!(told.contains("is another segment"), "{told}");
}

#[test]
fn what_was_pruned_or_copied_is_not_missed() {
    let log = Log::new();
    let heads = five(&log);
    let expired = BackupSet { mode: Mode::Automated, ..base(0, T0) };
    let grant = Outlived::by_policy("orders", &[expired], &[], Some(7), at(T0)).unwrap().prune();
    let kept = Kept { sets: Vec::new(), damaged: Vec::new(), in_use: Vec::new(), since: at(T0 + 1000) };
    assert_eq!(log.archive.prune(grant, 0, &kept).unwrap(), 4);
    let copy = TempDir::new().unwrap();
    let there = archive(copy.path(), "none");
    log.archive.copy_log(&there, "orders", false, &Watch::default(), &mut |_, _| ()).unwrap();
    for head in &heads {
        assert_eq!(missed(&log.archive, head), None);
        assert_eq!(missed(&there, head), None);
    }
}

fn verify(bench: &Bench, args: &[&str]) -> (i32, Value) {
    let done = bench.run(&[&["vault", "verify", "--json"], args].concat());
    (done.code, done.json())
}

/// What is wrong with the log of `orders`; the exit code agrees.
fn wrong(bench: &Bench) -> String {
    let (code, told) = verify(bench, &[]);
    let all = told["logs"][0]["wrong"].as_array().cloned().unwrap_or_default();
    let wrong = all.iter().map(text).collect::<Vec<_>>().join("; ");
    assert_eq!(code == 6, !wrong.is_empty(), "{told}");
    wrong
}

/// By the service and the commands: the head is remembered as segments come to the vault, also the last one of a process that ends.
#[tokio::test]
async fn the_newest_segment_of_a_service_is_missed() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    let service = Service::start(&bench);
    begun(&bench, &redis);
    redis.run(&["SET", "a", "2"]);
    archived_to(&bench, position(&redis).1);
    assert_eq!(service.ask_to_end(), Some(0), "{}", service_log(&bench));
    let run = coverage(&bench).runs.pop().unwrap();
    let (newest, timeline) = (run.segments.last().unwrap(), run.timeline.id.as_str());
    assert!(run.segments.len() > 1, "{:?}", run.segments);
    let store = Sqlite::new(&bench.home());
    let heads = store.heads(Some("orders")).await.unwrap();
    let [head] = heads.as_slice() else { panic!("{heads:?}") };
    assert_eq!((head.segment.as_str(), head.offset), (newest.to_string().as_str(), newest.last));
    assert_eq!((wrong(&bench).as_str(), verify(&bench, &["--deep"]).0), ("", 0));

    let forget = |timeline: &str| bench.run(&["vault", "forget", "--instance-id", "orders", "--timeline", timeline]);
    let there = forget(timeline);
    assert!(there.code == 3 && there.err.contains("[log.there]"), "{there:?}");
    let unknown = forget("t-other");
    assert!(unknown.code == 4 && unknown.err.contains("[log.not_found]"), "{unknown:?}");

    let folder = bench.home().join("vault/.log/orders/0").join(timeline);
    std::fs::remove_file(folder.join(newest.to_string())).unwrap();
    let before = &run.segments[run.segments.len() - 2];
    let told = wrong(&bench);
    assert!(told.contains(timeline) && told.contains(&format!("offset {}) now", before.last)), "{told}");
    assert!(told.contains(&format!("vault forget --instance-id orders --timeline {timeline}")), "{told}");
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.out.contains("changed from outside"), "{doctor:?}");

    // A state that was brought here from before: the head is older than the log.
    let (place, older) = (bench.home().join("vault/.log/orders/0"), before.last);
    store.forget_head("orders", 0, timeline).await.unwrap();
    let old = LogHead { segment: before.to_string(), offset: older, ..head.clone() };
    store.set_head(&old).await.unwrap();
    assert_eq!(wrong(&bench), "");

    // A whole timeline; and a person's word that it was meant to go.
    std::fs::remove_dir_all(place.join(timeline)).unwrap();
    let told = wrong(&bench);
    assert!(told.contains("no segment of this timeline is there") && told.contains(timeline), "{told}");
    let forgotten = forget(timeline);
    assert!(forgotten.code == 0 && forgotten.out.contains("is forgotten"), "{forgotten:?}");
    assert_eq!(wrong(&bench), "");
    assert!(bench.run(&["audit", "--json"]).out.contains("log.forgotten"));
}
