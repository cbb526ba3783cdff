//! The person: what they are asked, and what counts as their yes. Nobody is asked here; a face carries the question.
//!
//! A yes is typed content, the instance id, never just an action: hosts that accept empty forms by themselves exist.

use crate::config::guard::ConfirmationPolicy;
use crate::guard::impact::{Impact, key_lines};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::plan::Plan;
use crate::guard::rules::Rules;
use crate::model::estimate::Estimate;
use crate::model::fault::Fault;
use crate::model::impact::KeyImpact;
use crate::model::text::{clean, clean_to};

/// The field of the form in which the person types the instance id.
pub const FIELD: &str = "instance_id";

/// Answers that are no yes, and questions closed without one, after which the token is withdrawn: nobody is asked without end.
pub const ANSWERS_BEFORE_VOID: u32 = 3;

/// How the person was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// By an MCP elicitation.
    Elicitation,
    /// At a terminal, by `approve` or by the command itself.
    Terminal,
    /// Nobody was asked: by the operator's configuration the token alone is enough.
    TokenOnly,
    /// Nobody was asked: a caller who signed with the operator's secret answers for it, as with the cloud itself.
    SignedCaller,
}

impl Channel {
    /// The channel in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Terminal => "terminal",
            Self::TokenOnly => "token_only",
            Self::SignedCaller => "signed_caller",
        }
    }
}

/// The person's answer.
#[derive(Debug)]
pub enum Answer {
    /// They typed the instance id.
    Yes(Yes),
    /// They said no.
    Declined,
    /// They closed the question without answering, or it timed out.
    Dismissed,
    /// An answer came that is not a yes: no content, or another text than the instance id.
    NotAYes,
    /// This caller has no channel to a person.
    NoChannel,
}

/// Evidence of a yes, to one plan. Only this file makes it.
#[derive(Debug)]
pub struct Yes {
    channel: Channel,
    /// Digest of the plan that was agreed to.
    digest: [u8; 32],
    /// Nonce of the confirmation, where the yes was given to one and not to a question about its plan.
    nonce: Option<String>,
}

impl Yes {
    /// How the yes was given.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether it was given for this confirmation.
    ///
    /// # Errors
    /// As [`Plan::digest`].
    pub fn is_for(&self, open: &Confirmation) -> Result<bool, Fault> {
        Ok(self.digest == open.plan.digest()? && self.nonce.as_ref().is_none_or(|nonce| *nonce == open.nonce))
    }

    fn of(open: &Confirmation, channel: Channel) -> Result<Self, Fault> {
        Ok(Self { channel, digest: open.plan.digest()?, nonce: Some(open.nonce.clone()) })
    }

    /// The yes that stands in the ledger because `approve` wrote it there.
    ///
    /// # Errors
    /// As [`Plan::digest`].
    pub fn recorded(open: &Confirmation) -> Result<Option<Self>, Fault> {
        (open.status == ConfirmationStatus::Approved).then(|| Self::of(open, Channel::Terminal)).transpose()
    }

    /// The yes of a caller who has proved to hold the operator's secret: for a face that speaks the cloud's own API, whose
    /// callers answer for what they send.
    ///
    /// # Errors
    /// As [`Plan::digest`].
    pub fn delegated(open: &Confirmation) -> Result<Self, Fault> {
        Self::of(open, Channel::SignedCaller)
    }

    /// The operator's yes in advance, where the rules say that the token alone is enough.
    ///
    /// # Errors
    /// As [`Plan::digest`].
    pub fn by_rules(open: &Confirmation, rules: Rules) -> Result<Option<Self>, Fault> {
        (rules.confirmation == ConfirmationPolicy::Token).then(|| Self::of(open, Channel::TokenOnly)).transpose()
    }
}

/// Judges what the person typed. A yes is one to that plan.
#[must_use]
pub fn typed_answer(plan: &Plan, typed: &str, channel: Channel) -> Answer {
    match plan.digest() {
        Ok(digest) if typed.trim() == plan.instance_id => Answer::Yes(Yes { channel, digest, nonce: None }),
        _ => Answer::NotAYes,
    }
}

/// Most characters of what the act does to the data, and of the way back: the person must see all of it.
const IMPACT_SHOWN: usize = 480;
/// Most characters of a line about keys.
const KEYS_SHOWN: usize = 600;

/// What a question tells of keys.
fn lines_of_keys(keys: &KeyImpact) -> Vec<String> {
    key_lines(keys).iter().map(|(name, text)| format!("{name}: {}.", clean_to(text, KEYS_SHOWN))).collect()
}

/// A question without what its plan tells of keys: for a person who has just been shown all of that. What became known later stays.
#[must_use]
pub fn without_keys(question: &str, plan: &Plan) -> String {
    let shown = plan.impact.keys.as_ref().map(lines_of_keys).unwrap_or_default();
    let left = question.lines().filter(|line| !shown.iter().any(|one| one == line));
    left.collect::<Vec<_>>().join("\n")
}

/// The whole question: what will be lost, what replaces it, what becomes of keys, the warnings, the way back. Text from data is cleaned.
/// `keys`: in place of what the plan says of them, where they could be compared only later.
#[must_use]
pub fn question(plan: &Plan, keys: Option<&KeyImpact>, warnings: &[String]) -> String {
    let Impact { now, after, lost, how, how_meaning, way_back, keys: planned } = &plan.impact;
    let mut lines = vec![format!(
        "{}. Instance \"{}\" ({}): {}.",
        plan.warning(),
        clean_to(&plan.instance_id, 64),
        clean(&plan.address),
        clean_to(&plan.act.on(&plan.instance_id), 400),
    )];
    let parts = [("Now", now), ("Afterwards", after), ("Lost", lost)];
    lines.extend(
        parts
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name}: {}.", clean_to(text, IMPACT_SHOWN))),
    );
    lines.extend(keys.or(planned.as_ref()).map(lines_of_keys).unwrap_or_default());
    lines.push(format!("How: {}: {}.", clean_to(how, 64), clean_to(how_meaning, IMPACT_SHOWN)));
    let estimate = plan.estimate.as_ref().map(Estimate::describe);
    lines.extend(estimate.map(|estimate| format!("Takes: {}.", clean_to(&estimate, IMPACT_SHOWN))));
    lines.extend(plan.details.iter().map(|(name, value)| format!("{}: {}.", clean_to(name, 64), clean_to(value, 400))));
    lines.extend(warnings.iter().map(|warning| format!("Mind: {}.", clean_to(warning, 300))));
    lines.push(format!("Way back: {}.", clean_to(way_back, IMPACT_SHOWN)));
    lines.push(format!("To approve, type the instance id: {}", clean_to(&plan.instance_id, 64)));
    lines.join("\n")
}
