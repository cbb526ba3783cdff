//! Sixteen everyday requests, each made as an agent makes it: through MCP, on real servers, by what the replies say. Each ends in an answer, or in a
//! next step that is read from the reply and works when it is taken; and none costs a model more calls or tokens than it may.

mod keeping;
mod looking;
mod restoring;
mod scene;

use scene::Scene;
use std::time::Instant;

/// A request, and what it may cost at most.
struct Request {
    /// Its number, and what it is about.
    name: &'static str,
    plays: fn(&mut Scene),
    calls: usize,
    /// Tokens of all replies (o200k), of each those of its dearest form, the text or the structured content: a host passes on one of them.
    tokens: usize,
}

const fn request(name: &'static str, plays: fn(&mut Scene), calls: usize, tokens: usize) -> Request {
    Request { name, plays, calls, tokens }
}

/// The requests, in an order in which each finds the data that it needs.
const REQUESTS: [Request; 17] = [
    request("an incident", restoring::undo_a_mistake, 8, 2000),
    request("2 back up before a migration", keeping::back_up, 1, 200),
    request("4 last night's backup as a file", keeping::to_a_file, 2, 1300),
    request("5 staging from production", restoring::from_production, 3, 1300),
    request("13 the newest is a safety backup", restoring::the_newest_is_a_safety_backup, 4, 1900),
    request("1 get user:* back", restoring::keys_by_a_glob, 3, 1900),
    request("3 is it protected", looking::is_it_protected, 3, 1300),
    request("14 who keeps the promise", looking::who_keeps_the_promise, 3, 1600),
    request("15 a clone and its end", restoring::a_clone_and_its_end, 4, 1900),
    request("6 move the backups", keeping::move_them, 1, 300),
    request("7 delete the old ones", keeping::delete_old_ones, 4, 1200),
    request("8 approved, and nothing happens", looking::nothing_happens, 7, 2400),
    request("10 Sentinel and cluster", looking::sentinel_and_cluster, 3, 1150),
    request("11 keep the sessions", restoring::all_but_sessions, 4, 2100),
    request("12 how long would it take", looking::how_long, 1, 900),
    request("9 what did the agent do", looking::what_was_done, 1, 3000),
    request("16 a day before the log", restoring::before_the_log, 2, 1300),
];

/// One world and one server for all of them: each request goes on from what those before it have left, as a day does.
#[test]
fn everyday_requests_end_in_an_answer_and_cost_little() {
    let mut scene = Scene::new();
    for Request { name, plays, calls, tokens } in REQUESTS {
        let begun = Instant::now();
        plays(&mut scene);
        let (made, cost) = scene.cost();
        println!("{name}: {made} calls, {cost} tokens, {:.1} s", begun.elapsed().as_secs_f64());
        assert!(made <= calls, "{name}: {made} calls of at most {calls}");
        assert!(cost <= tokens, "{name}: {cost} tokens of at most {tokens}: {}", scene.told());
    }
}
