//! Instances for people: a line each, and for each why it does not answer and the changes that could not be recovered.

use super::backup::{log, newest};
use super::screen::{Screen, Tone};
use super::tables::Column;
use super::typed::typed;
use super::{cell, count, items, number, size, text};
use crate::config::command::find;
use crate::config::guard::ConfirmationPolicy;
use serde_json::Value;

/// Renders the reply of `describe_instances`.
pub fn list(screen: &Screen, json: &Value) -> String {
    let instances = items(json, "instances");
    let rows = instances.iter().map(|i| {
        let engine = match (text(i, "engine"), text(i, "engine_version")) {
            (Some(engine), Some(version)) => format!("{engine} {version}"),
            _ => String::new(),
        };
        let protection = protection(i);
        // What could not be read is neither never nor none.
        let (last, sets) = match protection.get("backups") {
            Some(_) => (text(protection, "last_backup_at").unwrap_or("never"), count(protection, "backups")),
            None => ("?", "?".to_owned()),
        };
        [
            cell(i, "instance_id"),
            cell(i, "status"),
            engine,
            cell(i, "address"),
            count(i, "keys"),
            size(i, "used_memory"),
            last.to_owned(),
            sets,
        ]
    });
    let head = [
        Column::new("INSTANCE"),
        Column::status("STATUS"),
        Column::new("ENGINE").less(3),
        Column::new("ADDRESS").less(4),
        Column::number("KEYS").less(1),
        Column::number("MEMORY").less(2),
        Column::new("LAST BACKUP"),
        Column::number("SETS"),
    ];
    let mut lines = vec![screen.table(head, rows)];
    for i in instances {
        let id = cell(i, "instance_id");
        let lost = cell(protection(i), "not_recoverable");
        // Of an instance that answers the reason is why its protection is not known, which the next line has.
        let away = text(i, "reason").filter(|_| text(i, "status") == Some("unreachable"));
        lines.extend(away.map(|why| screen.paint(Tone::Bad, &screen.prose(&format!("{id}: not reached: {why}")))));
        lines.push(screen.prose(&format!("{id}: cannot be recovered: {lost}")));
        lines.extend(text(protection(i), "backup_policy").map(|policy| {
            let head = format!("{id}: backup policy: ");
            // A command in it can be pasted.
            let policy = typed(screen, policy);
            if find(&policy).is_some() { screen.step(&head, &policy) } else { screen.prose(&format!("{head}{policy}")) }
        }));
        lines.extend(i.get("clone_of").map(|clone| {
            let moment = text(clone, "restore_time").map_or_else(String::new, |at| format!(" and its log up to {at}"));
            let (set, source, ends) = (cell(clone, "backup_id"), cell(clone, "instance_id"), cell(clone, "ends_at"));
            screen.prose(&format!("{id}: a clone of {source}, from {set}{moment}; it ends {ends}"))
        }));
        lines.extend(
            text(protection(i), "shrunk")
                .map(|lost| screen.paint(Tone::Bad, &screen.prose(&format!("{id}: THE LAST BACKUP SHRUNK: {lost}")))),
        );
        lines.extend(newest(screen, &format!("{id}: "), protection(i)));
        let lacking = [
            ("unreadable", "not all is known: its user may not run"),
            ("other_shards", "shards that are not configured here:"),
        ];
        lines.extend(lacking.iter().filter_map(|(field, what)| {
            listed(i, field).map(|texts| screen.paint(Tone::Mind, &screen.prose(&format!("{id}: {what} {texts}"))))
        }));
        let told = [("verified", "verified last"), ("copy", "second place")];
        lines.extend(told.iter().filter_map(|(field, what)| {
            text(protection(i), field).map(|told| screen.prose(&format!("{id}: {what}: {told}")))
        }));
        lines.extend(log(screen, &format!("{id}: "), protection(i)));
    }
    if instances.iter().any(|i| text(i, "confirmation") == Some(ConfirmationPolicy::Token.as_str())) {
        let warning = "confirmation = \"token\": an agent restores without a person's yes";
        lines.push(screen.paint(Tone::Mind, &screen.prose(warning)));
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
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// Of four instances one that answers, one that does not, and one whose sets cannot be listed: figures, the reason, what could not be
    /// recovered, and that there is another page.
    #[test]
    fn each_instance_has_a_line() {
        let shown = list(
            &Screen::WHOLE,
            &json!({ "total": 4, "instances": [
            { "instance_id": "orders", "status": "running", "engine": "redis", "engine_version": "7.0.15",
              "address": "127.0.0.1:6379", "keys": 12, "used_memory": 2048, "confirmation": "person",
              "protection": { "last_backup_at": "2026-11-01T00:00:00Z", "shrunk": "keys 9 → 1", "backups": 2, "not_recoverable": "a day" } },
            { "instance_id": "carts", "status": "unreachable", "reason": "refused", "address": "127.0.0.1:1",
              "confirmation": "token", "protection": { "backups": 0, "not_recoverable": "everything" },
              "unreadable": ["INFO"], "other_shards": ["redis://h:1", "redis://h:2"] },
            { "instance_id": "users", "status": "running", "reason": "no rights", "address": "127.0.0.1:2", "confirmation": "person",
              "protection": { "not_recoverable": "not known: no rights" } },
        ] }),
        );
        let lines: Vec<Vec<&str>> = shown.lines().map(|l| l.split_whitespace().collect()).collect();
        let figures =
            ["orders", "running", "redis", "7.0.15", "127.0.0.1:6379", "12", "2.0", "KiB", "2026-11-01T00:00:00Z", "2"];
        assert_eq!(lines[1], figures, "{shown}");
        assert_eq!(lines[2], ["carts", "unreachable", "127.0.0.1:1", "never", "0"], "{shown}");
        assert_eq!(lines[3], ["users", "running", "127.0.0.1:2", "?", "?"], "{shown}");
        let rest: Vec<&str> = shown.lines().skip(4).collect();
        let wanted = [
            "orders: cannot be recovered: a day",
            "orders: THE LAST BACKUP SHRUNK: keys 9 → 1",
            "carts: not reached: refused",
            "carts: cannot be recovered: everything",
            "carts: not all is known: its user may not run INFO",
            "carts: shards that are not configured here: redis://h:1, redis://h:2",
            "users: cannot be recovered: not known: no rights",
            "confirmation = \"token\": an agent restores without a person's yes",
            "3 of 4; more with --page-number, or --search",
        ];
        assert_eq!(rest, wanted);
    }
}
