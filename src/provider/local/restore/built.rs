//! A moment for a target that cannot follow this program: a server of our own is given the set and the commands behind it as its master's
//! stream, which is proven as for any target; what it then holds is verified, and goes to the target by commands.
//!
//! The target is not touched here. What is built is a file without a name: nothing of it is left behind, whatever ends this program.

use crate::config::blocking::blocking;
use crate::config::nameless::FromStart;
use crate::guard::facts::replay::{Builder, Room};
use crate::guard::plan::{Plan, changed};
use crate::guard::room::need;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::Job;
use crate::model::text::bytes;
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::contents::{Contents, Whose};
use crate::provider::local::restore::replay::Behind;
use crate::provider::local::restore::replication::{STALL_TIMEOUT, supply};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::master::cutover::OwnServer;
use crate::redis::master::session::Session;
use crate::redis::master::types::{MasterOptions, Restored, Step};
use crate::redis::rdb;
use crate::redis::rdb::compat::Server;
use crate::redis::rdb::statistics::{Checksum, Dialect, KeyStatistics};
use crate::redis::rdb::unique::Unique;
use crate::redis::scratch::program::{Program, builder_for};
use crate::redis::scratch::room::{disk_free, memory_free};
use crate::redis::scratch::{ScratchDir, ScratchServer};
use crate::vault::frames::FrameReader;
use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{MutexGuard, mpsc};

/// A server without data starts in a moment.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// What it holds is saved at the speed of the disk.
const SAVED_WITHIN: Duration = Duration::from_secs(3600);
/// Databases, at least and at most, of a server that a moment is built on, which takes memory for each.
const DATABASES: (u64, u64) = (1024, 1 << 20);
/// The first version of Valkey's own format.
const OLDEST_VALKEY: u16 = 80;

/// Databases of a server that builds a moment behind a set, and of a clone of one: at least those of the set, also such as a target lacks
/// which needs none of them. Which the log uses nothing tells.
pub(in crate::provider::local) fn databases_behind(set: &BackupSet) -> u64 {
    let of_set = set.counts.keys().next_back().map_or(0, |db| db.saturating_add(1));
    let (least, most) = DATABASES;
    of_set.checked_next_power_of_two().unwrap_or(most).clamp(least, most)
}

/// A moment that was built and verified.
pub(super) struct Built {
    /// What a set of it would say of itself; its other values are those of the set that it was begun with.
    pub(super) set: BackupSet,
    pub(super) statistics: KeyStatistics,
    pub(super) file: Arc<File>,
}

impl Built {
    /// How a restore to the moment ended, whose target holds so many keys now.
    pub(super) fn describe(&self, moment: &str, commands: u64, keys: u64) -> String {
        format!(
            "restored to {moment}: a server of our own applied all {commands} commands of the log behind {} and refused none; the target \
             was given the {} keys that it held then, and holds {keys}",
            self.set.id,
            total_keys(&self.set.counts)
        )
    }

    /// What was built, from its beginning.
    pub(super) fn contents(&self) -> Contents {
        let data = BufReader::with_capacity(1 << 20, FromStart::of(&self.file));
        Contents { data: Box::new(data), whose: Whose::Built }
    }
}

/// What a moment is built with.
pub(super) struct Building<'a> {
    pub(super) program: &'a Program,
    /// The job that is told how far it is.
    pub(super) job: Option<&'a Job>,
    /// When it is given up.
    pub(super) until: Option<Instant>,
    /// Whether nobody waits for it: then it makes no drill end, which is what it is part of.
    pub(super) of_drill: bool,
}

impl Building<'_> {
    /// The time that a step may take, at most `most`.
    fn left(&self, most: Duration) -> Duration {
        self.until.map_or(most, |until| most.min(until.saturating_duration_since(Instant::now())))
    }
}

/// What a set's manifest tells of its contents.
pub(in crate::provider::local) fn told(set: &BackupSet) -> KeyStatistics {
    let dialect = if set.rdb_version >= OLDEST_VALKEY { Dialect::Valkey } else { Dialect::Redis };
    KeyStatistics {
        types: set.types.clone(),
        functions: set.functions,
        bytes: set.rdb_bytes,
        ..KeyStatistics::nothing(dialect, set.rdb_version)
    }
}

impl Inner {
    /// The program that builds a moment behind this set for such a server; `None` where none is here.
    pub(super) async fn builder(&self, set: &BackupSet, target: Server) -> Result<Option<Program>, Fault> {
        let begins_with = told(set);
        blocking(move || Ok(builder_for(target, &begins_with))).await
    }

    /// What is known of the building of a moment before it begins; and a server of the program, to be asked, where there is one and
    /// `ask` wants it.
    pub(super) async fn building(
        &self,
        set: &BackupSet,
        log_bytes: u64,
        target: Server,
        ask: bool,
    ) -> Result<(Result<Builder, String>, Option<ScratchServer>), Fault> {
        let Some(program) = self.builder(set, target).await? else {
            let lacking = format!(
                "no program here loads {} and writes what {target} takes: put the redis-server or valkey-server of that version into PATH",
                set.id
            );
            return Ok((Err(lacking), None));
        };
        self.building_on(&program, set, log_bytes, ask).await
    }

    /// [`Self::building`] on a program that is known.
    pub(super) async fn building_on(
        &self,
        program: &Program,
        set: &BackupSet,
        log_bytes: u64,
        ask: bool,
    ) -> Result<(Result<Builder, String>, Option<ScratchServer>), Fault> {
        let (memory, disk) = self.room_to_build(set, log_bytes).await?;
        let builder = Builder { program: program.name.clone(), memory, disk };
        if !ask {
            return Ok((Ok(builder), None));
        }
        match self.scratch_server(program, 1, STARTS_WITHIN).await {
            Ok(server) => Ok((Ok(builder), Some(server))),
            Err(fault) => Ok((Err(fault.message), None)),
        }
    }

    /// Memory and disk of this machine for the building of a moment.
    pub(in crate::provider::local) async fn room_to_build(
        &self,
        set: &BackupSet,
        log_bytes: u64,
    ) -> Result<(Room, Room), Fault> {
        let parent = self.scratch.clone();
        let (memory_left, disk_left) = blocking(move || Ok((memory_free(), disk_free(&parent)))).await?;
        let memory = need(set.used_memory, set.rdb_bytes, 0).saturating_add(log_bytes);
        let disk = set.rdb_bytes.saturating_add(log_bytes);
        Ok((Room { need: memory, free: memory_left }, Room { need: disk, free: disk_left }))
    }

    /// That this machine has the room now.
    async fn has_room_to_build(&self, program: &str, set: &BackupSet, log_bytes: u64) -> Result<(), Fault> {
        let (memory, disk) = self.room_to_build(set, log_bytes).await?;
        for (what, room) in [("memory", memory), ("disk", disk)] {
            if let Some(free) = room.free.filter(|free| *free < room.need) {
                let why = format!("it takes {} of {what} here, and {} are free", bytes(room.need), bytes(free));
                let hint = format!("Free some, or take the set that it begins with instead: {}.", set.id);
                return Err(not_built(program, &why).hint(hint));
            }
        }
        Ok(())
    }

    /// Waits until nobody else here builds a moment, no longer than until it is given up.
    async fn turn_to_build(&self, on: &Building<'_>) -> Result<MutexGuard<'_, ()>, Fault> {
        if let Ok(turn) = self.builds.try_lock() {
            return Ok(turn);
        }
        if !on.of_drill {
            self.build_wanted.notify_waiters();
        }
        if let Some(job) = on.job {
            let _ = self.jobs.progress(job, "waiting, for another moment is being built here", 0, 0).await;
        }
        let Some(until) = on.until else { return Ok(self.builds.lock().await) };
        tokio::time::timeout_at(until.into(), self.builds.lock()).await.map_err(|_| {
            let message = "another moment is being built here, and the time allowed for this one is over";
            Fault::new(Kind::Provider, "restore.not_built", message).hint("Call again, or take a set instead.")
        })
    }

    async fn scratch_server(
        &self,
        program: &Program,
        databases: u64,
        within: Duration,
    ) -> Result<ScratchServer, Fault> {
        let refused = |why: String| not_built(&program.name, &why);
        let (parent, name) = (self.scratch.clone(), program.name.clone());
        let dir = blocking(move || ScratchDir::new(&parent).map_err(|e| not_built(&name, &e.to_string()).because(e)));
        let started = ScratchServer::start(program, dir.await?, databases, within).await;
        started.map_err(|e| refused(format!("it does not start: {e}")).because(e))
    }

    /// Builds a moment, and shows that the target can take it.
    pub(super) async fn build(
        &self,
        job: &Job,
        plan: &Plan,
        set: &BackupSet,
        data: FrameReader,
        behind: Behind,
    ) -> Result<Built, Fault> {
        let mut conn = Conn::open(&self.endpoint(&plan.instance_id).await?, COMMAND_TIMEOUT).await?;
        let target = ServerFacts::read(&mut conn).await?;
        plan.same_process(&target.run_id)?;
        let gone = || changed("there is no program any more to build the moment with; the target was not touched");
        let program = self.builder(set, target.server()).await?.ok_or_else(gone)?;
        let on = Building { program: &program, job: Some(job), until: None, of_drill: false };
        let built = self.build_on(job, &on, set, data, behind).await?;
        self.fits(plan, &built).await?;
        Ok(built)
    }

    /// Builds a moment on a server of our own.
    pub(super) async fn build_on(
        &self,
        job: &Job,
        on: &Building<'_>,
        set: &BackupSet,
        data: FrameReader,
        behind: Behind,
    ) -> Result<Built, Fault> {
        let (restored, used_memory, file) = self.built_on(on, set, data, behind).await?;
        let _ = self.jobs.progress(job, "verifying the moment that was built", set.rdb_bytes, 0).await;
        let (file, statistics) = verified(file, self.run_dir().await?).await?;
        let counts = statistics.dbs.iter().map(|db| (db.db, (db.keys, db.expires))).collect();
        tracing::debug!(replayed = ?restored.replayed, "a moment was built");
        let made = BackupSet {
            rdb_version: statistics.rdb_version,
            rdb_bytes: statistics.bytes,
            counts,
            functions: statistics.functions,
            types: statistics.types.clone(),
            used_memory,
            ..set.clone()
        };
        Ok(Built { set: made, statistics, file })
    }

    /// Gives a server of our own the set and the commands, and ends it. What it then held, its memory, and the file that it saved. One
    /// at a time: whoever is next looks at what the one before has left of this machine.
    pub(super) async fn built_on(
        &self,
        on: &Building<'_>,
        set: &BackupSet,
        data: FrameReader,
        behind: Behind,
    ) -> Result<(Restored, u64, File), Fault> {
        let name = &on.program.name;
        let _turn = self.turn_to_build(on).await?;
        self.has_room_to_build(name, set, behind.bytes()).await?;
        let server = self.scratch_server(on.program, databases_behind(set), on.left(STARTS_WITHIN)).await?;
        let filling = self.fill(on.job, set, data, behind, &server);
        let filled = match on.until {
            None => Ok(filling.await),
            Some(until) => tokio::time::timeout_at(until.into(), filling).await,
        };
        let (restored, used_memory) = match filled {
            Ok(Ok(done)) => done,
            Ok(Err(fault)) => {
                let log = server.log().await;
                server.stop().await;
                let log = if log.is_empty() { String::new() } else { format!("; its log ends: {log}") };
                return Err(not_built(name, &format!("{}{log}", fault.message)).because(fault));
            }
            Err(_) => {
                server.stop().await;
                return Err(not_built(name, "it took longer than the time allowed for it"));
            }
        };
        let saved = server.save(on.left(SAVED_WITHIN)).await;
        Ok((restored, used_memory, saved.map_err(|e| not_built(name, &e.to_string()).because(e))?))
    }

    /// Gives a server of our own the set and the commands. What it then held, and its memory.
    async fn fill(
        &self,
        job: Option<&Job>,
        set: &BackupSet,
        data: FrameReader,
        behind: Behind,
        server: &ScratchServer,
    ) -> Result<(Restored, u64), Fault> {
        let mut conn = Conn::open(server.endpoint(), COMMAND_TIMEOUT).await?;
        let unknown = behind.unknown_to(&mut conn).await?;
        if !unknown.is_empty() {
            return Err(changed(format!("it does not know {}", unknown.join(", "))));
        }
        let options = MasterOptions { stall: STALL_TIMEOUT, total: Some(set.rdb_bytes), ..MasterOptions::default() };
        let session = Session::prepare(server.endpoint(), options).await?;
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let bytes = set.rdb_bytes;
        let supplier = tokio::task::spawn_blocking(move || supply(data, bytes, Some(behind), &tx));
        let (stage, sent_so_far) = (Mutex::new("building the moment: the set is loaded"), AtomicU64::new(0));
        let own = server.scratch();
        let mut word = OwnServer::of(&own);
        let run = session.run(own.overwrite(), rx, &mut word, |step| match step {
            Step::Streaming { sent, .. } => sent_so_far.store(sent, Ordering::Relaxed),
            Step::Replaying { .. } => {
                *stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    "building the moment: the log is applied";
            }
            _ => {}
        });
        let how_far = || {
            let stage = *stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (stage, sent_so_far.load(Ordering::Relaxed))
        };
        let done = match job {
            Some(job) => self.reporting(job, 0, how_far, run).await,
            None => run.await,
        };
        // The thread ends by itself: its channel is closed.
        let _ = supplier.await;
        let restored = done.map_err(|e| match e {
            // What became of a server of our own is no news.
            RedisError::Restore { source, .. } => Fault::from(*source),
            e => e.into(),
        })?;
        Ok((restored, ServerFacts::read(&mut conn).await?.used_memory))
    }
}

/// Verifies what a server of our own has saved as any set is verified, but for a manifest.
async fn verified(file: File, spill: std::path::PathBuf) -> Result<(Arc<File>, KeyStatistics), Fault> {
    let file = Arc::new(file);
    blocking(move || {
        let bad = |why: String| Whose::Built.unreadable(why);
        let mut unique = Unique::new(spill);
        let walk = |unique: &mut Unique| {
            rdb::walk_unique(FromStart::of(&file), (), (), unique).map_err(|e| bad(e.to_string()))
        };
        let statistics = walk(&mut unique)?.statistics;
        if unique.needs_second_walk().map_err(|e| bad(e.to_string()))? {
            walk(&mut unique)?;
        }
        if statistics.checksum != Checksum::Verified {
            return Err(bad("it has no CRC64".into()));
        }
        Ok((file, statistics))
    })
    .await
}

fn not_built(program: &str, why: &str) -> Fault {
    let message = format!(
        "the moment could not be built on a server of our own ({program}), and nothing else was touched: {why}"
    );
    Fault::new(Kind::Provider, "restore.not_built", message)
        .hint("Cure what the message names and call again; a set alone takes no such server (describe_backups).")
}
