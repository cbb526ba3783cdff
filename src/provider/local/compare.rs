//! Two states of instances, compared key by key: a set, a moment of a log, or what an instance holds now.
//!
//! Both are read at rest: what an instance holds now is received as its replica into a file without a name, and a moment is built on a server
//! of our own. Nothing of either is kept, and no instance is written to.

use crate::config::blocking::blocking;
use crate::config::durable;
use crate::config::home;
use crate::config::instance::NO_DATA_SECONDS;
use crate::config::nameless::{FromStart, nameless};
use crate::guard::act::{Act, Source};
use crate::guard::assess::no_moment;
use crate::guard::facts::replay::NoMoment;
use crate::guard::plan::Plan;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::impact::{KeyImpact, KeysRead, NotCompared};
use crate::model::instance::total_keys;
use crate::model::job::JobStatus;
use crate::model::key_filter::SomeKeys;
use crate::model::key_filter::matcher::KeyMatcher;
use crate::model::slots::HeldSlots;
use crate::model::text::{bytes, grouped};
use crate::provider::comparison::{Compared, ComparedState, OnStage, State, StateOf};
use crate::provider::local::restore::keys::removed_in;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::compare::{self, Only, Options, Sides};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::replica::handshake::{CaptureOptions, Framing};
use crate::redis::replica::snapshot::Snapshot;
use crate::redis::slots::could_hold;
use crate::vault::Vault;
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// Beyond its time a comparison that is stuck in one read is not waited for.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes received at once.
const PIECE_BYTES: usize = 256 << 10;

/// A state at rest, which is read as often as it takes.
enum AtRest {
    Set(Vault, Box<BackupSet>),
    File(Arc<File>),
}

impl AtRest {
    /// Keys that it is known to have.
    fn keys(&self) -> u64 {
        match self {
            Self::Set(_, set) => total_keys(&set.counts),
            Self::File(_) => 0,
        }
    }

    /// The moment by which the expiries of a state are judged: its own. A moment is built now, by a server that has deleted what expired since.
    fn judged_by(&self, state: &ComparedState) -> Timestamp {
        match (self, &state.backup_id) {
            (Self::File(_), Some(_)) => Timestamp::now(),
            _ => state.moment,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Set(vault, set) => Box::new(vault.read_data(set)?),
            Self::File(file) => Box::new(BufReader::with_capacity(1 << 20, FromStart::of(file))),
        })
    }
}

/// Refuses to begin what cannot end: sets know how many keys they have. What is not known is looked at while it is written.
fn has_room(dir: &Path, need: u64) -> Result<(), Fault> {
    match durable::free(dir) {
        Ok(free) if need > 0 && need.saturating_add(durable::RESERVE) > free => Err(Fault::new(
            Kind::Provider,
            "compare.no_room",
            format!(
                "there is no room in {} to compare: {} are needed, {} are free",
                dir.display(),
                bytes(need),
                bytes(free)
            ),
        )
        .hint("Free space there: each key of either state takes 32 bytes for the while.")),
        _ => Ok(()),
    }
}

impl Inner {
    /// What becomes of the keys of a planned restore's target: its safety backup, joined with what is restored. `None` where the plan
    /// restores nothing. What could not be compared is no fault of the plan, and says so.
    pub(super) async fn key_impact(&self, plan: &Plan, within: Duration) -> Option<KeyImpact> {
        let deadline = Instant::now() + within;
        let compared = tokio::time::timeout(within + GRACE, self.planned_impact(plan, deadline)).await;
        let mut keys = match compared {
            Ok(Ok(keys)) => keys?,
            Ok(Err(fault)) => KeyImpact::nothing_compared(fault.message),
            Err(_) => KeyImpact::nothing_compared("it took longer than the time allowed for it".to_owned()),
        };
        if let Some(not) = keys.not_compared.as_mut().filter(|_| Instant::now() >= deadline) {
            let seconds = within.as_secs();
            not.why.push_str(&format!(
                "; [guard] impact_seconds, now {seconds}, allows more, and compare-backups at a terminal takes the time it needs"
            ));
        }
        Some(keys)
    }

    async fn planned_impact(&self, plan: &Plan, deadline: Instant) -> Result<Option<KeyImpact>, Fault> {
        let Act::RestoreInstance { source, keys, .. } = &plan.act else { return Ok(None) };
        let matcher = keys.clone().map(|keys| blocking(move || KeyMatcher::new(&keys)));
        let Some(safety) = &plan.safety else { return Ok(None) };
        if !safety.job_id.is_empty() && self.state.job(&safety.job_id).await?.status == JobStatus::Running {
            let why = "the safety backup is still being taken; a question that is put, or `approve` run, when it is there compares them";
            return Ok(Some(KeyImpact::nothing_compared(why.to_owned())));
        }
        let planned = plan.direct_restore()?;
        let set_of = plan.act.set_of(&plan.instance_id);
        let now = self.set_at_rest(&plan.instance_id, &safety.backup_id).await?.0;
        let (then, base) = match source {
            Source::Backup { backup_id } => {
                let (then, set) = self.set_at_rest(set_of, backup_id).await?;
                if set.sha256 != planned.sha256 {
                    return Ok(Some(KeyImpact::nothing_compared(format!(
                        "{backup_id} is not the set that was verified"
                    ))));
                }
                (then, set)
            }
            Source::Moment { .. } | Source::Before { .. } => {
                let built = self.build_moment(set_of, source, planned.replay.as_ref(), Some(deadline)).await?;
                let built = built.map_err(no_such_moment)?;
                let base = self.found(set_of, &built.base).await?;
                (AtRest::File(Arc::new(built.file)), base)
            }
        };
        let some = match (matcher, keys) {
            (Some(compiled), Some(keys)) => {
                let behind = !matches!(source, Source::Backup { .. });
                Some((compiled.await?, self.removed_of(keys, &base, behind, &plan.instance_id).await?))
            }
            _ => None,
        };
        // What would serve now is what counts.
        self.join(now, then, [Timestamp::now(); 2], Some(deadline), some).await.map(Some)
    }

    /// The slots in which keys are removed that match and that the source does not have.
    async fn removed_of(
        &self,
        keys: &SomeKeys,
        base: &BackupSet,
        behind: bool,
        instance_id: &str,
    ) -> Result<Option<HeldSlots>, Fault> {
        if !keys.removes() {
            return Ok(None);
        }
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        let target = ServerFacts::read(&mut conn).await?;
        Ok(removed_in(keys, self.held_then(base, behind, instance_id, &target).await))
    }

    /// Compares two states, from the first to the second: what is lost is in the first alone.
    ///
    /// # Errors
    /// `backup.not_found`, `compare.no_moment`, `restore.not_built`, those of the instance, and why the states cannot be compared.
    pub(super) async fn compare(
        &self,
        from: &StateOf,
        to: &StateOf,
        on_stage: &OnStage<'_>,
    ) -> Result<Compared, Fault> {
        let (first, from) = self.at_rest(from, on_stage).await?;
        let (second, to) = self.at_rest(to, on_stage).await?;
        on_stage("comparing keys", 0);
        let at = [first.judged_by(&from), second.judged_by(&to)];
        let keys = self.join(first, second, at, None, None).await?;
        Ok(Compared { keys, from, to, at: at.into_iter().fold(Timestamp::MIN, Timestamp::max) })
    }

    async fn join(
        &self,
        now: AtRest,
        then: AtRest,
        at: [Timestamp; 2],
        deadline: Option<Instant>,
        some: Option<(KeyMatcher, Option<HeldSlots>)>,
    ) -> Result<KeyImpact, Fault> {
        let dir = self.run_dir().await?;
        blocking(move || {
            if some.is_none() {
                has_room(&dir, compare::on_disk([now.keys(), then.keys()]))?;
            }
            let sides = Sides { now: &|| now.open(), then: &|| then.open() };
            let of_some = some.as_ref().map(|(matcher, removed_in)| {
                let goes = |key: &[u8]| removed_in.as_ref().is_some_and(|held| could_hold(held, key));
                (|key: &[u8]| matcher.matches(key), goes, matcher.prefix())
            });
            let only = of_some.as_ref().map(|(wanted, goes, prefix)| Only { wanted, goes, prefix });
            let options = Options { dir, at_ms: at.map(Timestamp::as_millisecond), deadline, only };
            let mut compared = compare::compare(&sides, &options)?;
            if let Some(not) = &mut compared.not_compared {
                tell_what_was_read(not, [now.keys(), then.keys()]);
            }
            Ok(compared)
        })
        .await
    }

    /// Where files without a name are made: a directory that is there.
    pub(super) async fn run_dir(&self) -> Result<PathBuf, Fault> {
        let dir = self.state.home().join("run");
        blocking(move || home::private_dir(&dir).map(|()| dir)).await
    }

    async fn set_at_rest(&self, instance_id: &str, backup_id: &str) -> Result<(AtRest, BackupSet), Fault> {
        let set = self.found(instance_id, backup_id).await?;
        Ok((AtRest::Set(self.vault.clone(), Box::new(set.clone())), set))
    }

    async fn at_rest(&self, of: &StateOf, on_stage: &OnStage<'_>) -> Result<(AtRest, ComparedState), Fault> {
        let state = |backup_id: Option<String>, moment| ComparedState {
            instance_id: of.instance_id.clone(),
            backup_id,
            moment,
        };
        match &of.state {
            State::Then(Source::Backup { backup_id }) => {
                let found = self.set_at_rest(&of.instance_id, backup_id).await;
                let (at_rest, set) = self.named_set((of.instance_id.as_str(), backup_id.as_str()), found).await?;
                Ok((at_rest, state(Some(set.id), set.started_at)))
            }
            State::Then(source) => {
                on_stage("building the moment on a server of our own", 0);
                let built = self.build_moment(&of.instance_id, source, None, None).await?.map_err(no_such_moment)?;
                Ok((AtRest::File(Arc::new(built.file)), state(Some(built.base), built.moment)))
            }
            State::Now => {
                let at = Timestamp::now();
                let file = self.received(&of.instance_id, on_stage).await?;
                Ok((AtRest::File(Arc::new(file)), state(None, at)))
            }
        }
    }

    /// What an instance holds now, as it sends it to a replica.
    async fn received(&self, instance_id: &str, on_stage: &OnStage<'_>) -> Result<File, Fault> {
        let dir = self.run_dir().await?;
        let at = dir.clone();
        let file = blocking(move || nameless(&at, "state").map_err(|e| home::file_fault("write a file in", &at, e)));
        let file = file.await?;
        self.has_room_for_a_file(instance_id, &dir).await?;
        let failed = |e: io::Error| home::file_fault("write a file in", &dir, e);
        on_stage("receiving what the instance holds now", 0);
        let no_data = self.config(instance_id).map_or(Duration::from_secs(NO_DATA_SECONDS), |c| c.no_data);
        let options = CaptureOptions { no_data, ..CaptureOptions::default() };
        let endpoint = self.capture_endpoint(instance_id, Mode::Manual).await?;
        let mut snapshot = Snapshot::open(&endpoint, options).await?;
        let (mut to, mut piece, mut all) = (tokio::fs::File::from_std(file), vec![0; PIECE_BYTES], 0_u64);
        loop {
            let n = snapshot.read(&mut piece).await?;
            if n == 0 {
                break;
            }
            to.write_all(piece.get(..n).unwrap_or_default()).await.map_err(failed)?;
            all += n as u64;
            on_stage("receiving what the instance holds now", all);
        }
        if let Framing::Mark(mark) = snapshot.framing {
            // It came out behind the data.
            all = all.saturating_sub(mark.len() as u64);
        }
        to.flush().await.map_err(failed)?;
        to.set_len(all).await.map_err(failed)?;
        Ok(to.into_std().await)
    }
}

/// Says how many keys were read of how many, where not all were. `known`: 0 for what is not.
fn tell_what_was_read(not: &mut NotCompared, known: [u64; 2]) {
    let Some(read) = &mut not.keys_read else { return };
    for (read, known) in read.iter_mut().zip(known) {
        read.of = (known > 0).then_some(known);
    }
    let [now, then] = read.map(|KeysRead { read, of }| match of {
        Some(all) => format!("{} of {} keys", grouped(read), grouped(all)),
        None => format!("{} keys", grouped(read)),
    });
    not.why.push_str(&format!(" when {now} of what is there now, and {then} of what is to come, were read"));
}

fn no_such_moment(none: NoMoment) -> Fault {
    Fault::new(Kind::NotFound, "compare.no_moment", no_moment(&none))
        .hint(format!("describe_instances with instance_id {} shows which moments can be restored.", none.instance_id))
}

#[cfg(test)]
mod tests {
    //! What is known not to fit is not begun; what was read in time is said.
    use super::{KeysRead, NotCompared, has_room, tell_what_was_read};

    #[test]
    fn what_was_read_in_time_is_told() {
        let keys_read = Some([1200, 7].map(|read| KeysRead { read, of: None }));
        let mut not = NotCompared { compared_percent: 0, why: "the time was over".into(), keys_read };
        tell_what_was_read(&mut not, [30_000, 0]);
        let told = "the time was over when 1,200 of 30,000 keys of what is there now, and 7 keys of what is to come, were read";
        assert_eq!(not.why, told);
        assert_eq!(not.keys_read.unwrap().map(|read| read.of), [Some(30_000), None]);
    }

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        has_room(dir.path(), 0).unwrap();
        let fault = has_room(dir.path(), u64::MAX / 2).unwrap_err();
        assert_eq!(fault.code, "compare.no_room");
        assert!(fault.message.contains(&dir.path().display().to_string()), "{fault:?}");
    }
}
