//! An act on behalf of a caller who signed for it: for a face that speaks the cloud's own API, where there is nobody to ask.
//!
//! It takes the guard's street all the same: surveyed, refused where a check blocks, planned, recorded, spent once.

use crate::guard::act::Act;
use crate::guard::checks::{Precheck, Status, blocking};
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus, Ledger as _};
use crate::guard::permit;
use crate::guard::person::Yes;
use crate::guard::plan::{Plan, Policy};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::provider::Carried;
use crate::tools::App;
use jiff::{SignedDuration, Timestamp};

/// How long the plan may take to be carried out: it is at once.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(1);

/// Why an act was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// These pre-checks block it. Nothing was begun.
    Blocked(Vec<Precheck>),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocked(checks) => write!(f, "pre-checks block it: {}", blocking(checks).join("; ")),
            Self::Fault(fault) => write!(f, "{}: {fault}", fault.code),
        }
    }
}

/// Carries out an act for a signed caller. Like the cloud it asks nobody, minds no write traffic and takes no safety backup.
///
/// # Errors
/// The checks that block it; the faults of the instance.
pub async fn delegated(app: &App, caller: &str, instance_id: &str, act: Act) -> Result<Carried, Refusal> {
    let what = act.on(instance_id);
    let outcome = carry_out(app, caller, instance_id, act).await;
    // What blocks has a line of its own, with the plan it blocked.
    if let Err(Refusal::Fault(fault)) = &outcome {
        let detail = format!("{what}: {}: {}", fault.code, fault.message);
        app.state.record(AuditRecord::now("refused", caller, instance_id, detail)).await?;
    }
    outcome
}

async fn carry_out(app: &App, caller: &str, instance_id: &str, act: Act) -> Result<Carried, Refusal> {
    let policy = Policy { confirmation: app.config.guard.confirmation, max_writes_per_second: f64::MAX };
    let survey = app.provider.survey(instance_id, &act, None, policy).await?;
    let why = blocking(&survey.checks);
    let plan = Plan::new(act, instance_id, &survey, &survey.checks, None, policy);
    let now = Timestamp::now();
    let open = Confirmation {
        nonce: hex(&random::<12>()?),
        plan,
        caller: caller.into(),
        created_at: now,
        expires_at: now + GOOD_FOR,
        status: ConfirmationStatus::Open,
    };
    let state = &app.state;
    if !why.is_empty() {
        state.record(open.record("blocked", why.join("; "))).await?;
        let mut blocking = survey.checks;
        blocking.retain(|check| check.status == Status::Block);
        return Err(Refusal::Blocked(blocking));
    }
    state.open(&open).await?;
    let planned = format!("{}, plan {}", open.plan.act.on(instance_id), open.plan.digest_hex()?);
    state.record(open.record("planned", planned)).await?;
    let yes = Yes::delegated();
    state
        .record(open.record("approved", format!("by {}: delegated by a signed caller", yes.channel().as_str())))
        .await?;
    let permit = permit::redeem(state.as_ref(), &open, yes).await?;
    Ok(app.provider.carry_out(permit).await?)
}
