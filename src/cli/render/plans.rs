//! Plans that wait for a person, were approved or have lapsed, for people: below the jobs, and by themselves.

use super::screen::Screen;
use super::tables::Column;
use super::{cell, items};
use serde_json::Value;

/// The plans of a reply of `describe_jobs`, to stand below its jobs; nothing where there are none.
pub fn below(screen: &Screen, json: &Value) -> String {
    let plans = items(json, "plans");
    if plans.is_empty() {
        return String::new();
    }
    let fields = ["plan_id", "act", "instance_id", "status", "expires_at", "next"];
    let head = [
        Column::new("PLAN"),
        Column::new("ACT").less(1),
        Column::new("INSTANCE"),
        Column::status("STATUS"),
        Column::new("GOOD UNTIL"),
        Column::sentence("NEXT"),
    ];
    format!("\n\n{}", screen.table(head, plans.iter().map(|plan| fields.map(|field| cell(plan, field)))))
}

/// Renders plans: id, status, who asked, act, instance, since when, until when, and what they would do.
#[must_use]
pub fn listed_plans(screen: &Screen, rows: impl IntoIterator<Item = [String; 8]>) -> String {
    let head = [
        Column::new("PLAN"),
        Column::status("STATUS"),
        // Never left out: a person says yes to somebody.
        Column::word("ASKED BY"),
        Column::new("ACT"),
        Column::new("INSTANCE"),
        Column::new("SINCE").less(1),
        Column::new("GOOD UNTIL"),
        // Of two plans of a tool for an instance it tells which is which.
        Column::sentence("WHAT"),
    ];
    screen.table(head, rows)
}

#[cfg(test)]
mod tests {
    use super::below;
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// A plan has a line of its own below the jobs; without plans there is not even an empty one.
    #[test]
    fn a_plan_has_a_line() {
        let plans = json!({ "jobs": [], "plans": [
            { "plan_id": "p-1", "act": "delete_backup", "instance_id": "orders", "status": "waiting", "expires_at": "T" },
        ] });
        let shown = below(&Screen::WHOLE, &plans);
        let last: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["p-1", "delete_backup", "orders", "waiting", "T"]);
        assert_eq!(below(&Screen::WHOLE, &json!({ "jobs": [] })), "");
    }
}
