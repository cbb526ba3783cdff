//! A bucket that hears of no change any more, after each number of them, as when the process dies at that moment: a set is whole or goes with the
//! next look, a deletion is done or not begun, and what was acknowledged is so.

use super::{GivenUp, Place, expired, metadata};
use crate::support::s3::{self, Fate, Held, KEY, Line};
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
                // Not 403, which may be a key that has no right to delete.
                Fate::error(400, "InvalidArgument")
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

/// A manifest that is on its way when its process dies, and lands when the data was discarded, is no set. It goes with the sweep of whoever knows that
/// its job has failed, and only with that; a set that has its data stays, whatever is known of its job.
#[test]
fn a_manifest_that_lands_late_is_swept() {
    const WHOLE: &str = "b-20260102T000000Z-bbbbbb";
    let (prefix, held) = (s3::prefix(), Arc::<Held>::default());
    let (holds, mut died) = (Arc::clone(&held), false);
    let line = Line::to(s3::port(), move |request| {
        let of_the_manifest = request.target.split('?').next().unwrap().ends_with("/manifest.json");
        match request.method.as_str() {
            "GET" | "HEAD" => Fate::Pass,
            _ if died => Fate::error(400, "InvalidArgument"),
            "PUT" if of_the_manifest => {
                died = true;
                Fate::Late(Arc::clone(&holds))
            }
            _ => Fate::Pass,
        }
    });
    let place = Place::on(|dir| s3::vault_at(line.port, &prefix, dir));
    let direct = Place::on(|dir| s3::vault_at(s3::port(), &prefix, dir));
    let staged = place.staged(ID).unwrap();
    let making = std::thread::spawn(move || drop(place.run(staged.commit(metadata()))));
    held.await_one();
    direct.run(direct.vault.discard_staging("orders", ID)).unwrap();
    assert_eq!(objects(&direct), [""; 0]);
    held.let_through();
    making.join().unwrap();
    assert_eq!(objects(&direct), [format!("{ID}/manifest.json")]);

    direct.set(WHOLE);
    let sweep = |given_up: &[&str]| {
        let given_up = GivenUp(given_up.iter().map(|id| (*id).to_owned()).collect());
        direct.run(direct.vault.sweep("orders", &given_up)).unwrap();
        direct.list(&[])
    };
    let both = [(WHOLE.to_owned(), true), (ID.to_owned(), false)];
    assert_eq!(sweep(&[]), both);
    assert_eq!(sweep(&[WHOLE]), both);
    assert_eq!(sweep(&[WHOLE, ID]), both[..1]);
    assert!(objects(&direct).iter().all(|name| name.starts_with(WHOLE)), "{:?}", objects(&direct));
    direct.set(ID);
}

/// Such a manifest stays as long as its bucket keeps it, which is no failure; and data that a delete marker hides is there.
#[test]
fn what_is_kept_of_a_late_manifest_stays() {
    let manifest = format!("orders/{ID}/manifest.json");
    let given_up = || GivenUp(vec![ID.to_owned()]);
    let locked = Place::on(|spill| s3::vault_in(s3::locked(), &s3::prefix(), KEY, spill));
    locked.vault.store().put_new(&manifest, b"of nothing").unwrap();
    locked.run(locked.vault.sweep("orders", &given_up())).unwrap();
    assert!(locked.vault.store().has(&manifest).unwrap());

    let prefix = s3::prefix();
    let there = || Place::on(|spill| s3::vault_in(s3::versioned(), &prefix, KEY, spill));
    there().set(ID);
    let data = format!("/{}/{prefix}/orders/{ID}/data.rdb.zst", s3::versioned());
    assert_eq!(s3::request("DELETE", &data, &[], ""), 204);
    let place = there();
    place.run(place.vault.sweep("orders", &given_up())).unwrap();
    assert!(is_there(&place, "behind a sweep"));
}
