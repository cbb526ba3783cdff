//! Assessment of the deletion of a backup set.

use crate::guard::assess::Assessment;
use crate::guard::assess::wording::backup_exists;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::backup::{CloudDeletion, VaultDeletion};
use crate::guard::impact::Impact;
use crate::guard::preconditions::{Others, Preconditions, SetIdentity};
use crate::model::backup::Mode;
use crate::model::text::bytes;
use crate::model::time::written;
use jiff::Timestamp;
use std::collections::BTreeMap;

const NO_WAY_BACK: &str = "none; download_backup keeps a copy if called before";

/// Assesses the deletion of a set of this program's vault.
pub(super) fn of_vault(facts: &VaultDeletion) -> Assessment {
    let VaultDeletion { mode, sha256, taken_at, keys, rdb_bytes, others } = facts;
    let refusal = match mode {
        Mode::Manual => None,
        Mode::Safety => {
            Some("taken by the guard before a restore, so that it can be undone: only manual backups can be deleted")
        }
        Mode::Automated => Some(AUTOMATED),
    };
    Assessment {
        address: "the vault of this machine".into(),
        checks: vec![manual_backup(refusal), other_backups(*others)],
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
            lost: format!("the backup of {}, {keys} keys, {}, for ever", written(*taken_at), bytes(*rdb_bytes)),
            how: "delete".into(),
            how_meaning: "its folder is removed from the vault".into(),
            way_back: NO_WAY_BACK.into(),
        },
        details: BTreeMap::new(),
        alternative: None,
    }
}

/// Assesses the deletion of a set that the cloud keeps.
pub(super) fn of_cloud(facts: &CloudDeletion, now: Timestamp) -> Assessment {
    let CloudDeletion { state, set, refused, others } = facts;
    let automated = !set.as_ref().is_ok_and(|set| set.manual);
    let refusal = refused.as_ref().map(|no| no.why.as_str()).or_else(|| automated.then_some(AUTOMATED));
    let mut checks = vec![manual_backup(refusal)];
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
            impact.lost = format!("the backup of {}, {}, for ever", written(whole.taken_at), bytes(whole.bytes));
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

const AUTOMATED: &str = "taken by the backup policy: only manual backups can be deleted";

fn manual_backup(refusal: Option<&str>) -> Precheck {
    super::pass_or_block(CheckName::ManualBackup, refusal, "taken by hand")
}

/// Warns when no other set would stay.
fn other_backups(left: usize) -> Precheck {
    if left == 0 {
        let detail = "it is the only backup of the instance: nothing could be restored any more";
        return Precheck::new(CheckName::OtherBackups, Status::Warn, detail);
    }
    Precheck::new(CheckName::OtherBackups, Status::Pass, format!("{left} others stay"))
}
