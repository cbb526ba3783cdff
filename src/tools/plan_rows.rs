//! Plans that wait for a person, were approved or have lapsed, as `describe_jobs` shows them: so that nobody has to guess why nothing happens.
//!
//! A row has no token: whose plan it is gets that again by the first call, and nobody else has any use for a plan's id.

use crate::config::Config;
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::plan::PLAN_AGAIN;
use crate::model::fault::Fault;
use crate::model::text::PERSON_RUNS;
use crate::model::time::written;
use crate::tools::ToolCall;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// For how long a plan that nobody answered in time is still shown.
pub const LAPSED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most plans in a reply: the latest.
const MOST: usize = 10;

/// A plan that is not carried out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WaitingPlan {
    /// Short id of the plan; no token.
    pub plan_id: String,
    /// Name of the tool that carries the act out.
    pub act: &'static str,
    /// Id of the instance that is acted on.
    pub instance_id: String,
    /// `waiting` for a person, `approved` by one, or `lapsed`.
    pub status: &'static str,
    /// Until when it may be carried out.
    pub expires_at: String,
    /// The next step, for the caller whose plan it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What has become of a plan that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanStatus {
    /// It waits for a person.
    Waiting,
    /// A person said yes; it waits for the call with its token.
    Approved,
    /// Its time is over.
    Lapsed,
}

impl PlanStatus {
    /// The status in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Lapsed => "lapsed",
        }
    }

    /// That of a plan at a moment.
    #[must_use]
    pub fn of(open: &Confirmation, now: Timestamp) -> Self {
        match open.status {
            _ if open.expires_at <= now => Self::Lapsed,
            ConfirmationStatus::Approved => Self::Approved,
            _ => Self::Waiting,
        }
    }
}

/// What a person types to be asked about this plan, or the one that has taken its place, and about no other.
#[must_use]
pub fn approve(config: &Config, open: &Confirmation) -> String {
    config.command(&format!("approve --plan {}", open.plan_id()))
}

/// The plans of tools that are not carried out, newest first; of one instance if named.
///
/// # Errors
/// `state.failed`.
pub async fn plans(call: &ToolCall<'_>, instance_id: Option<&str>) -> Result<Vec<WaitingPlan>, Fault> {
    let now = Timestamp::now();
    let row = |open: Confirmation| {
        let (act, status) = (open.plan.act.verb(), PlanStatus::of(&open, now));
        let next = match status {
            PlanStatus::Waiting => format!("{PERSON_RUNS}{}", approve(&call.app.config, &open)),
            PlanStatus::Approved => {
                format!(
                    "{act} again, with confirmation_token; without it the token is given again while the plan holds"
                )
            }
            PlanStatus::Lapsed => PLAN_AGAIN.to_owned(),
        };
        WaitingPlan {
            plan_id: open.plan_id(),
            act,
            instance_id: open.plan.instance_id,
            status: status.as_str(),
            expires_at: written(open.expires_at),
            next: (open.caller == call.caller.id()).then_some(next),
        }
    };
    let all = call.app.state.plans(LAPSED_WITHIN).await?.into_iter();
    let is_of = |open: &Confirmation| instance_id.is_none_or(|id| id == open.plan.instance_id);
    let wanted = all.filter(|open| is_of(open) && open.plan.act.has_a_tool());
    Ok(wanted.take(MOST).map(row).collect())
}
