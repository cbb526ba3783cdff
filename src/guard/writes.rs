//! Writes between two looks at a server: by the stream behind the safety backup where it can be read, else by position and by the
//! counter of write commands.

use crate::guard::rules::Rules;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the stream behind a safety backup holds, up to the moment of the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Streamed {
    /// Commands that change data, without the removals.
    pub writes: u64,
    /// Removals of keys or fields: expiries and evictions, or commands of clients.
    pub removals: u64,
}

impl Streamed {
    /// Commands that changed data, of which so many removals were the server's own.
    #[must_use]
    pub const fn written(self, own_removals: u64) -> u64 {
        self.writes.saturating_add(self.removals.saturating_sub(own_removals))
    }
}

/// A server's own counters, by which expiries and evictions are told from what clients remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerCounters {
    /// Write commands since the server's statistics began; `None` where nobody may ask.
    pub calls: Option<u64>,
    /// Removals of the server's own since then, at most.
    pub removed: u64,
}

impl ServerCounters {
    /// Write commands between an earlier reading and this one; 0 where one of them does not tell, or the statistics were reset meanwhile.
    #[must_use]
    pub const fn calls_since(self, then: Self) -> u64 {
        match (self.calls, then.calls) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => 0,
        }
    }

    /// Removals between an earlier reading and this one that no client has caused, at most. None where write commands were called; and
    /// where the statistics were reset meanwhile, never more than the server has counted since.
    #[must_use]
    pub const fn own_removals_since(self, then: Self) -> u64 {
        match (self.calls, then.calls) {
            (Some(now), Some(before)) if now == before => self.removed.saturating_sub(then.removed),
            _ => 0,
        }
    }
}

/// What is known of a server's writes at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Write commands since the server's statistics began.
    pub calls: u64,
    /// Removals of the server's own since then, at most.
    #[serde(default)]
    pub removed: u64,
    /// When the counters were read.
    pub read_at: Timestamp,
    /// The server's position in its history; `None` without a replication backlog, for then the position stands still.
    #[serde(default)]
    pub offset: Option<u64>,
    /// What the stream behind the plan's safety backup holds; `None` where there is no plan yet, or the stream cannot be read.
    #[serde(default)]
    pub streamed: Option<Streamed>,
    /// Whether there is write traffic. In a plan: whether the person is told of any.
    #[serde(default)]
    pub traffic: bool,
}

/// What was written between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing.
    Nothing,
    /// So many write commands.
    Counted(u64),
    /// The statistics were reset, and nothing else tells.
    Unknown,
}

impl Writes {
    /// A reading of the counter alone.
    #[must_use]
    pub const fn counted(calls: u64, read_at: Timestamp) -> Self {
        Self { calls, removed: 0, read_at, offset: None, streamed: None, traffic: false }
    }

    /// The server's counters.
    #[must_use]
    pub const fn counters(self) -> ServerCounters {
        ServerCounters { calls: Some(self.calls), removed: self.removed }
    }

    /// What was written since an earlier look at the same process under the same replication id.
    #[must_use]
    pub fn since(self, then: Self) -> Since {
        let counted = |n| if n == 0 { Since::Nothing } else { Since::Counted(n) };
        if let Some(streamed) = self.streamed {
            return counted(streamed.written(self.counters().own_removals_since(then.counters())));
        }
        if self.offset.is_some() && self.offset == then.offset {
            return Since::Nothing;
        }
        self.calls.checked_sub(then.calls).map_or(Since::Unknown, counted)
    }

    /// Seconds since an earlier look, one at least.
    #[must_use]
    pub fn seconds_since(self, then: Self) -> f64 {
        seconds(then.read_at, self.read_at)
    }

    /// Writes per second since an earlier look; endless where nobody can tell.
    #[must_use]
    pub fn rate_since(self, then: Self) -> f64 {
        match self.since(then) {
            Since::Nothing => 0.0,
            Since::Counted(n) => per_second(n, then.read_at, self.read_at),
            Since::Unknown => f64::INFINITY,
        }
    }

    /// Describes what was written since the look of a plan, where that voids the plan: any write where the person was told of none,
    /// else only more than the operator allows.
    #[must_use]
    pub fn void_the_plan_of(self, then: Self, rules: Rules) -> Option<String> {
        let since = self.since(then);
        if !then.traffic {
            return match since {
                Since::Nothing if self.traffic => {
                    Some("write traffic is measured now, or cannot be ruled out, and the plan told of none".into())
                }
                // The stream shows nothing behind the safety backup, and yet somebody wrote since the plan's first look: before it.
                Since::Nothing if self.streamed.is_some() && self.calls > then.calls => Some(format!(
                    "{} write commands were called since the plan was begun, which told of no write traffic",
                    self.calls - then.calls
                )),
                Since::Nothing => None,
                Since::Counted(n) => Some(format!(
                    "{n} write commands reached the instance since the plan, which told of no write traffic"
                )),
                Since::Unknown => Some(
                    "the server's command statistics were reset, so writes since the plan, which told of none, cannot be counted"
                        .into(),
                ),
            };
        }
        let (rate, seconds) = (self.rate_since(then), self.seconds_since(then));
        let limit = rules.max_writes_per_second.filter(|limit| rate.is_finite() && rate > *limit)?;
        let n = if let Since::Counted(n) = since { n } else { 0 };
        Some(format!(
            "{n} write commands reached the instance in the {seconds:.0} s since the plan, {rate:.1} a second; the operator allows {limit}"
        ))
    }
}

/// Seconds between two moments, one at least.
fn seconds(since: Timestamp, until: Timestamp) -> f64 {
    let millis = until.as_millisecond() - since.as_millisecond();
    #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
    let seconds = millis.max(1000) as f64 / 1000.0;
    seconds
}

/// So many writes between two moments, as a rate.
#[must_use]
pub fn per_second(writes: u64, since: Timestamp, until: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
    let writes = writes as f64;
    writes / seconds(since, until)
}

#[cfg(test)]
mod tests {
    //! The stream decides where it was read; a position that has not moved proves that nothing was written, whatever became of
    //! the statistics; the counter decides only where neither is known.
    use super::*;

    fn look(calls: u64, offset: Option<u64>, streamed: Option<(u64, u64)>) -> Writes {
        let streamed = streamed.map(|(writes, removals)| Streamed { writes, removals });
        Writes { offset, streamed, ..Writes::counted(calls, Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn what_was_written_since() {
        let then = Writes { removed: 40, ..look(10, Some(500), None) };
        for (now, since) in [
            // Renamed commands do not move the counter, and a reset moves it back.
            (look(10, Some(900), Some((7, 0))), Since::Counted(7)),
            (look(0, Some(900), Some((7, 0))), Since::Counted(7)),
            // A PING moved the position; keys expired.
            (look(10, Some(900), Some((0, 0))), Since::Nothing),
            (Writes { removed: 43, ..look(10, Some(900), Some((0, 3))) }, Since::Nothing),
            // Somebody may have deleted them.
            (Writes { removed: 43, ..look(12, Some(900), Some((0, 3))) }, Since::Counted(3)),
            // Somebody did, and statistics that were reset happen to say as many calls as before.
            (Writes { removed: 42, ..look(10, Some(900), Some((0, 3))) }, Since::Counted(1)),
            (Writes { removed: 2, ..look(10, Some(900), Some((0, 3))) }, Since::Counted(3)),
            (look(0, Some(500), None), Since::Nothing),
            (look(10, Some(900), None), Since::Nothing),
            (look(14, Some(900), None), Since::Counted(4)),
            (look(0, Some(900), None), Since::Unknown),
        ] {
            assert_eq!(now.since(then), since, "{now:?}");
        }
        // Without a backlog an equal position says nothing.
        assert_eq!(look(14, None, None).since(look(10, None, None)), Since::Counted(4));
    }

    #[test]
    fn a_plan_is_void_at_what_it_did_not_tell() {
        use crate::config::guard::ConfirmationPolicy;
        let rules = |max_writes_per_second| Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second };
        let then = look(10, None, None);
        let now = look(16, None, None);
        assert!(now.void_the_plan_of(then, rules(None)).is_some_and(|why| why.contains("6 write commands")));
        assert!(now.void_the_plan_of(then, rules(Some(1e9))).is_some());
        let told = Writes { traffic: true, ..then };
        assert_eq!(now.void_the_plan_of(told, rules(None)), None);
        assert_eq!(now.void_the_plan_of(told, rules(Some(6.0))), None);
        assert!(now.void_the_plan_of(told, rules(Some(5.0))).is_some_and(|why| why.contains("6 write commands")));
        // Written before the safety backup was taken, and after the plan's first look.
        assert!(look(16, Some(900), Some((0, 0))).void_the_plan_of(then, rules(None)).is_some());
        assert_eq!(look(0, Some(900), Some((0, 0))).void_the_plan_of(then, rules(None)), None);
        // Statistics that were reset are no traffic.
        assert_eq!(look(0, None, None).void_the_plan_of(told, rules(Some(0.0))), None);
    }
}
