//! What a client gets of a reply, as structured content and as text: hosts show a model the one or the other, so both are the same. The model pays
//! for every token: a reply says nothing twice, the end of an act does not repeat its plan, and a check that passes is told by its name.
//!
//! It must leave out nothing that a model acts on, nothing that a person has to know before a yes, and nothing because of an earlier reply that the
//! caller may not have seen. What the command line prints is whole, and is not made here.

use crate::guard::check::{CheckName, Status};
use crate::guard::impact::offer;
use crate::model::restore::Method;
use serde_json::{Map, Value};

/// The field with the pre-checks. In a reply of this face those that pass are not in it.
pub const PRECHECKS: &str = "prechecks";
/// The field with the names of the checks that pass, which only this face's replies have.
pub const PASSED: &str = "passed";

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

/// A reply as a client gets it.
#[must_use]
pub fn of(mut reply: Value) -> Value {
    if let Some(fields) = reply.as_object_mut() {
        shorten(fields);
    }
    reply
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
    if reply.get("status").and_then(Value::as_str) == Some("blocked") {
        tell_once_what_blocks(reply);
    }
    let Some(Value::Array(checks)) = reply.get(PRECHECKS).cloned() else { return };
    let restore_way = checks.iter().find(|check| field(check, "name") == Some(CheckName::RestoreWay.as_str()));
    let way_is_warned_of = restore_way.map(|check| field(check, "status") != Some(Status::Pass.as_str()));
    let (passed, others): (Vec<Value>, Vec<Value>) =
        checks.into_iter().partition(|check| field(check, "status") == Some(Status::Pass.as_str()));
    if let Some(Value::Object(plan)) = reply.get_mut("plan") {
        // Of a restore the detail of a warning has it; and where the check passes, all is swapped in at one moment, unless it is about some keys.
        let by_keys = plan.get("way").and_then(Value::as_str) == Some(Method::Keys.as_str());
        let way_is_told = way_is_warned_of.is_some_and(|warned| warned || !by_keys);
        let is_told = |name: &str| SAID_ELSEWHERE.contains(&name) || way_is_told && name == "way_meaning";
        plan.retain(|name, _| !is_told(name));
    }
    let names: Vec<Value> = passed.iter().filter_map(|check| check.get("name").cloned()).collect();
    if others.is_empty() {
        reply.retain(|name, _| name != PRECHECKS);
    } else {
        reply.insert(PRECHECKS.to_owned(), others.into());
    }
    if !names.is_empty() {
        reply.insert(PASSED.to_owned(), names.into());
    }
}

/// The message has the figures of the checks that block. A hint that is no more than one of the next actions says nothing either.
fn tell_once_what_blocks(reply: &mut Map<String, Value>) {
    let told = reply.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_told = |check: &Value| {
        field(check, "status") == Some(Status::Block.as_str())
            && field(check, "detail").is_some_and(|detail| told.contains(detail))
    };
    for check in reply.get_mut(PRECHECKS).and_then(Value::as_array_mut).into_iter().flatten() {
        if is_told(check)
            && let Some(check) = check.as_object_mut()
        {
            check.retain(|name, _| name != "detail");
        }
    }
    let next = reply.get("next_actions").and_then(Value::as_array).into_iter().flatten();
    let mut next = next.filter_map(Value::as_str);
    let step = reply.get("hint").and_then(Value::as_str);
    if step.is_some_and(|step| next.any(|call| call.contains(step) || offer(call) == step)) {
        reply.retain(|name, _| name != "hint");
    }
}

fn field<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::guard::impact::Alternative;
    use serde_json::{Value, json};

    fn brief(reply: &Value) -> Value {
        of(reply.clone())
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

    /// A restore by keys passes its check, whose detail is left out then: what it overwrites is told by the plan. A warning tells it itself.
    #[test]
    fn what_a_restore_by_keys_overwrites_is_told() {
        let plan = |way: &str, status: &str| {
            json!({ "plan": { "way": way, "way_meaning": "OVERWRITTEN" },
                "prechecks": [{ "name": "restore_way", "status": status, "detail": "OVERWRITTEN" }] })
        };
        let meaning = |way: &str, status: &str| brief(&plan(way, status)).pointer("/plan/way_meaning").cloned();
        assert_eq!(meaning("keys", "pass"), Some(json!("OVERWRITTEN")));
        for (way, status) in [("keys", "warn"), ("commands", "warn"), ("commands", "pass"), ("replication", "pass")] {
            assert_eq!(meaning(way, status), None, "{way} {status}");
        }
    }

    /// What blocks is told once: its figures by the message, and its next step by the call. What the message or the calls do not have stays.
    #[test]
    fn a_refusal_is_told_once() {
        let Alternative { why, call } = Alternative::offered("restore_instance with instance_id orders".to_owned());
        let refused = |step: &str| {
            json!({ "status": "blocked", "message": "Nothing has been changed. restore_time: no such moment",
                "hint": step, "next_actions": ["a new plan", call],
                "prechecks": [{ "name": "restore_time", "status": "block", "detail": "no such moment" },
                    { "name": "log_replay", "status": "block", "detail": "unknown command" },
                    { "name": "write_traffic", "status": "warn", "detail": "no such moment" },
                    { "name": "instance_ready", "status": "pass", "detail": "no such moment" }] })
        };
        let told = json!({ "status": "blocked", "message": "Nothing has been changed. restore_time: no such moment",
            "next_actions": ["a new plan", call],
            "prechecks": [{ "name": "restore_time", "status": "block" },
                { "name": "log_replay", "status": "block", "detail": "unknown command" },
                { "name": "write_traffic", "status": "warn", "detail": "no such moment" }],
            "passed": ["instance_ready"] });
        for step in [why.as_str(), call.as_str()] {
            assert_eq!(brief(&refused(step)), told, "{step}");
        }
        let more = format!("It is cloud-native. {why}");
        assert_eq!(brief(&refused(&more)).get("hint"), Some(&json!(more)));
        // Of any other reply nothing of this is left out.
        let planned = json!({ "status": "plan_changed", "message": "writes: 3", "hint": "again", "next_actions": ["again"],
            "prechecks": [{ "name": "write_traffic", "status": "warn", "detail": "3" }] });
        assert_eq!(brief(&planned), planned);
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
