//! Leases, as a trait: long-lived work that only one process may do at a time, such as following the stream of an instance,
//! holds a lease while it runs, independent of jobs.

use crate::model::fault::Fault;
use async_trait::async_trait;
use std::sync::Arc;

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name of the lease: what only one process may do.
    pub name: String,
    /// The owner's name of the process that holds the lease.
    pub holder: String,
    /// Grows with every holder, so that late writes of an earlier holder can be told from those of the present one.
    pub epoch: u64,
}

/// A lease that is given back when whoever holds it is done, however that is: also where a bug ends the work.
#[must_use = "the lease is given back when this is dropped"]
pub struct Held {
    leases: Arc<dyn Leases>,
    lease: Lease,
    given_back: bool,
}

impl Held {
    /// Takes a lease. `None`: a living process holds it, this one included.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn acquire(leases: Arc<dyn Leases>, name: &str) -> Result<Option<Self>, Fault> {
        let lease = leases.acquire(name).await?;
        Ok(lease.map(|lease| Self { leases, lease, given_back: false }))
    }

    /// Does what only one process may do at a time, under the lease of that name, and gives it back. `None`: another is at it.
    ///
    /// # Errors
    /// `state.failed`; those of the work.
    pub async fn alone<T>(
        leases: Arc<dyn Leases>,
        name: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<Option<T>, Fault> {
        let Some(lease) = Self::acquire(leases, name).await? else { return Ok(None) };
        let done = work.await;
        lease.give_back().await;
        done.map(Some)
    }

    /// Gives the lease back. What fails at that is logged: the work under it is done.
    pub async fn give_back(mut self) {
        self.given_back = true;
        give_back(self.leases.as_ref(), &self.lease).await;
    }

    /// What is held.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }
}

async fn give_back(leases: &dyn Leases, lease: &Lease) {
    if let Err(fault) = leases.give_back(lease).await {
        tracing::error!(lease = %lease.name, "a lease could not be given back: {fault}");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Without a runtime the process ends, and its leases with it.
        if !self.given_back
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (leases, lease) = (Arc::clone(&self.leases), self.lease.clone());
            runtime.spawn(async move { give_back(leases.as_ref(), &lease).await });
        }
    }
}

/// Leases. Every method that writes is durable when it returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes a lease. `None`: a living process holds it, this one included. The lease of a dead holder is taken over, and one that this
    /// process could not give back.
    async fn acquire(&self, name: &str) -> Result<Option<Lease>, Fault>;

    /// Renews a lease for its holder. `false`: another process holds it by now, and the work must stop.
    async fn renew(&self, lease: &Lease) -> Result<bool, Fault>;

    /// Gives a lease back. Nothing happens where it is another's by now. Where that fails it is this process's to take again.
    async fn give_back(&self, lease: &Lease) -> Result<(), Fault>;

    /// The lease as a living process holds it now, if any does.
    async fn holder(&self, name: &str) -> Result<Option<Lease>, Fault>;
}
