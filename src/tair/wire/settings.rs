//! Settings of an instance, and the task centre.
//!
//! Classic instances refuse the call that reads the settings.

use crate::tair::wire::lenient::{id, list, number, plain_text, text};
use crate::tair::wire::paging::{Page, Paged};
use crate::tair::wire::{Done, Second, action, is_one_of};
use serde::{Deserialize, Serialize};

/// Reply of `DescribeInstanceConfig`; cloud-native instances only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceConfig {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// JSON in text: the settings.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// One task of the task centre.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryTask {
    /// Id of the task.
    #[serde(deserialize_with = "id")]
    pub task_id: String,
    /// `ModifyInsSpec`, `CreateIns`, …; no backup and no restore among them.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// `Scheduled`, `Running`, `Succeed`, `Failed`, …; one published sample has a number.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Id of the instance.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The task's status.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub current_step_name: Option<String>,
    /// When the task began.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When the task ended.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// Seconds that the task still takes.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub remain_time: Option<i64>,
    /// How much of the task is done, in per cent.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub progress: Option<i64>,
    /// Why the task runs or failed.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
}

/// Reply of `DescribeHistoryTasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryTasks {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Number of this page, from 1.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_number: Option<i64>,
    /// Rows a page has at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i64>,
    /// How many rows all pages have.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
    /// The tasks of this page.
    #[serde(deserialize_with = "list")]
    pub items: Vec<HistoryTask>,
}

/// How far a task of the task centre is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// The task has done what it was for.
    Done,
    /// The task is over and has not done it.
    Failed,
    /// Anything else: the task may still do it.
    Running,
}

impl HistoryTask {
    /// Whether the row is of the task that a call's reply named by a number.
    #[must_use]
    pub fn is(&self, number: i64) -> bool {
        self.task_id.trim_start_matches("t-") == number.to_string()
    }

    /// How far the task is; letter case does not matter.
    #[must_use]
    pub fn state(&self) -> TaskState {
        let is = |known: &[&str]| is_one_of(self.status.as_deref(), known);
        if is(&["Succeed", "Succeeded", "Success", "Finished"]) {
            TaskState::Done
        } else if is(&["Failed", "Canceled", "Cancelled"]) {
            TaskState::Failed
        } else {
            TaskState::Running
        }
    }
}

/// Reply of `DescribeParameters`; classic instances only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameters {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// `redis`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The engine's version.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// The settings in force.
    pub running_parameters: ParameterList,
}

/// The list within [`Parameters`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ParameterList {
    /// The settings.
    #[serde(deserialize_with = "list")]
    pub parameter: Vec<Parameter>,
}

/// One setting.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameter {
    /// Its name, as the engine has it: `appendonly`.
    #[serde(default, deserialize_with = "plain_text")]
    pub parameter_name: String,
    /// Its value.
    #[serde(default, deserialize_with = "plain_text")]
    pub parameter_value: String,
}

action! {
    /// Reads the settings of a classic instance.
    DescribeParameters, Post, writes: false, Parameters, {
        /// Id of the instance.
        db_instance_id: String = "DBInstanceId",
    }
}

action! {
    /// Changes settings, each on its own: what is not named stays.
    ModifyInstanceConfig, Post, writes: true, Done, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// JSON in text: the settings to change.
        config: String = "Config",
    }
}

action! {
    /// Reads the settings of a cloud-native instance.
    DescribeInstanceConfig, Post, writes: false, InstanceConfig, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
    }
}

action! {
    /// Lists the tasks of a region.
    DescribeHistoryTasks, Post, writes: false, HistoryTasks, {
        /// Id of the region.
        region_id: Option<String> = "RegionId",
        /// Tasks begun at or after this.
        from_start_time: Second = "FromStartTime",
        /// Tasks begun before this; at most 30 days later.
        to_start_time: Second = "ToStartTime",
        /// Only of these instances, joined by commas.
        instance_id: Option<String> = "InstanceId",
        /// Only this task.
        task_id: Option<String> = "TaskId",
        /// Only those of this type.
        task_type: Option<String> = "TaskType",
        /// Only those in this status.
        status: Option<String> = "Status",
        /// The page, from 1.
        page_number: Option<i64> = "PageNumber",
        /// Rows a page has, 10 to 100.
        page_size: Option<i64> = "PageSize",
    }
}

impl Paged for DescribeHistoryTasks {
    type Row = HistoryTask;
    const SIZES: &'static [i64] = &[10, 50, 100];

    fn on_page(&self, number: i64, size: i64) -> Self {
        Self { page_number: Some(number), page_size: Some(size), ..self.clone() }
    }

    fn page(reply: HistoryTasks) -> Page<HistoryTask> {
        Page { rows: reply.items, size: reply.page_size, total: reply.total_count }
    }

    fn key(row: &HistoryTask) -> String {
        row.task_id.clone()
    }
}
