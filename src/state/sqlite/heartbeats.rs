//! Liveness where processes share only a database: each says from time to time that it lives, and one that has been silent for
//! too long is dead. This depends on clocks that agree; where a disk is shared, lock files are the better witness.

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

/// Tells the time; tests turn it by hand.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Rows of processes that were last seen so long ago are removed when another process registers.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// Heartbeats in a table.
pub struct Heartbeats {
    database: Arc<Database>,
    clock: Clock,
    every: Duration,
    missed: u32,
    me: OnceCell<Registered>,
}

/// This process's row, renewed by a task as long as this lives.
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
    /// Heartbeats every so often; an owner is dead once more than `missed` of them in a row have not come.
    #[must_use]
    pub fn new(database: Arc<Database>, clock: Clock, every: Duration, missed: u32) -> Self {
        Self { database, clock, every, missed, me: OnceCell::new() }
    }

    async fn register(&self) -> Result<Registered, Fault> {
        let name = format!("{}-{}", std::process::id(), hex(&random::<8>()?));
        let (now, pool) = ((self.clock)(), self.database.pool().await?);
        let forgotten = now.saturating_sub(FORGOTTEN).unwrap_or(now);
        sqlx::query("DELETE FROM owners WHERE seen_at < ?").bind(ms(forgotten)).execute(pool).await?;
        sqlx::query("INSERT INTO owners (name, seen_at) VALUES (?, ?)").bind(&name).bind(ms(now)).execute(pool).await?;
        let (database, clock, every, mine) =
            (Arc::clone(&self.database), Arc::clone(&self.clock), self.every, name.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(fault) = renew(&database, &mine, clock()).await {
                    // The next one may come through; others wait for several before they call this process dead.
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
