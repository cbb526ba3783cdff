//! What was measured of an instance: the write traffic before a restore, the number of keys after it.
//!
//! An absent value of a point is a zero: the cloud sends nothing else for zero. Figures that cannot be read are no figures.

use crate::tair::wire::lenient::{inner, plain_text};
use crate::tair::wire::{Second, action};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was measured: moment → metric → value.
pub type History = BTreeMap<String, BTreeMap<String, f64>>;

/// Reply of `DescribeHistoryMonitorValues`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MonitorValues {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// JSON in text. Only values other than zero are sent: an idle instance may give `{}`. `None` where any of it cannot be read.
    #[serde(default, deserialize_with = "history", serialize_with = "written")]
    pub monitor_history: Option<History>,
}

/// Metrics that mean the same for all shards are sent with `$db` after their name.
fn history<'de, D: Deserializer<'de>>(from: D) -> Result<Option<History>, D::Error> {
    let Value::Object(moments) = inner(from)? else { return Ok(None) };
    let number = |value: &Value| match value {
        Value::Number(n) => n.as_f64(),
        Value::String(t) => t.trim().parse().ok(),
        _ => None,
    };
    let read = moments.into_iter().map(|(at, values)| {
        let Value::Object(values) = values else { return None };
        let values = values.iter().map(|(k, v)| Some((k.clone(), number(v).filter(|n| n.is_finite() && *n >= 0.0)?)));
        Some((at, values.collect::<Option<_>>()?))
    });
    Ok(read.collect())
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn written<S: Serializer>(history: &Option<History>, to: S) -> Result<S::Ok, S::Error> {
    let Some(history) = history else { return to.serialize_none() };
    let text: BTreeMap<&String, BTreeMap<&String, String>> = history
        .iter()
        .map(|(at, values)| (at, values.iter().filter(|(_, v)| **v != 0.0).map(|(k, v)| (k, v.to_string())).collect()))
        .collect();
    to.serialize_str(&serde_json::to_string(&text).map_err(S::Error::custom)?)
}

action! {
    /// Reads what was measured of an instance.
    DescribeHistoryMonitorValues, Post, writes: false, MonitorValues, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// From when; at most a month back.
        start_time: Second = "StartTime",
        /// Until when; up to ten minutes gives a point every five seconds.
        end_time: Second = "EndTime",
        /// `01m`. Deprecated by the API, and mandatory.
        interval_for_history: String = "IntervalForHistory",
        /// Metrics, joined by commas: `UsedQPS`, `Redis_Basic_Monitor`, `UsedMemory`; of a cluster `UsedQPS$db`.
        monitor_keys: Option<String> = "MonitorKeys",
        /// Reads the figures of this node only.
        node_id: Option<String> = "NodeId",
    }
}
