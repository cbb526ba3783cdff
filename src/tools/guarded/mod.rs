//! The way of every guarded tool: two calls and a person between them, as a state machine.
//!
//! ```text
//! first call    Unplanned ──plan──────────────────────────────────────────────▶ Over (the plan and its token; or an equal plan that
//!                                                                                    has a yes and still holds, with its token)
//! second call   Echoed ──verify──▶ Verified ──look──▶ Holds ──ask──▶ Approved ──look──▶ Agreed ──carry out──▶ Over
//!                                     │                 │                │
//!                                     │                 └ no yes ────────│──────────▶ Over
//!                                     ├ blocked, or not yet ─────────────┴──────────▶ Over
//!                                     └ changed ──▶ Unplanned (the token is withdrawn, a new plan is made)
//! ```
//!
//! Nothing here touches an instance but `Provider::carry_out`, which takes the permit that only the guard makes.

mod ask;
mod carry_out;
mod cure;
mod look;
mod plan;
pub mod reply;

use crate::guard::act::Act;
use crate::guard::check::{self, Precheck, Status};
use crate::guard::impact::Alternative;
use crate::guard::ledger::{AuditRecord, Confirmation};
use crate::guard::person::Yes;
use crate::guard::plan::Plan;
use crate::guard::rules::Rules;
use crate::guard::writes::Writes;
use crate::model::fault::Fault;
use crate::model::impact::KeyImpact;
use crate::model::text::PERSON_RUNS;
use crate::tools::plan_rows::approve;
use crate::tools::{App, Outcome, ToolCall, arguments, run_detached};
use reply::{Guarded, GuardedStatus, rows};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far a guarded call is. Each state holds what the next transition needs.
enum FlowState {
    /// No plan exists; an earlier one was withdrawn because of these changes.
    Unplanned {
        /// Why the earlier plan no longer held; empty on a first call.
        changes: Vec<String>,
        /// What was known of the instance's writes when that plan was made.
        earlier: Option<Writes>,
    },
    /// A token was echoed.
    Echoed {
        /// The token as the caller sent it.
        token: String,
    },
    /// The token stands for a plan of this very act that nobody has redeemed.
    Verified(Echoed),
    /// The second look found that the plan holds.
    Holds(Echoed, Vec<Precheck>),
    /// The person said yes, which may have taken minutes.
    Approved(Echoed, Yes),
    /// A further look after the yes found that the plan still holds.
    Agreed(Box<Confirmation>, Yes),
    /// The call ends with this outcome.
    Over(Outcome),
}

/// A plan whose token was echoed.
struct Echoed {
    open: Box<Confirmation>,
    token: String,
    /// The check of the plan's safety backup, where it has one.
    safety: Option<Precheck>,
}

impl FlowState {
    fn over(reply: &Guarded) -> Result<Self, Fault> {
        reply.outcome().map(Self::Over)
    }
}

/// One guarded call.
struct Flow<'a> {
    call: &'a ToolCall<'a>,
    instance_id: &'a str,
    act: Act,
    rules: Rules,
    /// Until when the call waits for a yes at a terminal, and then for the job.
    until: Instant,
}

/// Plans an act, or carries out what was planned. `wait_seconds`: for how long the second call waits for a yes that only a terminal can bring.
///
/// # Errors
/// `arguments.invalid`, `confirm.*`, `backup.not_found`, `backup.damaged`, and those of the instance.
pub async fn run(
    call: &ToolCall<'_>,
    instance_id: &str,
    act: Act,
    token: Option<&str>,
    wait_seconds: Option<u64>,
) -> Result<Outcome, Fault> {
    let guard = &call.app.config.guard;
    let rules = Rules { confirmation: guard.confirmation, max_writes_per_second: guard.max_writes_per_second };
    let flow = Flow { call, instance_id, act, rules, until: Instant::now() + arguments::wait(wait_seconds, 0)? };
    let mut state = match token {
        None => FlowState::Unplanned { changes: Vec::new(), earlier: None },
        Some(token) => FlowState::Echoed { token: token.to_owned() },
    };
    loop {
        let next = match state {
            FlowState::Over(outcome) => return Ok(outcome),
            // From the yes on, carrying the act out writes the audit.
            FlowState::Agreed(open, yes) => return flow.carry_out(*open, yes).await,
            FlowState::Unplanned { changes, earlier } => flow.plan(changes, earlier).await,
            FlowState::Echoed { token } => flow.verify(token).await,
            FlowState::Verified(echoed) => flow.look_before_asking(echoed).await,
            FlowState::Holds(echoed, prechecks) => flow.ask(echoed, prechecks).await,
            FlowState::Approved(echoed, yes) => flow.look_after_yes(echoed, yes).await,
        };
        state = match next {
            Ok(next) => next,
            Err(fault) => {
                flow.audit("refused", format!("{}: {}", fault.code, fault.message)).await?;
                return Err(fault);
            }
        };
    }
}

/// What becomes of keys, for a person who is asked beside the calls: where the plan's safety backup was not there yet when the plan was made,
/// and may be now. `None`: the plan tells all that is to be told.
pub async fn keys_of_later_backup(app: &App, plan: &Plan) -> Option<KeyImpact> {
    let within = time_for_keys(app).filter(|_| awaits_backup(plan))?;
    app.provider.key_impact(plan, within).await
}

/// Whether a plan tells of keys, and its safety backup was not there yet when it was made.
fn awaits_backup(plan: &Plan) -> bool {
    plan.impact.keys.is_some() && plan.safety.as_ref().is_some_and(|safety| safety.stored_digest.is_empty())
}

/// How long keys are compared; `None` where the operator does not want it.
fn time_for_keys(app: &App) -> Option<Duration> {
    Some(Duration::from_secs(app.config.guard.impact_seconds.into())).filter(|within| !within.is_zero())
}

impl Flow<'_> {
    /// Records an event in the audit that no confirmation belongs to.
    async fn audit(&self, event: &str, detail: String) -> Result<(), Fault> {
        self.call.app.state.record(AuditRecord::now(event, self.call.caller.id(), self.instance_id, detail)).await
    }

    /// What becomes of keys; `None` where nobody can tell, or the operator does not want it.
    async fn key_impact(&self, plan: &Plan) -> Option<KeyImpact> {
        let app = self.call.app;
        let within = time_for_keys(app)?;
        let (provider, plan) = (Arc::clone(&app.provider), plan.clone());
        // What it starts on this machine is ended in order also where the client goes away.
        let comparing = async move { Ok(provider.key_impact(&plan, within).await) };
        let compared = run_detached(self.call, "comparing keys", comparing).await;
        compared.unwrap_or_else(|fault| Some(KeyImpact::nothing_compared(fault.message)))
    }

    /// The call that follows a plan, for `next_actions`.
    fn with_token(&self) -> String {
        format!("{} with the same arguments and confirmation_token", self.act.verb())
    }

    /// What a person does for a yes where the client cannot ask, for `next_actions`.
    fn approve_command(&self, open: &Confirmation) -> String {
        format!("{PERSON_RUNS}{}", approve(&self.call.app.config, open))
    }

    /// The reply where a check blocks.
    async fn blocked(
        &self,
        open: Option<&Confirmation>,
        prechecks: &[Precheck],
        alternative: Option<Alternative>,
    ) -> Result<Guarded, Fault> {
        let why = check::of_status(Status::Block, prechecks).join("; ");
        match open {
            Some(open) => self.call.app.state.record(open.record("blocked", why.clone())).await?,
            None => self.audit("blocked", format!("{}: {why}", self.act.verb())).await?,
        }
        let (hint, next) = match alternative {
            Some(Alternative { why, call }) => (why, vec![call]),
            None => self.cures(prechecks).await,
        };
        Ok(Guarded {
            status: GuardedStatus::Blocked,
            code: Some("precheck.blocked".into()),
            message: format!("Nothing has been changed. {why}"),
            hint: Some(hint),
            next_actions: next,
            prechecks: rows(prechecks),
            ..Guarded::default()
        })
    }
}
