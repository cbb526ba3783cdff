//! The recovery record of a backup: what was listed before the call, so that whatever is new can be known as ours.

use crate::model::fault::{Fault, Kind};
use crate::model::job::RecoveryKind;
use crate::model::time::written;
use crate::provider::jobs::Recoverable;
use crate::tair::wire::backups::is_manual;
use crate::tair::wire::clusters::ClusterBackup;
use crate::tair::wire::moment;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far back rows are read: a job that is joined may have begun this long before the call.
const BEFORE: SignedDuration = SignedDuration::from_hours(48);
/// A job that begins so long before or after the call, by the cloud's clock, is not the call's own.
const NEAR: SignedDuration = SignedDuration::from_mins(30);

/// What a later process needs to go on with a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// When `CreateBackup` was called, by the cloud's clock.
    pub called_at: Timestamp,
    /// Whether sets are listed as a cloud-native cluster's.
    pub cluster: bool,
    /// How many shards the instance has, where there are several.
    pub shards: Option<usize>,
    /// The jobs, or a cluster's sets, that were listed before the call.
    pub known: BTreeSet<String>,
    /// The jobs that are followed; empty while their ids are not known.
    pub jobs: Vec<i64>,
    /// Whether what is followed ran before the call, whoever asked for it.
    #[serde(default)]
    pub joined: bool,
}

/// The new jobs that one call has made.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// Their ids.
    pub jobs: Vec<i64>,
    /// Whether they are shown to be of all shards; of others more may still be listed.
    pub is_whole: bool,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudBackup;
}

impl Record {
    /// Whether a new job or set may have come of our call: asked for by hand, and begun when we called. A field that the cloud
    /// leaves out does not speak against the job; a mode that nobody has published does.
    pub fn may_be(&self, mode: Option<&str>, began: Option<&str>) -> bool {
        (mode.is_none() || is_manual(mode))
            && moment(began).is_none_or(|at| at.duration_since(self.called_at).abs() <= NEAR)
    }

    /// Which new jobs one call has made, of jobs and the nodes that each is shown with: the first, and on an instance whose shards have a job
    /// each those of its other shards. Of a job that is not shown to be of another shard nobody knows that, so it is somebody else's.
    pub fn made<'a>(&self, instance_id: &str, shown: impl Iterator<Item = (Option<i64>, Option<&'a str>)>) -> Made {
        let mut new: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for (id, node) in shown {
            if let Some(id) = id.filter(|id| *id > 0 && !self.known.contains(&id.to_string())) {
                new.entry(id).or_default().extend(node.filter(|node| !node.is_empty()));
            }
        }
        // A job whose node is the instance itself is one for all shards.
        let is_of_shards = |nodes: &BTreeSet<&str>| !nodes.is_empty() && !nodes.contains(instance_id);
        let (mut jobs, mut covered) = (Vec::new(), BTreeSet::new());
        for (id, nodes) in new {
            let is_of_others = is_of_shards(&covered) && is_of_shards(&nodes) && nodes.is_disjoint(&covered);
            if jobs.is_empty() || (is_of_others && jobs.len() < self.shards.unwrap_or(1)) {
                jobs.push(id);
                covered.extend(nodes);
            }
        }
        let are_all = covered.contains(instance_id) || covered.len() >= self.shards.unwrap_or_default();
        Made { is_whole: are_all && !jobs.is_empty(), jobs }
    }

    /// Whether a cluster's set is, or may be, the one that is followed: one that began beside ours is somebody else's.
    pub fn may_be_set(&self, row: &ClusterBackup) -> bool {
        let (mode, began) = (row.cluster_backup_mode.as_deref(), row.cluster_backup_start_time.as_deref());
        !self.known.contains(&row.cluster_backup_id) && (self.joined || self.may_be(mode, began))
    }
}

/// The range of what may be of a job that was called for at a moment, or joined then. `now` is the cloud's.
pub fn since(called_at: Timestamp, now: Timestamp) -> (Timestamp, Timestamp) {
    let from = called_at.min(now);
    let day = SignedDuration::from_hours(24);
    (from.saturating_sub(BEFORE).unwrap_or(from), now.saturating_add(day).unwrap_or(now))
}

/// The fault of a call whose reply was lost and of which nothing has come.
pub fn lost_call(called_at: Timestamp) -> Fault {
    Fault::new(
        Kind::Uncertain,
        "cloud.uncertain",
        format!(
            "the reply to the call of {} was lost, and no backup has appeared since: most likely it never arrived",
            written(called_at)
        ),
    )
    .hint("Look with describe_backups once more; if there is no new set, call create_backup again.")
}

#[cfg(test)]
mod tests {
    //! A job that came while a reply was lost is ours only where nothing speaks against it.
    use super::{Made, Record};
    use jiff::{SignedDuration, Timestamp};
    use std::collections::BTreeSet;

    /// One order makes one job for all shards, or one for each, whichever else there are; never more than there are shards.
    #[test]
    fn one_order_makes_one_job_a_shard_at_most() {
        const WHOLE: &[&str] = &["r-1"];
        const A: &[&str] = &["r-1-db-0"];
        const B: &[&str] = &["r-1-db-1"];
        const C: &[&str] = &["r-1-db-2"];
        const BOTH: &[&str] = &["r-1-db-0", "r-1-db-1"];
        type Shown = &'static [(i64, &'static [&'static str])];
        let cases: [(Option<usize>, Shown, &[i64], bool); 15] = [
            (Some(2), &[], &[], false),
            (None, &[], &[], false),
            (None, &[(8, WHOLE)], &[8], true),
            (None, &[(8, A), (9, B)], &[8], true),
            (Some(2), &[(8, WHOLE), (9, WHOLE)], &[8], true),
            (Some(2), &[(8, BOTH), (9, BOTH)], &[8], true),
            (Some(2), &[(8, WHOLE), (9, B)], &[8], true),
            (Some(2), &[(9, B)], &[9], false),
            (Some(2), &[(8, A), (9, WHOLE)], &[8], false),
            (Some(2), &[(8, A), (9, B)], &[8, 9], true),
            (Some(2), &[(9, B), (8, A), (11, B), (10, A)], &[8, 9], true),
            (Some(2), &[(8, A), (9, B), (10, C)], &[8, 9], true),
            (Some(3), &[(8, A), (9, BOTH), (10, C), (11, B)], &[8, 10, 11], true),
            // Nothing is told of a node, or only of some.
            (Some(2), &[(8, &[]), (9, &[""])], &[8], false),
            (Some(2), &[(7, A), (0, A), (-1, B), (8, A), (9, &[])], &[8], false),
        ];
        for (shards, shown, made, is_whole) in cases {
            let (known, jobs) = (BTreeSet::from(["7".to_owned()]), Vec::new());
            let record =
                Record { called_at: Timestamp::UNIX_EPOCH, cluster: false, shards, known, jobs, joined: false };
            // Each is shown without its node as well.
            let each = shown.iter().flat_map(|(id, nodes)| {
                nodes.iter().map(|node| (Some(*id), Some(*node))).chain([(Some(*id), None), (None, Some("r-1-db-1"))])
            });
            let expected = Made { jobs: made.to_vec(), is_whole };
            assert_eq!(record.made("r-1", each), expected, "{shards:?} {shown:?}");
        }
    }

    #[test]
    fn a_mode_that_nobody_knows_is_not_ours() {
        let called_at = Timestamp::UNIX_EPOCH;
        let (known, jobs) = (BTreeSet::new(), Vec::new());
        let record = Record { called_at, cluster: false, shards: None, known, jobs, joined: false };
        let at = |minutes: i64| (called_at + SignedDuration::from_mins(minutes)).to_string();
        for ours in [None, Some("Manual"), Some("MANUAL"), Some("manual ")] {
            assert!(record.may_be(ours, None) && record.may_be(ours, Some(&at(20))), "{ours:?}");
            assert!(!record.may_be(ours, Some(&at(40))), "{ours:?}");
        }
        for others in ["Automated", "AUTOMATED", "Scheduled", "自动", "ManualX", "0"] {
            assert!(!record.may_be(Some(others), Some(&at(0))), "{others}");
        }
    }
}
