//! The published contract: the tools that `tools/list` sends, embedded from `tools/`, and the shape of results and refusals.
//!
//! `tools/<verb>.md` is written by hand; `tools/<verb>.json` is generated from it and the types by [`generate`], frozen in
//! the repository and compared by a test. Schemas are slimmed: every user pays for every token in every request.

use crate::mcp::brief;
use crate::model::fault::Fault;
use crate::tools::registry::{self, Listing, TOOLS};
use crate::tools::{NOW, dated};
use rmcp::model::{CallToolResult, ContentBlock, Tool};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The reply fields listed for a tool whose reply another tool's listing has whole.
const ESSENCE: [&str; 4] = ["status", "message", "confirmation_token", "job_id"];

/// The reply fields that no listing has: their names explain themselves to whoever has a reply.
const UNLISTED: [&str; 6] = [NOW, "newest", "plans", "estimate", "page_number", "page_size"];

/// The tools as `tools/list` sends them.
pub fn tools() -> &'static [Tool] {
    static LISTED: OnceLock<Vec<Tool>> = OnceLock::new();
    // A frozen file that cannot be parsed fails the contract test, so none is dropped here in practice.
    LISTED.get_or_init(|| TOOLS.iter().filter_map(|tool| serde_json::from_str(tool.frozen).ok()).collect())
}

/// Generates a verb's listing from its description and types.
#[must_use]
pub fn generate(verb: &str) -> Option<Value> {
    let tool = registry::find(verb)?;
    let (input, mut output) = (arguments(tool), reply(tool));
    if let Some(properties) = output.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !UNLISTED.contains(&name.as_str()));
        properties.values_mut().for_each(shallow);
    }
    if tool.listing == Listing::Essence
        && let Some(properties) = output.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.retain(|name, _| ESSENCE.contains(&name.as_str()));
        properties.insert("status".into(), json!({ "type": "string" }));
    }
    let (front, description) = front_matter(tool.description);
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

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true)
}

fn arguments(tool: &registry::Tool) -> Value {
    let mut input = (tool.input)(settings().into_generator()).to_value();
    slim(&mut input, true);
    if let Some(input) = input.as_object_mut() {
        // The type's own description adds nothing to the tool's.
        input.remove("description");
    }
    input
}

/// The schema of a tool's reply with all of its fields, of which the listing has most of the outermost. What a brief reply leaves out is required
/// nowhere.
#[must_use]
pub fn reply(tool: &registry::Tool) -> Value {
    let mut output = (tool.output)(settings().for_serialize().into_generator()).to_value();
    slim(&mut output, false);
    if let Some(properties) = output.get_mut("properties").and_then(Value::as_object_mut) {
        if properties.contains_key(brief::PRECHECKS) {
            properties.insert(brief::PASSED.into(), json!({ "type": "array", "items": { "type": "string" } }));
        }
        properties.insert(NOW.into(), json!({ "type": "string" }));
    }
    output
}

/// Leaves the fields within a field out: whoever has a reply sees them, and their names explain themselves.
fn shallow(field: &mut Value) {
    let rows = if field.get("items").is_some() { field.get_mut("items") } else { Some(field) };
    if let Some(rows) = rows.and_then(Value::as_object_mut) {
        rows.remove("properties");
        // What is said of all other fields would be said of those, too.
        rows.remove("additionalProperties");
    }
}

/// Keeps only what a model or a validator uses. Descriptions stay on arguments only.
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
        // Fields are added in later versions; a client must not refuse them.
        if object.get("additionalProperties").is_some_and(Value::is_boolean) {
            object.remove("additionalProperties");
        }
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

/// A reply as a tool result: in brief, and as structured content and text the same.
#[must_use]
pub fn reply_result(json: Value) -> CallToolResult {
    let failed = json.get("status").and_then(Value::as_str) == Some("failed");
    let told = brief::of(json);
    let text = told.to_string();
    let mut result = CallToolResult::structured(told);
    result.content = vec![ContentBlock::text(text)];
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

/// A fault as JSON: `code`, `message`, `now` (UTC), and where present `hint`, `next_actions`, `retry_after` (seconds).
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
    dated(&mut json);
    json
}
