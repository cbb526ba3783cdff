//! Single sets: how a set is made and deleted, which of two writers gets a name, and which sets may not be deleted.

use super::{Made, Place, RDB, expired, metadata};
use crate::redis::values::{Item, entry, listpack, packed, rdb, string};
use crate::support::write_over;
use jiff::Timestamp;
use std::io::{self, Read};
use tair_backup_mcp::guard::grant::Expired;
use tair_backup_mcp::model::backup::{BackupSet, Depth, Mode, Origin, Proof};
use tair_backup_mcp::model::fault::Kind;
use tair_backup_mcp::model::slots::HeldSlots;
use tair_backup_mcp::redis::rdb::error::RdbError;
use tair_backup_mcp::vault::ingest::{IngestError, Metadata};
use tair_backup_mcp::vault::manifest::Manifest;

const ID: &str = "b-20260101T000000Z-aaaaaa";

/// All metadata of a set is read back; the data is the RDB; no further object is stored.
#[test]
fn what_is_committed_is_what_is_read() {
    let place = Place::new();
    let origins = [
        Origin::Capture { address: "redis://10.0.0.1:6379".into() },
        Origin::Import { file: "dump.rdb".into(), sha256: "abc".into() },
        Origin::Copy { instance_id: "other".into(), backup_id: "b-1".into() },
    ];
    for (n, origin) in origins.into_iter().enumerate() {
        let id = format!("{ID}{n}");
        let staged = place.run(place.vault.ingest("orders", &id, origin.clone(), RDB, |bytes, rest| {
            assert_eq!(bytes, RDB.len() as u64);
            rest.is_empty()
        }));
        let until = Timestamp::from_second(4_102_444_800).unwrap();
        let of = Metadata { expires_at: Some(until), locked_until: Some(until), ..metadata() };
        let made = place.run(staged.unwrap().commit(of)).unwrap();
        let read = place.run(place.vault.find("orders", &id, &())).unwrap();
        assert_eq!(format!("{made:?}"), format!("{read:?}"));
        assert_eq!((read.origin, read.locked_until, read.expires_at), (origin, Some(until), Some(until)));
        assert_eq!(read.announced_version.as_deref(), Some("8.1.0"));
        assert_eq!((read.replication_id.as_str(), read.replication_offset), ("replid", 42));
        assert_eq!(read.counts.get(&0), Some(&(1, 0)));
        assert_eq!((read.held.clone(), read.held.is_some()), (metadata().held, true));
        assert_eq!(read.proof, Some(Proof { depth: Depth::Deep, crc64: true }));
        let mut data = Vec::new();
        place.run(place.vault.open_data(&made)).unwrap().read_to_end(&mut data).unwrap();
        assert_eq!(data, RDB);
        place.run(place.vault.verify(&made)).unwrap();
        assert_eq!(place.names(&id), ["data.rdb.zst", "manifest.json"]);
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path(&format!("{ID}2"), "manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["format"], 2);
    let node = serde_json::json!({"id": "n", "epoch": 3, "ranges": [[0, 5], [7, 7]]});
    assert_eq!(manifest["server"]["slots"], serde_json::json!({ "node": node }));
    assert_eq!(manifest["rdb"]["proof"], serde_json::json!({"depth": "deep", "crc64": true}));
    assert_eq!(manifest["origin"], serde_json::json!({"kind": "copy", "instance_id": "other", "backup_id": "b-1"}));
    // Room for the digest of the manifest before this one.
    assert_eq!(manifest.get("previous"), Some(&serde_json::Value::Null));
}

/// What would end a server that loads it makes no set, whatever its checksum says; what merely has no checksum makes a set that says so.
#[test]
fn a_set_is_proven_and_says_how_far() {
    let place = Place::new();
    let made = |n: usize, rdb: Vec<u8>| {
        let origin = Origin::Capture { address: String::new() };
        place.run(
            place.vault.ingest("orders", &format!("{ID}{n}"), origin, io::Cursor::new(rdb), |_, rest| rest.is_empty()),
        )
    };
    let key = |name: &str| entry(0, name, &string(b"v"));
    let pair = |field: &[u8]| listpack(&[Item::Text(field.into()), "v".into(), "f".into(), "v".into()]);
    let far = vec![[&[0x81][..], &(1_u64 << 40).to_be_bytes()].concat(); 2].concat();
    for (n, (what, body)) in [
        ("a key twice", [key("a"), key("b"), key("a")].concat()),
        ("a field twice", entry(16, "h", &string(&pair(b"f")))),
        ("a compressed field twice", entry(16, "h", &packed(&pair(b"f")))),
        ("more keys announced than memory holds", [&[251][..], &far, &key("a")].concat()),
    ]
    .into_iter()
    .enumerate()
    {
        for checksum in [true, false] {
            let failed = made(n, rdb("REDIS0010", &body, checksum)).unwrap_err();
            assert!(matches!(failed, IngestError::Rdb(RdbError::Corrupt { .. })), "{what}: {failed:?}");
            assert_eq!(place.names(&format!("{ID}{n}")), Vec::<String>::new(), "{what}");
        }
    }
    let sound = entry(16, "h", &string(&pair(b"g")));
    let set = place.run(made(9, rdb("REDIS0010", &sound, false)).unwrap().commit(metadata())).unwrap();
    assert_eq!(set.proof, Some(Proof { depth: Depth::Deep, crc64: false }));
    assert_eq!(place.run(place.vault.find("orders", &set.id, &())).unwrap().proof, set.proof);
    place.run(place.vault.verify(&set)).unwrap();
}

/// A manifest is read before anybody knows who wrote it: one of more values than ours can have takes no memory, and the largest of ours is read.
#[test]
fn a_manifest_has_so_many_values() {
    let wide = format!("{{\"format\":2,\"more\":[{}0]}}", "0,".repeat(1_000_000));
    let refused = Manifest::read(wide.as_bytes()).unwrap_err();
    assert!(refused.contains("more values"), "{refused}");
    let mut set = Place::new().set(ID);
    set.counts = (0..65_000).map(|db| (db, (1, 1))).collect();
    let ranges = (0..8192).map(|n| (2 * n, 2 * n)).collect();
    set.held = Some(HeldSlots::Node { id: "n".into(), epoch: 1, ranges });
    let read = Manifest::read(&Manifest::of(&set).unwrap()).unwrap();
    assert!(read.counts == set.counts && read.held == set.held);
}

/// A source that breaks off.
struct Broken(&'static [u8]);

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other("broken off")) } else { self.0.read(buf) }
    }
}

/// An incomplete RDB, one followed by other bytes, or one that breaks off leaves nothing; nor does data that is never
/// committed.
#[test]
fn what_is_not_whole_leaves_nothing() {
    let place = Place::new();
    let origin = || Origin::Capture { address: String::new() };
    let mut flipped = RDB.to_vec();
    flipped[RDB.len() - 9] ^= 1;
    let followed = [RDB, b"more"].concat();
    let followed_for_ever = || RDB.chain(io::repeat(0));
    let none = |_: u64, rest: &[u8]| rest.is_empty();
    let ingest = |from: Box<dyn Read + Send>| place.run(place.vault.ingest("orders", ID, origin(), from, none));
    let cut = |n: usize| Box::new(&RDB[..n]);
    for n in [0, 1, 9, RDB.len() - 1] {
        assert!(matches!(ingest(cut(n)), Err(IngestError::Rdb(_))), "{n}");
    }
    assert!(matches!(ingest(Box::new(io::Cursor::new(flipped))), Err(IngestError::Rdb(_))));
    assert!(matches!(ingest(Box::new(io::Cursor::new(followed))), Err(IngestError::Follows)));
    assert!(matches!(ingest(Box::new(followed_for_ever())), Err(IngestError::Follows)));
    assert!(matches!(ingest(Box::new(Broken(&RDB[..50]))), Err(IngestError::Rdb(_))));
    assert!(matches!(ingest(Box::new(Broken(RDB))), Err(IngestError::Read(_))));
    assert_eq!(place.names(""), Vec::<String>::new());
    let staged = place.staged(ID).unwrap();
    assert_eq!(place.names(ID), ["data.rdb.zst"]);
    drop(staged);
    assert_eq!(place.names(""), Vec::<String>::new());
}

/// A name is given once. A second writer, while the first is staging, gets nothing and removes nothing; of two that both
/// reach the commit, one wins; a manifest is never overwritten.
#[test]
fn a_name_is_given_once() {
    let place = Place::new();
    let first = place.staged(ID).unwrap();
    let Err(IngestError::Vault(fault)) = place.staged(ID) else { panic!("two have one name") };
    assert_eq!(fault.code, "vault.failed");
    assert_eq!(place.names(ID), ["data.rdb.zst"]);
    // As if two processes took each other for dead: the second begins anew while the first is about to commit.
    place.run(place.vault.discard_staging("orders", ID)).unwrap();
    let second = place.staged(ID).unwrap();
    let won = place.run(second.commit(Metadata { note: "second".into(), ..metadata() })).unwrap();
    let manifest = std::fs::read(place.path(ID, "manifest.json")).unwrap();
    let lost = place.run(first.commit(Metadata { note: "first".into(), ..metadata() })).unwrap_err();
    assert_eq!(lost.code, "vault.failed");
    assert_eq!(std::fs::read(place.path(ID, "manifest.json")).unwrap(), manifest, "it was written over");
    assert_eq!(place.names(ID), ["data.rdb.zst", "manifest.json"]);
    assert_eq!(place.run(place.vault.find("orders", ID, &())).unwrap().note, "second");
    place.run(place.vault.verify(&won)).unwrap();
    // A set cannot be ingested over, nor discarded as if it were none.
    assert!(place.staged(ID).is_err());
    place.run(place.vault.discard_staging("orders", ID)).unwrap();
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)]);
}

/// Where the data was taken away, or is another's by now, no manifest is put beside nothing; and what is another's stays.
#[test]
fn nothing_is_committed_without_its_data() {
    let place = Place::new();
    let staged = place.staged(ID).unwrap();
    place.run(place.vault.discard_staging("orders", ID)).unwrap();
    assert_eq!(place.run(staged.commit(metadata())).unwrap_err().code, "vault.failed");
    assert_eq!(place.names(""), Vec::<String>::new());
    let staged = place.staged(ID).unwrap();
    write_over(&place.path(ID, "data.rdb.zst"), "another's");
    assert_eq!(place.run(staged.commit(metadata())).unwrap_err().code, "vault.failed");
    assert_eq!(place.names(ID), ["data.rdb.zst"]);
}

/// Deletion takes a grant for the very instance, spares what is locked, and leaves nothing.
#[test]
fn deletion() {
    let place = Place::new();
    let set = place.set(ID);
    let other = BackupSet { instance_id: "payments".into(), ..set.clone() };
    let fault = place.run(place.vault.delete(expired(&other), "orders", ID)).unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Unexpected, "act.unsupported"));
    let beside = BackupSet { id: "b-20260104T000000Z-dddddd".into(), ..set.clone() };
    let fault = place.run(place.vault.delete(expired(&beside), "orders", ID)).unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Unexpected, "act.unsupported"), "another set of the same instance");
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)]);

    let locked = "b-20260102T000000Z-bbbbbb";
    let staged = place.staged(locked).unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    let until = |at: Timestamp| Metadata { locked_until: Some(at), ..metadata() };
    let kept = place.run(staged.commit(until(Timestamp::now() + hour))).unwrap();
    let now = Timestamp::now();
    let expired_at = |at| BackupSet { expires_at: Some(at), locked_until: None, ..kept.clone() };
    assert!(Expired::of(&expired_at(now + hour), now).is_none(), "it is still kept");
    assert!(Expired::of(&BackupSet { expires_at: None, ..expired_at(now) }, now).is_none(), "it is kept for ever");
    assert!(Expired::of(&BackupSet { expires_at: Some(now - hour), ..kept.clone() }, now).is_none(), "it is locked");
    // The vault looks for itself: a verdict on what the set was before it was locked deletes nothing.
    let unlocked_view = expired_at(now);
    let fault = place.run(place.vault.delete(expired(&unlocked_view), "orders", locked)).unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Refused, "backup.locked"));
    place.run(place.vault.verify(&kept)).unwrap();

    let over = "b-20260103T000000Z-cccccc";
    let staged = place.staged(over).unwrap();
    let unlocked = place.run(staged.commit(until(Timestamp::now() - hour))).unwrap();
    place.run(place.vault.delete(expired(&unlocked), "orders", over)).unwrap();
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!(place.names(""), [locked]);
    let fault = place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap_err();
    assert_eq!(fault.code, "backup.not_found");
    let hint = |id: &str| place.run(place.vault.hint_of_missing("orders", id, &()));
    assert!(hint(ID).is_some_and(|hint| hint.starts_with(&format!("The latest is {locked}."))), "{:?}", hint(ID));
    let slip = locked.replace("bbbbbb", "bbbbbc");
    assert!(hint(&slip).is_some_and(|hint| hint.starts_with(&format!("Did you mean {locked}?"))), "{:?}", hint(&slip));
    assert_eq!(hint(locked), None);
}

/// A safety backup is not offered as the latest set, though it is the newest: it most likely holds what somebody wants to undo.
#[test]
fn a_safety_backup_is_never_the_latest_that_is_offered() {
    let place = Place::new();
    let made = |id: &str, mode: Mode| {
        let staged = place.staged(id).unwrap();
        place.run(staged.commit(Metadata { mode, ..metadata() })).unwrap();
    };
    let hint = || place.run(place.vault.hint_of_missing("orders", ID, &())).unwrap();
    let safety = "b-20260105T000000Z-ffffff";
    made(safety, Mode::Safety);
    let alone = hint();
    assert!(alone.contains("safety backups alone") && !alone.contains(safety), "{alone}");
    assert!(alone.contains("describe_backups with instance_id orders"), "{alone}");
    for (id, mode) in [("b-20260102T000000Z-bbbbbb", Mode::Automated), ("b-20260103T000000Z-cccccc", Mode::Manual)] {
        made(id, mode);
        let told = hint();
        assert!(told.starts_with(&format!("The latest is {id}.")), "{told}");
    }
}

/// A set that a running job makes is not there yet: it neither lists nor is found. Once nobody makes it, both say what it is.
#[test]
fn a_set_being_made_is_not_there() {
    let place = Place::new();
    let staged = place.staged(ID).unwrap();
    let made = Made(vec![ID.into()]);
    assert_eq!(place.list(&[ID]), []);
    assert_eq!(place.run(place.vault.find("orders", ID, &made)).unwrap_err().code, "backup.not_found");
    assert_eq!(place.list(&[]), [(ID.to_owned(), false)]);
    let fault = place.run(place.vault.find("orders", ID, &())).unwrap_err();
    assert_eq!(fault.code, "backup.damaged");
    assert!(fault.message.contains("data without a manifest"), "{}", fault.message);
    place.run(staged.commit(metadata())).unwrap();
    // Committed while it was asked who makes it.
    assert_eq!(place.list(&[ID]), [(ID.to_owned(), true)]);
    assert_eq!(place.run(place.vault.find("orders", ID, &made)).unwrap().mode, Mode::Manual);
}

/// Of two that delete a set at once each finds it deleted, by itself or by the other.
#[test]
fn two_may_delete_a_set_at_once() {
    let place = Place::new();
    for _ in 0..30 {
        let set = place.set(ID);
        let delete = || place.vault.delete(expired(&set), "orders", ID);
        let (one, two) = place.run(async { tokio::join!(delete(), delete()) });
        for deleted in [one, two] {
            assert!(deleted.as_ref().err().is_none_or(|fault| fault.kind == Kind::NotFound), "{deleted:?}");
        }
        assert!(place.names(ID).is_empty(), "{:?}", place.names(ID));
    }
}
