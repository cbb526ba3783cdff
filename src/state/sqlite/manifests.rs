//! Manifests on SQLite: a row for each set that was put and not deleted by this program since.

use crate::model::backup::ManifestDigest;
use crate::model::fault::Fault;
use crate::state::manifests::{Manifests, Recorded};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::ms;
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;

#[async_trait]
impl Manifests for Sqlite {
    async fn manifests(&self, instance_id: Option<&str>) -> Result<Recorded, Fault> {
        let rows = sqlx::query("SELECT * FROM manifests WHERE ?1 IS NULL OR instance_id = ?1");
        let mut found = Recorded::new();
        for row in rows.bind(instance_id).fetch_all(self.database.pool().await?).await? {
            let signed_by: String = row.try_get("signed_by")?;
            let signed_by = Some(signed_by).filter(|key| !key.is_empty());
            let digest = ManifestDigest { sha256: row.try_get("sha256")?, signed_by };
            found.insert((row.try_get("instance_id")?, row.try_get("backup_id")?), digest);
        }
        Ok(found)
    }

    async fn set_manifest(
        &self,
        instance_id: &str,
        backup_id: &str,
        manifest: Option<&ManifestDigest>,
    ) -> Result<(), Fault> {
        let pool = self.database.pool().await?;
        let Some(manifest) = manifest else {
            let forget = sqlx::query("DELETE FROM manifests WHERE instance_id = ? AND backup_id = ?");
            forget.bind(instance_id).bind(backup_id).execute(pool).await?;
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO manifests (instance_id, backup_id, sha256, signed_by, recorded_at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (instance_id, backup_id) DO NOTHING",
        )
        .bind(instance_id)
        .bind(backup_id)
        .bind(&manifest.sha256)
        .bind(manifest.signed_by.as_deref().unwrap_or_default())
        .bind(ms(Timestamp::now()))
        .execute(pool)
        .await?;
        Ok(())
    }
}
