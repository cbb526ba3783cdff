//! The plan: what exactly would be done, to what, from what. A confirmation token stands for the digest of one plan.

use crate::guard::act::Act;
use crate::guard::assess::{Assessment, Earlier, safety_backup};
use crate::guard::check::{Precheck, Status, of_status};
use crate::guard::facts::look::{CutoverLook, LastLook};
use crate::guard::facts::restore::SafetyFacts;
use crate::guard::impact::Impact;
use crate::guard::preconditions::{DirectPreconditions, Preconditions};
use crate::guard::rules::Rules;
use crate::guard::writes::{Writes, per_second};
use crate::model::estimate::Estimate;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::key_filter::{SomeKeys, of_keys};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The call that makes a new plan.
pub const PLAN_AGAIN: &str = "the same call without confirmation_token";

/// The safety backup of a plan: that of the data which the instance held when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// Id of the job that takes the backup; empty where an earlier set is used again.
    pub job_id: String,
    /// Id of the set; empty while the cloud has not given one.
    pub backup_id: String,
    /// Digest of the set's file, which identifies the bytes that were read back for the plan. Empty where the set was still
    /// being taken then, and for a set of the cloud. Plans of earlier versions have another digest here, which no file has now.
    #[serde(default, alias = "stored_sha256", skip_serializing_if = "String::is_empty")]
    pub stored_digest: String,
}

impl Safety {
    /// What a plan keeps of the facts.
    #[must_use]
    pub fn of(facts: &SafetyFacts) -> Self {
        Self {
            job_id: facts.job_id.clone(),
            backup_id: facts.backup_id.clone(),
            stored_digest: facts.stored_digest().unwrap_or_default().to_owned(),
        }
    }
}

/// An act, planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The act to be carried out.
    pub act: Act,
    /// Id of the instance that is acted on.
    pub instance_id: String,
    /// Where the instance, or the set, is, without credentials.
    pub address: String,
    /// What must still hold when the act is carried out.
    pub preconditions: Preconditions,
    /// What the act would change and cost.
    pub impact: Impact,
    /// Further facts for the reader, by name.
    pub details: BTreeMap<String, String>,
    /// What the pre-checks warned of, each as `name: figures`.
    pub warnings: Vec<String>,
    /// The safety backup, which the way back restores.
    pub safety: Option<Safety>,
    /// The reading of the server's counter of writes when the plan was made.
    pub writes: Option<Writes>,
    /// The operator's rules when the plan was made.
    pub rules: Rules,
    /// How long the act takes, about, and what clients see meanwhile. Nothing depends on it. `None` for an act that is done at once, and in
    /// plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

impl Plan {
    /// Makes the plan of an assessment. The caller has already refused to go on where a check blocks.
    #[must_use]
    pub fn new(
        act: Act,
        instance_id: &str,
        assessment: Assessment,
        checks: &[Precheck],
        safety: Option<&SafetyFacts>,
        rules: Rules,
    ) -> Self {
        let mut impact = assessment.impact;
        let safety = safety.map(Safety::of);
        if let Some(safety) = &safety {
            let remark = std::mem::take(&mut impact.way_back);
            impact.way_back = way_back(instance_id, safety, act.keys());
            if !remark.is_empty() {
                impact.way_back = format!("{}; {remark}", impact.way_back);
            }
        }
        Self {
            act,
            instance_id: instance_id.into(),
            address: assessment.address,
            preconditions: assessment.preconditions,
            impact,
            details: assessment.details,
            warnings: of_status(Status::Warn, checks),
            safety,
            writes: assessment.writes,
            rules,
            estimate: None,
        }
    }

    /// What a second look at the same act needs of this plan.
    #[must_use]
    pub const fn earlier(&self) -> Earlier<'_> {
        Earlier { preconditions: &self.preconditions, writes: self.writes }
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

    /// What has changed since this plan was made, each as part of a sentence. Empty: the plan holds.
    #[must_use]
    pub fn changes(&self, now: &Assessment, rules: Rules) -> Vec<String> {
        let mut changes = self.preconditions.changes(&now.preconditions);
        if self.rules != rules {
            changes.push("the operator's guard policy was edited".into());
        }
        changes.extend(now.writes.and_then(|writes| self.too_many_writes(writes)));
        changes
    }

    fn too_many_writes(&self, now: Writes) -> Option<String> {
        self.writes.and_then(|then| now.void_the_plan_of(then, self.rules))
    }

    /// Whether the person is told of write traffic, and agrees to it.
    #[must_use]
    pub fn tells_of_traffic(&self) -> bool {
        self.writes.is_some_and(|writes| writes.traffic)
    }

    /// Judges the plan's safety backup as it is now.
    #[must_use]
    pub fn safety_check(&self, now: &SafetyFacts) -> Precheck {
        let read = self.safety.as_ref().is_some_and(|safety| !safety.stored_digest.is_empty());
        safety_backup(now, &self.preconditions, read, self.writes.map(|writes| writes.read_at))
    }

    /// The last look at what undoes the act, before anything is touched.
    ///
    /// # Errors
    /// `plan.changed`, saying why there is no way back any more.
    pub fn way_back_holds(&self, now: &SafetyFacts) -> Result<(), Fault> {
        let check = self.safety_check(now);
        match check.status {
            Status::Pass | Status::Warn => Ok(()),
            Status::Pending | Status::Block => {
                Err(changed(format!("the target was not touched, for there is no way back: {}", check.detail)))
            }
        }
    }

    /// The warning that a person must see first. A clone here is not billed.
    #[must_use]
    pub const fn warning(&self) -> &'static str {
        match self.preconditions {
            Preconditions::LocalClone(_) => "THIS COSTS MEMORY AND DISK HERE",
            _ => self.act.warning(),
        }
    }

    /// The preconditions of a restore of a server that this program reaches itself.
    ///
    /// # Errors
    /// `act.unsupported` where the plan is about something else.
    pub fn direct_restore(&self) -> Result<&DirectPreconditions, Fault> {
        match &self.preconditions {
            Preconditions::DirectRestore(preconditions) => Ok(preconditions),
            _ => Err(self.unsupported()),
        }
    }

    /// The fault of a provider that was given a permit for an act it cannot do.
    #[must_use]
    pub fn unsupported(&self) -> Fault {
        let message = format!("{} was permitted, but this instance cannot do it", self.act.verb());
        Fault::new(Kind::Unexpected, "act.unsupported", message)
    }

    /// The last look, on the connection that acts: the target must be the one that was planned for, and nothing may have been
    /// written beyond what the rules let pass.
    ///
    /// # Errors
    /// `plan.changed`, naming what no longer holds.
    pub fn last_look(&self, now: &LastLook) -> Result<(), Fault> {
        let mut changes = self.direct_restore()?.server_changes(&now.run_id, &now.replication_id, &now.slots);
        changes.extend(self.too_many_writes(now.writes));
        untouched(&changes)
    }
}

impl Plan {
    /// Whether a process is the one that was planned for, before anything at all is said to it.
    ///
    /// # Errors
    /// `plan.changed`.
    pub fn same_process(&self, run_id: &str) -> Result<(), Fault> {
        let planned = self.direct_restore()?;
        let changes = planned.server_changes(run_id, &planned.replication_id, &planned.slots);
        untouched(&changes)
    }

    /// The look at a target at its cutover, before anything of its old data is gone for good: the same process, in the history of its
    /// last safety backup, every write behind that backup in the stream, and of those no more than the rules let pass.
    ///
    /// # Errors
    /// `plan.changed`, naming what does not hold.
    pub fn cutover_look(&self, now: &CutoverLook) -> Result<(), Fault> {
        let planned = self.direct_restore()?;
        let replication_id = now.tail.as_ref().map_or(&planned.replication_id, |tail| &tail.replication_id);
        let was = DirectPreconditions { replication_id: replication_id.clone(), ..planned.clone() };
        let mut changes = was.server_changes(&now.run_id, &now.replication_id, &planned.slots);
        if let Some(tail) = &now.tail {
            if tail.reached != now.offset {
                changes.push(format!(
                    "the stream behind the safety backup was read to {}, the instance is at {}",
                    tail.reached, now.offset
                ));
            }
            let written = tail.written();
            if written > 0 && !self.tells_of_traffic() {
                changes
                    .push(format!("{written} write commands came behind the safety backup, and the plan told of none"));
            }
            // A script may keep what it writes out of the stream, and moves the counter all the same.
            if written == 0 && tail.called > 0 && !self.tells_of_traffic() {
                changes.push(format!(
                    "{} write commands were called since the safety backup, which its stream does not show, and the plan told of none",
                    tail.called
                ));
            }
            let rate = per_second(written, tail.since, tail.until);
            if let Some(limit) = self.rules.max_writes_per_second.filter(|limit| rate > *limit) {
                changes.push(format!(
                    "{written} write commands came behind the safety backup, {rate:.1} a second; the operator allows {limit}"
                ));
            }
            if tail.foreign > 0 {
                changes.push(format!("{} commands of somebody else touched what was loaded beside", tail.foreign));
            }
        }
        untouched(&changes)?;
        let lost = now.tail.as_ref().and_then(|tail| Some((tail.written(), tail.lost.as_ref()?)));
        lost.filter(|(written, _)| *written > 0).map_or(Ok(()), |(written, why)| Err(not_kept(written, why)))
    }
}

/// The fault of a target that is left as it is, for of the writes that were accepted behind its last safety backup some would be lost.
#[must_use]
pub fn not_kept(written: u64, why: &str) -> Fault {
    let message = format!(
        "the target was not touched: {written} write commands came behind the last safety backup, and not all of them are kept: {why}"
    );
    Fault::new(Kind::Refused, "restore.tail_not_kept", message).hint(
        "Raise guard.tail_megabytes, and see that the disk of the home directory has room. By replication the instance's log stands in where it \
         is on (modify_backup_policy), and behind write_fence nothing is written. Then make a new plan.",
    )
    .next(&[PLAN_AGAIN])
}

/// The end of a look at a target that nothing has been done to: a fault where anything is not as planned.
fn untouched(changes: &[String]) -> Result<(), Fault> {
    if changes.is_empty() {
        return Ok(());
    }
    Err(changed(format!("the target was not touched, for the plan no longer holds: {}", changes.join("; "))))
}

/// The fault of a plan that no longer holds; `what` says why, and what was left untouched.
#[must_use]
pub fn changed(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Refused, "plan.changed", what).hint("Make a new plan.").next(&[PLAN_AGAIN])
}

/// The call that restores the safety backup: of an act on some keys those alone, where a call can say so.
#[must_use]
pub fn way_back(instance_id: &str, safety: &Safety, keys: Option<&SomeKeys>) -> String {
    let set = match safety.backup_id.as_str() {
        "" => format!("the backup_id that describe_jobs shows for job {}", safety.job_id),
        id => format!("backup_id {id}"),
    };
    let call = format!("restore_instance with instance_id {instance_id} and {set}");
    let Some(list) = keys.and_then(SomeKeys::in_target) else { return call };
    // It names keys, and not who wrote them.
    let others = match keys.is_some_and(|keys| keys.add_prefix.is_some()) {
        true => "; that also takes back what others write meanwhile to keys of such names",
        false => "",
    };
    format!("{}{others}", of_keys(&call, &list))
}
