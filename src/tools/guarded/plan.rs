//! The first call: facts are read and assessed, the current data is backed up, and a plan is made with its token.

use super::look::Approved;
use super::reply::{Guarded, GuardedStatus, impact, shown};
use super::{Echoed, Flow, FlowState};
use crate::config::guard::ConfirmationPolicy;
use crate::guard::assess::{assess, safety_backup};
use crate::guard::check::{Precheck, blocked};
use crate::guard::estimate::Work;
use crate::guard::facts::restore::{SafetyFacts, SafetyStatus};
use crate::guard::ledger::{Confirmation, ConfirmationStatus, Superseded};
use crate::guard::plan::{Plan, Safety};
use crate::guard::token;
use crate::guard::writes::Writes;
use crate::model::fault::Fault;
use crate::model::ids::random;
use crate::tools::{FollowUp, Outcome, estimates, follow, run_detached, with_progress};
use jiff::{SignedDuration, Timestamp};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for the safety backup before it says "pending".
const SAFETY_WAIT: Duration = Duration::from_secs(20);

impl Flow<'_> {
    /// Makes a plan. `changes`: why the earlier plan, which was withdrawn, no longer held; `earlier`: what was known of writes then.
    pub(super) async fn plan(&self, changes: Vec<String>, earlier: Option<Writes>) -> Result<FlowState, Fault> {
        let first = changes.is_empty();
        let (since_the_yes, writes) = if first {
            match self.with_approved().await? {
                ControlFlow::Continue(looked) => looked,
                ControlFlow::Break(over) => return Ok(over),
            }
        } else {
            (Vec::new(), None)
        };
        let planned = match self.make_plan(writes.or(earlier), since_the_yes).await? {
            ControlFlow::Continue(planned) => planned,
            ControlFlow::Break(over) => return Ok(over),
        };
        if first || planned.status == GuardedStatus::Blocked {
            return FlowState::over(&planned);
        }
        FlowState::over(&Guarded {
            status: GuardedStatus::PlanChanged,
            code: Some("plan.changed".into()),
            message: format!("Nothing has been changed. The earlier plan no longer holds: {}", changes.join("; ")),
            hint: Some("Show the new impact to the person, then call again with the new confirmation_token.".into()),
            ..planned
        })
    }

    /// Goes on with an equal plan that a person has approved, if it still holds. Else a plan is to be made: with why that one does not hold, and
    /// what was known of writes then.
    async fn with_approved(&self) -> Result<ControlFlow<FlowState, (Vec<String>, Option<Writes>)>, Fault> {
        Ok(match self.look_at_approved().await? {
            Approved::None => ControlFlow::Continue((Vec::new(), None)),
            Approved::Changed(changes, writes) => ControlFlow::Continue((changes, writes)),
            Approved::Holds(echoed, prechecks) => {
                let again = self.given_again(&echoed, &prechecks).await?;
                // A face that goes on by itself does not here: nobody would be asked any more.
                ControlFlow::Break(FlowState::Over(Outcome::reply(&again, FollowUp::Nothing)?))
            }
            Approved::Stopped(reply) => ControlFlow::Break(FlowState::over(&reply)?),
        })
    }

    /// The reply where an equal plan has a yes and still holds: its token once more, and no plan beside it.
    async fn given_again(&self, echoed: &Echoed, prechecks: &[Precheck]) -> Result<Guarded, Fault> {
        let open = &echoed.open;
        self.call
            .app
            .state
            .record(open.record("planned", "the approved plan still holds; its token is given again"))
            .await?;
        Ok(Guarded {
            status: GuardedStatus::ConfirmationRequired,
            message: format!(
                "Nothing has been changed. A person has approved this very plan already, and it still holds. {}.",
                open.plan.warning()
            ),
            hint: Some(
                "Call again with the same arguments and this confirmation_token; the person is not asked again.".into(),
            ),
            next_actions: vec![self.with_token()],
            confirmation_token: Some(echoed.token.clone()),
            impact: Some(impact(&open.plan)),
            ..shown(open, prechecks)
        })
    }

    /// What the person is to do, and the caller: as far as it can be told before anybody is asked.
    fn next_of_plan(&self, open: &Confirmation) -> (String, Vec<String>) {
        let verb = self.act.verb();
        match self.rules.confirmation {
            ConfirmationPolicy::Token => (
                "The operator waived the person's yes: calling again with this confirmation_token does it at once."
                    .into(),
                vec![self.with_token()],
            ),
            ConfirmationPolicy::Person if self.call.person.puts_the_question() => (
                format!(
                    "Call {verb} again with the same arguments and this confirmation_token; the person will then be asked."
                ),
                vec![self.with_token()],
            ),
            ConfirmationPolicy::Person => (
                "This client cannot ask the person: tell them what to run. With wait_seconds the second call waits for their yes.".into(),
                vec![self.approve_command(open), self.with_token()],
            ),
        }
    }

    /// `since_the_yes`: why an equal plan that had a yes does not hold any more. Ends the call where one got its yes meanwhile, and holds.
    async fn make_plan(
        &self,
        earlier: Option<Writes>,
        mut since_the_yes: Vec<String>,
    ) -> Result<ControlFlow<FlowState, Guarded>, Fault> {
        let (call, id, act, rules) = (self.call, self.instance_id, &self.act, self.rules);
        let provider = &call.app.provider;
        let needed = act.needs();
        provider.capabilities(id, &needed).await?.need(&needed)?;
        let facts = with_progress(call, "pre-checks", provider.facts(id, act, None)).await?;
        let work = Work::of(&facts);
        let mut assessment = assess(act, &facts, None, rules)?;
        if let Some(then) = earlier {
            assessment.tell_of_writes_since(then);
        }
        let mut prechecks = std::mem::take(&mut assessment.checks);
        if blocked(&prechecks) {
            return self.blocked(None, &prechecks, assessment.alternative).await.map(ControlFlow::Continue);
        }
        let mut safety = None;
        if assessment.needs_safety_backup {
            let (place, instance_id, assessed) = (Arc::clone(provider), id.to_owned(), assessment.clone());
            let caller = call.caller.id().to_owned();
            let backing_up = async move { place.safety_backup(&instance_id, &assessed, &caller).await };
            let started = run_detached(call, "safety backup", backing_up).await?;
            let taken = self.wait_for_safety(started).await?;
            let looked_at = assessment.writes.map(|writes| writes.read_at);
            prechecks.push(safety_backup(&taken, &assessment.preconditions, false, looked_at));
            if blocked(&prechecks) {
                return self.blocked(None, &prechecks, None).await.map(ControlFlow::Continue);
            }
            safety = Some(taken);
        }
        let mut plan = Plan::new(act.clone(), id, assessment, &prechecks, safety.as_ref(), rules);
        if safety.is_some() && plan.preconditions.may_change_by_safety_backup() {
            // Changes that our own safety backup caused do not void the plan. The count of writes stays the one read before the backup.
            let again = provider.facts(id, act, Some(&plan)).await?;
            let again = assess(act, &again, Some(plan.earlier()), rules)?;
            plan.preconditions.after_safety_backup(&again.preconditions);
            if let (Some(was), Some(is)) = (&mut plan.writes, again.writes) {
                was.offset = is.offset;
            }
        }
        if safety.is_some() {
            plan.impact.keys = self.key_impact(&plan).await;
        }
        plan.estimate = match work {
            Some(work) => estimates::of_plan(call.app, &plan, work).await,
            None => None,
        };
        // Facts and the safety backup took their time. A yes that came meanwhile is not lost by a plan that is not there yet.
        if since_the_yes.is_empty() {
            match self.with_approved().await? {
                ControlFlow::Continue((changes, _)) => since_the_yes = changes,
                ControlFlow::Break(over) => return Ok(ControlFlow::Break(over)),
            }
        }
        let now = Timestamp::now();
        let expires_at = now + SignedDuration::from_mins(i64::from(call.app.config.guard.token_minutes));
        let key = call.app.state.key().await?;
        let (token, nonce) = token::mint(key, random()?, call.caller.id(), &plan.digest()?, expires_at)?;
        let status = ConfirmationStatus::Open;
        let caller = call.caller.id().into();
        let open = Confirmation { nonce, plan, caller, created_at: now, expires_at, status, wrong_answers: 0 };
        let superseded = call.app.state.open(&open).await?;
        let place = match superseded {
            None => "",
            Some(Superseded::Waiting) => ", in the place of an equal one",
            Some(Superseded::Approved) => ", in the place of an equal one that a person had approved",
        };
        let planned = format!("{}, plan {}{place}", act.on(id), open.plan.digest_hex()?);
        call.app.state.record(open.record("planned", planned)).await?;
        let (hint, next_actions) = self.next_of_plan(&open);
        let mut planned = Guarded {
            status: GuardedStatus::ConfirmationRequired,
            message: format!(
                "Nothing has been changed. {}Show the impact to the person. {}.",
                took_the_place(superseded, &since_the_yes),
                open.plan.warning()
            ),
            hint: Some(hint),
            next_actions,
            confirmation_token: Some(token),
            impact: Some(impact(&open.plan)),
            ..shown(&open, &prechecks)
        };
        if let Some(plan) = &mut planned.plan {
            plan.supersedes = superseded.map(Superseded::as_str);
        }
        Ok(ControlFlow::Continue(planned))
    }

    /// Waits a while for a safety backup that is being taken.
    pub(super) async fn wait_for_safety(&self, safety: SafetyFacts) -> Result<SafetyFacts, Fault> {
        if safety.status != SafetyStatus::Running {
            return Ok(safety);
        }
        let provider = &self.call.app.provider;
        let job = self.call.app.state.job(&safety.job_id).await?;
        follow(self.call, job, SAFETY_WAIT).await?;
        let safety = Safety::of(&safety);
        let reading = provider.safety_status(self.instance_id, &safety);
        with_progress(self.call, "verifying the safety backup", reading).await
    }
}

/// That a plan took the place of an equal one, as a sentence.
fn took_the_place(superseded: Option<Superseded>, since_the_yes: &[String]) -> String {
    match superseded {
        None => String::new(),
        Some(Superseded::Waiting) => "This plan takes the place of an equal one, whose token is void. ".into(),
        Some(Superseded::Approved) => {
            let why = match since_the_yes {
                [] => "its time was over, or the yes came just as this one was made".to_owned(),
                why => why.join("; "),
            };
            format!(
                "This plan takes the place of an equal one that a person had approved ({why}): their yes was to that one, and they are \
                 asked again. "
            )
        }
    }
}
