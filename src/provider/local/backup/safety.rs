//! The safety backup: the set from which a restore can be undone, taken or found before the restore, and read back: a way back
//! that nobody has looked at is none.

use crate::guard::assess::Assessment;
use crate::guard::facts::restore::{Position, SafetyFacts, SafetyProof, SafetyStatus, SetLook};
use crate::guard::plan::{Plan, Safety};
use crate::guard::preconditions::Preconditions;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobStatus};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::rdb::statistics::Checksum;
use crate::state::jobs::Begun;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// An earlier backup is looked at for this long: as long as a server keeps the backlog by which it is known that nothing was
/// written since (`repl-backlog-ttl`), and short against the time that a safety backup is kept.
const RECENT_SECONDS: i64 = 3600;

/// How much of a set is read.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// All of a set that was not read for its plan; of another only that it is there.
    ForPlan,
    /// The file of a set that was read for its plan is compared with the one that was read; of another all is read.
    BeforeActing,
}

impl Inner {
    /// A fresh backup of what the target holds: an earlier one where no write came since, else a new one, for the caller of that id.
    pub async fn safety_backup(
        self: &Arc<Self>,
        instance_id: &str,
        assessment: &Assessment,
        caller: &str,
    ) -> Result<SafetyFacts, Fault> {
        let Preconditions::DirectRestore(_) = &assessment.preconditions else {
            return Err(Fault::new(Kind::Unexpected, "act.unsupported", "a safety backup is for a restore"));
        };
        if let Some(set) = self.taken_since_the_last_write(instance_id, assessment).await? {
            let safety = Safety { job_id: String::new(), backup_id: set.id, stored_digest: String::new() };
            return self.safety_status(instance_id, &safety).await;
        }
        match self.start_capture(instance_id, (Mode::Safety, None), "taken before a restore", caller, None).await? {
            Begun::Started(job) => {
                Ok(SafetyFacts { job_id: job.id, backup_id: job.backup_id, status: SafetyStatus::Running })
            }
            // A backup that already runs began before our facts were read: it may lack the last writes.
            Begun::Joined(job) => {
                Err(Fault::new(Kind::Provider, "job.busy", format!("backup {} is running on {instance_id}", job.id))
                    .hint(format!(
                        "describe_jobs with job_id {} shows when it has ended; then make the same call again.",
                        job.id
                    ))
                    .retry_after(Duration::from_secs(5)))
            }
        }
    }

    /// The latest set of what the target holds now. An equal replication id and offset prove that nothing was written, but only
    /// while there is a backlog: without one the offset stands still. The count of write commands is a second witness.
    async fn taken_since_the_last_write(
        &self,
        instance_id: &str,
        assessment: &Assessment,
    ) -> Result<Option<BackupSet>, Fault> {
        let sets = self.sets(instance_id).await?;
        let (target, has_backlog) = self.position(instance_id).await?;
        let now = Timestamp::now();
        let is_fresh = |set: &BackupSet| {
            // A set that began after this moment was taken before the clock was set back, nobody knows how long ago.
            (0..RECENT_SECONDS).contains(&(now.as_second() - set.started_at.as_second()))
                && origin(set) == target
                && self.vault.may_be_restored(set).is_ok()
                && self.outlasts_a_safety_backup(set)
                && set.write_calls.is_some()
                && set.write_calls == assessment.writes.map(|w| w.calls)
        };
        Ok(sets.into_iter().flatten().find(|set| has_backlog && is_fresh(set)))
    }

    /// Whether a set is kept for as long as a safety backup that would be taken in its place.
    fn outlasts_a_safety_backup(&self, set: &BackupSet) -> bool {
        let kept = self.expires_at(Mode::Safety, None, set.started_at);
        set.mode == Mode::Safety || set.expires_at.is_none_or(|at| kept.is_some_and(|kept| at >= kept))
    }

    /// Where the instance is in its replication history now, and whether it keeps a backlog.
    async fn position(&self, instance_id: &str) -> Result<(Position, bool), Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        let (run_id, replication_id, offset) = (facts.run_id, facts.replid, facts.offset);
        Ok((Position { run_id, replication_id, offset }, facts.backlog_from.is_some()))
    }

    /// How far a safety backup is, and what reading it resulted in once it is there.
    pub async fn safety_status(&self, instance_id: &str, safety: &Safety) -> Result<SafetyFacts, Fault> {
        self.look_at_safety(instance_id, safety, Reading::ForPlan).await
    }

    /// Proves once more, before anything is touched, that there is a way back: what the plan named is read again.
    pub async fn prove_way_back(&self, job: &Job, plan: &Plan) -> Result<(), Fault> {
        let Some(safety) = &plan.safety else { return Ok(()) };
        self.jobs.progress(job, "verifying the safety backup", 0, 0).await?;
        plan.way_back_holds(&self.look_at_safety(&plan.instance_id, safety, Reading::BeforeActing).await?)
    }

    async fn look_at_safety(&self, instance_id: &str, safety: &Safety, reading: Reading) -> Result<SafetyFacts, Fault> {
        let Safety { job_id, backup_id, stored_digest } = safety;
        let facts = |status| SafetyFacts { job_id: job_id.clone(), backup_id: backup_id.clone(), status };
        if !job_id.is_empty() {
            let job = self.state.job(job_id).await?;
            match job.status {
                JobStatus::Running => return Ok(facts(SafetyStatus::Running)),
                JobStatus::Failed | JobStatus::Uncertain => return Ok(facts(SafetyStatus::Failed(job.message))),
                JobStatus::Succeeded => {}
            }
        }
        let set = match self.set(instance_id, backup_id).await {
            Ok(set) => set,
            Err(fault) if fault.kind == Kind::NotFound => return Ok(facts(SafetyStatus::Gone)),
            Err(fault) if fault.kind == Kind::Damaged => return Ok(facts(SafetyStatus::Damaged(fault.message))),
            Err(fault) => return Err(fault),
        };
        let look = match self.read_back(&set, stored_digest, reading).await {
            Err(fault) if fault.kind == Kind::NotFound => return Ok(facts(SafetyStatus::Gone)),
            look => look?,
        };
        // After the set: of what is read of both, the target's is the later.
        let (target, _) = self.position(instance_id).await?;
        Ok(facts(SafetyStatus::Whole {
            keys: Some(total_keys(&set.counts)),
            taken_at: set.started_at,
            reused: job_id.is_empty(),
            proof: SafetyProof::Vault { look, origin: origin(&set), target },
        }))
    }

    async fn read_back(&self, set: &BackupSet, stored_digest: &str, reading: Reading) -> Result<SetLook, Fault> {
        let read = async {
            if !stored_digest.is_empty() {
                if reading == Reading::ForPlan || self.vault.open_known(set, stored_digest).await?.is_some() {
                    return Ok(SetLook::KnownFromPlan);
                }
                // What is damaged is kept as damaged, so that the next plan uses another.
                self.read_whole(set).await?;
                return Ok(SetLook::Damaged("its file is not the one that was read for the plan".into()));
            }
            let (stored_digest, statistics) = self.read_whole(set).await?;
            // A module's data beside the keys is judged for a set that is restored, not for one that is kept.
            let crc64 = statistics.checksum == Checksum::Verified;
            Ok(SetLook::Verified { stored_digest, crc64, module_data: false })
        };
        let read: Result<_, Fault> = read.await;
        match read {
            Err(fault) if fault.kind == Kind::Damaged => Ok(SetLook::Damaged(fault.message)),
            read => read,
        }
    }
}

/// Where a set was taken from, as its manifest says.
fn origin(set: &BackupSet) -> Position {
    Position { run_id: set.run_id.clone(), replication_id: set.replication_id.clone(), offset: set.replication_offset }
}
