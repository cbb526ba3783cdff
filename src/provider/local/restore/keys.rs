//! Restore of some keys: what a list matches, read for the plan, and the job that writes those keys and removes the others that match.
//!
//! Nothing but keys that match is touched, and nothing is emptied: there is no moment at which the target holds neither old nor new.

use crate::config::blocking::blocking;
use crate::guard::facts::keys::{KeysFacts, Matched, MatchedInTarget, PatternKeys};
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::Plan;
use crate::guard::room::need_of_some;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobEnd};
use crate::model::key_filter::SomeKeys;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::model::restored_keys::RestoredKeys;
use crate::model::slots::HeldSlots;
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::cutover::{LastKey, WayBack, behind};
use crate::provider::local::restore::keys_outcome::outcome;
use crate::provider::local::restore::loadable::BULK_DEFAULT;
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::restore::steps::{has_database, too_large};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, clock_ahead_ms};
use crate::redis::keys::found::{Finder, Found, TooSlow};
use crate::redis::keys::had::Had;
use crate::redis::keys::names::{KnownNames, Names};
use crate::redis::keys::scan::count;
use crate::redis::limits::Limits;
use crate::redis::rdb;
use crate::redis::rdb::compat::{Modules, any_of_own};
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::payload::restorable;
use crate::redis::rdb::statistics::Dialect;
use crate::redis::replay::ReplayReport;
use crate::redis::replay::encoder::RestoreEncoder;
use crate::redis::replay::keys::{Passed, Written, restore_keys};
use crate::redis::replay::some::{Gathered, Wanted};
use crate::redis::slots::owned_slots;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a plan counts the keys of its target that match.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);
/// Stage of a job that has written all keys and removes those that match and were not there.
const PASSING: &str = "going through the keys that match";
/// The first version of Valkey's own format.
const OLDEST_VALKEY: u16 = 80;

/// The format that a set is in.
const fn dialect(set: &BackupSet) -> Dialect {
    if set.rdb_version >= OLDEST_VALKEY { Dialect::Valkey } else { Dialect::Redis }
}

/// The slots in which keys are removed that match and that the source does not have: those whose keys it held whole, for others may have been
/// elsewhere.
pub(in crate::provider::local) fn removed_in(keys: &SomeKeys, held: Option<HeldSlots>) -> Option<HeldSlots> {
    held.filter(|_| keys.removes())
}

/// A list that was compiled, off the serving thread: that may take a while.
async fn compiled(keys: &SomeKeys) -> Result<Arc<KeyMatcher>, Fault> {
    let keys = keys.clone();
    blocking(move || KeyMatcher::new(&keys).map(Arc::new)).await
}

/// What an RDB has of some keys, the names that they get in the target, and why commands cannot write the whole of them.
type Counted = Result<(Found, KnownNames), String>;

impl Inner {
    /// What a list matches, and why this server cannot take those keys of a source; `None` where it can. `own`: the source is one of this
    /// instance. `held`: the slots whose keys it held whole; `None` where that is not known. `later`: of a plan that exists nothing is counted again.
    #[expect(clippy::too_many_arguments, reason = "each is another fact that the answer depends on")]
    pub(super) async fn keys_facts(
        &self,
        keys: &SomeKeys,
        set: &BackupSet,
        own: bool,
        held: Option<HeldSlots>,
        later: bool,
        facts: &ServerFacts,
        limits: Limits,
        conn: &mut Conn,
    ) -> Result<(KeysFacts, Option<String>), Fault> {
        let matcher = compiled(keys).await?;
        let filter = matcher.filter().clone();
        if later {
            return Ok((KeysFacts { filter, matched: None }, None));
        }
        let contents = Contents::of_set(&self.vault, set, self.vault.open_data(set).await?);
        let (found, names) = match self.find(&matcher, contents, facts, conn).await? {
            Ok(counted) => counted,
            Err(why) => return Ok((KeysFacts { filter, matched: None }, Some(why))),
        };
        let refused = cannot_take(&found, set, own, facts, limits, conn).await?;
        let removed_in = removed_in(keys, held);
        let until = Instant::now() + COUNTED_WITHIN;
        let present = match count(conn, &matcher, &names, removed_in.as_ref(), until).await {
            // The right to that is a step of the way, and judged with the others.
            Err(RedisError::Denied { .. }) => None,
            counted => counted?,
        };
        let of = |counts: &PatternCounts, item| counts.of(item);
        let pattern = |(item, pattern): (usize, &String)| PatternKeys {
            pattern: pattern.clone(),
            source: of(&found.counts, item),
            target: present.as_ref().map(|present| of(&present.counts, item)),
        };
        let matched = Matched {
            patterns: filter.items.iter().enumerate().map(pattern).collect(),
            source: found.counts.total(),
            expired: found.expired,
            bytes: found.bytes,
            target: present.map(|p| MatchedInTarget { keys: p.counts.total(), shared: p.shared, removed: p.removed }),
            removed_in,
        };
        Ok((KeysFacts { filter, matched: Some(matched) }, refused))
    }

    async fn find(
        &self,
        matcher: &Arc<KeyMatcher>,
        contents: Contents,
        facts: &ServerFacts,
        conn: &mut Conn,
    ) -> Result<Counted, Fault> {
        let owned = if facts.cluster_enabled { Some(owned_slots(conn).await?) } else { None };
        // Whether an expiry has passed is the target's to say.
        let at_ms = Timestamp::now().as_millisecond().saturating_add(clock_ahead_ms(conn).await?);
        let (matcher, names) = (Arc::clone(matcher), Names::new(self.run_dir().await?));
        let Contents { data, whose } = contents;
        blocking(move || match rdb::walk(data, (), Finder::new(&matcher, at_ms, owned, names)) {
            Ok(walked) => {
                let (found, names) = walked.visitor.end();
                Ok(Ok((found, names.seal().map_err(names_lost)?)))
            }
            Err(too_large @ RdbError::TooLarge { .. }) => Ok(Err(too_large.to_string())),
            Err(slow) if TooSlow::is(&slow) => Ok(Err(TooSlow.to_string())),
            Err(e) => Err(whose.unreadable(e)),
        })
        .await
    }

    /// The memory that the keys of a moment need which was built, about; or why a target cannot take them. `own`: the moment is one of this
    /// instance.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(super) async fn cannot_take_built(
        &self,
        keys: &SomeKeys,
        set: &BackupSet,
        own: bool,
        contents: Contents,
        facts: &ServerFacts,
        limits: Limits,
        conn: &mut Conn,
    ) -> Result<Result<u64, String>, Fault> {
        let found = match self.find(&compiled(keys).await?, contents, facts, conn).await? {
            Ok((found, _)) => found,
            Err(why) => return Ok(Err(why)),
        };
        let (some, all) = ((found.bytes, found.counts.total()), (set.rdb_bytes, total_keys(&set.counts)));
        let refused = cannot_take(&found, set, own, facts, limits, conn).await?;
        Ok(refused.map_or_else(|| Ok(need_of_some(set.used_memory, some, all)), Err))
    }

    /// The keys of the target that match, as its last safety backup has them; `None` where there is none.
    async fn had(
        &self,
        matcher: &Arc<KeyMatcher>,
        instance_id: &str,
        safety: Option<String>,
        ahead_ms: i64,
    ) -> Result<Option<Arc<KnownNames>>, Fault> {
        let Some(backup_id) = safety else { return Ok(None) };
        let set = self.found(instance_id, &backup_id).await?;
        let Contents { data, whose } = Contents::of_set(&self.vault, &set, self.vault.open_data(&set).await?);
        let at_ms = Timestamp::now().as_millisecond().saturating_add(ahead_ms);
        let (matcher, names) = (Arc::clone(matcher), Names::new(self.run_dir().await?));
        blocking(move || {
            let walked = rdb::walk(data, (), Had::new(&matcher, at_ms, names)).map_err(|e| whose.unreadable(e))?;
            walked.visitor.seal().map(|names| Some(Arc::new(names))).map_err(names_lost)
        })
        .await
    }

    /// Writes the keys that match, and removes the others that do. `moment`: of what is no set, what it is.
    pub(super) async fn some_keys(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        set: &BackupSet,
        contents: Contents,
        moment: Option<String>,
    ) -> JobEnd {
        let keys = plan.act.keys().ok_or_else(|| plan.unsupported())?;
        let matcher = compiled(keys).await?;
        let dir = self.run_dir().await?;
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?;
        let looked = self.still_as_planned(&mut conn, plan, &endpoint).await?;
        let evicted = looked.facts.evicted_keys;
        let held = self.held_then(set, moment.is_some(), &plan.instance_id, &looked.facts).await;
        let removed_in = removed_in(keys, held);
        let safety = self.last_safety(job, plan, &endpoint, looked, &[]).await?;
        let ahead_ms = clock_ahead_ms(&mut conn).await.map_err(Fault::from)?;
        let backed_up = safety.as_ref().map(|safety| safety.cutover.safety_backup_id.clone());
        let had = match self.had(&matcher, &plan.instance_id, backed_up, ahead_ms).await {
            Ok(had) => had,
            Err(mut fault) => {
                drop(safety);
                self.discard_cutover(&job.id).await;
                fault.message.push_str("; the target was not touched");
                return Err(fault.into());
            }
        };
        let mut recovery = RecoveryRecord::of(plan, set, moment.clone())?.written_on(&mut conn).await?;
        recovery.evicted = Some(evicted);
        self.jobs.save_recovery(job, &recovery).await?;
        let mut way_back = WayBack::new(self, job, plan, safety, 0);
        let (tx, frames) = mpsc::channel(IN_FLIGHT);
        let wanted = Wanted { matcher: Arc::clone(&matcher), dialect: dialect(set), ahead_ms, had: had.clone() };
        let encoder = RestoreEncoder::new(tx, set.rdb_version, dir).some(wanted);
        let reader = tokio::task::spawn_blocking(move || read(contents, encoder));
        let done = AtomicU64::new(0);
        let run = restore_keys(grant, &mut conn, frames, removed_in.clone(), &mut way_back, |report| {
            done.store(report.keys, Ordering::Relaxed);
        });
        let written = self.show_keys(job, set, &done, run).await;
        if written.is_ok() {
            self.evicted_before(job, &mut recovery, way_back.evicted_then).await;
        }
        let passing = self.passed(&mut conn, reader, written, &matcher, had.as_deref());
        let passed = self.reporting(job, set.rdb_bytes, || (PASSING, set.rdb_bytes), passing).await;
        let last = passed.as_ref().ok().map(|(gathered, report, passed, after)| LastKey {
            offset: after.offset,
            removed: after.removed,
            ours: report.keys + passed.removed.total(),
            replayable: after.evicted_keys <= evicted
                && (gathered.soonest_ms == i64::MAX || after.clock_ms.is_some_and(|now| now < gathered.soonest_ms)),
        });
        let cutover = way_back.conclude_keys(last).await;
        let told = |fault: Fault| behind(fault, cutover.as_ref());
        let (gathered, report, passed, after) = passed.map_err(told)?;
        let _ = self.state.serving(&job.id, Timestamp::now()).await;
        let keys_of_both = RestoredKeys {
            source: Some(gathered.counts.clone()),
            target: passed.present.clone(),
            as_loaded: false,
            // The server counts what it removes of all its keys.
            expired: None,
            evicted: None,
            of_some: true,
        };
        // What is written must not be called lost because it cannot be told how much of it there is.
        let _ = self.state.set_restored_keys(&job.id, &keys_of_both).await;
        let evicted = after.evicted_keys.saturating_sub(evicted);
        let _ = self.jobs.progress(job, "the target serves; writing to its disk", set.rdb_bytes, set.rdb_bytes).await;
        let run_id = &plan.direct_restore()?.run_id;
        let kept = self.keep(&plan.instance_id, run_id, "the keys that match").await.map_err(told)?;
        let what = moment.unwrap_or_else(|| set.id.clone());
        let end = outcome(keys, removed_in.is_some(), &matcher, &what, &gathered, &report, &passed, evicted);
        let cutover = crate::provider::local::restore::cutover::after(cutover.as_ref());
        match end {
            Ok(message) => Ok(format!("{message}{cutover}; {}", kept.describe())),
            Err(mut fault) => {
                fault.message = format!("{}{cutover}; the data is {}", fault.message, kept.describe());
                Err(fault.into())
            }
        }
    }

    /// Waits for the source to have been read, goes through the keys of the target that match, and looks at the target behind that.
    async fn passed(
        &self,
        conn: &mut Conn,
        reader: tokio::task::JoinHandle<Result<Gathered, Fault>>,
        written: Result<Written, RedisError>,
        matcher: &Arc<KeyMatcher>,
        had: Option<&KnownNames>,
    ) -> Result<(Gathered, ReplayReport, Passed, ServerFacts), Fault> {
        let gathered = reader
            .await
            .map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the reading thread died").because(e))?;
        let written = written?;
        // Without the whole source nobody knows which keys it does not have.
        let gathered = gathered?;
        let report = written.report;
        let passed = written.pass(conn, matcher, &gathered.names, had).await?;
        let after = ServerFacts::read(conn).await?;
        Ok((gathered, report, passed, after))
    }
}

/// The blocking half: reads the source and sends what is to be written.
fn read(contents: Contents, encoder: RestoreEncoder) -> Result<Gathered, Fault> {
    let Contents { data, whose } = contents;
    let walked = rdb::walk(data, (), encoder).map_err(|e| whose.unreadable(e))?;
    let gathered = walked.visitor.finish_some().map_err(|e| {
        Fault::new(Kind::Provider, "restore.interrupted", "the target stopped taking commands").because(e)
    })?;
    gathered
        .ok_or_else(|| Fault::new(Kind::Unexpected, "act.unsupported", "all keys were sent where some were asked for"))
}

fn names_lost(e: std::io::Error) -> Fault {
    Fault::new(Kind::Unexpected, "home.failed", format!("the names of the keys could not be kept: {e}")).because(e)
}

/// Why a server cannot take keys one by one; `None` where it can.
async fn cannot_take(
    found: &Found,
    set: &BackupSet,
    own: bool,
    facts: &ServerFacts,
    limits: Limits,
    conn: &mut Conn,
) -> Result<Option<String>, Fault> {
    let loaded = facts.modules.clone().unwrap_or_default();
    let types: Vec<String> = found.modules.iter().cloned().collect();
    let brought = if own && any_of_own(&loaded) { types.as_slice() } else { &[] };
    let modules = Modules { loaded: &loaded, brought };
    if let Err(why) = restorable(dialect(set), &found.types, types.iter().cloned(), facts.server(), &modules) {
        return Ok(Some(why));
    }
    if found.highest_db > 0 && !has_database(conn, found.highest_db).await? {
        let why = format!("keys that match are in database {}, which the target does not have", found.highest_db);
        return Ok(Some(why));
    }
    let limits = Limits { bulk: limits.bulk.or(Some(BULK_DEFAULT)), ..limits };
    Ok(match (found.outside, found.meta) {
        (0, 0) => too_large(found.largest, limits),
        (0, n) => Some(format!("{n} keys that match carry metadata of a module, which commands cannot restore")),
        (n, _) => Some(format!("{n} keys that match belong to slots that this node of the cluster does not serve")),
    })
}
