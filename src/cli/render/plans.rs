//! Plans that wait for a person, were approved or have lapsed, for people: below the jobs.

use super::{cell, items, table, text};
use serde_json::Value;

/// The plans of a reply of `describe_jobs`, to stand below its jobs; nothing where there are none.
pub fn below(json: &Value) -> String {
    let plans = items(json, "plans");
    if plans.is_empty() {
        return String::new();
    }
    let rows = plans.iter().map(|plan| {
        let next = text(plan, "next").unwrap_or_default().to_owned();
        let [id, act, instance] = ["plan_id", "act", "instance_id"].map(|field| cell(plan, field));
        [id, act, instance, cell(plan, "status"), cell(plan, "expires_at"), next]
    });
    format!("\n\n{}", table(["PLAN", "ACT", "INSTANCE", "STATUS", "GOOD UNTIL", "NEXT"], rows))
}

#[cfg(test)]
mod tests {
    use super::below;
    use serde_json::json;

    /// A plan has a line of its own below the jobs; without plans there is not even an empty one.
    #[test]
    fn a_plan_has_a_line() {
        let shown = below(&json!({ "jobs": [], "plans": [
            { "plan_id": "p-1", "act": "delete_backup", "instance_id": "orders", "status": "waiting", "expires_at": "T" },
        ] }));
        let last: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["p-1", "delete_backup", "orders", "waiting", "T"]);
        assert_eq!(below(&json!({ "jobs": [] })), "");
    }
}
