//! What would expire, for people: each set with the reason for which it goes or stays, and how many go.

use super::screen::Screen;
use super::tables::Column;
use super::{cell, items, number, text};
use serde_json::Value;

/// Renders the report of `retention`.
#[must_use]
pub fn verdicts(screen: &Screen, json: &Value) -> String {
    let sets = items(json, "sets");
    let goes = |set: &Value| set.get("goes").and_then(Value::as_bool) == Some(true);
    let rows = sets.iter().map(|set| {
        [
            if goes(set) { "goes" } else { "stays" }.to_owned(),
            cell(set, "backup_id"),
            text(set, "taken_at").unwrap_or("-").to_owned(),
            cell(set, "why"),
        ]
    });
    let head = [Column::status(""), Column::new("BACKUP"), Column::new("TAKEN"), Column::sentence("WHY")];
    let going = sets.iter().filter(|set| goes(set)).count();
    let segments = number(json, "log_segments").unwrap_or_default();
    let of_the_log = match segments {
        0 => String::new(),
        n => format!(", and {n} segments of the log that no moment needs which is kept"),
    };
    let who =
        if going == 0 && segments == 0 { "" } else { " The next look of this program at expired sets deletes them." };
    let sum = screen.prose(&format!("{going} of {} would go now{of_the_log}.{who}", sets.len()));
    if sets.is_empty() { sum } else { format!("{}\n{sum}", screen.table(head, rows)) }
}

#[cfg(test)]
mod tests {
    use super::verdicts;
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
}
