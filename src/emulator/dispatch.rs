//! The table of the actions served: name to function. A new action is one row here.

use crate::emulator::actions::{backups, clone, clusters, instances, locks, monitor, policy, restore, settings};
use crate::emulator::answer::{DENIED_BY_RAM, Refused, reply};
use crate::emulator::request::ActionRequest;
use crate::emulator::terms;
use serde_json::Value;

/// Whether an action accepts an HTTP method. Most accept both; three accept one.
fn takes(action: &str, method: &str) -> bool {
    match action {
        "DescribeClusterBackupList" => method == "GET",
        "LockDBInstanceWrite" | "UnlockDBInstanceWrite" => method == "POST",
        _ => matches!(method, "GET" | "POST"),
    }
}

/// Carries a request out.
///
/// # Errors
/// As the cloud refuses it.
pub async fn dispatch(request: &ActionRequest<'_>) -> Result<Value, Refused> {
    let id = request.request_id;
    if !takes(request.action, request.method) {
        return Err(Refused::new("InvalidAction.NotFound"));
    }
    // Like a RAM user with read permissions only.
    if request.account.app.config.read_only && !request.action.starts_with("Describe") {
        return Err(Refused::new(DENIED_BY_RAM));
    }
    terms::check(request)?;
    request.account.look_at_clones().await;
    match request.action {
        "DescribeRegions" => reply(&instances::regions(request), id),
        "DescribeInstances" => reply(&instances::list(request, request.read()?).await?, id),
        "DescribeInstanceAttribute" => reply(&instances::attribute(request, request.read()?).await?, id),
        "CreateBackup" => reply(&backups::create(request, backups::read_create(request)?).await?, id),
        "DescribeBackups" => reply(&backups::list(request, request.read()?).await?, id),
        "DescribeBackupTasks" => reply(&backups::tasks(request, request.read()?).await?, id),
        "DeleteBackup" => reply(&backups::delete(request, request.read()?).await?, id),
        "ModifyBackupExpireTime" => reply(&backups::expire(request, request.read()?).await?, id),
        "DescribeClusterBackupList" => reply(&clusters::list(request, request.read()?).await?, id),
        "DescribeBackupPolicy" => reply(&policy::describe(request, request.read()?).await?, id),
        "ModifyBackupPolicy" => reply(&policy::modify(request, policy::read_modify(request)?).await?, id),
        "RestoreInstance" => reply(&restore::restore(request, restore::read(request)?).await?, id),
        "CreateInstance" => reply(&clone::create(request, clone::Order::classic(request)?).await?, id),
        "CreateTairInstance" => reply(&clone::create(request, clone::Order::tair(request)?).await?, id),
        "DescribeHistoryMonitorValues" => reply(&monitor::history(request, request.read()?).await?, id),
        "LockDBInstanceWrite" => reply(&locks::lock(request, request.read()?).await?, id),
        "UnlockDBInstanceWrite" => reply(&locks::unlock(request, request.read()?).await?, id),
        "DescribeInstanceConfig" => reply(&settings::config(request, request.read()?).await?, id),
        "DescribeParameters" => reply(&settings::parameters(request, request.read()?).await?, id),
        "ModifyInstanceConfig" => reply(&settings::modify(request, request.read()?).await?, id),
        "DescribeHistoryTasks" => reply(&settings::tasks(request, request.read()?).await?, id),
        _ => Err(Refused::new("InvalidAction.NotFound")),
    }
}
