//! One round: a target with its sets, what happens to them, a restore, and what must be true then.

use crate::guard::way_back::writer::{self, BASE};
use crate::guard::way_back::{data_of, flip};
use crate::support::{Bench, Dice, Done, MATRIX, Redis, Reply, accepted_after, finish, text, unattended, wait};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(60);
/// What a restore changes meanwhile and puts back.
const SETTINGS: [&str; 5] = ["masterauth", "masteruser", "repl-diskless-load", "replica-read-only", "maxmemory"];
const MAXMEMORY: usize = 4;

/// Lists what may happen once, for the type and for the dice.
macro_rules! events {
    ($($(#[$doc:meta])* $event:ident,)*) => {
        /// What may happen before a plan, between a plan and its yes, or in the job.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $event,)*
        }

        pub const ALL: &[Event] = &[$(Event::$event),*];
    };
}

events! {
    Plan,
    Write,
    /// By a command that the server knows by another name only.
    HiddenWrite,
    /// A client begins to write, and goes on until the cutover.
    Writer,
    ResetStatistics,
    Failover,
    Restart,
    /// Started anew, the target hides what makes it follow a master.
    Rename,
    DamageSource,
    DamageWayBack,
    DeleteWayBack,
    /// Its files go, and nobody is told.
    LoseWayBack,
    OtherPlans,
    /// A limit falls below what the target holds, and then is lifted, or near.
    Evict,
    /// This program is killed in the job; the next one reconciles it.
    KillProgram,
    /// The target is killed in the job, and is back at once with what is on its disk.
    KillTarget,
}

/// How the restore is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Replication,
    Beside,
    InPlace,
}

pub const WAYS: [Way; 3] = [Way::Replication, Way::Beside, Way::InPlace];

/// What rounds tell each other: how long a job takes, and what came of the rounds.
#[derive(Default)]
pub struct Shared {
    took: Mutex<BTreeMap<Way, Duration>>,
    pub ends: Mutex<BTreeMap<String, u32>>,
    /// Restores that counted writes behind their last safety backup.
    pub counted: AtomicU64,
    /// Programs that were killed in a job.
    pub killed: AtomicU64,
}

/// A target, its sets, and what has happened to them.
pub struct Round<'a> {
    when: String,
    dice: Dice,
    way: Way,
    append_only: bool,
    fence: bool,
    redis: Redis,
    bench: Bench,
    backup: String,
    /// The last plan that has a token, and the data at that moment.
    planned: Option<Value>,
    at_plan: String,
    writer: Option<writer::Writer>,
    shared: &'a Shared,
}

impl<'a> Round<'a> {
    pub fn new(number: u64, all: &Dice, events: &[Event], shared: &'a Shared) -> Self {
        let mut dice = all.nth(number);
        let (kind, way) = (MATRIX[dice.below(MATRIX.len())], WAYS[dice.below(WAYS.len())]);
        // Redis 6.2 takes no save points behind others that were cleared.
        let append_only = dice.below(2) == 0 || kind == "redis-6.2";
        let fence = way == Way::Replication && dice.below(4) == 0;
        let when = format!("round {number}: {kind}, {way:?}, append-only {append_only}, fence {fence}, {events:?}");
        println!("{when}");
        let mut args = vec!["--rename-command", "APPEND", "hidden"];
        args.extend(if append_only {
            ["--appendonly", "yes", "--appendfsync", "no"].as_slice()
        } else {
            &["--save", "3600 1000000"]
        });
        if way == Way::InPlace {
            args.extend(["--rename-command", "SWAPDB", ""]);
        }
        let redis = Redis::start(kind, &args);
        redis.fill(0, 1);
        let value = "x".repeat(2000);
        let evictable =
            |n: u32| ["SET", &format!("evictable:{n}"), &value, "EX", "1000000"].map(str::to_owned).to_vec();
        redis.try_all(&(0..400).map(evictable).collect::<Vec<_>>()).unwrap();
        redis.run(&["SET", "live", &BASE.to_string()]);
        let more = if way == Way::Replication { "" } else { "restore_way = \"commands\"" };
        let bench = Bench::new(&unattended(&redis, more));
        let backup = bench.backup();
        Self {
            when,
            dice,
            way,
            append_only,
            fence,
            redis,
            bench,
            backup,
            planned: None,
            at_plan: String::new(),
            writer: None,
            shared,
        }
    }

    fn arguments<'b>(&'b self, more: &[&'b str]) -> Vec<&'b str> {
        let fence: &[&str] = if self.fence { &["--write-fence"] } else { &[] };
        let id = &self.backup;
        [&["restore-instance", "--instance-id", "orders", "--backup-id", id, "--json"], fence, more].concat()
    }

    fn plan(&mut self) {
        let data = self.data();
        let planned = self.bench.run(&self.arguments(&[])).json();
        // What is damaged by now blocks another plan; the one before is still to be tried.
        if planned["confirmation_token"].is_string() {
            self.planned = Some(planned);
            self.at_plan = data;
        }
    }

    /// The set that the last plan names as the way back; else the newest that a plan may use again.
    fn way_back(&self) -> Option<String> {
        let of_plan = self.planned.as_ref().and_then(|p| p["plan"]["safety_backup_id"].as_str()).map(str::to_owned);
        let newest = || self.bench.backups().iter().map(|b| text(&b["backup_id"])).find(|id| *id != self.backup);
        of_plan.or_else(newest).filter(|id| data_of(&self.bench, id).exists())
    }

    /// All data, with the counter at where it began. Nobody writes meanwhile, and nothing is evicted.
    fn data(&self) -> String {
        let _alone = self.writer.as_ref().map(|w| w.turn.lock().unwrap());
        let limit = self.redis.setting("maxmemory");
        self.limit("0");
        let live = self.redis.run(&["GET", "live"]).text();
        let counted = !live.is_empty() && live != BASE.to_string();
        if counted {
            self.redis.run(&["SET", "live", &BASE.to_string()]);
        }
        let digest = self.redis.digest();
        if counted {
            self.redis.run(&["SET", "live", &live]);
        }
        self.limit(&limit);
        digest
    }

    fn limit(&self, bytes: &str) {
        self.redis.run(&["CONFIG", "SET", "maxmemory", bytes]);
    }

    fn evicted(&self) -> (String, String) {
        (self.redis.info("run_id"), self.redis.info("evicted_keys"))
    }

    /// Writes all of the data to the disk, so that a restart loses none.
    fn save(&self) {
        if !self.append_only {
            wait("a save", WITHIN, || {
                (self.redis.try_run(&["SAVE"]).unwrap() == Reply::Text("OK".into())).then_some(())
            });
        }
    }

    /// Nothing that was accepted is lost by this.
    fn restart(&mut self, more: &[&str]) {
        let turn = self.writer.as_ref().map(|w| Arc::clone(&w.turn));
        let _alone = turn.as_ref().map(|turn| turn.lock().unwrap());
        self.save();
        self.redis.restart_with(more);
    }

    fn evict(&mut self) {
        let (used, before) = (self.used(), self.evicted());
        self.redis.run(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
        self.limit(&(used * 86 / 100).to_string());
        wait("keys to be evicted", WITHIN, || (self.evicted() != before).then_some(()));
        // Near, but not so near that the buffers of whoever looks at it evict more.
        let limit = [0, self.used() + 600_000, self.used() * 120 / 100][self.dice.below(3)];
        self.limit(&limit.to_string());
    }

    fn used(&self) -> u64 {
        self.redis.info("used_memory").parse().unwrap()
    }

    fn happens(&mut self, event: Event) {
        use Event::*;
        match event {
            Plan => self.plan(),
            Write => drop(self.redis.try_run(&["INCR", "event"])),
            HiddenWrite => drop(self.redis.try_run(&["hidden", "hidden", "x"])),
            Writer if self.writer.is_none() => self.writer = Some(writer::Writer::start(self.redis.port)),
            ResetStatistics => drop(self.redis.run(&["CONFIG", "RESETSTAT"])),
            Failover => drop(self.redis.run(&["DEBUG", "CHANGE-REPL-ID"])),
            Restart => self.restart(&[]),
            Rename => self.restart(&["--rename-command", "REPLICAOF", "", "--rename-command", "SLAVEOF", ""]),
            DamageSource => flip(&data_of(&self.bench, &self.backup)),
            DamageWayBack => drop(self.way_back().map(|id| flip(&data_of(&self.bench, &id)))),
            LoseWayBack => {
                let files = self.way_back().map(|id| data_of(&self.bench, &id));
                drop(files.map(|f| std::fs::remove_dir_all(f.parent().unwrap())));
            }
            DeleteWayBack => {
                let Some(id) = self.way_back() else { return };
                let call = ["delete-backup", "--instance-id", "orders", "--backup-id", &id, "--json"];
                let token = text(&self.bench.run(&call).json()["confirmation_token"]);
                let done = self.bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
                assert_eq!(done.code, 0, "{}: {done:?}", self.when);
            }
            OtherPlans => {
                for _ in 0..6 {
                    self.happens(Write);
                    // Of another act: an equal plan would take the place of this round's.
                    let some = ["--filter-key", "nothing:.*", "--json"];
                    let call = ["restore-instance", "--instance-id", "orders", "--backup-id", &self.backup];
                    self.bench.run(&[&call[..], &some].concat());
                }
            }
            Evict => self.evict(),
            // Not before the job; and one writer is enough.
            Writer | KillProgram | KillTarget => {}
        }
    }

    /// Carries the plan out. What the reply says; of a job that lost its program, what the next one says.
    fn carry_out(&mut self, kills: Option<Event>) -> Value {
        let token = text(&self.planned.as_ref().unwrap()["confirmation_token"]);
        let begun = Instant::now();
        let child = self.bench.spawn(&self.arguments(&["--confirmation-token", &token]));
        let took = self.shared.took.lock().unwrap().get(&self.way).copied().unwrap_or(Duration::from_secs(1));
        // Most of it is making sure; what comes last is what matters.
        let moment = took.mul_f64(self.dice.share().sqrt());
        let done = match kills {
            None => finish(child),
            Some(kills) => {
                let mut child = child;
                // Not a guess: the moment is what the round is about.
                std::thread::sleep(moment);
                if kills == Event::KillTarget {
                    self.redis.kill();
                    self.redis.restart();
                } else {
                    child.kill().unwrap();
                }
                finish(child)
            }
        };
        if kills.is_none() && done.code == 0 {
            self.shared.took.lock().unwrap().insert(self.way, begun.elapsed());
        }
        // Whatever a dead process has left is reconciled by this.
        let job = self.bench.jobs().into_iter().find(|job| job["kind"] == "restore").unwrap_or_default();
        if done.out.is_empty() {
            self.shared.killed.fetch_add(u64::from(job["status"].is_string()), Ordering::SeqCst);
            return job;
        }
        let said = done.json();
        // The reply came before the end of a long job; the process went on until then.
        if said["status"] == "started" { job } else { said }
    }

    /// The way back that a reply or a job names.
    fn named_way_back(said: &Value) -> String {
        let words =
            format!("{} {}", said["message"].as_str().unwrap_or_default(), said["hint"].as_str().unwrap_or_default());
        let named = ["backup_id ", "safety backup "].iter().find_map(|lead| {
            let id = words.rsplit_once(lead)?.1.split([' ', ';', ',']).next()?.trim_end_matches('.');
            id.starts_with("b-").then(|| id.to_owned())
        });
        let planned = || said["plan"]["safety_backup_id"].as_str().map(str::to_owned);
        planned().or(named).unwrap_or_else(|| panic!("no way back: {said}"))
    }

    fn restore_way_back(&self, said: &Value) -> Done {
        // What a limit would not let in is no question of the way back.
        self.limit("0");
        self.bench.restore(&Self::named_way_back(said))
    }

    pub fn play(mut self, events: &[Event]) {
        let held = self.data();
        self.redis.run(&["SET", "round", "1"]);
        if self.dice.below(2) == 0 {
            // Then this one is used again.
            self.bench.backup();
        }
        events.iter().for_each(|event| self.happens(*event));
        if self.planned.is_none() {
            self.plan();
        }
        let kills = events.iter().copied().find(|e| matches!(e, Event::KillProgram | Event::KillTarget));
        self.save();
        let evicted = self.evicted();
        let before = self.data();
        let settings = |redis: &Redis| SETTINGS.map(|name| redis.setting(name));
        let set = settings(&self.redis);
        let said = if self.planned.is_some() { self.carry_out(kills) } else { Value::Null };
        let counted = said["message"].as_str().and_then(accepted_after);
        let last = self.writer.take().map(writer::Writer::end);
        let when = format!("{}: {said}", self.when);
        let succeeded = said["status"] == "succeeded";
        let how =
            if succeeded { "succeeded".to_owned() } else { said["code"].as_str().unwrap_or("no plan").to_owned() };
        *self.shared.ends.lock().unwrap().entry(format!("{:?}: {how}", self.way)).or_default() += 1;

        assert_eq!(self.redis.info("role"), "master", "{when}");
        let same_process = self.redis.info("run_id") == evicted.0;
        if same_process {
            let mut left = settings(&self.redis);
            // A target that holds more than its limit keeps all of that, and the person is told what to do.
            if said["code"] == "restore.unsettled" && left[MAXMEMORY] == "0" {
                assert!(said["message"].as_str().unwrap().contains("maxmemory"), "{when}");
                left[MAXMEMORY].clone_from(&set[MAXMEMORY]);
                self.limit("1000000000");
                // The rollback that was pending leaves alone what the person has set.
                self.bench.jobs();
            }
            assert_eq!(left, set, "{when}");
        }
        // What goes by itself at any moment is in no one state: what the target has evicted since the last safety backup nobody has
        // written, and such keys come back.
        let evicts = events.contains(&Event::Evict);
        let at_plan = self.at_plan.clone();
        let was_there = |now: &String| *now == before || evicts && *now == at_plan;
        let quiet = self.evicted() == evicted || !same_process && !evicts;
        if !succeeded {
            let now = self.data();
            if !quiet {
                return;
            }
            if kills.is_none() && !evicts {
                assert_eq!(now, before, "{when}");
            }
            if now != before {
                let back = self.restore_way_back(&said);
                let now = self.data();
                assert!(back.code == 0 && was_there(&now), "{when}: {now} is not {before}: {back:?}");
            } else if let (Some(last), true) = (last, self.append_only || kills != Some(Event::KillTarget)) {
                assert_eq!(self.redis.run(&["GET", "live"]).text(), last.to_string(), "{when}: a write is lost");
            }
            return;
        }

        let quiet = quiet && (!same_process || self.evicted() == evicted);
        self.redis.kill();
        self.redis.restart();
        // A target near its limit may evict as soon as it serves.
        if quiet {
            assert_eq!(self.data(), held, "{when}: this is on its disk");
        }
        let back = self.restore_way_back(&said);
        assert_eq!(back.code, 0, "{when}: {back:?}");
        if !quiet {
            return;
        }
        let now = self.data();
        assert!(was_there(&now), "{when}: {now} is not {before}: {back:?}");
        let there = self.redis.run(&["GET", "live"]).text().parse::<i64>().unwrap();
        match counted {
            Some(counted) => {
                self.shared.counted.fetch_add(u64::from(counted > 0), Ordering::SeqCst);
                let counted = i64::try_from(counted).unwrap();
                assert_eq!(there + counted, last.unwrap_or(there), "{when}: {there} in the way back");
                assert!(counted == 0 || !self.fence, "{when}");
            }
            // A program that died may have known no count.
            None => assert!(
                kills == Some(Event::KillProgram) && there <= last.unwrap_or(there),
                "{when}: {there}, {last:?}"
            ),
        }
    }
}
