//! The guard's ledger, as a trait that the state store implements: what must be remembered beyond one call.

use crate::guard::act::Act;
use crate::guard::plan::Plan;
use crate::model::fault::Fault;
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

/// Characters of a nonce that tell plans apart for a reader.
pub const PLAN_SHOWN: usize = 8;

/// The beginning of a nonce, by which a plan's id and its records in the audit belong together.
fn shown(nonce: &str) -> &str {
    nonce.get(..PLAN_SHOWN).unwrap_or(nonce)
}

fn plan_id(nonce: &str) -> String {
    format!("p-{}", shown(nonce))
}

/// The status of a confirmation. Only `Open` and `Approved` can still become a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmationStatus {
    /// Planned; no person has answered.
    Open,
    /// A person said yes at a terminal; the token still has to be echoed.
    Approved,
    /// A person said no.
    Declined,
    /// The token was redeemed: the confirmation became a permit.
    Redeemed,
    /// Withdrawn: a newer plan took its place, or the person was asked too often without a yes.
    Superseded,
    /// Withdrawn after a person's yes, for a newer plan took its place: the yes was to this one alone.
    ApprovalSuperseded,
}

impl ConfirmationStatus {
    /// The status as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Redeemed => "redeemed",
            Self::Superseded => "superseded",
            Self::ApprovalSuperseded => "approval_superseded",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Approved, Self::Declined, Self::Redeemed, Self::Superseded, Self::ApprovalSuperseded]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    /// What a withdrawn confirmation of this status becomes: that it had a yes is not forgotten.
    #[must_use]
    pub const fn withdrawn(self) -> Self {
        match self {
            Self::Approved => Self::ApprovalSuperseded,
            _ => Self::Superseded,
        }
    }
}

/// What a new plan took the place of: a plan of the same act for the same caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Superseded {
    /// One that waited for a yes, and could still have got it.
    Waiting,
    /// One that had a yes, which is none to the new plan; also where its time was over.
    Approved,
}

impl Superseded {
    /// What became of it, in a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
        }
    }
}

/// A plan that waits for its token to be echoed and for a person's yes.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// Hexadecimal name of the confirmation; part of its token.
    pub nonce: String,
    /// The plan to be confirmed.
    pub plan: Plan,
    /// Id of the caller who asked for the plan.
    pub caller: String,
    /// When the plan was made.
    pub created_at: Timestamp,
    /// Until when the plan may be confirmed.
    pub expires_at: Timestamp,
    /// Whether the plan is open, answered, redeemed or withdrawn.
    pub status: ConfirmationStatus,
    /// Questions that have got no yes so far.
    pub wrong_answers: u32,
}

impl Confirmation {
    /// The short id by which people and replies tell plans apart. It is no token, and opens nothing.
    #[must_use]
    pub fn plan_id(&self) -> String {
        plan_id(&self.nonce)
    }

    /// Whether this caller asked for this act: two such plans are equal, and one of them is good.
    #[must_use]
    pub fn asks_for(&self, caller: &str, instance_id: &str, act: &Act) -> bool {
        self.caller == caller && self.plan.instance_id == instance_id && self.plan.act == *act
    }

    /// An audit record of an event of this confirmation.
    #[must_use]
    pub fn record(&self, event: &str, detail: impl Into<String>) -> AuditRecord {
        let nonce = self.nonce.clone();
        AuditRecord { nonce, ..AuditRecord::now(event, &self.caller, &self.plan.instance_id, detail) }
    }
}

/// One record of the audit: an event, the caller, the instance.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// When the event happened.
    pub at: Timestamp,
    /// The event: `planned`, `asked`, `approved`, `declined`, `refused`, `restore.started`, `backup.downloaded`, …
    pub event: String,
    /// Id of the caller; of what this program does by itself what does it, such as `schedule`.
    pub caller: String,
    /// Id of the instance that the event is about.
    pub instance_id: String,
    /// Nonce of the confirmation that the event is about; empty where none is.
    pub nonce: String,
    /// Further facts, for the reader; no secrets.
    pub detail: String,
}

impl AuditRecord {
    /// A record of an event, now, that no confirmation belongs to.
    #[must_use]
    pub fn now(event: &str, caller: &str, instance_id: &str, detail: impl Into<String>) -> Self {
        Self {
            at: Timestamp::now(),
            event: event.into(),
            caller: caller.into(),
            instance_id: instance_id.into(),
            nonce: String::new(),
            detail: detail.into(),
        }
    }

    /// The id by which `approve` takes the plan behind the event; empty where none is.
    #[must_use]
    pub fn plan_id(&self) -> String {
        if self.nonce.is_empty() { String::new() } else { plan_id(&self.nonce) }
    }
}

/// Memory of the guard. Every method that writes is durable when it returns.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores a new confirmation, and in the same step withdraws the caller's others of the same act: of calls at once, one is left with a
    /// plan that can be carried out. Returns what that took the place of.
    async fn open(&self, confirmation: &Confirmation) -> Result<Option<Superseded>, Fault>;
    /// Finds a confirmation by its nonce.
    async fn find(&self, nonce: &str) -> Result<Option<Confirmation>, Fault>;
    /// Finds a confirmation by its plan's short id ([`Confirmation::plan_id`]), whatever became of it; of several the newest.
    async fn find_plan(&self, plan_id: &str) -> Result<Option<Confirmation>, Fault>;
    /// Plans that were neither carried out nor declined nor withdrawn, newest first: those whose token may still be echoed, and those that
    /// have lapsed no longer ago than that. Where lapsed ones are asked for, one that cannot be read is passed over: an earlier version's.
    async fn plans(&self, lapsed_within: Duration) -> Result<Vec<Confirmation>, Fault>;
    /// Moves a confirmation from one of `from` to `to` atomically; `false` when its status was another or it had expired.
    async fn transition(&self, nonce: &str, from: &[ConfirmationStatus], to: ConfirmationStatus)
    -> Result<bool, Fault>;
    /// Withdraws the instance's other open plans: the facts that they were made of are about to change.
    async fn withdraw_others(&self, instance_id: &str, nonce: &str) -> Result<(), Fault>;
    /// Counts a question that has got no yes: an answer that is none, no answer, or none yet where it comes with a later call;
    /// returns how many there have been.
    async fn count_wrong_answer(&self, nonce: &str) -> Result<u32, Fault>;
    /// Appends a record to the audit.
    async fn record(&self, record: AuditRecord) -> Result<(), Fault>;
}
