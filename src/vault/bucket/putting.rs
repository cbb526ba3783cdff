//! Puts objects into a bucket. Each is put create-only and carries a mark of its own, by which a put whose reply was lost is known again: whatever
//! a reply says, what has the name decides.
//!
//! It must never put over an object, nor believe "taken" or "failed" without a look. OSS passes over the condition wherever versions are kept, or were
//! (<https://www.alibabacloud.com/help/en/oss/developer-reference/putobject>, `x-oss-forbid-overwrite`): there a put that was taken counts if it came first.

use crate::config::vault::Service;
use crate::model::ids::{hex, random};
use crate::vault::bucket::again::FIRST_PAUSE;
use crate::vault::bucket::client::{Client, Found, MARK};
use crate::vault::bucket::failure::said;
use crate::vault::bucket::versions::NO_VERSION;
use crate::vault::lacking::out_of_reach;
use crate::vault::store::SecondPut;
use opendal::{Buffer, ErrorKind, Writer};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// How often a put is tried again that met another at the same moment.
const CONFLICTS: u32 = 5;
/// Parts of an upload on their way at once.
const AT_ONCE: usize = 2;

impl Client {
    /// Puts a small object under a name that nobody has.
    ///
    /// # Errors
    /// `AlreadyExists` where another has the name; after any other the object may be there.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let (mark, bytes) = (new_mark()?, Buffer::from(bytes));
        let mut again = 0;
        loop {
            let operator = self.operator().await?;
            let put = operator.write_with(name, bytes.clone()).if_not_exists(true);
            let e = match put.user_metadata([(MARK.to_owned(), mark.clone())]).await {
                Ok(taken) => return self.acknowledged(name, &mark, taken.version()).await,
                Err(e) => e,
            };
            match self.outcome(name, &mark, &e).await {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && again < CONFLICTS => {
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(again)).await;
                    again += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// What a put that was taken has come to. A bucket of OSS says which version it made where it passes over the condition: whose is the first has the
    /// name, as for whoever reads. Ours is deleted again where it is not, so that others see what was there. A crash before that leaves it over the
    /// first, which is told as any other that somebody has put there.
    async fn acknowledged(&self, name: &str, mark: &str, version: Option<&str>) -> io::Result<()> {
        let Some(version) = version.filter(|_| self.place().service == Service::Oss) else { return Ok(()) };
        let keeps = version != NO_VERSION;
        *self.second_put.lock().unwrap_or_else(PoisonError::into_inner) =
            if keeps { SecondPut::Beside } else { SecondPut::Over };
        self.flat.store(false, Ordering::Relaxed);
        // Who deleted it meanwhile did so after it was there.
        let Some(first) = self.look(name).await? else { return Ok(()) };
        if first.version.as_deref() == Some(version) {
            return Ok(());
        }
        // Without a version of its own it may be another's by now.
        if keeps && let Err(e) = self.delete_one(name, Some(version)).await {
            tracing::info!("{}/{name}: a version that came second stays over the first: {e}", self.place());
        }
        self.delete_later(name, mark, &first).await;
        // The first may be ours too, of an attempt whose reply was lost.
        if first.mark.as_deref() == Some(mark) { Ok(()) } else { Err(taken()) }
    }

    /// What a put that failed has come to: `Ok` where the object is there all the same, for only its reply was lost.
    async fn outcome(&self, name: &str, mark: &str, answered: &opendal::Error) -> io::Result<()> {
        let refused =
            matches!(answered.kind(), ErrorKind::ConditionNotMatch | ErrorKind::Conflict | ErrorKind::AlreadyExists);
        let found = self.look(name).await;
        if let Ok(Some(first)) = &found {
            self.delete_later(name, mark, first).await;
        }
        match found {
            Ok(Some(found)) if found.mark.as_deref() == Some(mark) => Ok(()),
            Ok(Some(_)) => Err(taken()),
            Ok(None) if refused => {
                let why = "somebody else was at this name at the same moment, and nothing has it";
                Err(out_of_reach(io::ErrorKind::ResourceBusy, why))
            }
            // Nothing has the name, or nobody says what has.
            Ok(None) | Err(_) => Err(said(answered)),
        }
    }

    /// Deletes what of this put lies over the first of its name: each attempt whose reply was lost may have made a version, where OSS passes over the
    /// condition. One that comes later still stays, and nobody is told of it where it lies over its own like.
    async fn delete_later(&self, name: &str, mark: &str, first: &Found) {
        // Without a version of its own it may be another's by now, and nothing else lies there.
        let keeps = first.version.is_some() && self.place().service == Service::Oss;
        if keeps && let Err(e) = self.delete_attempts(name, mark).await {
            tracing::info!("{}/{name}: what may have come twice stays over the first: {e}", self.place());
        }
    }

    async fn delete_attempts(&self, name: &str, mark: &str) -> io::Result<()> {
        for version in self.later(name).await?.into_iter().filter(|version| version != NO_VERSION) {
            let found = self.stat(name, Some(version.clone())).await?;
            if found.is_some_and(|found| found.mark.as_deref() == Some(mark)) {
                self.delete_one(name, Some(&version)).await?;
            }
        }
        Ok(())
    }

    /// Begins an object that goes up in parts. Nothing has the name before it is complete.
    pub async fn begin(&self, name: &str) -> io::Result<Parts> {
        let mark = new_mark()?;
        let operator = self.operator().await?;
        let writer = operator.writer_with(name).if_not_exists(true).concurrent(AT_ONCE);
        let writer = writer.user_metadata([(MARK.to_owned(), mark.clone())]).await.map_err(|e| said(&e))?;
        Ok(Parts { writer, name: name.to_owned(), mark })
    }
}

/// An object that goes up in parts. Whoever does not close it aborts it: what is left of it is seen by nobody and paid for.
pub(super) struct Parts {
    writer: Writer,
    name: String,
    mark: String,
}

impl Parts {
    /// Sends a part, of 5 MiB at least but for the last. Returns when another can be taken.
    pub async fn part(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.writer.write(bytes).await.map_err(|e| said(&e))
    }

    /// Completes the object.
    ///
    /// # Errors
    /// As [`Client::put`]; the parts are gone then.
    pub async fn close(&mut self, client: &Client) -> io::Result<()> {
        let e = match self.writer.close().await {
            Ok(taken) => return client.acknowledged(&self.name, &self.mark, taken.version()).await,
            Err(e) => e,
        };
        let outcome = client.outcome(&self.name, &self.mark, &e).await;
        if outcome.is_err() {
            self.abort().await;
        }
        outcome
    }

    /// Gives the object up.
    pub async fn abort(&mut self) {
        if let Err(e) = self.writer.abort().await {
            // The bucket's own rule for unfinished uploads takes it.
            tracing::warn!("an upload of {} could not be aborted: {}", self.name, said(&e));
        }
    }
}

fn taken() -> io::Error {
    out_of_reach(io::ErrorKind::AlreadyExists, "another object has this name; it is as it was")
}

fn new_mark() -> io::Result<String> {
    random::<16>().map(|bytes| hex(&bytes)).map_err(io::Error::other)
}
