//! What the guard must remember beyond one call, as a trait: the state store implements it.

use crate::guard::plan::Plan;
use crate::model::fault::Fault;
use async_trait::async_trait;
use jiff::Timestamp;

/// Where a confirmation stands. Only `Open` and `Approved` can still become a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmationStatus {
    /// Planned; nobody has answered.
    Open,
    /// A person said yes at a terminal; the token still has to be echoed.
    Approved,
    /// A person said no.
    Declined,
    /// Became a permit.
    Redeemed,
    /// Withdrawn: a newer plan took its place, or too many wrong answers.
    Superseded,
}

impl ConfirmationStatus {
    /// The word stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Redeemed => "redeemed",
            Self::Superseded => "superseded",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Approved, Self::Declined, Self::Redeemed, Self::Superseded]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

/// A plan that waits for its token and its yes.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// Names it; part of the token.
    pub nonce: String,
    /// What would be done.
    pub plan: Plan,
    /// Who asked.
    pub caller: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it may be confirmed.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: ConfirmationStatus,
}

impl Confirmation {
    /// The audit's line about something that happened to it.
    #[must_use]
    pub fn record(&self, event: &str, detail: impl Into<String>) -> AuditRecord {
        let nonce = self.nonce.clone();
        AuditRecord { nonce, ..AuditRecord::now(event, &self.caller, &self.plan.instance_id, detail) }
    }
}

/// One line of the audit: what the guard did, for whom, about what.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// What happened: `planned`, `asked`, `approved`, `declined`, `refused`, `restore.started`, …
    pub event: String,
    /// Who asked.
    pub caller: String,
    /// About which instance.
    pub instance_id: String,
    /// About which confirmation, if any.
    pub nonce: String,
    /// The rest, for the reader; no secrets.
    pub detail: String,
}

impl AuditRecord {
    /// A line about something that no confirmation stands for.
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
}

/// Memory of the guard. Every method is durable when it returns.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Remembers a new plan.
    async fn open(&self, confirmation: &Confirmation) -> Result<(), Fault>;
    /// Finds a plan by its nonce.
    async fn find(&self, nonce: &str) -> Result<Option<Confirmation>, Fault>;
    /// Moves a confirmation from one of `from` to `to` atomically; `false` when it stood elsewhere or had expired.
    async fn transition(&self, nonce: &str, from: &[ConfirmationStatus], to: ConfirmationStatus)
    -> Result<bool, Fault>;
    /// Withdraws the instance's other open plans: what they were made of is about to change.
    async fn withdraw_others(&self, instance_id: &str, nonce: &str) -> Result<(), Fault>;
    /// Counts an answer that was not a yes; returns how many there were.
    async fn count_wrong_answer(&self, nonce: &str) -> Result<u32, Fault>;
    /// Appends to the audit.
    async fn record(&self, record: AuditRecord) -> Result<(), Fault>;
}
