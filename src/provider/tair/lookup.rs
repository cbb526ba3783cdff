//! Finding a backup set of an instance by its id, whole or damaged, and saying so where there is none.

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean_to, quoted};
use crate::model::verification::Verification;
use crate::provider::Range;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::sets::{self, CloudSet, Listed, clusters, shards};
use jiff::{SignedDuration, Timestamp};

impl Inner {
    /// The sets of an instance, newest first, damaged ones named: all of them, or those begun in a range.
    pub async fn sets(
        &self,
        instance_id: &str,
        range: Option<Range>,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        // The cloud counts in minutes and leaves the end out; the shards of a set begin one after the other.
        let margin = SignedDuration::from_mins(60);
        let asked = range.map_or_else(sets::always, |r| {
            let end = r.end.map_or(sets::always().1, |end| end.saturating_add(margin).unwrap_or(end));
            (r.start.saturating_sub(margin).unwrap_or(r.start), end)
        });
        let listed = self.judged(instance_id, self.listed(instance_id, asked).await?).await?;
        let mut sets: Vec<Result<BackupSet, DamagedSet>> = listed.into_iter().map(|l| l.map(|set| set.set)).collect();
        sets.retain(|s| s.as_ref().map_or(true, |set| range.is_none_or(|range| range.holds(set.started_at))));
        Ok(sets)
    }

    /// The sets of an instance in a range, newest first.
    pub async fn listed(&self, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Vec<Listed>, Fault> {
        let attribute = self.attribute(instance_id).await?;
        if Architecture::of(&attribute).lists_cluster_sets() {
            let rows = sets::cluster_rows(&self.client, instance_id, range).await?;
            return Ok(clusters::of_cluster_rows(instance_id, rows));
        }
        let shards = attribute.shard_count.and_then(|n| usize::try_from(n).ok());
        let rows = sets::rows(&self.client, instance_id, range).await?;
        Ok(shards::of_rows(instance_id, rows, shards))
    }

    /// Sets as they are listed, but for those in which, or in a file of which, a verification has found a fault: they are damaged.
    async fn judged(&self, id: &str, listed: Vec<Listed>) -> Result<Vec<Listed>, Fault> {
        let found = self.jobs.state.verifications(id).await?;
        let judge = |set: CloudSet| {
            let fault = set.ids().find_map(|of| found.get(of).and_then(Verification::fault));
            match fault {
                Some((_, look)) => {
                    let reason = look.fault.clone().unwrap_or_default();
                    Err(DamagedSet { id: set.set.id, reason, unreadable: None })
                }
                None => Ok(set),
            }
        };
        Ok(listed.into_iter().map(|set| set.and_then(judge)).collect())
    }

    /// A set as it is listed and was found here, broken or whole.
    pub async fn judged_set(&self, id: &str, backup_id: &str) -> Result<Listed, Fault> {
        let listed = self.judged(id, self.listed(id, sets::always()).await?).await?;
        find_set(listed, id, backup_id)
    }

    /// A whole set in which no fault was found here: what may be restored. A damaged one is a fault.
    pub async fn cloud_set(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        self.judged_set(id, backup_id).await?.map_err(|d| damaged(id, &d))
    }

    /// A set that is listed as whole, whatever was found in it here.
    pub async fn cloud_set_as_listed(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        find_set(self.listed(id, sets::always()).await?, id, backup_id)?.map_err(|d| damaged(id, &d))
    }

    /// A whole set in which no fault was found here, or one file of one: what can be looked at and downloaded.
    pub async fn set_or_file(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        let set = self.set_or_file_as_listed(id, backup_id).await?;
        let listed = self.judged(id, vec![Ok(set)]).await?;
        listed.into_iter().next().ok_or_else(|| not_found(id, backup_id))?.map_err(|d| damaged(id, &d))
    }

    /// A set that is listed as whole, or one file of one.
    pub async fn set_or_file_as_listed(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        let listed = self.listed(id, sets::always()).await?;
        let found = sets::find_file(listed, backup_id).ok_or_else(|| not_found(id, backup_id))?;
        found.map_err(|d| damaged(id, &d))
    }
}

fn damaged(id: &str, set: &DamagedSet) -> Fault {
    Fault::new(
        Kind::Damaged,
        "backup.damaged",
        format!("backup {} of {id} cannot be used: {}", shown(&set.id), set.reason),
    )
    .hint("Choose another with describe_backups.")
}

/// Finds a set. The id of one of its files is not the set: restored alone it would be a part of the data.
pub fn find_set(listed: Vec<Listed>, id: &str, backup_id: &str) -> Result<Listed, Fault> {
    let of = sets::set_of_file(&listed, backup_id);
    if let Some(found) = sets::find(listed, backup_id) {
        return Ok(found);
    }
    let Some(set) = of else { return Err(not_found(id, backup_id)) };
    let message = format!("{} is one shard of backup {set}, and only downloads take a single shard", shown(backup_id));
    Err(Fault::new(Kind::Usage, "backup.one_shard", message).hint(format!("Give the whole set: backup_id {set}.")))
}

/// Long lists of shards are shortened where people read them.
fn shown(id: &str) -> String {
    clean_to(id, 40)
}

fn not_found(id: &str, backup_id: &str) -> Fault {
    Fault::new(Kind::NotFound, "backup.not_found", format!("{id} has no backup {}", quoted(backup_id)))
        .hint("Use a backup_id from describe_backups, unchanged; expired sets are gone.")
}
