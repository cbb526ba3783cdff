//! Assessment: facts in, checks, preconditions and impact out. The one place that decides which checks an act needs and their
//! verdicts. Nothing is read here, and no provider can leave a check out or add one.

mod clone;
mod cloud;
mod deletion;
mod direct;
mod keys;
mod local_clone;
mod policy;
mod pruning;
mod replay;
mod safety;
mod target;
mod wording;

pub use wording::elsewhere;

use crate::guard::act::{Act, CloneOrder, Source};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::Facts;
use crate::guard::facts::backup::Pruning;
use crate::guard::facts::clone::LocalClone;
use crate::guard::facts::restore::{CloudRestore, CloudSource, DirectRestore};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::Preconditions;
use crate::guard::rules::Rules;
use crate::guard::writes::{Since, Writes};
use crate::model::fault::{Fault, Kind};
use std::collections::{BTreeMap, BTreeSet};

pub use replay::{instead_of_moment, no_moment};
pub use safety::safety_backup;
pub use wording::{describe_counts, describe_dependent};

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

/// Assesses the facts about an act. With `earlier` they are those of a second look, for a plan. What act and facts both say, such
/// as whether writes are locked, is the act's.
///
/// # Errors
/// `act.unsupported` where the facts are none about this act: which checks are mandatory is for the act to say, so a provider
/// that reads something else has not been able to have any of them made.
pub fn assess(act: &Act, facts: &Facts, earlier: Option<Earlier<'_>>, rules: Rules) -> Result<Assessment, Fault> {
    Ok(match (act, facts) {
        (Act::RestoreInstance { source, write_fence, source_instance_id, keys }, Facts::DirectRestore(facts))
            if is_direct(facts, source) && keys.is_some() == facts.keys.is_some() =>
        {
            let mut assessment = direct::assess(facts, *write_fence, earlier, rules);
            if let (Some(some), Some(found)) = (keys, &facts.keys) {
                keys::assess(some, found, facts, &mut assessment);
            }
            if let Some(behind) = &facts.replay {
                // Of some keys, or of another instance, nobody counts what goes.
                let takes_back = keys.is_none() && source_instance_id.is_none();
                assessment.checks.extend(replay::checks(source, facts, behind, takes_back));
                assessment.details.extend(replay::taken_back(behind).filter(|_| takes_back));
                assessment.impact.after.push_str(&replay::on_arrival(source, behind));
            }
            assessment
        }
        (
            Act::RestoreInstance { source, .. } | Act::CreateInstanceFromBackup { order: CloneOrder { source, .. } },
            Facts::NoMoment(facts),
        ) if !matches!(source, Source::Backup { .. }) => replay::none(act, facts),
        (Act::RestoreInstance { source, write_fence, keys, .. }, Facts::CloudRestore(facts))
            if is_from(facts, source) && keys.is_some() == facts.filter.is_some() =>
        {
            cloud::assess(facts, *write_fence, rules)
        }
        (Act::DeleteBackup { .. }, Facts::VaultDeletion(facts)) => deletion::of_vault(facts),
        (Act::Prune { keep, backup_ids }, Facts::Pruning(facts)) if is_of_all(facts, backup_ids) => {
            pruning::assess(facts, keep)
        }
        (Act::DeleteBackup { .. }, Facts::CloudDeletion(facts)) => deletion::of_cloud(facts),
        (Act::ModifyBackupPolicy { .. }, Facts::PolicyChange(facts)) => policy::assess(facts),
        (Act::ModifyBackupPolicy { .. }, Facts::OwnPolicy(facts)) => policy::assess_own(facts),
        (Act::CreateInstanceFromBackup { .. }, Facts::Clone(facts)) => clone::assess(facts, earlier),
        (Act::CreateInstanceFromBackup { order }, Facts::LocalClone(facts)) if is_local(facts, &order.source) => {
            local_clone::assess(facts, &order.source, earlier)
        }
        _ => {
            let message = format!("what was read is not about the {}; nothing was changed", act.noun());
            return Err(Fault::new(Kind::Unexpected, "act.unsupported", message));
        }
    })
}

impl Assessment {
    /// Has the person told of what was written between an earlier plan, withdrawn since, and this one: a slow writer may have
    /// written nothing while traffic was measured, and would void every plan.
    pub fn tell_of_writes_since(&mut self, then: Writes) {
        let Some(writes) = self.writes.as_mut().filter(|w| !w.traffic) else { return };
        let Since::Counted(n) = writes.since(then) else { return };
        let seconds = writes.seconds_since(then);
        writes.traffic = true;
        if let Some(check) = self.checks.iter_mut().find(|c| c.name == CheckName::WriteTraffic) {
            let detail = format!("{}; {n} writes in the {seconds:.0} s since the earlier plan", check.detail);
            *check = Precheck::new(CheckName::WriteTraffic, Status::Warn, detail);
        }
    }
}

/// Whether facts are about a restore from that source: from a set that very one, else one with commands behind it.
fn is_direct(facts: &DirectRestore, source: &Source) -> bool {
    match source {
        Source::Backup { backup_id } => facts.source.backup_id == *backup_id && facts.replay.is_none(),
        Source::Moment { .. } | Source::Before { .. } => facts.replay.is_some(),
    }
}

/// Whether facts are about a clone of that source.
fn is_local(facts: &LocalClone, source: &Source) -> bool {
    match source {
        Source::Backup { backup_id } => facts.source.backup_id == *backup_id && facts.replay.is_none(),
        Source::Moment { .. } | Source::Before { .. } => facts.replay.is_some(),
    }
}

/// Whether facts are about a restore from that kind of source. Of one that cannot be done in place no source is read.
fn is_from(facts: &CloudRestore, source: &Source) -> bool {
    match (&facts.in_place, source) {
        (Err(_), _) => true,
        (Ok(in_place), Source::Backup { .. }) => matches!(in_place.source, CloudSource::Set(_)),
        (Ok(in_place), Source::Moment { .. }) => matches!(in_place.source, CloudSource::Moment { .. }),
        (Ok(_), Source::Before { .. }) => false,
    }
}

/// Whether facts are about these sets, each of them and no other.
fn is_of_all(facts: &Pruning, backup_ids: &[String]) -> bool {
    let going = facts.going.iter().map(|going| &going.set.backup_id);
    let read: BTreeSet<&String> = going.chain(facts.staying.iter().map(|(id, _)| id)).collect();
    let named: BTreeSet<&String> = backup_ids.iter().collect();
    // Each once.
    read == named && [named.len(), facts.going.len() + facts.staying.len()] == [backup_ids.len(); 2]
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
