//! The form of an exported state, in lines of JSON: a header, a line for each row, and a trailer with the digest of all that is before it.
//!
//! Moments are milliseconds since 1970, as in the tables. The names of tables and columns are those of either database.

use crate::guard::ledger::ConfirmationStatus;
use crate::state::liveness::NOBODY;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The form that is written and read. A file with another column, or another meaning of one, has a later form.
pub const FORM: u32 = 3;
/// Longest line, in bytes.
pub const LINE_MAX: usize = 8 << 20;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A text.
    Text,
    /// A text that the first form did not have: empty in its files.
    NewText,
    /// A number, a count or a moment.
    Number,
    /// A number, or none.
    NumberIfAny,
    /// Whether something is so.
    Truth,
    /// The status of a confirmation, of which none comes over that could still become a permit.
    Status,
}

/// A table of the state.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, but for those that are made anew.
    pub columns: &'static [(&'static str, Of)],
    /// The first form that has the table.
    pub since: u32,
    /// What orders the rows.
    pub order: &'static str,
    /// A column that is made anew, and what it is then.
    pub made: Option<(&'static str, &'static str)>,
}

/// The tables, in the order in which they are written.
pub static TABLES: [Table; 8] = [
    Table {
        name: "jobs",
        columns: &[
            ("id", Of::Text),
            ("provider", Of::Text),
            ("kind", Of::Text),
            ("instance_id", Of::Text),
            ("backup_id", Of::Text),
            ("status", Of::Text),
            ("phase", Of::Text),
            ("stage", Of::Text),
            ("rollback_pending", Of::Truth),
            ("exclusive", Of::Truth),
            ("done", Of::Number),
            ("total", Of::Number),
            ("code", Of::Text),
            ("failure", Of::Text),
            ("message", Of::Text),
            ("hint", Of::Text),
            ("caller", Of::Text),
            ("confirmation", Of::Text),
            ("recovery", Of::Text),
            ("recovery_kind", Of::Text),
            ("account", Of::Text),
            ("principal", Of::Text),
            ("region", Of::Text),
            ("endpoint", Of::Text),
            ("cloud_jobs", Of::Text),
            ("restored", Of::Text),
            ("restored_keys", Of::Text),
            ("mode", Of::NewText),
            ("created_at", Of::Number),
            ("serving_at", Of::NumberIfAny),
            ("finished_at", Of::NumberIfAny),
        ],
        since: 1,
        order: "created_at, id",
        // No process of the old store is one of the new.
        made: Some(("owner", NOBODY)),
    },
    Table {
        name: "confirmations",
        columns: &[
            ("nonce", Of::Text),
            ("plan", Of::Text),
            ("caller", Of::Text),
            ("status", Of::Status),
            ("wrong_answers", Of::Number),
            ("created_at", Of::Number),
            ("expires_at", Of::Number),
        ],
        since: 1,
        order: "created_at, nonce",
        made: None,
    },
    Table {
        name: "audit",
        columns: &[
            ("at", Of::Number),
            ("event", Of::Text),
            ("caller", Of::Text),
            ("instance_id", Of::Text),
            ("nonce", Of::Text),
            ("detail", Of::Text),
        ],
        since: 1,
        order: "seq",
        made: None,
    },
    Table {
        name: "policies",
        columns: &[
            ("instance_id", Of::Text),
            ("enable_backup_log", Of::Truth),
            ("changed_at", Of::Number),
            ("preferred_backup_time", Of::Text),
            ("preferred_backup_period", Of::Text),
            ("backup_retention_period", Of::Number),
            ("calendar_since", Of::Number),
        ],
        since: 1,
        order: "instance_id",
        made: None,
    },
    Table {
        name: "verifications",
        columns: &[
            ("instance_id", Of::Text),
            ("backup_id", Of::Text),
            ("level", Of::Text),
            ("verified_at", Of::Number),
            ("sha256", Of::Text),
            ("server", Of::Text),
            ("fault", Of::Text),
        ],
        since: 1,
        order: "instance_id, backup_id, level",
        made: None,
    },
    Table {
        name: "manifests",
        columns: &[
            ("instance_id", Of::Text),
            ("backup_id", Of::Text),
            ("sha256", Of::Text),
            ("signed_by", Of::Text),
            ("recorded_at", Of::Number),
        ],
        since: 1,
        order: "instance_id, backup_id",
        made: None,
    },
    Table {
        name: "log_heads",
        columns: &[
            ("instance_id", Of::Text),
            ("shard", Of::Number),
            ("timeline", Of::Text),
            ("segment", Of::Text),
            ("end_offset", Of::Number),
            ("reached_at", Of::Number),
            ("digest", Of::Text),
            ("recorded_at", Of::Number),
        ],
        since: 3,
        order: "instance_id, shard, timeline",
        made: None,
    },
    Table {
        name: "notified",
        columns: &[
            ("key", Of::Text),
            ("way", Of::Text),
            ("status", Of::Text),
            ("body", Of::Text),
            ("failure", Of::Text),
            ("noted_at", Of::Number),
            ("ended_at", Of::NumberIfAny),
        ],
        since: 1,
        order: "key, way",
        made: None,
    },
];

/// A job that ran when the state was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningJob {
    /// The job's id.
    pub job_id: String,
    /// The kind of work.
    pub kind: String,
    /// The instance that it is about.
    pub instance_id: String,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The file's form.
    pub tair_backup_mcp_state: u32,
    /// Version of the program that wrote the file.
    pub program: String,
    /// The database that the state was in.
    pub database: String,
    /// Version of that database's tables.
    pub schema: i64,
    /// The moment of which everything is.
    pub exported_at: String,
    /// The jobs that ran then.
    pub running: Vec<RunningJob>,
    /// How many rows of each table follow.
    pub rows: BTreeMap<String, u64>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Digest of all bytes before this line, in hexadecimal.
    pub sha256: String,
}

impl Trailer {
    /// What the trailer's line begins with, and no other.
    pub const BEGINS: &'static str = "{\"sha256\":";
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number, or none.
    Number(Option<i64>),
    /// Whether something is so.
    Truth(bool),
}

/// The status of a confirmation as it comes over: whoever waits for one plans again. Were it open in the new store while a process is
/// left at work on the old one, one yes could be redeemed in each.
#[must_use]
pub fn withdrawn(status: &str) -> &str {
    match ConfirmationStatus::parse(status) {
        Some(ConfirmationStatus::Open | ConfirmationStatus::Approved) => ConfirmationStatus::Superseded.as_str(),
        _ => status,
    }
}

/// The line of a row, whose cells are in the order of the table's columns.
#[must_use]
pub fn line(table: &Table, cells: Vec<Cell>) -> String {
    let row: Map<String, Value> =
        table.columns.iter().map(|(name, _)| (*name).to_owned()).zip(cells.into_iter().map(Value::from)).collect();
    Value::from(Map::from_iter([(table.name.to_owned(), row.into())])).to_string()
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Text(text) => text.into(),
            Cell::Number(n) => n.into(),
            Cell::Truth(is) => is.into(),
        }
    }
}

/// A row that was read.
#[derive(Debug)]
pub struct Read {
    /// Whose row it is.
    pub table: &'static Table,
    /// In the order of the table's columns.
    pub cells: Vec<Cell>,
    /// Bytes of its line.
    pub bytes: usize,
}

/// Reads the line of a row.
///
/// # Errors
/// Why it is none.
pub fn read(line: &str) -> Result<Read, String> {
    let parsed: BTreeMap<String, Map<String, Value>> =
        serde_json::from_str(line).map_err(|e| format!("this is no row ({e})"))?;
    let mut tables = parsed.into_iter();
    let (Some((name, mut row)), None) = (tables.next(), tables.next()) else {
        return Err("this is no row of one table".into());
    };
    let known = TABLES.iter().find(|table| table.name == name);
    let table = known.ok_or_else(|| format!("there is no table {}", crate::model::text::quoted(&name)))?;
    let mut cells = Vec::with_capacity(table.columns.len());
    for (column, of) in table.columns {
        let missing = (*of == Of::NewText).then(|| Value::from(""));
        let value = row.remove(*column).or(missing).ok_or_else(|| format!("a row of {name} lacks {column}"))?;
        cells.push(cell(*of, value).ok_or_else(|| format!("{column} of a row of {name} has no value of its kind"))?);
    }
    match row.keys().next() {
        Some(more) => Err(format!("a row of {name} has no {}", crate::model::text::quoted(more))),
        None => Ok(Read { table, cells, bytes: line.len() }),
    }
}

fn cell(of: Of, value: Value) -> Option<Cell> {
    match (of, value) {
        (Of::Text | Of::NewText, Value::String(text)) => Some(Cell::Text(text)),
        (Of::Status, Value::String(text)) => Some(Cell::Text(withdrawn(&text).to_owned())),
        (Of::Number | Of::NumberIfAny, Value::Number(n)) => n.as_i64().map(|n| Cell::Number(Some(n))),
        (Of::NumberIfAny, Value::Null) => Some(Cell::Number(None)),
        (Of::Truth, Value::Bool(is)) => Some(Cell::Truth(is)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Cell, Of, TABLES, line, read};

    /// A job of the first form has no mode, and comes over with an empty one.
    #[test]
    fn a_row_of_the_first_form_is_read() {
        let [jobs, ..] = &TABLES;
        let cell = |of: &Of| match of {
            Of::Text | Of::NewText | Of::Status => Cell::Text("x".into()),
            Of::Number | Of::NumberIfAny => Cell::Number(Some(1)),
            Of::Truth => Cell::Truth(false),
        };
        let now = line(jobs, jobs.columns.iter().map(|(_, of)| cell(of)).collect());
        let before = now.replace("\"mode\":\"x\",", "");
        assert_ne!(now, before);
        assert!(read(&before).unwrap().cells.contains(&Cell::Text(String::new())), "{before}");
    }
}
