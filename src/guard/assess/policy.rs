//! Assessment of a change of a backup policy.

use crate::guard::assess::Assessment;
use crate::guard::assess::wording::cloud_ready;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::policy::{OwnPolicyFacts, PolicyFacts};
use crate::guard::impact::Impact;
use crate::guard::preconditions::Preconditions;
use crate::model::policy::BackupPolicy;
use std::collections::BTreeMap;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &PolicyFacts) -> Assessment {
    let PolicyFacts { state, now, then } = facts;
    let lowered = now.lowered_by(then);
    Assessment {
        address: state.instance.address.clone(),
        checks: vec![cloud_ready(state), protection(&lowered)],
        preconditions: Preconditions::PolicyChange { instance: state.instance.clone(), policy: now.into() },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: describe(now),
            after: describe(then),
            lost: lowered.join("; "),
            how: "ModifyBackupPolicy".into(),
            how_meaning: "the whole policy is written, with what is not named as it is now, and read back".into(),
            way_back: "modify_backup_policy with the values of now; what has expired meanwhile does not come back"
                .into(),
            keys: None,
        },
        details: BTreeMap::new(),
        alternative: None,
    }
}

/// The mandatory check where the log alone can be set, which needs nothing of the instance.
pub(super) fn assess_own(facts: &OwnPolicyFacts) -> Assessment {
    let OwnPolicyFacts { address, now, then } = facts;
    let lowered = now.lowered_by(then);
    let flashback =
        |policy: &BackupPolicy| format!("flashback {}", if policy.enable_backup_log { "on" } else { "off" });
    Assessment {
        address: address.clone(),
        checks: vec![protection(&lowered)],
        preconditions: Preconditions::OwnPolicy { policy: now.into() },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: flashback(now),
            after: flashback(then),
            lost: lowered.join("; "),
            how: "the state store".into(),
            how_meaning: "the log ends where the archiver finds it off; what is archived stays".into(),
            way_back: "modify_backup_policy with enable_backup_log true; what is written meanwhile is in no log".into(),
            keys: None,
        },
        details: BTreeMap::new(),
        alternative: None,
    }
}

fn protection(lowered: &[String]) -> Precheck {
    if lowered.is_empty() {
        Precheck::new(CheckName::Protection, Status::Pass, "it lowers nothing")
    } else {
        Precheck::new(CheckName::Protection, Status::Warn, lowered.join("; "))
    }
}

fn describe(policy: &BackupPolicy) -> String {
    let log = if policy.enable_backup_log { "on" } else { "off" };
    // What the cloud does not tell is not none.
    let known = |n: usize| if n == 0 { "an unknown number of".to_owned() } else { n.to_string() };
    format!(
        "{} on {} days a week, kept {} days, flashback {log}",
        policy.preferred_backup_time,
        known(policy.preferred_backup_period.len()),
        known(usize::try_from(policy.backup_retention_period).unwrap_or(usize::MAX))
    )
}
