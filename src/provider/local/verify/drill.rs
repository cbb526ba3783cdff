//! A drill: a scratch server loads the set, is asked what it holds, and is thrown away; with the log on, so is a random recent second that is
//! built behind the set as for a restore. Of the instance nothing is asked, and nothing is left here, whatever ends this program.
//!
//! It must not call a set damaged for what the machine lacks: a server counts as a witness only where it must load what the set's source
//! wrote, and starts without the set.

use super::{NotVerified, PASSES_OF_DRILL, Walked};
use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::random;
use crate::model::instance::{Counts, total_keys};
use crate::model::job::Job;
use crate::model::text::bytes;
use crate::model::time::written;
use crate::model::verification::Level;
use crate::provider::local::restore::cloned::keys_there;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::own_server::starts_within;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::redis::resp::Value;
use crate::redis::scratch::program::{Program, nearest_to, server_named, server_of};
use crate::redis::scratch::{ScratchDir, ScratchError, ScratchServer};
use crate::vault::watch::Watch;
use jiff::{Timestamp, ToSpan as _};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A connection is closed before it is known how its server ended.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// Keys that are read, in all databases together.
const SAMPLE_KEYS: usize = 64;
/// Bytes of the largest value that is read, as the server tells its size: it comes here whole.
const SAMPLE_BYTES_MAX: i64 = 8 << 20;
/// How recent a moment is, in hours before the end of its window.
const RECENT_HOURS: i64 = 1;

impl Inner {
    /// [`Self::drill`], which makes room where a moment has to wait for it that somebody waits for.
    pub(super) async fn drill_unless_wanted(&self, of: Walked<'_>) -> Result<String, NotVerified> {
        let wanted = self.build_wanted.notified();
        tokio::select! {
            drilled = self.drill(&of) => drilled,
            () = wanted => {
                of.watch.stop();
                let message = "the drill has made room for a moment that is being built, which says nothing of the set";
                Err(NotVerified::Failed(Fault::new(Kind::Provider, "verify.failed", message).hint("Call verify_backup again.")))
            }
        }
    }

    /// Has a server load the set, keeps that it did, and with the log on has it build a moment behind it. What came of it, as part of a
    /// sentence.
    async fn drill(&self, of: &Walked<'_>) -> Result<String, NotVerified> {
        let Walked { job, set, began, .. } = *of;
        let program = self.drill_program(set, of.statistics).await.map_err(NotVerified::Failed)?;
        let loaded = match self.loaded(of, &program).await {
            // Once, it may have been in passing.
            Err(NotVerified::Damaged(Level::Drill, ..)) => self.loaded(of, &program).await,
            loaded => loaded,
        }?;
        // Before the log is looked at: what is wrong with that is not wrong with the set.
        self.keep_sound(set, Level::Drill, began, Some(program.name.clone())).await?;
        let moment = self.moment_drilled(job, set, &program).await.map_err(|fault| {
            let message = format!("{loaded}; a moment of the log behind it could not be built: {}", fault.message);
            NotVerified::Failed(Fault::new(fault.kind, fault.code, message).hint(fault.hint.clone()).because(fault))
        })?;
        Ok(format!("{loaded}{moment}"))
    }

    /// The program that is most like the set's source; where a drill has found a fault, one of the version that found it, for no other
    /// lifts that.
    async fn drill_program(&self, set: &BackupSet, statistics: &KeyStatistics) -> Result<Program, Fault> {
        let found = self.state.verifications(&set.instance_id).await?;
        let found = found.get(&set.id).and_then(|found| found.0.get(&Level::Drill)).filter(|look| look.fault.is_some());
        let fell = found.and_then(|look| look.server.clone()).and_then(|name| Some((server_of(&name)?, name)));
        let like = fell.as_ref().map_or_else(|| server_named(&set.engine, &set.version), |(server, _)| *server);
        let (named, loads) = (self.clones.programs.clone(), statistics.clone());
        let program = blocking(move || Ok(nearest_to(&named, like, &loads, |_| true))).await?;
        let program = program.ok_or_else(|| no_program(set, statistics))?;
        match fell {
            Some((server, name)) if program.server != server => {
                let message = format!(
                    "there was no drill: a fault was found in {} on {name}, and the nearest program here, {}, says nothing of that",
                    set.id, program.name
                );
                Err(Fault::new(Kind::Provider, "verify.no_program", message)
                    .hint(format!("Put the server program of {server} into PATH, or name it in server_programs.")))
            }
            _ => Ok(program),
        }
    }

    /// Loads the set, compares what the server holds with the manifest, and reads some keys.
    async fn loaded(&self, of: &Walked<'_>, program: &Program) -> Result<String, NotVerified> {
        let Walked { job, set, statistics, watch, .. } = *of;
        // One at a time: whoever is next looks at what the one before has left of this machine.
        let _turn = self.builds.lock().await;
        self.has_room_to_drill(set).await.map_err(NotVerified::Failed)?;
        let dir = self.laid(job, set, watch).await.map_err(NotVerified::by(Level::Structure))?;
        let _ = self.jobs.progress(job, "a scratch server loads it", set.rdb_bytes, set.rdb_bytes).await;
        let within = starts_within(set.rdb_bytes);
        let server = match ScratchServer::start(program, dir, statistics.databases_needed(), within).await {
            Ok(server) => server,
            Err(error) => return Err(self.not_served(set, program, "does not load it", error).await),
        };
        let _ = self.jobs.progress(job, "looking at what was loaded", set.rdb_bytes, set.rdb_bytes).await;
        let looked = self.look_at_loaded(set, program, &server).await;
        let looked = match looked {
            Ok(looked) => looked,
            // It may have died of what it was asked for.
            Err(error) => Err(match server.ended(ENDED_WITHIN).await {
                Some(died) => self.not_served(set, program, "does not survive reading it", died).await,
                None => NotVerified::Failed(failed(program, &error.to_string()).because(error)),
            }),
        };
        server.stop().await;
        let (counted, read) = looked?;
        let (by, keys) = (&program.name, keys_there(counted, total_keys(&set.counts)));
        let keys = keys.trim_end_matches(',');
        Ok(format!(
            "{by} has loaded it and holds, as its manifest says, {keys}, of which it was asked to write out {read}"
        ))
    }

    /// What the server holds: its keys as [`Self::count_loaded`] counts them, and how many of them were read. The outer error is of the
    /// connection.
    async fn look_at_loaded(
        &self,
        set: &BackupSet,
        program: &Program,
        server: &ScratchServer,
    ) -> Result<Result<((u64, bool), usize), NotVerified>, RedisError> {
        let mut conn = Conn::open(server.endpoint(), COMMAND_TIMEOUT).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        let counted = match self.count_loaded(&facts, set, None).await {
            Ok(counted) => counted,
            Err(fault) => {
                let what = format!("once it has loaded it, holds something else: {}", fault.message);
                return Ok(Err(self.witnessed(set, program, &what)));
            }
        };
        Ok(Ok((counted, read_sample(&mut conn, &set.counts).await?)))
    }

    /// Writes the set out as the server's file.
    async fn laid(&self, job: &Job, set: &BackupSet, watch: &Arc<Watch>) -> Result<ScratchDir, Fault> {
        let mut data = watch.over(self.vault.open_data(set).await?);
        let (parent, wanted) = (self.scratch.clone(), set.rdb_bytes);
        let (vault, of) = (self.vault.clone(), set.clone());
        let laying = blocking(move || {
            let why = match ScratchDir::with_dump(&parent, &mut data) {
                Ok((dir, laid)) if laid == wanted => return Ok(dir),
                Ok((_, laid)) => format!("{laid} bytes came of {wanted}"),
                // No disk says that: a frame of the set was damaged since it was walked.
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Err(vault.damaged(&of, e)),
                Err(e) => e.to_string(),
            };
            let message = format!("the set could not be written out for the drill: {why}");
            Err(Fault::new(Kind::Provider, "verify.failed", message)
                .hint("Free space under the home directory, then call verify_backup again."))
        });
        self.watched(job, set, ("writing it out for a scratch server", PASSES_OF_DRILL), watch, laying).await
    }

    /// Why a server does not serve what it was given. `what`: what it does not do with the set.
    async fn not_served(&self, set: &BackupSet, program: &Program, what: &str, error: ScratchError) -> NotVerified {
        if matches!(error, ScratchError::Died { .. }) && self.starts_empty(program).await {
            return self.witnessed(set, program, &format!("{what}: {error}"));
        }
        NotVerified::Failed(failed(program, &error.to_string()).because(error))
    }

    /// What it says of the set that a program does this with it: of another dialect, or older, the program may lack what the set needs.
    fn witnessed(&self, set: &BackupSet, program: &Program, what: &str) -> NotVerified {
        let source = server_named(&set.engine, &set.version);
        if program.server.succeeds(source) {
            let why = format!("passes every check, and {} {what}", program.name);
            return NotVerified::Damaged(Level::Drill, Some(program.name.clone()), self.vault.damaged(set, why));
        }
        let why = format!("{what}; the set is of {source}, which this program need not stand in for");
        NotVerified::Failed(
            failed(program, &why).hint(format!("Put the server program of {source} into PATH, then call again.")),
        )
    }

    /// Whether the program starts with nothing to load: one that does not says nothing of a set.
    async fn starts_empty(&self, program: &Program) -> bool {
        let parent = self.scratch.clone();
        let dir = blocking(move || {
            ScratchDir::new(&parent).map_err(|e| Fault::new(Kind::Unexpected, "home.failed", e.to_string()))
        });
        let Ok(dir) = dir.await else { return false };
        match ScratchServer::start(program, dir, 1, starts_within(0)).await {
            Ok(server) => {
                server.stop().await;
                true
            }
            Err(_) => false,
        }
    }

    async fn has_room_to_drill(&self, set: &BackupSet) -> Result<(), Fault> {
        let (memory, disk) = self.room_to_build(set, 0).await?;
        for (what, room) in [("memory", memory), ("disk", disk)] {
            if let Some(free) = room.free.filter(|free| *free < room.need) {
                let (need, free) = (bytes(room.need), bytes(free));
                let message = format!("there was no drill: it takes {need} of {what} here, and {free} are free");
                return Err(Fault::new(Kind::Provider, "verify.no_room", message)
                    .hint("Free some, or verify to the level structure, which takes none."));
            }
        }
        Ok(())
    }

    /// Builds a random recent second of the log behind the set, as part of a sentence; empty where the log is not on.
    async fn moment_drilled(&self, job: &Job, set: &BackupSet, program: &Program) -> Result<String, Fault> {
        if !self.log_status(&set.instance_id).await?.is_some_and(|log| log.on) {
            return Ok(String::new());
        }
        let (archive, behind) = (self.archive.clone(), set.clone());
        let windows = move || archive.coverage(&behind.instance_id, SHARD)?.windows(std::slice::from_ref(&behind));
        let Some(window) = blocking(windows).await?.pop() else {
            return Ok("; the log has no moment behind it".to_owned());
        };
        let moment = recent(window.from, window.to)?;
        let told = written(moment);
        match self.moment_behind(job, set, program, moment).await? {
            Ok((commands, keys)) => {
                Ok(format!("; {told} was built behind it: {commands} commands of the log, {keys} keys then"))
            }
            // Its coverage has it.
            Err(none) => Err(Fault::new(Kind::Provider, "verify.failed", format!("{told}: {}", none.why))
                .hint("describe_instances shows how far the log reaches; call verify_backup again when it is whole.")),
        }
    }
}

/// A random second of the last hour of a window; its end where there is no whole second in that.
fn recent(from: Timestamp, to: Timestamp) -> Result<Timestamp, Fault> {
    let from = to.checked_sub(RECENT_HOURS.hours()).map_or(from, |hour| hour.max(from));
    let first = from.as_second() + i64::from(from.subsec_nanosecond() > 0);
    let Ok(seconds) = u64::try_from(to.as_second() - first) else { return Ok(to) };
    let drawn = u64::from_le_bytes(random()?) % (seconds + 1);
    let second = first.saturating_add(i64::try_from(drawn).unwrap_or_default());
    Ok(Timestamp::from_second(second).unwrap_or(to))
}

/// Has the server write out keys that it picks itself, each read whole for that. How many different ones.
async fn read_sample(conn: &mut Conn, counts: &Counts) -> Result<usize, RedisError> {
    let databases = counts.len().clamp(1, SAMPLE_KEYS);
    let mut read = HashSet::new();
    for db in counts.keys().take(databases) {
        conn.cmd_str(&["SELECT", &db.to_string()]).await?;
        for _ in 0..SAMPLE_KEYS / databases {
            // One that expires meanwhile is gone.
            let Value::Bulk(key) = conn.cmd_str(&["RANDOMKEY"]).await? else { break };
            let known = read.contains(&(*db, key.clone()));
            if !known && is_small(conn, &key).await? && matches!(conn.cmd(&[b"DUMP", &key]).await?, Value::Bulk(_)) {
                read.insert((*db, key));
            }
        }
    }
    Ok(read.len())
}

/// Whether a value comes here in a piece that is not too large. Of many elements the server looks at a few, and only where those make it a
/// small one at all.
async fn is_small(conn: &mut Conn, key: &[u8]) -> Result<bool, RedisError> {
    let within = |size: Value| size.as_int().is_some_and(|size| size <= SAMPLE_BYTES_MAX);
    let about = conn.cmd(&[b"MEMORY", b"USAGE", key]).await?;
    Ok(within(about) && within(conn.cmd(&[b"MEMORY", b"USAGE", key, b"SAMPLES", b"0"]).await?))
}

fn no_program(set: &BackupSet, statistics: &KeyStatistics) -> Fault {
    let (id, backup_id) = (&set.instance_id, &set.id);
    let modules = match statistics.modules.as_slice() {
        [] => String::new(),
        modules => format!(", and none has the modules of {}", modules.join(", ")),
    };
    let message = format!(
        "there was no drill: no server program here loads {} of {} {} (RDB version {}){modules}",
        set.id, set.engine, set.version, set.rdb_version
    );
    Fault::new(Kind::Provider, "verify.no_program", message).hint(format!(
        "verify_backup with instance_id {id}, backup_id {backup_id} and level structure takes no server. For a drill install the redis-server or \
         valkey-server of that version, so that it is in PATH, or name it in the configuration (server_programs)."
    ))
}

fn failed(program: &Program, why: &str) -> Fault {
    let message = format!("the drill came to nothing, which says nothing of the set: {}: {why}", program.name);
    Fault::new(Kind::Provider, "verify.failed", message).hint("Call verify_backup again when this is cured.")
}

#[cfg(test)]
mod tests {
    //! A moment lies in its window, and in the last hour of it.
    use super::recent;
    use jiff::Timestamp;

    #[test]
    fn a_recent_second_is_of_the_window() {
        let ms = |ms| Timestamp::from_millisecond(ms).unwrap();
        for (from, to, first, last) in
            [(1_000_000, 10_000_000_000, 9_996_400, 10_000_000), (1_500, 3_900, 2, 3), (1_000, 1_000, 1, 1)]
        {
            for _ in 0..100 {
                let drawn = recent(ms(from), ms(to)).unwrap();
                assert!((first..=last).contains(&drawn.as_second()), "{from}..{to}: {drawn}");
                assert_eq!(drawn.subsec_nanosecond(), 0);
            }
        }
        assert_eq!(recent(ms(1_200), ms(1_700)).unwrap(), ms(1_700));
    }
}
