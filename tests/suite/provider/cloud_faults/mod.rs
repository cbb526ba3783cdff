//! Every act of the cloud's provider with every fault at every call: whatever goes wrong on the way, the provider's own record and the
//! emulator's agree on what was done and how often, the fence is down at every known end, an end that is not known says so and what to look
//! at, and the next process comes to the same.
//!
//! A run without faults shows which calls an act makes; each of them is then struck by each kind of fault: its first call, its first
//! after the person's yes, its first after the act itself was sent, once or from then on. A run of the suite plays as many cases as a minute
//! holds, drawn by a printed seed (`TEST_SEED`), three in four of them at calls that write; `CLOUD_FAULTS=all` plays all of them (a quarter of an
//! hour), `CLOUD_FAULTS=300` so many, and `CLOUD_FAULT="Fenced RestoreInstance"` all whose name has that.

pub mod agree;
pub mod scene;

use crate::support::Dice;
use crate::support::between::{Armed, Call, DOWNLOAD, Trouble};
use scene::{Act, Scene};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Cases of a run of the suite.
const CASES: usize = 140;
/// Cases that follow each other in one account.
const PER_SCENE: usize = 10;
/// Accounts at the same time: most of a case is waiting.
const AT_ONCE: usize = 6;

/// From when on a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// From the first call.
    Start,
    /// From the person's yes.
    Yes,
    /// From when the act itself was sent.
    Sent,
}

/// One act, and what goes wrong with it.
#[derive(Debug, Clone)]
pub struct Case {
    act: Act,
    action: String,
    trouble: Trouble,
    when: When,
    /// Whether it strikes all calls from then on, and not one alone.
    lasting: bool,
}

impl Case {
    fn name(&self) -> String {
        let Self { act, action, trouble, when, lasting } = self;
        let times = if *lasting { "lasting" } else { "once" };
        format!("{act:?} {action} {trouble:?} {when:?} {times}")
    }

    /// Whether its restore takes long: a thing of the case, so that the case is the same when it is played again.
    fn is_slow(&self) -> bool {
        self.name().bytes().map(u32::from).sum::<u32>() % 2 == 0
    }

    fn armed(&self) -> Armed {
        let times = if self.lasting { u32::MAX } else { 1 };
        let after = (self.when == When::Sent).then(|| self.act.sent_by());
        Armed { action: self.action.clone(), trouble: self.trouble, times, after }
    }
}

fn writes(action: &str) -> bool {
    !action.starts_with("Describe") && action != DOWNLOAD
}

/// What can go wrong with a call.
pub fn troubles(action: &str) -> Vec<Trouble> {
    use Trouble::{
        CodeInSuccess, CodeInSuccessAfter, Cut, CutAfter, Gateway, GatewayAfter, Late, Other, Redirected, Refused,
        RefusedAfter, Stale, Truncated, Without,
    };
    let mut all = vec![
        Cut,
        Late,
        Gateway,
        Redirected,
        Truncated,
        Refused("ServiceUnavailable", 503),
        Refused("InternalError", 500),
        Refused("Forbidden.RAM", 403),
    ];
    if action == DOWNLOAD {
        return all;
    }
    all.extend([
        Without,
        CodeInSuccess,
        Refused("Throttling.User", 400),
        Refused("Nobody.Knows", 400),
        Refused("InvalidInstanceId.NotFound", 404),
        Refused("InvalidSecurityToken.Expired", 400),
    ]);
    if writes(action) {
        all.extend([
            CutAfter,
            GatewayAfter,
            CodeInSuccessAfter,
            RefusedAfter("ServiceUnavailable", 503),
            RefusedAfter("InternalError", 500),
            RefusedAfter("Nobody.Knows", 400),
            Refused("IncorrectDBInstanceState", 403),
        ]);
    } else {
        all.push(Stale);
    }
    match action {
        "DescribeInstanceAttribute" => all.push(Other),
        "CreateBackup" => all.extend([Refused("BackupJobExists", 403), Refused("BackupTimesExceeded", 403)]),
        "LockDBInstanceWrite" => all.push(Refused("IncorrectDBInstanceLockMode", 403)),
        "CreateInstance" | "CreateTairInstance" => all.push(Refused("QuotaExceed", 403)),
        _ => {}
    }
    all
}

/// The cases of an act, by what its calls were where nothing went wrong.
fn cases(act: Act, calls: &[Call], yes: usize) -> Vec<Case> {
    let sent = calls.iter().position(|call| act.is_sent_by(call)).unwrap_or(calls.len());
    let mut all = Vec::new();
    for (when, from) in [(When::Start, 0), (When::Yes, yes), (When::Sent, sent)] {
        // What begins with the yes or with the call is the same case again.
        if from == 0 && when != When::Start {
            continue;
        }
        let mut actions: BTreeSet<&str> = calls.iter().skip(from).map(|c| c.action.as_str()).collect();
        if when == When::Sent {
            // The call itself is struck at the yes.
            actions.remove(act.sent_by());
        }
        for action in actions {
            let deaths = if act == Act::Look { &[][..] } else { &[Trouble::Dies, Trouble::DiesAfter][..] };
            for trouble in troubles(action).into_iter().chain(deaths.iter().copied()) {
                // A process dies once.
                for lasting in [false, true].into_iter().filter(|lasting| !(*lasting && trouble.is_death())) {
                    all.push(Case { act, action: action.to_owned(), trouble, when, lasting });
                }
            }
        }
    }
    all
}

fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for n in (1..items.len()).rev() {
        items.swap(n, dice.below(n + 1));
    }
}

/// Those that are played.
fn chosen(mut all: Vec<Case>) -> Vec<Case> {
    if let Ok(name) = std::env::var("CLOUD_FAULT") {
        all.retain(|case| case.name().contains(&name));
        assert!(!all.is_empty(), "there is no case {name:?}");
        return all;
    }
    let wanted = match std::env::var("CLOUD_FAULTS") {
        Ok(all_of_them) if all_of_them == "all" => usize::MAX,
        Ok(number) => number.parse().expect("CLOUD_FAULTS is a number, or all"),
        Err(_) => CASES,
    };
    shuffle(&mut all, &mut Dice::new("faults at each call of the cloud"));
    // Three in four at calls that write, as far as there are so many.
    let (writing, reading): (Vec<Case>, Vec<Case>) = all.into_iter().partition(|case| writes(&case.action));
    let (most, rest) = (wanted - wanted / 4, wanted.saturating_sub(writing.len()).max(wanted / 4));
    writing.into_iter().take(most).chain(reading.into_iter().take(rest)).collect()
}

fn said(e: &(dyn std::any::Any + Send)) -> String {
    let text = e.downcast_ref::<String>().cloned();
    text.or_else(|| e.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default()
}

/// Plays cases of one act, in as few accounts as bear them; gives back what was wrong.
fn play(act: Act, cases: &[Case]) -> Vec<String> {
    let (mut wrong, mut scene) = (Vec::new(), None);
    for case in cases {
        let mut on = scene.take().unwrap_or_else(|| Scene::start(act, PER_SCENE));
        match catch_unwind(AssertUnwindSafe(|| on.play(case))) {
            // What is left of a case that went wrong is no beginning for another.
            Err(e) => wrong.push(format!("{}\n    {}", case.name(), said(e.as_ref()))),
            Ok(()) if on.is_used_up() => {}
            Ok(()) => scene = Some(on),
        }
    }
    wrong
}

/// Does work on each of many, several at the same time.
fn at_once<T: Send>(many: Vec<T>, work: impl Fn(T) + Sync) {
    let next = Mutex::new(many.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(one) = next.lock().unwrap().next() else { break };
                    work(one);
                }
            });
        }
    });
}

#[test]
fn every_fault_at_each_call_leaves_two_records_that_agree() {
    let found = Mutex::new(Vec::new());
    at_once(Act::ALL.to_vec(), |act| {
        let (calls, yes) = Scene::start(act, 1).without_faults();
        found.lock().unwrap().extend(cases(act, &calls, yes));
    });
    let all = found.into_inner().unwrap();
    let many = all.len();
    let mut chosen = chosen(all);
    chosen.sort_by_key(|case| case.act);
    println!("{} of {many} cases", chosen.len());
    let parts: Vec<(Act, Vec<Case>)> = Act::ALL
        .into_iter()
        .flat_map(|act| {
            let of: Vec<Case> = chosen.iter().filter(|case| case.act == act).cloned().collect();
            of.chunks(PER_SCENE).map(|part| (act, part.to_vec())).collect::<Vec<_>>()
        })
        .collect();
    let wrong = Mutex::new(Vec::new());
    at_once(parts, |(act, part)| {
        let found = play(act, &part);
        wrong.lock().unwrap().extend(found);
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
}
