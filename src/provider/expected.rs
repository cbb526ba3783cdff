//! How large the data of a backup will be, as far as that is known before it is there: as large as that of the last one.

use crate::model::job::{JobKind, JobStatus};
use crate::state::State;
use crate::state::jobs::JobsOf;

/// Bytes that a backup of an instance is expected to have; 0 where there was none. A store that cannot be asked is no reason to fail.
pub async fn expected_bytes(state: &dyn State, instance_id: &str) -> u64 {
    let made = JobsOf { status: Some(JobStatus::Succeeded), ..JobsOf::kind(instance_id, JobKind::Backup) };
    let made = state.latest(made).await.unwrap_or_else(|fault| {
        tracing::debug!(instance = instance_id, "how large the last backup was cannot be read: {fault}");
        Vec::new()
    });
    made.iter().map(|job| job.done).find(|bytes| *bytes > 0).unwrap_or_default()
}
