//! A bucket that hears of no change any more, after each number of them, as when the process dies at that moment: a set is whole or goes with the
//! next look, a deletion is done or not begun, and what was acknowledged is so.

use super::{GivenUp, Place, expired, metadata};
use crate::support::s3::{self, Fate, Line};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tair_backup_mcp::vault::signing::Signing;
use tempfile::TempDir;

const ID: &str = "b-20260101T000000Z-aaaaaa";

/// Objects of a set: its data, its signature and its manifest.
const OBJECTS: usize = 3;

/// Does something on a bucket for each number of changes of which that hears, and looks at it from elsewhere then. `act` says whether it was
/// told that it is done.
fn cut_off_at_each_change(
    what: &str,
    before: impl Fn(&Place),
    act: impl Fn(&Place) -> bool,
    after: impl Fn(&Place, bool, &str),
) {
    let home = TempDir::new().unwrap();
    let signing = Arc::new(Signing::new(home.path(), Vec::new(), false));
    let at = |port: u16, prefix: &str| Place::on(|dir| s3::vault_at(port, prefix, dir).signed(Arc::clone(&signing)));
    for changes in 0..20 {
        let (prefix, refused) = (s3::prefix(), Arc::new(AtomicBool::new(false)));
        let (direct, refuses, mut left) = (at(s3::port(), &prefix), Arc::clone(&refused), changes);
        before(&direct);
        let line = Line::to(s3::port(), move |request| match request.method.as_str() {
            "GET" | "HEAD" => Fate::Pass,
            _ if left > 0 => {
                left -= 1;
                Fate::Pass
            }
            _ => {
                refuses.store(true, Ordering::SeqCst);
                Fate::error(403, "AccessDenied")
            }
        });
        let told = act(&at(line.port, &prefix));
        after(&direct, told, &format!("{what}, {changes} changes"));
        if !refused.load(Ordering::SeqCst) {
            assert!(told && changes >= OBJECTS, "{what} has ended with {changes} changes");
            return;
        }
    }
    panic!("{what} does not end");
}

/// Whether the set is there, and then whole. If it is not, nothing is.
fn is_there(direct: &Place, when: &str) -> bool {
    let listed = direct.list(&[]);
    let Ok(set) = direct.run(direct.vault.find("orders", ID, &())) else {
        assert!(listed.iter().all(|(_, whole)| !whole), "{when}: {listed:?}");
        return false;
    };
    assert_eq!(listed, [(ID.to_owned(), true)], "{when}");
    direct.run(direct.vault.verify(&set)).unwrap();
    true
}

fn objects(direct: &Place) -> Vec<String> {
    direct.vault.store().list("orders").unwrap()
}

#[test]
fn a_backup_is_cut_off() {
    cut_off_at_each_change(
        "a backup",
        |_| {},
        |place| place.staged(ID).is_ok_and(|staged| place.run(staged.commit(metadata())).is_ok()),
        |direct, told, when| {
            let there = is_there(direct, when);
            assert_eq!(there, told, "{when}");
            direct.run(direct.vault.sweep("orders", &GivenUp(vec![ID.to_owned()]))).unwrap();
            assert_eq!(objects(direct).len(), if there { OBJECTS } else { 0 }, "{when}: {:?}", objects(direct));
            // The name is free, or the set keeps it.
            assert_eq!(direct.staged(ID).is_ok(), !there, "{when}");
        },
    );
}

#[test]
fn a_deletion_is_cut_off() {
    cut_off_at_each_change(
        "a deletion",
        |direct| drop(direct.set(ID)),
        |place| {
            let set = place.run(place.vault.find("orders", ID, &())).unwrap();
            place.run(place.vault.delete(expired(&set), "orders", ID)).is_ok()
        },
        |direct, told, when| {
            let there = is_there(direct, when);
            assert!(there != told, "{when}: it is there: {there}");
            direct.run(direct.vault.sweep("orders", &())).unwrap();
            assert_eq!(is_there(direct, when), there, "{when}");
            if there {
                // It is deleted by whoever comes next, whatever the first has left of it.
                let set = direct.run(direct.vault.find("orders", ID, &())).unwrap();
                direct.run(direct.vault.delete(expired(&set), "orders", ID)).unwrap();
            }
            assert_eq!(objects(direct), [""; 0], "{when}");
        },
    );
}

/// What a deletion has left is removed by several who come, each cut off later than the one before.
#[test]
fn a_sweep_is_cut_off() {
    cut_off_at_each_change(
        "a sweep",
        |direct| {
            direct.set(ID);
            let (store, folder) = (direct.vault.store(), format!("orders/{ID}"));
            store.rename(&format!("{folder}/manifest.json"), &format!("{folder}/manifest.json.deleting")).unwrap();
        },
        |place| place.run(place.vault.sweep("orders", &())).is_ok(),
        |direct, told, when| {
            assert!(!is_there(direct, when), "{when}");
            assert!(direct.list(&[]).is_empty(), "{when}: it is called damaged");
            assert_eq!(objects(direct).is_empty(), told, "{when}: {:?}", objects(direct));
            direct.run(direct.vault.sweep("orders", &())).unwrap();
            assert_eq!(objects(direct), [""; 0], "{when}");
        },
    );
}
