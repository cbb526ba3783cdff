//! The permit: proof that the guard was passed. Made only here, used up by value, never copied.

use crate::guard::act::Act;
use crate::guard::grant::{Delete, Grant, Order, Overwrite};
use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus, Ledger};
use crate::guard::person::{Channel, Yes};
use crate::guard::plan::{PLAN_AGAIN, Plan};
use crate::guard::token::{expired, mismatch};
use crate::model::fault::{Fault, Kind};
use std::time::Duration;

/// Permission to carry out one plan, once.
///
/// A permit cannot be made outside this file, so code that overwrites data without the guard does not compile:
///
/// ```compile_fail,E0451
/// let permit = tair_backup_mcp::guard::permit::Permit { open: todo!(), channel: todo!() };
/// ```
///
/// nor can one be used twice:
///
/// ```compile_fail,E0382
/// fn twice(permit: tair_backup_mcp::guard::permit::Permit) {
///     drop(permit);
///     drop(permit);
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    open: Confirmation,
    channel: Channel,
}

impl Permit {
    /// The plan that may be carried out.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.open.plan
    }

    /// `make` says of the instance and the act whether they give the grant, or the grants.
    fn grant<G>(self, make: impl FnOnce(&str, &Act) -> Option<G>) -> Result<G, Fault> {
        let Plan { act, instance_id, .. } = &self.open.plan;
        make(instance_id, act).ok_or_else(|| {
            let message = format!("a yes to the {} is none to anything else", act.on(instance_id));
            Fault::new(Kind::Unexpected, "act.unsupported", message)
        })
    }

    /// Exchanges the permit for the right to overwrite the instance.
    ///
    /// # Errors
    /// `act.unsupported` where the yes was to something else than a restore.
    pub fn overwrite(self) -> Result<Grant<Overwrite>, Fault> {
        self.grant(|id, act| matches!(act, Act::RestoreInstance { .. }).then(|| Grant::new(id)))
    }

    /// Exchanges the permit for the right to delete the backup set it names.
    ///
    /// # Errors
    /// `act.unsupported` where the yes was to something else than a deletion.
    pub fn delete(self) -> Result<Grant<Delete>, Fault> {
        self.grant(|id, act| match act {
            Act::DeleteBackup { backup_id } => Some(Grant::of_set(id, backup_id)),
            _ => None,
        })
    }

    /// Exchanges the permit for the right to delete each of the backup sets it names, in their order, and no other.
    ///
    /// # Errors
    /// `act.unsupported` where the yes was to something else than a pruning.
    pub fn delete_each(self) -> Result<Vec<Grant<Delete>>, Fault> {
        self.grant(|id, act| match act {
            Act::Prune { backup_ids, .. } => Some(backup_ids.iter().map(|set| Grant::of_set(id, set)).collect()),
            _ => None,
        })
    }

    /// Exchanges the permit for the right to order the new instance.
    ///
    /// # Errors
    /// `act.unsupported` where the yes was to something else than a new instance.
    pub fn order(self) -> Result<Grant<Order>, Fault> {
        self.grant(|id, act| matches!(act, Act::CreateInstanceFromBackup { .. }).then(|| Grant::new(id)))
    }

    /// Id of the caller whose plan it was.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.open.caller
    }

    /// Nonce of the confirmation that was redeemed.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.open.nonce
    }

    /// An audit record of what the act resulted in.
    #[must_use]
    pub fn record(&self, event: &str, detail: String) -> AuditRecord {
        self.open.record(event, detail)
    }

    /// Whether a person said yes, rather than a policy.
    #[must_use]
    pub fn human_verified(&self) -> bool {
        matches!(self.channel, Channel::Elicitation | Channel::Terminal)
    }
}

/// The fault of a token that was redeemed or withdrawn before.
#[must_use]
pub fn used() -> Fault {
    Fault::new(
        Kind::Refused,
        "confirm.used",
        "confirmation_token was used or withdrawn before; each is good for one act",
    )
    .hint("Look at describe_jobs for what it started; where it shows nothing, nothing was begun. To do it once more make a new plan.")
    .next(&["describe_jobs", PLAN_AGAIN])
}

/// The fault of a token whose plan a newer one of the same act took the place of.
fn superseded(was: &Confirmation, newer: &Confirmation) -> Fault {
    let yes = match was.status {
        ConfirmationStatus::ApprovalSuperseded => "; the person's yes was to the earlier one, and they are asked again",
        _ => "",
    };
    let message = format!("confirmation_token is of an earlier plan: plan {} took its place{yes}", newer.plan_id());
    Fault::new(Kind::Refused, "confirm.superseded", message)
        .hint("Echo that plan's token. Where it is lost, make a new plan, which takes the place of both.")
        .next(&[PLAN_AGAIN])
}

/// Why a confirmation can no longer become a permit.
///
/// # Errors
/// Whatever the ledger fails with.
pub async fn no_longer(ledger: &dyn Ledger, nonce: &str) -> Result<Fault, Fault> {
    let Some(was) = ledger.find(nonce).await? else { return Ok(used()) };
    match was.status {
        ConfirmationStatus::Declined | ConfirmationStatus::Redeemed => Ok(used()),
        ConfirmationStatus::Open | ConfirmationStatus::Approved => Ok(expired()),
        ConfirmationStatus::Superseded | ConfirmationStatus::ApprovalSuperseded => {
            // Which one it is can be told only where each can be read, a later version's too.
            let mut plans = ledger.plans(Duration::ZERO).await.unwrap_or_default().into_iter();
            let newer = plans.find(|c| c.asks_for(&was.caller, &was.plan.instance_id, &was.plan.act));
            Ok(newer.map_or_else(used, |newer| superseded(&was, &newer)))
        }
    }
}

/// The fault of an act that failed under its permit. The token is redeemed: calling again with it is of no use.
#[must_use]
pub fn token_used_up(mut fault: Fault) -> Fault {
    fault.retry_after = None;
    let hint = format!("The confirmation_token is used up; make a new plan when this is cured. {}", fault.hint);
    fault.hint(hint.trim()).next(&["describe_jobs", PLAN_AGAIN])
}

/// Redeems the token atomically, before anything is touched. Of two calls at once, one gets the permit. What is permitted is what
/// the ledger holds: `open`, whose fields anybody may write, has to be the same, and the yes has to be one to that.
///
/// # Errors
/// `confirm.used`, `confirm.superseded`, `confirm.expired`; `confirm.mismatch`; whatever the ledger fails with, and then there is no permit.
pub async fn redeem(ledger: &dyn Ledger, open: &Confirmation, yes: Yes) -> Result<Permit, Fault> {
    let stored = ledger.find(&open.nonce).await?.ok_or_else(used)?;
    let same = stored.plan.digest()? == open.plan.digest()?
        && stored.plan.instance_id == open.plan.instance_id
        && stored.caller == open.caller;
    if !same {
        return Err(mismatch("what was to be carried out is not what was planned"));
    }
    if !yes.is_for(&stored)? {
        return Err(mismatch("the yes was given for another plan"));
    }
    // A crash right after this leaves a redeemed token and no restore: the caller plans again, and the audit says how far the act
    // came. The other order would let one yes start two restores.
    let redeemable = [ConfirmationStatus::Open, ConfirmationStatus::Approved];
    if !ledger.transition(&stored.nonce, &redeemable, ConfirmationStatus::Redeemed).await? {
        return Err(no_longer(ledger, &stored.nonce).await?);
    }
    ledger.record(stored.record("redeemed", "the token is used up; the act begins")).await?;
    ledger.withdraw_others(&stored.plan.instance_id, &stored.nonce).await?;
    Ok(Permit { open: stored, channel: yes.channel() })
}
