//! Requests about the backups themselves: taken, written to a file, moved, deleted.

use super::scene::{Scene, runs};
use crate::support::{files_under, text};
use serde_json::json;

/// "Back up orders before I migrate."
pub fn back_up(scene: &mut Scene) {
    let call = json!({ "instance_id": "orders", "wait_seconds": 60, "note": "before the migration" });
    let made = scene.call("create_backup", call);
    assert_eq!(made["status"], "succeeded", "{made}");
    scene.backup = text(&made["backup_id"]);
}

/// "Give me last night's backup as a file."
pub fn to_a_file(scene: &mut Scene) {
    let listed = scene.call("describe_backups", json!({ "instance_id": "orders" }));
    // A safety backup holds what a restore was to undo.
    let last = listed["newest"].as_array().unwrap().iter().find(|row| row["mode"] != "safety");
    let id = last.unwrap_or_else(|| panic!("{listed}"))["backup_id"].clone();
    let written = scene.call("download_backup", json!({ "instance_id": "orders", "backup_id": id }));
    let bytes = std::fs::read(text(&written["path"])).unwrap();
    assert_eq!((&bytes[..5], written["bytes"].as_u64()), (&b"REDIS"[..], Some(bytes.len() as u64)), "{written}");
}

/// "Move our backups to the new disk." No tool does that: the agent is told that it is a person's command, and where those are; it works while
/// everything runs.
pub fn move_them(scene: &mut Scene) {
    let told = scene.no_tool("move_backups");
    let command = told.rsplit('`').nth(1).unwrap_or_else(|| panic!("no command in {told:?}"));
    let help = runs(command);
    assert!(help.code == 0 && help.out.contains("vault") && help.out.contains("prune"), "{help:?}");
    let new = scene.bench.dir.path().join("new disk");
    let copied = scene.bench.run(&["vault", "copy", "--to", new.to_str().unwrap()]);
    assert_eq!(copied.code, 0, "{copied:?}");
    let files = files_under(&new);
    assert!(files.iter().any(|file| file.to_string_lossy().contains(&scene.backup)), "{files:?}");
}

/// "Delete the old backups." One by one it is a tool, and takes a yes; many by a rule are `prune`, a person's command.
pub fn delete_old_ones(scene: &mut Scene) {
    let made = scene.call("create_backup", json!({ "instance_id": "orders", "wait_seconds": 60 }));
    let old = json!({ "instance_id": "orders", "backup_id": made["backup_id"] });
    let (plan, _) = scene.agreed("delete_backup", &old, "orders");
    assert!(!text(&plan["impact"]["lost"]).is_empty(), "{plan}");
    let gone = scene.call("describe_backups", old);
    assert_eq!(gone["code"], "backup.not_found", "{gone}");
    let pruned = scene.bench.run(&["prune", "orders", "--keep-last", "5", "--dry-run"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
}
