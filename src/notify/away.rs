//! Tells by each way that the state store cannot be reached, and that it can be again. Everything else that is told is written down there first,
//! so that it would be silence; this is not written down, and each process that is cut off tells it, by each way until one try is accepted.

use crate::config::notify::PING;
use crate::model::time::written;
use crate::notify::event::{Event, Notification};
use crate::notify::ways::{Client, Way};
use crate::notify::{LEASE, Notifier};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How often the state store is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take; what takes longer is none.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// For how long there is no answer before that is told: a database that is started anew, or moved, is away for a while.
const AWAY_FOR: SignedDuration = SignedDuration::from_mins(3);
/// Until a way that took nothing is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// Since when the state store does not answer, by which ways that was told, and when it was tried last.
struct Away {
    since: Timestamp,
    told: BTreeSet<&'static str>,
    tried: Option<Instant>,
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
                (None, before) => {
                    if let Some(before) = before.filter(|before| !before.told.is_empty()) {
                        self.tell_that_it_is_back(client, ways, &before).await;
                    }
                    None
                }
                (Some(why), before) => {
                    let now = Timestamp::now();
                    let mut away = before.unwrap_or(Away { since: asked, told: BTreeSet::new(), tried: None });
                    // A clock that was set back since.
                    away.since = away.since.min(now);
                    let is_due = away.tried.is_none_or(|tried| tried.elapsed() >= TRY_AGAIN);
                    if is_due && away.told.len() < ways.len() && now.duration_since(away.since) >= AWAY_FOR {
                        self.tell_that_it_is_away(client, ways, (&mut away, now), &why).await;
                    }
                    Some(away)
                }
            };
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await;
        }
    }

    /// Tells it by each way by which it was not told yet.
    async fn tell_that_it_is_away(
        &self,
        client: &Client,
        ways: &[Way],
        (away, now): (&mut Away, Timestamp),
        why: &str,
    ) {
        let ways: Vec<&Way> = ways.iter().filter(|way| !away.told.contains(way.name())).collect();
        let since = away.since;
        let message = format!(
            "the state store has not answered since {}: until it does no backup is begun by the calendar, and of what fails nothing else is told: {why}",
            written(since)
        );
        let told = Notification::new(Event::StateUnreachable, "", now, &message).since(since);
        let accepted = self.tell_by(client, &ways, &told).await;
        away.told.extend(accepted);
        away.tried = Some(Instant::now());
    }

    /// Tells it by each way by which the other was told.
    async fn tell_that_it_is_back(&self, client: &Client, ways: &[Way], away: &Away) {
        let since = away.since;
        let message = format!("the state store answers again; it had not since {}", written(since));
        let told = Notification::new(Event::StateRecovered, "", Timestamp::now(), &message).since(since);
        // While something is missing of an instance the monitor hears of no success.
        let is_quiet = !self.state.alarms().await.is_ok_and(|alarms| alarms.is_empty());
        let hears = |way: &&Way| away.told.contains(way.name()) && (way.name() != PING || !is_quiet);
        let ways: Vec<&Way> = ways.iter().filter(hears).collect();
        self.tell_by(client, &ways, &told).await;
    }

    /// Tells it by each of these ways, whatever comes of the others. The names of those that have accepted it.
    async fn tell_by(&self, client: &Client, ways: &[&Way], told: &Notification) -> Vec<&'static str> {
        let accepted = join_all(ways.iter().map(|way| self.tell_at_once(client, way, told))).await;
        ways.iter().zip(accepted).filter(|(_, accepted)| *accepted).map(|(way, _)| way.name()).collect()
    }

    /// Whether it was accepted.
    async fn tell_at_once(&self, client: &Client, way: &Way, told: &Notification) -> bool {
        match self.try_to_tell(way, client, (told, told.event.is_failure())).await {
            Some(Ok(())) => true,
            Some(Err(why)) => {
                tracing::warn!(way = way.name(), event = told.event.as_str(), "a notification was not sent: {why}");
                false
            }
            None => false,
        }
    }
}
