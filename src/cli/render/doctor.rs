//! The doctor's findings for people: how far each instance is protected; then those of the machine, and of each instance, each with the next step
//! below it.

use super::screen::{INDENT, Screen, Tone, columns_of};
use super::{cell, items, number, text};
use serde_json::Value;

/// The columns before a next step.
const MARGIN: usize = 26;

/// Renders the report of `doctor`.
#[must_use]
pub fn checks(screen: &Screen, json: &Value) -> String {
    let mut lines: Vec<String> = items(json, "instances").iter().map(|instance| protection(screen, instance)).collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    let mut place = "";
    let checks = items(json, "checks");
    for check in checks {
        let (status, name) = (cell(check, "status"), cell(check, "name"));
        let instance_id = text(check, "instance_id").unwrap_or_default();
        if std::mem::replace(&mut place, instance_id) != instance_id && !instance_id.is_empty() {
            lines.push(format!("\n{}", screen.paint(Tone::Head, &format!("instance {instance_id}"))));
        }
        let head = format!("{}  {name:<16} ", screen.paint(Tone::of(&status), &status));
        lines.push(screen.beside(&head, &cell(check, "detail")));
        lines.extend(text(check, "next").map(|next| next_step(screen, next)));
    }
    let (failed, warned) = (number(json, "failed").unwrap_or_default(), number(json, "warned").unwrap_or_default());
    let passed = (checks.len() as u64).saturating_sub(failed + warned);
    lines.push(format!("\n{passed} passed, {warned} warned, {failed} failed"));
    lines.join("\n")
}

/// How far an instance is protected, in one line, and what to do next.
fn protection(screen: &Screen, instance: &Value) -> String {
    let (status, id) = (cell(instance, "status"), cell(instance, "instance_id"));
    let head = format!("{}  {id:<16} ", screen.paint(Tone::of(&status), &status));
    let line = screen.beside(&head, &cell(instance, "line"));
    match text(instance, "next") {
        Some(next) => format!("{line}\n{}", next_step(screen, next)),
        None => line,
    }
}

/// What to do next. Lines behind the first are those of a file: each stays one line, so that it can be pasted.
fn next_step(screen: &Screen, next: &str) -> String {
    let (first, rest) = next.split_once('\n').unwrap_or((next, ""));
    let longest = rest.lines().map(columns_of).max().unwrap_or_default();
    let margin = if screen.width().is_none_or(|width| MARGIN + longest <= width) { MARGIN } else { INDENT };
    let step = screen.step(&format!("{:>MARGIN$}", "-> "), first);
    std::iter::once(step).chain(rest.lines().map(|line| format!("{:margin$}{line}", ""))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::checks;
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// What an instance is protected by stands first, in a line.
    #[test]
    fn each_instance_has_a_line() {
        let report = json!({ "failed": 0, "checks": [{ "name": "home", "status": "pass", "detail": "/h" }], "instances": [
            { "instance_id": "orders", "status": "pass", "line": "protected since then" },
            { "instance_id": "carts", "status": "warn", "line": "NOT PROTECTED", "next": "create-backup --instance-id carts" },
        ] });
        let wanted = "pass  orders           protected since then\nwarn  carts            NOT PROTECTED\n                       -> create-backup --instance-id carts\n\npass  home             /h\n\n1 passed, 0 warned, 0 failed";
        assert_eq!(checks(&Screen::WHOLE, &report), wanted);
    }

    /// Findings stand under their instance, those of the machine first, and what fails has its next step.
    #[test]
    fn findings_as_people_see_them() {
        let report = json!({ "warned": 0, "failed": 1, "checks": [
            { "name": "home", "status": "pass", "detail": "/h" },
            { "name": "reachable", "status": "fail", "detail": "refused", "next": "Start it.", "instance_id": "orders" },
            { "name": "backups", "status": "pass", "detail": "none is needed", "instance_id": "orders" },
        ] });
        let wanted = "pass  home             /h\n\ninstance orders\nfail  reachable        refused\n                       -> Start it.\npass  backups          none is needed\n\n2 passed, 0 warned, 1 failed";
        assert_eq!(checks(&Screen::WHOLE, &report), wanted);
    }

    /// The lines of a file are not broken, however narrow the screen is.
    #[test]
    fn lines_to_paste_stay_whole() {
        let line = "password_file = \"/etc/tair-backup-mcp/orders.password\"";
        let report = json!({ "checks": [{ "name": "shards", "status": "warn", "detail": "2", "next": format!("add:\n{line}") }] });
        for (width, margin) in [(None, 26), (Some(79), 4)] {
            let shown = checks(&Screen::new(width, false), &report);
            let wanted = format!("\n{:23}-> add:\n{:margin$}{line}\n", "", "");
            assert!(shown.contains(&wanted), "{shown}");
        }
    }
}
