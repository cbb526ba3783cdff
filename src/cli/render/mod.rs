//! Replies of tools for people: the one place with tables and their columns.
//!
//! Rendering reads the structured reply, the very one that `--json` prints, and adds nothing: a program can read all that a
//! person is shown.

mod backup;
mod guarded;
mod instances;
mod jobs;
pub mod keys;
mod plain;
mod plans;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

pub use keys::compared;

/// Renders a tool's reply for a terminal. A verb without a rendering of its own is shown field by field.
pub fn reply(verb: &str, json: &Value) -> String {
    match verb {
        "describe_instances" => instances::list(json),
        "create_backup" => backup::created(json),
        "describe_backups" => backup::list(json),
        "download_backup" => backup::download(json),
        "verify_backup" => jobs::one(json),
        "describe_jobs" => jobs::list(json) + &plans::below(json),
        "describe_backup_policy" => backup::policy(json),
        "restore_instance" | "modify_backup_policy" | "delete_backup" | "create_instance_from_backup" => {
            guarded::reply(json)
        }
        _ => plain::fields(json),
    }
}

/// A table for a terminal, as wide as its content.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// A field's text, where the reply has it.
fn text<'a>(json: &'a Value, field: &str) -> Option<&'a str> {
    json.get(field).and_then(Value::as_str)
}

/// A field's text; empty where the reply lacks it.
fn cell(json: &Value, field: &str) -> String {
    text(json, field).unwrap_or_default().to_owned()
}

/// A field's whole number, where the reply has it.
fn number(json: &Value, field: &str) -> Option<u64> {
    json.get(field).and_then(Value::as_u64)
}

/// A whole number in a table; empty where the reply lacks it.
fn count(json: &Value, field: &str) -> String {
    number(json, field).map_or(String::new(), |n| n.to_string())
}

/// A number of bytes in a table; empty where the reply lacks it.
fn size(json: &Value, field: &str) -> String {
    number(json, field).map_or(String::new(), crate::model::text::bytes)
}

/// A list's elements.
fn items<'a>(json: &'a Value, field: &str) -> &'a [Value] {
    json.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
