//! Manifests on a database: a row for each set that was put and not deleted by this program since.

use crate::model::backup::ManifestDigest;
use crate::model::fault::Fault;
use crate::state::manifests::{Manifests, Recorded};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;
use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
impl<D: Database> Manifests for Store<D> {
    async fn manifests(&self, instance_id: Option<&str>) -> Result<Recorded, Fault> {
        let asked = match instance_id {
            None => Statement::new("SELECT * FROM manifests"),
            Some(id) => Statement::new("SELECT * FROM manifests WHERE instance_id = $1").bind(id),
        };
        let mut found = Recorded::new();
        for row in self.database.read(asked).await? {
            let signed_by = Some(row.get::<String>("signed_by")?).filter(|key| !key.is_empty());
            let digest = ManifestDigest { sha256: row.get("sha256")?, signed_by, remembered: true };
            found.insert((row.get("instance_id")?, row.get("backup_id")?), digest);
        }
        Ok(found)
    }

    async fn set_manifest(
        &self,
        instance_id: &str,
        backup_id: &str,
        manifest: Option<&ManifestDigest>,
    ) -> Result<(), Fault> {
        let statement = match manifest {
            None => Statement::new("DELETE FROM manifests WHERE instance_id = $1 AND backup_id = $2")
                .bind(instance_id)
                .bind(backup_id),
            Some(manifest) => Statement::new(
                "INSERT INTO manifests (instance_id, backup_id, sha256, signed_by, recorded_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (instance_id, backup_id) DO NOTHING",
            )
            .bind(instance_id)
            .bind(backup_id)
            .bind(&manifest.sha256)
            .bind(manifest.signed_by.as_deref().unwrap_or_default())
            .bind(Timestamp::now()),
        };
        self.write(statement).await.map(drop)
    }
}
