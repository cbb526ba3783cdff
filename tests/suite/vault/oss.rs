//! A vault on OSS, where its bucket keeps versions, has kept them, or never did: what an intruder hides or covers is read and told, and a name is given
//! once although OSS passes over the condition. Played against replies of the documented form, not against the service.

use super::contract::content;
use super::locks::{is_whole, overlaid};
use super::{GivenUp, Place, expired};
use crate::support::oss::{Oss, Versioning};
use crate::support::{Bench, Redis, text, unattended};
use serde_json::Value;
use std::io::ErrorKind;
use tair_backup_mcp::model::vault_check::Deletion;
use tair_backup_mcp::vault::lacking::is_refused;
use tair_backup_mcp::vault::store::{Overlaid, Store as _};

const ID: &str = "b-20260101T000000Z-aaaaaa";

fn requests(oss: &Oss, method: &str, part: &str) -> usize {
    oss.line.seen().iter().filter(|request| request.method == method && request.target.contains(part)).count()
}

/// As on S3: whoever comes anew reads what was put first, and is told; a deletion of ours leaves nothing of either. Whoever may not list versions is
/// not told, and reads what is there.
#[test]
fn what_hides_or_covers_an_object_is_passed_over() {
    let oss = Oss::start(Versioning::Enabled);
    let there = || Place::on(|spill| oss.vault(spill));
    let set = there().set(ID);
    let name = |name: &str| format!("orders/{ID}/{name}");
    let first = oss.versions(&name("data.rdb.zst"));
    oss.delete(&name("manifest.json"));
    // Of what is put over a marker that hides nothing.
    oss.delete(&name("data.rdb.zst"));
    oss.put(&name("data.rdb.zst"), b"theirs");

    let place = there();
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)]);
    is_whole(&place, &set);
    let over = [("data.rdb.zst", Overlaid::ByAVersion), ("manifest.json", Overlaid::ByAMarker)];
    assert_eq!(overlaid(&place), over.map(|(name, what)| (format!("{ID}/{name}"), what)));
    assert_eq!(content(&*place.vault.store(), &name("data.rdb.zst")), first[0].clone().unwrap());
    assert!(requests(&oss, "GET", "versionId=") > 0, "nothing was read by its version");
    assert!(requests(&oss, "GET", "versions&") > 0 && requests(&oss, "GET", "list-type") == 0);

    let set = place.run(place.vault.find("orders", ID, &())).unwrap();
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!((place.vault.store().list("").unwrap(), overlaid(&place)), (vec![], vec![]));
    for of in ["data.rdb.zst", "manifest.json", "manifest.json.deleting"] {
        assert!(oss.versions(&name(of)).is_empty(), "{of}");
    }

    let store = oss.store();
    store.put_new("a/small", b"ours").unwrap();
    oss.put("a/small", b"theirs");
    oss.deny_listing();
    let blind = oss.store();
    assert_eq!(blind.list("a").unwrap(), ["small"]);
    assert_eq!(content(&blind, "a/small"), b"theirs");
    blind.overlaid("a", &mut |name, what| panic!("{name}: {what:?}")).unwrap();
}

/// OSS takes what is put under a name that is taken, where it keeps versions: who came second is told so, and leaves nothing over the first, also over
/// one that a marker hides. What came twice, for a reply was lost, is ours, once.
#[test]
fn a_name_is_given_once() {
    let oss = Oss::start(Versioning::Enabled);
    let store = oss.store();
    store.put_new("a/small", b"first").unwrap();
    for store in [store, oss.store()] {
        assert_eq!(store.put_new("a/small", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(oss.versions("a/small"), [Some(b"first".to_vec())]);
    }
    let store = oss.store();
    oss.delete("a/small");
    assert_eq!(store.put_new("a/small", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(oss.versions("a/small"), [Some(b"first".to_vec()), None]);
    assert_eq!(content(&store, "a/small"), b"first");

    for (name, times) in [("a/lost", 1), ("a/twice", 2), ("a/never", u32::MAX)] {
        oss.lose_replies(times);
        store.put_new(name, b"ours").unwrap();
        assert!(requests(&oss, "PUT", name) > 1, "{:?}", oss.line.seen());
        assert_eq!(oss.versions(name), [Some(b"ours".to_vec())], "{name}");
    }
    oss.lose_replies(0);
    // One of ours that lands later still covers nothing; what somebody puts over both does.
    let over = || {
        let mut over = Vec::new();
        store.overlaid("a", &mut |name, what| over.push((name.to_owned(), what))).unwrap();
        over
    };
    oss.land_again("a/twice");
    oss.land_again("a/never");
    oss.put("a/never", b"theirs");
    assert_eq!(over(), [("never".to_owned(), Overlaid::ByAVersion), ("small".to_owned(), Overlaid::ByAMarker)]);
    store.delete("a/never").unwrap();

    // Without the right to delete it stays, and is told.
    oss.deny_deleting();
    assert_eq!(store.put_new("a/lost", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(content(&store, "a/lost"), b"ours");
    assert_eq!(over(), [("lost".to_owned(), Overlaid::ByAVersion), ("small".to_owned(), Overlaid::ByAMarker)]);
    let refused = store.delete("a/lost").unwrap_err();
    assert!(is_refused(&refused), "{refused}");
}

/// All pages of a listing are read, within the number that OSS documents, wherever one ends within the versions of a name.
#[test]
fn a_listing_is_read_to_its_end() {
    let oss = Oss::start(Versioning::Enabled);
    let store = oss.store();
    let names: Vec<String> = (0..7).map(|n| format!("n{n}")).collect();
    for name in &names {
        store.put_new(&format!("a/{name}"), b"ours").unwrap();
        oss.put(&format!("a/{name}"), b"theirs");
    }
    oss.delete("a/n3");
    assert_eq!(store.list("a").unwrap(), names);
    assert_eq!(store.folders("").unwrap(), ["a"]);
    let mut over = Vec::new();
    store.overlaid("a", &mut |name, what| over.push((name.to_owned(), what))).unwrap();
    let mut all: Vec<_> = names.iter().map(|name| (name.clone(), Overlaid::ByAVersion)).collect();
    all.push(("n3".to_owned(), Overlaid::ByAMarker));
    assert_eq!(over, all);
    assert!(requests(&oss, "GET", "version-id-marker=CAEQ") > 0, "{:?}", oss.line.seen());
    let listings = requests(&oss, "GET", "versions&");
    assert!(listings > 0 && listings == requests(&oss, "GET", "max-keys=999"), "{:?}", oss.line.seen());
}

/// Where versions may not be listed, what is not there may be hidden: of a job that has failed the manifest stays, too.
#[test]
fn what_may_be_hidden_is_not_swept() {
    let oss = Oss::start(Versioning::Enabled);
    let there = || Place::on(|spill| oss.vault(spill));
    there().set(ID);
    oss.delete(&format!("orders/{ID}/data.rdb.zst"));
    oss.deny_listing();
    let place = there();
    place.run(place.vault.sweep("orders", &GivenUp(vec![ID.to_owned()]))).unwrap();
    let manifest = oss.versions(&format!("orders/{ID}/manifest.json"));
    assert!(matches!(manifest.as_slice(), [Some(_)]), "{manifest:?}");
}

/// Where versions were never kept OSS refuses a second put itself, and nothing is asked by version.
#[test]
fn a_bucket_without_versions() {
    let oss = Oss::start(Versioning::Off);
    let place = Place::on(|spill| oss.vault(spill));
    let set = place.set(ID);
    assert_eq!(set.locked_until, None);
    is_whole(&place, &set);
    let store = place.vault.store();
    let manifest = format!("orders/{ID}/manifest.json");
    assert_eq!(store.put_new(&manifest, b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!(store.list("").unwrap(), [""; 0]);
    assert_eq!(oss.line.seen().iter().filter(|request| request.target.contains("versionId")).count(), 0);
}

/// A probe tells who sees to it that a name is given once: OSS itself, or the first of the versions; and where nobody does, for the bucket has kept
/// versions and keeps none now, or this key may not list them.
#[test]
fn what_a_bucket_enforces_is_tried() {
    let tried = |oss: &Oss| {
        let place = Place::on(|spill| oss.vault(spill));
        let [first, again] = [(); 2].map(|()| place.run(place.vault.probe()).unwrap());
        assert_eq!(first, again);
        assert!(first.listed && first.ranged, "{first:?}");
        (first.create_only, first.first_counts, first.deletion)
    };
    let oss = Oss::start(Versioning::Off);
    assert_eq!(tried(&oss), (true, false, Deletion::Done));
    oss.turn(Versioning::Enabled);
    assert_eq!(tried(&oss), (true, true, Deletion::Done));
    // What was put before versions were kept is lost by the next put.
    oss.turn(Versioning::Paused);
    assert!(!tried(&oss).0);

    let oss = Oss::start(Versioning::Enabled);
    assert_eq!(tried(&oss), (true, true, Deletion::Done));
    // What was put while they were kept is still the first; what is put now is lost.
    oss.turn(Versioning::Paused);
    assert!(!tried(&oss).0);

    let oss = Oss::start(Versioning::Paused);
    assert!(!tried(&oss).0);

    let oss = Oss::start(Versioning::Enabled);
    oss.deny_listing();
    assert!(!tried(&oss).0);
}

/// The whole program: what an intruder did is told by `vault verify`, what the bucket enforces by the doctor, and the set is restored.
#[test]
fn a_bucket_that_keeps_versions_is_a_vault() {
    let (redis, oss) = (Redis::start("redis-7.0", &[]), Oss::start(Versioning::Enabled));
    redis.run(&["SET", "a", "1"]);
    let mut bench = Bench::new(&format!("vault = \"{}\"\n{}", oss.url(), unattended(&redis, "")));
    bench.env = Oss::environment();
    let backup = bench.backup();
    let said: Value = serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
    let found = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vault").unwrap();
    assert!(found["status"] == "pass" && text(&found["detail"]).contains("the first counts here"), "{found}");

    assert_eq!(bench.run(&["vault", "verify"]).code, 0);
    let [data, manifest] = ["data.rdb.zst", "manifest.json"].map(|name| format!("orders/{backup}/{name}"));
    oss.put(&data, b"theirs");
    oss.delete(&manifest);
    let verified = bench.run(&["vault", "verify"]);
    let covered = format!("{data}: a newer version was put over it");
    let hidden = format!("{manifest}: a delete marker hides it");
    assert!(verified.code == 6 && verified.out.contains(&covered) && verified.out.contains(&hidden), "{verified:?}");
    redis.run(&["SET", "a", "2"]);
    assert_eq!(bench.restore(&backup).code, 0);
    assert_eq!(redis.run(&["GET", "a"]).text(), "1");
}
