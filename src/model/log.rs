//! The log of an instance: positions in it, gaps and their causes, and what is told of it. No bytes of it, and nothing of how it is stored.

use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest position in bytes, as text: a timeline's id, a shard and an offset.
const POSITION_BYTES_MAX: usize = 100;

/// A place in the log of an instance. For callers an opaque text: `<timeline>/<shard>/<offset>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position {
    /// Id of the timeline.
    pub timeline: String,
    /// Number of the shard.
    pub shard: u16,
    /// Offset in the timeline's history: bytes before this position.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.timeline, self.shard, self.offset)
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl TryFrom<String> for Position {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl FromStr for Position {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::new(Kind::Usage, "position.bad_format", format!("{} is not a position in a log", quoted(text)))
                .hint("Use a position as describe_backups gives it, unchanged.")
        };
        if text.len() > POSITION_BYTES_MAX {
            return Err(bad());
        }
        let mut parts = text.split('/');
        let (Some(timeline), Some(shard), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        if !is_timeline_id(timeline) {
            return Err(bad());
        }
        Ok(Self {
            timeline: timeline.to_owned(),
            shard: plain_number(shard).ok_or_else(bad)?,
            offset: plain_number(offset).ok_or_else(bad)?,
        })
    }
}

/// The end of a timeline on the vault: its newest segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// The instance.
    pub instance_id: String,
    /// Number of the shard.
    pub shard: u16,
    /// Id of the timeline.
    pub timeline: String,
    /// Name of the segment within its timeline.
    pub segment: String,
    /// Offset behind its last byte, in the timeline's history.
    pub offset: u64,
    /// Up to when everything received is in the log.
    pub until: Timestamp,
    /// The segment's digest, as the next one names it.
    pub digest: String,
}

/// A number as it is written here: digits alone, without zeros before them. One position has one text.
fn plain_number<N: FromStr + fmt::Display>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|n| n.to_string() == text)
}

/// Whether a text has the form of a timeline's id: `t-20261123T061500Z-3f9a1c`.
#[must_use]
pub fn is_timeline_id(text: &str) -> bool {
    text.len() <= 64
        && text
            .strip_prefix("t-")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// Why a part of the log is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&str", from = "String")]
pub enum GapCause {
    /// The source had dropped from its backlog what was not yet received.
    BacklogOverrun,
    /// Another server took over, and does not know the history as far as it was received.
    FailoverNotFollowed,
    /// The source restarted and began another history.
    SourceRestarted,
    /// The spool had reached its limit while the vault took nothing.
    SpoolFull,
    /// Nobody followed the source.
    ArchiverDown,
    /// The clock was set, so that it is not known when commands came.
    ClockStep,
    /// Bytes of the log are not those that were written.
    Damaged,
    /// Something else, or not known.
    Other,
}

impl GapCause {
    const ALL: [Self; 8] = [
        Self::BacklogOverrun,
        Self::FailoverNotFollowed,
        Self::SourceRestarted,
        Self::SpoolFull,
        Self::ArchiverDown,
        Self::ClockStep,
        Self::Damaged,
        Self::Other,
    ];

    /// The cause in objects and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BacklogOverrun => "backlog_overrun",
            Self::FailoverNotFollowed => "failover_not_followed",
            Self::SourceRestarted => "source_restarted",
            Self::SpoolFull => "spool_full",
            Self::ArchiverDown => "archiver_down",
            Self::ClockStep => "clock_step",
            Self::Damaged => "damaged",
            Self::Other => "other",
        }
    }

    /// Reads [`Self::as_str`] back. A cause that is not known to this version is another one, and the gap is one all the same.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text).unwrap_or(Self::Other)
    }
}

impl From<GapCause> for &str {
    fn from(cause: GapCause) -> Self {
        cause.as_str()
    }
}

impl From<String> for GapCause {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

/// A part of the log that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Id of the timeline in which it is, or which ended with it.
    pub timeline: String,
    /// Number of the shard.
    pub shard: u16,
    /// Offset behind the last command that the log has before the gap.
    pub after_offset: u64,
    /// The last moment before the gap that can be recovered.
    pub from: Timestamp,
    /// When the log went on, here or in another timeline. What was written up to then is in no log.
    pub to: Timestamp,
    /// Why it is missing.
    pub cause: GapCause,
    /// The source's `run_id` where the log went on; empty where nobody knows it.
    pub source_run_id: String,
    /// What else is known of the cause, for a reader; mostly nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Who follows an instance for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiver {
    /// Host and process, for a reader.
    pub who: String,
    /// Whether the process lives and holds the lease.
    pub alive: bool,
}

/// What is told of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Whether the log is to be kept.
    pub on: bool,
    /// Up to when what was received is on the archiver's disk.
    pub spooled_until: Option<Timestamp>,
    /// Up to when what was received is on the vault. A window never reaches beyond.
    pub archived_until: Option<Timestamp>,
    /// The moments to which the instance can be recovered, oldest first: between two windows there are none.
    pub windows: Vec<(Timestamp, Timestamp)>,
    /// What is missing, oldest first.
    pub gaps: Vec<Gap>,
    /// How exact moments of the newest window are at worst, in milliseconds: what came out of a backlog has the outage as its precision.
    pub precision_ms: u64,
    /// Who follows the instance.
    pub archiver: Option<Archiver>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A position is one text and comes back from it; any other text is none.
    use super::{GapCause, Position};

    #[test]
    fn a_position_is_one_text() {
        for offset in [0, 7, u64::MAX] {
            let position = Position { timeline: "t-20261123T061500Z-3f9a1c".into(), shard: 0, offset };
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        let long = format!("t-{}/0/1", "a".repeat(100));
        for text in [
            "",
            "t-a/0",
            "t-a/0/1/2",
            "t-a/0/01",
            "t-a/0/+1",
            "t-a/0/-1",
            "t-a/65536/1",
            "t-/0/1",
            "b-a/0/1",
            "t-../0/1",
            &long,
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cause_comes_back_from_its_word() {
        assert!(GapCause::ALL.into_iter().all(|cause| GapCause::parse(cause.as_str()) == cause));
        assert_eq!(GapCause::parse("of a later version"), GapCause::Other);
    }
}
