//! Tells by one way what waits for it, one after the other: a way that hangs keeps neither another waiting, nor anything else.

use crate::model::fault::Fault;
use crate::notify::event::{Event, Notification};
use crate::notify::ways::{Client, Way};
use crate::notify::{Notifier, Turn};
use crate::state::notified::ToTell;
use jiff::Timestamp;
use std::time::Duration;

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(10);
/// What each try waits for first.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
/// How long a try may go on when the process is asked to end.
const LAST: Duration = Duration::from_secs(2);
/// Until it is tried again to write down what came of it.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked for what another process has left.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Turn<'_> {
    /// Tells until the process is asked to end.
    pub(super) async fn lane(&self, way: &Way, client: &Client) {
        let (stop, mut noticed) = (&self.of.stop, self.noticed.subscribe());
        while !stop.is_cancelled() {
            match self.state().take_to_tell(way.name()).await {
                Ok(Some(next)) => {
                    self.carry(way, client, next).await;
                    continue;
                }
                Ok(None) => {}
                Err(fault) => tracing::debug!(way = way.name(), "what is to be told is not known: {fault}"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = noticed.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells one, in three tries at most, and writes down what came of that.
    async fn carry(&self, way: &Way, client: &Client, next: ToTell) {
        let told = match &next {
            ToTell::One(one) => serde_json::from_str(&one.body).ok(),
            ToTell::More(more) => {
                let message = format!("and {} more: see describe_jobs and describe_instances", more.len());
                Some(Notification::new(Event::More, "", Timestamp::now(), &message))
            }
        };
        let outcome = match &told {
            Some(told) => {
                let of =
                    |body: &str| serde_json::from_str(body).is_ok_and(|told: Notification| told.event.is_failure());
                let is_failure = next.all().iter().any(|untold| of(&untold.body));
                self.of.try_to_tell(way, client, (told, is_failure)).await
            }
            None => Some(Err("it cannot be read".to_owned())),
        };
        if let Some(Err(why)) = &outcome {
            let event = told.as_ref().map_or("", |told| told.event.as_str());
            tracing::warn!(way = way.name(), event, "a notification was not sent: {why}");
        }
        // Until this is written nothing else is told: what stays as being tried counts as not told for whoever tells next.
        while let Err(fault) = self.write_down(way, &next, outcome.as_ref()).await {
            tracing::debug!(way = way.name(), "what came of a notification was not written down: {fault}");
            if self.of.stop.run_until_cancelled(tokio::time::sleep(WRITE_AGAIN)).await.is_none() {
                return;
            }
        }
    }

    async fn write_down(&self, way: &Way, next: &ToTell, outcome: Option<&Result<(), String>>) -> Result<(), Fault> {
        match outcome {
            Some(Ok(())) => self.state().told(way.name(), next, Ok(())).await,
            Some(Err(why)) => self.state().told(way.name(), next, Err(why)).await,
            None => self.state().put_back(way.name(), next).await,
        }
    }
}

impl Notifier {
    /// What came of it, in three tries at most; `None` where the process was asked to end between two tries.
    pub(super) async fn try_to_tell(
        &self,
        way: &Way,
        client: &Client,
        (told, is_failure): (&Notification, bool),
    ) -> Option<Result<(), String>> {
        let mut last = Err(String::new());
        for wait in TRIES {
            self.stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
            last = tokio::select! {
                tried = tokio::time::timeout(TRY_WITHIN, way.tell(client, told, is_failure)) => {
                    tried.unwrap_or_else(|_| Err(format!("{}: no answer within {} s", way.place(), TRY_WITHIN.as_secs())))
                }
                // It may have been told: nobody tries it again.
                () = self.overtime() => {
                    return Some(Err(format!("{}: no answer before this process was asked to end", way.place())));
                }
            };
            if last.is_ok() {
                break;
            }
        }
        Some(last)
    }

    /// Waits until the process was asked to end some time ago.
    async fn overtime(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(LAST).await;
    }
}
