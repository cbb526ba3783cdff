//! What lies on a vault may be anybody's: only plain files of a bounded size are read, through no link, and their text is clean.

use super::Place;
use crate::support::write_over;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::ids::hex;

const ID: &str = "b-20260101T000000Z-aaaaaa";

fn pipe(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A link, a pipe, a directory, a device in the place of a file or a folder is damage that is told, at once, and nothing is read
/// through it. The vault itself may be a link.
#[test]
fn only_plain_files_are_read() {
    for name in ["manifest.json", "data.rdb.zst"] {
        for case in ["link", "pipe", "directory", "device"] {
            let place = Place::new();
            let (set, path) = (place.set(ID), place.path(ID, name));
            let aside = place.dir.path().join("aside");
            std::fs::rename(&path, &aside).unwrap();
            match case {
                "link" => symlink(&aside, &path).unwrap(),
                "pipe" => pipe(&path),
                "directory" => std::fs::create_dir(&path).unwrap(),
                _ => symlink("/dev/zero", &path).unwrap(),
            }
            let begun = Instant::now();
            assert_eq!(place.list(&[]), [(ID.to_owned(), false)], "{name} {case}");
            let fault = place.run(place.vault.find("orders", ID, &())).unwrap_err();
            assert_eq!(fault.code, "backup.damaged", "{name} {case}: {fault}");
            if name == "data.rdb.zst" {
                assert!(place.run(place.vault.verify(&set)).is_err(), "{case}");
                assert!(place.run(place.vault.stored_digest(&set)).is_err(), "{case}");
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{name} {case}");
        }
    }
    let place = Place::new();
    place.set(ID);
    let (folder, aside) = (place.path(ID, ""), place.dir.path().join("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    symlink(&aside, folder.to_str().unwrap().trim_end_matches('/')).unwrap();
    assert_eq!(place.list(&[]), [(ID.to_owned(), false)]);

    let place = Place::new();
    place.set(ID);
    let (root, aside) = (place.dir.path().join("vault"), place.dir.path().join("elsewhere"));
    std::fs::rename(&root, &aside).unwrap();
    symlink(&aside, &root).unwrap();
    assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "the vault may lie on another disk");
}

/// A manifest with its checksum made right again after a change.
fn rewrite(place: &Place, change: impl FnOnce(&mut Value)) {
    let path = place.path(ID, "manifest.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    json["checksum"] = "".into();
    json["checksum"] = hex(&Sha256::digest(json.to_string())).into();
    write_over(&path, json.to_string());
}

/// Whoever can write to the vault can write a right checksum: text is cleaned all the same, in sets and in what is told of damage,
/// and a manifest as long as none of ours is not read.
#[test]
fn text_and_size_of_a_manifest_are_bounded() {
    let evil = format!("ok\u{1b}[31m\u{202e}\nIgnore this{}", "x".repeat(5000));
    let place = Place::new();
    place.set(ID);
    rewrite(&place, |json| {
        json["note"] = json!(evil);
        json["server"]["version"] = json!(evil);
        json["server"]["engine"] = json!(evil);
        json["server"]["run_id"] = json!(evil);
        json["replication"]["id"] = json!(evil);
        json["replication"]["announced_version"] = json!(evil);
        json["rdb"]["sha256"] = json!(evil);
        json["origin"] = json!({ "kind": "copy", "instance_id": evil, "backup_id": evil });
    });
    let set = place.run(place.vault.find("orders", ID, &())).unwrap();
    let shown = format!("{set:?}");
    assert!(shown.len() < 4000, "{shown}");
    for bad in ["\\u{1b}", "\\u{202e}", "\\n"] {
        assert!(!shown.contains(bad), "{bad}: {shown}");
    }
    for (field, value) in [
        ("mode", json!(evil)),
        ("backup_id", json!(evil)),
        ("data", json!({ "file": evil, "compression": evil, "bytes": 1 })),
        ("started_at", json!(evil)),
        ("origin", json!({ "kind": evil })),
    ] {
        let place = Place::new();
        place.set(ID);
        rewrite(&place, |json| json[field] = value);
        let fault = place.run(place.vault.find("orders", ID, &())).unwrap_err();
        let told = fault.message;
        assert!(told.len() < 1200 && !told.contains(['\u{1b}', '\u{202e}', '\n']), "{field}: {told}");
    }
    let place = Place::new();
    place.set(ID);
    rewrite(&place, |json| json["note"] = json!("x".repeat(9 << 20)));
    let fault = place.run(place.vault.find("orders", ID, &())).unwrap_err();
    assert!(fault.message.contains("8388608") && fault.message.len() < 400, "{fault}");
    // A folder's name is text too.
    let evil = place.dir.path().join("vault/orders/b\u{202e}\u{1b}[31m");
    std::fs::rename(place.path(ID, ""), evil).unwrap();
    let listed = place.list(&[]);
    assert!(listed.len() == 1 && !listed[0].0.contains(['\u{1b}', '\u{202e}']), "{listed:?}");
}
