//! Every state that a crash between two steps of an ingest, a commit or a deletion can leave on the disk, and what becomes of it:
//! a whole set, a set that is named as damaged until it is discarded, or nothing, which is swept.

use super::{Place, expired, metadata};
use crate::support::{Bench, Redis, finish, text, wait};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ID: &str = "b-20260101T000000Z-aaaaaa";
const OTHER: &str = "b-20260102T000000Z-bbbbbb";

/// What a state is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Whole,
    Damaged,
    Nothing,
}

/// Copies a set's files to a folder under other names.
fn lay(place: &Place, from: &str, to: &str, names: &[(&str, &str)]) {
    std::fs::create_dir_all(place.path(to, "")).unwrap();
    for (name, as_name) in names {
        std::fs::copy(place.path(from, name), place.path(to, as_name)).unwrap();
    }
}

fn states(check: impl Fn(&Place, Is, &str)) {
    let (data, manifest) = ("data.rdb.zst", "manifest.json");
    let signature = "manifest.json.minisig";
    let (deleting, beside) = ("manifest.json.deleting", ".manifest.json.0123456789abcdef.new");
    for (files, is) in [
        // Ingest: the folder; the data's name; data.
        (vec![], Is::Nothing),
        (vec![(data, data)], Is::Damaged),
        // Commit: the signature; the manifest beside its place; in its place, with its first name still there; done.
        (vec![(data, data), (signature, signature)], Is::Damaged),
        (vec![(data, data), (signature, signature), (manifest, manifest)], Is::Whole),
        (vec![(data, data), (manifest, beside)], Is::Damaged),
        (vec![(data, data), (manifest, beside), (manifest, manifest)], Is::Whole),
        (vec![(data, data), (manifest, manifest)], Is::Whole),
        // Deletion: the manifest is renamed; data is gone; all is gone but the folder.
        (vec![(data, data), (manifest, deleting)], Is::Nothing),
        (vec![(data, data), (manifest, deleting), (manifest, beside)], Is::Nothing),
        (vec![(signature, signature), (manifest, deleting)], Is::Nothing),
        (vec![(manifest, deleting)], Is::Nothing),
    ] {
        let place = Place::new();
        place.set(ID);
        std::fs::write(place.path(ID, signature), "of a home").unwrap();
        std::fs::rename(place.path(ID, ""), place.dir.path().join("aside")).unwrap();
        std::fs::create_dir_all(place.path(ID, "")).unwrap();
        for (name, as_name) in &files {
            std::fs::copy(place.dir.path().join("aside").join(name), place.path(ID, as_name)).unwrap();
        }
        check(&place, is, &format!("{files:?}"));
    }
}

#[test]
fn what_lists_and_is_found() {
    states(|place, is, state| {
        let listed: Vec<(String, bool)> = match is {
            Is::Whole => vec![(ID.into(), true)],
            Is::Damaged => vec![(ID.into(), false)],
            Is::Nothing => vec![],
        };
        assert_eq!(place.list(&[]), listed, "{state}");
        let found = place.run(place.vault.find("orders", ID, &())).map(|_| ()).map_err(|fault| fault.code);
        let expected = match is {
            Is::Whole => Ok(()),
            Is::Damaged => Err("backup.damaged"),
            Is::Nothing => Err("backup.not_found"),
        };
        assert_eq!(found, expected, "{state}");
    });
}

/// Looking for what is left removes what was being deleted, and nothing else: neither a set nor what may be in the making.
#[test]
fn what_is_swept() {
    states(|place, is, state| {
        let before = place.list(&[]);
        place.run(place.vault.sweep("orders", &())).unwrap();
        assert_eq!(place.list(&[]), before, "{state}");
        assert_eq!(place.names("").is_empty(), is == Is::Nothing, "{state}: {:?}", place.names(ID));
    });
}

/// What is left of a set whose job has failed is removed too; a set that is there by then is not, whatever became of its job.
#[test]
fn what_is_given_up_is_swept() {
    states(|place, is, state| {
        let other = place.staged(OTHER).unwrap();
        place.run(place.vault.sweep("orders", &super::GivenUp(vec![ID.into()]))).unwrap();
        assert_eq!(place.names(ID).is_empty(), is != Is::Whole, "{state}: {:?}", place.names(ID));
        place.run(other.commit(metadata())).unwrap();
        let whole: &[&str] = if is == Is::Whole { &[ID, OTHER] } else { &[OTHER] };
        assert_eq!(place.names(""), whole, "{state}");
    });
}

/// A dead job's set is discarded where it was never committed, and kept where it was.
#[test]
fn what_is_discarded() {
    states(|place, is, state| {
        place.run(place.vault.discard_staging("orders", ID)).unwrap();
        place.run(place.vault.sweep("orders", &())).unwrap();
        let left: &[(String, bool)] = if is == Is::Whole { &[(ID.into(), true)] } else { &[] };
        assert_eq!(place.list(&[]), left, "{state}");
        assert_eq!(place.names("").is_empty(), is != Is::Whole, "{state}");
    });
}

/// Whatever state a whole set was read from, it can be deleted.
#[test]
fn what_is_whole_can_be_deleted() {
    states(|place, is, state| {
        if let Ok(set) = place.run(place.vault.find("orders", ID, &())) {
            assert_eq!(is, Is::Whole, "{state}");
            place.run(place.vault.verify(&set)).unwrap();
            place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
            assert_eq!(place.names(""), Vec::<String>::new(), "{state}");
        }
    });
}

/// A new set can be made where nothing is, and beside everything that is damaged.
#[test]
fn the_name_is_free_where_nothing_is() {
    states(|place, is, state| {
        place.run(place.vault.sweep("orders", &())).unwrap();
        assert_eq!(place.staged(ID).is_ok(), is == Is::Nothing, "{state}");
        let whole = place.staged(OTHER).unwrap();
        place.run(whole.commit(metadata())).unwrap();
        assert_eq!(place.list(&[])[0], (OTHER.into(), true), "{state}");
    });
}

/// A set whose data is missing, cut, or another's; a file where a folder should be; a link to nowhere: each is named.
#[test]
fn damage_is_named() {
    let place = Place::new();
    place.set(OTHER);
    let (data, manifest) = (("data.rdb.zst", "data.rdb.zst"), ("manifest.json", "manifest.json"));
    lay(&place, OTHER, "b-no-data", &[manifest]);
    lay(&place, OTHER, "b-of-another", &[data, manifest]);
    place.set("b-cut");
    std::fs::write(place.path("b-cut", "data.rdb.zst"), "short").unwrap();
    std::fs::write(place.dir.path().join("vault/orders/b-file"), "").unwrap();
    std::fs::create_dir(place.path("b-link", "")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("b-link", "manifest.json")).unwrap();
    let mut listed = place.list(&[]);
    listed.sort();
    let damaged = |id: &str| (id.to_owned(), false);
    let expected = ["b-cut", "b-file", "b-link", "b-no-data", "b-of-another"].map(damaged);
    assert_eq!(listed.split_first().unwrap(), (&(OTHER.to_owned(), true), expected.as_slice()));
}

/// Earlier versions wrote a set in a hidden folder, and hid the folder of one they deleted: what is left of that is swept, but for
/// what a running job makes.
#[test]
fn what_earlier_versions_left() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let vault = bench.home().join("vault/orders");
    let lay = |name: &str| {
        std::fs::create_dir(vault.join(name)).unwrap();
        std::fs::write(vault.join(name).join("data.rdb.zst"), "half").unwrap();
    };
    lay(".grave-b-20200101T000000Z-aaaaaa");
    lay(".draft-b-20200101T000000Z-bbbbbb");
    bench.jobs();
    assert_eq!(bench.left_over(), Vec::<std::path::PathBuf>::new());
    assert_eq!(bench.backups().len(), 1);
    assert!(vault.join(backup).is_dir());

    let place = Place::new();
    place.set(ID);
    std::fs::create_dir(place.path(&format!(".draft-{OTHER}"), "")).unwrap();
    std::fs::write(place.path(&format!(".draft-{OTHER}"), "data.rdb.zst"), "half").unwrap();
    place.run(place.vault.sweep("orders", &super::Made(vec![OTHER.into()]))).unwrap();
    assert_eq!(place.names(""), [format!(".draft-{OTHER}"), ID.to_owned()]);
    place.run(place.vault.discard_staging("orders", OTHER)).unwrap();
    assert_eq!(place.names(""), [ID]);
}

/// Data that no running job makes is shown to whoever lists, and stays until somebody looks: it may be all there is.
#[test]
fn data_without_a_job_lists_as_damaged() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    std::fs::remove_file(bench.home().join("vault/orders").join(&backup).join("manifest.json")).unwrap();
    for _ in 0..2 {
        let listed = bench.backups();
        assert_eq!((&listed[0]["status"], &listed[0]["backup_id"]), (&"damaged".into(), &backup.as_str().into()));
        assert!(text(&listed[0]["damage"]).contains("data without a manifest"), "{listed:?}");
    }
    assert!(Path::new(&bench.home().join("vault/orders").join(&backup).join("data.rdb.zst")).is_file());
    let verb = ["restore-instance", "--instance-id", "orders", "--backup-id", &backup, "--json"];
    let refused = bench.run(&verb);
    assert_eq!((refused.code, &refused.json()["code"]), (6, &"backup.damaged".into()), "{refused:?}");
}

/// What another process is making is neither a set nor damage, however long that takes; stopped in the middle it is as alive as
/// any. It becomes a set when its process goes on.
#[test]
fn what_another_process_makes_is_not_damage() {
    let redis = Redis::start("redis-7.0", &["--rdbcompression", "no"]);
    redis.fill(60, 9);
    let bench = Bench::unattended(&redis);
    let vault = bench.home().join("vault/orders");
    let signal =
        |name: &str, id: u32| assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
    let staged = || bench.left_over().into_iter().find(|set| set.join("data.rdb.zst").exists());
    for _ in 0..10 {
        let mut child = bench.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
        let over = wait("the backup to be staged", Duration::from_secs(60), || {
            if staged().is_some() { Some(false) } else { child.try_wait().unwrap().map(|_| true) }
        });
        if over {
            continue;
        }
        signal("-STOP", child.id());
        let Some(set) = staged().filter(|set| !set.join("manifest.json").exists()) else {
            // Stopped too late, when the set was whole.
            signal("-CONT", child.id());
            assert_eq!(finish(child).code, 0);
            continue;
        };
        let id = set.file_name().unwrap().to_str().unwrap().to_owned();
        let before = bench.backups();
        assert!(before.iter().all(|row| row["status"] == "deep" && row["backup_id"] != id.as_str()), "{before:?}");
        let shown = bench.run(&["describe-backups", "--instance-id", "orders", "--backup-id", &id, "--json"]);
        assert_eq!((shown.code, &shown.json()["code"]), (4, &"backup.not_found".into()), "{shown:?}");
        assert!(set.join("data.rdb.zst").exists(), "it was taken from a living process");
        signal("-CONT", child.id());
        let done = finish(child).json();
        assert_eq!((&done["status"], &done["backup_id"]), (&"succeeded".into(), &id.as_str().into()), "{done}");
        let after = bench.backups();
        assert_eq!(after.len(), before.len() + 1);
        assert!(after.iter().any(|row| row["status"] == "deep" && row["backup_id"] == id.as_str()), "{after:?}");
        assert!(vault.join(&id).join("manifest.json").is_file() && bench.left_over().is_empty());
        return;
    }
    panic!("no backup was met while it was staged");
}
