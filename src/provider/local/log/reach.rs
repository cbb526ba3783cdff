//! Waiting for a log to reach a moment that has just passed.
//!
//! A log is only as far as what came from its source tells, and one on which nothing is written says something every ten seconds at most:
//! so it is had to say something. It must not write to the source.

use crate::model::fault::Fault;
use crate::model::log::LogStatus;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(150);

impl Inner {
    /// What is told of a log once it has reached a moment, or when the time for that is over; of one that is off at once.
    ///
    /// # Errors
    /// As [`Self::log_status`].
    pub(in crate::provider::local) async fn log_reaching(
        &self,
        id: &str,
        moment: Timestamp,
        within: Duration,
    ) -> Result<Option<LogStatus>, Fault> {
        let until = Instant::now() + within;
        let mut source = None;
        loop {
            let status = self.log_status(id).await?;
            let waits = status.as_ref().is_some_and(|log| log.on && log.archived_until.is_none_or(|at| at < moment));
            if !waits || Instant::now() >= until {
                return Ok(status);
            }
            match tokio::time::timeout_at(until, self.have_it_say_something(id, &mut source)).await {
                Ok(Ok(())) => {}
                // It does so by itself, only later.
                Ok(Err(fault)) => {
                    source = None;
                    tracing::debug!(instance = %id, "the source of the log was not had to say something: {fault}");
                }
                Err(_) => source = None,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Has a source send its replicas a word: it asks them how far they are when a client waits for more of them than there are.
    async fn have_it_say_something(&self, id: &str, source: &mut Option<Conn>) -> Result<(), Fault> {
        let conn = match source {
            Some(conn) => conn,
            None => source.insert(Conn::open(&self.endpoint(id).await?, COMMAND_TIMEOUT).await?),
        };
        conn.cmd_str(&["WAIT", "1000000", "1"]).await?;
        Ok(())
    }
}
