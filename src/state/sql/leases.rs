//! Leases on a database: one row a name, whose epoch only grows.

use crate::model::fault::Fault;
use crate::state::leases::{Lease, Leases};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::{Row, Statement};
use async_trait::async_trait;

/// Holder of a lease that has been given back.
const FREE: &str = "";

fn lease(row: &Row) -> Result<Lease, Fault> {
    Ok(Lease { name: row.get("name")?, holder: row.get("holder")?, epoch: row.count("epoch")? })
}

#[async_trait]
impl<D: Database> Leases for Store<D> {
    async fn acquire(&self, name: &str) -> Result<Option<Lease>, Fault> {
        let me = self.liveness.me().await?;
        let found = self.row(Statement::new("SELECT * FROM leases WHERE name = $1").bind(name)).await?;
        let before = found.as_ref().map(lease).transpose()?;
        if let Some(held) = before.as_ref().filter(|held| held.holder != FREE)
            && self.liveness.lives(&held.holder).await?
        {
            return Ok(None);
        }
        // Of two processes that found the same holder dead, the one whose statement comes first changes the row.
        let (holder, epoch) = before.map_or((FREE.into(), 0), |held| (held.holder, held.epoch));
        let take = Statement::new(format!(
            "INSERT INTO leases (name, holder, epoch, renewed_at) VALUES ($1, $2, $3, {now}) ON CONFLICT (name) DO UPDATE
             SET holder = $2, epoch = $3, renewed_at = {now} WHERE leases.holder = $4 AND leases.epoch = $5",
            now = D::NOW
        ))
        .bind(name)
        .bind(&me)
        .bind(epoch + 1)
        .bind(holder)
        .bind(epoch);
        let lease = Lease { name: name.into(), holder: me, epoch: epoch + 1 };
        Ok((self.write(take).await?.changed == 1).then_some(lease))
    }

    async fn renew(&self, lease: &Lease) -> Result<bool, Fault> {
        // A lease is its holder's for as long as that process lives, so that nothing has to be written every second.
        let held = Statement::new("SELECT 1 AS held FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3")
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(lease.epoch);
        Ok(self.row(held).await?.is_some())
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), Fault> {
        let give = Statement::new("UPDATE leases SET holder = $1 WHERE name = $2 AND holder = $3 AND epoch = $4")
            .bind(FREE)
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(lease.epoch);
        self.write(give).await.map(drop)
    }

    async fn holder(&self, name: &str) -> Result<Option<Lease>, Fault> {
        let held = Statement::new("SELECT * FROM leases WHERE name = $1 AND holder <> $2").bind(name).bind(FREE);
        match self.row(held).await?.as_ref().map(lease).transpose()? {
            Some(held) if self.liveness.lives(&held.holder).await? => Ok(Some(held)),
            _ => Ok(None),
        }
    }
}
