//! Liveness where processes share only a database: each renews a row from time to time, and a process whose row is too old by the
//! database's clock is dead. Where processes share a disk, lock files know at once.
//!
//! The database's clock may be set, forward or back, and then all rows look old, or a dead one's young. So whoever asks watches by its own clock
//! how long a row stays as it is: nobody is taken for dead whose row changes meanwhile, nor for alive whose row has not changed for long enough.
//!
//! Silence alone proves little: a database that was away for a while knows of nobody. So nobody is taken for dead before the
//! database, and this process's way to it, have been there for long enough that a living process had written again; and a process that has
//! just begun, which knows nothing of what was before, waits for that.

use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::job::JobStatus;
use crate::state::liveness::{Liveness, NOBODY};
use crate::state::moment::Moment;
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

/// Age at which another process, when it registers, removes the row of a silent one that holds nothing: a day.
const STALE_MS: i64 = 86_400_000;

/// Heartbeats of a living process that come while a row is watched that is too old by the database's clock.
const WATCHED: u32 = 2;

/// How hearts beat.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Between two heartbeats.
    pub every: Duration,
    /// How many heartbeats in a row may not come from a process that lives.
    pub missed: u32,
    /// How long it may take until a living process is heard again where nobody could write for a while.
    pub back_within: Duration,
}

/// Heartbeats as rows of the table `owners`.
pub struct Heartbeats<D: Database> {
    database: Arc<D>,
    beat: Beat,
    me: OnceCell<Registered<D>>,
    /// Since when this process asks for others.
    asks_since: OnceLock<Instant>,
    /// Each owner's row as it was read last, and since when it reads so.
    watched: Mutex<HashMap<String, (i64, Instant)>>,
    /// Since this process has registered.
    pulse: Arc<Mutex<Option<Pulse>>>,
}

/// What is read of an owner's row.
struct Look {
    seen_at: i64,
    /// Milliseconds since then by the database's clock; below zero where that was set back.
    silent: i64,
    /// For how many milliseconds the database has been there.
    up_for: i64,
    /// For how long the row reads so, by this process's clock.
    unchanged: Duration,
}

/// When this process wrote a heartbeat.
#[derive(Clone, Copy)]
struct Pulse {
    /// The last one that came through: as it was sent.
    last: Moment,
    /// The first one after a time in which it could not, if there was one.
    back_since: Option<Moment>,
}

/// This process's row, renewed by a task until this value is dropped.
struct Registered<D: Database> {
    name: String,
    database: Arc<D>,
    renewing: JoinHandle<()>,
}

impl<D: Database> Drop for Registered<D> {
    fn drop(&mut self) {
        self.renewing.abort();
        // Where nothing runs any more the row grows old, and whoever waits for what it holds waits for that.
        if let Ok(runtime) = Handle::try_current() {
            let forget = Statement::new("DELETE FROM owners WHERE name = $1").bind(&self.name);
            let database = Arc::clone(&self.database);
            runtime.spawn(async move {
                if let Err(fault) = database.write(vec![forget]).await {
                    tracing::debug!("a process that ends could not say so: {fault}");
                }
            });
        }
    }
}

impl<D: Database> Heartbeats<D> {
    /// Heartbeats on a database. Touches nothing yet.
    #[must_use]
    pub fn new(database: Arc<D>, beat: Beat) -> Self {
        let (asks_since, watched) = (OnceLock::new(), Mutex::default());
        Self { database, beat, me: OnceCell::new(), asks_since, watched, pulse: Arc::default() }
    }

    async fn register(&self) -> Result<Registered<D>, Fault> {
        let name = format!("{}-{}", std::process::id(), hex(&random::<8>()?));
        self.asks_since.get_or_init(Instant::now);
        // Behind an outage of a day all rows are that old, and what holds something is not taken for dead by its row alone.
        let stale = Statement::new(format!(
            "DELETE FROM owners WHERE seen_at < {} - $1 AND {} > $2
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE owner = owners.name AND (status = $3 OR rollback_pending))
               AND NOT EXISTS (SELECT 1 FROM leases WHERE holder = owners.name)",
            D::NOW,
            D::UP_FOR
        ))
        .bind(STALE_MS)
        .bind(ms(self.beat.back_within))
        .bind(JobStatus::Running.as_str());
        let sent = Moment::now();
        self.database.write(vec![stale, seen::<D>(&name)]).await?;
        let (database, every, own_name) = (Arc::clone(&self.database), self.beat.every, name.clone());
        let pulse = Arc::clone(&self.pulse);
        *lock(&pulse) = Some(Pulse { last: sent, back_since: None });
        let renewing = tokio::spawn(async move {
            let mut wait = every;
            loop {
                tokio::time::sleep(std::mem::replace(&mut wait, every)).await;
                let sent = Moment::now();
                match renew(&*database, &own_name).await {
                    Ok(()) => {
                        if let Some(pulse) = lock(&pulse).as_mut() {
                            *pulse = pulse.again(sent, every);
                        }
                    }
                    // The next heartbeat may succeed; several must be missing before others call this process dead.
                    Err(fault) => {
                        wait = every / 4;
                        tracing::warn!("a heartbeat could not be written: {fault}");
                    }
                }
            }
        });
        Ok(Registered { name, database: Arc::clone(&self.database), renewing })
    }

    /// Reads all rows, so that each is watched from the first look at any; `None` where the owner has none.
    async fn look(&self, owner: &str) -> Result<Option<Look>, Fault> {
        let all = format!("SELECT name, seen_at, {} - seen_at AS silent, {} AS up_for FROM owners", D::NOW, D::UP_FOR);
        let asked = Instant::now();
        let rows = self.database.read(Statement::new(all)).await?;
        let read = Instant::now();
        let (mut found, mut now) = (None, HashMap::with_capacity(rows.len()));
        let mut watched = lock(&self.watched);
        for row in rows {
            let (name, seen_at): (String, i64) = (row.get("name")?, row.get("seen_at")?);
            let same = watched.get(&name).filter(|(before, _)| *before == seen_at);
            let since = same.map_or(read, |(_, since)| *since);
            if name == owner {
                // It read so from the end of that look to the beginning of this one at least.
                let unchanged = asked.saturating_duration_since(since);
                found = Some(Look { seen_at, silent: row.get("silent")?, up_for: row.get("up_for")?, unchanged });
            }
            now.insert(name, (seen_at, since));
        }
        *watched = now;
        Ok(found)
    }

    /// Whether this process cannot write, or could not until just now: others could not either, perhaps.
    fn is_cut_off(&self) -> bool {
        let Beat { every, back_within, .. } = self.beat;
        let is_back = |pulse: Pulse| pulse.back_since.is_some_and(|since| since.elapsed() < back_within);
        lock(&self.pulse).is_some_and(|pulse| pulse.is_late(every) || is_back(pulse))
    }
}

impl Pulse {
    /// Whether a heartbeat has not come when it should have.
    fn is_late(self, every: Duration) -> bool {
        self.last.elapsed() > every.saturating_mul(2)
    }

    /// The same with another heartbeat, which has come through.
    fn again(self, sent: Moment, every: Duration) -> Self {
        Self { last: sent, back_since: if self.is_late(every) { Some(Moment::now()) } else { self.back_since } }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ms(long: Duration) -> i64 {
    i64::try_from(long.as_millis()).unwrap_or(i64::MAX)
}

/// Writes down that a process is alive.
fn seen<D: Database>(name: &str) -> Statement {
    Statement::new(format!(
        "INSERT INTO owners (name, seen_at) VALUES ($1, {now}) ON CONFLICT (name) DO UPDATE SET seen_at = {now}",
        now = D::NOW
    ))
    .bind(name)
}

async fn renew<D: Database>(database: &D, name: &str) -> Result<(), Fault> {
    let renew = Statement::new(format!("UPDATE owners SET seen_at = {} WHERE name = $1", D::NOW)).bind(name);
    if database.beat(renew).await?.changed == 0 {
        tracing::error!("this process was forgotten, and its jobs may be another's by now; it registers again");
        database.beat(seen::<D>(name)).await?;
    }
    Ok(())
}

#[async_trait]
impl<D: Database> Liveness for Heartbeats<D> {
    async fn me(&self) -> Result<String, Fault> {
        Ok(self.me.get_or_try_init(|| self.register()).await?.name.clone())
    }

    async fn lives(&self, owner: &str) -> Result<bool, Fault> {
        if owner == NOBODY {
            return Ok(false);
        }
        let asks_since = *self.asks_since.get_or_init(Instant::now);
        let Beat { every, missed, back_within } = self.beat;
        let may = every.saturating_mul(missed.saturating_add(1));
        let mut before = None;
        loop {
            let Some(Look { seen_at, silent, up_for, unchanged }) = self.look(owner).await? else { return Ok(false) };
            let has_come_back = before.is_some_and(|before| before != seen_at);
            if has_come_back || up_for < ms(back_within) || self.is_cut_off() {
                return Ok(true);
            }
            let watch = if unchanged >= may {
                Duration::ZERO
            } else if silent <= ms(may) {
                return Ok(true);
            } else {
                every.saturating_mul(WATCHED).saturating_sub(unchanged)
            };
            // What has taken the place of a database that failed has been up for long, and nobody could write for a while all the same.
            let left = back_within.saturating_sub(asks_since.elapsed()).max(watch);
            if left.is_zero() {
                return Ok(false);
            }
            before = Some(seen_at);
            tokio::time::sleep(left.min(every / 2)).await;
        }
    }

    fn may_be_taken_for_dead(&self) -> bool {
        // One heartbeat before the others may: what is under way then is over when they do.
        let Beat { every, missed, .. } = self.beat;
        lock(&self.pulse).is_some_and(|pulse| pulse.last.elapsed() >= every.saturating_mul(missed))
    }

    async fn others(&self) -> Result<Vec<String>, Fault> {
        let me = self.me.get().map(|me| me.name.as_str());
        let mut others = Vec::new();
        for row in self.database.read(Statement::new("SELECT name FROM owners")).await? {
            let name: String = row.get("name")?;
            if Some(name.as_str()) != me && self.lives(&name).await? {
                others.push(name);
            }
        }
        Ok(others)
    }
}
