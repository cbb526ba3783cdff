//! Leases, as a trait: long-lived work of which there must be one at a time, such as following the stream of an instance, holds
//! one beside whatever jobs run.

use crate::model::fault::Fault;
use async_trait::async_trait;

/// A lease as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// Who holds it: an owner's name.
    pub holder: String,
    /// Grows with every holder, so that whatever an earlier one still writes can be told from the present one's.
    pub epoch: u64,
}

/// Leases. Every method that writes is durable when it returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes a lease. `None`: somebody who lives holds it, this process included. That of a dead holder is taken over.
    async fn acquire(&self, name: &str) -> Result<Option<Lease>, Fault>;

    /// Says that the holder is still at work. `false`: the lease is another's by now, and its work must stop.
    async fn renew(&self, lease: &Lease) -> Result<bool, Fault>;

    /// Gives a lease back. Nothing happens where it is another's by now.
    async fn give_back(&self, lease: &Lease) -> Result<(), Fault>;

    /// Who holds a lease now and lives, if anybody.
    async fn holder(&self, name: &str) -> Result<Option<Lease>, Fault>;
}
