//! The person: what they are asked, and what counts as their yes. Nobody is asked here; a face carries the question.
//!
//! A yes is typed content, the instance id, never just an action: hosts that accept empty forms by themselves exist.

use crate::config::ConfirmationPolicy;
use crate::guard::impact::Impact;
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::plan::Plan;
use crate::guard::rules::Rules;
use crate::model::text::{clean, clean_to};

/// The field of the form in which the person types the instance id.
pub const FIELD: &str = "instance_id";

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

/// Evidence of a yes. Can be made only in this file.
#[derive(Debug)]
pub struct Yes {
    channel: Channel,
}

impl Yes {
    /// How the yes was given.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        self.channel
    }

    /// The yes that `approve` recorded in the ledger.
    #[must_use]
    pub fn recorded(open: &Confirmation) -> Option<Self> {
        (open.status == ConfirmationStatus::Approved).then_some(Self { channel: Channel::Terminal })
    }

    /// The yes of a caller who has proved to hold the operator's secret: for a face that speaks the cloud's own API, whose
    /// callers answer for what they send.
    #[must_use]
    pub const fn delegated() -> Self {
        Self { channel: Channel::SignedCaller }
    }

    /// The operator's yes in advance, where the rules say that the token alone is enough.
    #[must_use]
    pub fn by_rules(rules: Rules) -> Option<Self> {
        (rules.confirmation == ConfirmationPolicy::Token).then_some(Self { channel: Channel::TokenOnly })
    }
}

/// Judges the text that the person typed.
#[must_use]
pub fn typed_answer(plan: &Plan, typed: &str, channel: Channel) -> Answer {
    if typed.trim() == plan.instance_id { Answer::Yes(Yes { channel }) } else { Answer::NotAYes }
}

/// The whole question: what will be lost, what replaces it, the warnings, the way back. Text from data is cleaned.
#[must_use]
pub fn question(plan: &Plan, warnings: &[String]) -> String {
    let Impact { now, after, lost, how, how_meaning, way_back } = &plan.impact;
    let mut lines = vec![format!(
        "{}. Instance \"{}\" ({}): {}.",
        plan.act.warning(),
        clean_to(&plan.instance_id, 64),
        clean(&plan.address),
        clean_to(&plan.act.on(&plan.instance_id), 400),
    )];
    let parts = [("Now", now), ("Afterwards", after), ("Lost", lost)];
    lines.extend(
        parts.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}: {}.", clean(text))),
    );
    lines.push(format!("How: {}: {}.", clean_to(how, 64), clean(how_meaning)));
    lines.extend(plan.details.iter().map(|(name, value)| format!("{}: {}.", clean_to(name, 64), clean(value))));
    lines.extend(warnings.iter().map(|warning| format!("Mind: {}.", clean_to(warning, 300))));
    lines.push(format!("Way back: {}.", clean_to(way_back, 300)));
    lines.push(format!("To approve, type the instance id: {}", clean_to(&plan.instance_id, 64)));
    lines.join("\n")
}
