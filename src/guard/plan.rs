//! The plan: what exactly would be done, to what, from what. Its digest is what a confirmation token stands for.

use crate::config::ConfirmationPolicy;
use crate::guard::act::Act;
use crate::guard::checks::{Precheck, warnings};
use crate::guard::survey::{Pins, Survey, Words, Writes};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::instance::{Counts, total_keys};
use crate::model::restore::SafetyFacts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The call that makes a new plan.
pub const PLAN_AGAIN: &str = "the same call without confirmation_token";

/// The operator's rules a plan was made under.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Who has to say yes.
    pub confirmation: ConfirmationPolicy,
    /// Writes per second up to which a restore may go ahead.
    pub max_writes_per_second: f64,
}

/// The backup of what was there when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// The job that takes it; empty where an earlier set is used again.
    pub job_id: String,
    /// The set; empty while its place has not given it an id.
    pub backup_id: String,
}

/// An act, planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What would be done.
    pub act: Act,
    /// To which instance.
    pub instance_id: String,
    /// Where it is.
    pub address: String,
    /// What must still be so when it is done.
    pub pins: Pins,
    /// What is at stake.
    pub words: Words,
    /// More for the reader.
    pub details: Pins,
    /// What the pre-checks let pass, but the person should know.
    pub warnings: Vec<String>,
    /// What brings back what is there now.
    pub safety: Option<Safety>,
    /// The server's counter of writes when the plan was made.
    pub writes: Option<Writes>,
    /// The rules it was made under.
    pub policy: Policy,
}

/// What is there, what comes, what goes: for the reader.
#[must_use]
pub fn counts_in_words(counts: &Counts) -> String {
    if counts.is_empty() {
        return "no keys".into();
    }
    let dbs: Vec<String> = counts.iter().map(|(db, (keys, _))| format!("db{db} {keys}")).collect();
    format!("{} keys ({})", total_keys(counts), dbs.join(", "))
}

/// What a pin is called in a sentence.
fn called(pin: &str) -> String {
    match pin {
        "address" => "the instance's address".into(),
        "run_id" => "the server process (run_id; it restarted or another took its place)".into(),
        "replication_id" => "the replication id (a failover or another restore)".into(),
        "sha256" => "the backup's checksum".into(),
        "stored_sha256" => "the checksum of the backup's file".into(),
        "way" => "the way of restoring".into(),
        "slots" => "the slots that this node of the cluster serves".into(),
        other => other.replace('_', " "),
    }
}

impl Plan {
    /// Puts together what was read. The caller has already refused what blocks.
    #[must_use]
    pub fn new(
        act: Act,
        instance_id: &str,
        survey: &Survey,
        checks: &[Precheck],
        safety: Option<&SafetyFacts>,
        policy: Policy,
    ) -> Self {
        let mut words = survey.words.clone();
        let safety = safety.map(|s| Safety { job_id: s.job_id.clone(), backup_id: s.backup_id.clone() });
        if let Some(safety) = &safety {
            let remark = std::mem::take(&mut words.back);
            words.back = way_back(instance_id, safety);
            if !remark.is_empty() {
                words.back = format!("{}; {remark}", words.back);
            }
        }
        Self {
            act,
            instance_id: instance_id.into(),
            address: survey.address.clone(),
            pins: survey.pins.clone(),
            words,
            details: survey.details.clone(),
            warnings: warnings(checks),
            safety,
            writes: survey.writes,
            policy,
        }
    }

    /// SHA-256 over the canonical form: the fields in their fixed order, as JSON.
    ///
    /// # Errors
    /// Never in practice; a number that is no JSON would be `guard.plan`.
    pub fn digest(&self) -> Result<[u8; 32], Fault> {
        Ok(Sha256::digest(self.to_json()?.as_bytes()).into())
    }

    /// The canonical form.
    ///
    /// # Errors
    /// As [`Self::digest`].
    pub fn to_json(&self) -> Result<String, Fault> {
        serde_json::to_string(self)
            .map_err(|e| Fault::new(Kind::Unexpected, "guard.plan", "the plan could not be written down").because(e))
    }

    /// The digest in hexadecimal, for the audit.
    ///
    /// # Errors
    /// As [`Self::digest`].
    pub fn digest_hex(&self) -> Result<String, Fault> {
        Ok(hex(&self.digest()?))
    }

    /// A pin's value; empty where there is none.
    #[must_use]
    pub fn pin(&self, name: &str) -> &str {
        self.pins.get(name).map_or("", String::as_str)
    }

    /// What is no longer as it was when this plan was made. Empty: the plan still stands.
    #[must_use]
    pub fn changes(&self, now: &Survey, policy: Policy) -> Vec<String> {
        let mut changes = Vec::new();
        let names = self.pins.keys().chain(now.pins.keys().filter(|name| !self.pins.contains_key(*name)));
        changes.extend(self.moved(names.map(|name| (name.as_str(), now.pins.get(name).map_or("", String::as_str)))));
        if self.policy != policy {
            changes.push("the operator's guard policy was edited".into());
        }
        changes.extend(now.writes.and_then(|writes| self.writes_since(writes)));
        changes
    }

    /// Pins, of those given, that are no longer what they were when this plan was made.
    #[must_use]
    pub fn moved<'a>(&self, now: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let moved = now.into_iter().filter(|(name, is)| self.pin(name) != *is);
        moved.map(|(name, is)| format!("{} was {}, is {is}", called(name), self.pin(name))).collect()
    }

    /// Writes per second since the plan, and the seconds since. A counter that went back counts as endless writes.
    #[must_use]
    pub fn traffic_since(&self, now: Writes) -> (f64, f64) {
        let Some(then) = self.writes else { return (0.0, 0.0) };
        let millis = now.read_at.as_millisecond() - then.read_at.as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let seconds = millis.max(1000) as f64 / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let rate = now.calls.checked_sub(then.calls).map_or(f64::INFINITY, |n| n as f64 / seconds);
        (rate, seconds)
    }

    /// Writes since the plan, when there were more than the policy lets pass.
    #[must_use]
    pub fn writes_since(&self, now: Writes) -> Option<String> {
        let then = self.writes?;
        let (rate, seconds) = self.traffic_since(now);
        if rate <= self.policy.max_writes_per_second {
            return None;
        }
        Some(match now.calls.checked_sub(then.calls) {
            None => "the server's command statistics were reset, so writes since the plan cannot be counted".into(),
            Some(n) => format!(
                "{n} write commands reached the instance in the {seconds:.0} s since the plan; they are in no backup"
            ),
        })
    }
}

/// The call that brings back what was there.
#[must_use]
pub fn way_back(instance_id: &str, safety: &Safety) -> String {
    if safety.backup_id.is_empty() {
        return format!(
            "restore_instance with instance_id {instance_id} and the backup_id that describe_jobs shows for job {}",
            safety.job_id
        );
    }
    format!("restore_instance with instance_id {instance_id} and backup_id {}", safety.backup_id)
}
