//! Verifications on a database: a row for each level of a set. Of a set that has gone a drill may stay.

use crate::model::fault::Fault;
use crate::model::verification::{Level, Look, Verification};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::fault::damaged;
use crate::state::sql::statement::{Row, Statement};
use crate::state::verifications::Verifications;
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Reads a row. An empty text is none.
fn look(row: &Row) -> Result<(Level, Look), Fault> {
    let text = |column| Ok::<_, Fault>(Some(row.get::<String>(column)?).filter(|text| !text.is_empty()));
    let level: String = row.get("level")?;
    let known = Level::parse(&level).ok_or_else(|| damaged(format!("a set was verified to the level {level:?}")))?;
    Ok((
        known,
        Look {
            at: row.moment("verified_at")?,
            sha256: row.get("sha256")?,
            server: text("server")?,
            fault: text("fault")?,
        },
    ))
}

#[async_trait]
impl<D: Database> Verifications for Store<D> {
    async fn verifications(&self, instance_id: &str) -> Result<BTreeMap<String, Verification>, Fault> {
        let all = Statement::new("SELECT * FROM verifications WHERE instance_id = $1").bind(instance_id);
        let mut found: BTreeMap<String, Verification> = BTreeMap::new();
        for row in self.database.read(all).await? {
            let (level, look) = look(&row)?;
            found.entry(row.get("backup_id")?).or_default().0.insert(level, look);
        }
        Ok(found)
    }

    async fn set_verified(&self, instance_id: &str, backup_id: &str, level: Level, look: &Look) -> Result<(), Fault> {
        let covered = Level::ALL.into_iter().filter(|covered| look.fault.is_none() && *covered < level).map(|covered| {
            Statement::new("DELETE FROM verifications WHERE instance_id = $1 AND backup_id = $2 AND level = $3 AND fault <> ''")
                .bind(instance_id)
                .bind(backup_id)
                .bind(covered.as_str())
        });
        let set = Statement::new(
            "INSERT INTO verifications (instance_id, backup_id, level, verified_at, sha256, server, fault) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (instance_id, backup_id, level) DO UPDATE SET verified_at = $4, sha256 = $5, server = $6, fault = $7",
        )
        .bind(instance_id)
        .bind(backup_id)
        .bind(level.as_str())
        .bind(look.at)
        .bind(&look.sha256)
        .bind(look.server.as_deref().unwrap_or_default())
        .bind(look.fault.as_deref().unwrap_or_default());
        self.database.write(covered.chain(std::iter::once(set)).collect()).await.map(drop)
    }

    async fn forget_verified(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let forget = Statement::new(
            "DELETE FROM verifications WHERE instance_id = $1 AND backup_id = $2 AND (level <> $3 OR (fault = '' AND verified_at <
             (SELECT max(v.verified_at) FROM verifications v WHERE v.instance_id = $1 AND v.level = $3 AND v.fault = '')))",
        )
        .bind(instance_id)
        .bind(backup_id)
        .bind(Level::Drill.as_str());
        self.write(forget).await.map(drop)
    }
}
