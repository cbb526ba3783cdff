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
    let program = program(&bench, "echo \"$TAIR_BACKUP_EVENT\" >>\"$(dirname \"$0\")/told\"");
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
    let mut ahead_ms = 0;
    for outage in 1..=2 {
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
    let told = "state_unreachable\nstate_recovered\n".repeat(2);
    wait("the program to be told", LONG, || {
        let lines = std::fs::read_to_string(bench.dir.path().join("told")).unwrap_or_default();
        let of_it: Vec<&str> = lines.lines().filter(|line| line.starts_with("state_")).collect();
        (of_it == told.lines().collect::<Vec<_>>()).then_some(())
    });
    assert_eq!(service.ask_to_end(), Some(0));
    assert!(!service_log(&bench).contains(KEY), "{}", service_log(&bench));
}
