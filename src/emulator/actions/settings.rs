//! Settings and the task centre, as far as a backup tool uses them: of the settings, what the server keeps on its disk, of which `appendonly`
//! can be changed.
//!
//! As in the cloud the task centre knows neither backups nor restores: it lists tasks that create instances, and those that lock or unlock
//! writes, for which the action's name stands: no published type is theirs.

use crate::emulator::actions::overwrite;
use crate::emulator::actions::paging::{cut, page};
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number};
use crate::emulator::request::ActionRequest;
use crate::model::time::written;
use crate::tair::wire::Done;
use crate::tair::wire::settings::{
    DescribeHistoryTasks, DescribeInstanceConfig, DescribeParameters, HistoryTask, HistoryTasks, InstanceConfig,
    ModifyInstanceConfig, Parameter, ParameterList, Parameters,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// `DescribeInstanceConfig`.
///
/// # Errors
/// `InstanceType.NotSupport` on a classic instance.
pub async fn config(request: &ActionRequest<'_>, params: DescribeInstanceConfig) -> Result<InstanceConfig, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let settings = request.account.app.provider.persistence(&instance.id).await?.settings;
    let config: Map<String, Value> =
        settings.named().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(InstanceConfig { request_id: String::new(), config: Some(Value::Object(config).to_string()) })
}

/// `DescribeParameters`.
///
/// # Errors
/// `InstanceType.NotSupport` on a cloud-native instance.
pub async fn parameters(request: &ActionRequest<'_>, params: DescribeParameters) -> Result<Parameters, Refused> {
    let instance = request.account.instance(&params.db_instance_id)?;
    if instance.is_cloud_native() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let settings = request.account.app.provider.persistence(&instance.id).await?.settings;
    let parameter = |(name, value): (&str, String)| Parameter { parameter_name: name.into(), parameter_value: value };
    Ok(Parameters {
        engine: Some("redis".into()),
        running_parameters: ParameterList { parameter: settings.named().into_iter().map(parameter).collect() },
        ..Parameters::default()
    })
}

/// `ModifyInstanceConfig`.
///
/// # Errors
/// `InvalidParameters.Format` for what is no JSON or no value; `ParamNotSupportedForCurrentVersion` for another setting than `appendonly`, and
/// for that one while data flashback is on, which needs it: which code the cloud has for that is not published.
pub async fn modify(request: &ActionRequest<'_>, params: ModifyInstanceConfig) -> Result<Done, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let wrong = || Refused::new("InvalidParameters.Format");
    let config: Map<String, Value> = serde_json::from_str(&params.config).map_err(|_| wrong())?;
    if config.is_empty() {
        return Err(wrong());
    }
    let appendonly = config.get("appendonly").filter(|_| config.len() == 1);
    let value = appendonly.ok_or_else(|| Refused::new("ParamNotSupportedForCurrentVersion"))?;
    let on = match value.as_str() {
        Some("yes") => true,
        Some("no") => false,
        _ => return Err(wrong()),
    };
    request.account.must_be_normal(&instance).await?;
    if !on && request.account.flashback(&instance).await?.is_some() {
        return Err(Refused::new("ParamNotSupportedForCurrentVersion"));
    }
    overwrite::keep_file(request, &instance.id, on).await?;
    Ok(Done::default())
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
    let named =
        |id: &str| params.instance_id.as_deref().is_none_or(|ids| ids.split(',').any(|named| named.trim() == id));
    let created = request.account.instances().into_iter().filter_map(|instance| {
        let created = instance.created?;
        let ended = created.normal_at.map(|at| (at, true)).or(created.failed.then_some((created.at, false)));
        Some((number(IdKind::Task, &instance.id), "CreateIns".to_owned(), instance.id, created.at, ended))
    });
    let locked = request.account.activity.tasks().into_iter();
    let locked = locked.map(|task| (task.number, task.action, task.instance_id, task.at, task.ended));
    let row = |(number, kind, instance_id, at, ended): (i64, String, String, Timestamp, Option<(Timestamp, bool)>)| {
        let status = match ended {
            Some((_, true)) => "Succeed",
            Some((_, false)) => "Failed",
            None => "Running",
        };
        let wanted = params.status.as_deref().is_none_or(|s| s.split(',').any(|s| s.trim() == status));
        let task_id = format!("t-{number}");
        let wanted = wanted
            && params.task_id.as_deref().is_none_or(|id| id == task_id)
            && params.task_type.as_deref().is_none_or(|wanted| wanted == kind);
        (wanted && named(&instance_id) && at >= from && at < to).then(|| HistoryTask {
            task_id,
            task_type: Some(kind),
            status: Some(status.into()),
            instance_id: Some(instance_id),
            current_step_name: Some("exec_task".into()),
            start_time: Some(written(at)),
            end_time: ended.map(|(at, _)| written(at)),
            remain_time: Some(0),
            progress: Some(if ended.is_some_and(|(_, worked)| worked) { 100 } else { 50 }),
            reason_code: None,
        })
    };
    let rows: Vec<HistoryTask> = created.chain(locked).filter_map(row).collect();
    Ok(HistoryTasks {
        request_id: String::new(),
        page_number: Some(at),
        page_size: Some(size),
        total_count: i64::try_from(rows.len()).ok(),
        items: cut(rows, at, size),
    })
}
