//! What `restore_instance` answers: status, plan, pre-checks with their figures, and what is at stake.

use crate::guard::checks::Precheck;
use crate::guard::ledger::Confirmation;
use crate::guard::plan::{Plan, counts_in_words};
use crate::model::fault::Kind;
use crate::model::job::{Job, JobStatus};
use crate::model::restore::{SourceFacts, TargetFacts};
use crate::model::text::bytes;
use crate::model::time::written;
use crate::tools::Reply;
use schemars::JsonSchema;
use serde::Serialize;

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
    /// The instance to be overwritten.
    pub instance_id: String,
    /// Where it is.
    pub address: String,
    /// The set that replaces its data.
    pub backup_id: String,
    /// When that was taken.
    pub backup_taken_at: String,
    /// SHA-256 of its RDB.
    pub sha256: String,
    /// `replication` (atomic) or `commands` (not atomic).
    pub way: String,
    /// What the way means.
    pub way_meaning: String,
    /// The set that brings back what is there now.
    pub safety_backup_id: String,
    /// `person` or `token`.
    pub confirmation: &'static str,
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

/// Reply.
#[derive(Debug, Serialize, JsonSchema, Default)]
pub struct Restore {
    /// Where the restore stands.
    #[schemars(extend("enum" = [
        "confirmation_required", "approval_required", "prechecks_pending", "plan_changed", "blocked", "declined", "started",
        "succeeded", "failed"
    ]))]
    pub status: &'static str,
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
    /// The restore's job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// A person said yes, rather than a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_verified: Option<bool>,
}

/// The parts of a reply that a confirmation determines.
pub(super) fn shown(open: &Confirmation, prechecks: &[Precheck]) -> Restore {
    Restore {
        expires_at: Some(written(open.expires_at)),
        plan: Some(PlanRow::of(&open.plan)),
        prechecks: rows(prechecks),
        ..Restore::default()
    }
}

pub(super) fn rows(prechecks: &[Precheck]) -> Vec<PrecheckRow> {
    prechecks.iter().map(|c| PrecheckRow { name: c.name, status: c.status.word(), detail: c.detail.clone() }).collect()
}

impl PlanRow {
    fn of(plan: &Plan) -> Self {
        Self {
            instance_id: plan.instance_id.clone(),
            address: plan.address.clone(),
            backup_id: plan.backup_id.clone(),
            backup_taken_at: plan.taken_at.clone(),
            sha256: plan.sha256.clone(),
            way: plan.way.clone(),
            way_meaning: plan.way_meaning.clone(),
            safety_backup_id: plan.safety_backup_id.clone(),
            confirmation: match plan.policy.confirmation {
                crate::config::Confirmation::Person => "person",
                crate::config::Confirmation::Token => "token",
            },
        }
    }
}

pub(super) fn impact(plan: &Plan, target: &TargetFacts, source: &SourceFacts) -> Impact {
    Impact {
        now: format!("{}, {}", counts_in_words(&target.counts), bytes(target.used_memory)),
        after: format!("{} as of {}", counts_in_words(&source.counts), plan.taken_at),
        lost: format!("all of what is there now, and every change since {}", plan.taken_at),
        way_back: format!(
            "restore_instance with instance_id {} and backup_id {}",
            plan.instance_id, plan.safety_backup_id
        ),
    }
}

pub(super) fn refusal(status: &'static str, code: &str, message: &str, hint: &str) -> Restore {
    Restore { status, code: Some(code.into()), message: message.into(), hint: Some(hint.into()), ..Restore::default() }
}

/// The reply about a restore that runs or is over.
pub(super) fn carried_out(open: &Confirmation, job: Job, human_verified: bool) -> Restore {
    let back = format!(
        "restore_instance with instance_id {} and backup_id {} brings back what was there before",
        open.plan.instance_id, open.plan.safety_backup_id
    );
    let (status, next) = match job.status {
        JobStatus::Running => ("started", format!("describe_jobs with job_id {}", job.id)),
        JobStatus::Succeeded => ("succeeded", back),
        JobStatus::Failed => ("failed", back),
    };
    Restore {
        status,
        code: (!job.code.is_empty()).then_some(job.code),
        message: if job.message.is_empty() { job.stage } else { job.message },
        hint: (!job.hint.is_empty()).then_some(job.hint),
        next_actions: vec![next],
        plan: Some(PlanRow::of(&open.plan)),
        job_id: Some(job.id),
        human_verified: Some(human_verified),
        ..Restore::default()
    }
}

impl Restore {
    /// The kind of the refusal, for an exit code; `None` where the call did what it could.
    #[must_use]
    pub fn refused(status: &str) -> Option<Kind> {
        match status {
            "blocked" | "declined" | "approval_required" | "plan_changed" => Some(Kind::Refused),
            "failed" => Some(Kind::Provider),
            _ => None,
        }
    }
}

impl Reply for Restore {
    fn human(&self) -> String {
        let mut out = vec![format!("{}: {}", self.status, self.message)];
        out.extend(self.code.iter().map(|c| format!("code   {c}")));
        out.extend(self.prechecks.iter().map(|c| format!("  [{:<7}] {:<18} {}", c.status, c.name, c.detail)));
        if let Some(p) = &self.plan {
            out.push(format!(
                "plan   {} at {} <- {} of {} by {}",
                p.instance_id, p.address, p.backup_id, p.backup_taken_at, p.way
            ));
        }
        if let Some(i) = &self.impact {
            out.push(format!("now    {}\nafter  {}\nlost   {}\nback   {}", i.now, i.after, i.lost, i.way_back));
        }
        if let (Some(t), Some(e)) = (&self.confirmation_token, &self.expires_at) {
            out.push(format!("token  {t}  (until {e})"));
        }
        out.extend(self.job_id.iter().map(|j| format!("job    {j}")));
        out.extend(self.human_verified.map(|v| format!("human_verified {v}")));
        out.extend(self.next_actions.iter().map(|n| format!("next   {n}")));
        out.extend(self.hint.iter().map(|h| format!("hint: {h}")));
        out.join("\n")
    }
}
