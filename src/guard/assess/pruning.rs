//! Assessment of a pruning: the deletion of several sets that no rule keeps.
//!
//! Which set goes was judged by [`crate::guard::pruning`]; here no set goes of which that no longer holds, nor the last good one.

use crate::guard::assess::Assessment;
use crate::guard::assess::deletion::{NO_WAY_BACK, count_on_it};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::backup::{Dependent, Going, Pruning};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::Preconditions;
use crate::model::pruning::{Keep, PRUNED_AT_ONCE};
use crate::model::text::bytes;
use crate::model::time::written;
use std::collections::BTreeMap;

/// Most sets that the person is told by name in one sentence.
const SHOWN: usize = 6;

/// Assesses the pruning of an instance's sets.
pub(super) fn assess(facts: &Pruning, keep: &Keep) -> Assessment {
    let Pruning { going, staying, others } = facts;
    let dependents: Vec<Dependent> = going.iter().flat_map(|set| set.dependents.iter().cloned()).collect();
    Assessment {
        address: "the vault of this machine".into(),
        checks: vec![keep_rules(going, staying), count_on_it(&dependents), good_ones_stay(*others)],
        preconditions: Preconditions::Pruning { sets: going.iter().map(|set| set.set.clone()).collect() },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: format!("{others} good backups beside {}", counted(going.len())),
            after: "they are gone from the vault".into(),
            lost: lost(going),
            how: "delete".into(),
            how_meaning: format!("one after another, the oldest first; what stays is by {keep}"),
            way_back: NO_WAY_BACK.into(),
            keys: None,
        },
        details: BTreeMap::new(),
        alternative: Some(Alternative {
            why: "Something has changed since the sets were listed.".into(),
            call: "prune again, which looks anew at what goes".into(),
        }),
    }
}

/// How many sets, for the reader.
fn counted(n: usize) -> String {
    if n == 1 { "the one that goes".to_owned() } else { format!("the {n} that go") }
}

/// What is lost, the oldest first.
fn lost(going: &[Going]) -> String {
    let (Some(first), Some(last)) = (going.first(), going.last()) else { return "nothing".to_owned() };
    let size = bytes(going.iter().map(|set| set.stored_bytes).sum());
    let ids: Vec<&str> = going.iter().take(SHOWN).map(|set| set.set.backup_id.as_str()).collect();
    let more = match going.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let taken = match going.len() {
        1 => format!("the backup of {}", written(first.taken_at)),
        n => format!("{n} backups, from {} to {}", written(first.taken_at), written(last.taken_at)),
    };
    format!("{taken}, {size} as stored, for ever: {}{more}", ids.join(", "))
}

/// Blocks where a set does not go any more.
fn keep_rules(going: &[Going], staying: &[(String, String)]) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::KeepRules, status, detail);
    if let Some((id, why)) = staying.first() {
        let more = match staying.len() - 1 {
            0 => String::new(),
            n => format!("; and {n} more do not go"),
        };
        return check(Status::Block, format!("backup {id} does not go: {why}{more}"));
    }
    match going.len() {
        0 => check(Status::Block, "no backup goes".into()),
        n if n > PRUNED_AT_ONCE => check(Status::Block, format!("at most {PRUNED_AT_ONCE} backups go by one plan")),
        n => check(Status::Pass, format!("no rule keeps any of the {n}")),
    }
}

/// Blocks where no good set would stay.
fn good_ones_stay(others: usize) -> Precheck {
    if others == 0 {
        let detail = "no good backup of the instance would stay: nothing could be restored any more";
        return Precheck::new(CheckName::OtherBackups, Status::Block, detail);
    }
    Precheck::new(CheckName::OtherBackups, Status::Pass, format!("{others} others stay, and are good"))
}
