//! Reconciling a restore whose process died: the target is taken off this program, and what it holds now is said.

use crate::config::command::clear_rollback;
use crate::guard::grant::Orphaned;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{JobEnd, JobStatus, Unfinished, last_safety_id};
use crate::provider::jobs::Recoverable as _;
use crate::provider::local::Inner;
use crate::provider::local::restore::WHOLE_SET;
use crate::provider::local::restore::counted::counted_since;
use crate::provider::local::restore::cutover::after;
use crate::provider::local::restore::outcome::too_little_memory;
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::restore::replication::Record;
use crate::provider::way_back::with_way_back;
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, key_counts};
use crate::redis::master::rollback::{Found, roll_back};
use crate::redis::master::types::MasterOptions;
use crate::redis::replay::beside::{Remains, remove};
use crate::state::jobs::Orphan;
use std::time::Duration;
use tokio::time::timeout;

/// A target that is away must not hold up a start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a target waits for the vault to be asked.
const VAULT_WITHIN: Duration = Duration::from_secs(5);
/// What to do where the recovery record cannot be read.
const LOOK_AT: &str = "Look at the instance: whom it follows (INFO replication), masterauth, masteruser, repl-diskless-load, \
    replica-read-only and maxmemory (CONFIG GET), whether it can be written. What there was before is in its safety backup, if one was taken: \
    describe_backups.";

impl Inner {
    /// The outer error: the target cannot be asked now.
    pub(in crate::provider::local) async fn reconcile_restore(&self, orphan: &Orphan) -> Result<JobEnd, Fault> {
        // What the job was taking itself before it touched its target; a whole set stays.
        self.clear_last_safety(&orphan.job.instance_id, &last_safety_id(&orphan.job.id)).await;
        if self.clone_has_ended(&orphan.job).await {
            self.discard_cutover(&orphan.job.id).await;
            return Ok(Err(interrupted(
                "the process died, and the clone has ended; nothing has to be brought back".into(),
                "Backup sets taken of it are still there (describe_backups).".into(),
            )));
        }
        let (recovery, stored) = match (RecoveryRecord::read(orphan.recovery.as_ref()), &orphan.recovery) {
            (Ok(Some(recovery)), Some(stored)) => (recovery, stored),
            (Ok(_), _) => {
                self.discard_cutover(&orphan.job.id).await;
                return Ok(Err(interrupted(
                    "the process died before it touched the target; its data is as it was".into(),
                    "Make a new plan with restore_instance.".into(),
                )));
            }
            // The record stays, and the restore counts as not rolled back: nobody knows that the target is off this program.
            (Err(damaged), _) => {
                let hint =
                    format!("{LOOK_AT} Then a person clears it at a terminal: {}.", clear_rollback(&orphan.job.id));
                return Ok(Err(Unfinished::RollbackPending(damaged.hint(hint))));
            }
        };
        let id = &orphan.job.instance_id;
        let endpoint = self.endpoint(id).await?;
        let mut conn = Conn::open(&endpoint, CONNECT_TIMEOUT).await?;
        recovery.end_its_connection(&mut conn).await?;
        let way_back = self.way_back_of(&orphan.job.id, id, &recovery.back, recovery.some_keys.as_ref());
        let way_back = timeout(VAULT_WITHIN, way_back).await.unwrap_or_else(|_| recovery.back.clone());
        let back = told(&way_back);
        if let Some(placement) = &recovery.placement {
            let grant = Orphaned::of(&orphan.job, stored)?.roll_back()?;
            let remains = remove(grant, &mut conn, placement).await?;
            let keys = total_keys(&key_counts(&mut conn).await?);
            let swapped = recovery.swapped || remains != Remains::NotSwapped;
            let cutover = self.cutover_of(orphan, swapped).await;
            return Ok(match after_beside(orphan, &remains, swapped, keys, &cutover) {
                Ok(message) => self.end_of_taken(&mut conn, id, &recovery, WHOLE_SET, message, &way_back).await?,
                Err((message, hint)) => Err(interrupted(message, format!("{hint}{back}"))),
            });
        }
        let Some(record) = &recovery.switch else {
            let keys = total_keys(&key_counts(&mut conn).await?);
            let cutover = self.cutover_of(orphan, true).await;
            if orphan.job.serving_at.is_some() {
                let (what, taken) = match &recovery.some_keys {
                    Some(some) => (format!(" ({})", some.describe()), "the keys that match"),
                    None => (format!(" ({} keys)", recovery.keys), WHOLE_SET),
                };
                let took = format!("the target took all of it{what}, and holds {keys} keys now");
                let message = match orphan.job.status {
                    JobStatus::Failed => format!("{}; reconciled since: {took}", orphan.job.message),
                    _ => format!("the process died behind the restore: {took}{cutover}"),
                };
                return self.end_of_taken(&mut conn, id, &recovery, taken, message, &way_back).await;
            }
            let message = match &recovery.some_keys {
                Some(some) => format!(
                    "the process died while {} were restored: each of those is as it was in the backup or as it was before, and no other key was touched; the target holds {keys} keys{cutover}",
                    some.describe()
                ),
                None => format!(
                    "the process died while keys were written one by one: the target holds {keys} keys, the backup has {}{cutover}",
                    recovery.keys
                ),
            };
            return Ok(Err(interrupted(message, format!("Restore again to complete it. {back}"))));
        };
        let grant = Orphaned::of(&orphan.job, stored)?.roll_back()?;
        let record = record.switch(recovery.run_id());
        let before = ServerFacts::read(&mut conn).await?.evicted_keys;
        let options = MasterOptions { free_stall: self.free_stall(id), ..MasterOptions::default() };
        let mut kept_by = Record { jobs: &self.jobs, job: &orphan.job, recovery };
        let rolled_back = roll_back(grant, &endpoint, &mut conn, &record, &options, &mut kept_by).await?;
        let mut recovery = kept_by.recovery;
        let keys = total_keys(&key_counts(&mut conn).await?);
        if let Some(problem) = rolled_back.problem {
            return Err(Fault::new(Kind::Provider, "restore.unsettled", problem));
        }
        let settings = match rolled_back.left_alone.as_slice() {
            [] => "its settings are as they were".to_owned(),
            changed => format!("somebody else has changed {} since, which was left alone", changed.join(" and ")),
        };
        let put_back = match &rolled_back.found {
            Found::Master => format!("it follows nobody and {settings}"),
            Found::FollowedUs => format!("it has been taken off this program and {settings}"),
            Found::FollowsAnother { master } => {
                format!("it follows {master}, which is not our doing, and was left alone")
            }
        };
        // A server without replicas forgets the history by which its data came, after an hour.
        let forgotten = rolled_back.same_process && (recovery.loaded || orphan.job.serving_at.is_some());
        let holds = match (rolled_back.loaded, rolled_back.same_process) {
            // What was applied is known, and what was refused is not.
            (true, _) if recovery.moment.is_some() => format!(
                "the target is NOT restored: it holds the backup set and commands behind it, {keys} keys, up to {} at most",
                recovery.moment.as_deref().unwrap_or_default()
            ),
            (true, _) => {
                format!("the target holds the restored backup ({keys} keys, the backup has {})", recovery.keys)
            }
            (false, true) if forgotten => format!(
                "the target had loaded the backup set{} and holds {keys} keys now; that is all that is known, for its history has begun anew since",
                recovery.moment.as_ref().map(|_| " and was sent commands behind it").unwrap_or_default()
            ),
            (false, true) => {
                format!("the target holds its old data ({keys} keys): the restore had not been swapped in")
            }
            (false, false) => {
                format!("the target has been restarted since and holds {keys} keys, whichever it had saved")
            }
        };
        let holds = format!("{holds}{}", self.cutover_of(orphan, rolled_back.loaded || forgotten).await);
        let message = match orphan.job.status {
            JobStatus::Failed => format!("{}; reconciled since: {holds}; {put_back}", orphan.job.message),
            _ => format!("the process died during this restore; {holds}; {put_back}"),
        };
        if rolled_back.loaded && recovery.moment.is_none() && orphan.job.status == JobStatus::Running {
            recovery.evicted = recovery.evicted.or(Some(before));
            return self.end_of_taken(&mut conn, id, &recovery, WHOLE_SET, message, &way_back).await;
        }
        Ok(Err(interrupted(message, format!("Make a new plan to restore again. {back}"))))
    }

    /// Removes what a job was taking itself, or remembers it where it is whole. The target may refuse writes meanwhile, and a vault that is away
    /// must not keep it waiting: a sweep removes the rest.
    async fn clear_last_safety(&self, instance_id: &str, last: &str) {
        let clearing = async {
            self.vault.discard_staging(instance_id, last).await?;
            if let Ok(set) = self.vault.find(instance_id, last, &()).await {
                self.remember(&set).await;
            }
            Ok::<(), Fault>(())
        };
        match timeout(VAULT_WITHIN, clearing).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!(backup = %last, "what a dead restore was taking is left: {fault}"),
            Err(_) => tracing::warn!(backup = %last, "what a dead restore was taking is left: its vault is slow"),
        }
    }

    /// The end of a restore whose target has taken all of it: that is on its disk, and the target has evicted nothing since. The outer error: it
    /// cannot be asked now.
    async fn end_of_taken(
        &self,
        conn: &mut Conn,
        id: &str,
        recovery: &RecoveryRecord,
        taken: &str,
        message: String,
        way_back: &str,
    ) -> Result<JobEnd, Fault> {
        let kept = match self.keep(id, recovery.run_id(), taken).await {
            Ok(kept) => kept.describe(),
            Err(fault) => return Ok(Err(with_way_back(fault, way_back).into())),
        };
        // A record of an earlier version does not say how many it had evicted then.
        if let Some(then) = recovery.evicted {
            let now = ServerFacts::read(conn).await?.evicted_keys;
            let evicted = counted_since(now, then);
            if evicted > 0 {
                let message = format!("{message}; {kept}; the target has evicted {evicted} keys since, to make room");
                return Ok(Err(with_way_back(too_little_memory(message), way_back).into()));
            }
        }
        Ok(Ok(format!("{message}; {kept}. {}", told(way_back)).trim_end().to_owned()))
    }

    /// What is known of the cutover, behind a sentence that says what the target holds. `replaced`: that its old data may be gone. Where
    /// it is not, nothing was overwritten and nothing is kept.
    async fn cutover_of(&self, orphan: &Orphan, replaced: bool) -> String {
        if !replaced {
            self.discard_cutover(&orphan.job.id).await;
        }
        match self.read_cutover(&orphan.job.id).await {
            // One that failed and was only rolled back late has told of it.
            Some(cutover) if orphan.job.status == JobStatus::Running => after(Some(&cutover)),
            _ => String::new(),
        }
    }
}

/// The way back as a sentence; nothing where there is none.
fn told(way_back: &str) -> String {
    if way_back.is_empty() { String::new() } else { format!("What was there before: {way_back}.") }
}

fn interrupted(message: String, hint: String) -> Unfinished {
    Unfinished::Failed(Fault::new(Kind::Unexpected, "job.interrupted", message).hint(hint.trim_end()))
}

/// What came of a restore beside the old data; of one that did not come to its end, what to do next too. `swapped`: its process had
/// written down that the swap was for good, or it shows.
fn after_beside(
    orphan: &Orphan,
    remains: &Remains,
    swapped: bool,
    keys: u64,
    cutover: &str,
) -> Result<String, (String, &'static str)> {
    let holds = match remains {
        Remains::NotSwapped if !swapped => format!(
            "the target holds its old data ({keys} keys): the set had not been swapped in, and what was loaded beside has been removed"
        ),
        Remains::NotSwapped | Remains::Swapped => {
            format!("the target holds the restored backup ({keys} keys), and its old data has been dropped")
        }
        Remains::Unjudged(pairs) => {
            let places: Vec<String> =
                pairs.iter().map(|p| format!("database {} (of database {})", p.beside, p.db)).collect();
            format!(
                "the target holds the restored backup, and nobody looked whether it was written to right before the swap: what was there before is kept whole in {}",
                places.join(", ")
            )
        }
    };
    let message = match orphan.job.status {
        JobStatus::Failed => format!("{}; reconciled since: {holds}", orphan.job.message),
        _ => format!("the process died during this restore; {holds}{cutover}"),
    };
    match remains {
        Remains::Unjudged(_) => {
            Err((message, "SWAPDB brings a database back, FLUSHDB in the database beside gives its memory free. "))
        }
        Remains::NotSwapped if !swapped => Err((message, "Make a new plan to restore again. ")),
        _ if orphan.job.status == JobStatus::Running => Ok(message),
        _ => Err((message, "")),
    }
}
