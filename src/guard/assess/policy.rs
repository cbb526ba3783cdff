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

/// The mandatory check of a policy that this program keeps, which needs nothing of the instance.
pub(super) fn assess_own(facts: &OwnPolicyFacts) -> Assessment {
    let OwnPolicyFacts { address, now, then, automated } = facts;
    let lowered = now.own_lowered_by(then, *automated);
    let told = |policy: &BackupPolicy| match policy.has_calendar() {
        true => describe(policy),
        false => format!("no backups by themselves, flashback {}", on_or_off(policy)),
    };
    Assessment {
        address: address.clone(),
        checks: vec![protection(&lowered)],
        preconditions: Preconditions::OwnPolicy { policy: now.into() },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: told(now),
            after: told(then),
            lost: lowered.join("; "),
            how: "the state store".into(),
            how_meaning: "from now on; a log that goes off ends where the archiver finds it off, and what is archived stays".into(),
            way_back: "modify_backup_policy with the values of now; what has expired meanwhile does not come back, and what is written while the log is off is in none".into(),
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

const fn on_or_off(policy: &BackupPolicy) -> &'static str {
    if policy.enable_backup_log { "on" } else { "off" }
}

fn describe(policy: &BackupPolicy) -> String {
    let log = on_or_off(policy);
    // What the cloud does not tell is not none.
    let known = |n: usize| if n == 0 { "an unknown number of".to_owned() } else { n.to_string() };
    format!(
        "{} on {} days a week, kept {} days, flashback {log}",
        policy.preferred_backup_time,
        known(policy.preferred_backup_period.len()),
        known(usize::try_from(policy.backup_retention_period).unwrap_or(usize::MAX))
    )
}
