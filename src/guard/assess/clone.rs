//! Assessment of a new instance of the cloud, which costs money.

use crate::guard::assess::wording::{backup_exists, cloud_ready, restore_time, short_id};
use crate::guard::assess::{Assessment, Earlier};
use crate::guard::check::{CheckName, Precheck, Status, blocked};
use crate::guard::facts::clone::{CloneFacts, CloneOrderFacts, CloneSource};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::model::text::clean;
use crate::model::time::written;
use std::collections::BTreeMap;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &CloneFacts, earlier: Option<Earlier<'_>>) -> Assessment {
    let CloneFacts { instance_id, state, order } = facts;
    let now = state.read_at;
    let instance = state.instance.clone();
    let mut checks = vec![cloud_ready(state)];
    let refused = |checks, alternative| Assessment {
        address: state.instance.address.clone(),
        checks,
        preconditions: Preconditions::Clone { instance: state.instance.clone(), set: None, terms: None },
        writes: None,
        needs_safety_backup: false,
        impact: Impact::default(),
        details: BTreeMap::new(),
        alternative,
    };
    let CloneOrderFacts { source, terms, dry_run, name } = match order {
        Ok(order) => order,
        Err(refusal) => {
            checks.push(Precheck::new(CheckName::RestoreInPlace, Status::Block, &refusal.why));
            let alternative = refusal.call.clone().map(|call| Alternative { why: refusal.why.clone(), call });
            return refused(checks, alternative);
        }
    };
    let (set, from) = match source {
        CloneSource::Set(listed) => {
            checks.push(backup_exists(listed, now));
            let set = listed.as_ref().ok();
            let from = set.map_or_else(String::new, |set| {
                format!("backup {} of {}", short_id(&set.backup_id), written(set.taken_at))
            });
            (set.map(SetIdentity::from), from)
        }
        CloneSource::Moment { at, log_start } => {
            checks.push(restore_time(*at, *log_start, now));
            (None, format!("the data of {}", written(*at)))
        }
    };
    match dry_run {
        Some(Ok(())) => {
            let detail = "the cloud has checked the order and would take it";
            checks.push(Precheck::new(CheckName::DryRun, Status::Pass, detail));
        }
        Some(Err(why)) => {
            let detail = format!("the cloud would not take the order: {why}");
            checks.push(Precheck::new(CheckName::DryRun, Status::Block, detail));
        }
        // The plan has the answer of a dry run already; and a blocked order needs none.
        None if earlier.is_some() || blocked(&checks) => {}
        None => {
            let detail = "the cloud was not asked whether it would take the order";
            checks.push(Precheck::new(CheckName::DryRun, Status::Block, detail));
        }
    }
    let class = &terms.instance_class;
    checks.push(Precheck::new(
        CheckName::Billing,
        Status::Warn,
        format!(
            "{class}, pay-as-you-go (PostPaid): billed by the hour from its creation until somebody releases it; this program never releases it"
        ),
    ));
    let place = terms.zone_id.as_deref().map_or_else(|| "its region".into(), clean);
    let name = name.as_deref().map(|n| format!(" named {}", clean(n))).unwrap_or_default();
    Assessment {
        address: instance.address.clone(),
        checks,
        preconditions: Preconditions::Clone { instance, set, terms: Some(Box::new(terms.clone())) },
        writes: None,
        needs_safety_backup: false,
        impact: Impact {
            now: format!("{} stays as it is", clean(instance_id)),
            after: format!("a new instance{name} of class {class} in {place} with {from}"),
            lost: "no data; money: the new instance is billed pay-as-you-go until somebody releases it".into(),
            how: terms.call.as_str().into(),
            how_meaning: "Alibaba Cloud makes it and fills it from the backup, which takes minutes to hours".into(),
            way_back: "release the new instance in the console; this program releases nothing".into(),
            keys: None,
        },
        details: terms.by_name().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        alternative: None,
    }
}
