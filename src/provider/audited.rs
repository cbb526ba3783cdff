//! The audit's lines about jobs: how each began and how it ended, for whom, and under which confirmation. Nothing is written here.

use crate::guard::ledger::AuditRecord;
use crate::model::job::{Job, JobEnd, JobKind, JobStatus, Unfinished};

/// By what right a job begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Right<'a> {
    /// Id of the caller who asked for it, or what of this program did.
    pub caller: &'a str,
    /// Nonce of the confirmation behind its permit; empty where it takes none.
    pub confirmation: &'a str,
    /// Whether a person said yes; `None` where nobody has to.
    pub human_verified: Option<bool>,
}

/// The line about the beginning of a job; `backup_id` is empty where it is about no set, or none that has an id yet.
#[must_use]
pub fn began(id: &str, kind: JobKind, (instance_id, backup_id): (&str, &str), by: Right<'_>) -> AuditRecord {
    let set = (!backup_id.is_empty()).then(|| format!("backup {backup_id}"));
    let verified = by.human_verified.map(|yes| format!("human_verified {yes}"));
    let detail = set.into_iter().chain(verified).collect::<Vec<_>>().join(", ");
    let record = AuditRecord::now(&kind.event(None), by.caller, instance_id, of_job(id, &detail));
    AuditRecord { nonce: by.confirmation.to_owned(), ..record }
}

/// The line about the end of a job; `None` where its work goes on elsewhere. `now`: the job as it is stored by now, with what it came to
/// know of its set and of keys.
#[must_use]
pub fn ended(job: &Job, end: &JobEnd, now: Option<&Job>) -> Option<AuditRecord> {
    let (how, mut detail) = match end {
        Ok(message) => {
            let made = now.filter(|now| now.kind == JobKind::Backup && !now.backup_id.is_empty());
            let made = made.map_or_else(String::new, |now| format!("backup {}, ", now.backup_id));
            (JobStatus::Succeeded, format!("{made}{message}"))
        }
        Err(Unfinished::Failed(fault) | Unfinished::RollbackPending(fault)) => {
            (JobStatus::ended_by(fault.kind), format!("{}: {}", fault.code, fault.message))
        }
        Err(Unfinished::Detached(_)) => return None,
    };
    if let Some(keys) = now.and_then(|now| now.restored_keys.as_ref()) {
        detail = format!("{detail}; key statistics: {}", keys.describe());
    }
    Some(line(job, &job.kind.event(Some(how)), &detail))
}

/// A line about a job: who had asked for it, and under which confirmation, the job knows.
#[must_use]
pub fn line(job: &Job, event: &str, detail: &str) -> AuditRecord {
    let record = AuditRecord::now(event, &job.caller, &job.instance_id, of_job(&job.id, detail));
    AuditRecord { nonce: job.confirmation.clone(), ..record }
}

/// What is told of a job, behind its id.
fn of_job(id: &str, detail: &str) -> String {
    if detail.is_empty() { format!("job {id}") } else { format!("job {id}: {detail}") }
}
