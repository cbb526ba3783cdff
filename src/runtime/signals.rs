//! The signals that ask a process to end. The caller who waits decides what follows.

use crate::model::fault::{Fault, Kind};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal went away). While this value lives, none of them ends the process by
/// itself.
pub struct Signals([Signal; 3]);

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// `system.signals`: what the system refused.
    pub fn new() -> Result<Self, Fault> {
        let listen = |kind| {
            signal(kind)
                .map_err(|e| Fault::new(Kind::Unexpected, "system.signals", "signals cannot be waited for").because(e))
        };
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// Waits for the next signal. May be dropped and called again.
    pub async fn asked_to_end(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
