//! While the state store is away nothing can be noticed in it or taken from it: that itself is told, by each way, once each time; and that it is
//! back.

use super::{KEY, Listener, program, somebody_tells};
use crate::state::postgres::Line;
use crate::support::log::{LONG, Service, service_log};
use crate::support::postgres::{Database, PASSWORD, url};
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, unattended, wait};
use tair_backup_mcp::state::postgres::Postgres;

#[tokio::test]
async fn a_state_that_is_away_is_told_without_it() {
    let (redis, database) = (Redis::start("redis-7.0", &[]), Database::new());
    let (line, listener, preload) = (Line::to(database.port()), Listener::answering(), Preload::new());
    let bench = Bench::new("");
    let script = "cd \"$(dirname \"$0\")\"; echo \"$TAIR_BACKUP_EVENT\" >>told; [ ! -e refuse ]";
    let program = program(&bench, script);
    bench.configure(&format!(
        "state = \"{}\"\n\n[notify]\n{}command = [\"{}\"]\n\n{}",
        url(line.port, &database.name),
        listener.named(),
        program.display(),
        unattended(&redis, "")
    ));
    let service = Service::with(&bench, &preload);
    somebody_tells(&Postgres::new(&database.state_url(), &bench.home())).await;
    let count = |event: &str| listener.told_of(event).len();
    let told_to_program = || {
        let lines = std::fs::read_to_string(bench.dir.path().join("told")).unwrap_or_default();
        lines.lines().filter(|line| line.starts_with("state_")).map(str::to_owned).collect::<Vec<_>>()
    };
    let once = ["state_unreachable", "state_recovered"];
    let mut ahead_ms = 0;
    for outage in 1..=2 {
        if outage == 2 {
            wait("the program to be told", LONG, || (told_to_program() == once).then_some(()));
            std::fs::write(bench.dir.path().join("refuse"), "").unwrap();
        }
        line.down();
        // Since then some minutes have passed, by the clock.
        let away = wait("it to be told", LONG, || {
            ahead_ms += 1000;
            preload.clock_ahead_ms(ahead_ms);
            listener.told_of("state_unreachable").get(outage - 1).cloned()
        });
        assert!(text(&away["message"]).starts_with("the state store has not answered since "), "{away}");
        assert!(away["instance_id"] == "" && !away.to_string().contains(PASSWORD), "{away}");
        wait("the monitor to hear of it", LONG, || {
            let of_it = listener.pings().1.iter().filter(|body| body.starts_with("state_unreachable: ")).count();
            (of_it == outage).then_some(())
        });
        line.up();
        let back = wait("it to be over", LONG, || listener.told_of("state_recovered").get(outage - 1).cloned());
        assert_eq!(back["since"], away["since"], "{back}");
        assert_eq!((count("state_unreachable"), count("state_recovered")), (outage, outage));
    }
    assert_eq!(service.ask_to_end(), Some(0));
    // What it did not accept was tried again, and it hears of no end of that.
    let (again, ends): (Vec<String>, Vec<String>) =
        told_to_program().into_iter().partition(|event| event == "state_unreachable");
    assert!(again.len() > 2 && ends == ["state_recovered"], "{again:?} {ends:?}");
    assert!(!service_log(&bench).contains(KEY), "{}", service_log(&bench));
}
