//! The heads of logs are remembered in the state store, behind the vault: a segment is there for good before anybody remembers it, so that a crash, or a
//! state store that is away, leaves an older head and never a false one.
//!
//! It must hold up neither what comes to the spool nor what goes from there to the vault: it follows them.

use crate::model::fault::Fault;
use crate::model::log::LogHead;
use crate::state::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a process that is to end waits for the state store.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// Remembers each newest segment of a timeline, until nobody brings any to the vault. Where the state store is slow, those between are passed over.
pub(super) async fn remember(state: Arc<dyn State>, mut heads: watch::Receiver<Option<LogHead>>) {
    while heads.changed().await.is_ok() {
        let head = heads.borrow_and_update().clone();
        if let Some(head) = head {
            remember_one(&*state, &head).await;
        }
    }
}

/// Waits until the last segment of a timeline that ends here is remembered, for the task that follows it may be cut off with the process. It is not
/// remembered a second time: a person may have had it forgotten since.
pub(super) async fn last_remembered(following: JoinHandle<()>) {
    // What comes of it is said there, and the log goes on without it.
    let _ = tokio::time::timeout(ENDS_WITHIN, following).await;
}

/// Remembers segments of timelines that have ended.
pub(super) async fn remember_all(state: &dyn State, heads: &[LogHead]) {
    for head in heads {
        remember_one(state, head).await;
    }
}

async fn remember_one(state: &dyn State, head: &LogHead) {
    let done: Result<(), Fault> = state.set_head(head).await;
    if let Err(fault) = done {
        tracing::warn!(instance = %head.instance_id, "up to where the log is on the vault could not be written down: {fault}");
    }
}
