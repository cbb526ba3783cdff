//! Whether the owner of a job or lease still lives: a trait, because the answer depends on what processes share.

use crate::model::fault::Fault;
use async_trait::async_trait;

/// Owner of a job that waits to be adopted. No process has this name.
pub const NOBODY: &str = "nobody";

/// Tells living owners from dead ones.
#[async_trait]
pub trait Liveness: Send + Sync {
    /// The name of this process as an owner. Registered at the first call, and alive until this value is dropped or the
    /// process dies.
    ///
    /// # Errors
    /// `home.failed`, `state.failed`.
    async fn me(&self) -> Result<String, Fault>;

    /// Whether the owner of that name still lives. An owner that was never registered does not.
    ///
    /// # Errors
    /// `home.failed`, `state.failed`: the answer is unknown then, and nothing may be taken from that owner.
    async fn lives(&self, owner: &str) -> Result<bool, Fault>;

    /// The names of other processes that live and have begun to work on the store.
    ///
    /// # Errors
    /// As [`Self::lives`].
    async fn others(&self) -> Result<Vec<String>, Fault>;

    /// Whether others may find this process dead by now, or soon. Asks nobody.
    fn may_be_taken_for_dead(&self) -> bool;
}
