//! Two states of instances that are to be compared, and what comparing them came to. Types only: each kind of place compares in its own way.

use crate::guard::act::Source;
use crate::model::impact::KeyImpact;
use jiff::Timestamp;

/// Called with what a piece of work is doing, and how many bytes came so far; 0 where none are counted.
pub type OnStage<'a> = dyn Fn(&'static str, u64) + Send + Sync + 'a;

/// A state of an instance's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// A set, or a moment of its log.
    Then(Source),
    /// What it holds now.
    Now,
}

/// A state, and of which instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateOf {
    /// The instance's id.
    pub instance_id: String,
    /// Which of its states.
    pub state: State,
}

/// A state that was compared.
#[derive(Debug, Clone)]
pub struct ComparedState {
    /// The instance's id.
    pub instance_id: String,
    /// The set, or the one that the moment was built from; `None` for what the instance held.
    pub backup_id: Option<String>,
    /// The moment that the data is of, by which its expiries are judged.
    pub moment: Timestamp,
}

/// What comparing two states came to.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The first state.
    pub from: ComparedState,
    /// The second state.
    pub to: ComparedState,
    /// What becomes of keys on the way from the first to the second.
    pub keys: KeyImpact,
    /// The later of the moments that expiries were judged by: what only one state has, and has expired by then, is neither lost nor added.
    pub at: Timestamp,
}
