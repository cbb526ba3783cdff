//! How the data of a restore gets into a server that this program reaches itself.

use crate::model::key_filter::of_keys;
use crate::model::log::Position;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fast a target is taken to apply a log: bytes and commands a second. Where commands are small it is they that take the time.
const APPLIED_A_SECOND: (u64, u64) = (40 << 20, 800_000);

/// How long a target applies commands of a log, about.
#[must_use]
pub fn replay_time(bytes: u64, commands: u64) -> Duration {
    let (by_bytes, by_commands) = APPLIED_A_SECOND;
    let millis = |n: u64, a_second: u64| n.saturating_mul(1000) / a_second;
    Duration::from_millis(millis(bytes, by_bytes).max(millis(commands, by_commands)))
}

/// How fast a set is taken to load, in bytes a second: half of what was measured (docs/figures.md), rounded down, for writers wait for
/// it.
const LOADED_A_SECOND: u64 = 100_000_000;

/// Seconds for which a target that loads a set of so many bytes as a replica refuses writes, about; `replay`: and applies a log behind it.
#[must_use]
pub const fn refusing_seconds(bytes: u64, replay: u64) -> u64 {
    1 + bytes / LOADED_A_SECOND + replay
}

/// How fast a server is taken to be backed up, in bytes of its memory a second: half of what was measured (docs/figures.md), for writers may
/// wait for it.
const CAPTURED_A_SECOND: u64 = 90 << 20;

/// Seconds that a safety backup of a server with so many bytes of memory takes, about.
#[must_use]
pub const fn capture_seconds(memory: u64) -> u64 {
    1 + memory / CAPTURED_A_SECOND
}

/// The method of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// This process acts as the target's master: the data set is swapped in whole, or not at all.
    Replication,
    /// FLUSHALL, then one RESTORE a key. Not atomic: a failure leaves part of the data.
    Commands,
    /// One RESTORE a key into empty databases, which then are swapped in at one moment, or not at all.
    Beside,
    /// One RESTORE for each key of some, and one UNLINK for each of those that was not there.
    Keys,
}

impl Method {
    /// The method in plans and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Commands | Self::Beside => "commands",
            Self::Keys => "keys",
        }
    }

    /// The method, and where its data is written, for the reader of a difference.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Commands => "commands, in place",
            Self::Beside => "commands, beside the old data",
            Self::Keys => "some keys, one by one",
        }
    }

    /// What the method means, for the person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Replication => {
                "atomic: the target loads the set as a replica of this process and swaps it in whole; if anything fails before that, the old data stays"
            }
            Self::Beside => {
                "atomic: keys are written one by one into empty databases beside the old data, and one transaction swaps them all in; if anything fails before that, the old data stays"
            }
            Self::Keys => {
                "keys that match are replaced or removed one by one, each at one moment, NOT all at one; no other key is touched. What clients write meanwhile to such keys is OVERWRITTEN or removed unless it comes behind the key's turn; keys that they make meanwhile stay; a failure leaves some as they were and some restored, and the same call completes it"
            }
            Self::Commands => {
                "NOT atomic: the target is emptied (FLUSHALL) and keys are written one by one; what clients write meanwhile stays or is overwritten, and is not counted; a failure leaves it partly filled until a restore succeeds"
            }
        }
    }
}

/// What a restore puts into its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredTo {
    /// The set.
    pub backup_id: String,
    /// The position in a log up to which commands were replayed behind the set; `None` where a set alone was restored, or the tail of a
    /// restore.
    pub position: Option<String>,
    /// The moment that the data is of.
    pub moment: Timestamp,
    /// Where the instance's own history ended, which a restore by replication ends: its replication id, and its last offset. `None`
    /// while that has not happened.
    #[serde(default)]
    pub ended: Option<(String, u64)>,
}

/// What clients wrote while a restore of some keys wrote: from its first key on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meanwhile {
    /// Write commands; `None` where that is not known.
    pub written: Option<u64>,
    /// Whether they are kept, and counted with what was written behind the safety backup.
    pub kept: bool,
}

/// What the cutover of a restore came to: what the way back has, and what was written behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    /// The instance that was restored.
    pub instance_id: String,
    /// The set that brings back what was there: the last safety backup.
    pub safety_backup_id: String,
    /// Whether that set was taken after the yes, because something had been written since the plan's.
    pub taken_after_yes: bool,
    /// Write commands accepted after that set and before the cutover, removals included; `None` where that is not known.
    pub writes_after: Option<u64>,
    /// Removals between that set and the cutover that were the server's own: what expired or was evicted, and is still in the set.
    #[serde(default)]
    pub removed_after: u64,
    /// Keys that the instance evicted while the restore was prepared, up to its last look before the cutover.
    #[serde(default)]
    pub evicted_after: u64,
    /// Write commands that the instance has counted since right before that set, where its stream has none behind the set.
    #[serde(default)]
    pub called_after: u64,
    /// The file that holds the writes, in RESP; `None` where there are none.
    pub tail: Option<String>,
    /// Whether the file holds all of them.
    pub tail_whole: bool,
    /// Where in the instance's log the cutover is, where the log has every write up to there and no file does.
    #[serde(default)]
    pub in_log: Option<Position>,
    /// Id of the restore's job; empty in what earlier versions wrote.
    #[serde(default)]
    pub job_id: String,
    /// Whether what the file holds can be replayed: by the instance as a replica of this program, or by a server of our own.
    #[serde(default)]
    pub can_follow: bool,
    /// The list that names the keys which alone were restored; `None` where all were, or no call can name them.
    #[serde(default)]
    pub filter_key: Option<String>,
    /// What came while keys were written one by one; `None` of a restore that cuts over at one moment.
    #[serde(default)]
    pub meanwhile: Option<Meanwhile>,
    /// Seconds for which writers waited; `None` where they did not.
    pub waited_seconds: Option<f64>,
    /// Seconds for which writes were refused; `None` where they were not.
    pub refused_seconds: Option<f64>,
}

impl Cutover {
    /// Whether all that was written behind the safety backup is kept.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        match self.writes_after {
            Some(0) => true,
            _ if self.in_log.is_some() => true,
            None => false,
            Some(_) => self.tail_whole && self.tail.is_some(),
        }
    }

    /// The call that returns to the last write accepted before the cutover; `None` where that is the safety backup itself, or nothing
    /// here can.
    #[must_use]
    pub fn last_write(&self) -> Option<String> {
        let behind = self.can_follow && self.is_whole() && self.writes_after != Some(0) && !self.job_id.is_empty();
        behind.then(|| {
            let call =
                format!("restore_instance with instance_id {} and before_position {}", self.instance_id, self.job_id);
            self.filter_key.as_ref().map_or_else(|| call.clone(), |list| of_keys(&call, list))
        })
    }

    /// The cutover in half a sentence or two, for the reader.
    #[must_use]
    pub fn describe(&self) -> String {
        let taken = if self.taken_after_yes { "taken after the yes" } else { "of the plan" };
        let behind = match (self.writes_after, &self.tail) {
            (Some(0), _) if self.called_after > 0 => format!(
                "nothing was written after it as far as the server's stream tells; it has counted {} write commands since right before that, which changed nothing, are in that set, or kept what they wrote out of the stream",
                self.called_after
            ),
            (Some(0), _) => "nothing was written after it".to_owned(),
            (writes, _) if let Some(position) = &self.in_log => match writes {
                Some(n) => format!(
                    "{n} write commands were accepted after it, and lie in the instance's log, up to {position}"
                ),
                None => format!(
                    "how many write commands were accepted after it is not known; the instance's log has them, up to {position}"
                ),
            },
            (Some(n), Some(tail)) if self.tail_whole => {
                format!("{n} write commands were accepted after it, and lie in {tail}")
            }
            (Some(n), Some(tail)) => format!(
                "{n} write commands were accepted after it; {tail} holds only the first of them, for the rest did not fit"
            ),
            (Some(n), None) => format!("{n} write commands were accepted after it, and are kept nowhere"),
            (None, Some(tail)) => {
                format!("how many write commands were accepted after it is not known; {tail} holds the first of them")
            }
            (None, None) => "how many write commands were accepted after it is not known".to_owned(),
        };
        const GONE: &str = "what they wrote to keys that match may have been overwritten or removed";
        let meanwhile = match self.meanwhile {
            None | Some(Meanwhile { written: Some(0), .. }) => String::new(),
            Some(Meanwhile { written: Some(n), kept: true }) => {
                format!("; {n} of them came while the keys were written, and {GONE}")
            }
            Some(Meanwhile { written: Some(n), kept: false }) => {
                format!(
                    " up to the first key; {n} came while the keys were written and are kept nowhere: {GONE}, and cannot be got back"
                )
            }
            Some(Meanwhile { written: None, .. }) => format!(
                " up to the first key; how many came while the keys were written is not known, and none is kept: {GONE}, and cannot be got back"
            ),
        };
        let removed = match self.removed_after {
            0 => String::new(),
            n => format!(
                "; {n} removals since were the server's own (expired or evicted), and what they removed is in it"
            ),
        };
        let evicted = match self.evicted_after {
            0 => String::new(),
            n => format!("; meanwhile the server evicted {n} keys to make room"),
        };
        let waited = self.waited_seconds.map(|s| format!("; writers waited {s:.1} s")).unwrap_or_default();
        let refused = self.refused_seconds.map(|s| match self.waited_seconds {
            Some(_) => format!(", then writes were refused for {s:.1} s"),
            None => format!("; writes were refused for {s:.1} s"),
        });
        let refused = refused.unwrap_or_default();
        let back = self.last_write().map(|call| format!("; {call} returns to the last of them")).unwrap_or_default();
        format!(
            "what was there is in the safety backup {} ({taken}); {behind}{meanwhile}{removed}{evicted}{back}{waited}{refused}",
            self.safety_backup_id
        )
    }
}

#[cfg(test)]
mod tests {
    //! What the end of a restore says was written behind its safety backup is no more than what was looked at.
    use super::{Cutover, Meanwhile};

    #[test]
    fn nothing_written_is_said_of_what_tells() {
        let cutover = |called_after, evicted_after| Cutover {
            instance_id: "orders".into(),
            safety_backup_id: "b-1".into(),
            taken_after_yes: true,
            writes_after: Some(0),
            removed_after: 0,
            evicted_after,
            called_after,
            tail: None,
            tail_whole: true,
            in_log: None,
            job_id: "rj-1".into(),
            can_follow: true,
            filter_key: None,
            meanwhile: None,
            waited_seconds: None,
            refused_seconds: None,
        };
        let said = "what was there is in the safety backup b-1 (taken after the yes); nothing was written after it";
        assert_eq!(cutover(0, 0).describe(), said);
        let counted = cutover(2, 0).describe();
        assert!(
            counted.starts_with(&format!("{said} as far as the server's stream tells; it has counted 2")),
            "{counted}"
        );
        let cut = |written, kept| Cutover { meanwhile: Some(Meanwhile { written, kept }), ..cutover(0, 0) };
        assert_eq!(cut(Some(0), false).describe(), said);
        for (written, told) in [(Some(3), "; 3 came while"), (None, "; how many came while the keys were written is")] {
            let described = cut(written, false).describe();
            assert!(described.starts_with(&format!("{said} up to the first key{told}")), "{described}");
            assert!(described.contains("cannot be got back") && !described.contains("before_position"), "{described}");
        }
        assert_eq!(cutover(0, 7).describe(), format!("{said}; meanwhile the server evicted 7 keys to make room"));
    }
}
