//! Asking the person, waiting for them at another terminal, and the reply to an answer that is no yes.

use super::reply::{Guarded, GuardedStatus, refusal};
use super::{Echoed, Flow, FlowState, awaits_backup};
use crate::guard::check::{Precheck, all_warnings};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::person::{ANSWERS_BEFORE_VOID, Answer, Yes, question};
use crate::guard::{permit, token};
use crate::model::fault::{Fault, Kind};
use crate::model::impact::KeyImpact;
use crate::model::time::written;
use crate::tools::plan_rows::approve;
use crate::tools::{Asked, Outcome, with_progress};
use jiff::Timestamp;
use std::time::{Duration, Instant};

const UNCHANGED: &str = "Nothing has been changed.";
/// Interval at which a call that waits looks whether somebody has answered at a terminal. Nobody notifies across processes.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

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
                let mut asked = self.call.person.ask(open, &question).await;
                if matches!(asked, Asked::Answered(Answer::NoChannel)) && Instant::now() < self.until {
                    asked = Asked::Answered(self.answer_at_a_terminal(open).await?);
                }
                match asked {
                    Asked::Deferred => {
                        self.count_deferred(open).await?;
                        let nonce = open.nonce.clone();
                        return Ok(FlowState::Over(Outcome::AskPerson { nonce, question, until: open.expires_at }));
                    }
                    Asked::Answered(Answer::Yes(yes)) => yes,
                    Asked::Answered(answer) => {
                        return FlowState::over(&self.no_yes(&echoed, answer, put).await?);
                    }
                }
            }
        };
        state.record(open.record("approved", format!("by {}", yes.channel().as_str()))).await?;
        Ok(FlowState::Approved(echoed, yes))
    }

    /// Waits for what a person answers by `approve`, for as long as the call waits and the plan is good. What ends the call ends the waiting.
    async fn answer_at_a_terminal(&self, open: &Confirmation) -> Result<Answer, Fault> {
        let state = &self.call.app.state;
        let what = format!("waiting for a yes at a terminal; {}", self.approve_command(open));
        self.call.progress.report(0, 0, &what).await;
        let answered = async {
            loop {
                let now = state.find(&open.nonce).await?.ok_or_else(permit::used)?;
                match now.status {
                    ConfirmationStatus::Open if Timestamp::now() >= now.expires_at => return Err(token::expired()),
                    ConfirmationStatus::Open if Instant::now() >= self.until => return Ok(Answer::NoChannel),
                    ConfirmationStatus::Open => tokio::time::sleep(LOOK_INTERVAL).await,
                    ConfirmationStatus::Declined => return Ok(Answer::Declined),
                    _ => {
                        return match Yes::recorded(&now)? {
                            Some(yes) => Ok(Answer::Yes(yes)),
                            None => Err(permit::no_longer(state.as_ref(), &open.nonce).await?),
                        };
                    }
                }
            }
        };
        with_progress(self.call, &what, answered).await
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
        let command = approve(&self.call.app.config, open);
        Err(Fault::new(Kind::Refused, "person.dismissed", message)
            .hint(format!("They answer one of those questions, or approve the plan by {command}.")))
    }

    /// Withdraws the token for good. Another call with the same token may have got a yes meanwhile: then this answer comes
    /// too late to be a no.
    async fn void(&self, echoed: &Echoed, status: ConfirmationStatus) -> Result<(), Fault> {
        let (state, nonce) = (&self.call.app.state, &echoed.open.nonce);
        let redeemable = [ConfirmationStatus::Open, ConfirmationStatus::Approved];
        if state.transition(nonce, &redeemable, status).await? {
            return Ok(());
        }
        // Whoever answered at a terminal has done it already.
        let done = state.find(nonce).await?.is_some_and(|now| now.status == status);
        if done { Ok(()) } else { Err(permit::no_longer(state.as_ref(), nonce).await?) }
    }

    /// The reply to an answer that is no yes. `put`: whether this very call put the question, so that it is not counted yet. The caller has
    /// seen the plan and holds its token: neither is repeated.
    async fn no_yes(&self, echoed: &Echoed, answer: Answer, put: bool) -> Result<Guarded, Fault> {
        let (state, open) = (&self.call.app.state, &echoed.open);
        let was_asked = !matches!(answer, Answer::NoChannel);
        let (event, code, what, hint) = match answer {
            Answer::Declined => {
                self.void(echoed, ConfirmationStatus::Declined).await?;
                let hint = format!(
                    "Do not ask again unless the person wants it; doing it needs a new plan. A client that declines by itself \
                     cannot be asked through: there the person runs {} between the two calls.",
                    self.call.app.config.command("approve")
                );
                let message = format!("{UNCHANGED} The person declined; the token is void.");
                let refused = refusal(GuardedStatus::Declined, "person.declined", &message, &hint);
                state.record(open.record("declined", message)).await?;
                return Ok(refused);
            }
            Answer::NoChannel => (
                "no_channel",
                "person.no_channel",
                "A person must approve, and this client cannot ask one.",
                "Then make the same call again; with wait_seconds it waits for their yes.",
            ),
            Answer::Dismissed => (
                "dismissed",
                "person.dismissed",
                "The question was closed without an answer.",
                "Ask them, then make the same call again; or they approve at a terminal.",
            ),
            Answer::Yes(_) | Answer::NotAYes => (
                "not_confirmed",
                "person.not_confirmed",
                "The answer did not contain the instance id, so it is not a yes.",
                "The person has to type the instance id. Make the same call again; or they approve at a terminal.",
            ),
        };
        let message = format!("{UNCHANGED} {what}");
        let refused = refusal(GuardedStatus::ApprovalRequired, code, &message, hint);
        if was_asked && let Some(void) = self.asked_too_often(echoed, put, event, &refused).await? {
            return Ok(void);
        }
        state.record(open.record(event, message)).await?;
        Ok(Guarded {
            next_actions: vec![self.approve_command(open)],
            expires_at: Some(written(open.expires_at)),
            ..refused
        })
    }

    /// Counts a question that got no yes. Once there were too many the token is withdrawn, and this is the reply.
    async fn asked_too_often(
        &self,
        echoed: &Echoed,
        put: bool,
        event: &str,
        refused: &Guarded,
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
            "Do not ask again unless the person wants it. Then make a new plan; they can approve that by {}.",
            self.call.app.config.command("approve")
        );
        let void = refusal(refused.status, refused.code.as_deref().unwrap_or_default(), &message, &hint);
        self.call.app.state.record(open.record(event, message)).await?;
        Ok(Some(void))
    }
}
