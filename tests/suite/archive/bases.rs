//! Bases of a log that goes on: what counts as one is a set of this history that stays.

use super::collector::KIND;
use crate::support::log::{LONG, Service, archived_to, position, service_log};
use crate::support::{Bench, Redis, text, wait};

/// Where the base of a log is gone, another follows, however young a set of an earlier history is. A safety backup, which expires, puts off
/// none.
#[test]
fn a_base_is_a_set_of_this_history_that_stays() {
    let mut redis = Redis::start(KIND, &[]);
    let bench = Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n\
         [backup_log]\nseal_seconds = 1\nbase_replay_minutes = 0\nbase_apart_minutes = 0\n\
         [[instance]]\nid = \"orders\"\nurl = \"{}\"\nenable_backup_log = true\n",
        redis.url()
    ));
    redis.run(&["SET", "a", "1"]);
    let old = bench.backup();
    redis.restart();
    let _service = Service::start(&bench);
    let bases = |what: &str, wanted: &dyn Fn(&[String]) -> bool| {
        wait(what, LONG, || {
            let sets = bench.backups();
            let bases = sets.iter().filter(|set| set["mode"] == "automated");
            let ids: Vec<String> = bases.map(|set| text(&set["backup_id"])).collect();
            wanted(&ids).then_some(ids)
        })
    };
    let first = bases("a base", &|ids| ids.len() == 1).remove(0);
    archived_to(&bench, position(&redis).1);
    std::fs::remove_dir_all(bench.home().join("vault/orders").join(&first)).unwrap();
    let second = bases("another base", &|ids| ids.len() == 1 && ids[0] != first);

    // Neither half takes a millisecond to replay; both do.
    let write = || {
        redis.try_all(&vec![vec!["INCR".to_owned(), "n".to_owned()]; 500]).unwrap();
        archived_to(&bench, position(&redis).1);
    };
    write();
    let planned = bench.ask(&old);
    assert!(text(&planned.json()["plan"]["safety_backup_id"]).starts_with("b-"), "{planned:?}");
    write();
    let third = bases("a base behind the safety backup", &|ids| ids.len() == 2);
    assert!(third.contains(&second[0]), "{third:?}: {}", service_log(&bench));
}
