//! Signatures of manifests: what minisign's own verifier says of them, and each way in which somebody who can write to the vault can change a
//! set: it is named, and the set is none any more.

use super::{GivenUp, Made, Place, RDB, expired, metadata};
use minisign_verify::{PublicKey as Minisign, Signature};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tair_backup_mcp::config::public_key::PublicKey;
use tair_backup_mcp::model::backup::{DamagedSet, Origin};
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::signing::{Signers, Signing};

const ID: &str = "b-20260101T000000Z-aaaaaa";
const OTHER: &str = "b-20260102T000000Z-bbbbbb";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.minisig";

fn signing(home: &Path, trusted: Vec<PublicKey>, required: bool) -> Arc<Signing> {
    Arc::new(Signing::new(home, trusted, required))
}

/// A vault that signs with the key of the home beside it.
fn signed() -> Place {
    Place::on(|dir| Vault::new(dir.join("vault")).signed(signing(dir, Vec::new(), false)))
}

/// The same place as a process sees it that trusts these keys and has a home of its own.
fn seen_with(place: &Place, home: &Path, trusted: Vec<PublicKey>, required: bool) -> Vault {
    Vault::new(place.dir.path().join("vault")).signed(signing(home, trusted, required))
}

fn public_key(home: &Path) -> PublicKey {
    let file = std::fs::read_to_string(home.join("tair-backup.pub")).unwrap();
    PublicKey::parse(file.lines().nth(1).unwrap()).unwrap()
}

/// A manifest that somebody edits who knows that it has a checksum, and how that is computed.
pub fn edited(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut manifest);
    manifest["checksum"] = "".into();
    manifest["checksum"] = hex(&Sha256::digest(manifest.to_string())).into();
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}

/// Puts a file in another's place, which may be read-only.
fn put_in_place(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let _ = std::fs::remove_file(to);
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn minisign_verifies_a_manifest() {
    let place = signed();
    let set = place.set(ID);
    assert_eq!(place.names(ID), ["data.rdb.zst", MANIFEST, SIGNATURE]);
    let home = place.dir.path();
    let key = Minisign::from_file(home.join("tair-backup.pub")).unwrap();
    let signature = Signature::from_file(place.path(ID, SIGNATURE)).unwrap();
    let manifest = std::fs::read(place.path(ID, MANIFEST)).unwrap();
    key.verify(&manifest, &signature, false).unwrap();
    assert!(signature.trusted_comment().starts_with(&format!("orders/{ID}\t")), "{}", signature.trusted_comment());
    let mode = std::fs::metadata(home.join("tair-backup.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for name in ["data.rdb.zst", MANIFEST, SIGNATURE] {
        let mode = std::fs::metadata(place.path(ID, name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "{name} may be written again");
    }
    let staged = place.staged(OTHER).unwrap();
    let mode = std::fs::metadata(place.path(OTHER, "data.rdb.zst")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400, "also while it is written");
    drop(staged);
    // Who has the vault alone finds the key there.
    let id = public_key(home).id();
    let in_vault = std::fs::read(home.join(format!("vault/.keys/{id}.pub"))).unwrap();
    assert_eq!(in_vault, std::fs::read(home.join("tair-backup.pub")).unwrap());
    let digest = set.manifest.unwrap();
    assert_eq!((digest.sha256, digest.signed_by), (hex(&Sha256::digest(&manifest)), Some(id)));
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)]);
    place.set(OTHER);
    assert_eq!(
        public_key(home).id(),
        place.run(place.vault.find("orders", OTHER, &())).unwrap().manifest.unwrap().signed_by.unwrap()
    );
    // Deleted, nothing of it is left.
    let set = place.run(place.vault.find("orders", ID, &())).unwrap();
    place.run(place.vault.delete(expired(&set), "orders", ID)).unwrap();
    assert_eq!(place.names(""), [OTHER]);
}

/// What somebody does to a set, how the fault of it is called and what that says.
type Tampering = (&'static str, fn(&Place), Option<(&'static str, &'static str)>);

const TAMPERINGS: [Tampering; 10] = [
    ("nothing", |_| {}, None),
    (
        "edited, its checksum with it",
        |place| edited(&place.path(ID, MANIFEST), |manifest| manifest["note"] = "another".into()),
        Some(("backup.tampered", "edited after it was signed")),
    ),
    (
        "kept for ever no more: its expiry edited",
        |place| edited(&place.path(ID, MANIFEST), |manifest| manifest["expires_at"] = "2026-01-01T00:00:00Z".into()),
        Some(("backup.tampered", "edited after it was signed")),
    ),
    (
        "edited by somebody who knows no checksum",
        |place| {
            let text = std::fs::read_to_string(place.path(ID, MANIFEST)).unwrap().replace("a note", "anotes");
            std::fs::remove_file(place.path(ID, MANIFEST)).unwrap();
            std::fs::write(place.path(ID, MANIFEST), text).unwrap();
        },
        Some(("backup.damaged", "its checksum differs")),
    ),
    (
        "another set's signature",
        |place| put_in_place(&place.path(OTHER, SIGNATURE), &place.path(ID, SIGNATURE)),
        Some(("backup.tampered", "of another manifest")),
    ),
    (
        "swapped with another set's manifest and signature",
        |place| {
            for name in [MANIFEST, SIGNATURE] {
                put_in_place(&place.path(OTHER, name), &place.path(ID, name));
            }
        },
        Some(("backup.damaged", "says it is")),
    ),
    (
        "a signature that is none",
        |place| {
            std::fs::remove_file(place.path(ID, SIGNATURE)).unwrap();
            std::fs::write(place.path(ID, SIGNATURE), "trust me\n").unwrap();
        },
        Some(("backup.tampered", "no signature of minisign")),
    ),
    (
        "a signature of a gigabyte",
        |place| {
            std::fs::remove_file(place.path(ID, SIGNATURE)).unwrap();
            let file = std::fs::File::create(place.path(ID, SIGNATURE)).unwrap();
            file.set_len(1 << 30).unwrap();
        },
        Some(("backup.tampered", "cannot be read")),
    ),
    (
        "a link in the signature's place",
        |place| {
            let aside = place.dir.path().join("aside");
            std::fs::rename(place.path(ID, SIGNATURE), &aside).unwrap();
            std::os::unix::fs::symlink(aside, place.path(ID, SIGNATURE)).unwrap();
        },
        Some(("backup.tampered", "cannot be read")),
    ),
    // Told of what is remembered, not by what lies here: a manifest of an earlier version has no signature either.
    ("its signature taken away", |place| std::fs::remove_file(place.path(ID, SIGNATURE)).unwrap(), None),
];

#[test]
fn whoever_changes_a_set_is_found_out() {
    for (what, tamper, fault) in TAMPERINGS {
        let place = signed();
        place.set(ID);
        place.set(OTHER);
        tamper(&place);
        let found = place.run(place.vault.find("orders", ID, &()));
        let Some((code, why)) = fault else {
            assert_eq!(found.unwrap().manifest.unwrap().signed_by.is_some(), what == "nothing", "{what}");
            continue;
        };
        let fault = found.unwrap_err();
        assert_eq!((fault.code, fault.kind), (code, Kind::Damaged), "{what}: {fault}");
        assert!(fault.message.contains(why) && fault.message.contains(ID), "{what}: {fault}");
        let listed = place.run(place.vault.list("orders", &())).unwrap();
        let [Ok(_), Err(DamagedSet { id, reason, .. })] = &listed[..] else { panic!("{what}: {listed:?}") };
        assert!(id == ID && reason.contains(why), "{what}: {reason}");
    }
}

/// A set of another home is refused until its key is in `trusted_keys`; one that says it is that key's and is not stays refused.
#[test]
fn another_home_is_believed_by_its_key_alone() {
    let place = signed();
    place.set(ID);
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = public_key(place.dir.path());
    let find = |trusted: Vec<PublicKey>| {
        place.run(seen_with(&place, elsewhere.path(), trusted, false).find("orders", ID, &()))
    };
    let fault = find(Vec::new()).unwrap_err();
    assert_eq!((fault.code, fault.kind), ("backup.untrusted", Kind::Damaged), "{fault}");
    assert!(fault.message.contains(&theirs.id()) && fault.hint.contains("trusted_keys"), "{fault} {}", fault.hint);
    assert!(fault.hint.contains(&format!(".keys/{}.pub", theirs.id())), "{}", fault.hint);
    assert!(!elsewhere.path().join("tair-backup.key").exists(), "who only reads makes no key");
    let set = find(vec![theirs]).unwrap();
    assert_eq!(set.manifest.unwrap().signed_by, Some(theirs.id()));
    // The number of a key is anybody's to write.
    let fault = find(vec![PublicKey { key: [9; 32], ..theirs }]).unwrap_err();
    assert_eq!(fault.code, "backup.tampered", "{fault}");
    let both = vec![PublicKey { key: [9; 32], ..theirs }, theirs];
    assert_eq!(find(both).unwrap().manifest.unwrap().signed_by, Some(theirs.id()));
}

/// The keys of a service, and how often they were asked for.
#[derive(Debug, Default)]
struct Known {
    keys: Mutex<Vec<PublicKey>>,
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Signers for Known {
    async fn of_all(&self, own: &PublicKey) -> Result<Vec<PublicKey>, Fault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut keys = self.keys.lock().unwrap();
        if !keys.contains(own) {
            keys.push(*own);
        }
        Ok(keys.clone())
    }
}

/// Homes of one service believe each other. Their keys are asked for once, and again only where a signature is of a key that is not known.
#[test]
fn keys_are_asked_for_where_one_is_not_known() {
    let (known, place) = (Arc::new(Known::default()), Place::new());
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let seen_by = |home: &Path| {
        let signing = Signing::new(home, Vec::new(), false).beside(known.clone());
        Vault::new(place.dir.path().join("vault")).signed(Arc::new(signing))
    };
    let put = |vault: &Vault, id: &str| {
        place.run(vault.list("orders", &())).unwrap();
        let origin = Origin::Capture { address: String::new() };
        let staged = place.run(vault.ingest("orders", id, origin, RDB, |_, rest| rest.is_empty())).unwrap();
        place.run(staged.commit(metadata())).unwrap();
    };
    let one = seen_by(homes[0].path());
    let whole_and_asked = || {
        let whole = place.run(one.list("orders", &())).unwrap().into_iter().flatten().count();
        (whole, known.asked.load(Ordering::SeqCst))
    };
    assert_eq!([whole_and_asked(), whole_and_asked()], [(0, 1), (0, 1)]);
    put(&seen_by(homes[1].path()), ID);
    assert_eq!([whole_and_asked(), whole_and_asked()], [(1, 3), (1, 3)]);
    place.run(one.find("orders", ID, &())).unwrap();
    put(&seen_with(&place, homes[2].path(), Vec::new(), false), OTHER);
    assert_eq!([whole_and_asked(), whole_and_asked()], [(1, 4), (1, 5)], "one that is of no service");
}

/// Where signatures are required a set without one is not to be restored; it lists all the same.
#[test]
fn signatures_may_be_required() {
    let place = signed();
    place.set(ID);
    let home = place.dir.path();
    let wants = seen_with(&place, home, Vec::new(), true);
    let set = place.run(wants.find("orders", ID, &())).unwrap();
    wants.may_be_restored(&set).unwrap();
    std::fs::remove_file(place.path(ID, SIGNATURE)).unwrap();
    let set = place.run(wants.find("orders", ID, &())).unwrap();
    let fault = wants.may_be_restored(&set).unwrap_err();
    assert_eq!((fault.code, fault.kind), ("backup.unsigned", Kind::Refused), "{fault}");
    place.vault.may_be_restored(&set).unwrap();
}

/// A process that dies between signature and manifest leaves what it leaves without a signature: data that is no set, which goes once its job has
/// failed; and the same name can be given again.
#[test]
fn a_crash_behind_the_signature_leaves_no_set() {
    let place = signed();
    place.set(ID);
    std::fs::remove_file(place.path(ID, MANIFEST)).unwrap();
    assert_eq!(place.names(ID), ["data.rdb.zst", SIGNATURE]);
    assert_eq!(place.list(&[]), [(ID.to_owned(), false)], "it may be all there is of a set");
    assert_eq!(place.list(&[ID]), [], "a job is making it");
    let made = Made(vec![ID.to_owned()]);
    assert_eq!(place.run(place.vault.find("orders", ID, &made)).unwrap_err().code, "backup.not_found");
    // A crash of whoever discards it.
    std::fs::remove_file(place.path(ID, "data.rdb.zst")).unwrap();
    assert_eq!(place.list(&[]), [(ID.to_owned(), false)]);
    place.run(place.vault.sweep("orders", &())).unwrap();
    assert_eq!(place.names(ID), [SIGNATURE]);
    place.run(place.vault.sweep("orders", &GivenUp(vec![ID.to_owned()]))).unwrap();
    assert_eq!(place.names(""), Vec::<String>::new());
    place.set(ID);
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)]);
}

/// What cannot be signed is no set, and nothing of it stays; a key that is broken is never replaced by another.
#[test]
fn a_broken_key_signs_nothing() {
    let place = signed();
    place.set(OTHER);
    let key = place.dir.path().join("tair-backup.key");
    std::fs::write(&key, "untrusted comment: x\nRWQ\n").unwrap();
    let again = Place::on(|dir| {
        std::fs::copy(&key, dir.join("tair-backup.key")).unwrap();
        Vault::new(dir.join("vault")).signed(signing(dir, Vec::new(), false))
    });
    let staged = again.staged(ID).unwrap();
    let fault = again.run(staged.commit(super::metadata())).unwrap_err();
    assert_eq!(fault.code, "vault.key", "{fault}");
    assert_eq!(again.names(""), Vec::<String>::new());
    assert_eq!(std::fs::read(again.dir.path().join("tair-backup.key")).unwrap(), std::fs::read(&key).unwrap());
}

/// Of processes that make the key at once all sign with one.
#[test]
fn of_many_that_make_the_key_one_is_kept() {
    let place = signed();
    let home = place.dir.path();
    let ids: Vec<String> = (0..6).map(|n| format!("b-2026010{n}T000000Z-aaaaaa")).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(move || {
                let vault = Vault::new(home.join("vault")).signed(signing(home, Vec::new(), false));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let origin = tair_backup_mcp::model::backup::Origin::Capture { address: String::new() };
                let staged = vault.ingest("orders", id, origin, super::RDB, |_, rest| rest.is_empty());
                runtime.block_on(async { staged.await.unwrap().commit(super::metadata()).await.unwrap() });
            });
        }
    });
    let key = public_key(home).id();
    let listed = place.run(place.vault.list("orders", &())).unwrap();
    let by: Vec<_> = listed.into_iter().map(|set| set.unwrap().manifest.unwrap().signed_by.unwrap()).collect();
    assert_eq!(by, vec![key; ids.len()]);
}
