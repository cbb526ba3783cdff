//! Everything at once, at random, under load: the archiver killed, its link cut, its vault slow, hanging or failing, its clock set, its
//! source restarted, the backlog overrun. Afterwards what is told to be recoverable is, at both edges and between, to the state that
//! was there; and what lies in a gap is refused, with neighbours that are recoverable.
//!
//! `CHAOS_SECONDS` in the environment says for how long; without it, for as long as every run of the tests can bear.

use super::collector::{KIND, logging};
use crate::support::log::{
    LONG, Service, Wire, archive, archived_to, coverage, log_of, log_until, position, service_log,
};
use crate::support::preload::Preload;
use crate::support::program::{Mark, Program, connect, mark, send};
use crate::support::{Bench, Dice, Redis, files_under, wait};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::archive::{Archive, Coverage, CutAt, NoCut, Outside};
use tair_backup_mcp::model::backup::BackupSet;
use tair_backup_mcp::model::log::{Gap, GapCause};
use tair_backup_mcp::vault::Vault;

fn seconds() -> u64 {
    std::env::var("CHAOS_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

/// What goes wrong, and is set right again.
struct Trouble<'a> {
    bench: &'a Bench,
    wire: &'a Wire,
    preload: &'a Preload,
    program: &'a Program,
    dice: Dice,
    service: Option<Service>,
    /// How far the archiver's clock is set ahead, in milliseconds, and the first moment that it may have said at another time than its own.
    ahead_ms: i64,
    first_step: Option<i64>,
    done: Vec<String>,
}

impl Trouble<'_> {
    fn pause(&mut self, from_ms: usize, to_ms: usize) {
        std::thread::sleep(Duration::from_millis((from_ms + self.dice.below(to_ms - from_ms)) as u64));
    }

    fn kill(&mut self) {
        if let Some(service) = self.service.take() {
            service.kill();
        }
    }

    fn start(&mut self) {
        self.service = Some(Service::with(self.bench, self.preload));
    }

    /// Sets the clock by so many milliseconds.
    fn step(&mut self, ms: i64) {
        self.ahead_ms += ms;
        // Set back, the clock says moments once more that were before.
        let says = Timestamp::now().as_millisecond() + self.ahead_ms.min(0);
        self.first_step = Some(self.first_step.map_or(says, |first| first.min(says)));
        self.preload.clock_ahead_ms(self.ahead_ms);
    }

    fn one(&mut self, redis: &mut Redis, may_step: bool) {
        let what = self.dice.below(if may_step { 11 } else { 9 });
        self.done.push(format!("{} {what}", Timestamp::now()));
        match what {
            0 => {
                self.kill();
                self.start();
            }
            1 => {
                self.kill();
                self.pause(300, 2000);
                self.start();
            }
            2 => self.wire.cut(),
            3 => {
                self.wire.close();
                self.pause(200, 2000);
                self.wire.open();
            }
            4 => {
                // More than the backlog holds, unseen.
                self.wire.close();
                self.program.large(true);
                let until = self.program.count() + 40;
                wait("an overrun", LONG, || (self.program.count() > until).then_some(()));
                self.program.large(false);
                self.wire.open();
            }
            5..=7 => {
                match what {
                    5 => self.preload.vault_hangs(),
                    6 => self.preload.vault_fails(),
                    _ => self.preload.vault_takes(Duration::from_millis(300)),
                }
                self.pause(300, 3000);
                if self.dice.below(2) == 0 {
                    self.kill();
                    self.start();
                    self.pause(200, 1500);
                }
                self.preload.vault_takes(Duration::ZERO);
            }
            8 => redis.restart(),
            9 => {
                let ms = 2000 + self.dice.below(6000) as i64;
                self.step(ms);
            }
            _ => {
                let ms = 2000 + self.dice.below(4000) as i64;
                self.step(-ms);
            }
        }
    }
}

/// A server on which moments are recovered one after the other, by nothing but a base and what the log has behind it.
struct Checked<'a> {
    vault: Vault,
    archive: Archive,
    coverage: &'a Coverage,
    bases: &'a [BackupSet],
    redis: Redis,
    runtime: tokio::runtime::Runtime,
    /// What was found: the moment, the state, and its digest.
    found: Vec<(i64, Option<Mark>, String)>,
}

impl Checked<'_> {
    /// Recovers a moment.
    fn recover(&mut self, at: Timestamp) -> Result<(), Outside> {
        let cut = match self.coverage.cut(self.bases, &CutAt::Moment(at)) {
            Ok(cut) => cut,
            Err(NoCut::Outside(outside)) => return Err(outside),
            Err(NoCut::Fault(fault)) => panic!("{at}: {fault}"),
        };
        let base = self.bases.iter().find(|set| set.id == cut.base).unwrap();
        let mut rdb = Vec::new();
        self.runtime.block_on(self.vault.open_data(base)).unwrap().read_to_end(&mut rdb).unwrap();
        self.redis.kill();
        std::fs::write(self.redis.dir.path().join("dump.rdb"), rdb).unwrap();
        self.redis.restart();
        let mut tcp = connect(self.redis.port).unwrap();
        let mut reader = self.archive.read(&cut).unwrap();
        let stream: Vec<u8> = reader.by_ref().flat_map(|chunk| chunk.unwrap()).collect();
        assert_eq!(reader.commands(), cut.commands);
        let answers = send(&mut tcp, &stream).unwrap();
        assert!(!answers.windows(3).any(|three| three == b"\n-E"), "a command was refused");
        let digest = self.redis.run(&["DEBUG", "DIGEST"]).text();
        self.found.push((at.as_millisecond(), mark(&mut tcp).unwrap(), digest));
        Ok(())
    }
}

#[test]
fn what_is_told_is_what_can_be_recovered() {
    let dice = Arc::new(Dice::new("chaos"));
    let mut redis = Redis::start(KIND, &["--repl-backlog-size", "1mb"]);
    let (wire, preload) = (Wire::to(&redis), Preload::new());
    let bench = logging(&wire.url(), "");
    let mut program = Program::on(&redis, &dice);
    let mut trouble = Trouble {
        bench: &bench,
        wire: &wire,
        preload: &preload,
        program: &program,
        dice: dice.nth(u64::from(u32::MAX)),
        service: Some(Service::with(&bench, &preload)),
        ahead_ms: 0,
        first_step: None,
        done: Vec::new(),
    };
    log_until(&bench, "a window", |log| log["window"].is_object());
    let (begun, whole) = (Instant::now(), Duration::from_secs(seconds()));
    while begun.elapsed() < whole {
        trouble.pause(200, 2500);
        // The first half has a true clock, so that its moments can be compared with when things were written.
        trouble.one(&mut redis, begun.elapsed() > whole / 2);
    }
    let (service, first_step, done) = (trouble.service.take().unwrap(), trouble.first_step, trouble.done);
    program.end();
    // The last of it is to lie behind the moment at which a clock that was set back is there again.
    std::thread::sleep(Duration::from_secs(7));
    redis.run(&["SET", "end", "1"]);
    archived_to(&bench, position(&redis).1);
    let dir = bench.home().join("spool");
    let left = |ending: &str| files_under(&dir).iter().filter(|p| p.to_str().unwrap().ends_with(ending)).count();
    wait("what ended timelines have left", LONG, || (left(".spool") <= 1 && left(".json") <= 1).then_some(()));
    let told = log_of(&bench);
    assert_eq!(service.ask_to_end(), Some(0));
    let context = || format!("{}\n{}", done.join("\n"), service_log(&bench));
    let coverage = coverage(&bench);
    let vault = Vault::new(bench.home().join("vault"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bases: Vec<BackupSet> =
        runtime.block_on(vault.list("orders", &())).unwrap().into_iter().map(|set| set.unwrap()).collect();
    let windows = coverage.windows(&bases).unwrap();
    assert!(!windows.is_empty(), "{}", context());
    // Every hole is told of by a gap, and what is told by the tool is what the log has.
    for hole in &coverage.holes {
        let known = |gap: &&Gap| gap.timeline == hole.from.timeline;
        assert!(
            coverage.gaps.iter().any(|gap| known(&gap) && gap.after_offset == hole.from.offset),
            "{hole:?}\n{}",
            context()
        );
    }
    assert_eq!(told["total_gaps"].as_u64(), Some(coverage.gaps.len() as u64), "{told}\n{}", context());
    let newest = windows.last().unwrap();
    let told_end: Timestamp = told["window"]["end_time"].as_str().unwrap().parse().unwrap();
    assert!(told_end <= newest.to && newest.to.as_second() - told_end.as_second() < 60, "{told} {newest:?}");
    // Windows come one behind the other, each of them behind a gap.
    for pair in windows.windows(2) {
        assert!(pair[0].to < pair[1].from, "{windows:?}\n{}", context());
        let between =
            |gap: &&Gap| gap.cause != GapCause::ClockStep && pair[0].to <= gap.from && gap.from < pair[1].from;
        assert!(coverage.gaps.iter().any(|gap| between(&gap)), "{windows:?} {:?}\n{}", coverage.gaps, context());
    }
    let mut checked = Checked {
        vault,
        archive: archive(&bench),
        coverage: &coverage,
        bases: &bases,
        redis: Redis::start(KIND, &[]),
        runtime,
        found: Vec::new(),
    };
    let mut pick = dice.nth(7);
    let check = |checked: &mut Checked, at: Timestamp| {
        let Err(outside) = checked.recover(at) else { return true };
        let neighbours = [outside.nearest_before, outside.nearest_after];
        assert!(neighbours.iter().any(Option::is_some), "{at}: {outside:?}\n{}", context());
        for near in neighbours.into_iter().flatten() {
            if let Err(outside) = checked.recover(near) {
                panic!("{near}, told to be near {at}, is refused: {outside:?}\n{:?}\n{}", coverage.gaps, context());
            }
        }
        false
    };
    for window in &windows {
        for at in [window.from, window.to] {
            assert!(check(&mut checked, at), "{at} of {window:?} is refused\n{}", context());
        }
        let length = usize::try_from((window.to.as_millisecond() - window.from.as_millisecond()).max(1)).unwrap();
        for _ in 0..2 {
            let ms = window.from.as_millisecond() + pick.below(length) as i64;
            check(&mut checked, Timestamp::from_millisecond(ms).unwrap());
        }
    }
    for gap in &coverage.gaps {
        let (from, to) = (gap.from.as_millisecond(), gap.to.as_millisecond());
        if to - from > 1 {
            let ms = from + 1 + pick.below(usize::try_from(to - from - 1).unwrap()) as i64;
            let recovered = check(&mut checked, Timestamp::from_millisecond(ms).unwrap());
            assert!(!recovered, "{ms} of {gap:?} is recoverable\n{windows:?}\n{}", context());
        }
    }
    let Checked { found, .. } = checked;
    let wanted: BTreeSet<Mark> = found.iter().filter_map(|(_, mark, _)| *mark).collect();
    let digests = program.digests(KIND, &wanted);
    for (ms, mark, digest) in &found {
        let Some(mark) = mark else { continue };
        // `end` is behind the last step.
        let is_last = program.sent((mark.0, mark.1 + 1)).is_none() && program.sent((mark.0 + 1, 1)).is_none();
        assert!(is_last || digests[mark] == *digest, "{ms}: not the state of {mark:?}\n{}", context());
        if first_step.is_none_or(|step| *ms < step) {
            assert!(program.sent(*mark).unwrap() <= *ms, "{ms}: {mark:?} had not been written by then\n{}", context());
        }
    }
    println!(
        "{} moments of {} windows, {} gaps, after\n{}",
        found.len(),
        windows.len(),
        coverage.gaps.len(),
        done.join("\n")
    );
}
