//! What the cloud has measured of an instance: writes a second, and how many keys the instance holds. Both lag by up to two minutes,
//! and what is zero is left out. Figures that are missing, unreadable or old say nothing, and never zero; nor do those with a hole.

use crate::guard::facts::restore::{CountedKeys, MeasuredWrites};
use crate::provider::tair::architecture::Shape;
use crate::tair::client::Client;
use crate::tair::error::TairError;
use crate::tair::wire::monitor::{DescribeHistoryMonitorValues, History};
use crate::tair::wire::{Second, moment};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Looked back over: longer than the lag.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// By which the cloud's figures may be late: what was written so shortly before a look may be missing.
const LAG: SignedDuration = SignedDuration::from_mins(2);
/// Points come so far apart at most: every five seconds where ten minutes are asked for, else every minute.
const GRID: SignedDuration = SignedDuration::from_mins(1);

/// The name a metric group has on an architecture.
fn group(name: &str, shape: Shape) -> String {
    // Of several nodes the plain name is one node's; `$db` is the sum of the data nodes.
    if shape == Shape::Standard { name.to_owned() } else { format!("{name}$db") }
}

/// The highest value of a metric at any moment, under whichever spelling it comes.
#[must_use]
pub fn peak(history: &History, metric: &str) -> f64 {
    values(history, metric).map(|(_, value)| value).fold(0.0, f64::max)
}

fn values<'a>(history: &'a History, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    history.iter().flat_map(move |(at, metrics)| {
        let named = metrics.iter().filter(move |(name, _)| {
            let plain = name.split('$').next().unwrap_or_default();
            plain.eq_ignore_ascii_case(metric)
        });
        named.map(move |(_, value)| (at.as_str(), *value))
    })
}

/// A metric that is never zero: a point without it was not measured, and one with it has zeros where it has nothing else.
const NEVER_ZERO: &str = "usedmemory";
/// How the metrics of a rate end.
const RATE: &str = "qps";

/// Whether a point was measured: it has what is never zero, or a rate of its own.
fn is_point(metrics: &BTreeMap<String, f64>) -> bool {
    metrics.keys().any(|name| {
        let plain = name.split('$').next().unwrap_or_default().to_ascii_lowercase();
        plain == NEVER_ZERO || plain.ends_with(RATE)
    })
}

/// When the points were measured, in order; `None` where there is one without a readable time.
fn moments(history: &History) -> Option<Vec<Timestamp>> {
    let points = history.iter().filter(|(_, metrics)| is_point(metrics));
    let mut moments: Vec<Timestamp> = points.map(|(at, _)| moment(Some(at))).collect::<Option<_>>()?;
    moments.sort_unstable();
    Some(moments)
}

/// `None`: what the cloud sent are no figures.
async fn ask(
    client: &Client,
    instance_id: &str,
    keys: String,
    (from, now): (Timestamp, Timestamp),
) -> Result<Option<History>, TairError> {
    let request = DescribeHistoryMonitorValues {
        instance_id: instance_id.into(),
        start_time: Second(from),
        end_time: Second(now),
        interval_for_history: "01m".into(),
        monitor_keys: Some(keys),
        node_id: None,
    };
    match client.call(&request).await {
        Ok(reply) => Ok(reply.monitor_history),
        // What may pass is worth another call; whom the cloud shows no figures is told so.
        Err(e @ (TairError::Cloud(_) | TairError::BadReply { .. })) if !e.is_cloud(|_| e.may_pass()) => {
            tracing::warn!("the cloud shows no figures: {e}");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// From when writes are looked for: over the last minutes, and over all the time since an earlier look, with what that one
/// could not see yet.
#[must_use]
pub fn looked_from(earlier: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let least = now.saturating_sub(WINDOW).unwrap_or(now);
    earlier.map_or(least, |at| at.saturating_sub(LAG).unwrap_or(at).min(least))
}

/// Writes a second since a moment.
///
/// # Errors
/// Any [`TairError`].
pub async fn writes(
    client: &Client,
    instance_id: &str,
    shape: Shape,
    from: Timestamp,
) -> Result<MeasuredWrites, TairError> {
    let now = client.now();
    let metrics = format!("{},UsedMemory", group("UsedQPS", shape));
    Ok(measured(ask(client, instance_id, metrics, (from, now)).await?.as_ref(), from, now))
}

/// What figures of a time say of writes: nothing where they do not reach over all of it.
#[must_use]
pub fn measured(history: Option<&History>, from: Timestamp, now: Timestamp) -> MeasuredWrites {
    let moments = history.and_then(moments).unwrap_or_default();
    let delay = moments.last().map(|at| now.duration_since(*at).max(SignedDuration::ZERO));
    let starts = std::iter::once(&from).chain(&moments);
    let is_whole = starts.zip(&moments).all(|(start, end)| end.duration_since(*start) <= GRID + LAG);
    // A hole at the end is one like any other.
    let is_fresh = delay.is_some_and(|delay| delay <= GRID + LAG);
    MeasuredWrites {
        peak: history.filter(|_| is_whole && is_fresh).map(|history| peak(history, "PutQps")),
        window_seconds: now.duration_since(from).as_secs_f64(),
        delay_seconds: delay.unwrap_or_default().as_secs_f64(),
    }
}

/// The latest key count in what was measured. A point with other values and no keys is a zero.
#[must_use]
pub fn counted(history: &History) -> Option<CountedKeys> {
    let (at, _) = history.last_key_value()?;
    let of_latest = values(history, "Keys").filter(|(when, _)| when == at).map(|(_, keys)| keys).next();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, never negative")]
    let keys = of_latest.unwrap_or(0.0).max(0.0) as u64;
    Some(CountedKeys { keys, at: moment(Some(at)) })
}

/// How many keys an instance holds. `None`: the cloud sent nothing at all, and so does not even say zero.
///
/// # Errors
/// Any [`TairError`].
pub async fn keys(client: &Client, instance_id: &str, shape: Shape) -> Result<Option<CountedKeys>, TairError> {
    let now = client.now();
    let range = (looked_from(None, now), now);
    let history = ask(client, instance_id, group("Redis_Basic_Monitor", shape), range).await?;
    Ok(history.as_ref().and_then(counted))
}
