//! Settings and the task centre, as far as a backup tool uses them.
//!
//! As in the cloud the task centre knows neither backups nor restores: it lists tasks that create instances.

use crate::emulator::actions::paging::{cut, page};
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number};
use crate::emulator::request::ActionRequest;
use crate::model::time::written;
use crate::tair::wire::settings::{
    DescribeHistoryTasks, DescribeInstanceConfig, HistoryTask, HistoryTasks, InstanceConfig,
};
use jiff::SignedDuration;

/// `DescribeInstanceConfig`.
///
/// # Errors
/// `InstanceType.NotSupport` on a classic instance.
pub fn config(request: &ActionRequest<'_>, params: DescribeInstanceConfig) -> Result<InstanceConfig, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    Ok(InstanceConfig { request_id: String::new(), config: Some("{}".into()) })
}

/// `DescribeHistoryTasks`.
///
/// # Errors
/// `Param.Invalid`, `Param.Invalid.TimeEndBeforeStart`.
pub async fn tasks(request: &ActionRequest<'_>, params: DescribeHistoryTasks) -> Result<HistoryTasks, Refused> {
    let (from, to) = (params.from_start_time.0, params.to_start_time.0);
    if to < from {
        return Err(Refused::new("Param.Invalid.TimeEndBeforeStart"));
    }
    if to.duration_since(from) > SignedDuration::from_hours(30 * 24) {
        return Err(Refused::new("Param.Invalid"));
    }
    let (at, size) = page(params.page_number, params.page_size.or(Some(10)), |size| (10..=100).contains(&size))?;
    let mut rows = Vec::new();
    for instance in request.account.instances() {
        let Some(created) = &instance.created else { continue };
        let named = params.instance_id.as_deref().is_none_or(|ids| ids.split(',').any(|id| id.trim() == instance.id));
        let status = match (created.normal_at, created.failed) {
            (Some(_), _) => "Succeed",
            (None, true) => "Failed",
            (None, false) => "Running",
        };
        let wanted = params.status.as_deref().is_none_or(|s| s.split(',').any(|s| s.trim() == status));
        if named && wanted && created.at >= from && created.at < to {
            rows.push(HistoryTask {
                task_id: format!("t-{}", number(IdKind::Task, &instance.id)),
                task_type: Some("CreateIns".into()),
                status: Some(status.into()),
                instance_id: Some(instance.id.clone()),
                current_step_name: Some("exec_task".into()),
                start_time: Some(written(created.at)),
                end_time: created.normal_at.map(written),
                remain_time: Some(0),
                progress: Some(if created.normal_at.is_some() { 100 } else { 50 }),
                reason_code: None,
            });
        }
    }
    Ok(HistoryTasks {
        request_id: String::new(),
        page_number: Some(at),
        page_size: Some(size),
        total_count: i64::try_from(rows.len()).ok(),
        items: cut(rows, at, size),
    })
}
