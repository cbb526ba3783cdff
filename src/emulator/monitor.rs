//! Monitoring: what the local servers really do, sampled on the cloud's grid of five seconds.
//!
//! As in the cloud only values other than zero are told. Rates are of the server's own counters; reading them is not
//! counted. A restore can cross a restart of the server, whose counters then begin again: that stretch is left out.

use crate::emulator::answer::Refused;
use crate::emulator::call::Call;
use crate::emulator::world::World;
use crate::model::fault::Fault;
use crate::model::time::written;
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, write_calls};
use crate::redis::resp::Value;
use crate::tair::wire::Action as _;
use crate::tair::wire::monitor::{DescribeHistoryMonitorValues, History, MonitorValues};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The grid.
const STEP: i64 = 5;
/// Points kept: an hour of them.
const KEPT: usize = 720;
const PATIENCE: Duration = Duration::from_secs(3);
/// The shortest stretch that a rate is told of.
const LEAST: Duration = Duration::from_secs(1);

/// Counters of a server.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Instant,
    writes: u64,
    reads: u64,
    keys: u64,
    expires: u64,
    memory: u64,
    run: u64,
}

/// What was measured for one moment of the grid.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    put: f64,
    get: f64,
    keys: f64,
    expires: f64,
    memory: f64,
}

/// One instance's points, and the connection they are read through.
#[derive(Debug, Default)]
struct Meter {
    conn: Option<Conn>,
    base: Option<Counters>,
    points: BTreeMap<i64, Point>,
}

/// All meters.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Meter>>>>);

async fn read(conn: &mut Conn) -> Result<Counters, Fault> {
    let facts = ServerFacts::read(conn).await?;
    let writes = write_calls(conn).await?;
    let stats = conn.cmd_str(&["INFO", "stats"]).await.map_err(Fault::from)?;
    let Value::Bulk(bytes) = stats else {
        return Err(Fault::new(crate::model::fault::Kind::Provider, "instance.odd", "INFO gave no text"));
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let count = |name: &str| -> u64 {
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok()).unwrap_or(0)
    };
    Ok(Counters {
        at: Instant::now(),
        writes,
        // Lookups by reading commands, found or not.
        reads: count("keyspace_hits") + count("keyspace_misses"),
        keys: facts.key_count(),
        expires: facts.keyspace.values().map(|k| k.expires).sum(),
        memory: facts.used_memory,
        run: facts.run_id.bytes().fold(0, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(b))),
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures of a monitor")]
fn point(base: &Counters, now: &Counters) -> Point {
    let seconds = now.at.duration_since(base.at).as_secs_f64().max(0.001);
    let same = base.run == now.run;
    let rate = |from: u64, to: u64| if same { to.saturating_sub(from) as f64 / seconds } else { 0.0 };
    Point {
        put: rate(base.writes, now.writes),
        get: rate(base.reads, now.reads),
        keys: now.keys as f64,
        expires: now.expires as f64,
        memory: now.memory as f64,
    }
}

impl Monitor {
    fn meter(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<Meter>> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(instance_id.to_owned()).or_default())
    }

    fn is_watched(&self, instance_id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(instance_id)
    }
}

impl Meter {
    /// Reads the counters. A tick moves the base; a look in between does not, so that the next tick covers all of its
    /// five seconds.
    async fn sample(&mut self, world: &World, instance_id: &str, tick: bool) -> Result<(), Fault> {
        let mut conn = match self.conn.take().filter(|c| !c.is_broken()) {
            Some(conn) => conn,
            None => Conn::open(&world.endpoint(instance_id).await?, PATIENCE).await?,
        };
        let now = read(&mut conn).await?;
        self.conn = Some(conn);
        let slot = Timestamp::now().as_second().div_euclid(STEP) * STEP;
        if let Some(base) = self.base.filter(|base| now.at.duration_since(base.at) >= LEAST) {
            let mut new = point(&base, &now);
            if let Some(old) = self.points.get(&slot) {
                new.put = new.put.max(old.put);
                new.get = new.get.max(old.get);
            }
            self.points.insert(slot, new);
        }
        if tick || self.base.is_none() {
            self.base = Some(now);
        }
        while self.points.len() > KEPT {
            self.points.pop_first();
        }
        Ok(())
    }
}

/// Samples all instances for as long as the process lives. The sandbox is left asleep until somebody asks for it.
pub async fn watch(world: Arc<World>) {
    loop {
        let now = Timestamp::now().as_millisecond();
        let left = STEP * 1000 - now.rem_euclid(STEP * 1000);
        tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(1))).await;
        for instance in world.instances() {
            if instance.id == crate::config::SANDBOX && !world.monitor.is_watched(&instance.id) {
                continue;
            }
            let meter = world.monitor.meter(&instance.id);
            if let Err(fault) = meter.lock().await.sample(&world, &instance.id, true).await {
                tracing::debug!(instance_id = %instance.id, "not sampled: {fault}");
            }
        }
    }
}

/// `DescribeHistoryMonitorValues`.
///
/// # Errors
/// `InvalidStartTime.Malformed`, `InvalidEndTime.Malformed`, `InvalidParameter` for the interval.
pub async fn history(call: &Call<'_>) -> Result<MonitorValues, Refused> {
    let asked = DescribeHistoryMonitorValues::from_params(call.params)?;
    let instance = call.world.instance(&asked.instance_id)?;
    let (from, to) = (asked.start_time.0, asked.end_time.0);
    let span = to.duration_since(from);
    if span <= SignedDuration::ZERO || span > SignedDuration::from_hours(7 * 24) {
        return Err(Refused::new("InvalidEndTime.Malformed"));
    }
    if Timestamp::now().duration_since(from) > SignedDuration::from_hours(31 * 24) {
        return Err(Refused::new("InvalidStartTime.Malformed"));
    }
    if !["01m", "05m", "15m", "60m"].contains(&asked.interval_for_history.as_str()) {
        return Err(Refused::malformed("IntervalForHistory"));
    }
    let meter = call.world.monitor.meter(&instance.id);
    let mut meter = meter.lock().await;
    // Without an earlier look there is no rate, and "nothing" would read as "no writes".
    if meter.base.is_none() && meter.sample(call.world, &instance.id, true).await.is_ok() {
        tokio::time::sleep(LEAST).await;
    }
    if let Err(fault) = meter.sample(call.world, &instance.id, false).await {
        tracing::debug!(instance_id = %instance.id, "not sampled: {fault}");
    }
    let keys = asked.monitor_keys.as_deref().filter(|k| !k.is_empty()).unwrap_or("UsedMemory,quotaMemory");
    let keys: Vec<&str> = keys.split(',').map(str::trim).collect();
    // Up to ten minutes the grid is five seconds, above it a minute.
    let step = if span <= SignedDuration::from_mins(10) { STEP } else { 60 };
    let mut grid: BTreeMap<i64, Vec<Point>> = BTreeMap::new();
    let first = from.as_second().div_euclid(step) * step;
    for (slot, point) in meter.points.range(first..=to.as_second()) {
        grid.entry(slot.div_euclid(step) * step).or_default().push(*point);
    }
    let mut history = History::new();
    for (slot, points) in grid {
        let values = values(&keys, &points, instance.is_cluster());
        if let (false, Ok(at)) = (values.is_empty(), Timestamp::from_second(slot)) {
            history.insert(written(at), values);
        }
    }
    Ok(MonitorValues { request_id: String::new(), monitor_history: history })
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
    fn zeros_are_not_told() {
        let points = [Point { put: 2.0, ..Point::default() }, Point::default()];
        let told = values(&["UsedQPS"], &points, false);
        assert_eq!(told, BTreeMap::from([("PutQps".to_owned(), 1.0), ("TotalQps".to_owned(), 1.0)]));
        assert!(values(&["UsedQPS"], &points, true).is_empty());
        assert_eq!(values(&["UsedQPS$db"], &points, true), told);
        assert!(values(&["UsedQPS", "Redis_Basic_Monitor"], &[Point::default()], false).is_empty());
    }
}
