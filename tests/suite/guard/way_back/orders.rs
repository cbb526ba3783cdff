//! Whatever happens around a restore, in whatever order: one that succeeded has left what its set holds, on disk; its way back brings
//! back exactly what was there at its moment; and its reply has counted every write that was accepted after that.
//!
//! `WAY_BACK_ROUNDS` says how many rounds are played (about a minute's by default), `TEST_SEED` repeats them, and `WAY_BACK_ROUND` plays
//! one of them alone.

use crate::guard::way_back::round::{ALL, Event, Round, Shared, WAYS};
use crate::support::Dice;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rounds in a run of the suite.
const ROUNDS: u64 = 44;
/// Rounds at once: most of a round is waiting.
const PLAYERS: usize = 4;

/// The events of a round: each alone before and behind a plan, then any in any order.
fn events(number: u64, all: &Dice) -> Vec<Event> {
    let mut dice = all.nth(number).nth(0);
    let one = usize::try_from(number).unwrap();
    let mut events: Vec<Event> = match ALL.get(one) {
        Some(event) => vec![*event],
        None => (0..=dice.below(4)).map(|_| ALL[dice.below(ALL.len())]).collect(),
    };
    events.insert(dice.below(events.len() + 1), Event::Plan);
    events
}

#[test]
fn succeeded_implies_a_way_back() {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let all = Dice::new("succeeded_implies_a_way_back");
    let (next, end) = match number("WAY_BACK_ROUND") {
        Some(one) => (AtomicU64::new(one), one + 1),
        None => (AtomicU64::new(0), number("WAY_BACK_ROUNDS").unwrap_or(ROUNDS)),
    };
    let shared = Shared::default();
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= end {
                        break;
                    }
                    let events = events(number, &all);
                    Round::new(number, &all, &events, &shared).play(&events);
                }
            });
        }
    });
    let ends = shared.ends.into_inner().unwrap();
    println!("{ends:#?}; {:?} counted writes, {:?} programs were killed in a job", shared.counted, shared.killed);
    if number("WAY_BACK_ROUND").is_none() && end >= ROUNDS {
        for way in WAYS {
            assert!(ends.contains_key(&format!("{way:?}: succeeded")), "{way:?} never succeeded, so nothing was tried");
        }
    }
}
