//! How long an act takes, about, and what clients see meanwhile: by what acts like it took, else by the size of its data.
//!
//! Told, not judged: no check depends on it. What an act needs is read of its facts, and which earlier act is like it of their plans.

use crate::guard::act::Act;
use crate::guard::facts::Facts;
use crate::guard::facts::clone::CloneSource;
use crate::guard::facts::replay::Replay;
use crate::guard::facts::restore::{CloudSource, SourceFacts};
use crate::guard::plan::Plan;
use crate::guard::preconditions::Preconditions;
use crate::model::estimate::{Estimate, Took};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind};
use crate::model::restore::{Method, capture_seconds, refusing_seconds, replay_time};

// Rates by which is estimated where nothing like it was done before, rounded down from figures of docs/figures.md, which names them.

/// Bytes of RDB a second of a restore, from its beginning until the target's disk has it.
const RESTORED_A_SECOND: u64 = 70_000_000;
/// Keys a second that are written by commands.
const WRITTEN_A_SECOND: u64 = 180_000;
/// Bytes of RDB a second of a restore of some keys of it.
const SIFTED_A_SECOND: u64 = 45_000_000;
/// Bytes of RDB a second of a clone: read, and loaded by a server that starts with it.
const CLONED_A_SECOND: u64 = 195_000_000;

/// How an act is carried out, as far as its time depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A restore of a server that this program reaches itself.
    Restore(Method),
    /// A clone on this machine.
    Clone,
    /// A restore by the cloud, of a set or of a moment, of all keys or some.
    CloudRestore { moment: bool, some: bool },
    /// A new instance of the cloud, from a set or of a moment.
    CloudClone { moment: bool },
}

impl Way {
    /// The way of a planned act; `None` of one that is done at once.
    fn of(plan: &Plan) -> Option<Self> {
        match &plan.preconditions {
            Preconditions::DirectRestore(planned) => Some(Self::Restore(planned.method)),
            Preconditions::LocalClone(_) => Some(Self::Clone),
            Preconditions::CloudRestore { set, .. } => {
                Some(Self::CloudRestore { moment: set.is_none(), some: plan.act.keys().is_some() })
            }
            Preconditions::Clone { set, .. } => Some(Self::CloudClone { moment: set.is_none() }),
            Preconditions::NoMoment { .. }
            | Preconditions::VaultDeletion { .. }
            | Preconditions::Pruning { .. }
            | Preconditions::CloudDeletion { .. }
            | Preconditions::PolicyChange { .. }
            | Preconditions::OwnPolicy { .. } => None,
        }
    }

    const fn kind(self) -> JobKind {
        match self {
            Self::Restore(_) | Self::CloudRestore { .. } => JobKind::Restore,
            Self::Clone | Self::CloudClone { .. } => JobKind::Clone,
        }
    }
}

/// What an act has to do, by its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes of the set; `None` where nobody tells.
    bytes: Option<u64>,
    /// Keys of the set.
    keys: u64,
    /// Bytes of memory of what is backed up once more after the yes, where somebody writes to it.
    memory: u64,
    /// Seconds for which commands behind the set are applied; `None` where there are none.
    replay: Option<u64>,
}

impl Work {
    /// What an act has to do; `None` of one that is done at once, or cannot be done.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        let of_set = |source: &SourceFacts, replay: Option<&Replay>, memory| Self {
            bytes: Some(source.rdb_bytes),
            keys: total_keys(&source.counts),
            memory,
            replay: replay.map(|replay| 1 + replay_time(replay.bytes, replay.commands).as_secs()),
        };
        let of_cloud = |bytes| Self { bytes, keys: 0, memory: 0, replay: None };
        match facts {
            Facts::DirectRestore(facts) => Some(of_set(&facts.source, facts.replay.as_ref(), facts.target.used_memory)),
            Facts::LocalClone(facts) => Some(of_set(&facts.source, facts.replay.as_ref(), 0)),
            Facts::CloudRestore(facts) => match &facts.in_place.as_ref().ok()?.source {
                CloudSource::Set(set) => Some(of_cloud(Some(set.as_ref().ok()?.bytes))),
                CloudSource::Moment { .. } => Some(of_cloud(None)),
            },
            Facts::Clone(facts) => match &facts.order.as_ref().ok()?.source {
                CloneSource::Set(set) => Some(of_cloud(Some(set.as_ref().ok()?.bytes))),
                CloneSource::Moment { .. } => Some(of_cloud(None)),
            },
            Facts::NoMoment(_)
            | Facts::VaultDeletion(_)
            | Facts::Pruning(_)
            | Facts::CloudDeletion(_)
            | Facts::PolicyChange(_)
            | Facts::OwnPolicy(_) => None,
        }
    }

    /// The estimate for the act's plan. `earlier`: what acts like it took, newest first.
    #[must_use]
    pub fn estimate(&self, plan: &Plan, earlier: &[Took]) -> Option<Estimate> {
        let way = Way::of(plan)?;
        let bytes = self.bytes.unwrap_or_default();
        // A moment that the target does not come to by itself is built here first: loaded and saved, as by a restore.
        let built = match way {
            Way::Restore(Method::Replication) => 0,
            Way::Restore(_) | Way::Clone if self.replay.is_some() => bytes / RESTORED_A_SECOND,
            _ => 0,
        };
        let more = self.replay.unwrap_or_default() + built;
        let noun = way.kind().as_str();
        let known = Estimate::by_earlier(noun, self.bytes, more, earlier);
        let estimate = known.unwrap_or_else(|| match way {
            Way::Restore(method) => Estimate::by_size(self.restored(method, plan.tells_of_traffic()) + more),
            Way::Clone => Estimate::by_size(1 + bytes / CLONED_A_SECOND + more),
            Way::CloudRestore { .. } | Way::CloudClone { .. } => Estimate::unknown(noun),
        });
        Some(Estimate { meanwhile: self.meanwhile(way, plan), ..estimate })
    }

    /// Seconds of a restore of the set alone, by its size.
    fn restored(&self, method: Method, traffic: bool) -> u64 {
        let bytes = self.bytes.unwrap_or_default();
        let set = match method {
            Method::Replication => bytes / RESTORED_A_SECOND,
            Method::Commands | Method::Beside => (bytes / RESTORED_A_SECOND).max(self.keys / WRITTEN_A_SECOND),
            Method::Keys => bytes / SIFTED_A_SECOND,
        };
        let backup = if traffic { capture_seconds(self.memory) } else { 0 };
        1 + set + backup
    }

    /// What clients see while the act goes on, as part of a sentence.
    fn meanwhile(&self, way: Way, plan: &Plan) -> String {
        let fenced = matches!(plan.act, Act::RestoreInstance { write_fence: true, .. });
        let built = |then: &str| match self.replay {
            Some(_) => format!("clients notice nothing until the moment has been built here; then {then}"),
            None => then.to_owned(),
        };
        match way {
            Way::Restore(Method::Replication) => {
                let first = if fenced {
                    "writers wait while the last safety backup is taken, unless nothing was written since the plan's; then "
                } else {
                    ""
                };
                let refusing = refusing_seconds(self.bytes.unwrap_or_default(), self.replay.unwrap_or_default());
                format!(
                    "{first}clients stay connected, their writes are refused (READONLY) for about {refusing} s, and while the set loads \
                     their reads too (LOADING); then they are served what was restored"
                )
            }
            Way::Restore(Method::Beside) => built(
                "clients read and write the old data until one swap puts what is restored in its place, and stay connected",
            ),
            Way::Restore(Method::Commands) => built(
                "clients stay connected and find no keys, then those that are written so far; what they write may be overwritten",
            ),
            // What is written has other names than the keys that match.
            Way::Restore(Method::Keys) if plan.act.keys().is_some_and(|keys| !keys.removes()) => built(
                "clients are served as ever: keys under the prefix are written one by one, and all others stay as they are",
            ),
            Way::Restore(Method::Keys) => built(
                "clients are served as ever: keys that do not match stay as they are, those that match change one by one",
            ),
            Way::Clone | Way::CloudClone { .. } => "clients notice nothing: the source is left alone".to_owned(),
            Way::CloudRestore { .. } => {
                let locked = if fenced { ", and writes are locked until it is over" } else { "" };
                format!("clients are not served while the instance is BackupRecovering{locked}")
            }
        }
    }
}

/// The kind of job by which a planned act is carried out; `None` of one whose time is not estimated.
#[must_use]
pub fn kind(plan: &Plan) -> Option<JobKind> {
    Way::of(plan).map(Way::kind)
}

/// What an earlier act took, where it tells of one that is planned: the same way, and of a set alone where a log takes its own time. `job`
/// carried out `earlier`.
#[must_use]
pub fn took(planned: &Plan, earlier: &Plan, job: &Job) -> Option<Took> {
    let (way, then) = (Way::of(planned)?, Way::of(earlier)?);
    if way != then || earlier.preconditions.replayed_behind().is_some() {
        return None;
    }
    let bytes = match &earlier.preconditions {
        // The cloud shows no bytes of such a job.
        Preconditions::CloudRestore { set, .. } | Preconditions::Clone { set, .. } => set.as_ref().map(|set| set.bytes),
        _ => Some(job.done),
    };
    Took::of(job, bytes)
}
