//! The doctor's findings for people: of the machine, then of each instance, each with the next step below it.

use super::screen::{Screen, Tone};
use super::{cell, items, number, text};
use serde_json::Value;

/// Renders the report of `doctor`.
#[must_use]
pub fn checks(screen: &Screen, json: &Value) -> String {
    let (mut lines, mut place) = (Vec::new(), "");
    let checks = items(json, "checks");
    for check in checks {
        let (status, name) = (cell(check, "status"), cell(check, "name"));
        let instance_id = text(check, "instance_id").unwrap_or_default();
        if std::mem::replace(&mut place, instance_id) != instance_id && !instance_id.is_empty() {
            lines.push(format!("\n{}", screen.paint(Tone::Head, &format!("instance {instance_id}"))));
        }
        let head = format!("{}  {name:<16} ", screen.paint(Tone::of(&status), &status));
        lines.push(screen.beside(&head, &cell(check, "detail")));
        lines.extend(text(check, "next").map(|next| screen.beside(&format!("{:22} -> ", ""), next)));
    }
    let (failed, warned) = (number(json, "failed").unwrap_or_default(), number(json, "warned").unwrap_or_default());
    let passed = (checks.len() as u64).saturating_sub(failed + warned);
    lines.push(format!("\n{passed} passed, {warned} warned, {failed} failed"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::checks;
    use crate::cli::render::screen::Screen;
    use serde_json::json;

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
}
