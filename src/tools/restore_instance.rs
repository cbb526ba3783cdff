//! `restore_instance`: two calls and a person between them. The first plans; the second, with the token echoed, asks.
//!
//! Nothing here touches the instance but `provider.restore`, which takes the permit that only the guard makes.

use crate::guard::checks::{self, Precheck};
use crate::guard::ledger::{AuditRecord, Confirmation, Ledger as _, Standing};
use crate::guard::person::{Answer, Yes, question};
use crate::guard::plan::{Plan, Policy, counts_in_words};
use crate::guard::{permit, token};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{check_backup_id, random};
use crate::model::job::{Job, JobStatus};
use crate::model::restore::{Look, SafetyFacts, SafetyStanding, SourceFacts, TargetFacts};
use crate::model::text::bytes;
use crate::model::time::written;
use crate::tools::{Asked, Call, Outcome, Reply, follow};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a call waits for the safety backup before it says "pending".
const SAFETY_WAIT: Duration = Duration::from_secs(20);
/// How long the last call follows the restore before it says "started".
const RESTORE_WAIT: Duration = Duration::from_secs(45);
/// Answers that are no yes before the token is withdrawn.
const WRONG_ANSWERS: u32 = 3;

/// Arguments.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance to overwrite
    #[arg(long)]
    pub instance_id: String,
    /// The set to restore
    #[arg(long)]
    pub backup_id: String,
    /// Second call: the token, unchanged
    #[serde(default)]
    #[arg(long)]
    pub confirmation_token: Option<String>,
}

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

/// Plans, or carries out what was planned.
///
/// # Errors
/// `confirm.*`, `instance.not_found`, `backup.not_found`, `backup.damaged`, and those of the instance.
pub async fn run(call: &Call<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id)?;
    check_backup_id(&args.backup_id)?;
    let outcome = match &args.confirmation_token {
        None => Outcome::reply(&plan(call, &args).await?),
        Some(token) => commit(call, &args, token).await,
    };
    if let Err(fault) = &outcome {
        audit(call, "refused", &args.instance_id, "", format!("{}: {}", fault.code, fault.message)).await?;
    }
    outcome
}

fn policy(call: &Call<'_>) -> Policy {
    let guard = &call.app.config.guard;
    Policy { confirmation: guard.confirmation, max_writes_per_second: guard.max_writes_per_second }
}

async fn audit(call: &Call<'_>, event: &str, instance_id: &str, nonce: &str, detail: String) -> Result<(), Fault> {
    let record = AuditRecord {
        at: Timestamp::now(),
        event: event.into(),
        caller: call.caller.into(),
        instance_id: instance_id.into(),
        nonce: nonce.into(),
        detail,
    };
    call.app.state.record(record).await
}

/// Works with a heartbeat, so that a client which hears nothing does not give up.
async fn heard<T>(call: &Call<'_>, what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_secs(2)) => call.progress.report(0, 0, what).await,
        }
    }
}

/// The first call.
async fn plan(call: &Call<'_>, args: &Args) -> Result<Restore, Fault> {
    let provider = &call.app.provider;
    let id = &args.instance_id;
    let (mut target, source) = heard(
        call,
        "pre-checks: verifying the backup, measuring write traffic",
        provider.facts(id, &args.backup_id, Look::Whole),
    )
    .await?;
    let mut prechecks = checks::judge(&target, &source, policy(call));
    if checks::blocked(&prechecks) {
        return blocked(call, id, "", &prechecks).await;
    }
    let started = provider.safety_backup(id, &target).await?;
    let safety = wait_for_safety(call, id, started).await?;
    prechecks.push(checks::safety(&safety));
    if checks::blocked(&prechecks) {
        return blocked(call, id, "", &prechecks).await;
    }
    // A server without a replication backlog takes a new replication id when it is first captured: ours to have caused,
    // not a change of the world. Its count of writes stays the one from before the capture.
    target.replication_id = provider.facts(id, &args.backup_id, Look::Again).await?.0.replication_id;
    let plan = Plan::new(id, &target, &source, &safety, policy(call));
    let now = Timestamp::now();
    let expires_at = now + SignedDuration::from_mins(i64::from(call.app.config.guard.token_minutes));
    let (token, nonce) = token::mint(call.app.state.key().await?, random()?, call.caller, &plan.digest()?, expires_at)?;
    let open =
        Confirmation { nonce, plan, caller: call.caller.into(), created_at: now, expires_at, standing: Standing::Open };
    call.app.state.open(&open).await?;
    audit(
        call,
        "planned",
        id,
        &open.nonce,
        format!("{} from {}, plan {}", id, args.backup_id, open.plan.digest_hex()?),
    )
    .await?;
    Ok(Restore {
        status: "confirmation_required",
        message: "Nothing has been changed. Show the impact to the person; this restore overwrites all data of the instance.".into(),
        hint: Some(match policy(call).confirmation {
            crate::config::Confirmation::Person => "Call restore_instance again with the same arguments and this confirmation_token; the person will then be asked.".into(),
            crate::config::Confirmation::Token => "The operator waived the person's yes: calling again with this confirmation_token restores at once.".into(),
        }),
        confirmation_token: Some(token),
        impact: Some(impact(&open.plan, &target, &source)),
        ..shown(&open, &prechecks)
    })
}

/// The parts of a reply that a confirmation determines.
fn shown(open: &Confirmation, prechecks: &[Precheck]) -> Restore {
    Restore {
        expires_at: Some(written(open.expires_at)),
        plan: Some(PlanRow::of(&open.plan)),
        prechecks: rows(prechecks),
        ..Restore::default()
    }
}

fn rows(prechecks: &[Precheck]) -> Vec<PrecheckRow> {
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

fn impact(plan: &Plan, target: &TargetFacts, source: &SourceFacts) -> Impact {
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

async fn blocked(call: &Call<'_>, id: &str, nonce: &str, prechecks: &[Precheck]) -> Result<Restore, Fault> {
    let why: Vec<String> = prechecks
        .iter()
        .filter(|c| c.status == checks::Status::Block)
        .map(|c| format!("{}: {}", c.name, c.detail))
        .collect();
    audit(call, "blocked", id, nonce, why.join("; ")).await?;
    Ok(Restore {
        status: "blocked",
        code: Some("precheck.blocked".into()),
        message: format!("Nothing has been changed. {}", why.join("; ")),
        hint: Some("Cure what blocks, then call restore_instance without confirmation_token.".into()),
        prechecks: rows(prechecks),
        ..Restore::default()
    })
}

async fn wait_for_safety(call: &Call<'_>, id: &str, safety: SafetyFacts) -> Result<SafetyFacts, Fault> {
    if safety.standing != SafetyStanding::Running {
        return Ok(safety);
    }
    let job = call.app.provider.job(&safety.job_id).await?;
    follow(call, job, SAFETY_WAIT).await?;
    call.app.provider.safety_standing(id, &safety.job_id, &safety.backup_id).await
}

/// The second call.
async fn commit(call: &Call<'_>, args: &Args, token: &str) -> Result<Outcome, Fault> {
    let open = verified(call, args, token).await?;
    let (id, plan) = (&args.instance_id, &open.plan);
    let waiting = call.app.provider.safety_standing(id, &plan.safety_job_id, &plan.safety_backup_id).await?;
    let safety = wait_for_safety(call, id, waiting).await?;
    let (target, source) = look_again(call, plan).await?;
    let changes = plan.changes(&target, &source, policy(call));
    if !changes.is_empty() {
        return changed(call, args, &open, &changes).await;
    }
    let mut prechecks = checks::judge(&target, &source, policy(call));
    prechecks.push(checks::safety(&safety));
    if checks::blocked(&prechecks) {
        return Outcome::reply(&blocked(call, id, &open.nonce, &prechecks).await?);
    }
    if checks::pending(&prechecks) {
        return Outcome::reply(&Restore {
            status: "prechecks_pending",
            message: "Nothing has been changed. The backup of what is there now is not finished.".into(),
            hint: Some("Call again with the same confirmation_token in a few seconds.".into()),
            confirmation_token: Some(token.into()),
            ..shown(&open, &prechecks)
        });
    }
    let yes = match Yes::recorded(&open).or_else(|| Yes::by_policy(policy(call))) {
        Some(yes) => yes,
        None => {
            let question = question(plan);
            audit(call, "asked", id, &open.nonce, "the person was asked".into()).await?;
            match call.person.ask(&open, &question).await {
                Asked::Deferred => {
                    return Ok(Outcome::AskPerson { nonce: open.nonce.clone(), question, until: open.expires_at });
                }
                Asked::Answered(Answer::Yes(yes)) => yes,
                Asked::Answered(answer) => return not_yes(call, &open, answer, token, &prechecks).await,
            }
        }
    };
    audit(call, "approved", id, &open.nonce, format!("by {}", yes.channel().word())).await?;
    // The person may have taken minutes: what they agreed to must still be what is there.
    let (target, source) = look_again(call, plan).await?;
    let changes = plan.changes(&target, &source, policy(call));
    if !changes.is_empty() {
        return changed(call, args, &open, &changes).await;
    }
    let permit = permit::spend(call.app.state.as_ref(), &open.nonce, plan, yes).await?;
    let human_verified = permit.human_verified();
    let job = call.app.provider.restore(permit).await?;
    audit(call, "restore.started", id, &open.nonce, format!("job {}, human_verified {human_verified}", job.id)).await?;
    let job = follow(call, job, RESTORE_WAIT).await?;
    Outcome::reply(&carried_out(&open, job, human_verified))
}

/// The confirmation an echoed token stands for, if it may still be used for these arguments by this caller.
async fn verified(call: &Call<'_>, args: &Args, token: &str) -> Result<Confirmation, Fault> {
    let key = call.app.state.key().await?;
    let echo = token::read(key, token)?;
    let open = call
        .app
        .state
        .find(&echo.nonce)
        .await?
        .ok_or_else(|| token::mismatch("confirmation_token stands for no plan of this home directory"))?;
    echo.verify(key, call.caller, &open.plan.digest()?, Timestamp::now())?;
    if open.plan.instance_id != args.instance_id || open.plan.backup_id != args.backup_id {
        return Err(token::mismatch(format!(
            "confirmation_token is for a restore of {} from {}, not of {} from {}",
            open.plan.instance_id, open.plan.backup_id, args.instance_id, args.backup_id
        )));
    }
    match open.standing {
        Standing::Open | Standing::Approved => Ok(open),
        Standing::Declined | Standing::Spent | Standing::Superseded => Err(permit::used()),
    }
}

/// Reads the facts again, with the write traffic since the plan as their rate.
async fn look_again(call: &Call<'_>, plan: &Plan) -> Result<(TargetFacts, SourceFacts), Fault> {
    let (mut target, source) =
        heard(call, "pre-checks", call.app.provider.facts(&plan.instance_id, &plan.backup_id, Look::Again)).await?;
    (target.writes_per_second, target.window_seconds) = plan.traffic_since(&target);
    Ok((target, source))
}

/// The plan no longer fits the world: the token is withdrawn and a new plan made.
async fn changed(call: &Call<'_>, args: &Args, open: &Confirmation, changes: &[String]) -> Result<Outcome, Fault> {
    call.app.state.settle(&open.nonce, &[Standing::Open, Standing::Approved], Standing::Superseded).await?;
    audit(call, "plan_changed", &args.instance_id, &open.nonce, changes.join("; ")).await?;
    let fresh = plan(call, args).await?;
    if fresh.status == "blocked" {
        return Outcome::reply(&fresh);
    }
    Outcome::reply(&Restore {
        status: "plan_changed",
        code: Some("plan.changed".into()),
        message: format!("Nothing has been changed. The earlier plan no longer holds: {}", changes.join("; ")),
        hint: Some("Show the new impact to the person, then call again with the new confirmation_token.".into()),
        ..fresh
    })
}

/// What follows from an answer that is not a yes.
async fn not_yes(
    call: &Call<'_>,
    open: &Confirmation,
    answer: Answer,
    token: &str,
    prechecks: &[Precheck],
) -> Result<Outcome, Fault> {
    let state = &call.app.state;
    let id = &open.plan.instance_id;
    let approve = "A person can approve at a terminal on this machine: tair-backup-mcp approve";
    let (event, mut reply) = match answer {
        Answer::Declined => {
            state.settle(&open.nonce, &[Standing::Open, Standing::Approved], Standing::Declined).await?;
            let message = "Nothing has been changed. The person declined; the token is void.";
            let hint = "Do not ask again unless the person wants it; a new restore needs a new plan.";
            ("declined", refusal("declined", "person.declined", message, hint))
        }
        Answer::NoChannel => {
            let message = "Nothing has been changed. A person must approve, and this client cannot ask one.";
            let hint = format!("{approve}; then call again with the same confirmation_token.");
            ("no_channel", refusal("approval_required", "person.no_channel", message, &hint))
        }
        Answer::Dismissed => {
            let message = "Nothing has been changed. The person closed the question without an answer.";
            let hint = format!("Ask them, then call again with the same confirmation_token. {approve}.");
            ("dismissed", refusal("approval_required", "person.dismissed", message, &hint))
        }
        Answer::Yes(_) | Answer::NotAYes => {
            let mut hint = format!(
                "The person has to type the instance id. Call again with the same confirmation_token. {approve}."
            );
            if state.count_wrong_answer(&open.nonce).await? >= WRONG_ANSWERS {
                state.settle(&open.nonce, &[Standing::Open, Standing::Approved], Standing::Superseded).await?;
                hint = "Too many answers without the instance id: the token is void. Call restore_instance without it for a new plan.".into();
            }
            let message = "Nothing has been changed. The answer did not contain the instance id, so it is not a yes.";
            ("not_confirmed", refusal("approval_required", "person.not_confirmed", message, &hint))
        }
    };
    audit(call, event, id, &open.nonce, reply.message.clone()).await?;
    if reply.status == "approval_required" {
        let refused = reply;
        reply = Restore {
            status: refused.status,
            code: refused.code,
            message: refused.message,
            hint: refused.hint,
            next_actions: vec![
                "the person runs: tair-backup-mcp approve".into(),
                "restore_instance with the same confirmation_token".into(),
            ],
            confirmation_token: Some(token.into()),
            ..shown(open, prechecks)
        };
    }
    Outcome::reply(&reply)
}

fn refusal(status: &'static str, code: &str, message: &str, hint: &str) -> Restore {
    Restore { status, code: Some(code.into()), message: message.into(), hint: Some(hint.into()), ..Restore::default() }
}

/// The reply about a restore that runs or is over.
fn carried_out(open: &Confirmation, job: Job, human_verified: bool) -> Restore {
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
