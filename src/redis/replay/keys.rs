//! Restore of some keys: each becomes what it was, those of them that were not there are removed, and nothing else is touched.
//!
//! Each key is replaced or removed in one command; all of them together are not. It must not write before the target was looked at on this
//! very connection, and must not remove a key unless the whole source was read without meeting it, and could have held it. It must
//! neither replace nor remove one that the last safety backup has not: a client made that meanwhile, and nothing else has it.

use std::sync::Arc;
use tokio::sync::mpsc;

use super::empty::{all_granted, no_master};
use super::frame::Frame;
use super::{COMMAND_TIMEOUT, QUOTED_MAX, ReplayReport, Run, probe};
use crate::guard::grant::{Grant, Overwrite};
use crate::model::instance::Counts;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::model::slots::HeldSlots;
use crate::model::text::clean;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::keys::names::KnownNames;
use crate::redis::keys::scan::{Scan, names_lost};
use crate::redis::moment::{Look, Moment};
use crate::redis::replica::scan::OURS;
use crate::redis::resp::{Value, encode};
use crate::redis::rights::{REMOVE_KEYS, SOME_KEYS};
use crate::redis::slots::could_hold;

/// A target that has been given all keys of the source.
#[derive(Debug)]
pub struct Written {
    grant: Grant<Overwrite>,
    removed_in: Option<HeldSlots>,
    /// What was written.
    pub report: ReplayReport,
}

/// What going through the keys of the target came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Keys removed, by the expression that matches them.
    pub removed: PatternCounts,
    /// How often a key was met that the source has: at least as often as there are such keys.
    pub met: u64,
    /// How often a key was met that matches, that the source does not have, and that stays.
    pub kept: u64,
    /// How often a key was met that the source could have held and does not have, and that stays: it was made meanwhile.
    pub made: u64,
    /// The keys that match and are there now, by database; not looked at are their expiries. One that SCAN gives twice counts twice.
    pub present: Counts,
}

/// Looks at the target and writes the keys. `removed_in`: the slots in which keys that match are to be removed then where the source does not
/// have them; `None` where none is.
///
/// Without a grant not a key is written:
///
/// ```
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, moment::Look, replay::{frame::Frame, keys::*}}};
/// async fn restore(grant: Grant<Overwrite>, conn: &mut Conn, frames: tokio::sync::mpsc::Receiver<Frame>, look: &mut dyn Look) {
///     let _ = restore_keys(grant, conn, frames, None, look, |_| ()).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use tair_backup_mcp::{guard::grant::*, redis::{conn::Conn, moment::Look, replay::{frame::Frame, keys::*}}};
/// async fn restore(conn: &mut Conn, frames: tokio::sync::mpsc::Receiver<Frame>, look: &mut dyn Look) {
///     let _ = restore_keys(conn, frames, None, look, |_| ()).await;
/// }
/// ```
///
/// # Errors
/// Before anything was changed: what the target refused, or the look, as itself. After: [`RedisError::SomeKeys`], and some keys may have been
/// written.
pub async fn restore_keys(
    grant: Grant<Overwrite>,
    conn: &mut Conn,
    mut frames: mpsc::Receiver<Frame>,
    removed_in: Option<HeldSlots>,
    look: &mut dyn Look,
    mut on_progress: impl FnMut(&ReplayReport),
) -> Result<Written, RedisError> {
    let Some(Frame::Begin { rdb_version }) = frames.recv().await else {
        return Err(RedisError::Supply {
            reason: "the backup could not be read; the target was not touched".to_owned(),
        });
    };
    tracing::debug!(instance = grant.instance_id(), "restores some keys");
    let mut needs = SOME_KEYS.to_vec();
    needs.extend(removed_in.is_some().then_some(REMOVE_KEYS));
    let own = probe(conn, rdb_version, false).await? + all_granted(conn, &needs).await?;
    conn.set_timeout(COMMAND_TIMEOUT);
    look.hold().await;
    let moment = Moment::read(conn, own).await?;
    let held = if moment.master { look.at(&moment).await } else { Err(no_master()) };
    held.map_err(|fault| RedisError::Withheld { fault })?;
    look.cut(Some(moment.offset)).await;
    let mut run = Run::default();
    match run.all(conn, &mut frames, &mut on_progress).await {
        Ok(()) if run.failed == 0 => Ok(Written { grant, removed_in, report: run.report }),
        Ok(()) => Err(stopped(&run.report, run.failed, run.first)),
        Err(error) => {
            run.first.push(error.to_string());
            Err(stopped(&run.report, run.failed, run.first))
        }
    }
}

const fn stopped(report: &ReplayReport, failed: u64, first: Vec<String>) -> RedisError {
    RedisError::SomeKeys { done: report.keys, failed, first }
}

impl Written {
    /// Goes through the keys of the target that match, and removes those that the source does not have, in the slots in which they are not to stay.
    /// `had`: the keys that the last safety backup has, of which alone any is removed; `None` where there is no such set.
    ///
    /// # Errors
    /// [`RedisError::SomeKeys`]: all keys of the source are written, and some that were to go are still there.
    pub async fn pass(
        self,
        conn: &mut Conn,
        matcher: &Arc<KeyMatcher>,
        source: &KnownNames,
        had: Option<&KnownNames>,
    ) -> Result<Passed, RedisError> {
        tracing::debug!(instance = self.grant.instance_id(), "goes through the keys that match");
        let mut passed = Passed::default();
        match self.all(conn, matcher, source, had, &mut passed).await {
            Ok(refused) if refused.is_empty() => Ok(passed),
            Ok(refused) => Err(stopped(&self.report, refused.len() as u64, refused)),
            Err(error) => Err(stopped(&self.report, 0, vec![error.to_string()])),
        }
    }

    /// What was refused.
    async fn all(
        &self,
        conn: &mut Conn,
        matcher: &Arc<KeyMatcher>,
        source: &KnownNames,
        had: Option<&KnownNames>,
        passed: &mut Passed,
    ) -> Result<Vec<String>, RedisError> {
        let [_, remove] = OURS;
        let mut scan = Scan::begin(conn, matcher).await?;
        while let Some((db, keys)) = scan.next(conn).await? {
            let (mut wire, mut doomed) = (Vec::new(), Vec::new());
            let mut stay = 0;
            for (key, items) in keys {
                if source.has(db, &key).map_err(names_lost)? {
                    passed.met += 1;
                    stay += 1;
                } else if !self.removed_in.as_ref().is_some_and(|held| could_hold(held, &key)) {
                    passed.kept += 1;
                    stay += 1;
                } else if had.map_or(Ok(true), |had| had.has(db, &key)).map_err(names_lost)? {
                    encode(&mut wire, &[remove, &key]);
                    doomed.push(items);
                } else {
                    passed.made += 1;
                    stay += 1;
                }
            }
            if stay > 0 {
                passed.present.entry(db).or_default().0 += stay;
            }
            if doomed.is_empty() {
                continue;
            }
            conn.write_raw(&wire, "UNLINK").await?;
            let mut refused = Vec::new();
            for items in &doomed {
                match conn.next_value("UNLINK").await? {
                    // One that SCAN gives twice is gone by the second time.
                    Value::Int(1) => passed.removed.add(items),
                    Value::Error(text) => refused.push(format!("UNLINK: {}", clean(&text))),
                    _ => {}
                }
            }
            if !refused.is_empty() {
                refused.truncate(QUOTED_MAX);
                return Ok(refused);
            }
        }
        Ok(Vec::new())
    }
}
