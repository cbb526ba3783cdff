//! Backups for people: a new backup, the list of sets, what destroyed data, and a file written.

use super::screen::{Screen, Tone};
use super::tables::Column;
use super::typed::typed;
use super::{cell, count, items, number, size, text};
use crate::model::estimate::Estimate;
use crate::model::text::bytes;
use crate::model::time::age;
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

/// Renders the reply of `create_backup`.
pub fn created(screen: &Screen, json: &Value) -> String {
    let status = cell(json, "status");
    let mut lines = vec![format!("{}  {}", screen.paint(Tone::of(&status), &status), cell(json, "backup_job_id"))];
    lines.extend(text(json, "backup_id").map(|id| format!("backup  {id}")));
    lines.push(screen.prose(&cell(json, "message")));
    let estimate = json.get("estimate").and_then(|estimate| Estimate::deserialize(estimate).ok());
    lines.extend(estimate.map(|estimate| screen.beside("takes   ", &estimate.describe())));
    lines.extend(text(json, "hint").map(|hint| screen.step("hint: ", &typed(screen, hint))));
    lines.join("\n")
}

/// Renders the reply of `describe_backups`.
pub fn list(screen: &Screen, json: &Value) -> String {
    if let Some(found) = json.get("destructive") {
        return destructive(screen, json, found);
    }
    let backups = items(json, "backups");
    let rows = backups.iter().map(|b| {
        [
            cell(b, "backup_id"),
            cell(b, "status"),
            cell(b, "mode"),
            cell(b, "taken_at"),
            count(b, "keys"),
            size(b, "rdb_bytes"),
            size(b, "stored_bytes"),
            remark(b),
        ]
    });
    let head = [
        Column::new("BACKUP"),
        Column::status("STATUS"),
        Column::new("MODE").less(1),
        Column::new("TAKEN"),
        Column::number("KEYS").less(2),
        Column::number("RDB").less(4),
        Column::number("STORED").less(3),
        Column::sentence("NOTE"),
    ];
    let list = screen.table(head, rows);
    let range = match (text(json, "start_time"), text(json, "end_time")) {
        (Some(start), Some(end)) => {
            let outside = number(json, "outside_range").map_or(String::new(), |n| format!("; {n} outside that range"));
            let (shown, total) = (backups.len(), count(json, "total"));
            screen.prose(&format!("{shown} of {total} from {start} to {end}{outside}"))
        }
        _ => String::new(),
    };
    let mut lines = vec![list, range];
    lines.extend(newest(screen, "", json));
    lines.extend(log(screen, "", json));
    lines.join("\n").trim_end().into()
}

/// The newest set of each mode in what tells of several, behind a head: a safety backup above the others in a list is not the last backup.
pub fn newest(screen: &Screen, head: &str, of: &Value) -> Option<String> {
    let rows = items(of, "newest");
    let row = |set: &Value| {
        let seconds = set.get("age_seconds").and_then(Value::as_i64).unwrap_or_default();
        let ago = age(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap_or_default());
        format!("{} {} ({}, {ago} ago)", cell(set, "mode"), cell(set, "backup_id"), cell(set, "status"))
    };
    let told = || rows.iter().map(row).collect::<Vec<_>>().join("; ");
    (rows.len() > 1).then(|| screen.prose(&format!("{head}newest: {}", told())))
}

/// What destroyed data, and how to get to right before it.
fn destructive(screen: &Screen, json: &Value, found: &Value) -> String {
    let events = items(found, "events");
    let rows = events.iter().map(|event| {
        [
            cell(event, "at"),
            count(event, "database"),
            cell(event, "command"),
            count(event, "commands"),
            count(event, "keys"),
            cell(event, "key_prefix"),
            cell(event, "position"),
            cell(event, "note"),
        ]
    });
    let head = [
        Column::new("AT"),
        Column::number("DB").less(1),
        Column::new("COMMAND"),
        Column::number("TIMES").less(2),
        Column::number("KEYS"),
        Column::new("PREFIX").less(3),
        Column::word("POSITION"),
        Column::sentence("NOTE"),
    ];
    let mut lines = vec![
        screen.table(head, rows),
        screen.prose(&format!(
            "{} of {} from {} to {}. {}",
            events.len(),
            count(json, "total"),
            text(found, "searched_from").or(text(json, "start_time")).unwrap_or_default(),
            text(found, "searched_to").or(text(json, "end_time")).unwrap_or_default(),
            cell(found, "message"),
        )),
    ];
    lines.extend(items(found, "gaps").iter().map(|gap| {
        let (from, to, cause) = (cell(gap, "from"), cell(gap, "to"), cell(gap, "cause"));
        screen.paint(Tone::Bad, &screen.prose(&format!("IN NO LOG: {from} to {to} ({cause})")))
    }));
    lines.extend(found.get("restore_instance").map(|call| {
        let (id, position) = (cell(call, "instance_id"), cell(call, "before_position"));
        let restore = format!("tair-backup-mcp restore-instance --instance-id {id} --before-position {position}");
        screen.command("before the newest: ", &restore)
    }));
    lines.extend(log(screen, "", json));
    lines.join("\n").trim_end().into()
}

/// The log in what has one, behind a head: whether somebody keeps it, what can be restored, what is missing.
pub fn log(screen: &Screen, head: &str, of: &Value) -> Option<String> {
    let log = of.get("log")?;
    if let Some(why) = text(log, "unreadable") {
        return Some(screen.paint(Tone::Bad, &screen.prose(&format!("{head}THE LOG CANNOT BE READ: {why}"))));
    }
    let mut tone = Tone::Plain;
    let mut parts = vec![match text(log, "archiver") {
        Some(who) => format!("log kept by {who}"),
        None if log.get("on").and_then(Value::as_bool) == Some(true) => {
            tone = Tone::Mind;
            "LOG ON, AND NOBODY KEEPS IT".to_owned()
        }
        None => "log off".to_owned(),
    }];
    parts.extend(log.get("window").map(|window| {
        format!("any moment from {} to {} can be restored", cell(window, "start_time"), cell(window, "end_time"))
    }));
    let earlier: Vec<String> = items(log, "earlier_windows")
        .iter()
        .map(|window| format!("{} to {}", cell(window, "start_time"), cell(window, "end_time")))
        .collect();
    if !earlier.is_empty() {
        parts.push(format!("and any from {}", earlier.join(", from ")));
    }
    parts.extend(text(log, "archived_until").map(|until| format!("archived until {until}")));
    let gaps = items(log, "gaps");
    parts.extend(gaps.first().map(|newest| {
        let (from, to, cause) = (cell(newest, "from"), cell(newest, "to"), cell(newest, "cause"));
        tone = Tone::Mind;
        let how_many = match number(log, "total_gaps") {
            None | Some(1) => "1 GAP,".to_owned(),
            Some(n) => format!("{n} GAPS, the newest"),
        };
        format!("{how_many} from {from} to {to} ({cause})")
    }));
    Some(screen.paint(tone, &screen.prose(&format!("{head}{}", parts.join("; ")))))
}

/// What stands behind a set: what is wrong with it, else what it lost and what counts on it, else why it was taken.
fn remark(set: &Value) -> String {
    if let Some(damage) = text(set, "damage") {
        return damage.to_owned();
    }
    let needed = items(set, "needed_by").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
    let mut parts: Vec<String> = text(set, "shrunk").map(|lost| format!("SHRUNK: {lost}")).into_iter().collect();
    parts.extend((!needed.is_empty()).then(|| format!("needed by {needed}")));
    if parts.is_empty() { cell(set, "note") } else { parts.join("; ") }
}

/// Renders the reply of `download_backup`.
pub fn download(json: &Value) -> String {
    let size = bytes(number(json, "bytes").unwrap_or_default());
    let warning = text(json, "warning").map_or(String::new(), |why| format!("\nWARNING: {why}"));
    if let Some(url) = text(json, "url") {
        let until = text(json, "expires_at").map_or(String::new(), |at| format!(" until {at}"));
        return format!("{url}\n{size}; whoever has this URL can read the backup{until}{warning}");
    }
    let already = json.get("already_there").and_then(Value::as_bool) == Some(true);
    let place = format!("{}{}", cell(json, "path"), if already { " (was there already, equal)" } else { "" });
    let version = number(json, "rdb_version").unwrap_or_default();
    match (text(json, "moment"), text(json, "how_to_load")) {
        (Some(moment), Some(how)) => {
            format!("{place}\n{size}, as it was at {moment}, RDB version {version}\nto load it: {how}{warning}")
        }
        _ => format!("{place}\n{size}, RDB version {version}, SHA-256 {}{warning}", cell(json, "sha256")),
    }
}

#[cfg(test)]
mod tests {
    use super::{created, download, list};
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// Every field of the replies that people need is shown, and an absent one leaves no line behind.
    #[test]
    fn backups_as_people_see_them() {
        let failed =
            json!({ "status": "failed", "backup_job_id": "bj-1", "joined": false, "message": "gone", "hint": "Try." });
        assert_eq!(created(&Screen::WHOLE, &failed), "failed  bj-1\ngone\nhint: Try.");
        let made = json!({ "status": "succeeded", "backup_job_id": "bj-1", "backup_id": "b-1", "message": "12 keys" });
        assert_eq!(created(&Screen::WHOLE, &made), "succeeded  bj-1\nbackup  b-1\n12 keys");
        let none = json!({ "backups": [], "total": 0, "start_time": "S", "end_time": "E", "outside_range": 4 });
        assert!(
            list(&Screen::WHOLE, &none).ends_with("0 of 0 from S to E; 4 outside that range"),
            "{}",
            list(&Screen::WHOLE, &none)
        );
        let damaged = json!({ "backups": [{ "backup_id": "b-1", "status": "damaged", "damage": "cut", "note": "n" }] });
        assert!(list(&Screen::WHOLE, &damaged).ends_with("cut"), "{}", list(&Screen::WHOLE, &damaged));
        let needed = json!({ "backups": [{ "backup_id": "b-1", "note": "n", "needed_by": ["restore rj-1 of T"] }] });
        assert!(
            list(&Screen::WHOLE, &needed).ends_with("needed by restore rj-1 of T"),
            "{}",
            list(&Screen::WHOLE, &needed)
        );
        let shrunk = json!({ "backups": [{ "backup_id": "b-2", "status": "deep", "shrunk": "keys 400 → 200", "note": "n" }],
            "newest": [{ "mode": "manual", "backup_id": "b-2", "age_seconds": 180, "status": "deep" },
                { "mode": "safety", "backup_id": "b-3", "age_seconds": 60, "status": "drilled" }] });
        let shown = list(&Screen::WHOLE, &shrunk);
        assert!(shown.contains("SHRUNK: keys 400 → 200\n"), "{shown}");
        assert!(shown.ends_with("newest: manual b-2 (deep, 3m ago); safety b-3 (drilled, 60s ago)"), "{shown}");
        let found = json!({ "total": 3, "start_time": "S", "end_time": "E", "destructive": {
            "events": [{ "at": "T1", "command": "DEL", "commands": 7, "keys": 70, "key_prefix": "cart:", "database": 2,
                "position": "t-a/0/9", "note": "may be" }],
            "searched_from": "F", "searched_to": "U", "message": "More.",
            "gaps": [{ "from": "G", "to": "H", "cause": "other" }],
            "restore_instance": { "instance_id": "orders", "before_position": "t-a/0/9" } } });
        let shown = list(&Screen::WHOLE, &found);
        for part in
            ["T1", "2", "DEL", "7", "70", "cart:", "t-a/0/9", "may be", "1 of 3 from F to U. More.", "G to H (other)"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.ends_with("restore-instance --instance-id orders --before-position t-a/0/9"), "{shown}");
        let file = json!({ "path": "/x.rdb", "bytes": 9, "rdb_version": 10, "sha256": "ab", "already_there": true });
        assert_eq!(download(&file), "/x.rdb (was there already, equal)\n9 B, RDB version 10, SHA-256 ab");
        let unaudited = json!({ "path": "/x.rdb", "bytes": 9, "rdb_version": 10, "sha256": "ab", "warning": "W" });
        assert_eq!(download(&unaudited), "/x.rdb\n9 B, RDB version 10, SHA-256 ab\nWARNING: W");
        let moment = json!({ "path": "/x", "bytes": 9, "rdb_version": 10, "moment": "T", "how_to_load": "so" });
        assert_eq!(download(&moment), "/x\n9 B, as it was at T, RDB version 10\nto load it: so");
        let url = json!({ "url": "https://x", "bytes": 9, "already_there": false, "expires_at": "T" });
        assert_eq!(download(&url), "https://x\n9 B; whoever has this URL can read the backup until T");
    }
}
