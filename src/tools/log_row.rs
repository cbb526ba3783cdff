//! The log of an instance in a reply: how far it is, what can be restored from it, and what is missing.
//!
//! Times are whole seconds, rounded so that each of a window can be restored.

use crate::model::log::{Gap, LogStatus};
use crate::model::time::{written, written_up};
use crate::provider::Provider;
use schemars::JsonSchema;
use serde::Serialize;

/// Gaps and earlier windows that a reply names: the newest.
pub const GAPS_MAX: usize = 5;

/// The moments that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WindowRow {
    /// The earliest.
    pub start_time: String,
    /// The newest.
    pub end_time: String,
}

/// A part of the log that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GapRow {
    /// The last moment before it that can be restored.
    pub from: String,
    /// When the log went on.
    pub to: String,
    /// Why: `backlog_overrun`, `failover_not_followed`, `source_restarted`, `spool_full`, `archiver_down`, `clock_step`, `damaged`, `other`.
    pub cause: &'static str,
}

/// The log of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct LogRow {
    /// Whether the log is to be kept.
    pub on: bool,
    /// Who keeps it; absent: nobody does just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archiver: Option<String>,
    /// Up to when what was received is on the archiver's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spooled_until: Option<String>,
    /// Up to when it is on the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_until: Option<String>,
    /// The newest window of moments that can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowRow>,
    /// Windows before that, newest first; at most five. What lies between two cannot be restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_windows: Vec<WindowRow>,
    /// Number of windows in all, and the earliest moment of the first: for sentences.
    #[serde(skip)]
    pub total_windows: usize,
    /// See `total_windows`.
    #[serde(skip)]
    pub since: Option<String>,
    /// By how much a time in the window may be too late, in milliseconds, at worst; absent: by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision_ms: Option<u64>,
    /// What is missing, newest first; at most five.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapRow>,
    /// Number of gaps in all.
    pub total_gaps: usize,
    /// Why the log cannot be read; nothing else is known of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl GapRow {
    /// The row of a gap, which is no shorter than the gap.
    #[must_use]
    pub fn of(gap: &Gap) -> Self {
        Self { from: written(gap.from), to: written_up(gap.to), cause: gap.cause.as_str() }
    }
}

impl LogRow {
    /// The row of a log.
    #[must_use]
    pub fn of(status: &LogStatus) -> Self {
        // One that lies within a second has no whole second in it.
        let mut windows: Vec<WindowRow> = status
            .windows
            .iter()
            .map(|(from, to)| WindowRow { start_time: written_up(*from), end_time: written(*to) })
            .filter(|window| window.start_time <= window.end_time)
            .collect();
        let (total_windows, since) = (windows.len(), windows.first().map(|first| first.start_time.clone()));
        let window = windows.pop();
        Self {
            on: status.on,
            archiver: status.archiver.as_ref().filter(|by| by.alive).map(|by| by.who.clone()),
            spooled_until: status.spooled_until.map(written),
            archived_until: status.archived_until.map(written),
            window,
            earlier_windows: windows.into_iter().rev().take(GAPS_MAX).collect(),
            total_windows,
            since,
            precision_ms: Some(status.precision_ms).filter(|ms| *ms > 0),
            gaps: status.gaps.iter().rev().take(GAPS_MAX).map(GapRow::of).collect(),
            total_gaps: status.gaps.len(),
            unreadable: None,
        }
    }

    /// The row of an instance's log, where it has one. A log that cannot be read must not hide what else is known.
    pub async fn read(provider: &dyn Provider, instance_id: &str) -> Option<Self> {
        match provider.log_status(instance_id).await {
            Ok(status) => status.map(|status| Self::of(&status)),
            Err(fault) => Some(Self { unreadable: Some(fault.message), ..Self::default() }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Every second of a window that is shown lies in it, and a gap is shown no shorter than it is.
    use super::*;
    use crate::model::log::{Archiver, GapCause};
    use jiff::Timestamp;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn what_is_shown_can_be_restored() {
        let gap = |n: i64| Gap {
            timeline: "t-a".into(),
            shard: 0,
            after_offset: 1,
            from: at(n * 10_000 + 1_900),
            to: at(n * 10_000 + 2_100),
            cause: GapCause::BacklogOverrun,
            source_run_id: String::new(),
            detail: String::new(),
        };
        let mut status = LogStatus {
            on: true,
            spooled_until: Some(at(9_999)),
            archived_until: None,
            windows: vec![(at(1), at(8_999))],
            gaps: (0..7).map(gap).collect(),
            precision_ms: 0,
            archiver: Some(Archiver { who: "process 1".into(), alive: false }),
        };
        let row = LogRow::of(&status);
        let window = WindowRow { start_time: "1970-01-01T00:00:01Z".into(), end_time: "1970-01-01T00:00:08Z".into() };
        assert_eq!((row.window, row.archiver, row.total_gaps, row.gaps.len()), (Some(window), None, 7, 5));
        let newest =
            GapRow { from: "1970-01-01T00:01:01Z".into(), to: "1970-01-01T00:01:03Z".into(), cause: "backlog_overrun" };
        assert_eq!(row.gaps[0], newest);
        status.windows = vec![(at(1_100), at(1_900))];
        let row = LogRow::of(&status);
        assert_eq!((row.window, row.since, row.total_windows), (None, None, 0));
        status.windows = (0..8).map(|n| (at(n * 10_000 + 100), at(n * 10_000 + 1_900 * (n % 7)))).collect();
        let row = LogRow::of(&status);
        let starts = row.window.iter().chain(&row.earlier_windows).map(|window| &window.start_time[17..19]);
        assert_eq!(starts.collect::<Vec<_>>(), ["01", "51", "41", "31", "21", "11"]);
        assert_eq!((row.since.as_deref(), row.total_windows), (Some("1970-01-01T00:00:11Z"), 6));
    }
}
