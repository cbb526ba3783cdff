//! One engine: a server with its log on, work on it, moments at which all that it holds is written down, and restores to them: in
//! place through the whole program, and of the same sets and log by the library onto a server beside.

use crate::provider::moments::state::{Compared, State};
use crate::provider::moments::work::Worker;
use crate::provider::moments::{restore, written};
use crate::support::log::{LONG, Service, archive, coverage, log_until, received, service_log};
use crate::support::{Bench, Dice, Redis, unattended, wait};
use jiff::Timestamp;
use std::time::Duration;
use tair_backup_mcp::archive::{CutAt, NoCut};
use tair_backup_mcp::model::backup::BackupSet;
use tair_backup_mcp::model::log::Position;
use tair_backup_mcp::redis::master::cutover::OwnServer;
use tair_backup_mcp::redis::master::fold::Fold;
use tair_backup_mcp::redis::master::session::Session;
use tair_backup_mcp::redis::master::shift::StreamShift;
use tair_backup_mcp::redis::master::types::{MasterOptions, Supply};
use tair_backup_mcp::vault::Vault;

/// By how much what a server sends is received later at most.
const LAG_MS: i64 = 2000;

/// A time in which nobody wrote, and what there was.
pub struct Moment {
    /// The first millisecond behind all that had been received.
    from: i64,
    /// The last before anything else was written.
    until: i64,
    /// What is written next begins here.
    position: Position,
    state: State,
}

/// How a moment is asked for.
#[derive(Debug)]
enum Asked {
    Time(String),
    Before(Position),
}

/// An engine with its log, what was written down of it, and what came of restores.
pub struct Scene {
    pub kind: &'static str,
    redis: Redis,
    beside: Redis,
    bench: Bench,
    _service: Service,
    dice: Dice,
    pub moments: Vec<Moment>,
    pub by_program: usize,
    pub by_library: usize,
    /// Keys and fields that were left out of comparisons, for they had expired by then.
    pub expired: usize,
    /// Restores after which the server's digest of everything was equal too.
    pub whole: usize,
}

/// A moment in milliseconds, behind which nothing has happened yet.
fn now() -> i64 {
    crate::provider::moment_log::now().as_millisecond()
}

impl Scene {
    pub fn new(kind: &'static str, dice: Dice) -> Self {
        let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
        let log = "enable_backup_log = true\n[backup_log]\nseal_seconds = 1\nbase_apart_minutes = 0\n";
        let bench = Bench::new(&unattended(&redis, log));
        let service = Service::start(&bench);
        log_until(&bench, "an archiver", |log| log["archiver"].is_string());
        Self {
            kind,
            redis,
            beside: Redis::start(kind, &[]),
            bench,
            _service: service,
            dice,
            moments: Vec::new(),
            by_program: 0,
            by_library: 0,
            expired: 0,
            whole: 0,
        }
    }

    /// Works, and writes down what there is each time that nobody does. In the first of them nothing expires soon.
    pub fn live(&mut self, moments: usize) {
        let first = self.moments.is_empty();
        let (work, own) = (self.dice.nth(0), self.dice.nth(1));
        self.dice = own;
        let mut worker = Worker::new(&self.redis, work);
        for n in 0..moments {
            worker.short = !first || n >= moments / 3;
            for _ in 0..4 + self.dice.below(8) {
                worker.piece();
            }
            if worker.short && self.dice.below(3) == 0 {
                std::thread::sleep(Duration::from_millis(self.dice.below(150) as u64));
            }
            let reached = received(&self.bench, &self.redis);
            let from = now();
            let state = State::read(&self.redis);
            // A time is asked for with and without its milliseconds.
            while self.dice.below(8) == 0 && now() % 1000 > 100 {}
            self.moments.push(Moment { from, until: now(), position: reached, state });
        }
        // The log reaches beyond the last of them.
        self.redis.run(&["SET", "last", "1"]);
        let last = received(&self.bench, &self.redis);
        wait("the log on the vault", LONG, || {
            let runs = coverage(&self.bench).runs;
            runs.iter().any(|run| run.timeline.id == last.timeline && run.last() >= last.offset).then_some(())
        });
    }

    /// One of the ways to ask for a moment.
    fn asked(&mut self, n: usize) -> Asked {
        let Moment { from, until, position, .. } = &self.moments[n];
        let second = until - until.rem_euclid(1000);
        match self.dice.below(5) {
            0 => Asked::Before(position.clone()),
            1 => Asked::Time(written(*from)),
            2 => Asked::Time(written(*until)),
            _ if second >= *from => Asked::Time(written(second)),
            _ => Asked::Time(written(from + self.dice.below(usize::try_from(until - from + 1).unwrap()) as i64)),
        }
    }

    fn compare(&mut self, n: usize, how: &str, restored: &State) {
        let moment = &self.moments[n];
        let now = Timestamp::now().as_millisecond();
        let later_by = if self.is_relative() { LAG_MS } else { 0 };
        match moment.state.same_as(restored, now, later_by) {
            Ok(Compared { expired, whole }) => {
                self.expired += expired;
                self.whole += usize::from(whole);
            }
            Err(differs) => panic!(
                "{}, moment {n} of {}, {how}, from {} to {}, {}: {differs}\n{}",
                self.kind,
                self.moments.len(),
                written(moment.from),
                written(moment.until),
                moment.position,
                service_log(&self.bench)
            ),
        }
    }

    /// Whether the server tells its replicas what is left until an expiry, as before 7.0: it is counted from when that was received.
    fn is_relative(&self) -> bool {
        self.kind == "redis-6.2"
    }

    /// Restores to some of the moments in place, each over what the one before left.
    pub fn restore_in_place(&mut self, times: usize) {
        for _ in 0..times {
            let n = self.dice.below(self.moments.len());
            let asked = self.asked(n);
            let done = match &asked {
                Asked::Time(at) => restore(&self.bench, "--restore-time", at),
                Asked::Before(position) => restore(&self.bench, "--before-position", &position.to_string()),
            };
            assert_eq!(done.code, 0, "{}, moment {n}, {asked:?}: {done:?}\n{}", self.kind, service_log(&self.bench));
            let restored = State::read(&self.redis);
            self.compare(n, &format!("in place, {asked:?}: {}", done.out), &restored);
            self.by_program += 1;
        }
    }

    /// Restores every moment onto the server beside, from what lies on the vault.
    pub fn restore_beside(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let vault = Vault::new(self.bench.home().join("vault"));
        let sets = runtime.block_on(vault.list("orders", &())).unwrap();
        let sets: Vec<BackupSet> = sets.into_iter().map(Result::unwrap).collect();
        for n in 0..self.moments.len() {
            let asked = self.asked(n);
            runtime.block_on(self.by_library(&vault, &sets, &asked));
            let restored = State::read(&self.beside);
            self.compare(n, &format!("beside, {asked:?}"), &restored);
            self.by_library += 1;
        }
    }

    async fn by_library(&self, vault: &Vault, sets: &[BackupSet], asked: &Asked) {
        let at = match asked {
            Asked::Time(at) => CutAt::Moment(at.parse().unwrap()),
            Asked::Before(position) => CutAt::Before(position.clone()),
        };
        let archive = archive(&self.bench);
        let cut = archive.coverage("orders", 0).unwrap().cut(sets, &at).unwrap_or_else(|no| match no {
            NoCut::Outside(outside) => panic!("{}, {asked:?}: {outside:?}\n{}", self.kind, service_log(&self.bench)),
            NoCut::Fault(fault) => panic!("{}, {asked:?}: {fault}", self.kind),
        });
        let set = sets.iter().find(|set| set.id == cut.base).unwrap();
        let (mut data, mut log) = (vault.open_data(set).await.unwrap(), archive.read(&cut).unwrap());
        let relative = self.is_relative();
        let mut shift = (relative || StreamShift::is_needed(&cut.names)).then(|| StreamShift::new(0, relative));
        log = log.timed();
        let (to, supply) = tokio::sync::mpsc::channel(4);
        let supplier = tokio::task::spawn_blocking(move || {
            // Whoever takes it says why where it stops.
            while let Some(frame) = data.next_frame().unwrap() {
                let _ = to.blocking_send(Supply::Chunk(frame));
            }
            let _ = to.blocking_send(Supply::StreamFollows);
            let mut fold = Fold::default();
            while let Some(bytes) = log.next() {
                let (mut bytes, mut folded) = (bytes.unwrap(), Vec::new());
                if let Some(shift) = &mut shift {
                    let mut moved = Vec::new();
                    shift.feed(&bytes, log.received_ms(), &mut moved).unwrap();
                    bytes = moved;
                }
                fold.feed(&bytes, &mut folded).unwrap();
                let _ = to.blocking_send(Supply::Stream { bytes: folded, whole: fold.is_between_commands() });
            }
            let mut last = Vec::new();
            fold.finish(&mut last);
            let _ = to.blocking_send(Supply::Stream { bytes: last, whole: true });
            let _ = to.blocking_send(Supply::Done);
            assert_eq!(log.commands(), cut.commands);
        });
        let session = Session::prepare(&self.beside.endpoint(), MasterOptions::default()).await.unwrap();
        let scratch = self.beside.scratch();
        let done = session.run(scratch.overwrite(), supply, &mut OwnServer::of(&scratch), |_| ()).await;
        done.unwrap_or_else(|error| panic!("{}, {asked:?}: {error:?}\n{}", self.kind, self.beside.log()));
        supplier.await.unwrap();
    }
}
