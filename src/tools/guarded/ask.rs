//! Asking the person, and the reply to an answer that is no yes.

use super::reply::{Guarded, GuardedStatus, impact, refusal, shown};
use super::{Echoed, Flow, FlowState, awaits_backup};
use crate::guard::check::{Precheck, all_warnings};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::permit;
use crate::guard::person::{ANSWERS_BEFORE_VOID, Answer, Yes, question};
use crate::model::fault::{Fault, Kind};
use crate::model::impact::KeyImpact;
use crate::tools::{Asked, Outcome};

const UNCHANGED: &str = "Nothing has been changed.";

impl Flow<'_> {
    /// Asks the person, unless their yes is recorded already or the rules need none.
    pub(super) async fn ask(&self, echoed: Echoed, prechecks: Vec<Precheck>) -> Result<FlowState, Fault> {
        let (state, open) = (&self.call.app.state, &echoed.open);
        let given = match Yes::recorded(open)? {
            None => Yes::by_rules(open, self.rules)?,
            recorded => recorded,
        };
        let yes = match given {
            Some(yes) => yes,
            None => {
                let put = self.call.person.puts_the_question();
                let keys = if put { self.keys_of_later_backup(open).await } else { None };
                let question = question(&open.plan, keys.as_ref(), &all_warnings(&open.plan.warnings, &prechecks));
                if put {
                    state.record(open.record("asked", "the person was asked")).await?;
                }
                match self.call.person.ask(open, &question).await {
                    Asked::Deferred => {
                        self.count_deferred(open).await?;
                        let nonce = open.nonce.clone();
                        return Ok(FlowState::Over(Outcome::AskPerson { nonce, question, until: open.expires_at }));
                    }
                    Asked::Answered(Answer::Yes(yes)) => yes,
                    Asked::Answered(answer) => {
                        return FlowState::over(&self.no_yes(&echoed, answer, put, &prechecks, keys.as_ref()).await?);
                    }
                }
            }
        };
        state.record(open.record("approved", format!("by {}", yes.channel().as_str()))).await?;
        Ok(FlowState::Approved(echoed, yes))
    }

    /// What becomes of keys, where the plan's safety backup was not there yet when the plan was made, and is now.
    async fn keys_of_later_backup(&self, open: &Confirmation) -> Option<KeyImpact> {
        if awaits_backup(&open.plan) { self.key_impact(&open.plan).await } else { None }
    }

    /// Counts a question as it is put, whose answer comes with another call: one that nobody ever answers could be put without end.
    /// An error: it is not put. The answers to those that were put still count, for they may be on their way.
    async fn count_deferred(&self, open: &Confirmation) -> Result<(), Fault> {
        let state = &self.call.app.state;
        if state.count_wrong_answer(&open.nonce).await? <= ANSWERS_BEFORE_VOID {
            return Ok(());
        }
        let message = format!(
            "{UNCHANGED} The person was asked {ANSWERS_BEFORE_VOID} times, and is not asked again with this token."
        );
        state.record(open.record("dismissed", message.clone())).await?;
        let command = self.call.app.config.command("approve");
        Err(Fault::new(Kind::Refused, "person.dismissed", message).hint(format!(
            "Answer one of those questions, or call without the token for a new plan; they can approve it with {command}."
        )))
    }

    /// Withdraws the token for good. Another call with the same token may have got a yes meanwhile: then this answer comes
    /// too late to be a no.
    async fn void(&self, echoed: &Echoed, status: ConfirmationStatus) -> Result<(), Fault> {
        let redeemable = [ConfirmationStatus::Open, ConfirmationStatus::Approved];
        let moved = self.call.app.state.transition(&echoed.open.nonce, &redeemable, status).await?;
        if moved { Ok(()) } else { Err(permit::used()) }
    }

    /// The reply to an answer that is no yes. `put`: whether this very call put the question, so that it is not counted yet.
    async fn no_yes(
        &self,
        echoed: &Echoed,
        answer: Answer,
        put: bool,
        prechecks: &[Precheck],
        keys: Option<&KeyImpact>,
    ) -> Result<Guarded, Fault> {
        let (state, open) = (&self.call.app.state, &echoed.open);
        let command = self.call.app.config.command("approve");
        let approve = format!("A person can approve at a terminal on this machine: {command}");
        let (event, refused) = match answer {
            Answer::Declined => {
                self.void(echoed, ConfirmationStatus::Declined).await?;
                let hint = format!(
                    "Do not ask again unless the person wants it; doing it needs a new plan. A client that declines by itself \
                     cannot be asked through: there the person runs {command} between the two calls."
                );
                let message = format!("{UNCHANGED} The person declined; the token is void.");
                let refused = refusal(GuardedStatus::Declined, "person.declined", &message, &hint);
                state.record(open.record("declined", message)).await?;
                return Ok(refused);
            }
            Answer::NoChannel => {
                let message = format!("{UNCHANGED} A person must approve, and this client cannot ask one.");
                let hint = format!("{approve}; then call again with the same confirmation_token.");
                ("no_channel", refusal(GuardedStatus::ApprovalRequired, "person.no_channel", &message, &hint))
            }
            Answer::Dismissed => {
                let message = format!("{UNCHANGED} The question was closed without an answer.");
                let hint = format!("Ask them, then call again with the same confirmation_token. {approve}.");
                let refused = refusal(GuardedStatus::ApprovalRequired, "person.dismissed", &message, &hint);
                if let Some(void) = self.asked_too_often(echoed, put, "dismissed", &refused, &command).await? {
                    return Ok(void);
                }
                ("dismissed", refused)
            }
            Answer::Yes(_) | Answer::NotAYes => {
                let message = format!("{UNCHANGED} The answer did not contain the instance id, so it is not a yes.");
                let hint = format!(
                    "The person has to type the instance id. Call again with the same confirmation_token. {approve}."
                );
                let refused = refusal(GuardedStatus::ApprovalRequired, "person.not_confirmed", &message, &hint);
                if let Some(void) = self.asked_too_often(echoed, put, "not_confirmed", &refused, &command).await? {
                    return Ok(void);
                }
                ("not_confirmed", refused)
            }
        };
        state.record(open.record(event, refused.message.clone())).await?;
        Ok(Guarded {
            status: refused.status,
            code: refused.code,
            message: refused.message,
            hint: refused.hint,
            next_actions: vec![format!("the person runs: {command}"), self.with_token()],
            confirmation_token: Some(echoed.token.clone()),
            impact: Some(impact(&open.plan, keys)),
            ..shown(open, prechecks)
        })
    }

    /// Counts a question that got no yes. Once there were too many the token is withdrawn, and this is the reply.
    async fn asked_too_often(
        &self,
        echoed: &Echoed,
        put: bool,
        event: &str,
        refused: &Guarded,
        command: &str,
    ) -> Result<Option<Guarded>, Fault> {
        let open = &echoed.open;
        let asked = if put { self.call.app.state.count_wrong_answer(&open.nonce).await? } else { open.wrong_answers };
        if asked < ANSWERS_BEFORE_VOID {
            return Ok(None);
        }
        self.void(echoed, ConfirmationStatus::Superseded).await?;
        let message =
            format!("{} The token is void: the person was asked {ANSWERS_BEFORE_VOID} times.", refused.message);
        let hint = format!(
            "Do not ask again unless the person wants it. Then call without the token for a new plan; they can approve it with {command}."
        );
        let void = refusal(refused.status, refused.code.as_deref().unwrap_or_default(), &message, &hint);
        self.call.app.state.record(open.record(event, message)).await?;
        Ok(Some(void))
    }
}
