//! Assessment of a change of a backup policy.

use crate::guard::assess::Assessment;
use crate::guard::assess::wording::cloud_ready;
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::policy::{OwnPolicyFacts, PersistenceFacts, PolicyFacts};
use crate::guard::impact::Impact;
use crate::guard::preconditions::Preconditions;
use crate::model::persistence::PersistenceSettings;
use crate::model::policy::BackupPolicy;
use std::collections::BTreeMap;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &PolicyFacts) -> Assessment {
    let PolicyFacts { state, now, then, persistence } = facts;
    let persistence = persistence.as_ref();
    let lowered = all_lowered(now.lowered_by(then), persistence);
    Assessment {
        address: state.instance.address.clone(),
        checks: vec![cloud_ready(state), protection(&lowered)],
        preconditions: Preconditions::PolicyChange {
            instance: state.instance.clone(),
            policy: now.into(),
            persistence: in_force(persistence),
        },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: with_persistence(describe(now), persistence.map(|p| &p.now)),
            after: with_persistence(describe(then), persistence.map(|p| &p.then)),
            lost: lowered.join("; "),
            how: if persistence.is_some() { "ModifyBackupPolicy, ModifyInstanceConfig" } else { "ModifyBackupPolicy" }
                .into(),
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
    let OwnPolicyFacts { address, now, then, automated, persistence } = facts;
    let persistence = persistence.as_ref();
    let lowered = all_lowered(now.own_lowered_by(then, *automated), persistence);
    let told = |policy: &BackupPolicy| match policy.has_calendar() {
        true => describe(policy),
        false => format!("no backups by themselves, flashback {}", on_or_off(policy)),
    };
    Assessment {
        address: address.clone(),
        checks: vec![protection(&lowered)],
        preconditions: Preconditions::OwnPolicy { policy: now.into(), persistence: in_force(persistence) },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: with_persistence(told(now), persistence.map(|p| &p.now)),
            after: with_persistence(told(then), persistence.map(|p| &p.then)),
            lost: lowered.join("; "),
            how: if persistence.is_some() { "the server's settings (CONFIG SET), the state store" } else { "the state store" }.into(),
            how_meaning: "from now on; a log that goes off ends where the archiver finds it off, and what is archived stays".into(),
            way_back: "modify_backup_policy with the values of now; what has expired meanwhile does not come back, and what is written while the log is off is in none".into(),
            keys: None,
        },
        details: BTreeMap::new(),
        alternative: None,
    }
}

/// All that a change lowers, as parts of a sentence.
fn all_lowered(mut lowered: Vec<String>, persistence: Option<&PersistenceFacts>) -> Vec<String> {
    lowered.extend(persistence.into_iter().flat_map(|p| p.now.lowered_by(&p.then)));
    lowered
}

/// The settings that must still be in force when the change is made.
fn in_force(persistence: Option<&PersistenceFacts>) -> Option<PersistenceSettings> {
    persistence.map(|p| p.now.clone())
}

/// A policy, and what the server keeps on its disk.
fn with_persistence(policy: String, settings: Option<&PersistenceSettings>) -> String {
    match settings {
        Some(settings) => format!("{policy}; on its disk: {}", settings.describe()),
        None => policy,
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
