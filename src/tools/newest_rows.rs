//! The newest set of each mode in a reply, and which of the cloud's sets are safety backups.
//!
//! What is called the last backup is the newest that is none: see [`last_backup`](crate::model::sets::last_backup).

use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::Fault;
use crate::model::sets::newest_of_modes;
use crate::model::verification::{Proven, Verification};
use crate::state::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The newest set of a mode in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewestRow {
    /// `manual`, `automated`, `safety` or `unknown`.
    pub mode: &'static str,
    /// The set's id.
    pub backup_id: String,
    /// Seconds since the moment captured.
    pub age_seconds: i64,
    /// What was proven of it: `unverified`, `verified`, `deep` or `drilled`.
    pub status: &'static str,
}

impl NewestRow {
    /// The rows of sets that can be used, newest first, with what is kept of their verifications.
    pub fn of<'a>(
        sets: impl Iterator<Item = &'a BackupSet> + Clone,
        verifications: &BTreeMap<String, Verification>,
        now: Timestamp,
    ) -> Vec<Self> {
        let row = |set: &BackupSet| Self {
            mode: set.mode.as_str(),
            backup_id: set.id.clone(),
            age_seconds: now.as_second() - set.started_at.as_second(),
            status: Proven::of(set, verifications.get(&set.id)).as_str(),
        };
        newest_of_modes(sets, now).map(row).collect()
    }
}

/// Calls those sets of the cloud safety backups that were taken for a plan: the cloud calls them manual, as it does all that it was asked for.
///
/// # Errors
/// `state.failed`.
pub async fn name_safety_backups(
    state: &dyn State,
    instance_id: &str,
    listed: &mut [Result<BackupSet, DamagedSet>],
) -> Result<(), Fault> {
    if !listed.iter().flatten().any(asked_for) {
        return Ok(());
    }
    let taken = state.taken_for_plans(instance_id).await?;
    for set in listed.iter_mut().flatten().filter(|set| asked_for(set) && taken.contains(&set.id)) {
        set.mode = Mode::Safety;
    }
    Ok(())
}

/// Whether the cloud was asked for a set, by whomever.
fn asked_for(set: &BackupSet) -> bool {
    !set.is_walked() && set.mode == Mode::Manual
}
