//! An act on behalf of a caller who signed the request: for a face that speaks the cloud's own API, where nobody can be asked.
//!
//! The act takes the guard's way all the same: assessed, refused where a check blocks, planned, recorded, redeemed once.

use crate::guard::act::Act;
use crate::guard::assess::assess;
use crate::guard::check::{Precheck, Status, blocked, of_status};
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus};
use crate::guard::permit;
use crate::guard::person::Yes;
use crate::guard::plan::Plan;
use crate::guard::rules::Rules;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::provider::Carried;
use crate::tools::App;
use jiff::{SignedDuration, Timestamp};

/// Lifetime of the plan, which is carried out at once.
const PLAN_LIFETIME: SignedDuration = SignedDuration::from_mins(1);

/// Why a signed caller's act was not begun.
#[derive(Debug)]
pub enum DelegatedRefusal {
    /// Checks block the act; these are the blocking ones.
    Blocked(Vec<Precheck>),
    /// The act failed before it began, for another reason.
    Fault(Fault),
}

impl From<Fault> for DelegatedRefusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DelegatedRefusal> for Fault {
    fn from(refusal: DelegatedRefusal) -> Self {
        match refusal {
            DelegatedRefusal::Fault(fault) => fault,
            DelegatedRefusal::Blocked(checks) => {
                let why = of_status(Status::Block, &checks).join("; ");
                Self::new(Kind::Refused, "precheck.blocked", why).hint("Cure what blocks, then call again.")
            }
        }
    }
}

/// Carries out an act for a signed caller. As in the cloud nobody is asked, write traffic does not matter, and no safety
/// backup is taken.
///
/// # Errors
/// The checks that block; the faults of the instance.
pub async fn delegated(app: &App, caller: &Caller, instance_id: &str, act: Act) -> Result<Carried, DelegatedRefusal> {
    let what = act.on(instance_id);
    let outcome = carry_out(app, caller, instance_id, act).await;
    // A blocked act has a record of its own, with its plan.
    if let Err(DelegatedRefusal::Fault(fault)) = &outcome {
        let detail = format!("{what}: {}: {}", fault.code, fault.message);
        app.state.record(AuditRecord::now("refused", caller.id(), instance_id, detail)).await?;
    }
    outcome
}

async fn carry_out(app: &App, caller: &Caller, instance_id: &str, act: Act) -> Result<Carried, DelegatedRefusal> {
    let rules = Rules { confirmation: app.config.guard.confirmation, max_writes_per_second: None };
    let needed = act.needs();
    app.provider.capabilities(instance_id, &needed).await?.need(&needed)?;
    let facts = app.provider.facts(instance_id, &act, None).await?;
    let now = Timestamp::now();
    let mut assessment = assess(&act, &facts, None, rules)?;
    let checks = std::mem::take(&mut assessment.checks);
    if let Some(writes) = &mut assessment.writes {
        writes.traffic = true;
    }
    let open = Confirmation {
        nonce: hex(&random::<12>()?),
        plan: Plan::new(act, instance_id, assessment, &checks, None, rules),
        caller: caller.id().into(),
        created_at: now,
        expires_at: now + PLAN_LIFETIME,
        status: ConfirmationStatus::Open,
        wrong_answers: 0,
    };
    let state = &app.state;
    if blocked(&checks) {
        state.record(open.record("blocked", of_status(Status::Block, &checks).join("; "))).await?;
        return Err(DelegatedRefusal::Blocked(checks.into_iter().filter(|c| c.status == Status::Block).collect()));
    }
    state.open(&open).await?;
    let planned = format!("{}, plan {}", open.plan.act.on(instance_id), open.plan.digest_hex()?);
    state.record(open.record("planned", planned)).await?;
    let yes = Yes::delegated(&open)?;
    let by = format!("by {}: delegated by a signed caller", yes.channel().as_str());
    state.record(open.record("approved", by)).await?;
    let permit = permit::redeem(state.as_ref(), &open, yes).await?;
    Ok(app.provider.carry_out(permit).await?)
}
