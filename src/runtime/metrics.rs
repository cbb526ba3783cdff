//! Figures of how far each instance is protected, in a file for node_exporter's textfile collector.
//!
//! They are moments, so that an alarm on their age fires when nothing succeeds, and also when nobody writes them any more. What is not known is
//! never told as zero: the last figures stay, those of an earlier process too, and beside them stands that they could not be read. A file that
//! cannot be written keeps nothing else from being done.

use crate::config::blocking::blocking;
use crate::config::durable::replace_public;
use crate::model::backup::{BackupSet, Mode, all_readable};
use crate::model::fault::{Fault, Kind};
use crate::model::verification::Verification;
use crate::provider::local::vault_copy::Copier;
use crate::tools::App;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the file is written, and how long after a change.
const EVERY: Duration = Duration::from_secs(60);
const AFTER_A_CHANGE: Duration = Duration::from_secs(1);
/// How long the look at one instance may take: a vault that hangs must not hide the other instances.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Longest file of before that is read, in bytes: one of some ten thousand instances.
const FILE_MAX: u64 = 16 << 20;

/// Modes of sets that are told; zero where there is none, for an alarm needs something to look at.
const KINDS: [Mode; 3] = [Mode::Manual, Mode::Safety, Mode::Automated];

/// A metric: its name, and what it is.
type Metric = (&'static str, &'static str);
const SUCCESS: Metric =
    ("tair_backup_last_success_timestamp_seconds", "When the newest set of a kind that can be used was made.");
const VERIFIED: Metric = (
    "tair_backup_last_verified_success_timestamp_seconds",
    "When the newest set of a kind was made that a later verification has passed.",
);
const DRILL: Metric = ("tair_backup_last_drill_timestamp_seconds", "When the last drill began that a set has passed.");
const DAMAGED: Metric = ("tair_backup_damaged_sets", "Sets that cannot be used.");
const ARCHIVED: Metric =
    ("tair_backup_log_archived_until_timestamp_seconds", "Up to when the instance can be recovered to any second.");
const COPIED: Metric = (
    "tair_backup_last_copied_success_timestamp_seconds",
    "When the newest set was made of which a verified copy lies at copy_to.",
);
const LOG_COPIED: Metric = (
    "tair_backup_log_copied_until_timestamp_seconds",
    "Up to when the log lies at copy_to behind the newest set that has a copy there.",
);
const READ: Metric = (
    "tair_backup_read_success",
    "Whether the figures of the instance could be read when this file was written: 1; or are those of before: 0.",
);
const WRITTEN: Metric = ("tair_backup_written_timestamp_seconds", "When this file was written.");

/// The metrics whose figures are read of an instance.
const FIGURES: [Metric; 7] = [SUCCESS, VERIFIED, DRILL, DAMAGED, ARCHIVED, COPIED, LOG_COPIED];

/// The value of a metric for an instance, and its kind where it has one.
type Figure = (Metric, Option<&'static str>, i64);

/// How often the second place is asked; sooner where the newest set had no copy there.
const ASKED_EVERY: Duration = Duration::from_secs(60);
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// What a second place said last of the copies of an instance's sets.
#[derive(Default)]
struct Copied {
    /// Who asks it: one that was kept knows what the place does not let be asked.
    copier: Option<Copier>,
    asked: Option<Instant>,
    /// The newest set that is to have a copy, by the time of asking, and when the newest was made that has one.
    newest: Option<String>,
    made: Option<i64>,
    /// How far the log there goes on behind that, where that is known.
    log_until: Option<i64>,
    behind: bool,
}

/// Writes the file each minute and behind each change, for as long as it is polled.
pub async fn keep(app: Arc<App>, path: PathBuf) {
    let ids = app.config.instance_ids();
    let mut known = before(path.clone(), &ids).await;
    let mut copies: BTreeMap<String, Copied> =
        known.iter().map(|(id, figures)| (id.clone(), Copied::before(figures))).collect();
    let mut failing = false;
    let mut changes = app.state.changes();
    loop {
        let (now, mut read) = (Timestamp::now(), BTreeSet::new());
        for id in &ids {
            let look = figures(&app, id, now, copies.entry(id.clone()).or_default());
            match tokio::time::timeout(READ_WITHIN, look).await {
                Ok(Ok(figures)) => {
                    known.insert(id.clone(), figures);
                    read.insert(id.clone());
                }
                // What was known of it stays, and grows old.
                Ok(Err(fault)) => tracing::debug!(instance = %id, "its figures are not known: {fault}"),
                Err(_) => tracing::debug!(instance = %id, "its figures are not known: the look at it takes too long"),
            }
        }
        let told: BTreeMap<&str, bool> = ids.iter().map(|id| (id.as_str(), read.contains(id))).collect();
        let (text, to) = (text(&known, &told, now), path.clone());
        let written = blocking(move || {
            let failed =
                |e| Fault::new(Kind::Unexpected, "home.failed", format!("{} is not written", to.display())).because(e);
            replace_public(&to, text.as_bytes()).map_err(failed)
        });
        match written.await {
            Ok(()) => failing = false,
            Err(fault) if failing => tracing::debug!("metrics_file: {fault}"),
            Err(fault) => {
                tracing::warn!(cause = fault.cause(), "metrics_file: {fault}");
                failing = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = changes.changed() => tokio::time::sleep(AFTER_A_CHANGE).await,
        }
    }
}

/// What the file tells of these instances that an earlier process has written; nothing where there is none that can be read.
async fn before(path: PathBuf, ids: &[String]) -> BTreeMap<String, Vec<Figure>> {
    let text = blocking(move || {
        let is_read = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= FILE_MAX);
        Ok(if is_read { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() })
    });
    parsed(&text.await.unwrap_or_default(), ids)
}

/// What is known of an instance.
async fn figures(app: &App, id: &str, now: Timestamp, copied: &mut Copied) -> Result<Vec<Figure>, Fault> {
    let listed = all_readable(app.provider.backups(id, None).await?)?;
    let damaged = listed.iter().filter(|set| set.is_err()).count();
    let sets: Vec<BackupSet> = listed.into_iter().flatten().collect();
    let found = app.state.verifications(id).await?;
    let passed = |set: &&BackupSet| found.get(&set.id).is_some_and(|found| found.looks(&set.sha256).next().is_some());
    // What is ahead of the clock is of one that was set since.
    let newest = |of: &mut dyn Iterator<Item = &BackupSet>| {
        of.map(|set| set.finished_at).filter(|at| *at <= now).max().map_or(0, Timestamp::as_second)
    };
    let mut figures = vec![(DAMAGED, None, i64::try_from(damaged).unwrap_or(i64::MAX))];
    for mode in KINDS {
        let of = || sets.iter().filter(|set| set.mode == mode);
        figures.push((SUCCESS, Some(mode.as_str()), newest(&mut of())));
        figures.push((VERIFIED, Some(mode.as_str()), newest(&mut of().filter(passed))));
    }
    let drills = found.values().filter_map(Verification::drilled);
    figures.push((DRILL, None, drills.filter(|at| *at <= now).max().map_or(0, Timestamp::as_second)));
    let log = app.provider.log_status(id).await?.filter(|log| log.on);
    if let Some(log) = &log {
        figures.push((ARCHIVED, None, log.archived_until.map_or(0, Timestamp::as_second)));
    }
    copied.ask(app, id, &sets).await;
    if let Some(made) = copied.made {
        figures.push((COPIED, None, made));
        figures.extend(log.and(copied.log_until).map(|until| (LOG_COPIED, None, until)));
    }
    Ok(figures)
}

impl Copied {
    /// What an earlier process has told of it.
    fn before(figures: &[Figure]) -> Self {
        let of = |metric: Metric| figures.iter().find(|(of, _, _)| *of == metric).map(|(_, _, value)| *value);
        Self { made: of(COPIED), log_until: of(LOG_COPIED), ..Self::default() }
    }

    /// Asks the second place where it is time to. What cannot be asked leaves what was known, which grows old.
    async fn ask(&mut self, app: &App, id: &str, sets: &[BackupSet]) {
        let every = if self.behind { ASKED_AGAIN } else { ASKED_EVERY };
        let newest = sets.iter().map(|set| set.id.clone()).max();
        let same = newest == self.newest || self.behind;
        if same && self.asked.is_some_and(|asked| asked.elapsed() < every) {
            return;
        }
        (self.asked, self.newest) = (Some(Instant::now()), newest);
        if self.copier.is_none() {
            self.copier = Copier::of(&app.config, &app.state, id);
        }
        let Some(copier) = &self.copier else {
            // Such a place may have been there before.
            (self.made, self.log_until) = (None, None);
            return;
        };
        match copier.newest_copied(sets).await {
            Ok(found) => {
                self.made = Some(found.copied.map_or(0, |set| set.finished_at.as_second()));
                if found.log_is_known {
                    self.log_until = Some(found.log_until.map_or(0, Timestamp::as_second));
                }
                self.behind = found.wanted.map(|set| &set.id) != found.copied.map(|set| &set.id);
            }
            Err(fault) => tracing::debug!(instance = %id, "it is not known what is copied: {fault}"),
        }
    }
}

/// The file: each metric with the figures of all instances, and of each configured one whether its figures could be read.
fn text(known: &BTreeMap<String, Vec<Figure>>, read: &BTreeMap<&str, bool>, now: Timestamp) -> String {
    let mut text = String::new();
    for metric in FIGURES {
        text += &head(metric);
        for (instance, figures) in known {
            for (_, kind, value) in figures.iter().filter(|(of, _, _)| *of == metric) {
                let kind = kind.map_or(String::new(), |kind| format!(",kind=\"{kind}\""));
                // An id has no character that a label would have to have escaped.
                text += &format!("{}{{instance=\"{instance}\"{kind}}} {value}\n", metric.0);
            }
        }
    }
    text += &head(READ);
    for (instance, read) in read {
        text += &format!("{}{{instance=\"{instance}\"}} {}\n", READ.0, u8::from(*read));
    }
    text + &head(WRITTEN) + &format!("{} {}\n", WRITTEN.0, now.as_second())
}

/// The figures that a file has of these instances; other lines are left out.
fn parsed(text: &str, ids: &[String]) -> BTreeMap<String, Vec<Figure>> {
    let mut known = BTreeMap::<String, Vec<Figure>>::new();
    for (instance, figure) in text.lines().filter_map(figure_of) {
        if ids.iter().any(|id| id == instance) {
            known.entry(instance.to_owned()).or_default().push(figure);
        }
    }
    known
}

/// The figure of a line that [`text`] has written, and its instance.
fn figure_of(line: &str) -> Option<(&str, Figure)> {
    let (name, rest) = line.split_once("{instance=\"")?;
    let metric = FIGURES.into_iter().find(|metric| metric.0 == name)?;
    let (labels, value) = rest.split_once("\"} ")?;
    let (instance, kind) = match labels.split_once("\",kind=\"") {
        Some((instance, kind)) => (instance, Some(KINDS.into_iter().map(Mode::as_str).find(|of| *of == kind)?)),
        None => (labels, None),
    };
    Some((instance, (metric, kind, value.parse().ok()?)))
}

fn head((name, what): Metric) -> String {
    format!("# HELP {name} {what}\n# TYPE {name} gauge\n")
}

#[cfg(test)]
mod tests {
    //! What a file tells is read back, of the instances that are there still, and nothing of what somebody else has written.
    use super::*;

    #[test]
    fn figures_come_back() {
        let figures = vec![(SUCCESS, Some("manual"), 5), (SUCCESS, Some("automated"), 0), (DRILL, None, 7)];
        let known: BTreeMap<String, Vec<Figure>> =
            [("orders".to_owned(), figures.clone()), ("gone".to_owned(), figures)].into();
        let written = text(&known, &[("carts", false), ("orders", true)].into(), Timestamp::UNIX_EPOCH);
        for line in ["tair_backup_read_success{instance=\"carts\"} 0", "tair_backup_written_timestamp_seconds 0"] {
            assert!(written.lines().any(|one| one == line), "{written}");
        }
        let others = "tair_backup_damaged_sets{instance=\"orders\"} many\nother{instance=\"orders\"} 1\n\
            tair_backup_last_success_timestamp_seconds{instance=\"orders\",kind=\"weekly\"} 1\n";
        let read = parsed(&format!("{others}{written}"), &["orders".to_owned(), "carts".to_owned()]);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["orders"]);
        assert_eq!(read["orders"], known["orders"]);
        let copied = Copied::before(&[(COPIED, None, 3), (DRILL, None, 4)]);
        assert_eq!((copied.made, copied.log_until), (Some(3), None));
    }
}
