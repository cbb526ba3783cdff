//! The way of every guarded tool: two calls and a person between them. The first plans; the second, with the token echoed,
//! asks.
//!
//! Nothing here touches an instance but `provider.carry_out`, which takes the permit that only the guard makes.

pub mod reply;

use crate::guard::act::Act;
use crate::guard::checks::{self, Precheck};
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus};
use crate::guard::person::{Answer, Yes, question};
use crate::guard::plan::{PLAN_AGAIN, Plan, Policy};
use crate::guard::survey::Instead;
use crate::guard::{permit, token};
use crate::model::fault::Fault;
use crate::model::ids::random;
use crate::model::restore::{SafetyFacts, SafetyStatus};
use crate::provider::Carried;
use crate::tools::{Asked, Outcome, ToolCall, follow, run_detached, with_progress};
use jiff::{SignedDuration, Timestamp};
use reply::{Guarded, carried_out, impact, refusal, rows, shown};
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for the safety backup before it says "pending".
const SAFETY_WAIT: Duration = Duration::from_secs(20);
/// How long the last call follows the job before it says "started".
const JOB_WAIT: Duration = Duration::from_secs(45);
/// Answers that are no yes before the token is withdrawn.
const WRONG_ANSWERS: u32 = 3;

/// Plans an act, or carries out what was planned.
///
/// # Errors
/// `confirm.*`, `backup.not_found`, `backup.damaged`, and those of the instance.
pub async fn run(call: &ToolCall<'_>, instance_id: &str, act: Act, token: Option<&str>) -> Result<Outcome, Fault> {
    let asked = Request { instance_id, act };
    let agreed = match token {
        None => plan(call, &asked).await.and_then(|reply| Agreed::not(&reply)),
        Some(token) => agree(call, &asked, token).await,
    };
    match agreed {
        Ok(Agreed::Yes(open, yes)) => carry_out(call, *open, yes).await,
        Ok(Agreed::Not(outcome)) => Ok(outcome),
        Err(fault) => {
            audit(call, "refused", instance_id, format!("{}: {}", fault.code, fault.message)).await?;
            Err(fault)
        }
    }
}

/// Whether it may be done. Until then nothing is changed.
enum Agreed {
    /// All holds, and there is a yes.
    Yes(Box<Confirmation>, Yes),
    /// Not, or not yet.
    Not(Outcome),
}

impl Agreed {
    fn not(reply: &Guarded) -> Result<Self, Fault> {
        Outcome::reply(reply).map(Self::Not)
    }
}

/// What is asked for.
struct Request<'a> {
    instance_id: &'a str,
    act: Act,
}

fn policy(call: &ToolCall<'_>) -> Policy {
    let guard = &call.app.config.guard;
    Policy { confirmation: guard.confirmation, max_writes_per_second: guard.max_writes_per_second }
}

/// The call that follows a plan.
fn with_token(act: &Act) -> String {
    format!("{} with the same arguments and confirmation_token", act.verb())
}

/// Writes down what happened before there was a plan.
async fn audit(call: &ToolCall<'_>, event: &str, instance_id: &str, detail: String) -> Result<(), Fault> {
    call.app.state.record(AuditRecord::now(event, call.caller, instance_id, detail)).await
}

/// The first call.
async fn plan(call: &ToolCall<'_>, asked: &Request<'_>) -> Result<Guarded, Fault> {
    let provider = &call.app.provider;
    let (id, act) = (asked.instance_id, &asked.act);
    let mut survey = with_progress(call, "pre-checks", provider.survey(id, act, None, policy(call))).await?;
    let mut prechecks = std::mem::take(&mut survey.checks);
    if checks::blocked(&prechecks) {
        return blocked(call, asked, None, &prechecks, survey.instead).await;
    }
    let mut safety = None;
    if survey.wants_safety {
        let (place, instance_id, seen) = (Arc::clone(provider), id.to_owned(), survey.clone());
        let started =
            run_detached(call, "safety backup", async move { place.safety_backup(&instance_id, &seen).await }).await?;
        let taken = wait_for_safety(call, id, started).await?;
        prechecks.push(checks::safety(&taken));
        if checks::blocked(&prechecks) {
            return blocked(call, asked, None, &prechecks, None).await;
        }
        safety = Some(taken);
    }
    let mut plan = Plan::new(act.clone(), id, &survey, &prechecks, safety.as_ref(), policy(call));
    if safety.is_some() && !survey.caused.is_empty() {
        // Ours to have caused, not a change of the world. The count of writes stays the one from before the backup.
        let again = provider.survey(id, act, Some(&plan), policy(call)).await?;
        plan.pins.extend(again.pins.into_iter().filter(|(name, _)| survey.caused.contains(&name.as_str())));
    }
    let now = Timestamp::now();
    let expires_at = now + SignedDuration::from_mins(i64::from(call.app.config.guard.token_minutes));
    let (token, nonce) = token::mint(call.app.state.key().await?, random()?, call.caller, &plan.digest()?, expires_at)?;
    let open = Confirmation {
        nonce,
        plan,
        caller: call.caller.into(),
        created_at: now,
        expires_at,
        status: ConfirmationStatus::Open,
    };
    call.app.state.open(&open).await?;
    let planned = format!("{}, plan {}", act.on(id), open.plan.digest_hex()?);
    call.app.state.record(open.record("planned", planned)).await?;
    Ok(Guarded {
        status: "confirmation_required",
        message: format!("Nothing has been changed. Show the impact to the person. {}.", act.warning()),
        hint: Some(match policy(call).confirmation {
            crate::config::ConfirmationPolicy::Person => format!(
                "ToolCall {} again with the same arguments and this confirmation_token; the person will then be asked.",
                act.verb()
            ),
            crate::config::ConfirmationPolicy::Token => {
                "The operator waived the person's yes: calling again with this confirmation_token does it at once."
                    .into()
            }
        }),
        next_actions: vec![with_token(act)],
        confirmation_token: Some(token),
        impact: Some(impact(&open.plan)),
        ..shown(&open, &prechecks)
    })
}

async fn blocked(
    call: &ToolCall<'_>,
    asked: &Request<'_>,
    open: Option<&Confirmation>,
    prechecks: &[Precheck],
    instead: Option<Instead>,
) -> Result<Guarded, Fault> {
    let why = checks::blocking(prechecks).join("; ");
    match open {
        Some(open) => call.app.state.record(open.record("blocked", why.clone())).await?,
        None => audit(call, "blocked", asked.instance_id, format!("{}: {why}", asked.act.verb())).await?,
    }
    let (hint, next) = match instead {
        Some(instead) => (instead.why, instead.call),
        None => ("Cure what blocks, then make a new plan.".into(), PLAN_AGAIN.into()),
    };
    Ok(Guarded {
        status: "blocked",
        code: Some("precheck.blocked".into()),
        message: format!("Nothing has been changed. {why}"),
        hint: Some(hint),
        next_actions: vec![next],
        prechecks: rows(prechecks),
        ..Guarded::default()
    })
}

async fn wait_for_safety(call: &ToolCall<'_>, id: &str, safety: SafetyFacts) -> Result<SafetyFacts, Fault> {
    if safety.status != SafetyStatus::Running {
        return Ok(safety);
    }
    let job = call.app.state.job(&safety.job_id).await?;
    follow(call, job, SAFETY_WAIT).await?;
    call.app.provider.safety_status(id, &safety.job_id, &safety.backup_id).await
}

/// The second call, up to the yes.
async fn agree(call: &ToolCall<'_>, asked: &Request<'_>, token: &str) -> Result<Agreed, Fault> {
    let open = verified(call, asked, token).await?;
    let (id, plan, state) = (asked.instance_id, &open.plan, &call.app.state);
    let mut safety = None;
    if let Some(planned) = &plan.safety {
        let waiting = call.app.provider.safety_status(id, &planned.job_id, &planned.backup_id).await?;
        safety = Some(checks::safety(&wait_for_safety(call, id, waiting).await?));
    }
    let prechecks = match still_stands(call, asked, &open, safety.clone(), token).await? {
        Ok(prechecks) => prechecks,
        Err(reply) => return Agreed::not(&reply),
    };
    let yes = match Yes::recorded(&open).or_else(|| Yes::by_policy(policy(call))) {
        Some(yes) => yes,
        None => {
            let question = question(plan, &checks::all_warnings(&plan.warnings, &prechecks));
            if call.person.puts_the_question() {
                state.record(open.record("asked", "the person was asked")).await?;
            }
            match call.person.ask(&open, &question).await {
                Asked::Deferred => {
                    let nonce = open.nonce.clone();
                    return Ok(Agreed::Not(Outcome::AskPerson { nonce, question, until: open.expires_at }));
                }
                Asked::Answered(Answer::Yes(yes)) => yes,
                Asked::Answered(answer) => {
                    return not_yes(call, &open, answer, token, &prechecks).await.and_then(|reply| Agreed::not(&reply));
                }
            }
        }
    };
    state.record(open.record("approved", format!("by {}", yes.channel().as_str()))).await?;
    // The person may have taken minutes: what they agreed to must still be what is there.
    match still_stands(call, asked, &open, safety, token).await? {
        Ok(_) => Ok(Agreed::Yes(Box::new(open), yes)),
        Err(reply) => Agreed::not(&reply),
    }
}

/// Does what was agreed to.
async fn carry_out(call: &ToolCall<'_>, open: Confirmation, yes: Yes) -> Result<Outcome, Fault> {
    let (state, provider, agreed) = (Arc::clone(&call.app.state), Arc::clone(&call.app.provider), open.clone());
    // Spent and begun in one go: a client that goes away in between must not leave a spent token and nothing begun.
    let begun = run_detached(call, open.plan.act.noun(), async move {
        let done = async {
            let permit = permit::redeem(state.as_ref(), &agreed, yes).await?;
            let human_verified = permit.human_verified();
            let carried = provider.carry_out(permit).await.map_err(permit::token_used_up)?;
            Ok((carried, human_verified))
        };
        let done: Result<_, Fault> = done.await;
        if let Err(fault) = &done
            && let Err(e) = state.record(agreed.record("refused", format!("{}: {}", fault.code, fault.message))).await
        {
            tracing::error!("the audit could not be written: {e}");
        }
        done
    });
    let (mut carried, human_verified) = begun.await?;
    if let Carried::Job(job) = &mut carried {
        match follow(call, job.clone(), JOB_WAIT).await {
            Ok(seen) => *job = seen,
            // It has begun, whatever keeps us from watching it: the caller must get its id.
            Err(fault) => tracing::error!(job = %job.id, "the job cannot be followed: {fault}"),
        }
    }
    Outcome::reply(&carried_out(&open, carried, human_verified))
}

/// Looks again at all that the plan was made of. The pre-checks where it still stands; else the reply that says why not.
async fn still_stands(
    call: &ToolCall<'_>,
    asked: &Request<'_>,
    open: &Confirmation,
    safety: Option<Precheck>,
    token: &str,
) -> Result<Result<Vec<Precheck>, Guarded>, Fault> {
    let (plan, provider) = (&open.plan, &call.app.provider);
    let look = provider.survey(&plan.instance_id, &plan.act, Some(plan), policy(call));
    let survey = with_progress(call, "pre-checks", look).await?;
    let changes = plan.changes(&survey, policy(call));
    if !changes.is_empty() {
        return changed(call, asked, open, &changes).await.map(Err);
    }
    let mut prechecks = survey.checks;
    prechecks.extend(safety);
    if checks::blocked(&prechecks) {
        return blocked(call, asked, Some(open), &prechecks, survey.instead).await.map(Err);
    }
    let pending: Vec<&str> =
        prechecks.iter().filter(|c| c.status == checks::Status::Pending).map(|c| c.detail.as_str()).collect();
    if pending.is_empty() {
        return Ok(Ok(prechecks));
    }
    Ok(Err(Guarded {
        status: "prechecks_pending",
        message: format!("Nothing has been changed. Not yet: {}.", pending.join("; ")),
        hint: Some("ToolCall again in a few seconds.".into()),
        next_actions: vec![with_token(&plan.act)],
        confirmation_token: Some(token.into()),
        ..shown(open, &prechecks)
    }))
}

/// The confirmation an echoed token stands for, if it may still be used for this by this caller.
async fn verified(call: &ToolCall<'_>, asked: &Request<'_>, token: &str) -> Result<Confirmation, Fault> {
    let key = call.app.state.key().await?;
    let echo = token::read(key, token)?;
    let open = call
        .app
        .state
        .find(&echo.nonce)
        .await?
        .ok_or_else(|| token::mismatch("confirmation_token stands for no plan of this home directory"))?;
    echo.verify(key, call.caller, &open.plan.digest()?, Timestamp::now())?;
    if open.plan.instance_id != asked.instance_id || open.plan.act != asked.act {
        return Err(token::mismatch(format!(
            "confirmation_token is for the {}, not for the {}",
            open.plan.act.on(&open.plan.instance_id),
            asked.act.on(asked.instance_id)
        )));
    }
    match open.status {
        ConfirmationStatus::Open | ConfirmationStatus::Approved => Ok(open),
        ConfirmationStatus::Declined | ConfirmationStatus::Redeemed | ConfirmationStatus::Superseded => {
            Err(permit::used())
        }
    }
}

/// The plan no longer fits the world: the token is withdrawn and a new plan made.
async fn changed(
    call: &ToolCall<'_>,
    asked: &Request<'_>,
    open: &Confirmation,
    changes: &[String],
) -> Result<Guarded, Fault> {
    call.app
        .state
        .transition(
            &open.nonce,
            &[ConfirmationStatus::Open, ConfirmationStatus::Approved],
            ConfirmationStatus::Superseded,
        )
        .await?;
    call.app.state.record(open.record("plan_changed", changes.join("; "))).await?;
    let fresh = plan(call, asked).await?;
    if fresh.status == "blocked" {
        return Ok(fresh);
    }
    Ok(Guarded {
        status: "plan_changed",
        code: Some("plan.changed".into()),
        message: format!("Nothing has been changed. The earlier plan no longer holds: {}", changes.join("; ")),
        hint: Some("Show the new impact to the person, then call again with the new confirmation_token.".into()),
        ..fresh
    })
}

/// What follows from an answer that is not a yes.
async fn not_yes(
    call: &ToolCall<'_>,
    open: &Confirmation,
    answer: Answer,
    token: &str,
    prechecks: &[Precheck],
) -> Result<Guarded, Fault> {
    let state = &call.app.state;
    let approve = "A person can approve at a terminal on this machine: tair-backup-mcp approve";
    let nobody = "Nothing has been changed.";
    // Another call with the same token may have got its yes meanwhile: then this answer comes too late to be a no.
    let void = async |status| {
        let moved =
            state.transition(&open.nonce, &[ConfirmationStatus::Open, ConfirmationStatus::Approved], status).await?;
        if moved { Ok(()) } else { Err(permit::used()) }
    };
    let (event, refused) = match answer {
        Answer::Declined => {
            void(ConfirmationStatus::Declined).await?;
            let hint = "Do not ask again unless the person wants it; doing it needs a new plan. A client that declines by \
                itself cannot be asked through: there the person runs tair-backup-mcp approve between the two calls.";
            let message = format!("{nobody} The person declined; the token is void.");
            ("declined", refusal("declined", "person.declined", &message, hint))
        }
        Answer::NoChannel => {
            let message = format!("{nobody} A person must approve, and this client cannot ask one.");
            let hint = format!("{approve}; then call again with the same confirmation_token.");
            ("no_channel", refusal("approval_required", "person.no_channel", &message, &hint))
        }
        Answer::Dismissed => {
            let message = format!("{nobody} The person closed the question without an answer.");
            let hint = format!("Ask them, then call again with the same confirmation_token. {approve}.");
            ("dismissed", refusal("approval_required", "person.dismissed", &message, &hint))
        }
        Answer::Yes(_) | Answer::NotAYes => {
            let message = format!("{nobody} The answer did not contain the instance id, so it is not a yes.");
            let refused = |hint: &str| refusal("approval_required", "person.not_confirmed", &message, hint);
            if state.count_wrong_answer(&open.nonce).await? >= WRONG_ANSWERS {
                void(ConfirmationStatus::Superseded).await?;
                state.record(open.record("not_confirmed", format!("{message} The token is void."))).await?;
                return Ok(refused(
                    "Too many answers without the instance id: the token is void. ToolCall without it for a new plan.",
                ));
            }
            let hint = format!(
                "The person has to type the instance id. ToolCall again with the same confirmation_token. {approve}."
            );
            ("not_confirmed", refused(&hint))
        }
    };
    state.record(open.record(event, refused.message.clone())).await?;
    if refused.status == "declined" {
        return Ok(refused);
    }
    Ok(Guarded {
        status: refused.status,
        code: refused.code,
        message: refused.message,
        hint: refused.hint,
        next_actions: vec!["the person runs: tair-backup-mcp approve".into(), with_token(&open.plan.act)],
        confirmation_token: Some(token.into()),
        impact: Some(impact(&open.plan)),
        ..shown(open, prechecks)
    })
}
