//! What a model reads of a reply: the text beside the structured content. It pays for every token, so nothing stands in it that another part of the
//! reply says, or that the caller was told before; and a check that passes is told by its name.
//!
//! It must leave out nothing that a model acts on, and nothing that a person has to know before a yes. Programs read the structured content, which
//! is whole.

use crate::guard::check::{CheckName, Status};
use serde_json::{Map, Value};

/// Fields of a plan that its impact says, or that nobody decides by.
const SAID_ELSEWHERE: [&str; 9] = [
    "safety_backup_id",
    "sha256",
    "backup_taken_at",
    "position",
    "commands_replayed",
    "replay_seconds",
    "precision_ms",
    "recovery_window",
    "restored_to",
];

/// The text of a reply.
#[must_use]
pub fn text(reply: &Value) -> String {
    let mut brief = reply.clone();
    if let Some(fields) = brief.as_object_mut() {
        shorten(fields);
    }
    brief.to_string()
}

fn shorten(reply: &mut Map<String, Value>) {
    // The search itself says how far it came, and what is missing there.
    if reply.contains_key("destructive") {
        reply.retain(|name, _| name != "log");
    }
    // Only an act that was carried out says whether a person agreed: its caller has seen the plan.
    if reply.contains_key("human_verified") {
        reply.retain(|name, _| name != "plan");
    }
    let Some(Value::Array(checks)) = reply.get("prechecks").cloned() else { return };
    let way_is_told = checks.iter().any(|check| field(check, "name") == Some(CheckName::RestoreWay.as_str()));
    let (passed, others): (Vec<Value>, Vec<Value>) =
        checks.into_iter().partition(|check| field(check, "status") == Some(Status::Pass.as_str()));
    if let Some(Value::Object(plan)) = reply.get_mut("plan") {
        // A way that needs a word is a warning, and the warning has it.
        let is_told = |name: &str| SAID_ELSEWHERE.contains(&name) || way_is_told && name == "way_meaning";
        plan.retain(|name, _| !is_told(name));
    }
    let names: Vec<Value> = passed.iter().filter_map(|check| check.get("name").cloned()).collect();
    if others.is_empty() {
        reply.retain(|name, _| name != "prechecks");
    } else {
        reply.insert("prechecks".to_owned(), others.into());
    }
    if !names.is_empty() {
        reply.insert("passed".to_owned(), names.into());
    }
}

fn field<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::{Value, json};

    fn brief(reply: &Value) -> Value {
        serde_json::from_str(&text(reply)).unwrap_or_default()
    }

    /// Of a plan everything is there that a person has to be shown, and nothing twice; a check that does not pass keeps its figures.
    #[test]
    fn a_plan_is_told_once() {
        let plan = json!({ "status": "confirmation_required", "confirmation_token": "rt1-a",
            "plan": { "act": "restore_instance", "way": "replication", "way_meaning": "atomic", "sha256": "ab", "safety_backup_id": "b-2",
                "estimate": { "seconds": 2 }, "filter_key": "user:.*" },
            "prechecks": [{ "name": "restore_way", "status": "pass", "detail": "replication: atomic" },
                { "name": "write_traffic", "status": "warn", "detail": "3 writes" }],
            "impact": { "now": "N", "way_back": "restore_instance with backup_id b-2" } });
        let told = json!({ "status": "confirmation_required", "confirmation_token": "rt1-a",
            "plan": { "act": "restore_instance", "way": "replication", "estimate": { "seconds": 2 }, "filter_key": "user:.*" },
            "prechecks": [{ "name": "write_traffic", "status": "warn", "detail": "3 writes" }],
            "impact": { "now": "N", "way_back": "restore_instance with backup_id b-2" }, "passed": ["restore_way"] });
        assert_eq!(brief(&plan), told);
        let passes = json!({ "plan": { "way": "DeleteBackup", "way_meaning": "for ever" },
            "prechecks": [{ "name": "manual_backup", "status": "pass", "detail": "manual" }] });
        assert_eq!(
            brief(&passes),
            json!({ "plan": { "way": "DeleteBackup", "way_meaning": "for ever" }, "passed": ["manual_backup"] })
        );
    }

    /// An end says nothing of its plan again, nor a search where the log is; any other reply is told as it is.
    #[test]
    fn what_was_told_before_is_left_out() {
        let end = json!({ "status": "succeeded", "message": "M", "plan": { "way": "keys" }, "human_verified": true });
        assert_eq!(brief(&end), json!({ "status": "succeeded", "message": "M", "human_verified": true }));
        let found = json!({ "destructive": { "events": [] }, "log": { "on": true }, "total": 0 });
        assert_eq!(brief(&found), json!({ "destructive": { "events": [] }, "total": 0 }));
        for whole in
            [json!({ "backups": [], "log": { "on": true } }), json!({ "status": "running", "plan": 1 }), json!(7)]
        {
            assert_eq!(brief(&whole), whole);
        }
    }
}
