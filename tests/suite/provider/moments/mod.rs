//! Whatever is written, a restore to a moment gives what there was: every key, field, expiry, group and function, of every database, on
//! every engine, in place while the log goes on, and from the same sets and log onto a server beside.

mod edges;
mod load;
mod scene;
mod state;
mod work;

use crate::provider::moments::scene::Scene;
use crate::provider::moments::state::{Compared, State};
use crate::support::{Bench, Dice, Done, MATRIX, Redis, Reply, text, wait};
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
    // What is always left out, and a digest that is never looked at on one of the engines, would prove nothing.
    for scene in &scenes {
        let Scene { kind, whole, expired, .. } = scene;
        assert!(*whole > 0 && *expired > 0, "{kind}: {whole} whole digests, {expired} expired");
    }
}

/// The comparison sees what a server's own digest does not, and what it does.
#[test]
fn the_comparison_can_fail() {
    let redis = Redis::start("redis-8.2", &[]);
    let library = "#!lua name=l\nredis.register_function('f', function() return 1 end)";
    for command in [
        "SET k v",
        "SET e v PX 90000000",
        "HSET h f 1 g 2",
        "XADD x 1-0 f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
        "SADD s a b",
    ] {
        redis.run(&command.split(' ').collect::<Vec<_>>());
    }
    redis.run(&["FUNCTION", "LOAD", library]);
    let compared = |then: &State| then.same_as(&State::read(&redis), Timestamp::now().as_millisecond(), 0);
    let mut then = State::read(&redis);
    assert!(compared(&then).unwrap().whole);
    for command in [
        "APPEND k w",
        "PEXPIREAT e 4102444800000",
        "PERSIST e",
        "HPEXPIRE h 90000000 FIELDS 1 f",
        "HPERSIST h FIELDS 1 f",
        "HDEL h g",
        "XGROUP SETID x g 0",
        "XGROUP CREATECONSUMER x g made",
        "XCLAIM x g d 0 1-0",
        "XACK x g 1-0",
        "XSETID x 9-0",
        "SADD s c",
        "MOVE k 1",
        "SWAPDB 1 2",
        "FUNCTION FLUSH",
        "FLUSHALL",
    ] {
        redis.run(&command.split(' ').collect::<Vec<_>>());
        assert!(compared(&then).is_err(), "{command} is not seen");
        then = State::read(&redis);
        assert!(compared(&then).unwrap().whole, "{command}");
    }
    // What has expired is left out on either side, and nothing else is.
    redis.run(&["SET", "short", "v", "PX", "60"]);
    redis.run(&["SET", "long", "v"]);
    let then = State::read(&redis);
    wait("an expiry", Duration::from_secs(30), || (redis.run(&["EXISTS", "short"]) == Reply::Int(0)).then_some(()));
    let Compared { expired, whole } = compared(&then).unwrap();
    assert_eq!((expired, whole), (1, false));
    redis.run(&["SET", "short", "v"]);
    assert!(compared(&then).is_err(), "what lives on is not seen");
}
