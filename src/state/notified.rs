//! What somebody is told, as a trait: each event once, whichever process notices it and however often. What is to be told waits here until it
//! was, so that it outlives a process.
//!
//! It must not know what events there are, nor by which ways they are told.

use crate::model::fault::Fault;
use crate::model::job::Job;
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// So much waits for one way at most; what comes beyond is told together, by its number.
pub const WAITING_MAX: u32 = 64;

/// So much of that is told together at most.
pub const MORE_MAX: u32 = 1000;

/// Begins the names of jobs as those that are interrupted.
pub const INTERRUPTED: &str = "interrupted/";

/// What was noticed, by a name of its own.
#[derive(Debug, Clone, Copy)]
pub enum Noticed<'a> {
    /// Something that happens once, such as the end of a job, whose id is its name.
    Once(&'a str),
    /// The same, where only the last that happened is worth telling: it takes the place of those that wait still.
    Latest(&'a str),
    /// An alarm that is on, since when; it can be on again once it was off.
    On(&'a str, Timestamp),
    /// The same alarm is off.
    Off(&'a str),
}

/// The name under which it is noticed that a job's process died and that nobody could reconcile it yet.
#[must_use]
pub fn interrupted(job_id: &str) -> String {
    format!("{INTERRUPTED}{job_id}")
}

/// What waits for a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Its name among what that way tells.
    pub key: String,
    /// What.
    pub body: String,
}

/// What is to be told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToTell {
    /// This.
    One(Untold),
    /// That there are so many more: these, by name.
    More(Vec<Untold>),
}

impl ToTell {
    /// All that is told with it.
    #[must_use]
    pub fn all(&self) -> &[Untold] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// What was told last, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub body: String,
    /// When that ended.
    pub at: Timestamp,
    /// Why it was not told; empty where it was.
    pub failure: String,
}

/// What is told, and was. What is written is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Notified: Send + Sync {
    /// Since when somebody is told; the first call writes down that moment, and so does one that finds a later one there, which is of a clock
    /// that was ahead. What was before it is not told.
    async fn notified_since(&self, now: Timestamp) -> Result<Timestamp, Fault>;

    /// Jobs that ended from a moment on and that nobody has noticed, oldest first: some at a time.
    async fn unnoticed_jobs(&self, since: Timestamp) -> Result<Vec<Job>, Fault>;

    /// Jobs whose process died and that could not be reconciled yet, and of which nobody has noticed that, by the name that [`interrupted`] gives.
    async fn interrupted_jobs(&self) -> Result<Vec<Job>, Fault>;

    /// Writes down what was noticed, and lets each of these ways tell it; `false`, and nothing was written, where somebody had noticed it before.
    async fn notice(&self, what: Noticed<'_>, body: &str, ways: &[&str]) -> Result<bool, Fault>;

    /// The alarms that are on, and since when.
    async fn alarms(&self) -> Result<BTreeMap<String, Timestamp>, Fault>;

    /// Takes what is to be told next by a way. Whoever takes it tells it, and nobody else does.
    async fn take_to_tell(&self, way: &str) -> Result<Option<ToTell>, Fault>;

    /// Gives back what was taken and not tried.
    async fn put_back(&self, way: &str, untried: &ToTell) -> Result<(), Fault>;

    /// Writes down what came of what was taken: it was told, or why not. What was given up meanwhile stays so.
    async fn told(&self, way: &str, tried: &ToTell, outcome: Result<(), &str>) -> Result<(), Fault>;

    /// Gives up all that somebody was telling by a way, and says why: nobody knows what came of it.
    async fn give_up(&self, way: &str, why: &str) -> Result<(), Fault>;

    /// What was told last by a way, and what was not told last.
    async fn told_last(&self, way: &str) -> Result<(Option<Told>, Option<Told>), Fault>;
}
