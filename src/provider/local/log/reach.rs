//! Waiting for a log to reach a moment that has just passed.
//!
//! A log is only as far as what came from its source tells, and one on which nothing is written says something every ten seconds at most:
//! so it is had to say something. It must not write to the source.

use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::log::{LogStatus, Position};
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

    /// The position of an offset in an instance's log once all is received that was written up to there behind another offset of that
    /// history: it is on the vault, or on this machine's disk on its way there.
    ///
    /// # Errors
    /// Why it is not had from the log, as part of a sentence.
    pub(in crate::provider::local) async fn log_has(
        &self,
        id: &str,
        (replid, from): (&str, u64),
        to: u64,
        within: Duration,
    ) -> Result<Position, &'static str> {
        if !matches!(self.log_is_on(id).await, Ok(true)) {
            return Err("and the instance has no log that is on");
        }
        let until = Instant::now() + within;
        let mut source = None;
        loop {
            let (archive, instance, replid) = (self.archive.clone(), id.to_owned(), replid.to_owned());
            match blocking(move || archive.received(&instance, SHARD, &replid, from, to)).await {
                Ok(Some(position)) => return Ok(position),
                Ok(None) if Instant::now() < until => {}
                Ok(None) => return Err("and the instance's log was not seen to have them"),
                Err(fault) => {
                    tracing::warn!(instance = %id, "the log could not be read: {fault}");
                    return Err("and the instance's log could not be read");
                }
            }
            let _ = tokio::time::timeout_at(until, self.have_it_say_something(id, &mut source)).await;
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
