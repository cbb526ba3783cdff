//! One suite for every kind of place: what is promised of an instance holds whether we reach it ourselves or through the cloud's
//! API. The cloud is the emulator in a process of its own, so that the second run is our client → emulator → local provider → a
//! real Redis.

use crate::support::emulator::{Emulator, KEY, SECRET};
use crate::support::{Bench, Done, Redis, finish, program, text, wait};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

/// Where the instance is.
#[derive(Clone, Copy)]
enum Place {
    Local,
    Cloud,
}

/// An instance `orders` on a real server, and a home of ours that knows it.
struct Stage {
    redis: Redis,
    ours: Bench,
    /// What stands between us and the server: nothing, or the emulator and its own home.
    between: Option<(Emulator, Bench)>,
}

impl Stage {
    fn new(place: Place) -> Self {
        Self::with(place, "", &[])
    }

    /// `emulate`: what the instance is in the cloud; `server`: options of the server.
    fn with(place: Place, emulate: &str, server: &[&str]) -> Self {
        let redis = Redis::start("redis-7.0", server);
        redis.fill(0, 1);
        let guard = "[guard]\nconfirmation = \"token\"\nmax_writes_per_second = 1000000\n\n";
        let instance = format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url());
        let (config, between) = match place {
            Place::Local => (instance, None),
            Place::Cloud => {
                let there = Bench::new(&format!("{instance}emulate = {{ {emulate} }}\n"));
                let emulator = Emulator::start(&there, &[]);
                let endpoint = format!("http://127.0.0.1:{}", emulator.port);
                let config = format!("[tair]\nregion = \"cn-hangzhou\"\nendpoint = \"{endpoint}\"\n");
                (config, Some((emulator, there)))
            }
        };
        Self { redis, ours: Bench::new(&format!("{guard}{config}")), between }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.ours.command(&[args, &["--json"]].concat());
        command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY).env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET);
        command.env_remove("ALIBABA_CLOUD_SECURITY_TOKEN");
        command
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(self.spawn(args))
    }

    /// A call that must succeed.
    fn ok(&self, args: &[&str]) -> Value {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.json()
    }

    /// A call that must be refused, by exit code and stable code.
    fn refused(&self, args: &[&str], exit: i32, code: &str) -> Value {
        let done = self.run(args);
        assert_eq!((done.code, text(&done.json()["code"]).as_str()), (exit, code), "{args:?}: {done:?}");
        done.json()
    }

    fn backup(&self) -> String {
        let made = self.ok(&["create-backup", "--instance-id", "orders"]);
        assert_eq!(made["status"], "succeeded", "{made}");
        text(&made["backup_id"])
    }

    fn backups(&self, more: &[&str]) -> Vec<Value> {
        let listed = self.ok(&[&["describe-backups", "--instance-id", "orders", "--page-size", "100"], more].concat());
        listed["backups"].as_array().unwrap().clone()
    }

    fn jobs(&self) -> Vec<Value> {
        self.ok(&["describe-jobs"])["jobs"].as_array().unwrap().clone()
    }

    /// The first call of a restore.
    fn plan(&self, backup: &str) -> Value {
        let plan = self.ok(&["restore-instance", "--instance-id", "orders", "--backup-id", backup]);
        assert_eq!(plan["status"], "confirmation_required", "{plan:#}");
        plan
    }

    /// The second call, followed to the end of its job.
    fn echo(&self, backup: &str, token: &str) -> Done {
        let args = Bench::echo(backup, token);
        wait("the safety backup", Duration::from_secs(60), || {
            let done = self.run(args.get(..7).unwrap());
            (done.json()["status"] != "prechecks_pending").then_some(done)
        })
    }

    /// The second call of a plan that still holds. The cloud's monitor is late: what was written right before a plan may show only
    /// after it, and then voids it, once.
    fn confirm(&self, backup: &str, token: &str) -> Done {
        let done = self.echo(backup, token);
        match &self.between {
            Some(_) if done.json()["code"] == "plan.changed" => {
                self.echo(backup, &text(&done.json()["confirmation_token"]))
            }
            _ => done,
        }
    }

    fn restore(&self, backup: &str) -> Value {
        let plan = self.plan(backup);
        let done = self.confirm(backup, &text(&plan["confirmation_token"]));
        assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
        plan
    }
}

/// Makes two tests of one: for an instance of our own, and for one of the cloud.
macro_rules! everywhere {
    ($($(#[$doc:meta])* $name:ident($place:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                fn check($place: Place) $body

                #[test]
                fn local() {
                    check(Place::Local);
                }

                #[test]
                fn cloud() {
                    check(Place::Cloud);
                }
            }
        )*
    };
}

everywhere! {
    /// It is listed, serves, has no backup and says what that means; another id is unknown.
    an_instance_is_described(place) {
        let stage = Stage::new(place);
        let listed = stage.ok(&["describe-instances"]);
        let [instance] = listed["instances"].as_array().unwrap().as_slice() else { panic!("{listed}") };
        assert_eq!((&instance["instance_id"], &listed["total"]), (&"orders".into(), &1.into()), "{listed}");
        assert!(["running", "Normal"].contains(&text(&instance["status"]).as_str()), "{instance}");
        assert_eq!(instance["protection"]["backups"], 0, "{instance}");
        assert!(text(&instance["protection"]["not_recoverable"]).starts_with("everything"), "{instance}");
        let one = stage.ok(&["describe-instances", "--instance-id", "orders"]);
        assert_eq!(one["instances"][0]["engine_version"], instance["engine_version"]);
        let none = stage.ok(&["describe-instances", "--search", "nothing-like-it"]);
        assert_eq!(none["total"], 0, "{none}");
        for verb in ["describe-instances", "create-backup", "describe-backups"] {
            stage.refused(&[verb, "--instance-id", "ordres"], 4, "instance.not_found");
        }
    }

    /// A backup is a job with an end, a set in the list by time and by id, and the instance's protection.
    a_backup_is_made_and_listed(place) {
        let stage = Stage::new(place);
        let (first, second) = (stage.backup(), stage.backup());
        assert_ne!(first, second);
        let ids: Vec<String> = stage.backups(&[]).iter().map(|b| text(&b["backup_id"])).collect();
        assert_eq!(ids, [second.clone(), first.clone()], "newest first");
        let one = stage.backups(&["--backup-id", &first]);
        // Nobody has read the cloud's.
        let proven = if matches!(place, Place::Local) { "deep" } else { "unverified" };
        assert_eq!((one.len(), &one[0]["status"], &one[0]["mode"]), (1, &proven.into(), &"manual".into()), "{one:?}");
        assert!(one[0]["rdb_bytes"].as_u64().unwrap() > 100, "{one:?}");
        let past = ["describe-backups", "--instance-id", "orders", "--start-time", "2020-01-01T00:00Z", "--end-time", "2020-01-02T00:00Z"];
        let past = stage.ok(&past);
        assert_eq!((&past["total"], &past["outside_range"]), (&0.into(), &2.into()), "{past}");
        let page = stage.ok(&["describe-backups", "--instance-id", "orders", "--page-size", "1", "--page-number", "2"]);
        assert_eq!((&page["backups"][0]["backup_id"], &page["total"]), (&first.clone().into(), &2.into()), "{page}");
        let instance = &stage.ok(&["describe-instances"])["instances"][0];
        assert_eq!(instance["protection"]["last_backup_id"], second.as_str(), "{instance}");
        let jobs = stage.jobs();
        assert_eq!((jobs.len(), &jobs[0]["backup_id"], &jobs[0]["status"]), (2, &second.into(), &"succeeded".into()), "{jobs:?}");
        let unknown = if matches!(place, Place::Local) { "b-20200101T000000Z-000000" } else { "123456789" };
        for verb in ["describe-backups", "download-backup", "restore-instance"] {
            stage.refused(&[verb, "--instance-id", "orders", "--backup-id", unknown], 4, "backup.not_found");
        }
    }

    /// Of two calls at once the second joins the first's job: there is one set.
    a_second_call_joins(place) {
        let stage = Stage::new(place);
        stage.redis.holds_backups_for(3600);
        let first = stage.spawn(&["create-backup", "--instance-id", "orders"]);
        wait("the job", Duration::from_secs(20), || (!stage.jobs().is_empty()).then_some(()));
        let second = stage.ok(&["create-backup", "--instance-id", "orders", "--wait-seconds", "0"]);
        stage.redis.lets_backups_go_on();
        let first = finish(first).json();
        assert_eq!(second["joined"], true, "{second}");
        assert_eq!((&first["status"], &first["backup_job_id"]), (&"succeeded".into(), &second["backup_job_id"]), "{first}");
        assert_eq!(stage.backups(&[]).len(), 1);
    }

    /// The file is a whole RDB, is written once, and takes nobody's place.
    a_backup_is_downloaded(place) {
        let stage = Stage::new(place);
        let backup = stage.backup();
        let args = ["download-backup", "--instance-id", "orders", "--backup-id", &backup];
        let got = stage.ok(&args);
        let file = PathBuf::from(text(&got["path"]));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), got["bytes"].as_u64().unwrap());
        let checked = Command::new(program("redis-7.0", "check-rdb")).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        let again = stage.ok(&args);
        assert_eq!((&again["already_there"], &again["sha256"]), (&true.into(), &got["sha256"]), "{again}");
        std::fs::write(&file, "somebody else's").unwrap();
        stage.refused(&args, 3, "download.exists");
        assert_eq!(std::fs::read(&file).unwrap(), b"somebody else's");
        let outside = [&args[..], &["--directory", "/etc"]].concat();
        stage.refused(&outside, 3, "download.outside_roots");
    }

    /// A plan changes nothing, its echo brings the data back, once; and the safety backup brings back what was there before.
    a_restore_is_planned_confirmed_and_undone(place) {
        let stage = Stage::new(place);
        let (backup, other) = (stage.backup(), stage.backup());
        let good = stage.redis.digest();
        stage.redis.run(&["FLUSHALL"]);
        stage.redis.run(&["SET", "gone", "wrong"]);
        let bad = stage.redis.digest();
        let plan = stage.plan(&backup);
        assert_eq!(stage.redis.digest(), bad, "a plan changes nothing");
        for check in plan["prechecks"].as_array().unwrap() {
            assert!(["pass", "warn", "pending"].contains(&text(&check["status"]).as_str()), "{check}");
        }
        let names: Vec<String> = plan["prechecks"].as_array().unwrap().iter().map(|c| text(&c["name"])).collect();
        assert!(["instance_ready", "write_traffic", "safety_backup"].iter().all(|n| names.contains(&(*n).into())), "{names:?}");
        let token = text(&plan["confirmation_token"]);
        let elsewhere = stage.echo(&other, &token).json();
        assert_eq!(elsewhere["code"], "confirm.mismatch", "{elsewhere}");
        let done = stage.confirm(&backup, &token);
        assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
        assert_eq!(stage.redis.digest(), good);
        let again = stage.echo(&backup, &token);
        assert_eq!((again.code, &again.json()["code"]), (3, &"confirm.used".into()), "{again:?}");

        // What was taken before the restore holds what was wrong. The cloud calls it manual.
        let listed = stage.ok(&["describe-backups", "--instance-id", "orders"]);
        assert!(listed["backups"][0]["backup_id"] != other.as_str() && listed["backups"][0]["mode"] == "safety", "{listed}");
        assert_eq!((&listed["newest"][0]["mode"], &listed["newest"][0]["backup_id"]), (&"manual".into(), &other.as_str().into()), "{listed}");
        let protection = stage.ok(&["describe-instances"])["instances"][0]["protection"].clone();
        assert_eq!(protection["last_backup_id"], other.as_str(), "{protection}");
        let safety = stage.backups(&[]).iter().map(|b| text(&b["backup_id"])).find(|id| ![&backup, &other].contains(&id));
        stage.restore(&safety.expect("a safety backup"));
        assert_eq!(stage.redis.digest(), bad, "the way back");
        assert_eq!(stage.jobs().iter().filter(|j| j["kind"] == "restore" && j["status"] == "succeeded").count(), 2);
        let audit = stage.ours.run(&["audit", "--json"]).out;
        for event in ["planned", "approved", "restore.started", "restore.succeeded", "refused"] {
            assert!(audit.contains(&format!("\"event\":\"{event}\"")), "{event}: {audit}");
        }
    }

    /// What the plan was made of has changed: it no longer holds, and nothing is overwritten.
    a_plan_for_another_state_is_void(place) {
        let stage = Stage::new(place);
        let (backup, doomed) = (stage.backup(), stage.backup());
        let token = text(&stage.plan(&backup)["confirmation_token"]);
        let before = stage.redis.digest();
        let config = std::fs::read_to_string(stage.ours.dir.path().join("config.toml")).unwrap();
        stage.ours.configure(&config.replace("1000000", "999999"));
        let void = stage.echo(&backup, &token);
        assert_eq!((void.code, &void.json()["code"]), (3, &"plan.changed".into()), "{void:?}");
        assert_eq!(stage.redis.digest(), before);
        assert!(stage.backups(&[]).iter().any(|b| b["backup_id"] == doomed.as_str()));
    }

    /// A manual set goes once that was planned and echoed, the other one stays, and what is gone is unknown.
    manual_sets_are_deleted(place) {
        // Only of the cloud's newer generation can sets be deleted.
        let stage = Stage::with(place, "generation = \"cloud_native\"", &[]);
        let (kept, gone) = (stage.backup(), stage.backup());
        let args = ["delete-backup", "--instance-id", "orders", "--backup-id", &gone];
        let plan = stage.ok(&args);
        assert_eq!((&plan["status"], stage.backups(&[]).len()), (&"confirmation_required".into(), 2), "{plan}");
        let echo = [&args[..], &["--confirmation-token", plan["confirmation_token"].as_str().unwrap()]].concat();
        assert_eq!(stage.ok(&echo)["status"], "succeeded");
        let left: Vec<String> = stage.backups(&[]).iter().map(|b| text(&b["backup_id"])).collect();
        assert_eq!(left, [kept]);
        stage.refused(&args, 4, "backup.not_found");
    }

    /// Nothing is written by a server that may only read.
    read_only_writes_nothing(place) {
        let stage = Stage::new(place);
        let backup = stage.backup();
        let verbs: [&[&str]; 5] = [
            &["create-backup"],
            &["restore-instance", "--backup-id", &backup],
            &["delete-backup", "--backup-id", &backup],
            &["modify-backup-policy", "--backup-retention-period", "30"],
            &["create-instance-from-backup", "--backup-id", &backup],
        ];
        for verb in verbs {
            stage.refused(&[&["--read-only"], verb, &["--instance-id", "orders"]].concat(), 3, "mode.read_only");
        }
        assert_eq!(stage.backups(&[]).len(), 1);
    }

    /// A process that dies during a backup leaves a job that is reconciled by the next, and no half set.
    a_backup_whose_process_dies_is_reconciled(place) {
        let stage = Stage::new(place);
        stage.redis.holds_backups_for(3600);
        let mut first = stage.spawn(&["create-backup", "--instance-id", "orders"]);
        // A process that dies earlier has not asked the cloud for anything, and says so.
        wait("the backup to be under way", Duration::from_secs(20), || {
            stage.jobs().first().is_some_and(|job| job["stage"] != "starting").then_some(())
        });
        first.kill().unwrap();
        first.wait().unwrap();
        stage.redis.lets_backups_go_on();
        let job = wait("the job's end", Duration::from_secs(60), || {
            stage.jobs().into_iter().next().filter(|job| job["status"] != "running")
        });
        let sets = stage.backups(&[]);
        // The cloud goes on without us, and its set is found; a capture of our own ends with its process.
        match place {
            Place::Local => assert_eq!((&job["code"], sets.len()), (&"job.interrupted".into(), 0), "{job}"),
            Place::Cloud => assert_eq!((&job["status"], sets.len()), (&"succeeded".into(), 1), "{job}"),
        }
        assert_eq!(sets.iter().filter(|s| s["status"] == "damaged").count(), 0, "{sets:?}");
        stage.backup();
    }
}
