//! A week of an account, played in a minute: the clocks of both sides are turned, ours is off by up to a quarter of an hour and set again
//! and again, three in a hundred replies are lost or wrong, people agree, refuse or take their time, and processes are killed in the middle
//! of what they do. After each act: no order is there twice, no act without its job and its lines in the audit, no fence is left, and every
//! end that is not known says so and what to look at.
//!
//! The seed is printed, and `TEST_SEED` repeats it; `CLOUD_WEEKS=20` plays so many weeks.

use crate::provider::cloud::{Cloud, ID, Ours, redis};
use crate::provider::cloud_faults::agree::{self, Emulated, SPARE};
use crate::provider::cloud_faults::scene::{Act, hurried};
use crate::provider::cloud_faults::troubles;
use crate::support::between::{Armed, Between, Trouble};
use crate::support::clock::Clocks;
use crate::support::emulator::client_at;
use crate::support::{Dice, Redis, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::model::job::{Job, JobKind, JobStatus};
use tempfile::TempDir;

/// The account's cloud-native instance.
const NATIVE: &str = "r-bp1zxszhcgatnx0002";
/// Seconds of a week.
const WEEK: i64 = 7 * 24 * 3600;
/// Share of calls that go wrong.
const WRONG: f64 = 0.03;
/// Seconds by which our clock may be off.
const SKEW: f64 = 900.0;
/// Instances of each kind that the account has room for.
const ROOM: usize = 5;
/// What is done, the weightier the more often.
const ACTS: [Act; 16] = [
    Act::Backup,
    Act::Backup,
    Act::Backup,
    Act::Restore,
    Act::Restore,
    Act::Fenced,
    Act::Fenced,
    Act::Fenced,
    Act::Clone,
    Act::TairClone,
    Act::Delete,
    Act::Delete,
    Act::Raise,
    Act::Lower,
    Act::Lower,
    Act::Look,
];
/// Seconds after which a plan may no longer be agreed to.
const PLAN_HOLDS: i64 = 900;

struct Account {
    clocks: Clocks,
    dice: Dice,
    servers: [Redis; 2],
    _spares: Vec<Redis>,
    cloud: Cloud,
    line: Between,
    /// The data that each set of the classic instance holds.
    eras: BTreeMap<String, String>,
    acts: usize,
    told: BTreeMap<String, usize>,
}

fn between(dice: &mut Dice, from: f64, to: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "seconds")]
    let seconds = dice.share().mul_add(to - from, from) as i64;
    seconds
}

impl Account {
    fn start(clocks: Clocks, dice: Dice) -> Self {
        let servers = [redis(30), redis(30)];
        let spares: Vec<Redis> = (0..2 * ROOM).map(|_| redis(0)).collect();
        let names: Vec<String> = (0..spares.len()).map(|n| format!("{SPARE}{n}")).collect();
        let kinds = ["generation = \"classic\"", "generation = \"cloud_native\""];
        let spare = kinds.map(|kind| format!("{kind}, spare = true"));
        let mut instances = vec![(ID, &servers[0], kinds[0]), (NATIVE, &servers[1], kinds[1])];
        instances.extend(
            spares.iter().zip(&names).enumerate().map(|(n, (s, name))| (name.as_str(), s, spare[n % 2].as_str())),
        );
        let cloud = Cloud::start(&instances);
        let line = Between::start(cloud.emulator.port);
        for id in [ID, NATIVE] {
            agree::give_policy(&cloud, id);
        }
        Self {
            clocks,
            dice,
            servers,
            _spares: spares,
            cloud,
            line,
            eras: BTreeMap::new(),
            acts: 0,
            told: BTreeMap::new(),
        }
    }

    /// A process of ours on that home. Where clocks jump the emulator has measured nothing lately, and under a limit that would block.
    fn process(&self, home: Arc<TempDir>) -> Ours {
        Ours::polling(client_at(self.line.port), home, f64::INFINITY, hurried())
    }

    /// An account of which an instance was ordered by a process that died before the order arrived, and that process's home.
    fn with_an_order_without_reply(clocks: &Clocks) -> (Self, Arc<TempDir>) {
        let account = Self::start(clocks.again(), Dice::new("no dice"));
        let ours = account.process(Arc::new(TempDir::new().unwrap()));
        let set = ours.backup(ID).id;
        let (action, trouble) = ("CreateInstance".to_owned(), Trouble::Dies);
        account.line.arm(Armed { action, trouble, times: 1, after: Some("CreateInstance") });
        let call = |args: &Value| Act::Clone.call(&ours, account.line.death(), args);
        let came = agree::insist(Act::Clone.args(ID, &set, 0), &call, &mut || true);
        assert!(came.is_none(), "{came:?}");
        account.line.calm();
        account.line.forget();
        (account, ours.killed())
    }

    /// What the emulator says of itself, asked with its own time.
    fn truth<T>(&mut self, ask: impl FnOnce(&Cloud) -> T) -> T {
        let skew = self.clocks.skew(0);
        let said = ask(&self.cloud);
        self.clocks.skew(skew);
        said
    }

    fn retention(&mut self) -> i64 {
        self.truth(agree::retention)
    }

    fn sets(&mut self, id: &str) -> Vec<String> {
        let rows = self.truth(|cloud| cloud.emulator.rows(id, &[]));
        rows.iter().map(|row| row["BackupId"].to_string().trim_matches('"').to_owned()).collect()
    }

    /// Both clocks are where this test has turned them to.
    fn assert_turned(&self) {
        let date = self.cloud.emulator.raw("GET", "/", &[self.cloud.emulator.host()], b"").unwrap();
        let theirs = jiff::fmt::rfc2822::parse(date.header("date").unwrap()).unwrap().timestamp();
        let machine = self.clocks.machine();
        let near = |seconds: i64, wanted: i64| (seconds - wanted).abs() <= 5;
        assert!(near(theirs.duration_since(machine).as_secs(), self.clocks.passed()), "{theirs}, {machine}");
        let off = Timestamp::now().duration_since(theirs).as_secs();
        assert!(near(off, self.clocks.off()), "ours is off by {off} s");
    }

    /// Hours go by, and our clock is set.
    fn hours_pass(&mut self) {
        let hours = between(&mut self.dice, 600.0, 18_000.0);
        self.clocks.pass(hours);
        if self.dice.share() < 0.4 {
            let skew = between(&mut self.dice, -SKEW, SKEW);
            self.clocks.skew(skew);
        }
    }

    /// One act, with whatever comes between. Gives back the process that is there after it.
    fn act(&mut self, mut ours: Ours) -> Ours {
        self.acts += 1;
        let act = ACTS[self.dice.below(ACTS.len())];
        let id = if act.is_cloud_native() || (act == Act::Backup && self.dice.share() < 0.3) { NATIVE } else { ID };
        let sets = self.sets(id);
        let set = if sets.is_empty() { String::new() } else { sets[self.dice.below(sets.len())].clone() };
        if set.is_empty() && !matches!(act, Act::Backup | Act::Raise | Act::Lower | Act::Look) {
            return ours;
        }
        let era = format!("act {}", self.acts);
        self.servers[0].run(&["SET", "era", &era]);
        let retention = self.retention();
        let wanted = if act == Act::Raise { retention + 1 } else { retention - 1 };
        let known: BTreeSet<String> = agree::ended(&ours).into_iter().map(|job| job.id).collect();
        let emulated = Emulated::read(&self.cloud);
        self.line.forget();
        let mut chance = self.dice.nth(self.acts as u64);
        self.line.leave_to(Some(Box::new(move |action| {
            let kinds = troubles(action);
            (chance.share() < WRONG).then(|| kinds[chance.below(kinds.len())])
        })));
        // One in four processes is killed within the first second of its work.
        let killed = (self.dice.share() < 0.25).then(|| Instant::now() + Duration::from_secs_f64(self.dice.share()));
        let agreed = self.dice.share() < 0.85;
        let thinks = if self.dice.share() < 0.2 {
            between(&mut self.dice, 600.0, 1500.0)
        } else {
            between(&mut self.dice, 0.0, 600.0)
        };
        let clocks = &mut self.clocks;
        let mut agrees = || {
            clocks.pass(thinks);
            agreed
        };
        let call = |args: &Value| {
            let death = async {
                match killed {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            act.call(&ours, death, args)
        };
        let came = agree::insist(act.args(id, &set, wanted), &call, &mut agrees);
        if killed.is_some() || self.dice.share() < 0.1 {
            ours = self.process(ours.killed());
        }
        // Somebody looks at the jobs from time to time, until nothing is left to do.
        wait("what was begun to be over", Duration::from_secs(90), || {
            ours.run(ours.provider().recover()).unwrap();
            let over = |job: &Job| job.status != JobStatus::Running && !job.needs_reconciliation();
            ours.pause();
            ours.run(ours.app.state.jobs(None)).unwrap().iter().all(over).then_some(())
        });
        self.line.leave_to(None);
        emulated.at_rest(&self.cloud);
        let mut jobs = ours.run(ours.app.state.jobs(None)).unwrap();
        jobs.retain(|job| !known.contains(&job.id));
        let calls = self.line.calls();
        let undisturbed =
            killed.is_none() && agreed && thinks < PLAN_HOLDS - 60 && calls.iter().all(|c| c.struck.is_none());
        let (kept, days) = (self.servers[0].run(&["GET", "era"]).text(), self.retention());
        let restored = self.eras.get(&set).cloned().unwrap_or_default();
        for agrees in [
            agree::with_calls(&jobs, &calls),
            agree::with_audit(&ours, &jobs),
            emulated.agrees(&self.cloud, &calls),
            agree::with_data(&jobs, &kept, &era, &restored),
            agree::with_policy(&jobs, (retention, wanted), days),
            agree::with_fence(&jobs, self.servers.iter().all(agree::is_writable)),
            if undisturbed { came_to_success(act, came.as_ref()) } else { Ok(()) },
        ] {
            agrees.unwrap_or_else(|what| {
                let at = self.clocks.passed() / 3600;
                panic!("hour {at}, act {}: {act:?} of {id}, set {set:?}: {what}; it came to {came:?}; jobs {jobs:#?}; calls {calls:#?}", self.acts)
            });
        }
        for job in &jobs {
            *self.told.entry(format!("{} {}", job.kind.as_str(), job.status.as_str())).or_default() += 1;
            if job.kind == JobKind::Backup && job.instance_id == ID && !job.backup_id.is_empty() {
                self.eras.insert(job.backup_id.clone(), era.clone());
            }
        }
        // A set whose job was lost is there all the same.
        for id in self.sets(ID) {
            self.eras.entry(id).or_insert_with(|| era.clone());
        }
        *self.told.entry("calls that went wrong".into()).or_default() +=
            calls.iter().filter(|c| c.struck.is_some()).count();
        ours
    }

    fn play(mut self) {
        let mut ours = self.process(Arc::new(TempDir::new().unwrap()));
        while self.clocks.passed() < WEEK {
            self.hours_pass();
            self.assert_turned();
            ours = self.act(ours);
        }
        println!("{} acts; {:?}", self.acts, self.told);
        assert!(self.servers.iter().all(agree::is_writable), "a fence is left");
        assert!(self.told.keys().any(|what| what.ends_with("succeeded")), "nothing came of anything");
    }
}

/// What nothing went wrong with succeeds, however far off our clock is. There may be no room for another instance; and a restore may be
/// over between two looks, so that nobody has seen it.
fn came_to_success(act: Act, came: Option<&Result<Value, Fault>>) -> Result<(), String> {
    let status = came.and_then(|came| came.as_ref().ok()?["status"].as_str());
    let also = match act {
        Act::Clone | Act::TairClone => "blocked",
        Act::Restore | Act::Fenced => "uncertain",
        Act::Look => return came.is_some_and(Result::is_ok).then_some(()).ok_or("nothing is listed".into()),
        _ => "succeeded",
    };
    if status == Some("succeeded") || status == Some(also) { Ok(()) } else { Err("it should have succeeded".into()) }
}

/// No second order, no act that is not logged, no fence left, and every end that is not known is named: after each act of a week in which
/// clocks are off, replies lost or wrong, and processes killed.
#[test]
fn a_week_of_an_account() {
    let Some(clocks) = Clocks::of("provider::cloud_week::a_week_of_an_account") else { return };
    let dice = Dice::new("a week of an account");
    let weeks = std::env::var("CLOUD_WEEKS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for week in 0..weeks {
        Account::start(clocks.again(), dice.nth(week)).play();
    }
}

/// Without a reply nobody knows the cloud's clock, and an order is not asked for again by ours: it stays uncertain, and says so.
#[test]
fn an_order_is_not_asked_for_again_by_our_clock() {
    let Some(clocks) = Clocks::of("provider::cloud_week::an_order_is_not_asked_for_again_by_our_clock") else {
        return;
    };
    let (mut account, home) = Account::with_an_order_without_reply(&clocks);
    // Ours says that it was ordered ten minutes ago.
    account.clocks.pass(65 * 60);
    account.clocks.skew(-55 * 60);
    let (action, trouble) = ("DescribeInstanceAttribute".into(), Trouble::Cut);
    account.line.arm(Armed { action, trouble, times: u32::MAX, after: None });
    let next = account.process(home);
    next.run(next.provider().recover()).unwrap();
    let jobs = agree::ended(&next);
    assert_eq!((jobs[0].kind, jobs[0].status), (JobKind::Clone, JobStatus::Uncertain), "{jobs:#?}");
    assert!(
        jobs[0].message.contains("by whose clock") && jobs[0].hint.contains("may exist and be billed"),
        "{jobs:#?}"
    );
    let calls = account.line.calls();
    assert!(calls.iter().all(|call| call.action != "CreateInstance"), "it was ordered by our clock: {calls:?}");
}

/// A process that finds an order whose reply its predecessor never had asks again under the order's token for as long as the cloud is
/// trusted to know that, by the cloud's clock and not by ours.
#[test]
fn an_order_is_asked_for_again_by_the_clouds_clock() {
    let Some(clocks) = Clocks::of("provider::cloud_week::an_order_is_asked_for_again_by_the_clouds_clock") else {
        return;
    };
    for (minutes, off, end, orders) in [(50, 900, JobStatus::Succeeded, 1), (65, -900, JobStatus::Uncertain, 0)] {
        let (mut account, home) = Account::with_an_order_without_reply(&clocks);
        account.clocks.pass(minutes * 60);
        account.clocks.skew(off);
        let next = account.process(home);
        next.run(next.provider().recover()).unwrap();
        let jobs = agree::ended(&next);
        assert_eq!((jobs[0].kind, jobs[0].status), (JobKind::Clone, end), "{minutes} minutes: {jobs:#?}");
        let calls = account.line.calls();
        assert_eq!(calls.iter().filter(|call| call.action == "CreateInstance").count(), orders, "{minutes} minutes");
        agree::with_calls(&jobs[..1], &calls).unwrap();
    }
}
