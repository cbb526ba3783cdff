//! Whatever is written, a restore to a moment gives what there was: every key, field, expiry, group and function, of every database, on
//! every engine, in place while the log goes on, and from the same sets and log onto a server beside.

mod edges;
mod load;
mod scene;
mod state;
mod work;

use crate::provider::moments::scene::Scene;
use crate::support::{Bench, Dice, Done, MATRIX, text};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Moments between two rounds of restores in place, and how many of these a round has.
const ROUND: usize = 12;
const IN_PLACE: usize = 4;

/// A moment as it is written in a call; a whole second has no fraction.
fn written(ms: i64) -> String {
    let form = if ms % 1000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%3fZ" };
    Timestamp::from_millisecond(ms).unwrap().strftime(form).to_string()
}

/// Both calls of a restore, or the first where that is refused. While the archiver takes a base the instance is busy; a plan that is out
/// of date by its yes, or whose tail the target let go of, is made again.
fn restore(bench: &Bench, flag: &str, at: &str) -> Done {
    let call = ["restore-instance", "--instance-id", "orders", "--json", flag, at];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut done = bench.run(&call);
        if done.code == 0 {
            let token = text(&done.json()["confirmation_token"]);
            done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
        }
        let said = done.json();
        let again = said["status"] == "plan_changed"
            || ["job.busy", "restore.tail_lost"].iter().any(|code| said["code"] == *code);
        if !again || Instant::now() > deadline {
            return done;
        }
    }
}

/// How many moments are restored, on all engines: `MOMENTS` in the environment.
fn moments() -> usize {
    std::env::var("MOMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(216)
}

/// Random work on every engine, and what there was at each of many moments: restored, it is that again, by our digest and the server's.
#[test]
fn a_restored_moment_is_what_there_was() {
    let seed = Dice::new("a_restored_moment_is_what_there_was");
    let each = moments().div_ceil(MATRIX.len());
    let scenes: Vec<_> = std::thread::scope(|scope| {
        let engine = |(n, kind): (usize, &'static str)| {
            let dice = seed.nth(n as u64);
            scope.spawn(move || {
                let began = std::time::Instant::now();
                let mut scene = Scene::new(kind, dice);
                while scene.moments.len() < each {
                    scene.live(ROUND.min(each - scene.moments.len()));
                    scene.restore_in_place(IN_PLACE);
                }
                let in_place = began.elapsed();
                scene.restore_beside();
                println!(
                    "{kind}: {} moments, {} restored in place and {} beside, {} keys or fields expired by then, {} whole digests; {:?}, {:?}",
                    scene.moments.len(), scene.by_program, scene.by_library, scene.expired, scene.whole, in_place, began.elapsed()
                );
                scene
            })
        };
        MATRIX
            .into_iter()
            .enumerate()
            .map(engine)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|scene| scene.join().unwrap())
            .collect()
    });
    let all = |of: fn(&Scene) -> usize| scenes.iter().map(of).sum::<usize>();
    assert!(all(|s| s.by_library) >= moments() && all(|s| s.by_program) >= moments() / ROUND * IN_PLACE);
    // What is always left out, and a digest that is never looked at, would prove nothing.
    assert!(all(|s| s.whole) > 0 && all(|s| s.expired) > 0);
}
