//! Jobs whose end could not be written down are not stuck for as long as their process lives.

use super::places::Place as _;
use std::sync::Arc;
use tair_backup_mcp::model::job::{JobKind, JobStatus};
use tair_backup_mcp::provider::jobs::{Jobs, Reconciled};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::Begun;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

#[tokio::test]
async fn a_job_whose_end_cannot_be_written_is_adopted_by_its_own_process() {
    let home = TempDir::new().unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(home.path()));
    let jobs = Jobs::new("local", Arc::clone(&state));
    assert!(state.jobs(None).await.unwrap().is_empty());
    let full = "CREATE TRIGGER disk_is_full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END";
    home.run(full.to_owned()).await;
    let begun = jobs.begin(JobKind::Backup, "orders", "b-1", "local", None, |_| async { Ok("done".to_owned()) });
    let begun = begun.await.unwrap();
    let Begun::Started(job) = begun else { panic!("{begun:?}") };
    // Until it has been tried for the last time.
    jobs.shut_down(false).await;
    home.run("DROP TRIGGER disk_is_full".to_owned()).await;
    let ended = || async { Ok(Reconciled::Ended(Ok("looked at".into()))) };
    jobs.adopt(move |_| ended()).await.unwrap();
    let job = state.job(&job.id).await.unwrap();
    assert_eq!((job.status, job.message.as_str()), (JobStatus::Succeeded, "looked at"));
}
