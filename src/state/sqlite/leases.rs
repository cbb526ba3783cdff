//! Leases on SQLite: one row a name, whose epoch only grows.

use crate::model::fault::Fault;
use crate::state::leases::{Lease, Leases};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::{ms, signed, unsigned};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// Holder of a lease that has been given back.
const FREE: &str = "";

fn lease(row: &SqliteRow) -> Result<Lease, Fault> {
    Ok(Lease { name: row.try_get("name")?, holder: row.try_get("holder")?, epoch: unsigned(row, "epoch")? })
}

#[async_trait]
impl Leases for Sqlite {
    async fn acquire(&self, name: &str) -> Result<Option<Lease>, Fault> {
        let me = self.liveness.me().await?;
        let pool = self.database.pool().await?;
        let found = sqlx::query("SELECT * FROM leases WHERE name = ?").bind(name).fetch_optional(pool).await?;
        let before = found.as_ref().map(lease).transpose()?;
        if let Some(held) = before.as_ref().filter(|held| held.holder != FREE)
            && self.liveness.lives(&held.holder).await?
        {
            return Ok(None);
        }
        // Of two processes that found the same holder dead, the one whose statement comes first changes the row.
        let (holder, epoch) = before.map_or((FREE.into(), 0), |held| (held.holder, held.epoch));
        let taken = sqlx::query(
            "INSERT INTO leases (name, holder, epoch, renewed_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE
             SET holder = ?2, epoch = ?3, renewed_at = ?4 WHERE holder = ?5 AND epoch = ?6",
        )
        .bind(name)
        .bind(&me)
        .bind(signed(epoch + 1))
        .bind(ms(Timestamp::now()))
        .bind(&holder)
        .bind(signed(epoch))
        .execute(pool)
        .await?;
        let lease = Lease { name: name.into(), holder: me, epoch: epoch + 1 };
        Ok((taken.rows_affected() == 1).then_some(lease))
    }

    async fn renew(&self, lease: &Lease) -> Result<bool, Fault> {
        let done = sqlx::query("UPDATE leases SET renewed_at = ? WHERE name = ? AND holder = ? AND epoch = ?")
            .bind(ms(Timestamp::now()))
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(signed(lease.epoch))
            .execute(self.database.pool().await?)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), Fault> {
        sqlx::query("UPDATE leases SET holder = ? WHERE name = ? AND holder = ? AND epoch = ?")
            .bind(FREE)
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(signed(lease.epoch))
            .execute(self.database.pool().await?)
            .await?;
        Ok(())
    }

    async fn holder(&self, name: &str) -> Result<Option<Lease>, Fault> {
        let row = sqlx::query("SELECT * FROM leases WHERE name = ? AND holder <> ?")
            .bind(name)
            .bind(FREE)
            .fetch_optional(self.database.pool().await?)
            .await?;
        match row.as_ref().map(lease).transpose()? {
            Some(held) if self.liveness.lives(&held.holder).await? => Ok(Some(held)),
            _ => Ok(None),
        }
    }
}
