//! A guarded tool's reply for people: status, each pre-check with its figures, the plan, the impact, and the next step.

use super::keys::lines;
use super::{cell, items, text};
use crate::model::estimate::Estimate;
use crate::tools::guarded::reply::PlanRow;
use serde::Deserialize as _;
use serde_json::Value;

/// Renders the reply of a guarded tool.
pub fn reply(json: &Value) -> String {
    let mut out = vec![format!("{}: {}", cell(json, "status"), cell(json, "message"))];
    out.extend(text(json, "code").map(|code| format!("code   {code}")));
    let checks = items(json, "prechecks").iter();
    out.extend(checks.map(|c| format!("  [{:<7}] {:<18} {}", cell(c, "status"), cell(c, "name"), cell(c, "detail"))));
    let plan = json.get("plan");
    out.extend(plan.map(|p| {
        let set = text(p, "backup_id").map_or(String::new(), |id| format!(" <- {id}"));
        let (act, id, address) = (cell(p, "act"), cell(p, "instance_id"), cell(p, "address"));
        format!("plan   {act} {id} at {address}{set} by {}", cell(p, "way"))
    }));
    if let Some(impact) = json.get("impact") {
        let fields = plan.and_then(Value::as_object).into_iter().flatten();
        let details = fields.filter(|(name, _)| !PlanRow::NAMED.contains(&name.as_str()));
        out.extend(details.map(|(name, value)| format!("       {name} {}", value.as_str().unwrap_or_default())));
        let estimate = plan.and_then(|plan| Estimate::deserialize(plan.get("estimate")?).ok());
        out.extend(estimate.map(|estimate| format!("takes  {}", estimate.describe())));
        out.push(format!(
            "now    {}\nafter  {}\nlost   {}\nback   {}",
            cell(impact, "now"),
            cell(impact, "after"),
            cell(impact, "lost"),
            cell(impact, "way_back")
        ));
        out.extend(impact.get("keys").map(lines).unwrap_or_default());
    }
    if let (Some(token), Some(until)) = (text(json, "confirmation_token"), text(json, "expires_at")) {
        out.push(format!("token  {token}  (until {until})"));
    }
    out.extend(text(json, "job_id").map(|id| format!("job    {id}")));
    out.extend(json.get("human_verified").and_then(Value::as_bool).map(|yes| format!("human_verified {yes}")));
    out.extend(items(json, "next_actions").iter().map(|n| format!("next   {}", n.as_str().unwrap_or_default())));
    out.extend(text(json, "hint").map(|hint| format!("hint: {hint}")));
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::reply;
    use serde_json::json;

    /// A plan is shown whole, its details too, in the order in which a person reads it; a refusal has only its lines.
    #[test]
    fn a_plan_and_a_refusal() {
        let planned = json!({
            "status": "confirmation_required", "message": "Nothing has been changed.", "hint": "Call again.",
            "next_actions": ["restore_instance again"], "confirmation_token": "tok", "expires_at": "T",
            "plan": { "act": "restore_instance", "instance_id": "orders", "address": "127.0.0.1:1", "backup_id": "b-1",
                "way": "replication", "way_meaning": "atomic", "safety_backup_id": "b-2", "confirmation": "person",
                "estimate": { "seconds": 40, "from": "size", "meanwhile": "M" }, "taken_at": "S" },
            "prechecks": [{ "name": "write_traffic", "status": "pass", "detail": "0 writes" }],
            "impact": { "now": "N", "after": "A", "lost": "L", "way_back": "B" },
        });
        let wanted = [
            "confirmation_required: Nothing has been changed.",
            "  [pass   ] write_traffic      0 writes",
            "plan   restore_instance orders at 127.0.0.1:1 <- b-1 by replication",
            "       taken_at S",
            "takes  about 40 s, estimated from size; meanwhile M",
            "now    N",
            "after  A",
            "lost   L",
            "back   B",
            "token  tok  (until T)",
            "next   restore_instance again",
            "hint: Call again.",
        ];
        assert_eq!(reply(&planned).lines().collect::<Vec<_>>(), wanted);
        let declined =
            json!({ "status": "declined", "code": "person.declined", "message": "No.", "human_verified": false });
        assert_eq!(reply(&declined), "declined: No.\ncode   person.declined\nhuman_verified false");
    }
}
