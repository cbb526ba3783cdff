//! Progress notifications, where the caller gave a token for them.

use crate::tools::Progress;
use async_trait::async_trait;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext, RoleServer};
use std::sync::atomic::{AtomicU64, Ordering};

/// Sends progress for one call.
pub struct McpProgress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    /// Number of reports sent. The protocol wants progress to increase each time, and work may pause, so the reports are counted,
    /// and only the message has bytes.
    reports: AtomicU64,
}

impl McpProgress {
    /// The reporter for the call of a request.
    #[must_use]
    pub fn new(cx: &RequestContext<RoleServer>) -> Self {
        Self { peer: cx.peer.clone(), token: cx.meta.get_progress_token(), reports: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Progress for McpProgress {
    async fn report(&self, done: u64, total: u64, message: &str) {
        let Some(token) = &self.token else { return };
        let n = self.reports.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = crate::model::text::bytes;
        let message = match (done, total) {
            (0, _) => message.to_owned(),
            (done, 0) => format!("{message} ({})", bytes(done)),
            (done, total) => format!("{message} ({} of {})", bytes(done), bytes(total)),
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of reports")]
        let notification = ProgressNotificationParam::new(token.clone(), n as f64).with_message(message);
        // A client that does not listen misses only the display of progress.
        let _ = self.peer.notify_progress(notification).await;
    }
}
