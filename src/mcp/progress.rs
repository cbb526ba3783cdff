//! Progress notifications, where the caller gave a token for them.

use crate::model::estimate::percent;
use crate::tools::{Progress, with_bytes};
use async_trait::async_trait;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext, RoleServer};
use std::sync::{Mutex, PoisonError};

/// The whole, in per cent.
const WHOLE: f64 = 100.0;
/// Which part of what is left a report without news adds, and one of work whose total is unknown.
const STEP: f64 = 1e-4;

/// Sends progress for one call.
pub struct McpProgress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    /// What was reported last, in per cent.
    reported: Mutex<f64>,
}

impl McpProgress {
    /// The reporter for the call of a request.
    #[must_use]
    pub fn new(cx: &RequestContext<RoleServer>) -> Self {
        Self { peer: cx.peer.clone(), token: cx.meta.get_progress_token(), reported: Mutex::new(0.0) }
    }
}

/// What is reported after `last`, of work at `percent`. The protocol wants progress to increase each time, and work may pause, or begin anew
/// with a part of it: then it increases by next to nothing, and never reaches the whole.
fn after(last: f64, percent: Option<u8>) -> f64 {
    let least = last + (WHOLE - last) * STEP;
    percent.map_or(least, |percent| f64::from(percent).max(least))
}

#[async_trait]
impl Progress for McpProgress {
    async fn report(&self, done: u64, total: u64, message: &str) {
        let Some(token) = &self.token else { return };
        let percent = percent(done, total);
        let progress = {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            *reported = after(*reported, percent);
            *reported
        };
        let notification = ProgressNotificationParam::new(token.clone(), progress);
        let notification = notification.with_message(with_bytes(message, done, total));
        let notification = if percent.is_some() { notification.with_total(WHOLE) } else { notification };
        // A client that does not listen misses only the display of progress.
        let _ = self.peer.notify_progress(notification).await;
    }
}

#[cfg(test)]
mod tests {
    //! Whatever work reports, a client sees progress that increases, agrees with the per cent of the job, and is below the whole.
    use super::{WHOLE, after};

    #[test]
    fn progress_increases_and_ends_below_the_whole() {
        let reports = [None, None, Some(0), Some(42), Some(42), None, Some(7), Some(99)];
        let mut last = 0.0;
        for percent in reports.into_iter().chain([Some(99); 10_000]) {
            let next = after(last, percent);
            assert!(next > last && next < WHOLE, "{next} after {last}");
            last = next;
        }
        assert!((41.9..42.1).contains(&after(3.0, Some(42))));
        assert!(last > 99.0);
    }
}
