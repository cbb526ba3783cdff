//! An act on behalf of a caller who signed for it: for a face that speaks the cloud's own API, where there is nobody to ask.
//!
//! It takes the guard's street all the same: surveyed, refused where a check blocks, planned, recorded, spent once.

use crate::guard::act::Act;
use crate::guard::checks::blocking;
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus};
use crate::guard::permit;
use crate::guard::person::Yes;
use crate::guard::plan::{Plan, Policy};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::provider::Carried;
use crate::tools::App;
use jiff::{SignedDuration, Timestamp};

/// The code of an act that a check blocks.
const BLOCKED: &str = "precheck.blocked";
/// How long the plan may take to be carried out: it is at once.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(1);

/// Carries out an act for a signed caller. Like the cloud it asks nobody, minds no write traffic and takes no safety backup.
///
/// # Errors
/// `precheck.blocked`, naming the checks; those of the instance.
pub async fn delegated(app: &App, caller: &str, instance_id: &str, act: Act) -> Result<Carried, Fault> {
    let what = act.on(instance_id);
    let outcome = carry_out(app, caller, instance_id, act).await;
    // What blocks has a line of its own, with the plan it blocked.
    if let Err(fault) = outcome.as_ref()
        && fault.code != BLOCKED
    {
        let detail = format!("{what}: {}: {}", fault.code, fault.message);
        app.state.record(AuditRecord::now("refused", caller, instance_id, detail)).await?;
    }
    outcome
}

async fn carry_out(app: &App, caller: &str, instance_id: &str, act: Act) -> Result<Carried, Fault> {
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
        return Err(Fault::new(Kind::Refused, BLOCKED, why.join("; ")).hint("Cure what blocks, then call again."));
    }
    state.open(&open).await?;
    let planned = format!("{}, plan {}", open.plan.act.on(instance_id), open.plan.digest_hex()?);
    state.record(open.record("planned", planned)).await?;
    let yes = Yes::delegated();
    state
        .record(open.record("approved", format!("by {}: delegated by a signed caller", yes.channel().as_str())))
        .await?;
    let permit = permit::redeem(state.as_ref(), &open, yes).await?;
    app.provider.carry_out(permit).await
}
