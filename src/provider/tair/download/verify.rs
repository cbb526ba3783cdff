//! Verification of the cloud's sets: their files are read from the cloud, walked as they arrive, and kept nowhere. What it came to is kept here.
//!
//! A set in which a fault was found counts as damaged until a verification that is as deep as what found it finds none. The cloud is told
//! nothing, and no instance is touched.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, Unfinished};
use crate::model::text::bytes;
use crate::model::verification::{Level, Look};
use crate::provider::OnBytes;
use crate::provider::tair::Inner;
use crate::provider::tair::download::proof::damaged;
use crate::provider::tair::download::source::Source;
use crate::provider::tair::download::stream::{Arriving, read_once};
use crate::provider::tair::sets::CloudSet;
use crate::provider::verification::{alone, cancelled, keep_damage, told_while, turn};
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::{Checksum, KeyStatistics};
use crate::redis::rdb::unique::Unique;
use jiff::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a set was not verified to a level, which says nothing of it.
fn unsupported(message: String, hint: &str) -> Fault {
    Fault::new(Kind::Provider, "verify.unsupported", message).hint(hint)
}

impl Inner {
    /// Begins the verification of a set, or of one file of one.
    ///
    /// # Errors
    /// `backup.not_found`, `backup.damaged`; `job.busy` where that set is being verified; `verify.unsupported` for a drill.
    pub(in crate::provider::tair) async fn start_verification(
        &self,
        (instance_id, backup_id): (&str, &str),
        level: Level,
        caller: &str,
    ) -> Result<Job, Fault> {
        let set = self.set_or_file_as_listed(instance_id, backup_id).await?;
        let id = set.set.id.clone();
        if level == Level::Drill {
            let message = format!("{id} is the cloud's own, which loads none for a trial: there was no drill");
            return Err(unsupported(
                message,
                "The levels checksum and structure read it from the cloud. Whether it loads shows create_instance_from_backup, which makes a \
                 new instance of it, with a person's yes and at its price.",
            ));
        }
        let inner = self.bound().await?;
        let held = alone(&inner.jobs, (instance_id, &id)).await?;
        let jobs = inner.jobs.clone();
        jobs.begin_beside(JobKind::Verification, (instance_id, &id), caller, |job| async move {
            let verified = inner.verify(&job, &set, level).await;
            held.give_back().await;
            verified.map_err(Unfinished::Failed)
        })
        .await
    }

    /// Verifies a set, and says what to do about one that is damaged.
    async fn verify(&self, job: &Job, set: &CloudSet, level: Level) -> Result<String, Fault> {
        let in_turn = async {
            let _turn = turn(&self.verifies, &self.jobs, job).await;
            self.files_verified(job, set, level).await
        };
        let verified = tokio::select! {
            verified = in_turn => verified,
            () = self.jobs.stop.cancelled() => return Err(cancelled()),
        };
        verified.map_err(|fault| match fault.kind {
            Kind::Damaged => fault.hint(format!(
                "Choose another set from describe_backups. Where it may have been in passing, call verify_backup with the level {}: the \
                 set can be used again once that finds nothing.",
                level.as_str()
            )),
            _ => fault,
        })
    }

    /// Reads all files of a set, one after the other, and keeps what that came to: of each file, so that a look at that file alone counts as much,
    /// and of the set where all are sound.
    async fn files_verified(&self, job: &Job, set: &CloudSet, level: Level) -> Result<String, Fault> {
        if set.shards.is_empty() {
            let message = format!("the cloud lists no file for backup {}", set.set.id);
            return Err(Fault::new(Kind::Provider, "download.no_file", message)
                .hint("Choose another set with describe_backups."));
        }
        let (all_began, id) = (Timestamp::now(), &job.instance_id);
        let read = Arc::new(AtomicU64::new(0));
        let (mut before, mut found) = (0_u64, String::new());
        for shard in &set.shards {
            let began = Timestamp::now();
            let source = Source { inner: self, instance_id: id, backup_id: &shard.id };
            let counting = Arc::clone(&read);
            // A file that is read a second time begins anew; how far the job is does not.
            let on_bytes = move |done: u64, _: u64| {
                counting.fetch_max(before + done, Ordering::Relaxed);
            };
            let verifying = file_verified(&source, level, self.jobs.state.home().to_owned(), &on_bytes);
            let (done, told) = (|| read.load(Ordering::Relaxed), ("reading it from the cloud", set.set.rdb_bytes));
            let verified = told_while(&self.jobs, job, told, done, verifying).await;
            found = self.keep((id, &shard.id), level, began, verified).await?;
            before = read.load(Ordering::Relaxed);
        }
        let files = set.shards.len();
        let of = if files == 1 { String::new() } else { format!(" in {files} files") };
        let message =
            format!("{}: {}{of}, read from the cloud and kept nowhere; {found}", level.as_str(), bytes(before));
        self.keep((id, &set.set.id), level, all_began, Ok(message)).await
    }

    /// Writes down what a look came to whose reading began at that moment, where it says something of what was looked at. That it could not be
    /// does not hide what was found.
    async fn keep(
        &self,
        (instance_id, backup_id): (&str, &str),
        level: Level,
        began: Timestamp,
        verified: Result<String, Fault>,
    ) -> Result<String, Fault> {
        match &verified {
            Ok(_) => {
                let look = Look { at: began, sha256: String::new(), server: None, fault: None };
                self.jobs.state.set_verified(instance_id, backup_id, level, &look).await?;
            }
            Err(fault) if fault.kind == Kind::Damaged => {
                keep_damage(&self.jobs, (instance_id, backup_id), level, None, fault).await;
            }
            Err(_) => {}
        }
        verified
    }
}

/// Reads one file to a level. What that has shown.
async fn file_verified(
    source: &Source<'_>,
    level: Level,
    spill_dir: PathBuf,
    on_bytes: &OnBytes,
) -> Result<String, Fault> {
    let id = source.backup_id;
    if level == Level::Checksum {
        let summed = read_once(source, on_bytes, |file| rdb::checksum::checksum(file, ())).await.map_err(again)?;
        return match summed.map_err(|e| refused(id, e))? {
            Checksum::Verified => Ok("its CRC64 holds".to_owned()),
            Checksum::Absent => {
                let message = format!("the file of backup {id} has no checksum of its own, and the cloud tells none");
                Err(unsupported(message, "Call verify_backup with the level structure."))
            }
        };
    }
    let first = move |file: Arriving| -> Result<_, RdbError> {
        let mut unique = Unique::new(spill_dir);
        let walked = walk(file, &mut unique)?;
        let suspects = unique.needs_second_walk().map_err(|source| RdbError::Sink { offset: walked.bytes, source })?;
        Ok((walked, suspects.then_some(unique)))
    };
    let (walked, suspects) = read_once(source, on_bytes, first).await.map_err(again)?.map_err(|e| refused(id, e))?;
    if let Some(mut unique) = suspects {
        let second = move |file: Arriving| walk(file, &mut unique).map(drop);
        read_once(source, on_bytes, second).await.map_err(again)?.map_err(|e| refused(id, e))?;
    }
    let crc64 = match walked.checksum {
        Checksum::Verified => "its CRC64 holds",
        Checksum::Absent => "WITHOUT CRC64",
    };
    Ok(format!("the inside of every value is sound, and nothing is there twice; {crc64}"))
}

/// Walks a file to its end.
fn walk(file: Arriving, unique: &mut Unique) -> Result<KeyStatistics, RdbError> {
    let walked = rdb::walk_unique(file, (), (), unique)?;
    let (statistics, mut rest) = (walked.statistics, walked.src);
    let offset = statistics.bytes;
    let more = io::copy(&mut rest, &mut io::sink()).map_err(|source| RdbError::Source { offset, source })?;
    if more > 0 || !walked.rest.is_empty() {
        return Err(RdbError::Corrupt { offset, what: "it goes on after the end of its RDB" });
    }
    Ok(statistics)
}

/// A transfer that has stopped is no download that could be gone on with.
fn again(fault: Fault) -> Fault {
    if fault.retry_after.is_some() { fault.hint("Call verify_backup again; it begins anew.") } else { fault }
}

/// What a file that is not sound, or could not be looked at, ends a verification with.
fn refused(id: &str, e: RdbError) -> Fault {
    match e {
        // Tair has types of its own, whose layout nobody publishes.
        RdbError::UnsupportedVersion { .. }
        | RdbError::UnsupportedType { .. }
        | RdbError::BadOpcode { .. }
        | RdbError::TooManyDatabases { .. } => unsupported(
            format!("the structure of the file of backup {id} is not known here: {e}"),
            "Call verify_backup with the level checksum: its CRC64 is the same everywhere.",
        ),
        RdbError::Sink { source, .. } => {
            let message = format!("what is remembered of the keys of backup {id} could not be written: {source}");
            Fault::new(Kind::Unexpected, "home.failed", message)
                .hint("Free space in the home directory.")
                .because(source)
        }
        e => damaged(id, e),
    }
}
