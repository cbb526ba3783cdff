//! Whether the owner of a job or lease still lives: asked behind a trait, because the answer depends on what processes share.

use crate::model::fault::Fault;
use async_trait::async_trait;

/// Owner of what waits to be adopted. No process has this name.
pub const NOBODY: &str = "nobody";

/// Tells the living from the dead.
#[async_trait]
pub trait Liveness: Send + Sync {
    /// The name of this process as an owner. It is registered when first asked for, and lives until it is dropped or dies.
    ///
    /// # Errors
    /// `home.failed`, `state.failed`.
    async fn me(&self) -> Result<String, Fault>;

    /// Whether the owner of that name still lives. One that was never registered does not.
    ///
    /// # Errors
    /// `home.failed`, `state.failed`: nothing is known then, and nothing may be taken from that owner.
    async fn lives(&self, owner: &str) -> Result<bool, Fault>;
}
