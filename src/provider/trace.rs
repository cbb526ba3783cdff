//! The trace of a yes: what the audit has to be told when a job ends in another process than the one that was permitted.

use crate::guard::ledger::{AuditRecord, Ledger as _};
use crate::guard::permit::Permit;
use crate::model::fault::Fault;
use crate::model::job::Job;
use crate::provider::jobs::{Jobs, LET_GO};
use serde::{Deserialize, Serialize};

/// Who asked, and which confirmation it was; empty where that is not known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Trace {
    caller: String,
    nonce: String,
}

impl Trace {
    /// That of a permit.
    #[must_use]
    pub fn of(permit: &Permit) -> Self {
        let AuditRecord { caller, nonce, .. } = permit.record("", String::new());
        Self { caller, nonce }
    }
}

impl Jobs {
    /// Writes down what came of something that cannot be undone any more: a full disk must not turn it into a failure.
    pub async fn note(&self, record: AuditRecord) {
        if let Err(fault) = self.state.record(record).await {
            tracing::error!("the audit could not be written: {fault}");
        }
    }

    /// Writes down how a job ended. One that was let go has not.
    pub async fn note_end(&self, trace: &Trace, job: &Job, outcome: &Result<String, Fault>) {
        let (how, detail) = match outcome {
            Ok(message) => ("succeeded", message.clone()),
            Err(fault) if fault.code == LET_GO => return,
            Err(fault) => ("failed", format!("{}: {}", fault.code, fault.message)),
        };
        let (event, detail) = (format!("{}.{how}", job.kind.as_str()), format!("job {}: {detail}", job.id));
        let record = AuditRecord::now(&event, &trace.caller, &job.instance_id, detail);
        self.note(AuditRecord { nonce: trace.nonce.clone(), ..record }).await;
    }
}
