//! A disk without room, and one that takes no writes any more: what was there is read as before, what could not be written is no set and leaves
//! nothing, and once the disk takes it again all goes on.

use super::contract::large_rdb;
use super::{GivenUp, Place, expired, metadata};
use crate::support::disk::SmallDisk;
use crate::support::wait;
use std::io::{Cursor, ErrorKind};
use std::time::Duration;
use tair_backup_mcp::model::backup::{BackupSet, Origin};
use tair_backup_mcp::redis::rdb::error::RdbError;
use tair_backup_mcp::vault::ingest::IngestError;

const ID: &str = "b-20260101T000000Z-aaaaaa";
const NEXT: &str = "b-20260102T000000Z-bbbbbb";

/// A vault on a disk of its own, with one set.
fn on_a_small_disk() -> Option<(Place, BackupSet, SmallDisk)> {
    let place = Place::new();
    let disk = SmallDisk::at(&place.dir.path().join("vault"), 8)?;
    let set = place.set(ID);
    Some((place, set, disk))
}

/// That one set is there, whole, and nothing else.
fn is_all(place: &Place, set: &BackupSet) {
    assert_eq!((place.list(&[]), place.names("")), (vec![(ID.to_owned(), true)], vec![ID.to_owned()]));
    place.run(place.vault.verify(set)).unwrap();
}

#[test]
fn a_full_disk() {
    let Some((place, set, disk)) = on_a_small_disk() else { return };
    let (from, origin) = (Cursor::new(large_rdb()), Origin::Capture { address: String::new() });
    let failed = place.run(place.vault.ingest("orders", NEXT, origin, from, |_, rest| rest.is_empty())).unwrap_err();
    let is_full = match &failed {
        IngestError::Rdb(RdbError::Sink { source, .. }) => source.kind() == ErrorKind::StorageFull,
        IngestError::Vault(fault) => fault.code == "vault.failed" && fault.hint.contains("is full"),
        _ => false,
    };
    assert!(is_full, "{failed:?}");
    is_all(&place, &set);
    // There is room for the data, and none for its manifest.
    // What was given up takes room until its writer has ended.
    let staged = wait("room", Duration::from_secs(20), || place.staged(NEXT).ok());
    disk.fill_but(0);
    let fault = place.run(staged.commit(metadata())).unwrap_err();
    assert!(fault.code == "vault.failed" && fault.hint.contains("is full"), "{fault:?}");
    // Its data stays until the job that failed is swept.
    place.run(place.vault.sweep("orders", &GivenUp(vec![NEXT.to_owned()]))).unwrap();
    is_all(&place, &set);
    disk.fill_but(0);
    assert!(place.staged(NEXT).is_err());
    is_all(&place, &set);
    disk.clear();
    place.set(NEXT);
    assert_eq!(place.list(&[]), [(NEXT.to_owned(), true), (ID.to_owned(), true)]);
    // What is deleted takes no room.
    disk.fill_but(0);
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!(place.names(""), [NEXT]);
}

#[test]
fn a_disk_that_takes_no_writes() {
    let Some((place, set, disk)) = on_a_small_disk() else { return };
    let staged = place.staged(NEXT).unwrap();
    disk.read_only(true);
    let fault = place.run(staged.commit(metadata())).unwrap_err();
    assert!(fault.code == "vault.failed" && fault.message.contains("Read-only"), "{fault:?}");
    // It cannot be taken away either: it is no set, and its job has failed.
    assert_eq!(place.list(&[NEXT]), [(ID.to_owned(), true)]);
    place.run(place.vault.verify(&set)).unwrap();
    let Err(IngestError::Vault(fault)) = place.staged("b-20260103T000000Z-cccccc") else { panic!("it was staged") };
    assert!(fault.code == "vault.failed" && fault.message.contains("Read-only"), "{fault:?}");
    let fault = place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap_err();
    assert_eq!(fault.code, "vault.failed", "{fault:?}");
    assert_eq!(place.list(&[NEXT]), [(ID.to_owned(), true)]);
    disk.read_only(false);
    place.run(place.vault.sweep("orders", &GivenUp(vec![NEXT.to_owned()]))).unwrap();
    is_all(&place, &set);
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    place.set(NEXT);
    assert_eq!(place.list(&[]), [(NEXT.to_owned(), true)]);
}
