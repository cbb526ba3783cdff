//! What would expire or be pruned, for people: each set with the reason for which it goes or stays, and how many go; and what became of those.

use super::screen::Screen;
use super::tables::Column;
use super::{cell, items, number, size, text};
use crate::model::pruning::PRUNED_AT_ONCE;
use serde_json::Value;

/// Renders the report of `retention`.
#[must_use]
pub fn verdicts(screen: &Screen, json: &Value) -> String {
    let sets = items(json, "sets");
    let going = sets.iter().filter(|set| goes(set)).count();
    let segments = number(json, "log_segments").unwrap_or_default();
    let of_the_log = match segments {
        0 => String::new(),
        n => format!(", and {n} segments of the log that no moment needs which is kept"),
    };
    let who =
        if going == 0 && segments == 0 { "" } else { " The next look of this program at expired sets deletes them." };
    each(screen, sets, &format!("{going} of {} would go now{of_the_log}.{who}", sets.len()))
}

/// Renders what `prune` would delete.
#[must_use]
pub fn prunable(screen: &Screen, json: &Value) -> String {
    let sets = items(json, "backups");
    let all = if sets.len() == 1 { "1 backup".to_owned() } else { format!("{} backups", sets.len()) };
    let size = size(json, "bytes");
    let sum = match number(json, "goes").unwrap_or_default() {
        0 => format!("Nothing goes of {all}."),
        n if n > PRUNED_AT_ONCE as u64 => {
            format!("{n} of {all} go; the oldest {PRUNED_AT_ONCE} at once, {size}.")
        }
        n => format!("{n} of {all} go, {size}."),
    };
    each(screen, sets, &sum)
}

/// Renders what became of each set that `prune` was to delete.
#[must_use]
pub fn pruned(screen: &Screen, json: &Value) -> String {
    let fields = ["status", "backup_id", "why"];
    let rows = items(json, "backups").iter().map(|set| fields.map(|field| cell(set, field)));
    let head = [Column::status(""), Column::new("BACKUP"), Column::sentence("WHY")];
    format!("{}\n{}", screen.table(head, rows), screen.prose(&format!("{}.", cell(json, "message"))))
}

fn goes(set: &Value) -> bool {
    set.get("goes").and_then(Value::as_bool) == Some(true)
}

/// A row for each set, and what they come to.
fn each(screen: &Screen, sets: &[Value], sum: &str) -> String {
    let rows = sets.iter().map(|set| {
        [
            if goes(set) { "goes" } else { "stays" }.to_owned(),
            cell(set, "backup_id"),
            cell(set, "mode"),
            text(set, "taken_at").unwrap_or("-").to_owned(),
            size(set, "stored_bytes"),
            cell(set, "why"),
        ]
    });
    let head = [
        Column::status(""),
        Column::new("BACKUP"),
        Column::new("MODE").less(2),
        Column::new("TAKEN"),
        Column::number("STORED").less(1),
        Column::sentence("WHY"),
    ];
    let sum = screen.prose(sum);
    if sets.is_empty() { sum } else { format!("{}\n{sum}", screen.table(head, rows)) }
}

#[cfg(test)]
mod tests {
    use super::{prunable, pruned, verdicts};
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// Every set has its verdict and why; who deletes is said where something goes.
    #[test]
    fn each_set_has_its_verdict() {
        let none = json!({ "sets": [], "log_segments": 0 });
        assert_eq!(verdicts(&Screen::WHOLE, &none), "0 of 0 would go now.");
        let report = json!({ "log_segments": 2, "sets": [
            { "backup_id": "b-2", "goes": false, "why": "the newest" },
            { "backup_id": "b-1", "taken_at": "T", "goes": true, "why": "8 days old" },
        ] });
        let shown = verdicts(&Screen::WHOLE, &report);
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["stays", "b-2", "-", "the", "newest"], "{shown}");
        assert_eq!(lines[2], ["goes", "b-1", "T", "8", "days", "old"], "{shown}");
        assert!(lines[3].starts_with(&["1", "of", "2", "would", "go", "now,", "and", "2", "segments"]), "{shown}");
    }

    /// What would go is told with what it frees, and what became of each set with why it is there still.
    #[test]
    fn a_pruning_is_told_before_and_after() {
        let none = json!({ "goes": 0, "bytes": 0, "backups": [] });
        assert_eq!(prunable(&Screen::WHOLE, &none), "Nothing goes of 0 backups.");
        let set = json!({ "backup_id": "b-1", "mode": "manual", "taken_at": "T", "stored_bytes": 2048, "goes": true, "why": "none keeps it" });
        let last = |goes: u64| {
            let shown = prunable(&Screen::WHOLE, &json!({ "goes": goes, "bytes": 2048, "backups": [set] }));
            shown.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(last(1), "1 of 1 backup go, 2.0 KiB.");
        assert_eq!(last(1001), "1001 of 1 backup go; the oldest 1000 at once, 2.0 KiB.");
        let done = json!({ "message": "1 of 2 backups deleted", "backups": [
            { "backup_id": "b-1", "status": "deleted" }, { "backup_id": "b-2", "status": "retained", "why": "locked" }] });
        let shown = pruned(&Screen::WHOLE, &done);
        assert!(shown.contains("\ndeleted   b-1\nretained  b-2     locked\n"), "{shown}");
        assert!(shown.ends_with("1 of 2 backups deleted."), "{shown}");
    }
}
