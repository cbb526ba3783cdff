//! A guarded tool's reply for people: status, each pre-check with its figures, the plan, the impact, and the next step.
//!
//! At a terminal the person is shown the pre-checks and what becomes of keys, then the guard's own question, which has the plan and the rest of
//! its impact, and then what came of it: nothing twice.

use super::keys::lines;
use super::screen::{Screen, Tone};
use super::typed::typed;
use super::{cell, items, text};
use crate::config::command::find;
use crate::model::estimate::Estimate;
use crate::tools::guarded::reply::{GuardedStatus, PlanRow};
use serde::Deserialize as _;
use serde_json::Value;

/// How far a call came whose person gave no yes.
const NO_YES: [GuardedStatus; 2] = [GuardedStatus::Declined, GuardedStatus::ApprovalRequired];

/// Renders the reply of a guarded tool, whole.
pub fn reply(screen: &Screen, json: &Value) -> String {
    let mut out = vec![status(screen, json)];
    out.extend(code(json));
    out.extend(checks(screen, json));
    out.extend(plan(screen, json));
    out.extend(impact(screen, json));
    out.extend(token(json));
    out.extend(next(screen, json));
    out.extend(hint(screen, json));
    out.join("\n")
}

/// Renders a plan for the person who is asked right below.
#[must_use]
pub fn before_question(screen: &Screen, json: &Value) -> String {
    let plan = json.get("plan").unwrap_or(&Value::Null);
    let mut out = vec![format!("{} {}: nothing has been changed yet", cell(plan, "act"), cell(plan, "instance_id"))];
    out.extend(checks(screen, json));
    out.extend(keys(screen, json));
    out.join("\n")
}

/// Renders what came of the plan that the person has just been shown.
#[must_use]
pub fn after_question(screen: &Screen, json: &Value) -> String {
    let mut out = vec![status(screen, json)];
    out.extend(code(json));
    out.extend(token(json));
    out.extend(next(screen, json));
    // What a client is told to do about a person who gave no yes is not for that person.
    if !NO_YES.iter().any(|status| json.get("status") == serde_json::to_value(status).ok().as_ref()) {
        out.extend(hint(screen, json));
    }
    out.join("\n")
}

fn status(screen: &Screen, json: &Value) -> String {
    let status = cell(json, "status");
    let message = cell(json, "message");
    // What blocks may name a command, which then can be pasted.
    let blocks = json.get("status") == serde_json::to_value(GuardedStatus::Blocked).ok().as_ref();
    if blocks && !message.contains('\n') && find(&message).is_some() {
        return screen.step(&format!("{}: ", screen.paint(Tone::of(&status), &status)), &message);
    }
    let told = screen.prose(&format!("{status}: {message}"));
    let rest = told.strip_prefix(&status).unwrap_or_default();
    format!("{}{rest}", screen.paint(Tone::of(&status), &status))
}

fn code(json: &Value) -> Option<String> {
    text(json, "code").map(|code| format!("code   {code}"))
}

fn checks(screen: &Screen, json: &Value) -> Vec<String> {
    let line = |check: &Value| {
        let status = cell(check, "status");
        let shown = screen.paint(Tone::of(&status), &format!("{status:<7}"));
        screen.step(&format!("  [{shown}] {:<18} ", cell(check, "name")), &typed(screen, &cell(check, "detail")))
    };
    items(json, "prechecks").iter().map(line).collect()
}

fn plan(screen: &Screen, json: &Value) -> Option<String> {
    let plan = json.get("plan")?;
    let set = text(plan, "backup_id").map_or(String::new(), |id| format!(" <- {id}"));
    let (act, id, address) = (cell(plan, "act"), cell(plan, "instance_id"), cell(plan, "address"));
    Some(screen.beside("plan   ", &format!("{act} {id} at {address}{set} by {}", cell(plan, "way"))))
}

fn impact(screen: &Screen, json: &Value) -> Vec<String> {
    let Some(impact) = json.get("impact") else { return Vec::new() };
    let fields = json.get("plan").and_then(Value::as_object).into_iter().flatten();
    let details = fields.filter(|(name, _)| !PlanRow::NAMED.contains(&name.as_str()));
    let mut out: Vec<String> = details
        .map(|(name, value)| screen.beside("       ", &format!("{name} {}", value.as_str().unwrap_or_default())))
        .collect();
    let estimate = json.pointer("/plan/estimate").and_then(|estimate| Estimate::deserialize(estimate).ok());
    out.extend(estimate.map(|estimate| screen.beside("takes  ", &estimate.describe())));
    let parts = [("now    ", "now"), ("after  ", "after"), ("lost   ", "lost"), ("back   ", "way_back")];
    out.extend(parts.iter().map(|(head, field)| screen.step(head, &typed(screen, &cell(impact, field)))));
    out.extend(keys(screen, json));
    out
}

/// What becomes of keys, with the bars.
fn keys(screen: &Screen, json: &Value) -> Vec<String> {
    json.pointer("/impact/keys").map(|keys| lines(screen, keys)).unwrap_or_default()
}

/// The token, unbroken whatever the width, so that it can be copied.
fn token(json: &Value) -> Option<String> {
    let (token, until) = (text(json, "confirmation_token")?, text(json, "expires_at")?);
    Some(format!("token  {token}  (until {until})"))
}

fn next(screen: &Screen, json: &Value) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(text(json, "job_id").map(|id| format!("job    {id}")));
    out.extend(json.get("human_verified").and_then(Value::as_bool).map(|yes| format!("human_verified {yes}")));
    let actions = items(json, "next_actions").iter().map(|next| next.as_str().unwrap_or_default());
    out.extend(actions.map(|next| screen.step("next   ", &typed(screen, next))));
    out
}

fn hint(screen: &Screen, json: &Value) -> Option<String> {
    text(json, "hint").map(|hint| screen.step("hint: ", &typed(screen, hint)))
}

#[cfg(test)]
mod tests {
    use super::{after_question, before_question, reply};
    use crate::cli::render::screen::Screen;
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
        assert_eq!(reply(&Screen::WHOLE, &planned).lines().collect::<Vec<_>>(), wanted);
        // What the question has too is left to it, and not repeated behind it.
        let before = before_question(&Screen::WHOLE, &planned);
        let shown =
            ["restore_instance orders: nothing has been changed yet", "  [pass   ] write_traffic      0 writes"];
        assert_eq!(before.lines().collect::<Vec<_>>(), shown);
        let after = after_question(&Screen::WHOLE, &planned);
        assert_eq!(after.lines().collect::<Vec<_>>(), [wanted[0], wanted[9], wanted[10], wanted[11]]);
        let declined =
            json!({ "status": "declined", "code": "person.declined", "message": "No.", "human_verified": false });
        let hinted = json!({ "status": "declined", "message": "No.", "hint": "A client that declines by itself" });
        assert_eq!(after_question(&Screen::WHOLE, &hinted), "declined: No.");
        assert_eq!(reply(&Screen::WHOLE, &declined), "declined: No.\ncode   person.declined\nhuman_verified false");
    }
}
