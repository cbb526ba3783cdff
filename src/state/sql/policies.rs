//! Policies on a database: one row an instance.

use crate::model::fault::Fault;
use crate::state::policies::Policies;
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;
use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
impl<D: Database> Policies for Store<D> {
    async fn backup_log(&self, instance_id: &str) -> Result<Option<bool>, Fault> {
        let found = Statement::new("SELECT enable_backup_log FROM policies WHERE instance_id = $1");
        self.row(found.bind(instance_id)).await?.map(|row| row.get("enable_backup_log")).transpose()
    }

    async fn set_backup_log(&self, instance_id: &str, on: bool) -> Result<(), Fault> {
        let set = Statement::new(
            "INSERT INTO policies (instance_id, enable_backup_log, changed_at) VALUES ($1, $2, $3)
             ON CONFLICT (instance_id) DO UPDATE SET enable_backup_log = $2, changed_at = $3",
        )
        .bind(instance_id)
        .bind(on)
        .bind(Timestamp::now());
        self.write(set).await.map(drop)
    }
}
