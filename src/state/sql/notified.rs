//! What somebody is told, on a database: a row for what was noticed, and one for each way by which that is told.
//!
//! A row goes from waiting to being tried to its end, each step by one statement that only one process can have changed: what was tried when its
//! process died is not tried again.

use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus, Phase};
use crate::state::notified::{INTERRUPTED, MORE_MAX, Noticed, Notified, ToTell, Told, Untold, WAITING_MAX};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::job_row::job;
use crate::state::sql::statement::{Row, Statement};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The way of a row that says what was noticed.
const NOBODY: &str = "";
/// The name of the row that says since when somebody is told.
const SINCE: &str = "since";
/// Begins the names of what is told of only the last.
const LATEST: &str = "latest/";
/// Jobs that are looked at at a time.
const JOBS: u32 = 200;

/// Statuses of what was noticed.
const NOTICED: &str = "noticed";
const ON: &str = "on";
const OFF: &str = "off";
/// Statuses of what is told.
const WAITING: &str = "waiting";
const MORE: &str = "more";
const TRYING: &str = "trying";
const TOLD: &str = "told";
const NOT_TOLD: &str = "not_told";

fn told(row: &Row) -> Result<Told, Fault> {
    Ok(Told {
        body: row.get("body")?,
        at: row.moment_if_any("ended_at")?.unwrap_or_default(),
        failure: row.get("failure")?,
    })
}

fn untold(row: &Row) -> Result<Untold, Fault> {
    Ok(Untold { key: row.get("key")?, body: row.get("body")? })
}

/// A statement about what was taken and is being tried still: what it is to become is set, the way is bound next.
fn of_tried(set: Statement, way: &str, tried: &ToTell) -> Statement {
    tried.all().iter().fold(set.bind(way).bind(TRYING), |set, untold| set.bind(&untold.key))
}

/// So many places of a statement behind those that are bound already, as a list.
fn places(bound: usize, tried: &ToTell) -> String {
    let places: Vec<String> = (1..=tried.all().len()).map(|n| format!("${}", bound + n)).collect();
    places.join(", ")
}

impl<D: Database> Store<D> {
    /// The row of a way and a status that ended last.
    async fn last_of(&self, way: &str, status: &str) -> Result<Option<Told>, Fault> {
        let last = Statement::new(
            "SELECT * FROM notified WHERE way = $1 AND status = $2 ORDER BY ended_at DESC, key DESC LIMIT 1",
        );
        self.row(last.bind(way).bind(status)).await?.as_ref().map(told).transpose()
    }
}

#[async_trait]
impl<D: Database> Notified for Store<D> {
    async fn notified_since(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        let found =
            Statement::new("SELECT noted_at FROM notified WHERE key = $1 AND way = $2").bind(SINCE).bind(NOBODY);
        if let Some(row) = self.row(found.clone()).await? {
            let since = row.moment("noted_at")?;
            if since <= now {
                return Ok(since);
            }
            let back =
                Statement::new("UPDATE notified SET noted_at = $1 WHERE key = $2 AND way = $3 AND noted_at > $1");
            self.write(back.bind(now).bind(SINCE).bind(NOBODY)).await?;
            return Ok(now);
        }
        let begin = Statement::new(
            "INSERT INTO notified (key, way, status, noted_at) VALUES ($1, $2, $3, $4) ON CONFLICT (key, way) DO NOTHING",
        );
        self.write(begin.bind(SINCE).bind(NOBODY).bind(NOTICED).bind(now)).await?;
        // Of two that begin at once the first has said it.
        self.row(found).await?.map_or(Ok(now), |row| row.moment("noted_at"))
    }

    async fn unnoticed_jobs(&self, since: Timestamp) -> Result<Vec<Job>, Fault> {
        let ended = Statement::new(
            "SELECT * FROM jobs WHERE finished_at >= $1 AND status <> $2
               AND NOT EXISTS (SELECT 1 FROM notified WHERE notified.key = jobs.id AND notified.way = $3)
             ORDER BY finished_at, id LIMIT $4",
        )
        .bind(since)
        .bind(JobStatus::Running.as_str())
        .bind(NOBODY)
        .bind(JOBS);
        // Whoever asks for one that cannot be read is told; here it would be said every other second.
        Ok(self.database.read(ended).await?.iter().filter_map(|row| job(row).ok()).collect())
    }

    async fn interrupted_jobs(&self) -> Result<Vec<Job>, Fault> {
        let interrupted = Statement::new(format!(
            "SELECT * FROM jobs WHERE status = $1 AND phase = $2
               AND NOT EXISTS (SELECT 1 FROM notified WHERE notified.key = '{INTERRUPTED}' || jobs.id AND notified.way = $3)
             ORDER BY created_at, id LIMIT $4"
        ))
        .bind(JobStatus::Running.as_str())
        .bind(Phase::Interrupted.as_str())
        .bind(NOBODY)
        .bind(JOBS);
        Ok(self.database.read(interrupted).await?.iter().filter_map(|row| job(row).ok()).collect())
    }

    async fn notice(&self, what: Noticed<'_>, body: &str, ways: &[&str]) -> Result<bool, Fault> {
        let now = Timestamp::now();
        let (key, noticed) = match what {
            Noticed::Once(name) | Noticed::Latest(name) => (
                if matches!(what, Noticed::Latest(_)) { format!("{LATEST}{name}") } else { name.to_owned() },
                Statement::new(
                    "INSERT INTO notified (key, way, status, noted_at) VALUES ($1, $2, $3, $4) ON CONFLICT (key, way) DO NOTHING",
                )
                .bind(name)
                .bind(NOBODY)
                .bind(NOTICED)
                .bind(now),
            ),
            Noticed::On(name, since) => (
                format!("{name}/{ON}/{}", now.as_millisecond()),
                Statement::new(
                    "INSERT INTO notified (key, way, status, noted_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (key, way) DO UPDATE SET status = $3, noted_at = $4 WHERE notified.status = $5",
                )
                .bind(name)
                .bind(NOBODY)
                .bind(ON)
                .bind(since)
                .bind(OFF),
            ),
            Noticed::Off(name) => (
                format!("{name}/{OFF}/{}", now.as_millisecond()),
                Statement::new("UPDATE notified SET status = $1 WHERE key = $2 AND way = $3 AND status = $4")
                    .bind(OFF)
                    .bind(name)
                    .bind(NOBODY)
                    .bind(ON),
            ),
        };
        let replaced = |way: &&str| {
            Statement::new(format!(
                "DELETE FROM notified WHERE way = $1 AND status IN ($2, $3) AND key LIKE '{LATEST}%'"
            ))
            .bind(*way)
            .bind(WAITING)
            .bind(MORE)
            .if_changed()
        };
        let replacing: &[&str] = if matches!(what, Noticed::Latest(_)) { ways } else { &[] };
        let by = |way: &&str| {
            Statement::new(
                "INSERT INTO notified (key, way, status, body, noted_at)
                 SELECT $1, $2, CASE WHEN (SELECT COUNT(*) FROM notified WHERE way = $2 AND status = $3) < $4 THEN $3 ELSE $5 END, $6, $7
                 WHERE TRUE ON CONFLICT (key, way) DO NOTHING",
            )
            .bind(&key)
            .bind(*way)
            .bind(WAITING)
            .bind(WAITING_MAX)
            .bind(MORE)
            .bind(body)
            .bind(now)
            .if_changed()
        };
        let ways = replacing.iter().map(replaced).chain(ways.iter().map(by));
        let written = self.database.write(std::iter::once(noticed).chain(ways).collect()).await?;
        Ok(written.changed == 1)
    }

    async fn alarms(&self) -> Result<BTreeMap<String, Timestamp>, Fault> {
        let on =
            Statement::new("SELECT key, noted_at FROM notified WHERE way = $1 AND status = $2").bind(NOBODY).bind(ON);
        self.database.read(on).await?.iter().map(|row| Ok((row.get("key")?, row.moment("noted_at")?))).collect()
    }

    async fn take_to_tell(&self, way: &str) -> Result<Option<ToTell>, Fault> {
        let next = Statement::new(
            "SELECT key, body FROM notified WHERE way = $1 AND status = $2 ORDER BY noted_at, key LIMIT 1",
        );
        if let Some(row) = self.row(next.bind(way).bind(WAITING)).await? {
            let next = untold(&row)?;
            let take = Statement::new("UPDATE notified SET status = $1 WHERE key = $2 AND way = $3 AND status = $4")
                .bind(TRYING)
                .bind(&next.key)
                .bind(way)
                .bind(WAITING);
            let taken = self.write(take).await?.changed == 1;
            return Ok(taken.then_some(ToTell::One(next)));
        }
        let more =
            Statement::new("SELECT key FROM notified WHERE way = $1 AND status = $2 LIMIT 1").bind(way).bind(MORE);
        if self.row(more).await?.is_none() {
            return Ok(None);
        }
        let take = Statement::new(
            "UPDATE notified SET status = $1 WHERE way = $2 AND status = $3
               AND key IN (SELECT key FROM notified WHERE way = $2 AND status = $3 ORDER BY noted_at, key LIMIT $4)
             RETURNING key, body",
        )
        .bind(TRYING)
        .bind(way)
        .bind(MORE)
        .bind(MORE_MAX);
        let mut taken = self.write(take).await?.rows.iter().map(untold).collect::<Result<Vec<_>, Fault>>()?;
        taken.sort_by(|one, other| one.key.cmp(&other.key));
        Ok((!taken.is_empty()).then_some(ToTell::More(taken)))
    }

    async fn put_back(&self, way: &str, untried: &ToTell) -> Result<(), Fault> {
        let status = match untried {
            ToTell::One(_) => WAITING,
            ToTell::More(_) => MORE,
        };
        let put = Statement::new(format!(
            "UPDATE notified SET status = $1 WHERE way = $2 AND status = $3 AND key IN ({})",
            places(3, untried)
        ));
        self.write(of_tried(put.bind(status), way, untried)).await.map(drop)
    }

    async fn told(&self, way: &str, tried: &ToTell, outcome: Result<(), &str>) -> Result<(), Fault> {
        let (status, failure) = outcome.map_or_else(|why| (NOT_TOLD, why), |()| (TOLD, ""));
        let end = Statement::new(format!(
            "UPDATE notified SET status = $1, failure = $2, ended_at = $3 WHERE way = $4 AND status = $5 AND key IN ({})",
            places(5, tried)
        ));
        let end = end.bind(status).bind(failure).bind(Timestamp::now());
        self.write(of_tried(end, way, tried)).await.map(drop)
    }

    async fn give_up(&self, way: &str, why: &str) -> Result<(), Fault> {
        let end = Statement::new(
            "UPDATE notified SET status = $1, failure = $2, ended_at = $3 WHERE way = $4 AND status = $5",
        )
        .bind(NOT_TOLD)
        .bind(why)
        .bind(Timestamp::now())
        .bind(way)
        .bind(TRYING);
        self.write(end).await.map(drop)
    }

    async fn told_last(&self, way: &str) -> Result<(Option<Told>, Option<Told>), Fault> {
        Ok((self.last_of(way, TOLD).await?, self.last_of(way, NOT_TOLD).await?))
    }
}
