//! Backups for people: a new backup, the list of sets, a file written, and the policy.

use super::{cell, count, items, number, size, table, text};
use crate::model::estimate::Estimate;
use crate::model::text::bytes;
use crate::model::time::age;
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

/// Renders the reply of `create_backup`.
pub fn created(json: &Value) -> String {
    let mut lines = vec![format!("{}  {}", cell(json, "status"), cell(json, "backup_job_id"))];
    lines.extend(text(json, "backup_id").map(|id| format!("backup  {id}")));
    lines.push(cell(json, "message"));
    let estimate = json.get("estimate").and_then(|estimate| Estimate::deserialize(estimate).ok());
    lines.extend(estimate.map(|estimate| format!("takes   {}", estimate.describe())));
    lines.extend(text(json, "hint").map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}

/// Renders the reply of `describe_backups`.
pub fn list(json: &Value) -> String {
    if let Some(found) = json.get("destructive") {
        return destructive(json, found);
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
    let list = table(["BACKUP", "STATUS", "MODE", "TAKEN", "KEYS", "RDB", "STORED", "NOTE"], rows);
    let range = match (text(json, "start_time"), text(json, "end_time")) {
        (Some(start), Some(end)) => {
            let outside = number(json, "outside_range").map_or(String::new(), |n| format!("; {n} outside that range"));
            format!("{} of {} from {start} to {end}{outside}", backups.len(), count(json, "total"))
        }
        _ => String::new(),
    };
    let mut lines = vec![list, range];
    lines.extend(newest(json));
    lines.extend(log(json));
    lines.join("\n").trim_end().into()
}

/// The newest set of each mode in what tells of several, as a line: a safety backup above the others in a list is not the last backup.
pub fn newest(of: &Value) -> Option<String> {
    let rows = items(of, "newest");
    let row = |set: &Value| {
        let seconds = set.get("age_seconds").and_then(Value::as_i64).unwrap_or_default();
        let ago = age(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap_or_default());
        format!("{} {} ({}, {ago} ago)", cell(set, "mode"), cell(set, "backup_id"), cell(set, "status"))
    };
    (rows.len() > 1).then(|| format!("newest: {}", rows.iter().map(row).collect::<Vec<_>>().join("; ")))
}

/// What destroyed data, and how to get to right before it.
fn destructive(json: &Value, found: &Value) -> String {
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
    let mut lines = vec![
        table(["AT", "DB", "COMMAND", "TIMES", "KEYS", "PREFIX", "POSITION", "NOTE"], rows),
        format!(
            "{} of {} from {} to {}. {}",
            events.len(),
            count(json, "total"),
            text(found, "searched_from").or(text(json, "start_time")).unwrap_or_default(),
            text(found, "searched_to").or(text(json, "end_time")).unwrap_or_default(),
            cell(found, "message"),
        ),
    ];
    lines.extend(
        items(found, "gaps")
            .iter()
            .map(|gap| format!("IN NO LOG: {} to {} ({})", cell(gap, "from"), cell(gap, "to"), cell(gap, "cause"))),
    );
    lines.extend(found.get("restore_instance").map(|call| {
        let (id, position) = (cell(call, "instance_id"), cell(call, "before_position"));
        format!("before the newest: tair-backup-mcp restore-instance --instance-id {id} --before-position {position}")
    }));
    lines.extend(log(json));
    lines.join("\n").trim_end().into()
}

/// The log in what has one, as a line: whether somebody keeps it, what can be restored, what is missing.
pub fn log(of: &Value) -> Option<String> {
    let log = of.get("log")?;
    if let Some(why) = text(log, "unreadable") {
        return Some(format!("THE LOG CANNOT BE READ: {why}"));
    }
    let mut parts = vec![match text(log, "archiver") {
        Some(who) => format!("log kept by {who}"),
        None if log.get("on").and_then(Value::as_bool) == Some(true) => "LOG ON, AND NOBODY KEEPS IT".to_owned(),
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
        format!("{} GAPS, the newest from {from} to {to} ({cause})", count(log, "total_gaps"))
    }));
    Some(parts.join("; "))
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

/// Renders the reply of `describe_backup_policy`.
pub fn policy(json: &Value) -> String {
    let days: Vec<&str> = items(json, "preferred_backup_period").iter().filter_map(Value::as_str).collect();
    let flashback = json.get("enable_backup_log").and_then(Value::as_bool) == Some(true);
    let mut lines = vec![match text(json, "preferred_backup_time") {
        Some(hour) => format!("backups    {} within {hour}", days.join(", ")),
        None => "backups    none by themselves".to_owned(),
    }];
    lines.extend(number(json, "backup_retention_period").map(|days| format!("kept for   {days} days")));
    lines.push(format!("flashback  {}", if flashback { "on" } else { "off" }));
    lines.extend(text(json, "preferred_next_backup_time").map(|at| format!("next       {at}")));
    lines.extend(text(json, "backup_log_start_time").map(|at| format!("back to    {at}")));
    lines.extend(json.get("persistence").map(persistence).into_iter().flatten());
    lines.join("\n")
}

/// What the server keeps on its disk by itself, a line each.
fn persistence(json: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let is = |field: &str| json.get(field).and_then(Value::as_bool);
    let runs = |field: &str, what: &str| if is(field) == Some(true) { format!(", {what}") } else { String::new() };
    let last = |field: &str, what: &str| text(json, field).map(|how| format!(", {what} {how}")).unwrap_or_default();
    let saves = text(json, "save").map(|points| if points.is_empty() { "none by itself" } else { points });
    if saves.is_some() || text(json, "last_save").is_some() {
        let at = text(json, "last_save_time").map(|at| format!(" at {at}")).unwrap_or_default();
        let since = number(json, "changes_since_last_save").map(|n| format!(", {n} changes since")).unwrap_or_default();
        let (points, last, runs) =
            (saves.unwrap_or("unknown"), last("last_save", "the last"), runs("save_in_progress", "one runs"));
        lines.push(format!("RDB        {points}{last}{at}{since}{runs}"));
    }
    if let Some(on) = is("appendonly") {
        let fsync =
            text(json, "appendfsync").filter(|_| on).map(|fsync| format!(", appendfsync {fsync}")).unwrap_or_default();
        let mut sizes = String::new();
        if let Some(base) = number(json, "aof_base_size") {
            let growth = number(json, "aof_growth_percentage").map(|n| format!(" grown by {n} %")).unwrap_or_default();
            let base = crate::model::text::bytes(base);
            sizes = format!(", {}{growth} from {base} at its last rewrite", size(json, "aof_current_size"));
        }
        let rewrites = [
            last("last_rewrite", "the last rewrite"),
            runs("rewrite_in_progress", "one runs"),
            last("last_write", "the last write"),
        ];
        lines.push(format!("AOF        {}{fsync}{sizes}{}", if on { "on" } else { "off" }, rewrites.concat()));
    }
    lines.extend(text(json, "unknown").map(|why| format!("unknown    {why}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::{created, download, list, policy};
    use serde_json::json;

    /// Every field of the replies that people need is shown, and an absent one leaves no line behind.
    #[test]
    fn backups_as_people_see_them() {
        let failed =
            json!({ "status": "failed", "backup_job_id": "bj-1", "joined": false, "message": "gone", "hint": "Try." });
        assert_eq!(created(&failed), "failed  bj-1\ngone\nhint: Try.");
        let made = json!({ "status": "succeeded", "backup_job_id": "bj-1", "backup_id": "b-1", "message": "12 keys" });
        assert_eq!(created(&made), "succeeded  bj-1\nbackup  b-1\n12 keys");
        let none = json!({ "backups": [], "total": 0, "start_time": "S", "end_time": "E", "outside_range": 4 });
        assert!(list(&none).ends_with("0 of 0 from S to E; 4 outside that range"), "{}", list(&none));
        let damaged = json!({ "backups": [{ "backup_id": "b-1", "status": "damaged", "damage": "cut", "note": "n" }] });
        assert!(list(&damaged).ends_with("cut"), "{}", list(&damaged));
        let needed = json!({ "backups": [{ "backup_id": "b-1", "note": "n", "needed_by": ["restore rj-1 of T"] }] });
        assert!(list(&needed).ends_with("needed by restore rj-1 of T"), "{}", list(&needed));
        let shrunk = json!({ "backups": [{ "backup_id": "b-2", "status": "deep", "shrunk": "keys 400 → 200", "note": "n" }],
            "newest": [{ "mode": "manual", "backup_id": "b-2", "age_seconds": 180, "status": "deep" },
                { "mode": "safety", "backup_id": "b-3", "age_seconds": 60, "status": "drilled" }] });
        let shown = list(&shrunk);
        assert!(shown.contains("SHRUNK: keys 400 → 200\n"), "{shown}");
        assert!(shown.ends_with("newest: manual b-2 (deep, 3m ago); safety b-3 (drilled, 60s ago)"), "{shown}");
        let found = json!({ "total": 3, "start_time": "S", "end_time": "E", "destructive": {
            "events": [{ "at": "T1", "command": "DEL", "commands": 7, "keys": 70, "key_prefix": "cart:", "database": 2,
                "position": "t-a/0/9", "note": "may be" }],
            "searched_from": "F", "searched_to": "U", "message": "More.",
            "gaps": [{ "from": "G", "to": "H", "cause": "other" }],
            "restore_instance": { "instance_id": "orders", "before_position": "t-a/0/9" } } });
        let shown = list(&found);
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
        let daily = json!({ "preferred_backup_time": "02:00Z-03:00Z", "preferred_backup_period": ["Monday", "Friday"],
            "backup_retention_period": 7, "enable_backup_log": true, "backup_log_start_time": "T" });
        let shown = "backups    Monday, Friday within 02:00Z-03:00Z\nkept for   7 days\nflashback  on\nback to    T";
        assert_eq!(policy(&daily), shown);
        let own = json!({ "enable_backup_log": true });
        assert_eq!(policy(&own), "backups    none by themselves\nflashback  on");
        let disk = json!({ "enable_backup_log": false, "persistence": { "save": "", "appendonly": true, "appendfsync": "no",
            "last_save": "ok", "last_save_time": "T", "changes_since_last_save": 3, "last_rewrite": "failed",
            "rewrite_in_progress": true, "last_write": "ok", "aof_current_size": 3072, "aof_base_size": 1024,
            "aof_growth_percentage": 200, "unknown": "U" } });
        let shown = policy(&disk);
        assert!(shown.contains("RDB        none by itself, the last ok at T, 3 changes since\n"), "{shown}");
        let file = "AOF        on, appendfsync no, 3.0 KiB grown by 200 % from 1.0 KiB at its last rewrite, the last rewrite failed, one runs, the last write ok\n";
        assert!(shown.contains(file) && shown.ends_with("unknown    U"), "{shown}");
    }
}
