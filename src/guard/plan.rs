//! The plan: what exactly would be done, to what, from what. Its digest is what a confirmation token stands for.

use crate::config::Confirmation;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::instance::{Counts, total_keys};
use crate::model::restore::{SafetyFacts, SourceFacts, TargetFacts};
use crate::model::time::written;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The call that makes a new plan.
pub const PLAN_AGAIN: &str = "restore_instance without confirmation_token";

/// The operator's rules a plan was made under.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Who has to say yes.
    pub confirmation: Confirmation,
    /// Writes per second up to which a restore may go ahead.
    pub max_writes_per_second: f64,
}

/// A restore, planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The instance to be overwritten.
    pub instance_id: String,
    /// Where it is.
    pub address: String,
    /// Which server process answered there.
    pub run_id: String,
    /// Its replication id: a failover or another restore changes it.
    pub replication_id: String,
    /// The set to be restored.
    pub backup_id: String,
    /// SHA-256 of its RDB.
    pub sha256: String,
    /// When it was taken, written.
    pub taken_at: String,
    /// How the data gets in: `replication` or `commands`.
    pub way: String,
    /// What that means.
    pub way_meaning: String,
    /// The job that backs up what is there now.
    pub safety_job_id: String,
    /// The set that brings back what is there now.
    pub safety_backup_id: String,
    /// Keys there now.
    pub keys_now: u64,
    /// Keys in the set.
    pub keys_in_backup: u64,
    /// Bytes used there now.
    pub used_memory_now: u64,
    /// Write commands counted by the server when the plan was made.
    pub write_calls: u64,
    /// When that was read, in milliseconds since 1970.
    pub read_at_ms: i64,
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

impl Plan {
    /// Puts the facts together. The caller has already refused what [`crate::guard::checks`] blocks.
    #[must_use]
    pub fn new(
        instance_id: &str,
        target: &TargetFacts,
        source: &SourceFacts,
        safety: &SafetyFacts,
        policy: Policy,
    ) -> Self {
        Self {
            instance_id: instance_id.into(),
            address: target.address.clone(),
            run_id: target.run_id.clone(),
            replication_id: target.replication_id.clone(),
            backup_id: source.backup_id.clone(),
            sha256: source.sha256.clone(),
            taken_at: written(source.taken_at),
            way: target.way.word().into(),
            way_meaning: target.way.meaning().into(),
            safety_job_id: safety.job_id.clone(),
            safety_backup_id: safety.backup_id.clone(),
            keys_now: total_keys(&target.counts),
            keys_in_backup: total_keys(&source.counts),
            used_memory_now: target.used_memory,
            write_calls: target.write_calls,
            read_at_ms: target.read_at.as_millisecond(),
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

    /// What is no longer as it was when this plan was made. Empty: the plan still stands.
    #[must_use]
    pub fn changes(&self, target: &TargetFacts, source: &SourceFacts, policy: Policy) -> Vec<String> {
        let mut changes = Vec::new();
        let mut differs = |what: &str, then: &str, now: &str| {
            if then != now {
                changes.push(format!("{what} was {then}, is {now}"));
            }
        };
        differs("the instance's address", &self.address, &target.address);
        differs("the server process (run_id; it restarted or another took its place)", &self.run_id, &target.run_id);
        differs("the replication id (a failover or another restore)", &self.replication_id, &target.replication_id);
        differs("the backup's checksum", &self.sha256, &source.sha256);
        differs("the way of restoring", &self.way, target.way.word());
        if self.policy != policy {
            changes.push("the operator's guard policy was edited".into());
        }
        if let Some(change) = self.writes_since(target) {
            changes.push(change);
        }
        changes
    }

    /// Writes per second since the plan, and the seconds since. A counter that went back counts as endless writes.
    #[must_use]
    pub fn traffic_since(&self, target: &TargetFacts) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let seconds = (target.read_at.as_millisecond() - self.read_at_ms).max(1000) as f64 / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let rate = target.write_calls.checked_sub(self.write_calls).map_or(f64::INFINITY, |n| n as f64 / seconds);
        (rate, seconds)
    }

    /// Writes since the plan, when there were more than the policy lets pass.
    fn writes_since(&self, target: &TargetFacts) -> Option<String> {
        let (rate, seconds) = self.traffic_since(target);
        if rate <= self.policy.max_writes_per_second {
            return None;
        }
        Some(match target.write_calls.checked_sub(self.write_calls) {
            None => "the server's command statistics were reset, so writes since the plan cannot be counted".into(),
            Some(n) => format!(
                "{n} write commands reached the instance in the {seconds:.0} s since the plan; they are in no backup"
            ),
        })
    }
}
