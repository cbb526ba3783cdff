//! Assessment of the deletion of a backup set.

use crate::guard::assess::Assessment;
use crate::guard::assess::wording::{backup_exists, describe_dependent, lost_with_the_set, of_another_region};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::backup::{CloudDeletion, Dependent, VaultDeletion};
use crate::guard::impact::Impact;
use crate::guard::preconditions::{Others, Preconditions, SetIdentity};
use crate::model::backup::Mode;
use crate::model::job::JobStatus;
use crate::model::text::bytes;
use crate::model::time::written;
use std::collections::BTreeMap;

pub(super) const NO_WAY_BACK: &str = "none; download_backup keeps a copy if called before";

/// Most of what counts on a set that the person is told by name.
const SHOWN_DEPENDENTS: usize = 2;

/// Assesses the deletion of a set of this program's vault.
pub(super) fn of_vault(facts: &VaultDeletion) -> Assessment {
    let VaultDeletion { mode, sha256, taken_at, keys, rdb_bytes, others, dependents } = facts;
    let (refusal, how) = match mode {
        Mode::Manual => (None, BY_HAND),
        Mode::Safety => (None, "taken by the guard before a restore, so that it can be undone"),
        Mode::Automated | Mode::Unknown => (Some(AUTOMATED), ""),
    };
    Assessment {
        address: "the vault of this machine".into(),
        checks: vec![manual_backup(refusal, how), count_on_it(dependents), other_backups(*others)],
        preconditions: Preconditions::VaultDeletion {
            sha256: sha256.clone(),
            mode: mode.as_str().into(),
            others: Others::counted(*others),
        },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: format!("{others} other backups beside it"),
            after: "the set is gone from the vault".into(),
            lost: format!(
                "the backup of {}, {keys} keys, {}, for ever{}",
                written(*taken_at),
                bytes(*rdb_bytes),
                lost_with_it(dependents)
            ),
            how: "delete".into(),
            how_meaning: "its folder is removed from the vault".into(),
            way_back: NO_WAY_BACK.into(),
            keys: None,
        },
        details: BTreeMap::new(),
        alternative: None,
    }
}

/// Assesses the deletion of a set that the cloud keeps.
pub(super) fn of_cloud(facts: &CloudDeletion) -> Assessment {
    let CloudDeletion { state, set, refused, others, dependents } = facts;
    let now = state.read_at;
    let automated = !set.as_ref().is_ok_and(|set| set.manual);
    let refusal = refused.as_ref().map(|no| no.why.as_str()).or_else(|| automated.then_some(AUTOMATED));
    let mut checks = vec![manual_backup(refusal, BY_HAND), count_on_it(dependents)];
    checks.extend(of_another_region(&state.instance));
    let mut impact = Impact {
        after: "the set is gone from the cloud".into(),
        how: "DeleteBackup".into(),
        how_meaning: "Alibaba Cloud deletes it for ever".into(),
        way_back: NO_WAY_BACK.into(),
        ..Impact::default()
    };
    match set {
        Ok(whole) => {
            checks.push(other_backups(*others));
            impact.now = format!("{others} other backups beside it");
            impact.lost = format!(
                "the backup of {}, {}, for ever{}",
                written(whole.taken_at),
                bytes(whole.bytes),
                lost_with_it(dependents)
            );
        }
        Err(_) => checks.push(backup_exists(set, now)),
    }
    Assessment {
        address: state.instance.address.clone(),
        checks,
        preconditions: Preconditions::CloudDeletion {
            instance: state.instance.clone(),
            set: set.as_ref().ok().map(SetIdentity::from),
            others: Others::counted(*others),
        },
        writes: None,
        needs_safety_backup: false,
        impact,
        details: BTreeMap::new(),
        alternative: None,
    }
}

const AUTOMATED: &str = "not taken by hand: only manual and safety backups can be deleted";
const BY_HAND: &str = "taken by hand";

fn manual_backup(refusal: Option<&str>, how: &str) -> Precheck {
    super::pass_or_block(CheckName::ManualBackup, refusal, how)
}

/// Warns of what is lost beside the set, and blocks while a restore runs that nothing else could undo.
pub(super) fn count_on_it(dependents: &[Dependent]) -> Precheck {
    let check = |status, detail: String| Precheck::new(CheckName::Dependents, status, detail);
    let running = |d: &&Dependent| matches!(d, Dependent::Restore { status: JobStatus::Running, .. });
    if let Some(restore) = dependents.iter().find(running) {
        return check(Status::Block, format!("{}, counts on it: wait for its end", describe_dependent(restore)));
    }
    if dependents.is_empty() {
        return check(Status::Pass, "no restore and no plan counts on it".into());
    }
    let mut lost: Vec<String> = dependents.iter().take(SHOWN_DEPENDENTS).map(lost_with_the_set).collect();
    let more = dependents.len().saturating_sub(SHOWN_DEPENDENTS);
    lost.extend((more > 0).then(|| format!("the same goes for {more} more")));
    check(Status::Warn, lost.join("; "))
}

/// What is lost beside the set, behind the sentence about the set itself.
fn lost_with_it(dependents: &[Dependent]) -> String {
    let more = match dependents.len() {
        0 | 1 => String::new(),
        n => format!(" ({} more count on it)", n - 1),
    };
    dependents.first().map_or(String::new(), |first| format!("; {}{more}", lost_with_the_set(first)))
}

/// Warns when no other set would stay.
fn other_backups(left: usize) -> Precheck {
    if left == 0 {
        let detail = "it is the only backup of the instance: nothing could be restored any more";
        return Precheck::new(CheckName::OtherBackups, Status::Warn, detail);
    }
    Precheck::new(CheckName::OtherBackups, Status::Pass, format!("{left} others stay"))
}
