//! The trace of a yes: what the audit has to be told when a job ends in another process than the one that was permitted.

use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::model::fault::Fault;
use crate::model::job::Job;
use crate::provider::jobs::LET_GO;
use crate::provider::tair::Inner;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who asked, and which confirmation it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace {
    caller: String,
    nonce: String,
}

impl Trace {
    /// That of a permit.
    pub fn of(permit: &Permit) -> Self {
        let AuditRecord { caller, nonce, .. } = permit.record("", String::new());
        Self { caller, nonce }
    }
}

impl Inner {
    /// Writes down how a job ended. One that was let go has not.
    pub async fn note_end(&self, trace: &Trace, job: &Job, outcome: &Result<String, Fault>) {
        let (how, detail) = match outcome {
            Ok(message) => ("succeeded", message.clone()),
            Err(fault) if fault.code == LET_GO => return,
            Err(fault) => ("failed", format!("{}: {}", fault.code, fault.message)),
        };
        self.note(AuditRecord {
            at: Timestamp::now(),
            event: format!("{}.{how}", job.kind.word()),
            caller: trace.caller.clone(),
            instance_id: job.instance_id.clone(),
            nonce: trace.nonce.clone(),
            detail: format!("job {}: {detail}", job.id),
        })
        .await;
    }
}
