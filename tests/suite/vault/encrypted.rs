//! What lies in the vault encrypted is read with the key and not without it, and by age's own program without anything of ours; that a key is
//! missing is never called damage, and damage is found all the same.

use super::copy::objects;
use super::damage::write_log;
use super::{Place, RDB};
use crate::archive::{FIRST, new_timeline};
use crate::support::log::{LONG, Service, archived_to, begun, position, second};
use crate::support::s3;
use crate::support::{Bench, Redis, files_under, other_program, text, unattended, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tair_backup_mcp::archive::Archive;
use tair_backup_mcp::config::encryption::{Encryption, KeySource};
use tair_backup_mcp::config::vault::VaultPlace;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::copy::SetCopy;
use tair_backup_mcp::vault::watch::Watch;

/// What an age file begins with.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// A new key, by age's own program.
pub fn key_in(dir: &Path) -> Encryption {
    let file = dir.join("key.txt");
    let made = Command::new(other_program("age", "age-keygen")).arg("-o").arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    Encryption { recipients: Vec::new(), key: KeySource::Identity(file) }
}

/// A vault in a directory, with such a key.
pub fn vault_in(dir: &Path, key: &Encryption) -> Vault {
    Vault::at(&VaultPlace::Directory(dir.join("vault")), dir.to_owned(), None, Some(key))
}

/// Decrypts by age's own program.
fn decrypted(key: &Path, file: &Path) -> Option<Vec<u8>> {
    let output = Command::new(other_program("age", "age")).arg("-d").arg("-i").arg(key).arg(file).output().unwrap();
    output.status.success().then_some(output.stdout)
}

/// What `doctor` says of the keys.
fn encryption_check(bench: &Bench) -> Value {
    let said = bench.run(&["doctor", "--json"]).json();
    said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "encryption").unwrap().clone()
}

/// A set's file is an age file, and within it lies what lies there otherwise; what was written before is read too.
#[test]
fn a_set_is_read_with_its_key_and_by_age_itself() {
    let outer = tempfile::tempdir().unwrap();
    let key = key_in(outer.path());
    let KeySource::Identity(file) = &key.key else { unreachable!() };
    let mut root = PathBuf::new();
    let place = Place::on(|dir| {
        root = dir.to_owned();
        vault_in(dir, &key)
    });
    let before = {
        let plain = Place::on(|_| Vault::new(root.join("vault")));
        plain.set("b-20260101T000000Z-aaaaaa")
    };
    let set = place.set("b-20260102T000000Z-bbbbbb");
    let data = root.join("vault/orders").join(&set.id).join("data.rdb.zst");
    assert!(std::fs::read(&data).unwrap().starts_with(MAGIC));
    let read = zstd::decode_all(&decrypted(file, &data).unwrap()[..]).unwrap();
    assert!(read == RDB, "{} bytes", read.len());
    for set in [&before, &set] {
        place.run(place.vault.verify(set)).unwrap();
        let digest = place.run(place.vault.stored_digest(set)).unwrap();
        assert!(place.run(place.vault.open_known(set, &digest)).unwrap().is_some());
    }
    assert_eq!(place.list(&[]).len(), 2);

    // One byte of what is encrypted is damage; another key, and no key, are not.
    let other = Place::on(|dir| vault_in(&root, &key_in(dir)));
    let none = Place::on(|_| Vault::new(root.join("vault")));
    for (without, why) in [(&other, "for other keys"), (&none, "the configuration names no key")] {
        let fault = without.run(without.vault.verify(&set)).unwrap_err();
        assert!(fault.code == "vault.failed" && fault.message.contains(why), "{fault:?}");
        assert!(fault.hint.contains("[encryption]"), "{fault:?}");
        without.run(without.vault.verify(&before)).unwrap();
    }
    for without in [&other, &none] {
        assert!(without.list(&[]).iter().all(|(_, whole)| *whole), "what is there is listed without its key");
    }
    let mut bytes = std::fs::read(&data).unwrap();
    let last = bytes.len() - 20;
    bytes[last] = !bytes[last];
    std::fs::remove_file(&data).unwrap();
    std::fs::write(&data, bytes).unwrap();
    let fault = place.run(place.vault.verify(&set)).unwrap_err();
    assert!(fault.code == "backup.damaged" && fault.message.contains("data.rdb.zst"), "{fault:?}");
}

/// With a passphrase the vault keeps its own key; another passphrase reads nothing, and says so.
#[test]
fn a_passphrase_has_one_key_for_the_vault() {
    let words = tempfile::tempdir().unwrap();
    let phrase = |text: &str| {
        let file = words.path().join(text);
        std::fs::write(&file, format!("{text}\n")).unwrap();
        Encryption { recipients: Vec::new(), key: KeySource::PassphraseFile(file) }
    };
    let mut root = PathBuf::new();
    let place = Place::on(|dir| {
        root = dir.to_owned();
        vault_in(dir, &phrase("right"))
    });
    let set = place.set("b-20260101T000000Z-aaaaaa");
    let again = Place::on(|_| vault_in(&root, &phrase("right")));
    again.run(again.vault.verify(&set)).unwrap();
    again.set("b-20260102T000000Z-bbbbbb");
    place.run(place.vault.verify(&set)).unwrap();
    let wrong = Place::on(|_| vault_in(&root, &phrase("wrong")));
    let fault = wrong.run(wrong.vault.verify(&set)).unwrap_err();
    assert!(fault.code == "vault.failed" && fault.message.contains("passphrase"), "{fault:?}");
    assert!(wrong.staged("b-20260103T000000Z-cccccc").is_err(), "what nobody could read is not written");
    // The key lies there as an age file: it alone is to be decrypted by the passphrase.
    assert!(std::fs::read(root.join("vault/key.age")).unwrap().starts_with(MAGIC));
    std::fs::remove_file(root.join("vault/key.age")).unwrap();
    let gone = Place::on(|_| vault_in(&root, &phrase("right")));
    let fault = gone.run(gone.vault.verify(&set)).unwrap_err();
    assert!(fault.code == "vault.failed" && fault.message.contains("key.age is not there"), "{fault:?}");
}

/// The key of a vault with a passphrase is made once: where it is gone, nothing is written until it is back, and whoever looks is told. What is not
/// encrypted is no reason against making one.
#[test]
fn a_key_that_is_gone_is_not_made_again() {
    let bench = Bench::new(
        "[encryption]\npassphrase_file = \"words\"\n\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n",
    );
    let words = bench.dir.path().join("words");
    std::fs::write(&words, "words").unwrap();
    let how = Encryption { recipients: Vec::new(), key: KeySource::PassphraseFile(words) };
    let (home, key) = (bench.home(), bench.home().join("vault/key.age"));
    Place::on(|_| Vault::new(home.join("vault"))).set("b-20260101T000000Z-aaaaaa");
    let open = || Place::on(|_| vault_in(&home, &how));
    let doctor = || encryption_check(&bench);
    assert_eq!((bench.run(&["vault", "verify"]).code, &doctor()["status"]), (0, &"pass".into()));
    let set = open().set("b-20260102T000000Z-bbbbbb");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();

    let why = open().staged("b-20260103T000000Z-cccccc").unwrap_err().to_string();
    assert!(why.contains("key.age is gone") && why.contains(&set.id), "{why}");
    assert!(!key.exists());
    let told = bench.run(&["vault", "verify"]);
    assert!(told.code == 1 && told.out.contains(&set.id) && told.err.contains("key.age is gone"), "{told:?}");
    let told = doctor();
    assert!(told["status"] == "fail" && told.to_string().contains("key.age is gone"), "{told}");

    std::fs::write(&key, kept).unwrap();
    let again = open();
    again.run(again.vault.verify(&set)).unwrap();
    again.set("b-20260103T000000Z-cccccc");
    assert_eq!(bench.run(&["vault", "verify", "--deep"]).code, 0);
}

/// A backup and a restore of the whole program with a key, and what lies there becomes a server's data again without this program. With another
/// key, and without one, a restore ends before anything is touched, and nothing is called damaged.
#[test]
fn the_program_restores_with_its_key_and_touches_nothing_without() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(1, 1);
    let bench = Bench::unattended(&redis);
    let with = |key: &Encryption| {
        let KeySource::Identity(file) = &key.key else { unreachable!() };
        let table = format!("[encryption]\nidentity_file = {:?}\n", file.display().to_string());
        bench.configure(&unattended(&redis, &table));
        file.clone()
    };
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = key_in(dir.path());
    let file = with(&key);
    let backup = bench.backup();
    let data = bench.home().join("vault/orders").join(&backup).join("data.rdb.zst");
    let mut again = Redis::start("redis-7.0", &[]);
    again.kill();
    let plain = zstd::decode_all(&decrypted(&file, &data).unwrap()[..]).unwrap();
    std::fs::write(again.dir.path().join("dump.rdb"), plain).unwrap();
    again.restart();
    assert_eq!((again.digest(), again.statistics()), (redis.digest(), redis.statistics()));

    redis.run(&["SET", "new", "1"]);
    with(&key_in(other.path()));
    let refused = bench.ask(&backup);
    assert!(refused.code == 1 && refused.out.contains("for other keys"), "{refused:?}");
    let told = bench.run(&["vault", "verify"]);
    assert!(told.code == 1 && told.err.contains("for other keys") && told.err.contains(&backup), "{told:?}");
    let told = encryption_check(&bench);
    assert!(told["status"] == "fail" && told.to_string().contains("for other keys"), "{told}");
    bench.configure(&unattended(&redis, ""));
    let refused = bench.ask(&backup);
    assert!(refused.code == 1 && refused.out.contains("the configuration names no key"), "{refused:?}");
    let told = bench.run(&["vault", "verify"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(bench.backups().iter().all(|row| row["status"] == "deep"), "{:?}", bench.backups());
    with(&key);
    let restored = bench.restore(&backup);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(redis.digest(), again.digest());
}

/// A log that is encrypted leads to its moments with the key, and without it nothing is touched. Nothing that was written lies in clear in the
/// vault, nor in the spool once the vault has it.
#[test]
fn a_moment_is_restored_from_an_encrypted_log() {
    const NEEDLE: &str = "needle-4f1c8a";
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let with = |key: &Encryption| {
        let KeySource::Identity(file) = &key.key else { unreachable!() };
        let log = "enable_backup_log = true\n[backup_log]\nseal_seconds = 1\n";
        let table = format!("{log}[encryption]\nidentity_file = {:?}\n", file.display().to_string());
        bench.configure(&unattended(&redis, &table));
    };
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = key_in(dir.path());
    with(&key);
    let service = Service::start(&bench);
    begun(&bench, &redis);
    redis.run(&["SET", "kept", NEEDLE]);
    let (moment, intact) = (second(), redis.digest());
    redis.run(&["SET", "kept", "since"]);
    redis.run(&["SET", "since", NEEDLE]);
    archived_to(&bench, position(&redis).1);
    let in_clear = |folder: &str| {
        let mut files = files_under(&bench.home().join(folder));
        let has = |bytes: Vec<u8>| bytes.windows(NEEDLE.len()).any(|part| part == NEEDLE.as_bytes());
        files.retain(|file| std::fs::read(file).is_ok_and(has));
        files
    };
    assert_eq!(in_clear("vault"), Vec::<PathBuf>::new());
    wait("the spool to be rid of it", LONG, || in_clear("spool").is_empty().then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    let of = |ending: &str| {
        let mut files = files_under(&bench.home().join("vault"));
        files.retain(|file| file.extension().is_some_and(|e| e == ending));
        files
    };
    let (segments, sets) = (of("seg"), of("zst"));
    assert!(!segments.is_empty() && !sets.is_empty(), "{segments:?} {sets:?}");
    for file in segments.iter().chain(&sets) {
        assert!(std::fs::read(file).unwrap().starts_with(MAGIC), "{}", file.display());
    }

    let now = redis.digest();
    let to_moment = ["restore-instance", "--instance-id", "orders", "--restore-time", &moment, "--json"];
    with(&key_in(other.path()));
    let refused = bench.run(&to_moment);
    assert!(refused.code != 0 && !refused.out.contains("\"confirmation_token\":\""), "{refused:?}");
    assert!([&refused.out, &refused.err].iter().any(|said| said.contains("for other keys")), "{refused:?}");
    assert_eq!(redis.digest(), now);
    with(&key);
    let planned = bench.run(&to_moment);
    assert_eq!(planned.code, 0, "{planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    let done = bench.run(&[&to_moment[..], &["--confirmation-token", &token]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.digest(), intact);
}

/// A copy of what is encrypted is encrypted anew, the set and the log, in a directory and in a bucket, and is whole there with the key alone.
#[test]
fn a_copy_is_encrypted_too() {
    let dir = tempfile::tempdir().unwrap();
    let key = key_in(dir.path());
    let here = Place::on(|dir| vault_in(dir, &key));
    let set = here.set("b-20260101T000000Z-aaaaaa");
    let archive = Archive::new(&here.vault, here.dir.path().join("spool"));
    let timeline = archive.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
    write_log(&archive, &timeline, ["one", "two", "six"]);
    for place in
        [VaultPlace::Directory(dir.path().join("copy")), VaultPlace::Bucket(s3::place_at(s3::port(), &s3::prefix()))]
    {
        let seen = |encryption: Option<&Encryption>| {
            Vault::at(&place, dir.path().to_owned(), Some(Arc::new(s3::key())), encryption)
        };
        let there = seen(Some(&key));
        let log = Archive::new(&there, dir.path().join("spool"));
        for came in [SetCopy::Copied, SetCopy::There] {
            let copied = here.run(here.vault.copy_set(&there, "orders", &set.id, &Arc::default()));
            assert_eq!(copied.unwrap(), came, "{place:?}");
            archive.copy_log(&log, "orders", false, &Watch::default(), &mut |_, _| ()).unwrap();
        }
        here.run(there.verify(&set)).unwrap();
        assert_eq!(log.check("orders", 0).unwrap(), (3, vec![]), "{place:?}");
        let mut data = objects(&*seen(None).store());
        data.retain(|name, _| name.ends_with(".zst") || name.ends_with(".seg"));
        assert_eq!(data.len(), 4, "{:?}", data.keys());
        assert!(data.values().all(|bytes| bytes.starts_with(MAGIC)), "{place:?}");
        let fault = here.run(seen(None).verify(&set)).unwrap_err();
        assert!(fault.code == "vault.failed" && fault.message.contains("names no key"), "{place:?}: {fault:?}");
        assert_eq!(seen(None).store().list(".log").unwrap().len(), 4);
        assert_eq!(
            Archive::new(&seen(None), dir.path().join("spool")).check("orders", 0).unwrap_err().code,
            "log.failed"
        );
    }
}

/// What was written for a key that is not here any more is named by a copy, and keeps nothing else from it.
#[test]
fn what_takes_another_key_is_named_and_the_rest_is_copied() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, key) = (key_in(one.path()), key_in(two.path()));
    let KeySource::Identity(file) = &key.key else { unreachable!() };
    let bench = Bench::new(&format!(
        "[encryption]\nidentity_file = {:?}\n\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n",
        file.display().to_string()
    ));
    let before = Place::on(|_| vault_in(&bench.home(), &old));
    let first = before.set("b-20260101T000000Z-aaaaaa");
    let archive = Archive::new(&before.vault, before.dir.path().join("spool"));
    let timeline = archive.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
    write_log(&archive, &timeline, ["one", "two", "six"]);
    let second = Place::on(|_| vault_in(&bench.home(), &key)).set("b-20260102T000000Z-bbbbbb");
    let to = bench.dir.path().join("to");
    let copied = bench.run(&["vault", "copy", "--to", to.to_str().unwrap(), "--json"]);
    let told = copied.json();
    let row = |set: &Value| (text(&set["backup_id"]), text(&set["status"]));
    let sets: Vec<_> = told["sets"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(sets, [(second.id, "copied".to_owned()), (first.id, "no_key".to_owned())], "{told}");
    assert!(told["sets"][1]["why"].as_str().unwrap().contains("for other keys"), "{told}");
    assert_eq!((copied.code, &told["logs"][0]["no_key"]), (1, &3.into()), "{told}");
    let there = Place::on(|_| Vault::at(&VaultPlace::Directory(to), bench.home(), None, Some(&key)));
    assert_eq!(there.list(&[]).len(), 1);
}
