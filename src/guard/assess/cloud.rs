//! Assessment of a restore in place of an instance of the cloud.

use crate::guard::assess::Assessment;
use crate::guard::assess::wording::{
    backup_exists, check_time_shift, cloud_ready, restore_time, rollback_pending, short_id,
};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::facts::restore::{CloudRestore, CloudSource, CountedKeys, InPlace, MeasuredWrites};
use crate::guard::impact::{Alternative, Impact};
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::guard::rules::Rules;
use crate::guard::writes::Writes;
use crate::model::key_filter::KeyFilter;
use crate::model::text::bytes;
use crate::model::time::written;
use std::collections::BTreeMap;

/// The mandatory checks, in the order in which they are shown.
pub(super) fn assess(facts: &CloudRestore, write_fence: bool, rules: Rules) -> Assessment {
    let now = facts.state.read_at;
    let mut checks = vec![cloud_ready(&facts.state)];
    checks.extend(facts.pending_rollback.as_deref().map(rollback_pending));
    let instance = facts.state.instance.clone();
    let filter = facts.filter.as_ref();
    let in_place = match &facts.in_place {
        Ok(in_place) => in_place,
        Err(no) => {
            checks.push(Precheck::new(CheckName::RestoreInPlace, Status::Block, &no.why));
            // The call that is offered instead takes no filter_key; a wrong expression is worth knowing all the same.
            checks.extend(filter.map(filter_key));
            let details = filter.map(filter_details).unwrap_or_default();
            let alternative = no.call.clone().map(|call| Alternative { why: no.why.clone(), call });
            return Assessment {
                address: instance.address.clone(),
                checks,
                preconditions: Preconditions::CloudRestore { instance, set: None },
                writes: None,
                needs_safety_backup: false,
                impact: Impact::default(),
                details,
                alternative,
            };
        }
    };
    checks.push(Precheck::new(CheckName::RestoreInPlace, Status::Warn, &in_place.remark));
    let mut details = BTreeMap::new();
    let mut set = None;
    let (after, since) = match &in_place.source {
        CloudSource::Set(listed) => {
            checks.push(backup_exists(listed, now));
            set = listed.as_ref().ok().map(SetIdentity::from);
            listed.as_ref().map_or_else(
                |_| Default::default(),
                |set| {
                    let taken = written(set.taken_at);
                    details.insert("backup_taken_at".to_owned(), taken.clone());
                    (format!("backup {} of {taken}, {}", short_id(&set.backup_id), bytes(set.bytes)), taken)
                },
            )
        }
        CloudSource::Moment { at, time_shift, log_start } => {
            checks.push(restore_time(*at, *log_start, now));
            if let Some(shift) = time_shift {
                checks.push(check_time_shift(*shift, *at, now));
                details.insert("time_shift".to_owned(), written(*shift));
            }
            // The start of the recovery window is no precondition: the window moves on by itself.
            let moment = written(*at);
            (format!("the data of {moment}, from the archive of changes"), moment)
        }
    };
    if let Some(filter) = filter {
        checks.push(filter_key(filter));
        details.extend(filter_details(filter));
    }
    checks.push(write_traffic(in_place.traffic, rules.max_writes_per_second, write_fence));
    if write_fence {
        let detail = "writes are refused from the restore's beginning to its end, and let in again after it, also if this program dies";
        checks.push(Precheck::new(CheckName::WriteFence, Status::Pass, detail));
    }
    Assessment {
        address: instance.address.clone(),
        checks,
        preconditions: Preconditions::CloudRestore { instance, set },
        // The cloud has no counter of writes, only rates: the next look measures from this moment.
        writes: Some(Writes { traffic: in_place.traffic.peak != Some(0.0), ..Writes::counted(0, now) }),
        needs_safety_backup: true,
        impact: impact(&facts.instance_id, in_place, write_fence, filter.is_some(), after, &since),
        details,
        alternative: None,
    }
}

fn impact(
    instance_id: &str,
    in_place: &InPlace,
    write_fence: bool,
    keys_only: bool,
    after: String,
    since: &str,
) -> Impact {
    let now = match in_place.keys {
        None => "a number of keys that the cloud has not measured".into(),
        Some(CountedKeys { keys, at }) => {
            let at = at.map(|at| format!(" (the cloud's figure of {})", written(at))).unwrap_or_default();
            format!("{keys} keys{at}")
        }
    };
    let lost = if keys_only {
        format!("only keys that match filter_key are deleted and made again as of {since}; all others stay")
    } else {
        format!("all of what is there now, and every change since {since}")
    };
    let locked = if write_fence { ", and writes are locked until it is over" } else { "" };
    Impact {
        now,
        after,
        lost,
        how: "RestoreInstance".into(),
        how_meaning: format!(
            "Alibaba Cloud overwrites the instance; it does not serve while it is BackupRecovering{locked}"
        ),
        way_back: remark(instance_id, keys_only),
        keys: None,
    }
}

/// What the person should know about the way back.
fn remark(id: &str, keys_only: bool) -> String {
    let refused = format!(
        "the cloud may refuse a restore in place; then create_instance_from_backup with instance_id {id} and the same backup_id"
    );
    if keys_only {
        return format!("{refused}; restoring it would overwrite every key, not only those that match filter_key");
    }
    refused
}

fn filter_key(filter: &KeyFilter) -> Precheck {
    let undocumented = "Alibaba Cloud does not document whether a pattern must match the whole key".to_owned();
    let KeyFilter { items, warnings, unchecked } = filter;
    // That nothing here can look at a construct is no fault of it: it is told, here and in the question, and is no verdict.
    let (status, first) = match (warnings.is_empty(), unchecked.is_empty()) {
        (true, true) => (Status::Pass, Some(format!("{} items, regular expressions", items.len()))),
        (true, false) => (Status::Pass, None),
        (false, _) => (Status::Warn, None),
    };
    let parts: Vec<String> =
        first.into_iter().chain(warnings.iter().chain(unchecked).cloned()).chain([undocumented]).collect();
    Precheck::new(CheckName::FilterKey, status, parts.join("; "))
}

/// The expressions as they are sent, and what the person has to know that no check can tell.
fn filter_details(filter: &KeyFilter) -> BTreeMap<String, String> {
    let unchecked = (!filter.unchecked.is_empty()).then(|| filter.unchecked.join("; "));
    let named = [("filter_key", Some(filter.items.join(","))), ("filter_key_unchecked", unchecked)];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Write traffic as the cloud has measured it, which lags. What is not known is not "no writes".
fn write_traffic(measured: MeasuredWrites, limit: Option<f64>, fenced: bool) -> Precheck {
    let MeasuredWrites { peak, window_seconds, delay_seconds } = measured;
    let check = |status, detail: String| Precheck::new(CheckName::WriteTraffic, status, detail);
    let lost = if fenced {
        "the write fence will stop writers, and what they wrote since the safety backup is in no backup"
    } else {
        "what is written after the safety backup is overwritten and in no backup"
    };
    let Some(peak) = peak else {
        let unknown = format!(
            "NOT KNOWN: no figures of the cloud that can be read cover the last {window_seconds:.0} s, so there may be any number of writes"
        );
        return match limit {
            Some(limit) if !fenced => check(
                Status::Block,
                format!("{unknown}, {limit} a second allowed (max_writes_per_second): look at its monitoring"),
            ),
            _ => check(Status::Warn, format!("{unknown}; {lost}")),
        };
    };
    let measured = format!(
        "PutQps at most {peak} over the last {window_seconds:.0} s; the cloud's newest figure is {delay_seconds:.0} s old, and what was \
         written since is in none"
    );
    match limit {
        Some(limit) if peak > limit && !fenced => {
            check(Status::Block, format!("{measured}, {limit} allowed (max_writes_per_second): stop the writers first"))
        }
        _ if peak > 0.0 => check(Status::Warn, format!("{measured}; {lost}")),
        _ => check(Status::Pass, measured),
    }
}
