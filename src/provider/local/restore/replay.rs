//! The commands that are replayed behind a set: found for a plan, found again and opened for its restore, and read for the target.
//!
//! They come from the instance's log, or from the tail of an earlier restore. What is opened is what was planned, or nothing is.

use crate::archive::SHARD;
use crate::archive::{Archive, Cut, CutAt, NoCut, Outside, Why, Window};
use crate::config::blocking::blocking;
use crate::guard::act::{Act, Source};
use crate::guard::facts::Facts;
use crate::guard::facts::replay::{NoMoment, Replay, ReplayedLog};
use crate::guard::plan::{Plan, changed};
use crate::guard::preconditions::ReplayIdentity;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::job::JobKind;
use crate::model::key_filter::SomeKeys;
use crate::model::restore::{Method, RestoredTo};
use crate::model::time::{written_ms, written_short};
use crate::provider::local::restore::tail_replay::{Kept, TailReader};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::provider::unsupported;
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::inventory::{Refusals, unknown_commands};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

mod supply;

/// The first Redis that sends its replicas every expiry as a moment.
const ABSOLUTE_SINCE: u32 = 7;

/// The commands behind a set.
pub(super) struct Behind {
    /// What is restored: the set, and up to where.
    pub(super) restored: RestoredTo,
    /// What identifies the commands, and names them to a reader.
    pub(super) position: String,
    pub(super) names: BTreeSet<String>,
    pub(super) commands: u64,
    pub(super) bytes: u64,
    pub(super) log: ReplayedLog,
    reader: Reader,
    /// By how many milliseconds the expiries of set and commands are moved.
    pub(super) shift_ms: i64,
    /// Whether the commands have expiries that count from when they run.
    relative: bool,
}

/// Reads the commands, verified.
enum Reader {
    Log(Archive, Box<Cut>),
    Tail(Box<TailReader>),
}

impl Inner {
    /// Whether there is a log of an instance, old or new. One that cannot be read is one: whoever asks for a moment of it is told.
    pub(in crate::provider::local) async fn has_log(&self, instance_id: &str) -> bool {
        let (archive, id) = (self.archive.clone(), instance_id.to_owned());
        blocking(move || Ok(!archive.timelines(&id, SHARD)?.is_empty())).await.unwrap_or(true)
    }

    /// Target, set, and the commands behind the set, for a restore to a moment of the instance `set_of`.
    pub async fn moment_facts(
        self: &Arc<Self>,
        instance_id: &str,
        set_of: &str,
        source: &Source,
        keys: Option<&SomeKeys>,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        let planned = earlier.map(Plan::direct_restore).transpose()?.and_then(|planned| planned.replay.as_ref());
        let behind = match self.behind(set_of, source, planned).await? {
            Ok(behind) => behind,
            Err(none) => return Ok(Facts::NoMoment(none)),
        };
        // Nothing of a log changes behind a plan.
        let (behind, expiring_by_log) = if earlier.is_none() {
            let looked = move || {
                let behind = behind.rehearsed()?;
                let expiring = behind.expired_since();
                Ok((behind, expiring))
            };
            blocking(looked).await?
        } else {
            (behind, None)
        };
        let base = &behind.restored.backup_id;
        let mut facts = self.restore_facts(instance_id, set_of, base, keys, true, earlier).await?;
        if let Facts::DirectRestore(facts) = &mut facts {
            let expired = facts.source.expired.take();
            let (mut unknown, mut counts_refusals, mut builder) = (Vec::new(), true, None);
            if facts.target.not_ready.is_none() {
                let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
                let mut own = None;
                if facts.target.method != Method::Replication {
                    let server = ServerFacts::read(&mut conn).await?.server();
                    let set = self.found(set_of, base).await?;
                    let (found, started) = self.building(&set, behind.bytes, server, earlier.is_none()).await?;
                    (builder, own) = (Some(found), started);
                    if let Some(own) = &own {
                        conn = Conn::open(own.endpoint(), COMMAND_TIMEOUT).await?;
                    }
                }
                // Of a server of our own the plan has asked, and its restore asks again.
                if builder.is_none() || own.is_some() {
                    unknown = unknown_commands(&mut conn, &behind.names).await?;
                    counts_refusals = Refusals::read(&mut conn).await?.is_some();
                }
                if let Some(own) = own {
                    own.stop().await;
                }
            }
            let moment = behind.restored.moment;
            facts.replay = Some(Replay {
                log: behind.log,
                position: behind.position,
                commands: behind.commands,
                bytes: behind.bytes,
                unknown,
                builder,
                moment,
                expiring: self.expiring(set_of, &behind.restored.backup_id, moment, expired).await?,
                expiring_by_log,
                counts_refusals,
            });
        }
        Ok(facts)
    }

    /// Keys of a set whose expiry lies between a moment and now, of which so many have expired by now; at most, where the set cannot be
    /// read once more in time.
    pub(in crate::provider::local) async fn expiring(
        &self,
        set_of: &str,
        backup_id: &str,
        moment: Timestamp,
        expired: Option<u64>,
    ) -> Result<Option<u64>, Fault> {
        let Some(expired @ 1..) = expired else { return Ok(expired) };
        let set = self.found(set_of, backup_id).await?;
        let before = self.expired_by(&set, Some(moment.as_millisecond())).await.unwrap_or_default();
        Ok(Some(expired.saturating_sub(before.values().sum())))
    }

    /// The commands of a plan, as they are now; `None` where the plan restores a set alone.
    pub(super) async fn planned_behind(&self, plan: &Plan) -> Result<Option<Behind>, Fault> {
        let Some(planned) = &plan.direct_restore()?.replay else { return Ok(None) };
        let Act::RestoreInstance { source, .. } = &plan.act else { return Err(plan.unsupported()) };
        self.behind_as_planned(plan.act.set_of(&plan.instance_id), source, planned).await.map(Some)
    }

    /// The planned commands of an instance, as they are now.
    pub(super) async fn behind_as_planned(
        &self,
        set_of: &str,
        source: &Source,
        planned: &ReplayIdentity,
    ) -> Result<Behind, Fault> {
        let another = || changed("the log is not the one that was planned; the target was not touched");
        let behind = self.behind(set_of, source, Some(planned)).await?.map_err(|_| another())?;
        let now = ReplayIdentity { backup_id: behind.restored.backup_id.clone(), position: behind.position.clone() };
        if now == *planned { Ok(behind) } else { Err(another()) }
    }

    /// Finds the set that a restore to a moment begins with, and the commands behind it. A plan's stays its set, also where there is a
    /// later one by now.
    pub(super) async fn behind(
        &self,
        instance_id: &str,
        source: &Source,
        planned: Option<&ReplayIdentity>,
    ) -> Result<Result<Behind, NoMoment>, Fault> {
        let found = match source {
            Source::Before { position, .. } if JobKind::Restore.is_of(position) => {
                self.behind_tail(instance_id, position).await
            }
            _ => self.behind_log(instance_id, source, planned).await,
        };
        let mut behind = match found? {
            Ok(behind) => behind,
            Err(none) => return Ok(Err(none)),
        };
        let from =
            if let Source::Moment { restore_time, .. } = source { *restore_time } else { behind.restored.moment };
        behind.shift_ms = source.time_shift().map_or(0, |to| to.as_millisecond() - from.as_millisecond());
        Ok(Ok(behind))
    }

    async fn behind_log(
        &self,
        instance_id: &str,
        source: &Source,
        planned: Option<&ReplayIdentity>,
    ) -> Result<Result<Behind, NoMoment>, Fault> {
        let (at, asked) = match source {
            Source::Backup { .. } => return Err(unsupported("a set as a moment")),
            Source::Moment { restore_time, .. } => (CutAt::Moment(*restore_time), written_short(*restore_time)),
            Source::Before { position, .. } => (CutAt::Before(position.parse()?), format!("right before {position}")),
        };
        // Whether the set of a plan may still be used is asked where it is opened.
        let sets = match planned {
            None => self.sets(instance_id).await?,
            Some(_) => self.vault.list(instance_id, self).await?,
        };
        let mut bases: Vec<BackupSet> = sets.into_iter().flatten().collect();
        bases.retain(|set| match planned {
            Some(planned) => planned.backup_id == set.id,
            None => self.vault.may_be_restored(set).is_ok(),
        });
        let (cut, window) = match self.find_cut(instance_id, at, asked, bases).await? {
            Ok(found) => found,
            Err(none) => return Ok(Err(none)),
        };
        Ok(Ok(Behind {
            restored: RestoredTo {
                backup_id: cut.base.clone(),
                position: Some(cut.to.to_string()),
                moment: cut.at,
                ended: None,
            },
            position: cut.to.to_string(),
            names: cut.names.clone(),
            commands: cut.commands,
            bytes: cut.log_bytes,
            log: ReplayedLog::Archive {
                at: cut.at,
                precision_ms: cut.precision_ms,
                taken_back: cut.taken_back,
                window,
            },
            reader: Reader::Log(self.archive.clone(), Box::new(cut)),
            shift_ms: 0,
            relative: false,
        }))
    }

    /// Finds what it takes to recover a state of an instance's log from one of these sets, and the window that the state is in; or why
    /// there is no such state. `asked` is the state as part of a sentence.
    pub(in crate::provider::local) async fn find_cut(
        &self,
        instance_id: &str,
        at: CutAt,
        asked: String,
        bases: Vec<BackupSet>,
    ) -> Result<Result<(Cut, Option<(Timestamp, Timestamp)>), NoMoment>, Fault> {
        let (archive, id) = (self.archive.clone(), instance_id.to_owned());
        let found = blocking(move || {
            let coverage = archive.coverage(&id, SHARD)?;
            let cut = match coverage.cut(&bases, &at) {
                Ok(cut) => cut,
                Err(NoCut::Outside(outside)) => return Ok(Err(outside)),
                Err(NoCut::Fault(fault)) => return Err(fault),
            };
            let windows = coverage.windows(&bases)?;
            let within = |w: &&Window| w.timeline == cut.timeline.id && w.from <= cut.at && cut.at <= w.to;
            let window = windows.iter().find(within).map(|w| (w.from, w.to));
            Ok(Ok((cut, window)))
        });
        match found.await? {
            Ok(found) => Ok(Ok(found)),
            Err(Outside { nearest_before, nearest_after, why }) => {
                let why = outside(why).to_owned();
                Ok(Err(self.no_moment(instance_id, asked, why, nearest_before, nearest_after).await?))
            }
        }
    }

    async fn behind_tail(&self, instance_id: &str, job_id: &str) -> Result<Result<Behind, NoMoment>, Fault> {
        let (backup_id, moment, kept) = match self.kept_writes(instance_id, job_id).await? {
            Ok(kept) => kept,
            Err(none) => return Ok(Err(none)),
        };
        let (position, names, commands, bytes) = match &kept {
            Kept::Tail(tail) => {
                (format!("{job_id}, SHA-256 {}", tail.sha256()), tail.names().clone(), tail.commands(), tail.bytes())
            }
            Kept::Log(cut) => (cut.to.to_string(), cut.names.clone(), cut.commands, cut.log_bytes),
        };
        Ok(Ok(Behind {
            restored: RestoredTo { backup_id, position: None, moment, ended: None },
            position,
            names,
            commands,
            bytes,
            log: ReplayedLog::Tail { job_id: job_id.to_owned() },
            reader: match kept {
                Kept::Tail(tail) => Reader::Tail(tail),
                Kept::Log(cut) => Reader::Log(self.archive.clone(), cut),
            },
            shift_ms: 0,
            relative: false,
        }))
    }

    pub(super) async fn no_moment(
        &self,
        instance_id: &str,
        asked: String,
        why: String,
        nearest_before: Option<Timestamp>,
        nearest_after: Option<Timestamp>,
    ) -> Result<NoMoment, Fault> {
        let address = self.endpoint(instance_id).await?.to_string();
        Ok(NoMoment { instance_id: instance_id.to_owned(), address, asked, why, nearest_before, nearest_after })
    }
}

fn outside(why: Why) -> &'static str {
    match why {
        Why::NothingToRecover => "there is no log of it, or no set that the log could be replayed behind",
        Why::TooEarly => "it is before the earliest moment that can be restored",
        Why::NotArchivedYet => "the log on the vault does not reach there yet",
        Why::InGap => "a part of the log is missing there",
        Why::Imprecise => "nothing came from the instance then, and what came later does not tell when it was written",
        Why::NoCommandThere => "no command begins there",
        Why::DatabaseUnknown => "the log does not say which database its first commands are for",
    }
}

impl Behind {
    /// That the target still knows every command.
    ///
    /// # Errors
    /// `plan.changed`.
    pub(super) async fn still_known(&self, conn: &mut Conn) -> Result<(), Fault> {
        let unknown = self.unknown_to(conn).await?;
        if unknown.is_empty() {
            return Ok(());
        }
        Err(changed(format!("the target was not touched, for it no longer knows {}", unknown.join(", "))))
    }

    /// Names of commands that a server does not know.
    pub(super) async fn unknown_to(&self, conn: &mut Conn) -> Result<Vec<String>, Fault> {
        Ok(unknown_commands(conn, &self.names).await?)
    }

    /// Bytes of the commands.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The moment, as part of a sentence.
    pub(super) fn moment(&self) -> String {
        match &self.log {
            ReplayedLog::Archive { at, .. } => {
                format!("{} (position {})", written_ms(*at), self.position)
            }
            ReplayedLog::Tail { job_id } => format!("the last write before the cutover of {job_id}"),
        }
    }

    /// The same behind the set that it goes with: servers before Redis 7.0 send their replicas expiries as they were given to them.
    pub(super) fn of(self, set: &BackupSet) -> Self {
        let major = set.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        Self { relative: set.engine == "redis" && major.is_some_and(|major| major < ABSOLUTE_SINCE), ..self }
    }
}
