//! Tells by each way that the state store cannot be reached, and that it can be again. Everything else that is told is written down there first,
//! so that it would be silence; this is not written down, and each process that is cut off tells it, once for each time.

use crate::config::notify::PING;
use crate::model::time::written;
use crate::notify::event::{Event, Notification};
use crate::notify::ways::{Client, Way};
use crate::notify::{LEASE, Notifier};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often the state store is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take; what takes longer is none.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// For how long there is no answer before that is told: a database that is started anew, or moved, is away for a while.
const AWAY_FOR: SignedDuration = SignedDuration::from_mins(3);

/// Since when the state store does not answer, and whether that was told.
#[derive(Clone, Copy)]
struct Away {
    since: Timestamp,
    is_told: bool,
}

impl Notifier {
    /// Watches the state store until the process is asked to end.
    pub(super) async fn watch_state(&self, client: &Client, ways: &[Way]) {
        let mut away: Option<Away> = None;
        while !self.stop.is_cancelled() {
            let asked = Timestamp::now();
            let answer = tokio::time::timeout(ANSWERS_WITHIN, self.state.holder(LEASE));
            let why = match self.stop.run_until_cancelled(answer).await {
                None => return,
                Some(Ok(Ok(_))) => None,
                Some(Ok(Err(fault))) => Some(fault.message),
                Some(Err(_)) => Some(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())),
            };
            away = match (why, away) {
                (None, Some(Away { since, is_told: true })) => {
                    self.tell_that_it_is_back(client, ways, since).await;
                    None
                }
                (None, _) => None,
                (Some(why), before) => {
                    let now = Timestamp::now();
                    // A clock that was set back since.
                    let since = before.map_or(asked, |before| before.since).min(now);
                    let mut is_told = before.is_some_and(|before| before.is_told);
                    if !is_told && now.duration_since(since) >= AWAY_FOR {
                        self.tell_that_it_is_away(client, ways, (since, now), &why).await;
                        is_told = true;
                    }
                    Some(Away { since, is_told })
                }
            };
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await;
        }
    }

    async fn tell_that_it_is_away(
        &self,
        client: &Client,
        ways: &[Way],
        (since, now): (Timestamp, Timestamp),
        why: &str,
    ) {
        let message = format!(
            "the state store has not answered since {}: until it does no backup is begun by the calendar, and of what fails nothing else is told: {why}",
            written(since)
        );
        let told = Notification::new(Event::StateUnreachable, "", now, &message).since(since);
        self.tell_by(client, &ways.iter().collect::<Vec<_>>(), &told).await;
    }

    async fn tell_that_it_is_back(&self, client: &Client, ways: &[Way], since: Timestamp) {
        let message = format!("the state store answers again; it had not since {}", written(since));
        let told = Notification::new(Event::StateRecovered, "", Timestamp::now(), &message).since(since);
        // While something is missing of an instance the monitor hears of no success.
        let is_quiet = !self.state.alarms().await.is_ok_and(|alarms| alarms.is_empty());
        let ways: Vec<&Way> = ways.iter().filter(|way| way.name() != PING || !is_quiet).collect();
        self.tell_by(client, &ways, &told).await;
    }

    /// Tells it by each of these ways, whatever comes of the others.
    async fn tell_by(&self, client: &Client, ways: &[&Way], told: &Notification) {
        join_all(ways.iter().map(|way| self.tell_at_once(client, way, told))).await;
    }

    async fn tell_at_once(&self, client: &Client, way: &Way, told: &Notification) {
        if let Some(Err(why)) = self.try_to_tell(way, client, (told, told.event.is_failure())).await {
            tracing::warn!(way = way.name(), event = told.event.as_str(), "a notification was not sent: {why}");
        }
    }
}
