//! Liveness where processes share only a database: each renews a row from time to time, and a process whose row is too old is
//! dead. This depends on clocks that agree; where processes share a disk, lock files are more reliable.

use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::state::liveness::Liveness;
use crate::state::sqlite::database::{Database, ms};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

/// Tells the time; tests set it by hand.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Age at which another process, when it registers, removes the row of a silent one.
const STALE_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Heartbeats as rows of the table `owners`.
pub struct Heartbeats {
    database: Arc<Database>,
    clock: Clock,
    every: Duration,
    missed: u32,
    me: OnceCell<Registered>,
}

/// This process's row, renewed by a task until this value is dropped.
struct Registered {
    name: String,
    renewing: JoinHandle<()>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Heartbeats {
    /// A heartbeat every `every`; an owner is dead once more than `missed` heartbeats in a row have not come.
    #[must_use]
    pub fn new(database: Arc<Database>, clock: Clock, every: Duration, missed: u32) -> Self {
        Self { database, clock, every, missed, me: OnceCell::new() }
    }

    async fn register(&self) -> Result<Registered, Fault> {
        let name = format!("{}-{}", std::process::id(), hex(&random::<8>()?));
        let (now, pool) = ((self.clock)(), self.database.pool().await?);
        let stale = now.saturating_sub(STALE_AGE).unwrap_or(now);
        sqlx::query("DELETE FROM owners WHERE seen_at < ?").bind(ms(stale)).execute(pool).await?;
        sqlx::query("INSERT INTO owners (name, seen_at) VALUES (?, ?)").bind(&name).bind(ms(now)).execute(pool).await?;
        let (database, clock, every, own_name) =
            (Arc::clone(&self.database), Arc::clone(&self.clock), self.every, name.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(fault) = renew(&database, &own_name, clock()).await {
                    // The next heartbeat may succeed; several must be missing before others call this process dead.
                    tracing::warn!("a heartbeat could not be written: {fault}");
                }
            }
        });
        Ok(Registered { name, renewing })
    }
}

async fn renew(database: &Database, name: &str, now: Timestamp) -> Result<(), Fault> {
    let pool = database.pool().await?;
    let renewed =
        sqlx::query("UPDATE owners SET seen_at = ? WHERE name = ?").bind(ms(now)).bind(name).execute(pool).await?;
    if renewed.rows_affected() == 0 {
        tracing::error!("this process was forgotten, and its jobs may be another's by now; it registers again");
        sqlx::query("INSERT INTO owners (name, seen_at) VALUES (?, ?)").bind(name).bind(ms(now)).execute(pool).await?;
    }
    Ok(())
}

#[async_trait]
impl Liveness for Heartbeats {
    async fn me(&self) -> Result<String, Fault> {
        Ok(self.me.get_or_try_init(|| self.register()).await?.name.clone())
    }

    async fn lives(&self, owner: &str) -> Result<bool, Fault> {
        let seen: Option<i64> = sqlx::query_scalar("SELECT seen_at FROM owners WHERE name = ?")
            .bind(owner)
            .fetch_optional(self.database.pool().await?)
            .await?;
        let silent = i64::try_from(self.every.saturating_mul(self.missed.saturating_add(1)).as_millis());
        let oldest = ms((self.clock)()).saturating_sub(silent.unwrap_or(i64::MAX));
        Ok(seen.is_some_and(|seen| seen >= oldest))
    }
}
