//! `restore_instance`: two calls and a person between them. The first plans; the second, with the token echoed, asks.
//!
//! Nothing here touches the instance but `provider.restore`, which takes the permit that only the guard makes.

pub mod reply;

use crate::guard::checks::{self, Precheck};
use crate::guard::ledger::{AuditRecord, Confirmation, Ledger as _, Standing};
use crate::guard::person::{Answer, Yes, question};
use crate::guard::plan::{PLAN_AGAIN, Plan, Policy};
use crate::guard::{permit, token};
use crate::model::fault::Fault;
use crate::model::ids::{check_backup_id, random};
use crate::model::restore::{Look, SafetyFacts, SafetyStanding, SourceFacts, TargetFacts};
use crate::tools::{Asked, Call, Outcome, follow};
use jiff::{SignedDuration, Timestamp};
use reply::{Restore, carried_out, impact, refusal, rows, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a call waits for the safety backup before it says "pending".
const SAFETY_WAIT: Duration = Duration::from_secs(20);
/// How long the last call follows the restore before it says "started".
const RESTORE_WAIT: Duration = Duration::from_secs(45);
/// The call that follows a plan.
const WITH_TOKEN: &str = "restore_instance with the same arguments and confirmation_token";
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
        next_actions: vec![WITH_TOKEN.into()],
        confirmation_token: Some(token),
        impact: Some(impact(&open.plan, &target, &source)),
        ..shown(&open, &prechecks)
    })
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
        hint: Some("Cure what blocks, then make a new plan.".into()),
        next_actions: vec![PLAN_AGAIN.into()],
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
            hint: Some("Call again in a few seconds.".into()),
            next_actions: vec![WITH_TOKEN.into()],
            confirmation_token: Some(token.into()),
            ..shown(&open, &prechecks)
        });
    }
    let yes = match Yes::recorded(&open).or_else(|| Yes::by_policy(policy(call))) {
        Some(yes) => yes,
        None => {
            let question = question(plan);
            if call.person.puts_the_question() {
                audit(call, "asked", id, &open.nonce, "the person was asked".into()).await?;
            }
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
    let permit = permit::spend(call.app.state.as_ref(), &open, yes).await?;
    let human_verified = permit.human_verified();
    let job = call.app.provider.restore(permit).await?;
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
            next_actions: vec!["the person runs: tair-backup-mcp approve".into(), WITH_TOKEN.into()],
            confirmation_token: Some(token.into()),
            ..shown(open, prechecks)
        };
    }
    Outcome::reply(&reply)
}
