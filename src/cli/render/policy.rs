//! A backup policy for people: when backups are taken, how long they are kept, and what the server keeps on its disk by itself.

use super::screen::Screen;
use super::{items, number, size, text};
use serde_json::Value;

/// Renders the reply of `describe_backup_policy`.
pub fn reply(screen: &Screen, json: &Value) -> String {
    let days: Vec<&str> = items(json, "preferred_backup_period").iter().filter_map(Value::as_str).collect();
    let flashback = json.get("enable_backup_log").and_then(Value::as_bool) == Some(true);
    let mut lines = vec![match text(json, "preferred_backup_time") {
        Some(hour) => screen.beside("backups    ", &format!("{} within {hour}", days.join(", "))),
        None => "backups    none by themselves".to_owned(),
    }];
    lines.extend(number(json, "backup_retention_period").map(|days| format!("kept for   {days} days")));
    lines.push(format!("flashback  {}", if flashback { "on" } else { "off" }));
    lines.extend(text(json, "preferred_next_backup_time").map(|at| format!("next       {at}")));
    lines.extend(text(json, "backup_log_start_time").map(|at| format!("back to    {at}")));
    lines.extend(
        json.get("persistence").map(persistence).into_iter().flatten().map(|(what, how)| screen.beside(what, &how)),
    );
    lines.join("\n")
}

/// What the server keeps on its disk by itself: of what, and how.
fn persistence(json: &Value) -> Vec<(&'static str, String)> {
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
        lines.push(("RDB        ", format!("{points}{last}{at}{since}{runs}")));
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
        let on = if on { "on" } else { "off" };
        lines.push(("AOF        ", format!("{on}{fsync}{sizes}{}", rewrites.concat())));
    }
    lines.extend(text(json, "unknown").map(|why| ("unknown    ", why.to_owned())));
    lines
}

#[cfg(test)]
mod tests {
    use super::reply;
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// Every field that people need is shown, and an absent one leaves no line behind.
    #[test]
    fn a_policy_as_people_see_it() {
        let daily = json!({ "preferred_backup_time": "02:00Z-03:00Z", "preferred_backup_period": ["Monday", "Friday"],
            "backup_retention_period": 7, "enable_backup_log": true, "backup_log_start_time": "T" });
        let shown = "backups    Monday, Friday within 02:00Z-03:00Z\nkept for   7 days\nflashback  on\nback to    T";
        assert_eq!(reply(&Screen::WHOLE, &daily), shown);
        let own = json!({ "enable_backup_log": true });
        assert_eq!(reply(&Screen::WHOLE, &own), "backups    none by themselves\nflashback  on");
        let disk = json!({ "enable_backup_log": false, "persistence": { "save": "", "appendonly": true, "appendfsync": "no",
            "last_save": "ok", "last_save_time": "T", "changes_since_last_save": 3, "last_rewrite": "failed",
            "rewrite_in_progress": true, "last_write": "ok", "aof_current_size": 3072, "aof_base_size": 1024,
            "aof_growth_percentage": 200, "unknown": "U" } });
        let shown = reply(&Screen::WHOLE, &disk);
        assert!(shown.contains("RDB        none by itself, the last ok at T, 3 changes since\n"), "{shown}");
        let file = "AOF        on, appendfsync no, 3.0 KiB grown by 200 % from 1.0 KiB at its last rewrite, the last rewrite failed, one runs, the last write ok\n";
        assert!(shown.contains(file) && shown.ends_with("unknown    U"), "{shown}");
    }
}
