//! Figures of how far each instance is protected, in a file for node_exporter's textfile collector.
//!
//! They are moments, so that an alarm on their age fires when nothing succeeds, and also when nobody writes them any more. What is not known is
//! never told as zero, and a file that cannot be written keeps nothing else from being done.

use crate::config::blocking::blocking;
use crate::config::durable::replace_public;
use crate::model::backup::{BackupSet, Mode, all_readable};
use crate::model::fault::{Fault, Kind};
use crate::model::verification::Verification;
use crate::provider::local::vault_copy::Copier;
use crate::tools::App;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the file is written, and how long after a change.
const EVERY: Duration = Duration::from_secs(60);
const AFTER_A_CHANGE: Duration = Duration::from_secs(1);

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
const WRITTEN: Metric = ("tair_backup_written_timestamp_seconds", "When this file was written.");

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
    let (mut known, mut copies) = (BTreeMap::new(), BTreeMap::<String, Copied>::new());
    let mut failing = false;
    let mut changes = app.state.changes();
    loop {
        let now = Timestamp::now();
        for id in app.config.instance_ids() {
            match figures(&app, &id, now, copies.entry(id.clone()).or_default()).await {
                Ok(figures) => drop(known.insert(id, figures)),
                // What was known of it stays, and grows old.
                Err(fault) => tracing::debug!(instance = %id, "its figures are not known: {fault}"),
            }
        }
        let (text, to) = (text(&known, now), path.clone());
        let written = blocking(move || {
            let failed =
                |e| Fault::new(Kind::Unexpected, "home.failed", format!("{} is not written", to.display())).because(e);
            replace_public(&to, text.as_bytes()).map_err(failed)
        });
        match written.await {
            Ok(()) => failing = false,
            Err(fault) if failing => tracing::debug!("metrics_file: {fault}"),
            Err(fault) => {
                tracing::warn!(cause = ?std::error::Error::source(&fault), "metrics_file: {fault}");
                failing = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = changes.changed() => tokio::time::sleep(AFTER_A_CHANGE).await,
        }
    }
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
        let Some(copier) = &self.copier else { return };
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

/// The file: each metric with the figures of all instances.
fn text(known: &BTreeMap<String, Vec<Figure>>, now: Timestamp) -> String {
    let mut text = String::new();
    for metric in [SUCCESS, VERIFIED, DRILL, DAMAGED, ARCHIVED, COPIED, LOG_COPIED] {
        text += &head(metric);
        for (instance, figures) in known {
            for (_, kind, value) in figures.iter().filter(|(of, _, _)| *of == metric) {
                let kind = kind.map_or(String::new(), |kind| format!(",kind=\"{kind}\""));
                // An id has no character that a label would have to have escaped.
                text += &format!("{}{{instance=\"{instance}\"{kind}}} {value}\n", metric.0);
            }
        }
    }
    text + &head(WRITTEN) + &format!("{} {}\n", WRITTEN.0, now.as_second())
}

fn head((name, what): Metric) -> String {
    format!("# HELP {name} {what}\n# TYPE {name} gauge\n")
}
