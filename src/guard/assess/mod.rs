//! Assessment: facts in, checks, preconditions and impact out. The one place that decides which checks an act needs and their
//! verdicts. Nothing is read here, and no provider can leave a check out or add one.

mod clone;
mod cloud;
mod deletion;
mod direct;
mod policy;
mod wording;

use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::Facts;
use crate::guard::facts::restore::{SafetyFacts, SafetyStatus};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::Preconditions;
use crate::guard::rules::Rules;
use crate::guard::writes::Writes;
use crate::model::time::written;
use jiff::Timestamp;
use std::collections::BTreeMap;

pub use wording::describe_counts;

/// What the plan's own look at the same act found, where a plan exists.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// The plan's preconditions.
    pub preconditions: &'a Preconditions,
    /// The plan's reading of the counter of writes.
    pub writes: Option<Writes>,
}

/// What assessing the facts of an act resulted in.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// Where the instance, or the set, is, without credentials.
    pub address: String,
    /// The pre-checks, without that of the safety backup.
    pub checks: Vec<Precheck>,
    /// What must still hold when the act is carried out.
    pub preconditions: Preconditions,
    /// A reading of the instance's counter of writes, where there is one.
    pub writes: Option<Writes>,
    /// Whether the data that will be overwritten must be backed up first.
    pub needs_safety_backup: bool,
    /// What the act would change and cost, for the person.
    pub impact: Impact,
    /// Further facts of the plan for the reader, by name.
    pub details: BTreeMap<String, String>,
    /// Another call that does what the act cannot do here.
    pub alternative: Option<Alternative>,
}

/// Assesses the facts of an act. With `earlier`, the facts are those of a second look, for an existing plan.
#[must_use]
pub fn assess(facts: &Facts, earlier: Option<Earlier<'_>>, rules: Rules, now: Timestamp) -> Assessment {
    match facts {
        Facts::DirectRestore(facts) => direct::assess(facts, earlier, rules),
        Facts::CloudRestore(facts) => cloud::assess(facts, rules, now),
        Facts::VaultDeletion(facts) => deletion::of_vault(facts),
        Facts::CloudDeletion(facts) => deletion::of_cloud(facts, now),
        Facts::PolicyChange(facts) => policy::assess(facts),
        Facts::Clone(facts) => clone::assess(facts, earlier, now),
    }
}

/// Judges the safety backup: that of the data which the instance holds now.
#[must_use]
pub fn safety_backup(s: &SafetyFacts) -> Precheck {
    let (status, detail) = match &s.status {
        SafetyStatus::Running => (Status::Pending, format!("{} is being taken (job {})", s.backup_id, s.job_id)),
        SafetyStatus::Failed(why) => (Status::Block, format!("the current data could not be backed up: {why}")),
        SafetyStatus::Whole { keys, taken_at, reused } => {
            let keys = keys.map_or(String::new(), |n| format!(", {n} keys"));
            let how = if *reused { "used again: no write since" } else { "taken for this plan" };
            (Status::Pass, format!("{} of {}{keys}, {how}", s.backup_id, written(*taken_at)))
        }
    };
    Precheck::new(CheckName::SafetyBackup, status, detail)
}

/// A check that passes, or blocks with a reason.
fn pass_or_block(name: CheckName, block: Option<&str>, pass: impl Into<String>) -> Precheck {
    match block {
        Some(why) => Precheck::new(name, Status::Block, why),
        None => Precheck::new(name, Status::Pass, pass),
    }
}

fn details<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
