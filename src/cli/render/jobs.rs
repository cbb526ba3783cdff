//! Jobs for people: a line each, newest first.

use super::screen::{Screen, Tone};
use super::tables::Column;
use super::{cell, items, text};
use serde_json::Value;

/// Renders the reply of `describe_jobs`.
pub fn list(screen: &Screen, json: &Value) -> String {
    let rows = items(json, "jobs").iter().map(|j| {
        let done = j.get("progress").and_then(Value::as_f64);
        [
            cell(j, "job_id"),
            cell(j, "kind"),
            cell(j, "instance_id"),
            cell(j, "status"),
            done.map_or(String::new(), |share| format!("{:.0}%", share * 100.0)),
            cell(j, "started_at"),
            text(j, "message").map_or_else(|| cell(j, "stage"), str::to_owned),
        ]
    });
    let head = [
        Column::new("JOB"),
        // The job's id begins with it.
        Column::new("KIND").less(2),
        Column::new("INSTANCE"),
        Column::status("STATUS"),
        Column::number("DONE").less(1),
        Column::new("STARTED"),
        Column::sentence("MESSAGE"),
    ];
    screen.table(head, rows)
}

/// Renders a reply that is one job.
pub fn one(screen: &Screen, json: &Value) -> String {
    let status = cell(json, "status");
    let mut lines = vec![format!("{}  {}", screen.paint(Tone::of(&status), &status), cell(json, "job_id"))];
    lines.extend(text(json, "backup_id").map(|id| format!("backup  {id}")));
    lines.push(screen.prose(&text(json, "message").map_or_else(|| cell(json, "stage"), str::to_owned)));
    lines.extend(text(json, "hint").map(|hint| screen.beside("hint: ", hint)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{list, one};
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// An ended job shows its result; a running one its stage and progress.
    #[test]
    fn a_job_shows_its_end_or_its_stage() {
        let shown = list(
            &Screen::WHOLE,
            &json!({ "jobs": [
            { "job_id": "rj-2", "kind": "restore", "instance_id": "orders", "status": "running", "stage": "sending",
              "progress": 0.426, "started_at": "T" },
            { "job_id": "bj-1", "kind": "backup", "instance_id": "orders", "status": "succeeded", "stage": "done",
              "started_at": "S", "message": "12 keys" },
        ] }),
        );
        let lines: Vec<Vec<&str>> = shown.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["rj-2", "restore", "orders", "running", "43%", "T", "sending"]);
        assert_eq!(lines[1], ["bj-1", "backup", "orders", "succeeded", "S", "12", "keys"]);
    }

    #[test]
    fn one_job_shows_what_to_do_next() {
        let running = json!({ "status": "running", "job_id": "vj-1", "backup_id": "b-1", "stage": "reading" });
        assert_eq!(one(&Screen::WHOLE, &running), "running  vj-1\nbackup  b-1\nreading");
        let failed = json!({ "status": "failed", "job_id": "vj-1", "stage": "end", "message": "cut", "hint": "Try." });
        assert_eq!(one(&Screen::WHOLE, &failed), "failed  vj-1\ncut\nhint: Try.");
    }
}
