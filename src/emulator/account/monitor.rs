//! The monitor: the local servers' counters, sampled on the cloud's grid of five seconds.
//!
//! Rates are computed from the server's own counters; reading them does not count. A restore can include a restart of the
//! server, whose counters then begin again: that interval is reported as no traffic.

use crate::config::SANDBOX;
use crate::emulator::account::Account;
use crate::model::fault::Fault;
use crate::provider::Provider;
use crate::provider::traffic::Counters;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Seconds between two points of the grid.
pub const STEP: i64 = 5;
/// Points kept of each instance: an hour of them.
const KEPT: usize = 720;
/// The shortest interval for which a rate is computed.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The figures of one slot of the grid.
#[derive(Debug, Clone, Copy, Default)]
pub struct Point {
    /// Writes per second.
    pub put: f64,
    /// Reads per second.
    pub get: f64,
    /// Number of keys.
    pub keys: f64,
    /// Number of keys that carry an expiry.
    pub expires: f64,
    /// Bytes of memory used.
    pub memory: f64,
}

/// The points of one instance.
#[derive(Debug, Default)]
pub struct Meter {
    /// The counters that the next rate is computed from.
    base: Option<Counters>,
    /// Points by the second at which their slot of the grid begins.
    points: BTreeMap<i64, Point>,
}

/// The meters of all instances.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Meter>>>>);

#[expect(clippy::cast_precision_loss, reason = "figures of a monitor")]
fn point(base: &Counters, now: &Counters) -> Point {
    let (put, get) = now.rates_since(base).unwrap_or_default();
    Point { put, get, keys: now.keys as f64, expires: now.expires as f64, memory: now.used_memory as f64 }
}

impl Monitor {
    /// The meter of an instance.
    pub fn meter(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<Meter>> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(instance_id.to_owned()).or_default())
    }

    fn is_watched(&self, instance_id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(instance_id)
    }
}

impl Meter {
    /// Whether there is no point yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The points of slots that begin in a range of seconds.
    pub fn points(&self, slots: std::ops::RangeInclusive<i64>) -> impl Iterator<Item = (i64, Point)> {
        self.points.range(slots).map(|(slot, point)| (*slot, *point))
    }

    /// Reads the counters. A tick moves the base; a sample in between does not, so that the next tick covers all of its five
    /// seconds.
    ///
    /// # Errors
    /// Those of the instance.
    pub async fn sample(&mut self, provider: &dyn Provider, instance_id: &str, tick: bool) -> Result<(), Fault> {
        let now = provider.counters(instance_id).await?;
        let slot = Timestamp::now().as_second().div_euclid(STEP) * STEP;
        if let Some(base) = self.base.as_ref().filter(|base| now.read_at.duration_since(base.read_at) >= SHORTEST) {
            let mut new = point(base, &now);
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

/// Samples all instances for as long as the process lives. The sandbox is not started just to be sampled.
pub async fn watch(account: Arc<Account>) {
    loop {
        let now = Timestamp::now().as_millisecond();
        let left = STEP * 1000 - now.rem_euclid(STEP * 1000);
        tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(1))).await;
        for instance in account.instances() {
            if instance.id == SANDBOX && !account.monitor.is_watched(&instance.id) {
                continue;
            }
            let meter = account.monitor.meter(&instance.id);
            if let Err(fault) = meter.lock().await.sample(account.app.provider.as_ref(), &instance.id, true).await {
                tracing::debug!(instance_id = %instance.id, "not sampled: {fault}");
            }
        }
    }
}
