//! `vault verify`: whatever somebody does to sets from outside is found, named, and ends with 6, while what this program does itself is not; and no
//! set that was changed is restored, or taken for the way back.

use crate::archive::{FIRST, T0, limits, new_timeline, put, seal, set};
use crate::support::log::archive;
use crate::support::{Bench, Done, Redis, terminal, text, unattended};
use crate::vault::signed::edited;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tair_backup_mcp::archive::NewTimeline;

fn folder(bench: &Bench, id: &str) -> PathBuf {
    bench.home().join("vault/orders").join(id)
}

fn verify(bench: &Bench, args: &[&str]) -> Done {
    bench.run(&[&["vault", "verify"], args].concat())
}

/// The row of a set.
fn row(bench: &Bench, id: &str, args: &[&str]) -> Value {
    let done = verify(bench, &[args, &["--json"]].concat());
    let rows = done.json()["sets"].as_array().unwrap().clone();
    let row = rows.into_iter().find(|row| row["backup_id"] == id);
    row.unwrap_or_else(|| panic!("no {id}: {done:?}"))
}

/// What is wrong with a set, as one text; the exit code agrees.
fn wrong(bench: &Bench, id: &str, args: &[&str]) -> String {
    let wrong = row(bench, id, args)["wrong"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join("; ");
    assert_eq!(verify(bench, args).code == 6, !wrong.is_empty(), "{wrong}");
    wrong
}

/// Copies a folder aside, so that it can be put back.
fn copied(bench: &Bench, id: &str) -> PathBuf {
    let aside = bench.dir.path().join(format!("aside-{id}"));
    let _ = std::fs::remove_dir_all(&aside);
    std::fs::create_dir(&aside).unwrap();
    for entry in std::fs::read_dir(folder(bench, id)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), aside.join(entry.file_name())).unwrap();
    }
    aside
}

/// Puts a folder back as it was.
fn put_back(bench: &Bench, id: &str, aside: &PathBuf) {
    let _ = std::fs::remove_dir_all(folder(bench, id));
    std::fs::rename(aside, folder(bench, id)).unwrap();
}

fn delete(bench: &Bench, id: &str) {
    let args = ["delete-backup", "--instance-id", "orders", "--backup-id", id];
    let planned = bench.json(&args);
    let token = text(&planned["confirmation_token"]);
    let done = bench.run(&[&args[..], &["--confirmation-token", &token, "--json"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn what_was_done_to_sets_from_outside_is_named() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let none = verify(&bench, &[]);
    assert!(none.code == 0 && none.out.contains("0 sets, nothing was signed by this home yet"), "{none:?}");
    let (first, second) = (bench.backup(), bench.backup());
    let whole = verify(&bench, &[]);
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(
        whole.out.contains("2 sets, this home signs with key") && whole.out.contains("nothing is wrong"),
        "{whole:?}"
    );
    let key = text(&verify(&bench, &["--json"]).json()["key_id"]);
    let good = row(&bench, &first, &[]);
    assert_eq!([&good["signature"], &good["record"], &good["key_id"]], ["good", "same", &key], "{good}");
    let aside = copied(&bench, &first);
    let manifest = folder(&bench, &first).join("manifest.json");
    let signature = folder(&bench, &first).join("manifest.json.minisig");

    // Edited by somebody who knows checksums, and takes away what he cannot make.
    edited(&manifest, |manifest| manifest["note"] = "another".into());
    assert!(wrong(&bench, &first, &[]).contains("edited after it was signed"));
    std::fs::remove_file(&signature).unwrap();
    let said = wrong(&bench, &first, &[]);
    assert!(said.contains("not the manifest that was put") && said.contains("had signed this set"), "{said}");
    assert_eq!(row(&bench, &first, &[])["record"], "differs");
    let listed = bench.backups();
    let told = listed.iter().find(|set| set["backup_id"] == first.as_str()).unwrap();
    assert_eq!(told["status"], "damaged", "{told}");
    let refused = bench.ask(&first);
    assert!(refused.code == 6 && refused.err.contains("backup.tampered"), "{refused:?}");
    let table = verify(&bench, &[]);
    assert!(table.out.contains(&format!("WRONG orders {first}: ")) && table.out.contains("1 WRONG"), "{table:?}");
    let copied_to = bench.dir.path().join("copied-to");
    let not_copied = bench.run(&["vault", "copy", "--to", copied_to.to_str().unwrap()]);
    assert!(not_copied.code == 6 && not_copied.out.contains("not the manifest that was put"), "{not_copied:?}");
    assert!(copied_to.join("orders").join(&second).exists() && !copied_to.join("orders").join(&first).exists());
    put_back(&bench, &first, &aside);
    assert_eq!(wrong(&bench, &first, &[]), "");

    // The signature alone is gone: the manifest is remembered, and is the one that was put.
    let aside = copied(&bench, &first);
    std::fs::remove_file(&signature).unwrap();
    assert!(wrong(&bench, &first, &[]).contains("manifest.json.minisig: is not there"));
    assert_eq!(bench.ask(&first).code, 0, "what is remembered vouches for it");
    put_back(&bench, &first, &aside);

    // Two sets have changed places.
    let between = bench.dir.path().join("between");
    std::fs::rename(folder(&bench, &first), &between).unwrap();
    std::fs::rename(folder(&bench, &second), folder(&bench, &first)).unwrap();
    std::fs::rename(&between, folder(&bench, &second)).unwrap();
    for id in [&first, &second] {
        assert!(wrong(&bench, id, &[]).contains("says it is"), "{id}");
        assert_eq!(bench.ask(id).code, 6);
    }
    std::fs::rename(folder(&bench, &first), &between).unwrap();
    std::fs::rename(folder(&bench, &second), folder(&bench, &first)).unwrap();
    std::fs::rename(&between, folder(&bench, &second)).unwrap();

    // A byte of the data: only who reads all of it finds that.
    let (data, aside) = (folder(&bench, &first).join("data.rdb.zst"), copied(&bench, &first));
    let mut bytes = std::fs::read(&data).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::remove_file(&data).unwrap();
    std::fs::write(&data, bytes).unwrap();
    assert_eq!(wrong(&bench, &first, &[]), "");
    assert!(wrong(&bench, &first, &["--deep"]).contains("data.rdb.zst"));
    std::fs::remove_file(&data).unwrap();
    assert!(wrong(&bench, &first, &[]).contains("data.rdb.zst"), "its data is gone");
    put_back(&bench, &first, &aside);
    assert_eq!(wrong(&bench, &first, &["--deep"]), "");

    // The manifest is gone; the whole set is.
    let aside = copied(&bench, &first);
    std::fs::remove_file(&manifest).unwrap();
    assert!(wrong(&bench, &first, &[]).contains("data without a manifest"));
    std::fs::remove_dir_all(folder(&bench, &first)).unwrap();
    assert!(wrong(&bench, &first, &[]).contains("this home has put the set and never deleted it"));
    assert_eq!(row(&bench, &first, &[])["record"], "removed");
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.code == 5 && doctor.out.contains("changed from outside"), "{doctor:?}");
    put_back(&bench, &first, &aside);
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.out.contains(&format!("signed by key {key}, 0 of")), "{doctor:?}");

    // What this program deletes is not missed; put back from a copy it is told, and is a set.
    let aside = copied(&bench, &first);
    delete(&bench, &first);
    let after = verify(&bench, &[]);
    assert!(after.code == 0 && !after.out.contains(&first), "{after:?}");
    put_back(&bench, &first, &aside);
    let back = row(&bench, &first, &[]);
    assert_eq!((&back["record"], &back["signature"]), (&"unknown".into(), &"good".into()), "{back}");
    assert!(back["notes"].to_string().contains("put back after its deletion"), "{back}");
    assert_eq!(verify(&bench, &[]).code, 0);
    let nobody = verify(&bench, &["--instance-id", "nobody"]);
    assert!(nobody.code == 4 && nobody.err.contains("instance.not_found"), "{nobody:?}");
}

/// A set that somebody else removed is named until a person at a terminal says that it was meant to go; nothing else ends that, and no set that
/// is there can be forgotten.
#[test]
fn what_was_meant_to_go_is_forgotten_by_a_person() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let id = bench.backup();
    let forget = ["vault", "forget", "--instance-id", "orders", "--backup-id", &id];
    let there = bench.run(&forget);
    assert!(there.code == 3 && there.err.contains("[backup.there]"), "{there:?}");
    std::fs::remove_dir_all(folder(&bench, &id)).unwrap();
    let said = wrong(&bench, &id, &[]);
    assert!(said.contains(&format!("vault forget --instance-id orders --backup-id {id}")), "{said}");
    let refused = bench.run(&forget);
    assert!(refused.code == 3 && refused.err.contains("[person.no_channel]"), "{refused:?}");
    for typed in ["", "orders"] {
        let left = terminal(&bench, &[("leaves it) > ", typed)], &forget);
        assert!(left.code == 0 && left.out.contains("Left as it is"), "{left:?}");
        assert_eq!(row(&bench, &id, &[])["record"], "removed");
    }
    let forgotten = terminal(&bench, &[("leaves it) > ", id.as_str())], &forget);
    assert!(forgotten.code == 0 && forgotten.out.contains("is forgotten"), "{forgotten:?}");
    let after = verify(&bench, &[]);
    assert!(after.code == 0 && !after.out.contains(&id), "{after:?}");
    let unknown = bench.run(&forget);
    assert!(unknown.code == 4 && unknown.err.contains("[backup.not_found]"), "{unknown:?}");
    assert!(bench.run(&["audit", "--json"]).out.contains("backup.forgotten"));
}

/// What has no signature is restored only where that is not forbidden, and is no way back then either.
#[test]
fn signatures_may_be_required() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    std::fs::remove_file(folder(&bench, &backup).join("manifest.json.minisig")).unwrap();
    let strict = unattended(&redis, "").replace("[guard]", "[guard]\nrequire_signed = true");
    bench.configure(&strict);
    let refused = bench.ask(&backup);
    assert!(refused.code == 3 && refused.err.contains("backup.unsigned"), "{refused:?}");
    let (signed, newest) = (bench.backup(), bench.backup());
    std::fs::remove_file(folder(&bench, &newest).join("manifest.json.minisig")).unwrap();
    // Nothing was written since the newest: without the rule that one would be the way back.
    let safety = || text(&bench.ask(&signed).json()["plan"]["safety_backup_id"]);
    let taken = safety();
    assert!(taken != newest && folder(&bench, &taken).join("manifest.json.minisig").exists(), "{taken}");
    bench.configure(&unattended(&redis, ""));
    assert_eq!(bench.ask(&backup).code, 0);
    bench.configure(&strict.replace("require_signed = true", "require_signed = \"yes\""));
    assert_eq!(bench.run(&["describe-instances"]).code, 2);
}

/// Sets of a home that this one does not know are refused, until its key is trusted by the configuration.
#[test]
fn a_shared_vault_takes_the_keys_of_all() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let shared = tempfile::tempdir().unwrap();
    let vault = format!("vault = \"{}\"\n", shared.path().display());
    let (one, two) = (
        Bench::new(&(vault.clone() + &unattended(&redis, ""))),
        Bench::new(&(vault.clone() + &unattended(&redis, ""))),
    );
    let theirs = one.backup();
    let refused = two.ask(&theirs);
    assert!(refused.code == 6 && refused.err.contains("backup.untrusted"), "{refused:?}");
    assert_eq!((row(&two, &theirs, &[])["signature"].clone(), verify(&two, &[]).code), ("untrusted".into(), 6));
    let public = std::fs::read_to_string(one.home().join("tair-backup.pub")).unwrap();
    let trusted = format!("trusted_keys = [\"{}\"]\n", public.lines().nth(1).unwrap());
    two.configure(&(trusted + &vault + &unattended(&redis, "")));
    let known = row(&two, &theirs, &[]);
    assert_eq!((&known["signature"], &known["record"]), (&"good".into(), &"unknown".into()), "{known}");
    assert_eq!(two.ask(&theirs).code, 0);
    two.configure(&("trusted_keys = [\"RWQ\"]\n".to_owned() + &unattended(&redis, "")));
    let bad = two.run(&["describe-instances"]);
    assert!(bad.code == 2 && bad.err.contains("trusted_keys"), "{bad:?}");
}

/// A log is looked at also where no set lies beside it, and named as one that is there.
#[test]
fn the_log_of_an_instance_without_sets_is_looked_at() {
    let bench = Bench::new("");
    let log = archive(&bench);
    let new = NewTimeline { instance_id: "gone".into(), ..new_timeline(FIRST, Some(0)) };
    let timeline = log.open_timeline(new).unwrap();
    let mut writer = log.writer(&timeline, limits(1 << 20)).unwrap();
    put(&mut writer, &set("a", "1"), T0);
    seal(&mut writer);
    let deep = ["--deep", "--instance-id", "gone"];
    let whole = verify(&bench, &deep);
    assert!(whole.code == 0 && whole.out.contains("log   gone: 1 segments read"), "{whole:?}");
    // A folder of somebody else, into which only root may look, keeps nobody from the rest.
    let foreign = bench.home().join("vault/lost+found");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::set_permissions(&foreign, Permissions::from_mode(0o000)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let beside = verify(&bench, &["--deep"]);
    assert!(beside.code == 0 && beside.out.contains("lost+found: may not be looked into") != is_root, "{beside:?}");
    let to = bench.dir.path().join("to");
    let copied = bench.run(&["vault", "copy", "--to", to.to_str().unwrap()]);
    assert!(copied.code == 0 && copied.out.contains("log       gone"), "{copied:?}");
    std::fs::set_permissions(&foreign, Permissions::from_mode(0o700)).unwrap();
    let gap = bench.home().join("vault/.log/gone/0").join(&timeline.id).join("gap-1.json");
    std::fs::write(gap, b"{}").unwrap();
    let named = verify(&bench, &deep);
    assert!(named.code == 6 && named.out.contains("gap-1.json"), "{named:?}");
}
