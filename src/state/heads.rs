//! The heads of logs, as a trait: up to where each timeline was on the vault when its newest segment had come there. A witness that whoever writes
//! to the vault does not hold: segments name the one before them, and so the newest could be taken away unseen.
//!
//! What is remembered may lie behind what the vault has, after a crash or a move of the state, and never before it.

use crate::model::fault::Fault;
use crate::model::log::LogHead;
use async_trait::async_trait;

/// Heads. What is written is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does, and with `state.damaged` on a stored value that no version writes.
#[async_trait]
pub trait Heads: Send + Sync {
    /// What is remembered of all logs, or of one instance's: by instance, the older timelines first.
    async fn heads(&self, instance_id: Option<&str>) -> Result<Vec<LogHead>, Fault>;

    /// Remembers the head of a timeline. One that lies further stays: of two processes the slower may come second.
    async fn set_head(&self, head: &LogHead) -> Result<(), Fault>;

    /// Forgets the head of a timeline.
    async fn forget_head(&self, instance_id: &str, shard: u16, timeline: &str) -> Result<(), Fault>;
}
