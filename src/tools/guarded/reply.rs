//! The reply of a guarded tool: status, plan, pre-checks with their figures, and impact.

use crate::guard::act::Act;
use crate::guard::check::Precheck;
use crate::guard::ledger::Confirmation;
use crate::guard::plan::{PLAN_AGAIN, Plan, Safety, way_back};
use crate::guard::preconditions::Preconditions;
use crate::model::estimate::Estimate;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::pruning::{Fate, PrunedSet};
use crate::model::restore::Cutover;
use crate::model::text::bytes;
use crate::model::time::written;
use crate::provider::Carried;
use crate::tools::key_rows::{KeyRows, Shown};
use crate::tools::{FollowUp, Outcome};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// One pre-check in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PrecheckRow {
    /// Name of the check, such as `write_traffic`.
    pub name: &'static str,
    /// `pass`, `warn`, `pending` or `block`.
    pub status: &'static str,
    /// The figures behind the verdict, in a sentence.
    pub detail: String,
}

/// A plan in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanRow {
    /// Short id of the plan, as describe_jobs and `approve --list` show it.
    pub plan_id: String,
    /// What had become of the equal plan whose place this one took: `waiting` or `approved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<&'static str>,
    /// Name of the tool that carries the act out.
    pub act: &'static str,
    /// Id of the instance that is acted on.
    pub instance_id: String,
    /// Where the instance, or the set, is, without credentials.
    pub address: String,
    /// Id of the set that the act is about, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// The method, such as `replication` (atomic) or `commands` (not atomic).
    pub way: String,
    /// What the method means for the instance.
    pub way_meaning: String,
    /// Id of the safety backup, which brings the current data back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_backup_id: Option<String>,
    /// How long the act takes, about (`seconds`), what that is from (`from`), and what clients see meanwhile (`meanwhile`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub estimate: Option<Estimate>,
    /// Who has to say yes: `person` or `token` (nobody).
    pub confirmation: &'static str,
    /// Further facts by name: when the set was taken, its checksum, the class and price model of a new instance.
    #[serde(flatten)]
    pub details: BTreeMap<String, String>,
}

/// The impact of an act in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImpactRow {
    /// What the instance, or the vault, holds now.
    pub now: String,
    /// What the instance, or the vault, holds afterwards.
    pub after: String,
    /// What is lost, or what is paid.
    pub lost: String,
    /// How to get the old state back.
    pub way_back: String,
    /// What becomes of keys. Only its name is in the schema, which every reader of the list of tools pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub keys: Option<KeyRows>,
}

/// How far a guarded call came. Without a line for each: every reader of the list of tools would pay for it.
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
    Uncertain,
}

/// Reply of a guarded tool.
#[derive(Debug, Serialize, JsonSchema, Default)]
pub struct Guarded {
    /// How far the call came.
    pub status: GuardedStatus,
    /// Stable code of a refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The result of the call, in a sentence or two.
    pub message: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Calls that make sense now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_actions: Vec<String>,
    /// The token, to be echoed unchanged in the second call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_token: Option<String>,
    /// Until when the token may be echoed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The plan that the token stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRow>,
    /// The pre-checks with their figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prechecks: Vec<PrecheckRow>,
    /// What the act would change and cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact: Option<ImpactRow>,
    /// Id of the job that carries the act out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Whether a person said yes, rather than a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_verified: Option<bool>,
    /// What became of each set that was pruned. In no schema: no tool prunes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub backups: Vec<PrunedRow>,
    /// Bytes of the vault that are free by a pruning. In no schema, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub freed_bytes: Option<u64>,
}

/// A set that was to go by a pruning, in a reply.
#[derive(Debug, Serialize)]
pub struct PrunedRow {
    /// The set's id.
    pub backup_id: String,
    /// `deleted`, `gone` (by somebody else), `retained` or `failed`.
    pub status: &'static str,
    /// Why it was not deleted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes that are free by it.
    pub freed_bytes: u64,
}

/// The parts of a reply that a confirmation determines.
pub(super) fn shown(open: &Confirmation, prechecks: &[Precheck]) -> Guarded {
    Guarded {
        expires_at: Some(written(open.expires_at)),
        plan: Some(PlanRow::of(open)),
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
    /// The fields of this type; any other field of a plan's JSON is one of its details.
    pub const NAMED: [&str; 11] = [
        "plan_id",
        "supersedes",
        "act",
        "instance_id",
        "address",
        "backup_id",
        "way",
        "way_meaning",
        "safety_backup_id",
        "estimate",
        "confirmation",
    ];

    fn of(open: &Confirmation) -> Self {
        let plan = &open.plan;
        Self {
            plan_id: open.plan_id(),
            supersedes: None,
            act: plan.act.verb(),
            instance_id: plan.instance_id.clone(),
            address: plan.address.clone(),
            backup_id: plan.act.backup_id().map(Into::into),
            way: plan.impact.how.clone(),
            way_meaning: plan.impact.how_meaning.clone(),
            safety_backup_id: plan.safety.as_ref().map(|s| s.backup_id.clone()).filter(|id| !id.is_empty()),
            estimate: plan.estimate.clone(),
            confirmation: plan.rules.confirmation.as_str(),
            details: plan.details.clone(),
        }
    }
}

/// What a plan would change and cost.
pub(super) fn impact(plan: &Plan) -> ImpactRow {
    let impact = plan.impact.clone();
    let keys = impact.keys.as_ref().map(|keys| KeyRows::of(keys, Shown::BRIEF));
    ImpactRow { now: impact.now, after: impact.after, lost: impact.lost, way_back: impact.way_back, keys }
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

/// The outcome of an act that runs or has ended. `ends_clone`: the command that ends the clone on this machine which it made.
///
/// # Errors
/// `reply.failed`: a bug.
pub(super) fn carried_out(
    open: &Confirmation,
    carried: Carried,
    (cutover, ends_clone): (Option<Cutover>, Option<String>),
    human_verified: bool,
) -> Result<Outcome, Fault> {
    let mut plan = PlanRow::of(open);
    let mut back = open.plan.impact.way_back.clone();
    let last_write = cutover.as_ref().and_then(Cutover::last_write);
    if let Some(id) = cutover.filter(|c| c.taken_after_yes).map(|c| c.safety_backup_id) {
        back = way_back(
            &plan.instance_id,
            &Safety { job_id: String::new(), backup_id: id.clone(), stored_digest: String::new() },
            open.plan.act.keys(),
        );
        plan.safety_backup_id = Some(id);
    }
    let creates = matches!(open.plan.act, Act::CreateInstanceFromBackup { .. });
    let next = match ends_clone {
        Some(command) => Some(format!("to end the clone before its time a person runs `{command}`")),
        // What the plan said names no id.
        None if matches!(open.plan.preconditions, Preconditions::LocalClone(_)) => None,
        None if creates => Some(back),
        None => Some(format!("to get back: {}", last_write.unwrap_or(back))),
    };
    let reply = Guarded {
        plan: Some(plan),
        human_verified: Some(human_verified),
        next_actions: next.into_iter().collect(),
        ..Guarded::default()
    };
    let job = match carried {
        Carried::Done(message) => return Guarded { status: GuardedStatus::Succeeded, message, ..reply }.outcome(),
        Carried::Pruned(sets) => return pruned(reply, &sets),
        Carried::Job(job) => job,
    };
    let follow = format!("describe_jobs with job_id {}", job.id);
    let status = match job.status {
        JobStatus::Running => GuardedStatus::Started,
        JobStatus::Succeeded => GuardedStatus::Succeeded,
        JobStatus::Failed => GuardedStatus::Failed,
        JobStatus::Uncertain => GuardedStatus::Uncertain,
    };
    let follow_up = FollowUp::of(&job);
    let told = Guarded {
        status,
        code: (!job.code.is_empty()).then_some(job.code),
        message: if job.message.is_empty() { job.stage } else { job.message },
        hint: (!job.hint.is_empty()).then_some(job.hint),
        next_actions: match job.status {
            JobStatus::Running => vec![follow],
            // There is no new instance to be rid of; the hint says what is next.
            JobStatus::Failed if creates => Vec::new(),
            _ => reply.next_actions,
        },
        job_id: Some(job.id),
        ..reply
    };
    Outcome::reply(&told, follow_up)
}

/// The outcome of a pruning. Sets that stay, for whatever reason, were asked to go: that is no success.
fn pruned(reply: Guarded, sets: &[PrunedSet]) -> Result<Outcome, Fault> {
    let freed_bytes: u64 = sets.iter().map(|set| set.freed_bytes).sum();
    let row = |set: &PrunedSet| PrunedRow {
        backup_id: set.backup_id.clone(),
        status: set.fate.as_str(),
        why: set.fate.why().map(str::to_owned),
        freed_bytes: set.freed_bytes,
    };
    let count = |is: fn(&Fate) -> bool| sets.iter().filter(|set| is(&set.fate)).count();
    let others = [
        (count(|fate| *fate == Fate::Gone), "gone already"),
        (count(|fate| matches!(fate, Fate::Retained(_))), "retained"),
        (count(|fate| matches!(fate, Fate::Failed(..))), "failed"),
    ];
    let others: String = others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
    let deleted = count(|fate| *fate == Fate::Deleted);
    let failed = sets.iter().find_map(|set| match set.fate {
        Fate::Failed(kind, _) => Some(kind),
        Fate::Deleted | Fate::Gone | Fate::Retained(_) => None,
    });
    let kept = sets.iter().any(|set| matches!(set.fate, Fate::Retained(_))).then_some(Kind::Refused);
    let not_done = failed.or(kept);
    let told = Guarded {
        status: if not_done.is_some() { GuardedStatus::Failed } else { GuardedStatus::Succeeded },
        message: format!("{deleted} of {} backups deleted{others}; {} freed", sets.len(), bytes(freed_bytes)),
        next_actions: Vec::new(),
        backups: sets.iter().map(row).collect(),
        freed_bytes: Some(freed_bytes),
        ..reply
    };
    Outcome::reply(&told, not_done.map_or(FollowUp::Nothing, FollowUp::Failed))
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
                GuardedStatus::Started
                | GuardedStatus::Succeeded
                | GuardedStatus::Failed
                | GuardedStatus::Uncertain => FollowUp::Nothing,
                GuardedStatus::ApprovalRequired
                | GuardedStatus::PlanChanged
                | GuardedStatus::Blocked
                | GuardedStatus::Declined => FollowUp::Failed(Kind::Refused),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{FollowUp, Guarded, Outcome, pruned};
    use crate::model::fault::Kind;
    use crate::model::pruning::{Fate, PrunedSet};

    /// All sets are told, each with what became of it; what was asked to go and is there still is no success, and a failure says more than that.
    #[test]
    fn a_pruning_tells_of_each_set() {
        let set = |fate| PrunedSet { backup_id: "b-1".into(), freed_bytes: 0, fate };
        let deleted = || PrunedSet { freed_bytes: 2048, ..set(Fate::Deleted) };
        let retained = || set(Fate::Retained("its bucket refused".into()));
        let failed = set(Fate::Failed(Kind::Provider, "the disk is gone".into()));
        for (sets, told, follow_up) in [
            (vec![deleted(), deleted()], "2 of 2 backups deleted; 4.0 KiB freed", FollowUp::Nothing),
            (
                vec![deleted(), set(Fate::Gone)],
                "1 of 2 backups deleted, 1 gone already; 2.0 KiB freed",
                FollowUp::Nothing,
            ),
            (
                vec![deleted(), retained()],
                "1 of 2 backups deleted, 1 retained; 2.0 KiB freed",
                FollowUp::Failed(Kind::Refused),
            ),
            (
                vec![retained(), failed],
                "0 of 2 backups deleted, 1 retained, 1 failed; 0 B freed",
                FollowUp::Failed(Kind::Provider),
            ),
        ] {
            let Ok(Outcome::Reply { json, follow_up: next }) = pruned(Guarded::default(), &sets) else {
                panic!("a reply");
            };
            assert_eq!((json.get("message").and_then(|m| m.as_str()), next), (Some(told), follow_up));
            let rows = json.get("backups").and_then(|rows| rows.as_array()).map(Vec::len);
            assert_eq!(rows, Some(sets.len()), "{json}");
        }
    }
}
