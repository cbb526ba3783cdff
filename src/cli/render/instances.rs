//! Instances for people: a line each, and for each the changes that could not be recovered.

use super::backup::{log, newest};
use super::{cell, count, items, number, size, table, text};
use crate::config::guard::ConfirmationPolicy;
use serde_json::Value;

/// Renders the reply of `describe_instances`.
pub fn list(json: &Value) -> String {
    let instances = items(json, "instances");
    let rows = instances.iter().map(|i| {
        let engine = match (text(i, "engine"), text(i, "engine_version")) {
            (Some(engine), Some(version)) => format!("{engine} {version}"),
            _ => cell(i, "reason"),
        };
        let protection = protection(i);
        [
            cell(i, "instance_id"),
            cell(i, "status"),
            engine,
            cell(i, "address"),
            count(i, "keys"),
            size(i, "used_memory"),
            text(protection, "last_backup_at").unwrap_or("never").to_owned(),
            count(protection, "backups"),
        ]
    });
    let head = ["INSTANCE", "STATUS", "ENGINE", "ADDRESS", "KEYS", "MEMORY", "LAST BACKUP", "SETS"];
    let mut lines = vec![table(head, rows)];
    for i in instances {
        let lost = cell(protection(i), "not_recoverable");
        lines.push(format!("{}: cannot be recovered: {lost}", cell(i, "instance_id")));
        lines.extend(
            text(protection(i), "backup_policy")
                .map(|policy| format!("{}: backup policy: {policy}", cell(i, "instance_id"))),
        );
        lines.extend(i.get("clone_of").map(|clone| {
            let moment = text(clone, "restore_time").map_or_else(String::new, |at| format!(" and its log up to {at}"));
            let (id, set, source) = (cell(i, "instance_id"), cell(clone, "backup_id"), cell(clone, "instance_id"));
            format!("{id}: a clone of {source}, from {set}{moment}; it ends {}", cell(clone, "ends_at"))
        }));
        let id = cell(i, "instance_id");
        lines.extend(text(protection(i), "shrunk").map(|lost| format!("{id}: THE LAST BACKUP SHRUNK: {lost}")));
        lines.extend(newest(protection(i)).map(|newest| format!("{id}: {newest}")));
        lines
            .extend(listed(i, "unreadable").map(|what| format!("{id}: not all is known: its user may not run {what}")));
        lines.extend(listed(i, "other_shards").map(|urls| format!("{id}: shards that are no instance here: {urls}")));
        lines.extend(text(protection(i), "verified").map(|last| format!("{id}: verified last: {last}")));
        lines.extend(text(protection(i), "copy").map(|copy| format!("{id}: second place: {copy}")));
        lines.extend(log(protection(i)).map(|log| format!("{}: {log}", cell(i, "instance_id"))));
    }
    if instances.iter().any(|i| text(i, "confirmation") == Some(ConfirmationPolicy::Token.as_str())) {
        lines.push("confirmation = \"token\": an agent restores without a person's yes".into());
    }
    let total = number(json, "total").unwrap_or_default();
    if total > instances.len() as u64 {
        lines.push(format!("{} of {total}; more with --page-number, or --search", instances.len()));
    }
    lines.join("\n")
}

/// The texts of a list, where there are any.
fn listed(instance: &Value, name: &str) -> Option<String> {
    let texts: Vec<&str> = items(instance, name).iter().filter_map(Value::as_str).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn protection(instance: &Value) -> &Value {
    instance.get("protection").unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::list;
    use serde_json::json;

    /// Of three instances one that answers and one that does not: figures, the reason, what could not be recovered, and that there
    /// is another page.
    #[test]
    fn each_instance_has_a_line() {
        let shown = list(&json!({ "total": 3, "instances": [
            { "instance_id": "orders", "status": "running", "engine": "redis", "engine_version": "7.0.15",
              "address": "127.0.0.1:6379", "keys": 12, "used_memory": 2048, "confirmation": "person",
              "protection": { "last_backup_at": "2026-11-01T00:00:00Z", "shrunk": "keys 9 → 1", "backups": 2, "not_recoverable": "a day" } },
            { "instance_id": "carts", "status": "unreachable", "reason": "refused", "address": "127.0.0.1:1",
              "confirmation": "token", "protection": { "backups": 0, "not_recoverable": "everything" },
              "unreadable": ["INFO"], "other_shards": ["redis://h:1", "redis://h:2"] },
        ] }));
        let lines: Vec<Vec<&str>> = shown.lines().map(|l| l.split_whitespace().collect()).collect();
        let figures =
            ["orders", "running", "redis", "7.0.15", "127.0.0.1:6379", "12", "2.0", "KiB", "2026-11-01T00:00:00Z", "2"];
        assert_eq!(lines[1], figures, "{shown}");
        assert_eq!(lines[2], ["carts", "unreachable", "refused", "127.0.0.1:1", "never", "0"], "{shown}");
        let rest: Vec<&str> = shown.lines().skip(3).collect();
        let wanted = [
            "orders: cannot be recovered: a day",
            "orders: THE LAST BACKUP SHRUNK: keys 9 → 1",
            "carts: cannot be recovered: everything",
            "carts: not all is known: its user may not run INFO",
            "carts: shards that are no instance here: redis://h:1, redis://h:2",
            "confirmation = \"token\": an agent restores without a person's yes",
            "2 of 3; more with --page-number, or --search",
        ];
        assert_eq!(rest, wanted);
    }
}
