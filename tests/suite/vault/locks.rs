//! A bucket that keeps what is put there: what it refuses to delete is retained and no failure, what hides or covers an object of ours is seen
//! through and told, and a key that may not delete is enough.

use super::contract::content;
use super::{GivenUp, Place, RDB, expired, metadata};
use crate::support::log::{LONG, Service, service_log};
use crate::support::s3::{self, ARCHIVER, Fate, KEY, Line};
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::io::Read as _;
use std::sync::Arc;
use tair_backup_mcp::config::vault::BucketPlace;
use tair_backup_mcp::guard::grant::{Delete, Grant};
use tair_backup_mcp::model::backup::BackupSet;
use tair_backup_mcp::model::fault::Kind;
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::model::vault_check::Deletion;
use tair_backup_mcp::vault::bucket::Bucket;
use tair_backup_mcp::vault::ingest::Metadata;
use tair_backup_mcp::vault::lacking::is_refused;
use tair_backup_mcp::vault::locking::Extension;
use tair_backup_mcp::vault::store::{Overlaid, Store as _};

const ID: &str = "b-20260101T000000Z-aaaaaa";
const LEFT: &str = "b-20260102T000000Z-bbbbbb";

/// Retention's verdict on a set, as if nothing locked it.
fn verdict(set: &BackupSet) -> Grant<Delete> {
    expired(&BackupSet { locked_until: None, ..set.clone() })
}

/// What lies over objects of the instance.
pub fn overlaid(place: &Place) -> Vec<(String, Overlaid)> {
    let mut all = Vec::new();
    place.vault.store().overlaid("orders", &mut |name, what| all.push((name.to_owned(), what))).unwrap();
    all
}

/// When the locks of a set's objects end, in seconds since the epoch; `None` for what has none.
fn ends(place: &Place, id: &str) -> [Option<i64>; 2] {
    let lock = |name: &str| place.vault.store().lock(&format!("orders/{id}/{name}")).unwrap();
    ["data.rdb.zst", "manifest.json"].map(|name| lock(name).map(|lock| lock.until.as_second()))
}

pub fn is_whole(place: &Place, set: &BackupSet) {
    let mut data = Vec::new();
    place.run(place.vault.open_data(set)).unwrap().read_to_end(&mut data).unwrap();
    assert_eq!(data, RDB);
    place.run(place.vault.verify(set)).unwrap();
}

/// A set says until when its bucket keeps it, and nobody deletes it before; nor is what a job has left of one, and that is no failure.
#[test]
fn what_a_lock_keeps_is_retained() {
    let place = Place::on(|spill| s3::vault_in(s3::locked(), &s3::prefix(), KEY, spill));
    let set = place.set(ID);
    let (until, day) = (set.locked_until.expect("it says until when"), SignedDuration::from_hours(24));
    let left = until.duration_since(Timestamp::now());
    assert!(left <= day && left > day - SignedDuration::from_mins(10), "{until}");
    std::mem::forget(place.staged(LEFT).unwrap());
    let lists = [(LEFT.to_owned(), false), (ID.to_owned(), true)];
    assert_eq!(place.list(&[]), lists);

    let fault = place.run(place.vault.delete(verdict(&set), "orders", ID)).unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Refused, "backup.locked"), "{fault:?}");
    assert!(fault.message.contains("retained"), "{fault:?}");
    place.run(place.vault.sweep("orders", &GivenUp(vec![LEFT.to_owned()]))).unwrap();
    // Not even hidden.
    let store = place.vault.store();
    let refused = store.delete(&format!("orders/{ID}/manifest.json")).unwrap_err();
    assert!(is_refused(&refused), "{refused}");
    assert_eq!((place.list(&[]), overlaid(&place)), (lists.to_vec(), vec![]));
    is_whole(&place, &set);
}

/// An intruder with all rights hides one object and puts another over the next: whoever comes anew reads what was put first, and is told. Where
/// nothing locks them, a deletion of ours leaves nothing of either.
#[test]
fn what_hides_or_covers_an_object_is_passed_over() {
    for bucket in [s3::locked(), s3::versioned()] {
        let prefix = s3::prefix();
        let there = || Place::on(|spill| s3::vault_in(bucket, &prefix, KEY, spill));
        let set = there().set(ID);
        assert_eq!(set.locked_until.is_some(), bucket == s3::locked());
        let target = |name: &str| format!("/{bucket}/{prefix}/orders/{ID}/{name}");
        assert_eq!(s3::request("DELETE", &target("manifest.json"), &[], ""), 204);
        // Of what is put over a marker that hides nothing.
        assert_eq!(s3::request("DELETE", &target("data.rdb.zst"), &[], ""), 204);
        assert_eq!(s3::request("PUT", &target("data.rdb.zst"), &[], "theirs"), 200);

        let place = there();
        assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "{bucket}");
        is_whole(&place, &set);
        let over = [("data.rdb.zst", Overlaid::ByAVersion), ("manifest.json", Overlaid::ByAMarker)];
        let over = over.map(|(name, what)| (format!("{ID}/{name}"), what));
        assert_eq!(overlaid(&place), over, "{bucket}");
        if bucket == s3::versioned() {
            place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
            let store = place.vault.store();
            assert_eq!((store.list("").unwrap(), overlaid(&place)), (vec![], vec![]));
            // The name is free.
            store.put_new("a/small", b"first").unwrap();
            assert_eq!(content(&*store, "a/small"), b"first");
        }
    }
}

/// Sets and objects from before their bucket kept versions are deleted for ever, by whoever has seen them before and by whoever comes anew.
#[test]
fn what_was_put_before_versions_were_kept_is_deleted() {
    const BUCKET: &str = "turned-on";
    assert_eq!(s3::request("PUT", &format!("/{BUCKET}"), &[], ""), 200);
    let prefix = s3::prefix();
    let there = || Place::on(|spill| s3::vault_in(BUCKET, &prefix, KEY, spill));
    let before = there();
    let (first, second) = (before.set(ID), before.set(LEFT));
    before.vault.store().put_new("a/small", b"old").unwrap();
    s3::keep_versions(BUCKET);

    before.run(before.vault.delete(expired(&first), "orders", ID)).unwrap();
    let anew = there();
    assert_eq!(anew.list(&[]), [(LEFT.to_owned(), true)]);
    assert_eq!(content(&*anew.vault.store(), "a/small"), b"old");
    anew.run(anew.vault.delete(expired(&second), "orders", LEFT)).unwrap();
    anew.vault.store().delete("a/small").unwrap();
    // Hidden objects are listed, too.
    assert_eq!((there().vault.store().list("").unwrap(), overlaid(&there())), (vec![], vec![]));
}

/// A server may name no version of what was put before versions were kept: that says nothing of any other object.
#[test]
fn an_object_without_a_version_says_nothing_of_others() {
    let prefix = s3::prefix();
    let line = Line::to(s3::port(), |request| {
        if !request.is("HEAD", "/a/old") {
            return Fate::Pass;
        }
        let headers = [("content-length", "3"), ("etag", "\"e\""), ("last-modified", "Fri, 27 Nov 2026 00:00:00 GMT")];
        Fate::Answer {
            status: 200,
            headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
            body: Vec::new(),
        }
    });
    let place = BucketPlace { bucket: s3::versioned().into(), ..s3::place_at(line.port, &prefix) };
    let store = Bucket::new(place, Some(Arc::new(s3::key())));
    store.put_new("a/old", b"old").unwrap();
    store.put_new("a/new", b"new").unwrap();
    assert_eq!(s3::request("DELETE", &format!("/{}/{prefix}/a/new", s3::versioned()), &[], ""), 204);
    assert!(store.has("a/old").unwrap());
    assert_eq!(content(&store, "a/new"), b"new");
    store.delete("a/old").unwrap();
    assert_eq!(store.list("a").unwrap(), ["new"]);
}

/// Without any right to delete sets are taken and read, and what would be deleted stays, which is no failure.
#[test]
fn a_key_without_the_right_to_delete_is_enough() {
    let prefix = s3::prefix();
    let place = Place::on(|spill| s3::vault_in(s3::BUCKET, &prefix, ARCHIVER, spill));
    let set = place.set(ID);
    assert_eq!(set.locked_until, None);
    std::mem::forget(place.staged(LEFT).unwrap());
    place.run(place.vault.sweep("orders", &GivenUp(vec![LEFT.to_owned()]))).unwrap();
    for _ in 0..2 {
        let fault = place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap_err();
        assert_eq!((fault.kind, fault.code), (Kind::Refused, "backup.retained"), "{fault:?}");
    }
    assert_eq!(place.list(&[]), [(LEFT.to_owned(), false), (ID.to_owned(), true)]);
    is_whole(&place, &set);
    assert_eq!(place.run(place.vault.probe()).unwrap().deletion, Deletion::Refused);
    // Another key does it.
    let expiring = Place::on(|spill| s3::vault_in(s3::BUCKET, &prefix, KEY, spill));
    expiring.run(expiring.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!(place.list(&[]), [(LEFT.to_owned(), false)]);
}

/// The service runs on such a key: what has expired is told to be retained, as information, and backups are taken.
#[test]
fn a_service_runs_without_the_right_to_delete() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let place = Place::on(|spill| s3::vault_in(s3::BUCKET, &prefix, ARCHIVER, spill));
    let over = Metadata { expires_at: Some(Timestamp::UNIX_EPOCH), ..metadata() };
    let staged = place.staged(ID).unwrap();
    place.run(staged.commit(over)).unwrap();
    let mut bench = Bench::new(&format!("vault = \"{}\"\n{}", s3::url(&prefix), unattended(&redis, "")));
    bench.env = vec![("AWS_ACCESS_KEY_ID", ARCHIVER.0.to_owned()), ("AWS_SECRET_ACCESS_KEY", ARCHIVER.1.to_owned())];
    // The last set would stay in any case.
    let backup = bench.backup();
    let service = Service::start(&bench);
    let told = format!("backup {ID} is retained, whole");
    wait("it to be retained", LONG, || service_log(&bench).contains(&told).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    let log = service_log(&bench);
    assert!(!log.contains("could not be deleted") && !log.contains("could not be removed"), "{log}");
    assert_eq!(place.list(&[]), [(backup, true), (ID.to_owned(), true)]);
}

/// A lock is extended by version, whatever lies over its object; it is never shortened, and none is made. A key without the right is told so.
#[test]
fn a_lock_is_extended_and_never_shortened() {
    let prefix = s3::prefix();
    let there = |key| Place::on(|spill| s3::vault_in(s3::locked(), &prefix, key, spill));
    let place = there(KEY);
    let set = place.set(ID);
    let target = |name: &str| format!("/{}/{prefix}/orders/{ID}/{name}", s3::locked());
    assert_eq!(s3::request("DELETE", &target("manifest.json"), &[], ""), 204);
    assert_eq!(s3::request("PUT", &target("data.rdb.zst"), &[], "theirs"), 200);

    let now = Timestamp::now();
    let day = |n: i32| now + SignedDuration::from_hours(24) * n;
    let extend = |place: &Place, until| place.run(place.vault.extend_lock(&set, until)).unwrap();
    assert_eq!(extend(&place, day(3)), Extension::Done);
    let extended = [Some(day(3).as_second()); 2];
    assert_eq!(ends(&place, ID), extended);
    assert_eq!(place.run(place.vault.locked(&set)).unwrap().map(|until| until.as_second()), extended[1]);
    for until in [day(2), day(3)] {
        assert_eq!(extend(&place, until), Extension::Needless);
    }
    let refused = extend(&there(ARCHIVER), day(4));
    assert!(matches!(&refused, Extension::Refused(why) if why.contains("Access Denied")), "{refused:?}");
    assert_eq!(ends(&place, ID), extended);
    is_whole(&place, &set);

    let unlocked = Place::on(|spill| s3::vault_in(s3::versioned(), &prefix, KEY, spill));
    let set = unlocked.set(ID);
    assert_eq!(unlocked.run(unlocked.vault.extend_lock(&set, day(3))).unwrap(), Extension::Needless);
    assert_eq!(ends(&unlocked, ID), [None; 2]);
}

/// The service extends what is needed and soon unlocked, by a period and no later than that; not what goes, nor what somebody keeps. Under a key
/// without the right it says so once, as information.
#[test]
fn a_service_extends_the_locks_of_what_is_needed() {
    const ENDS: &str = "b-20260103T000000Z-cccccc";
    const GOES: &str = "b-20260104T000000Z-dddddd";
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let place = Place::on(|spill| s3::vault_in(s3::lockable(), &prefix, KEY, spill));
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let soon = now + hour;
    for (id, expires_at) in
        [(ID, Some(now + hour * 720)), (LEFT, None), (ENDS, Some(now + hour * 3)), (GOES, Some(Timestamp::UNIX_EPOCH))]
    {
        let staged = place.staged(id).unwrap();
        place.run(staged.commit(Metadata { expires_at, locked_until: Some(soon), ..metadata() })).unwrap();
        for name in ["data.rdb.zst", "manifest.json"] {
            s3::lock(&format!("{prefix}/orders/{id}/{name}"), soon);
        }
    }
    let as_it_was = [Some(soon.as_second()); 2];
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::lockable(), s3::port());
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    let run_until = |bench: &Bench, told: &str, times: usize| {
        let service = Service::start(bench);
        wait(told, LONG, || (service_log(bench).matches(told).count() >= times).then_some(()));
        assert_eq!(service.ask_to_end(), Some(0));
        let log = service_log(bench);
        assert!(log.matches(told).count() == times && !log.contains("could not be extended"), "{log}");
    };

    bench.env = vec![("AWS_ACCESS_KEY_ID", ARCHIVER.0.to_owned()), ("AWS_SECRET_ACCESS_KEY", ARCHIVER.1.to_owned())];
    // The last set would stay in any case.
    bench.backup();
    run_until(&bench, "is not extended, which takes the right s3:PutObjectRetention", 1);
    assert!([ID, LEFT, ENDS, GOES].iter().all(|id| ends(&place, id) == as_it_was));

    bench.env = s3::environment(KEY.1);
    run_until(&bench, "is extended until", 2);
    let [data, manifest] = ends(&place, ID).map(Option::unwrap);
    let (from, to) = ((now + hour * 24).as_second(), (Timestamp::now() + hour * 24).as_second());
    assert!(data == manifest && (from..=to).contains(&data), "{data} {manifest} {from} {to}");
    assert_eq!(ends(&place, ENDS), [Some((now + hour * 3).as_second()); 2]);
    assert_eq!([ends(&place, LEFT), ends(&place, GOES)], [as_it_was; 2]);
    let retained = bench.json(&["retention", "--instance-id", "orders"])["sets"].clone();
    let row = retained.as_array().unwrap().iter().find(|row| row["backup_id"] == ID).unwrap();
    let until = written(Timestamp::from_second(data).unwrap());
    assert_eq!(row["why"], format!("locked until {until}"), "{retained}");
}

/// A probe tells for how long what is put is locked, and puts nothing more as long as it is.
#[test]
fn a_lock_is_tried() {
    let place = Place::on(|spill| s3::vault_in(s3::locked(), &s3::prefix(), KEY, spill));
    for _ in 0..2 {
        let probe = place.run(place.vault.probe()).unwrap();
        let Deletion::LockedFor(lock) = probe.deletion else { panic!("{probe:?}") };
        let off = lock - SignedDuration::from_hours(24);
        assert!(off.abs() < SignedDuration::from_secs(30), "{probe:?}");
        assert!(probe.create_only && probe.listed && probe.ranged, "{probe:?}");
    }
    let store = place.vault.store();
    let mut names = store.list("").unwrap();
    names.sort();
    assert_eq!(names, [".probe/create-only", ".probe/lock"]);
    store.overlaid(".probe", &mut |name, what| panic!("{name}: {what:?}")).unwrap();
    let unlocked = Place::on(|spill| s3::vault_in(s3::versioned(), &s3::prefix(), KEY, spill));
    assert_eq!(unlocked.run(unlocked.vault.probe()).unwrap().deletion, Deletion::Done);
    assert_eq!(unlocked.vault.store().list("").unwrap(), [".probe/create-only"]);
}

/// What the doctor says of the bucket's lock.
fn told_of_the_lock(bench: &Bench) -> Value {
    let said: Value = serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
    said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vault lock").unwrap().clone()
}

/// Sets that are kept for exactly as long as the bucket locks them are no finding.
#[test]
fn a_lock_as_long_as_the_policy_is_not_too_long() {
    s3::locked_for("locked-week", 7);
    let url = format!("s3://locked-week/{}?endpoint=http://127.0.0.1:{}", s3::prefix(), s3::port());
    let policy = "preferred_backup_time = \"02:00Z-03:00Z\"\nbackup_retention_period = 7";
    let instance = format!("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n{policy}\n");
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{instance}"));
    bench.env = s3::environment(KEY.1);
    let found = told_of_the_lock(&bench);
    assert_eq!(found["status"], "pass", "{found}");
    assert!(text(&found["detail"]).ends_with("for 7 days, as long as policies keep sets"), "{found}");
}

/// A bucket that does not answer for a moment is asked again until when it keeps an object.
#[test]
fn a_lock_is_asked_for_again() {
    let fates = [Fate::error(503, "SlowDown"), Fate::Lose, Fate::error(429, "TooManyRequests")];
    let mut fates = fates.into_iter();
    let line = Line::to(s3::port(), move |request| {
        // The only question that is signed in its address.
        let fate = if request.is("HEAD", "X-Amz-Signature") { fates.next() } else { None };
        fate.unwrap_or(Fate::Pass)
    });
    let place = BucketPlace { bucket: s3::locked().into(), ..s3::place_at(line.port, &s3::prefix()) };
    let store = Bucket::new(place, Some(Arc::new(s3::key())));
    store.put_new("a/small", b"ours").unwrap();
    assert!(store.lock("a/small").unwrap().is_some_and(|lock| lock.until > Timestamp::now()));
}

/// The whole program: who asks is told why a set stays, for how long the bucket locks, and what an intruder did.
#[test]
fn a_locked_bucket_is_a_vault() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::locked(), s3::port());
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = s3::environment(KEY.1);
    let backup = bench.backup();
    let refused = bench.run(&["delete-backup", "--instance-id", "orders", "--backup-id", &backup]);
    assert!(refused.code == 3 && refused.err.contains("backup.locked"), "{refused:?}");
    let retained = bench.json(&["retention", "--instance-id", "orders"])["sets"][0].clone();
    assert!(retained["goes"] == false && text(&retained["why"]).starts_with("locked until"), "{retained}");

    let found = told_of_the_lock(&bench);
    assert_eq!(found["status"], "pass", "{found}");
    assert!(text(&found["detail"]).contains("cannot be deleted for 1 day"), "{found}");

    let key = format!(".keys/{}.pub", text(&bench.json(&["vault", "verify"])["key_id"]));
    let target = |name: &str| format!("/{}/{prefix}/{name}", s3::locked());
    assert_eq!(s3::request("PUT", &target("key.age"), &[], "theirs"), 200);
    let manifest = format!("orders/{backup}/manifest.json");
    for (n, name) in ["key.age", key.as_str(), manifest.as_str()].into_iter().enumerate() {
        assert_eq!(s3::request("DELETE", &target(name), &[], ""), 204);
        let verified = bench.run(&["vault", "verify"]);
        assert!(
            verified.code == 6 && verified.out.contains(&format!("{name}: a delete marker hides it")),
            "{verified:?}"
        );
        assert_eq!(verified.out.matches("a delete marker hides it").count(), n + 1, "{verified:?}");
    }
    redis.run(&["SET", "a", "2"]);
    assert_eq!(bench.restore(&backup).code, 0);
    assert_eq!(redis.run(&["GET", "a"]).text(), "1");
}
