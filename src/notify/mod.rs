//! Who is told of what failed, and of what has not succeeded for too long: a webhook, a program, a monitor that is to notice when nobody comes.
//!
//! It follows the state store and nobody calls it: it must not change what a job comes to, keep anything waiting, or say an address in a log. Of
//! several processes one tells; each event is told once, for what was noticed is written down before it is told. That the state store itself is
//! away can be written down nowhere: each process tells that by itself.

mod away;
pub mod event;
mod follow;
mod lane;
mod look;
mod ways;

use crate::config::notify::{NotifyConfig, PING};
use crate::model::fault::Fault;
use crate::provider::Provider;
use crate::state::State;
use crate::state::leases::{Held, Lease};
use crate::state::notified::Noticed;
use event::Notification;
use futures::future::join_all;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ways::{Client, Way};

/// The lease of whoever tells.
const LEASE: &str = "notifier";
/// How often it is asked whether somebody else tells, and by whoever tells whether that is still so.
const LEASE_EVERY: Duration = Duration::from_secs(5);

/// What the work needs.
#[derive(Clone)]
pub struct Notifier {
    /// Who tells of logs and policies.
    pub provider: Arc<dyn Provider>,
    /// Where jobs are, and what was told.
    pub state: Arc<dyn State>,
    /// Who is told.
    pub config: NotifyConfig,
    /// The instances that may have a policy or a log.
    pub instances: Vec<String>,
    /// Cancelled when the process is asked to end.
    pub stop: CancellationToken,
}

/// One turn of a notifier: while it holds the lease.
struct Turn<'a> {
    of: &'a Notifier,
    ways: Vec<Way>,
    /// Wakes those who tell.
    noticed: watch::Sender<u64>,
}

impl Notifier {
    /// Tells what is to be told until the process is asked to end, while no other process does.
    pub async fn run(self) {
        let ways = Way::of(&self.config);
        let client = match Client::new().await {
            Ok(client) => client,
            Err(fault) => {
                tracing::error!("nobody is told of what fails: {fault}");
                return;
            }
        };
        tokio::join!(self.take_turns(&client, &ways), self.watch_state(&client, &ways));
    }

    /// Tells what was written down, while no other process does, until the process is asked to end.
    async fn take_turns(&self, client: &Client, ways: &[Way]) {
        let mut failing = false;
        while !self.stop.is_cancelled() {
            match self.turn(client, ways).await {
                Ok(()) => failing = false,
                Err(fault) if failing => tracing::debug!("nobody is told of what fails: {fault}"),
                Err(fault) => {
                    tracing::warn!("nobody is told of what fails while the state store fails: {fault}");
                    failing = true;
                }
            }
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(LEASE_EVERY)).await;
        }
    }

    /// Takes the lease and tells, for as long as it is held; nothing where another process holds it.
    async fn turn(&self, client: &Client, ways: &[Way]) -> Result<(), Fault> {
        let Some(held) = Held::acquire(self.state.clone(), LEASE).await? else { return Ok(()) };
        let done = self.tell(client, ways, held.lease()).await;
        held.give_back().await;
        done
    }

    async fn tell(&self, client: &Client, ways: &[Way], lease: &Lease) -> Result<(), Fault> {
        self.state.notified_since(Timestamp::now()).await?;
        for way in ways {
            // What a process died at may have been told: it is not told again.
            self.state.give_up(way.name(), "the process that told it has ended").await?;
        }
        let turn = Turn { of: self, ways: ways.to_vec(), noticed: watch::Sender::new(0) };
        let lanes = turn.ways.iter().map(|way| turn.lane(way, client));
        tokio::select! {
            // They end when the process is asked to, with what they are at.
            _ = join_all(lanes) => Ok(()),
            () = turn.follow() => Ok(()),
            () = turn.look() => Ok(()),
            lost = self.lost(lease) => lost,
        }
    }

    /// Waits until the lease is another's.
    async fn lost(&self, lease: &Lease) -> Result<(), Fault> {
        while self.state.renew(lease).await? {
            tokio::time::sleep(LEASE_EVERY).await;
        }
        Ok(())
    }
}

impl Turn<'_> {
    fn state(&self) -> &dyn State {
        &*self.of.state
    }

    /// Since when somebody is told. The clock by which that was written down may have been ahead: it is asked anew each time.
    async fn since(&self) -> Result<Timestamp, Fault> {
        self.state().notified_since(Timestamp::now()).await
    }

    /// Whether a success is told, too.
    fn pings(&self) -> bool {
        self.ways.iter().any(|way| way.name() == PING)
    }

    /// Has told what was noticed, unless it was before; a success where somebody waits for one, and nothing is missing.
    async fn notice(&self, what: Noticed<'_>, told: Option<&Notification>) -> Result<bool, Fault> {
        let mut ways: Vec<&str> = self.ways.iter().map(Way::name).collect();
        match told {
            None => ways.clear(),
            Some(told) => {
                // While something is missing of one instance the monitor hears of no success of another, or it would notice nothing.
                let own = usize::from(matches!(what, Noticed::Off(_)));
                let quiet = !told.event.is_failure() && self.state().alarms().await?.len() > own;
                ways.retain(|way| if *way == PING { !quiet } else { !told.event.is_success() });
            }
        }
        let body = told.map(Notification::body).unwrap_or_default();
        let new = self.state().notice(what, &body, &ways).await?;
        if new {
            self.noticed.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(new)
    }
}
