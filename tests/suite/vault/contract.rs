//! What every store must do, asked of each alike: of a disk, and of a bucket of a real S3 server.

use super::{GivenUp, Place, RDB, expired, metadata};
use crate::support::s3;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use tair_backup_mcp::config::vault::VaultPlace;
use tair_backup_mcp::model::backup::{BackupSet, Origin};
use tair_backup_mcp::model::vault_check::Deletion;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::probe::Probe;
use tair_backup_mcp::vault::store::Store;

/// Asks the same of an empty store of each kind. Of the names some are those of data, which alone is encrypted.
fn of_each(ask: impl Fn(&str, &dyn Store)) {
    let dir = tempfile::TempDir::new().unwrap();
    ask("disk", &*Vault::new(dir.path().join("vault")).store());
    let key = super::encrypted::key_in(dir.path());
    ask("disk, encrypted", &*super::encrypted::vault_in(&dir.path().join("encrypted"), &key).store());
    ask("bucket", &*s3::store_at(s3::port(), &s3::prefix()));
    let place = VaultPlace::Bucket(s3::place_at(s3::port(), &s3::prefix()));
    let encrypted = Vault::at(&place, dir.path().to_owned(), Some(Arc::new(s3::key())), Some(&key));
    ask("bucket, encrypted", &*encrypted.store());
}

/// More than two parts of an upload; no two of its mebibytes are alike, and none shrinks.
pub fn large(seed: u8) -> Vec<u8> {
    let mut state = 1_u32;
    let block: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    })
    .take(1 << 18)
    .flatten()
    .collect();
    (0..17_u8).flat_map(|n| [&[seed, n], &block[2..]].concat()).collect()
}

pub fn upload(store: &dyn Store, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut upload = store.upload_whole(name)?;
    for piece in bytes.chunks(700_001) {
        upload.write_all(piece)?;
    }
    upload.finish()
}

pub fn content(store: &dyn Store, name: &str) -> Vec<u8> {
    let object = store.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(object.size().unwrap()).unwrap()];
    object.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn listed(store: &dyn Store, prefix: &str) -> Vec<String> {
    let mut names = store.list(prefix).unwrap();
    names.sort();
    names
}

/// A name is given once, however it is asked for: in one piece or in parts, one after the other or at once.
#[test]
fn a_name_is_given_once() {
    of_each(|kind, store| {
        upload(store, "a/data.zst", b"first").unwrap();
        store.put_new("a/small", b"first").unwrap();
        let kinds = |name: &str| {
            [
                store.put_new(name, b"second"),
                upload(store, name, b"second"),
                upload(store, name, &large(0)),
                store.upload_new(name).and_then(|mut upload| {
                    upload.write_all(b"second")?;
                    upload.finish()
                }),
            ]
        };
        for name in ["a/data.zst", "a/small"] {
            for (n, put) in kinds(name).into_iter().enumerate() {
                assert_eq!(put.unwrap_err().kind(), ErrorKind::AlreadyExists, "{kind} {name} {n}");
                assert_eq!(content(store, name), b"first", "{kind} {name} {n}");
            }
        }
        let race = |name: &str,
                    of: &(dyn Fn(u8) -> Vec<u8> + Sync),
                    put: &(dyn Fn(&str, &[u8]) -> std::io::Result<()> + Sync)| {
            let won: Vec<u8> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|n| scope.spawn(move || put(name, &of(n)).map(|()| n))).collect();
                all.into_iter().filter_map(|racer| racer.join().unwrap().ok()).collect()
            });
            let content = content(store, name);
            assert!(won.iter().any(|n| content == of(*n)), "{kind} {name}: {won:?}");
            won.len()
        };
        for round in 0..5 {
            let won = race(&format!("a/race{round}"), &|n| vec![n; 1000], &|name, bytes| store.put_new(name, bytes));
            assert_eq!(won, 1, "{kind}");
        }
        // On a busy machine SeaweedFS lets two complete an upload to one name now and then, though both ask it not to.
        let races = if kind.starts_with("disk") { 1 } else { 5 };
        let large_race = |n| race(&format!("a/large{n}.seg"), &large, &|name, bytes| upload(store, name, bytes));
        assert!((0..races).any(|n| large_race(n) == 1), "{kind}");
    });
}

/// What was put is listed at once, under its folder and no other, and any range of it is read by any number at once.
#[test]
fn what_is_put_is_listed_and_read() {
    of_each(|kind, store| {
        assert_eq!((store.list("a").unwrap(), store.folders("").unwrap()), (vec![], vec![]), "{kind}");
        assert!(
            !store.has("a/x/1.seg").unwrap() && store.open("a/x/1.seg").is_err_and(|e| e.kind() == ErrorKind::NotFound)
        );
        let bytes = large(1);
        for (name, bytes) in [("a/x/1.seg", &bytes[..]), ("a/y/2", &b"two"[..]), ("a/3", &[]), ("ab/x/4", &b"four"[..])]
        {
            upload(store, name, bytes).unwrap();
            assert!(store.has(name).unwrap(), "{kind} {name}");
        }
        assert_eq!(listed(store, "a"), ["3", "x/1.seg", "y/2"], "{kind}");
        assert_eq!(listed(store, "a/x"), ["1.seg"], "{kind}");
        assert_eq!(listed(store, "none"), [""; 0], "{kind}");
        let folders = |prefix: &str| {
            let mut names = store.folders(prefix).unwrap();
            names.sort();
            names
        };
        assert_eq!(
            (folders(""), folders("a"), folders("a/x")),
            (vec!["a".into(), "ab".into()], vec!["x".into(), "y".into()], vec![]),
            "{kind}"
        );
        let object = store.open("a/x/1.seg").unwrap();
        let size = bytes.len() as u64;
        assert_eq!(object.size().unwrap(), size);
        std::thread::scope(|scope| {
            for reader in 0..3_u64 {
                let (object, bytes) = (&object, &bytes);
                scope.spawn(move || {
                    // In order, from behind, and across.
                    for n in 0..40_u64 {
                        let at = [n * 400_000, size - (n + 1) * 300_000, n * 7_919_111 % size][reader as usize];
                        let mut part = vec![0; usize::try_from((size - at).min(300_000 + n)).unwrap()];
                        object.read_exact_at(&mut part, at).unwrap();
                        let at = usize::try_from(at).unwrap();
                        assert!(part == bytes[at..at + part.len()], "{kind} {reader} {at}");
                    }
                });
            }
        });
        for (at, len) in [(size, 1), (size - 1, 2), (u64::MAX, 1)] {
            let past = object.read_exact_at(&mut vec![0; len], at).unwrap_err();
            assert!(matches!(past.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput), "{kind} {at}: {past}");
        }
        object.read_exact_at(&mut [], size).unwrap();
        assert_eq!(content(store, "a/3"), b"");
    });
}

/// More names than a page of a bucket's listing has.
#[test]
fn many_names_are_listed() {
    let store = s3::store_at(s3::port(), &s3::prefix());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &*store;
            scope.spawn(move || (0..160).for_each(|n| upload(store, &format!("a/{thread}-{n:03}/x"), b"x").unwrap()));
        }
    });
    assert_eq!((store.list("a").unwrap().len(), store.folders("a").unwrap().len()), (8 * 160, 8 * 160));
}

/// What is not finished has no name; what is renamed has one; what is deleted has none, and is deleted again without a word.
#[test]
fn what_is_given_up_renamed_or_deleted() {
    of_each(|kind, store| {
        let mut given_up = store.upload_whole("a/large.zst").unwrap();
        given_up.write_all(&large(0)).unwrap();
        assert!(!store.has("a/large.zst").unwrap(), "{kind}");
        drop(given_up);
        assert_eq!(listed(store, "a"), [""; 0], "{kind}");
        upload(store, "a/one", b"one").unwrap();
        store.rename("a/one", "a/two").unwrap();
        assert_eq!((listed(store, "a"), content(store, "a/two")), (vec!["two".to_owned()], b"one".to_vec()), "{kind}");
        assert_eq!(store.rename("a/one", "a/three").unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
        for _ in 0..2 {
            store.delete("a/two").unwrap();
            store.deleted("a").unwrap();
        }
        store.prune("a");
        assert_eq!(listed(store, ""), [""; 0], "{kind}");
        // A server that keeps files may list a folder for a while after its last object; nobody takes one for a set.
        assert!(kind != "disk" || store.folders("").unwrap().is_empty());
    });
}

/// Whoever opened an object never reads another one of its name.
#[test]
fn the_object_opened_is_the_one_read() {
    of_each(|kind, store| {
        upload(store, "a/one.seg", &vec![1; 1000]).unwrap();
        let object = store.open("a/one.seg").unwrap();
        store.delete("a/one.seg").unwrap();
        upload(store, "a/one.seg", &vec![2; 1000]).unwrap();
        let mut bytes = vec![0; 1000];
        match object.read_exact_at(&mut bytes, 0) {
            Ok(()) => assert!(bytes == vec![1; 1000], "{kind}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::InvalidData, "{kind}: {e}"),
        }
        assert_eq!(content(store, "a/one.seg"), vec![2; 1000], "{kind}");
    });
}

/// A vault of each kind.
fn of_each_vault(ask: impl Fn(&str, &Place)) {
    ask("disk", &Place::new());
    ask("bucket", &Place::on(|spill| s3::vault(s3::port(), spill)));
}

/// A set exists from its manifest to its deletion; data without one is listed as damaged, unless a job makes it, and goes when its job is
/// known to have failed.
#[test]
fn sets_are_kept_alike() {
    const ID: &str = "b-20260101T000000Z-aaaaaa";
    const LEFT: &str = "b-20260102T000000Z-bbbbbb";
    of_each_vault(|kind, place| {
        let staged = place.staged(ID).unwrap();
        assert_eq!((place.list(&[]), place.list(&[ID])), (vec![(ID.to_owned(), false)], vec![]), "{kind}");
        let set = place.run(staged.commit(metadata())).unwrap();
        assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "{kind}");
        assert!(place.staged(ID).is_err(), "{kind}: ingested over a set");
        let mut data = Vec::new();
        place.run(place.vault.open_data(&set)).unwrap().read_to_end(&mut data).unwrap();
        assert_eq!(data, RDB, "{kind}");
        place.run(place.vault.verify(&set)).unwrap();
        let digest = place.run(place.vault.stored_digest(&set)).unwrap();
        assert!(place.run(place.vault.open_known(&set, &digest)).unwrap().is_some(), "{kind}");
        // Dropped, it is gone; where the process dies, it stays as an orphan.
        drop(place.staged(LEFT).unwrap());
        assert_eq!(place.list(&[]).len(), 1, "{kind}");
        std::mem::forget(place.staged(LEFT).unwrap());
        place.run(place.vault.sweep("orders", &())).unwrap();
        assert_eq!(place.list(&[]), [(LEFT.to_owned(), false), (ID.to_owned(), true)], "{kind}");
        place.run(place.vault.sweep("orders", &GivenUp(vec![LEFT.to_owned()]))).unwrap();
        assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "{kind}");
        // A second deletion finds nothing, also where the first died between the manifest's two names.
        let store = place.vault.store();
        let manifest = content(&*store, &format!("orders/{ID}/manifest.json"));
        store.put_new(&format!("orders/{ID}/manifest.json.deleting"), &manifest).unwrap();
        assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "{kind}");
        place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
        let gone = place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap_err();
        assert_eq!((gone.code, listed(&*store, "")), ("backup.not_found", vec![]), "{kind}");
        let all =
            Probe { create_only: true, first_counts: false, listed: true, ranged: true, deletion: Deletion::Done };
        // Again: what is there from the first is no success of the second.
        assert_eq!([(); 2].map(|()| place.run(place.vault.probe()).unwrap()), [all; 2], "{kind}");
    });
}

/// An RDB that does not fit into one part of an upload, or one block of a read.
pub fn large_rdb() -> Vec<u8> {
    use crate::redis::values::{entry, rdb, string};
    let value = |(n, bytes): (usize, &[u8])| entry(0, &format!("k{n}"), &string(bytes));
    let values: Vec<u8> = large(3).chunks(1 << 20).enumerate().flat_map(value).collect();
    rdb("REDIS0010", &values, true)
}

/// A set of it.
pub fn large_set(place: &Place, rdb: &[u8]) -> BackupSet {
    let (from, origin) = (std::io::Cursor::new(rdb.to_vec()), Origin::Capture { address: String::new() });
    let id = "b-20260101T000000Z-aaaaaa";
    let staged = place.run(place.vault.ingest("orders", id, origin, from, |_, rest| rest.is_empty()));
    place.run(staged.unwrap().commit(metadata())).unwrap()
}

/// What goes up in parts and comes back in blocks is the same data.
#[test]
fn a_large_set_is_kept_alike() {
    let rdb = large_rdb();
    of_each_vault(|kind, place| {
        let set = large_set(place, &rdb);
        assert!(set.stored_bytes > 16 << 20, "{kind}: {}", set.stored_bytes);
        place.run(place.vault.verify(&set)).unwrap();
        let mut data = Vec::new();
        place.run(place.vault.open_data(&set)).unwrap().read_to_end(&mut data).unwrap();
        assert!(data == rdb, "{kind}");
    });
}
