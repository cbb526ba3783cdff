//! The second look: at the echoed token and at the facts of its plan, before the person is asked and after their yes.

use super::reply::{Guarded, GuardedStatus, shown};
use super::{Echoed, Flow, FlowState};
use crate::guard::act::Act;
use crate::guard::assess::assess;
use crate::guard::check::{Precheck, Status, blocked};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::person::{Channel, Yes};
use crate::guard::writes::Writes;
use crate::guard::{permit, token};
use crate::model::fault::{Fault, Kind};
use crate::tools::with_progress;
use jiff::Timestamp;

/// What the second look found.
enum Look {
    /// The plan holds; the pre-checks as they are now.
    Holds(Vec<Precheck>),
    /// The plan does not hold, because of these changes.
    Changed(Vec<String>),
    /// A check blocks or is pending; the reply that says so.
    Stopped(Box<Guarded>),
}

/// What a first call finds of an equal plan that has a person's yes.
pub(super) enum Approved {
    /// There is none.
    None,
    /// It still holds, and so does the yes.
    Holds(Echoed, Vec<Precheck>),
    /// It does not hold, because of these changes: the yes was to that plan alone. With what was known of the instance's writes then.
    Changed(Vec<String>, Option<Writes>),
    /// A check blocks or is pending, which costs the yes nothing; the reply that says so.
    Stopped(Box<Guarded>),
}

impl Flow<'_> {
    /// Finds the plan that an echoed token stands for, and checks that this caller may use it for this act.
    pub(super) async fn verify(&self, token: String) -> Result<FlowState, Fault> {
        let state = &self.call.app.state;
        let key = state.key().await?;
        let echo = token::read(key, &token)?;
        let open = state
            .find(&echo.nonce)
            .await?
            .ok_or_else(|| token::mismatch("confirmation_token stands for no plan of this home directory"))?;
        echo.verify(key, self.call.caller.id(), &open.plan.digest()?, Timestamp::now())?;
        if open.plan.instance_id != self.instance_id || open.plan.act != self.act {
            return Err(token::mismatch(format!(
                "confirmation_token is for the {}, not for the {}",
                open.plan.act.on(&open.plan.instance_id),
                self.act.on(self.instance_id)
            )));
        }
        match open.status {
            ConfirmationStatus::Open | ConfirmationStatus::Approved => {
                Ok(FlowState::Verified(Echoed { open: Box::new(open), token, safety: None }))
            }
            ConfirmationStatus::Declined
            | ConfirmationStatus::Redeemed
            | ConfirmationStatus::Superseded
            | ConfirmationStatus::ApprovalSuperseded => Err(permit::no_longer(state.as_ref(), &open.nonce).await?),
        }
    }

    /// Looks again before the person is asked: what no longer holds must not cost them a question.
    pub(super) async fn look_before_asking(&self, mut echoed: Echoed) -> Result<FlowState, Fault> {
        echoed.safety = self.look_at_safety(&echoed.open).await?;
        match self.look(&echoed).await? {
            Look::Holds(prechecks) => Ok(FlowState::Holds(echoed, prechecks)),
            Look::Changed(changes) => {
                let agreed = echoed.open.status == ConfirmationStatus::Approved;
                self.withdraw(&echoed, changes, agreed).await
            }
            Look::Stopped(reply) => FlowState::over(&reply),
        }
    }

    /// Looks at an equal plan that a person has approved already: a yes is not lost because the token is.
    pub(super) async fn look_at_approved(&self) -> Result<Approved, Fault> {
        // A command has no token to be given again: it asks whoever has typed it.
        if matches!(self.act, Act::Prune { .. }) {
            return Ok(Approved::None);
        }
        let state = &self.call.app.state;
        let caller = self.call.caller.id();
        let plans = match state.redeemable().await {
            // A later version's, of whomever: it must not keep everybody from making a plan.
            Err(fault) if fault.kind == Kind::Damaged => return Ok(Approved::None),
            plans => plans?,
        };
        let equal = plans.into_iter().find(|open| {
            open.status == ConfirmationStatus::Approved && open.asks_for(caller, self.instance_id, &self.act)
        });
        let Some(open) = equal else { return Ok(Approved::None) };
        let (expires_at, writes) = (open.expires_at, open.plan.writes);
        let key = state.key().await?;
        let token = token::again(key, &open.nonce, caller, &open.plan.digest()?, open.expires_at)?;
        let mut echoed = Echoed { open: Box::new(open), token, safety: None };
        let looked = async {
            echoed.safety = self.look_at_safety(&echoed.open).await?;
            // Without its way back this plan is good for nothing any more, and a new one takes another.
            match echoed.safety.as_ref().filter(|check| check.status == Status::Block) {
                Some(lost) => Ok(Look::Changed(vec![lost.detail.clone()])),
                None => self.look(&echoed).await,
            }
        };
        let found = looked.await;
        Ok(match found {
            // Looking takes its time.
            Ok(Look::Holds(_)) if Timestamp::now() >= expires_at => {
                Approved::Changed(vec!["its time is over".into()], writes)
            }
            Ok(Look::Holds(prechecks)) => Approved::Holds(echoed, prechecks),
            Ok(Look::Changed(changes)) => Approved::Changed(changes, writes),
            Ok(Look::Stopped(reply)) => Approved::Stopped(reply),
            // What passes costs no yes: the same call looks again.
            Err(fault) if fault.kind == Kind::Provider => return Err(fault),
            // What can no longer be looked at must not keep a new plan from being made.
            Err(fault) => Approved::Changed(vec![fault.message], writes),
        })
    }

    /// Looks again after the yes. The person may have taken minutes: what they agreed to must still be what there is.
    pub(super) async fn look_after_yes(&self, mut echoed: Echoed, yes: Yes) -> Result<FlowState, Fault> {
        // What undoes the act may have been removed while the person thought.
        echoed.safety = self.look_at_safety(&echoed.open).await?;
        match self.look(&echoed).await? {
            Look::Holds(_) => Ok(FlowState::Agreed(echoed.open, yes)),
            Look::Changed(changes) => {
                let agreed = matches!(yes.channel(), Channel::Elicitation | Channel::Terminal);
                self.withdraw(&echoed, changes, agreed).await
            }
            Look::Stopped(reply) => FlowState::over(&reply),
        }
    }

    /// The check of the plan's safety backup as it is now, where the plan has one.
    async fn look_at_safety(&self, open: &Confirmation) -> Result<Option<Precheck>, Fault> {
        let Some(planned) = &open.plan.safety else { return Ok(None) };
        let provider = &self.call.app.provider;
        let reading = provider.safety_status(self.instance_id, planned);
        let found = with_progress(self.call, "verifying the safety backup", reading).await?;
        Ok(Some(open.plan.safety_check(&self.wait_for_safety(found).await?)))
    }

    /// Looks again at all that the plan was made of.
    async fn look(&self, echoed: &Echoed) -> Result<Look, Fault> {
        let Echoed { open, token, safety } = echoed;
        let plan = &open.plan;
        let reading = self.call.app.provider.facts(&plan.instance_id, &plan.act, Some(plan));
        let facts = with_progress(self.call, "pre-checks", reading).await?;
        let mut now = assess(&plan.act, &facts, Some(plan.earlier()), self.rules)?;
        let changes = plan.changes(&now, self.rules);
        if !changes.is_empty() {
            return Ok(Look::Changed(changes));
        }
        let mut prechecks = std::mem::take(&mut now.checks);
        prechecks.extend(safety.clone());
        if blocked(&prechecks) {
            return Ok(Look::Stopped(Box::new(self.blocked(Some(open), &prechecks, now.alternative).await?)));
        }
        let pending: Vec<&str> =
            prechecks.iter().filter(|c| c.status == Status::Pending).map(|c| c.detail.as_str()).collect();
        if pending.is_empty() {
            return Ok(Look::Holds(prechecks));
        }
        Ok(Look::Stopped(Box::new(Guarded {
            status: GuardedStatus::Pending,
            message: format!("Nothing has been changed. Not yet: {}.", pending.join("; ")),
            hint: Some("Call again in a few seconds.".into()),
            next_actions: vec![self.with_token()],
            confirmation_token: Some(token.clone()),
            ..shown(open, &prechecks)
        })))
    }

    /// Withdraws a token whose plan no longer holds; a new plan follows. `agreed`: whether a person had said yes.
    async fn withdraw(&self, echoed: &Echoed, mut changes: Vec<String>, agreed: bool) -> Result<FlowState, Fault> {
        let (state, open) = (&self.call.app.state, &echoed.open);
        let redeemable = [ConfirmationStatus::Open, ConfirmationStatus::Approved];
        // Since it was read, a yes may have come at a terminal.
        let status = if agreed { ConfirmationStatus::ApprovalSuperseded } else { open.status.withdrawn() };
        state.transition(&open.nonce, &redeemable, status).await?;
        state.record(open.record("plan_changed", changes.join("; "))).await?;
        if agreed {
            changes.push("the person's yes was to that plan, and they are asked again".into());
        }
        Ok(FlowState::Unplanned { changes, earlier: open.plan.writes })
    }
}
