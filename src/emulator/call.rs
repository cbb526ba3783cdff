//! One call that was let in, and the table of the actions that are served.

use crate::emulator::answer::{Refused, reply};
use crate::emulator::world::World;
use crate::emulator::{backups, clone, clusters, instances, locks, monitor, policy, restore, settings};
use crate::tair::params::Params;
use serde_json::Value;
use std::sync::Arc;

/// A call.
pub struct Call<'a> {
    /// What it works with.
    pub world: &'a Arc<World>,
    /// Its action.
    pub action: &'a str,
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Its parameters.
    pub params: &'a Params,
    /// The host as the client names it: the endpoint, and where downloads are.
    pub host: &'a str,
    /// Who signed it.
    pub caller: &'a str,
    /// Its id.
    pub request_id: &'a str,
    /// The region.
    pub region: String,
}

impl Call<'_> {
    /// A zone of the region.
    #[must_use]
    pub fn zone(&self) -> String {
        format!("{}-a", self.region)
    }

    /// Carries it out.
    ///
    /// # Errors
    /// As the cloud refuses it.
    pub async fn answer(&self) -> Result<Value, Refused> {
        let id = self.request_id;
        // Most actions take both methods; three take one.
        let allowed = match self.action {
            "DescribeClusterBackupList" => self.method == "GET",
            "LockDBInstanceWrite" | "UnlockDBInstanceWrite" => self.method == "POST",
            _ => matches!(self.method, "GET" | "POST"),
        };
        if !allowed {
            return Err(Refused::new("InvalidAction.NotFound"));
        }
        // As a RAM user who may only look.
        if self.world.app.config.read_only && !self.action.starts_with("Describe") {
            return Err(Refused::new("Forbidden.RAM"));
        }
        match self.action {
            "DescribeRegions" => reply(&instances::regions(self), id),
            "DescribeInstances" => reply(&instances::list(self).await?, id),
            "DescribeInstanceAttribute" => reply(&instances::attribute(self).await?, id),
            "CreateBackup" => reply(&backups::create(self).await?, id),
            "DescribeBackups" => reply(&backups::list(self).await?, id),
            "DescribeBackupTasks" => reply(&backups::tasks(self).await?, id),
            "DeleteBackup" => reply(&backups::delete(self).await?, id),
            "ModifyBackupExpireTime" => reply(&backups::expire(self).await?, id),
            "DescribeClusterBackupList" => reply(&clusters::list(self).await?, id),
            "DescribeBackupPolicy" => reply(&policy::describe(self)?, id),
            "ModifyBackupPolicy" => reply(&policy::modify(self).await?, id),
            "RestoreInstance" => reply(&restore::restore(self).await?, id),
            "CreateInstance" | "CreateTairInstance" => reply(&clone::create(self).await?, id),
            "DescribeHistoryMonitorValues" => reply(&monitor::history(self).await?, id),
            "LockDBInstanceWrite" => reply(&locks::lock(self).await?, id),
            "UnlockDBInstanceWrite" => reply(&locks::unlock(self).await?, id),
            "DescribeInstanceConfig" => reply(&settings::config(self)?, id),
            "DescribeHistoryTasks" => reply(&settings::tasks(self).await?, id),
            _ => Err(Refused::new("InvalidAction.NotFound")),
        }
    }
}
