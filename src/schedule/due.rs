//! Which backup of an instance is due, judged from what has been.
//!
//! Each window of the calendar wants one automated set. It is begun once the instance's share of the window has passed, so that not all
//! instances begin at once; in a window that was missed it is begun late, unless the next one has come by then. What fails is tried again, less
//! and less often.

use crate::model::calendar::{Calendar, History, WINDOW, share};
use jiff::{SignedDuration, Timestamp};

/// Until what failed is tried again, at first and at most.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
const AGAIN_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A backup is to be begun now.
    Now {
        /// The beginning of the window that wants it.
        window: Timestamp,
        /// Whether that window is over.
        late: bool,
    },
    /// Nothing before this moment.
    At(Timestamp),
}

/// Judges what is due of an instance at a moment.
#[must_use]
pub fn due(calendar: &Calendar, instance_id: &str, history: &History, now: Timestamp) -> Due {
    let share = share(instance_id);
    let far = || Due::At(calendar.next(now).map_or(Timestamp::MAX, |next| next.saturating_add(share).unwrap_or(next)));
    let Some(window) = calendar.last(now) else { return far() };
    let over = window.saturating_add(WINDOW).unwrap_or(window);
    // One whose clock was ahead stands in for no window that has not come.
    let in_window = |at: &Timestamp| *at >= window && *at <= now.saturating_add(WINDOW).unwrap_or(now);
    // Before the policy nobody wanted anything.
    let wanted = history.since.is_none_or(|since| since < over);
    if !wanted || history.taken.iter().any(in_window) {
        return far();
    }
    let begins = window.saturating_add(share).unwrap_or(window);
    let failed: Vec<Timestamp> = history.failed.iter().filter(|at| in_window(at)).copied().collect();
    let again = failed.iter().max().map(|last| {
        let doublings = u32::try_from(failed.len() - 1).unwrap_or(u32::MAX).min(16);
        let wait = AGAIN_AFTER.saturating_mul(1_i32 << doublings).min(AGAIN_AFTER_MAX);
        last.saturating_add(wait).unwrap_or(*last)
    });
    // What is past an hour's wait is of a clock that was set back since.
    let begins = again.filter(|again| *again <= now.saturating_add(AGAIN_AFTER_MAX).unwrap_or(now)).unwrap_or(begins);
    if now < begins { Due::At(begins) } else { Due::Now { window, late: now >= over } }
}

#[cfg(test)]
mod tests {
    //! A month of three instances with downtime, failures and clocks that are set: every window that anybody could serve has one set, none has
    //! two; and what retention lets go was not to stay. A thousand instances begin all over the window.
    use super::{Due, due};
    use crate::guard::grant::Expired;
    use crate::model::backup::{BackupSet, Mode, Origin};
    use crate::model::calendar::{Calendar, History, WINDOW, share, window};
    use crate::model::policy::BackupPolicy;
    use jiff::{SignedDuration, Timestamp};
    use std::collections::BTreeMap;

    fn policy(time: &str, days: &[&str]) -> Calendar {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        let time = window(time).unwrap();
        Calendar::of(&BackupPolicy {
            preferred_backup_time: time,
            preferred_backup_period: days,
            ..BackupPolicy::none()
        })
        .unwrap()
    }

    const ALL: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

    /// A small generator, seeded, so that a failure can be seen again.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    fn set(id: usize, at: Timestamp) -> BackupSet {
        BackupSet {
            id: format!("b-{id}"),
            instance_id: "a".into(),
            mode: Mode::Automated,
            note: String::new(),
            engine: "redis".into(),
            version: "7.0.0".into(),
            run_id: String::new(),
            replication_id: String::new(),
            replication_offset: 0,
            write_calls: None,
            started_at: at,
            finished_at: at,
            rdb_version: 10,
            rdb_bytes: 1,
            sha256: String::new(),
            stored_bytes: 1,
            counts: BTreeMap::default(),
            functions: 0,
            used_memory: 0,
            types: BTreeMap::new(),
            expires_at: None,
            locked_until: None,
            origin: Origin::Capture { address: String::new() },
            held: None,
            proof: None,
            announced_version: None,
        }
    }

    #[test]
    fn a_month() {
        let month: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let calendars = [
            policy("02:00Z-03:00Z", &ALL),
            policy("23:00Z-24:00Z", &["Monday", "Thursday"]),
            policy("00:00Z-01:00Z", &["Sunday"]),
        ];
        for (seed, days) in [(1_u64, 7), (2, 7), (3, 14), (4, 30)] {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
            for (n, calendar) in calendars.iter().enumerate() {
                let id = format!("instance-{n}");
                let weekly = [7, 2, 1][n];
                let mut history = History { since: Some(month), ..History::default() };
                let (mut sets, mut gone): (Vec<BackupSet>, usize) = (Vec::new(), 0);
                let (mut down_until, mut minute) = (0_u64, 0_u64);
                // When the process was up in each window, behind the instance's share of it.
                let mut served: BTreeMap<Timestamp, u64> = BTreeMap::new();
                let mut made: BTreeMap<Timestamp, u64> = BTreeMap::new();
                while minute < 60 * 24 * 60 {
                    minute += 1;
                    if dice.below(2000) == 0 {
                        down_until = minute + dice.below(4000);
                    }
                    if minute < down_until {
                        continue;
                    }
                    let now = month + SignedDuration::from_mins(i64::try_from(minute).unwrap());
                    let Due::Now { window, late } = due(calendar, &id, &history, now) else { continue };
                    assert_eq!(late, now >= window + WINDOW, "{seed} {id}");
                    assert!(now >= window + share(&id), "{seed} {id}: {now} is before its share of {window}");
                    *served.entry(window).or_default() += 1;
                    if dice.below(4) == 0 {
                        history.failed.push(now);
                        continue;
                    }
                    *made.entry(window).or_default() += 1;
                    history.taken.push(now);
                    sets.push(set(sets.len() + gone, now));
                    for verdict in Expired::by_policy(&sets, days, weekly, now) {
                        let at = sets.iter().position(|set| set.id == verdict.backup_id()).unwrap();
                        let age = now.duration_since(sets.remove(at).started_at);
                        gone += 1;
                        assert!(age > SignedDuration::from_hours(24 * i64::from(days)), "{seed} {id}: {age:?}");
                    }
                    let young = SignedDuration::from_hours(24 * i64::from(days));
                    let kept = sets.iter().filter(|set| now.duration_since(set.started_at) <= young).count();
                    let over = sets.len() - kept;
                    assert!(
                        over == 0 || sets.len() <= weekly,
                        "{seed} {id}: {over} of {} should have gone",
                        sets.len()
                    );
                }
                assert!(made.values().all(|n| *n == 1), "{seed} {id}: {made:?}");
                // A window that could be served is only without a set where every attempt in it failed until the next one came.
                let unserved = served.keys().filter(|window| !made.contains_key(window)).count();
                assert!(unserved * 20 <= made.len().max(20), "{seed} {id}: {unserved} windows without a set");
                assert!(made.len() > 5, "{seed} {id}: too little is tried");
            }
        }
    }

    #[test]
    fn what_is_due_at_moments() {
        let daily = policy("02:00Z-03:00Z", &ALL);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (window, id) = (at("2026-11-26T02:00:00Z"), "orders");
        let begins = window + share(id);
        let none = History::default();
        assert_eq!(due(&daily, id, &none, begins), Due::Now { window, late: false });
        assert_eq!(due(&daily, id, &none, begins - SignedDuration::from_secs(1)), Due::At(begins));
        let late = at("2026-11-26T20:00:00Z");
        assert_eq!(due(&daily, id, &none, late), Due::Now { window, late: true });
        // A policy that came behind the window wants the next one.
        let next = Due::At(at("2026-11-27T02:00:00Z") + share(id));
        assert_eq!(due(&daily, id, &History { since: Some(at("2026-11-26T03:00:00Z")), ..none.clone() }, late), next);
        assert_eq!(due(&daily, id, &History { taken: vec![begins], ..none.clone() }, late), next);
        // One of a clock that was days ahead stands in for nothing.
        let ahead = History { taken: vec![at("2026-12-24T02:30:00Z")], ..none.clone() };
        assert_eq!(due(&daily, id, &ahead, late), Due::Now { window, late: true });
        // What failed is tried again, less and less often.
        let mut failed = History::default();
        let mut now = begins;
        let mut waits = Vec::new();
        for _ in 0..9 {
            failed.failed.push(now);
            let Due::At(again) = due(&daily, id, &failed, now) else { panic!("at once") };
            waits.push(again.duration_since(now).as_secs() / 60);
            now = again;
            assert!(matches!(due(&daily, id, &failed, now), Due::Now { .. }));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_thousand_instances_are_no_herd() {
        let mut minutes = [0_u32; 50];
        for n in 0..1000 {
            let minute = share(&format!("cache-{n}")).as_secs() / 60;
            minutes[usize::try_from(minute).unwrap()] += 1;
        }
        assert!(minutes.iter().all(|n| (5..=45).contains(n)), "{minutes:?}");
        assert_eq!(share("orders"), share("orders"));
    }
}
