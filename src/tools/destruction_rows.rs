//! What destroyed data in a reply: each with its position, what it may be else, how far the search came, and the call that goes back.
//!
//! It must not call anything a mistake: the log does not say who sent a command, and a server removes keys of its own.

use crate::model::destruction::{Destruction, Destructions, How};
use crate::model::time::{written_ms, written_short};
use crate::tools::log_row::{GAPS_MAX, GapRow};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that destroyed data: a command, or a burst of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DestructionRow {
    /// When the first command had been received.
    pub at: String,
    /// When the last had been; absent: then too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How much earlier it may have been written, in milliseconds; absent: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision_ms: Option<u64>,
    /// The command.
    pub command: String,
    /// Number of commands.
    pub commands: u64,
    /// Keys that they name, each as often as it is named; absent where they name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// What these keys begin with; absent: nothing in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// The database; absent: several, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<u64>,
    /// Right before the first command: `before_position` of `restore_instance`.
    pub position: String,
    /// What it may be else, or why it cannot be restored to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The call that goes to right before the newest of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RestoreCall {
    /// The instance.
    pub instance_id: String,
    /// The position.
    pub before_position: String,
}

/// What destroyed data in a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct DestructionRows {
    /// Those of this page, newest first.
    pub events: Vec<DestructionRow>,
    /// From when on the log was searched; absent: the log has nothing of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_from: Option<String>,
    /// Up to when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_to: Option<String>,
    /// Parts of that which are in no log, newest first; at most five.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapRow>,
    /// What of the range was not searched, and how to go on.
    pub message: String,
    /// Arguments of `restore_instance` for the newest event of this page that can be restored to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_instance: Option<RestoreCall>,
}

impl DestructionRows {
    /// The rows of a page.
    #[must_use]
    pub fn of(instance_id: &str, all: &Destructions, range: (Timestamp, Timestamp), skip: usize, most: usize) -> Self {
        let page: Vec<&Destruction> = all.found.iter().skip(skip).take(most).collect();
        let newest = page.iter().find(|event| event.restorable);
        Self {
            restore_instance: newest.map(|event| RestoreCall {
                instance_id: instance_id.to_owned(),
                before_position: event.position.to_string(),
            }),
            events: page.into_iter().map(row).collect(),
            searched_from: all.searched.map(|(from, _)| written_ms(from)),
            searched_to: all.searched.map(|(_, to)| written_ms(to)),
            gaps: all.missing.iter().rev().take(GAPS_MAX).map(GapRow::of).collect(),
            message: message(all, range, skip + most),
        }
    }
}

fn row(event: &Destruction) -> DestructionRow {
    DestructionRow {
        at: written_ms(event.at),
        until: Some(event.until).filter(|until| *until != event.at).map(written_ms),
        precision_ms: Some(event.precision_ms).filter(|ms| *ms > 0),
        command: event.command.clone(),
        commands: event.commands,
        keys: Some(event.keys).filter(|keys| *keys > 0),
        key_prefix: Some(event.key_prefix.clone()).filter(|prefix| !prefix.is_empty()),
        database: event.database,
        position: event.position.to_string(),
        note: note(event),
    }
}

/// What an event may be else, and whether it can be restored to.
fn note(event: &Destruction) -> Option<String> {
    let else_ = match event.how {
        How::Removes if event.may_be_servers => "may be expiry or eviction, which come as the same commands",
        How::Replaces => "may have replaced keys: the log does not say whether they were there",
        How::Trims => "takes elements out of keys; may be upkeep",
        How::Expires => "sets expiries that had passed: the keys went at once",
        How::Removes | How::Databases | How::Functions => "",
    };
    let no_base = if event.restorable { "" } else { "no backup set leads there" };
    let told = [else_, no_base].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    Some(told).filter(|told| !told.is_empty())
}

/// What of a range was not searched, and how to go on.
fn message(all: &Destructions, (start, end): (Timestamp, Timestamp), shown: usize) -> String {
    let Some((from, to)) = all.searched else { return "The log has nothing of this range.".to_owned() };
    let mut told = Vec::new();
    if all.found.is_empty() {
        told.push("Nothing that destroys data was found.".to_owned());
    } else if all.found.len() > shown {
        told.push(format!("{} older ones are on the next pages.", all.found.len() - shown));
    }
    if all.stopped {
        let from = written_ms(from);
        told.push(format!("The search came back to {from}; go on with end_time {from}."));
    } else if start < from {
        told.push(format!("The log begins at {}.", written_short(from)));
    }
    if to < end {
        told.push(format!("What came after {} is not on the vault yet.", written_short(to)));
    }
    if !all.missing.is_empty() {
        let many = all.missing.len();
        told.push(format!("{many} part(s) of the range are in no log: nobody knows what was done there."));
    }
    if told.is_empty() { "All of the range was searched.".to_owned() } else { told.join(" ") }
}
