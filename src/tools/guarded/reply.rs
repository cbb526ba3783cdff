//! What a guarded tool answers: status, plan, pre-checks with their figures, and what is at stake.

use crate::guard::check::Precheck;
use crate::guard::ledger::Confirmation;
use crate::guard::plan::{PLAN_AGAIN, Plan};
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::time::written;
use crate::provider::Carried;
use crate::tools::{FollowUp, Outcome};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// One pre-check.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PrecheckRow {
    /// Its name.
    pub name: &'static str,
    /// pass, warn, pending or block.
    pub status: &'static str,
    /// Its figures.
    pub detail: String,
}

/// What would be done.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanRow {
    /// The tool that does it.
    pub act: &'static str,
    /// To which instance.
    pub instance_id: String,
    /// Where it is.
    pub address: String,
    /// The set it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// How it is done, such as `replication` (atomic) or `commands` (not atomic).
    pub way: String,
    /// What the way means.
    pub way_meaning: String,
    /// The set that brings back what is there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_backup_id: Option<String>,
    /// `person` or `token`.
    pub confirmation: &'static str,
    /// More, by name: when the set was taken, its checksum, the class and price model of a new instance.
    #[serde(flatten)]
    pub details: BTreeMap<String, String>,
}

/// What is at stake.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Impact {
    /// What is there now.
    pub now: String,
    /// What will be there.
    pub after: String,
    /// What goes.
    pub lost: String,
    /// How to get back.
    pub way_back: String,
}

// Without a line for each: every reader of the list of tools would pay for it. The tool's description says what they mean.
#[expect(missing_docs, reason = "a variant's line would become part of the schema")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum GuardedStatus {
    ConfirmationRequired,
    ApprovalRequired,
    #[serde(rename = "prechecks_pending")]
    Pending,
    PlanChanged,
    Blocked,
    Declined,
    Started,
    #[default]
    Succeeded,
    Failed,
}

/// Reply.
#[derive(Debug, Serialize, JsonSchema, Default)]
pub struct Guarded {
    /// Where it stands.
    pub status: GuardedStatus,
    /// Stable code of a refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What that means.
    pub message: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Calls that make sense now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_actions: Vec<String>,
    /// To be echoed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_token: Option<String>,
    /// Until when it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What would be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRow>,
    /// The pre-checks with their figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prechecks: Vec<PrecheckRow>,
    /// What is at stake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// The job that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// A person said yes, rather than a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_verified: Option<bool>,
}

/// The parts of a reply that a confirmation determines.
pub(super) fn shown(open: &Confirmation, prechecks: &[Precheck]) -> Guarded {
    Guarded {
        expires_at: Some(written(open.expires_at)),
        plan: Some(PlanRow::of(&open.plan)),
        prechecks: rows(prechecks),
        ..Guarded::default()
    }
}

pub(super) fn rows(prechecks: &[Precheck]) -> Vec<PrecheckRow> {
    prechecks
        .iter()
        .map(|c| PrecheckRow { name: c.name.as_str(), status: c.status.as_str(), detail: c.detail.clone() })
        .collect()
}

impl PlanRow {
    /// The fields that every plan has a place for; whatever else a plan's JSON holds is one of its details.
    pub const NAMED: [&str; 8] =
        ["act", "instance_id", "address", "backup_id", "way", "way_meaning", "safety_backup_id", "confirmation"];

    fn of(plan: &Plan) -> Self {
        Self {
            act: plan.act.verb(),
            instance_id: plan.instance_id.clone(),
            address: plan.address.clone(),
            backup_id: plan.act.backup_id().map(Into::into),
            way: plan.impact.how.clone(),
            way_meaning: plan.impact.how_meaning.clone(),
            safety_backup_id: plan.safety.as_ref().map(|s| s.backup_id.clone()).filter(|id| !id.is_empty()),
            confirmation: plan.rules.confirmation.as_str(),
            details: plan.details.clone(),
        }
    }
}

pub(super) fn impact(plan: &Plan) -> Impact {
    let impact = plan.impact.clone();
    Impact { now: impact.now, after: impact.after, lost: impact.lost, way_back: impact.way_back }
}

pub(super) fn refusal(status: GuardedStatus, code: &str, message: &str, hint: &str) -> Guarded {
    Guarded {
        status,
        code: Some(code.into()),
        message: message.into(),
        hint: Some(hint.into()),
        next_actions: vec![PLAN_AGAIN.into()],
        ..Guarded::default()
    }
}

/// The reply about an act that runs or is over.
///
/// # Errors
/// `reply.failed`: a bug.
pub(super) fn carried_out(open: &Confirmation, carried: Carried, human_verified: bool) -> Result<Outcome, Fault> {
    let back = format!("to get back: {}", open.plan.impact.way_back);
    let reply = Guarded {
        plan: Some(PlanRow::of(&open.plan)),
        human_verified: Some(human_verified),
        next_actions: vec![back],
        ..Guarded::default()
    };
    let job = match carried {
        Carried::Done(message) => return Guarded { status: GuardedStatus::Succeeded, message, ..reply }.outcome(),
        Carried::Job(job) => job,
    };
    let follow = format!("describe_jobs with job_id {}", job.id);
    let status = match job.status {
        JobStatus::Running => GuardedStatus::Started,
        JobStatus::Succeeded => GuardedStatus::Succeeded,
        JobStatus::Failed => GuardedStatus::Failed,
    };
    let follow_up = FollowUp::of(&job);
    let told = Guarded {
        status,
        code: (!job.code.is_empty()).then_some(job.code),
        message: if job.message.is_empty() { job.stage } else { job.message },
        hint: (!job.hint.is_empty()).then_some(job.hint),
        next_actions: if job.status == JobStatus::Running { vec![follow] } else { reply.next_actions },
        job_id: Some(job.id),
        ..reply
    };
    Outcome::reply(&told, follow_up)
}

impl Guarded {
    /// The outcome of a call that answers with this.
    ///
    /// # Errors
    /// `reply.failed`: a bug.
    pub fn outcome(&self) -> Result<Outcome, Fault> {
        Outcome::reply(
            self,
            match self.status {
                GuardedStatus::ConfirmationRequired => FollowUp::Echo,
                GuardedStatus::Pending => FollowUp::CallAgain,
                // A job that runs or has failed says more: see carried_out.
                GuardedStatus::Started | GuardedStatus::Succeeded | GuardedStatus::Failed => FollowUp::Nothing,
                GuardedStatus::ApprovalRequired
                | GuardedStatus::PlanChanged
                | GuardedStatus::Blocked
                | GuardedStatus::Declined => FollowUp::Failed(Kind::Refused),
            },
        )
    }
}
