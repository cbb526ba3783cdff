//! Replies of tools and commands for people: the one place with tables and their columns.
//!
//! Rendering reads the structured reply, the very one that `--json` prints, and adds nothing: a program can read all that a
//! person is shown. Everything is laid out for a [`Screen`]: no line is longer than that is wide, but for a word that is.

mod audit;
mod backup;
mod doctor;
mod guarded;
mod instances;
mod jobs;
pub mod keys;
mod plain;
mod plans;
mod policy;
mod retention;
pub mod screen;
pub mod tables;
mod typed;

use screen::Screen;
use serde_json::Value;

pub use audit::records;
pub use doctor::checks;
pub use guarded::{after_question, before_question};
pub use keys::compared;
pub use plans::listed_plans;
pub use retention::{prunable, pruned, verdicts};
pub use typed::typed;

/// Renders a tool's reply for a screen. A verb without a rendering of its own is shown field by field.
#[must_use]
pub fn reply(screen: &Screen, verb: &str, json: &Value) -> String {
    match verb {
        "describe_instances" => instances::list(screen, json),
        "create_backup" => backup::created(screen, json),
        "describe_backups" => backup::list(screen, json),
        "download_backup" => backup::download(json),
        "verify_backup" => jobs::one(screen, json),
        "describe_jobs" => jobs::list(screen, json) + &plans::below(screen, json),
        "describe_backup_policy" => policy::reply(screen, json),
        "restore_instance" | "modify_backup_policy" | "delete_backup" | "create_instance_from_backup" => {
            guarded::reply(screen, json)
        }
        _ => plain::fields(json),
    }
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
