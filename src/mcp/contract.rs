//! The published contract: what `tools/list` sends, embedded from `tools/`, and how results and refusals are shaped.
//!
//! `tools/<verb>.md` is written by hand; `tools/<verb>.json` is generated from it and the types by [`generate`], frozen in
//! the repository and compared by a test. Schemas are slimmed: every token is paid for by every user on every turn.

use crate::model::fault::Fault;
use crate::tools::guarded::reply::Guarded;
use crate::tools::{
    create_backup, create_instance_from_backup, delete_backup, describe_backup_policy, describe_backups,
    describe_instances, describe_jobs, download_backup, modify_backup_policy, restore_instance,
};
use rmcp::model::{CallToolResult, ContentBlock, Tool};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// A verb's embedded files: name, description, frozen listing.
const FILES: [(&str, &str, &str); 10] = [
    (
        "describe_instances",
        include_str!("../../tools/describe_instances.md"),
        include_str!("../../tools/describe_instances.json"),
    ),
    ("create_backup", include_str!("../../tools/create_backup.md"), include_str!("../../tools/create_backup.json")),
    (
        "describe_backups",
        include_str!("../../tools/describe_backups.md"),
        include_str!("../../tools/describe_backups.json"),
    ),
    (
        "download_backup",
        include_str!("../../tools/download_backup.md"),
        include_str!("../../tools/download_backup.json"),
    ),
    (
        "restore_instance",
        include_str!("../../tools/restore_instance.md"),
        include_str!("../../tools/restore_instance.json"),
    ),
    ("describe_jobs", include_str!("../../tools/describe_jobs.md"), include_str!("../../tools/describe_jobs.json")),
    (
        "describe_backup_policy",
        include_str!("../../tools/describe_backup_policy.md"),
        include_str!("../../tools/describe_backup_policy.json"),
    ),
    (
        "modify_backup_policy",
        include_str!("../../tools/modify_backup_policy.md"),
        include_str!("../../tools/modify_backup_policy.json"),
    ),
    ("delete_backup", include_str!("../../tools/delete_backup.md"), include_str!("../../tools/delete_backup.json")),
    (
        "create_instance_from_backup",
        include_str!("../../tools/create_instance_from_backup.md"),
        include_str!("../../tools/create_instance_from_backup.json"),
    ),
];

/// Guarded tools that answer in the form of `restore_instance`, whose listing has it whole.
const SISTERS: [&str; 3] = ["modify_backup_policy", "delete_backup", "create_instance_from_backup"];
/// What of it is said again.
const ESSENCE: [&str; 4] = ["status", "message", "confirmation_token", "job_id"];

/// The tools as listed.
pub fn tools() -> &'static [Tool] {
    static TOOLS: OnceLock<Vec<Tool>> = OnceLock::new();
    // A frozen file that is no tool fails the contract test, so none is dropped here in practice.
    TOOLS.get_or_init(|| FILES.iter().filter_map(|(_, _, json)| serde_json::from_str(json).ok()).collect())
}

/// What a verb's listing must be, from its description and types.
#[must_use]
pub fn generate(verb: &str) -> Option<Value> {
    let (_, md, _) = FILES.iter().find(|(name, _, _)| *name == verb)?;
    let (input, mut output) = match verb {
        "describe_instances" => schemas::<describe_instances::Args, describe_instances::Instances>(),
        "create_backup" => schemas::<create_backup::Args, create_backup::Created>(),
        "describe_backups" => schemas::<describe_backups::Args, describe_backups::Backups>(),
        "download_backup" => schemas::<download_backup::Args, download_backup::Download>(),
        "restore_instance" => schemas::<restore_instance::Args, Guarded>(),
        "describe_backup_policy" => schemas::<describe_backup_policy::Args, describe_backup_policy::PolicyRow>(),
        "modify_backup_policy" => schemas::<modify_backup_policy::Args, Guarded>(),
        "delete_backup" => schemas::<delete_backup::Args, Guarded>(),
        "create_instance_from_backup" => schemas::<create_instance_from_backup::Args, Guarded>(),
        "describe_jobs" => schemas::<describe_jobs::Args, describe_jobs::Jobs>(),
        _ => return None,
    };
    if SISTERS.contains(&verb)
        && let Some(properties) = output.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.retain(|name, _| ESSENCE.contains(&name.as_str()));
        properties.insert("status".into(), json!({ "type": "string" }));
    }
    let (front, description) = front_matter(md);
    let hint = |name: &str| front.get(name).is_some_and(|v| v == "true");
    Some(json!({
        "name": verb,
        "title": front.get("title"),
        "description": description,
        "inputSchema": input,
        "outputSchema": output,
        "annotations": {
            "readOnlyHint": hint("read_only"),
            "destructiveHint": hint("destructive"),
            "idempotentHint": hint("idempotent"),
            "openWorldHint": hint("open_world"),
        },
    }))
}

/// Splits `---` front matter of `key: value` lines from the text after it.
#[must_use]
pub fn front_matter(md: &str) -> (Map<String, Value>, &str) {
    let parts = md.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    let (head, body) = parts.unwrap_or(("", md));
    let pairs = head.lines().filter_map(|line| line.split_once(": "));
    (pairs.map(|(k, v)| (k.to_owned(), Value::from(v.trim()))).collect(), body.trim())
}

fn schemas<A: schemars::JsonSchema, R: schemars::JsonSchema>() -> (Value, Value) {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut input = settings.clone().into_generator().into_root_schema_for::<A>().to_value();
    slim(&mut input, true);
    if let Some(input) = input.as_object_mut() {
        // The type's own description says nothing that the tool's does not.
        input.remove("description");
    }
    let mut output = settings.for_serialize().into_generator().into_root_schema_for::<R>().to_value();
    slim(&mut output, false);
    if let Some(properties) = output.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(names_only);
    }
    if let Some(output) = output.as_object_mut() {
        // Fields are added in later versions; a client must not refuse them.
        output.remove("additionalProperties");
    }
    (input, output)
}

/// Of what lies within a result's fields only the names: the values speak for themselves.
fn names_only(field: &mut Value) {
    let rows = if field.get("items").is_some() { field.get_mut("items") } else { Some(field) };
    let Some(properties) = rows.and_then(|r| r.get_mut("properties")).and_then(Value::as_object_mut) else { return };
    properties.values_mut().for_each(|value| *value = json!({}));
}

/// Leaves what a model or a validator uses. Descriptions stay on arguments only.
fn slim(schema: &mut Value, arguments: bool) {
    let Some(object) = schema.as_object_mut() else {
        if let Some(items) = schema.as_array_mut() {
            items.iter_mut().for_each(|s| slim(s, arguments));
        }
        return;
    };
    for key in ["$schema", "title", "format", "minimum", "maximum", "default"] {
        // A property may bear one of these names; then its value is a schema of its own.
        if !object.get(key).is_some_and(Value::is_object) {
            object.remove(key);
        }
    }
    if !arguments {
        if object.get("description").is_some_and(Value::is_string) {
            object.remove("description");
        }
        object.remove("required");
    }
    // Optional: absent, not null.
    if let Some(types) = object.get("type").and_then(Value::as_array) {
        let first = types.iter().find(|t| t.as_str() != Some("null")).cloned();
        object.extend(first.map(|t| ("type".to_owned(), t)));
    }
    if let Some(any) = object.remove("anyOf") {
        let some =
            any.as_array().and_then(|a| a.iter().find(|s| s.get("type").and_then(Value::as_str) != Some("null")));
        object.extend(some.and_then(Value::as_object).cloned().unwrap_or_default());
        object.remove("anyOf");
        let mut merged = Value::Object(std::mem::take(object));
        slim(&mut merged, arguments);
        *schema = merged;
        return;
    }
    object.values_mut().for_each(|s| slim(s, arguments));
}

/// A reply as a tool result: structured, and the same as text for clients that read only that.
#[must_use]
pub fn reply_result(json: Value) -> CallToolResult {
    let failed = json.get("status").and_then(Value::as_str) == Some("failed");
    let mut result = CallToolResult::structured(json);
    result.is_error = Some(failed);
    result
}

/// A fault as a failed tool result, so that the model can act on it.
#[must_use]
pub fn error_result(fault: &Fault) -> CallToolResult {
    let json = error_json(fault);
    let mut result = CallToolResult::structured_error(json.clone());
    result.content = vec![ContentBlock::text(json.to_string())];
    result
}

/// A fault as JSON: `code`, `message`, and where there are any `hint`, `next_actions`, `retry_after` (seconds).
#[must_use]
pub fn error_json(fault: &Fault) -> Value {
    let mut json = json!({ "code": fault.code, "message": fault.message });
    if let Some(object) = json.as_object_mut() {
        if !fault.hint.is_empty() {
            object.insert("hint".into(), fault.hint.clone().into());
        }
        if !fault.next_actions.is_empty() {
            object.insert("next_actions".into(), fault.next_actions.into());
        }
        if let Some(after) = fault.retry_after {
            object.insert("retry_after".into(), after.as_secs().into());
        }
    }
    json
}
