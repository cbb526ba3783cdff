//! Monitoring: the measured points of an instance under the cloud's names, on the grid that the cloud would choose.
//!
//! As in the cloud only values other than zero are reported.

use crate::emulator::account::monitor::{Point, SHORTEST, STEP};
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::model::time::written;
use crate::tair::wire::monitor::{DescribeHistoryMonitorValues, History, MonitorValues};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// `DescribeHistoryMonitorValues`.
///
/// # Errors
/// `InvalidStartTime.Malformed`, `InvalidEndTime.Malformed`.
pub async fn history(
    request: &ActionRequest<'_>,
    params: DescribeHistoryMonitorValues,
) -> Result<MonitorValues, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let (from, to) = (params.start_time.0, params.end_time.0);
    let span = to.duration_since(from);
    if span <= SignedDuration::ZERO || span > SignedDuration::from_hours(7 * 24) {
        return Err(Refused::new("InvalidEndTime.Malformed"));
    }
    if Timestamp::now().duration_since(from) > SignedDuration::from_hours(31 * 24) {
        return Err(Refused::new("InvalidStartTime.Malformed"));
    }
    let provider = request.account.app.provider.as_ref();
    let meter = request.account.monitor.meter(&instance.id);
    let mut meter = meter.lock().await;
    // Without an earlier sample there is no rate, and the cloud, which has watched all along, would have one.
    let first_figure = meter.is_empty();
    if first_figure && meter.sample(provider, &instance.id, false).await.is_ok() && meter.is_empty() {
        tokio::time::sleep(SHORTEST).await;
    }
    if let Err(fault) = meter.sample(provider, &instance.id, false).await {
        tracing::debug!(instance_id = %instance.id, "not sampled: {fault}");
    }
    let keys = params.monitor_keys.as_deref().filter(|k| !k.is_empty()).unwrap_or("UsedMemory,quotaMemory");
    let keys: Vec<&str> = keys.split(',').map(str::trim).collect();
    // Up to ten minutes the grid is five seconds, above it a minute.
    let step = if span <= SignedDuration::from_mins(10) { STEP } else { 60 };
    let mut grid: BTreeMap<i64, Vec<Point>> = BTreeMap::new();
    let first = from.as_second().div_euclid(step) * step;
    // The first figure came after it was asked for.
    let last = if first_figure { i64::MAX } else { to.as_second() };
    for (slot, point) in meter.points(first..=last) {
        grid.entry(slot.min(to.as_second()).div_euclid(step) * step).or_default().push(point);
    }
    // The first figure of all stands for the time before it: the cloud has watched all along.
    if let Some((earliest, points)) = grid.first_key_value().map(|(slot, points)| (*slot, points.clone()))
        && meter.points(i64::MIN..=first.saturating_sub(1)).next().is_none()
    {
        let before = (first..earliest).step_by(usize::try_from(step).unwrap_or(1));
        grid.extend(before.map(|slot| (slot, points.clone())));
    }
    let mut history = History::new();
    for (slot, points) in grid {
        let values = values(&keys, &points, instance.is_cluster());
        if let (false, Ok(at)) = (values.is_empty(), Timestamp::from_second(slot)) {
            history.insert(written(at), values);
        }
    }
    Ok(MonitorValues { request_id: String::new(), monitor_history: Some(history) })
}

fn values(keys: &[&str], points: &[Point], cluster: bool) -> BTreeMap<String, f64> {
    #[expect(clippy::cast_precision_loss, reason = "a mean of a dozen")]
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / points.len().max(1) as f64;
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        // Two decimals, as the cloud has them.
        let value = (value * 100.0).round() / 100.0;
        if value > 0.0 {
            values.insert(name.to_owned(), value);
        }
    };
    for key in keys {
        // On a cluster the sum over the shards has a name of its own; on others that name gives nothing.
        match (*key, cluster) {
            ("UsedQPS", false) | ("UsedQPS$db", true) => {
                put("PutQps", mean(|p| p.put));
                put("GetQps", mean(|p| p.get));
                put("TotalQps", mean(|p| p.put + p.get));
            }
            ("Redis_Basic_Monitor", false) | ("Redis_Basic_Monitor$db", true) => {
                put("Keys", mean(|p| p.keys));
                put("Expires", mean(|p| p.expires));
            }
            ("UsedMemory", _) => put("UsedMemory", mean(|p| p.memory)),
            _ => {}
        }
    }
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Zeros are left out, and a cluster answers to the cluster's names only.
    use super::*;

    #[test]
    fn zeros_are_not_reported() {
        let points = [Point { put: 2.0, ..Point::default() }, Point::default()];
        let reported = values(&["UsedQPS"], &points, false);
        assert_eq!(reported, BTreeMap::from([("PutQps".to_owned(), 1.0), ("TotalQps".to_owned(), 1.0)]));
        assert!(values(&["UsedQPS"], &points, true).is_empty());
        assert_eq!(values(&["UsedQPS$db"], &points, true), reported);
        assert!(values(&["UsedQPS", "Redis_Basic_Monitor"], &[Point::default()], false).is_empty());
    }
}
