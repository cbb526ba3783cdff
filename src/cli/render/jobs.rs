//! Jobs for people: a line each, newest first.

use super::screen::{Screen, Tone};
use super::tables::Column;
use super::typed::typed;
use super::{cell, count, items, number, text};
use serde_json::Value;

/// Renders the reply of `describe_jobs`.
pub fn list(screen: &Screen, json: &Value) -> String {
    let rows = items(json, "jobs").iter().map(|j| {
        [
            cell(j, "job_id"),
            cell(j, "kind"),
            cell(j, "instance_id"),
            cell(j, "status"),
            took(j).unwrap_or_else(|| share(j)),
            cell(j, "started_at"),
            screen.brief(&text(j, "message").map_or_else(|| cell(j, "stage"), str::to_owned)),
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
    let list = screen.table(head, rows);
    let (shown, total) = (items(json, "jobs").len(), number(json, "total").unwrap_or_default());
    let more = (total > shown as u64).then(|| format!("\n{shown} of {total}, page {}", count(json, "page_number")));
    list + &more.unwrap_or_default()
}

/// How long a job that has ended took.
fn took(job: &Value) -> Option<String> {
    job.get("duration_seconds").and_then(Value::as_f64).map(|seconds| format!("in {seconds} s"))
}

/// How far a job is, in per cent; empty where that is unknown.
fn share(job: &Value) -> String {
    let share = job.get("progress").and_then(Value::as_f64);
    share.map_or(String::new(), |share| format!("{:.0}%", share * 100.0))
}

/// Renders a reply that is one job.
pub fn one(screen: &Screen, json: &Value) -> String {
    let how_far = took(json).unwrap_or_else(|| share(json));
    let status = cell(json, "status");
    let first = format!("{}  {}  {how_far}", screen.paint(Tone::of(&status), &status), cell(json, "job_id"));
    let mut lines = vec![first.trim_end().to_owned()];
    lines.extend(text(json, "backup_id").map(|id| format!("backup  {id}")));
    lines.push(screen.prose(&text(json, "message").map_or_else(|| cell(json, "stage"), str::to_owned)));
    lines.extend(text(json, "hint").map(|hint| screen.step("hint: ", &typed(screen, hint))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{list, one};
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// An ended job shows its result and how long it took; a running one its stage and progress.
    #[test]
    fn a_job_shows_its_end_or_its_stage() {
        let shown = list(
            &Screen::WHOLE,
            &json!({ "jobs": [
            { "job_id": "rj-2", "kind": "restore", "instance_id": "orders", "status": "running", "stage": "sending",
              "progress": 0.426, "started_at": "T" },
            { "job_id": "bj-1", "kind": "backup", "instance_id": "orders", "status": "succeeded", "progress": 1.0,
              "started_at": "S", "duration_seconds": 9.6, "message": "12 keys" },
        ], "total": 12, "page_number": 1 }),
        );
        let lines: Vec<Vec<&str>> = shown.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["rj-2", "restore", "orders", "running", "43%", "T", "sending"]);
        assert_eq!(lines[1], ["bj-1", "backup", "orders", "succeeded", "in", "9.6", "s", "S", "12", "keys"]);
        assert_eq!(lines[2], ["2", "of", "12,", "page", "1"]);
    }

    #[test]
    fn one_job_shows_what_to_do_next() {
        let running = json!({ "status": "running", "job_id": "vj-1", "backup_id": "b-1", "stage": "reading" });
        assert_eq!(one(&Screen::WHOLE, &running), "running  vj-1\nbackup  b-1\nreading");
        let failed =
            json!({ "status": "failed", "job_id": "vj-1", "duration_seconds": 2.0, "message": "cut", "hint": "Try." });
        assert_eq!(one(&Screen::WHOLE, &failed), "failed  vj-1  in 2 s\ncut\nhint: Try.");
    }
}
