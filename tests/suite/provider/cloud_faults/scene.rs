//! One account to play cases of an act in: servers, the emulator over them, and the line to it on which faults strike. Each case has a
//! home of its own, so that what it wrote down is that case's alone.

use super::agree::{self, Emulated};
use super::{Case, When};
use crate::provider::cloud::{Cloud, ID, Ours, redis};
use crate::support::between::{Between, Call};
use crate::support::emulator::client_at;
use crate::support::{Redis, wait};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::provider::InstanceQuery;
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::tair::params::first;
use tair_backup_mcp::tools::{
    FollowUp, Outcome, ToolCall, create_backup, create_instance_from_backup, delete_backup, describe_backups,
    modify_backup_policy, restore_instance,
};
use tempfile::TempDir;

/// What is done to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Backup,
    Restore,
    Fenced,
    Clone,
    TairClone,
    Delete,
    Raise,
    Lower,
    Look,
}

impl Act {
    pub const ALL: [Self; 9] = [
        Self::Backup,
        Self::Restore,
        Self::Fenced,
        Self::Clone,
        Self::TairClone,
        Self::Delete,
        Self::Raise,
        Self::Lower,
        Self::Look,
    ];

    /// The action that does it.
    pub const fn sent_by(self) -> &'static str {
        match self {
            Self::Backup => "CreateBackup",
            Self::Restore | Self::Fenced => "RestoreInstance",
            Self::Clone => "CreateInstance",
            Self::TairClone => "CreateTairInstance",
            Self::Delete => "DeleteBackup",
            Self::Raise | Self::Lower => "ModifyBackupPolicy",
            Self::Look => "",
        }
    }

    /// Whether a call does it. A dry run does not.
    pub fn is_sent_by(self, call: &Call) -> bool {
        call.action == self.sent_by() && first(&call.params, "DryRun") != Some("true")
    }

    /// What its tool is called with.
    pub fn args(self, instance_id: &str, backup_id: &str, retention: i64) -> Value {
        match self {
            Self::Fenced => json!({"instance_id": instance_id, "backup_id": backup_id, "write_fence": true}),
            Self::Clone | Self::TairClone => {
                json!({"instance_id": instance_id, "backup_id": backup_id, "zone_id": "", "vswitch_id": ""})
            }
            Self::Raise | Self::Lower => json!({"instance_id": instance_id, "backup_retention_period": retention}),
            Self::Backup => json!({"instance_id": instance_id, "wait_seconds": 30}),
            Self::Restore | Self::Delete | Self::Look => json!({"instance_id": instance_id, "backup_id": backup_id}),
        }
    }

    /// Calls its tool, in a process that comes to its end with `end`. `None`: it has.
    pub fn call(self, ours: &Ours, end: impl Future<Output = ()>, args: &Value) -> Option<Result<Value, Fault>> {
        match self {
            Self::Backup => ours.tool_until(end, args, create_backup::run),
            Self::Restore | Self::Fenced => ours.tool_until(end, args, restore_instance::run),
            Self::Clone | Self::TairClone => ours.tool_until(end, args, create_instance_from_backup::run),
            Self::Delete => ours.tool_until(end, args, delete_backup::run),
            Self::Raise | Self::Lower => ours.tool_until(end, args, modify_backup_policy::run),
            Self::Look => {
                let listed = async |call: &ToolCall<'_>, args| {
                    Outcome::reply(&describe_backups::run(call, args).await?, FollowUp::Nothing)
                };
                ours.tool_until(end, &json!({"instance_id": args["instance_id"]}), listed)
            }
        }
    }

    pub const fn is_cloud_native(self) -> bool {
        matches!(self, Self::TairClone | Self::Delete)
    }

    const fn is_clone(self) -> bool {
        matches!(self, Self::Clone | Self::TairClone)
    }
}

/// Waits of a client in a hurry: what takes minutes in the cloud takes parts of a second here.
pub fn hurried() -> Polling {
    Polling {
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(60),
        backup_timeout: Duration::from_secs(6),
        restore_timeout: Duration::from_secs(6),
        clone_timeout: Duration::from_secs(6),
        ready_timeout: Duration::from_millis(1500),
        visibility_delay: Duration::from_millis(700),
        metrics_delay: Duration::ZERO,
        outage_timeout: Duration::from_millis(1500),
    }
}

/// An account with an instance, and a set of that.
pub struct Scene {
    act: Act,
    server: Redis,
    _spares: Vec<Redis>,
    cloud: Cloud,
    line: Between,
    set_id: String,
    /// Cases played in it.
    played: usize,
    bears: usize,
}

impl Scene {
    pub fn start(act: Act, cases: usize) -> Self {
        let server = redis(30);
        // A case has one yes, and must not have two instances.
        let spares: Vec<Redis> = (0..if act.is_clone() { cases + 1 } else { 0 }).map(|_| redis(0)).collect();
        let native = if act.is_cloud_native() { "generation = \"cloud_native\"" } else { "generation = \"classic\"" };
        let names: Vec<String> = (0..spares.len()).map(|n| format!("{}{n}", agree::SPARE)).collect();
        let spare = format!("{native}, spare = true");
        let mut instances = vec![(ID, &server, native)];
        instances.extend(spares.iter().zip(&names).map(|(server, name)| (name.as_str(), server, spare.as_str())));
        let cloud = Cloud::start(&instances);
        let line = Between::start(cloud.emulator.port);
        server.run(&["SET", "era", "set"]);
        let set_id = Ours::new(&cloud).backup(ID).id;
        agree::give_policy(&cloud, ID);
        Self { act, server, _spares: spares, cloud, line, set_id, played: 0, bears: cases }
    }

    pub fn is_used_up(&self) -> bool {
        self.played >= self.bears
    }

    /// One that must succeed has the time that a slow machine takes.
    fn ours(&self, home: Arc<TempDir>, must_succeed: bool) -> Ours {
        let (long, ready) = (Duration::from_secs(60), Duration::from_secs(15));
        let (backup_timeout, restore_timeout, clone_timeout) = (long, long, long);
        let (ready_timeout, outage_timeout) = (ready, ready);
        let patient =
            Polling { backup_timeout, restore_timeout, clone_timeout, ready_timeout, outage_timeout, ..hurried() };
        Ours::polling(client_at(self.line.port), home, 1e9, if must_succeed { patient } else { hurried() })
    }

    /// Plays the act with nothing going wrong: it must succeed. Its calls, and how many came before the yes.
    pub fn without_faults(mut self) -> (Vec<Call>, usize) {
        let mut yes = 0;
        let line = self.line.clone();
        self.run(&mut || yes = line.calls().len(), None);
        (self.line.calls(), yes)
    }

    /// Plays a case: what was done, the two records agree on.
    pub fn play(&mut self, case: &Case) {
        let line = self.line.clone();
        if case.when != When::Yes {
            line.arm(case.armed());
        }
        self.run(
            &mut || {
                if case.when == When::Yes {
                    line.arm(case.armed());
                }
            },
            Some(case),
        );
    }

    /// Plays the act; without a case it must succeed.
    fn run(&mut self, on_yes: &mut dyn FnMut(), case: Option<&Case>) {
        let must_succeed = case.is_none();
        self.played += 1;
        // Every other restore takes long enough to be looked at in its middle.
        if matches!(self.act, Act::Restore | Act::Fenced) && case.is_none_or(Case::is_slow) {
            self.cloud.inject(
                &json!({"kind": "slow", "action": "RestoreInstance", "seconds": if must_succeed { 3 } else { 1 }}),
            );
        }
        let era = format!("case {}", self.played);
        self.server.run(&["SET", "era", &era]);
        let set_id = match self.act {
            Act::Delete => Ours::new(&self.cloud).backup(ID).id,
            _ => self.set_id.clone(),
        };
        let (retention, emulated) = (agree::retention(&self.cloud), Emulated::read(&self.cloud));
        // The set-up is no part of the record; what is armed waits.
        self.line.forget();
        let ours = self.ours(Arc::new(TempDir::new().unwrap()), must_succeed);
        let wanted = if self.act == Act::Raise { retention + 1 } else { retention - 1 };
        let done = self.drive(&ours, &set_id, wanted, on_yes);
        if must_succeed {
            let done = done.as_ref().unwrap().as_ref().unwrap_or_else(|e| panic!("{:?}: {e:?}", self.act));
            assert_eq!(done["status"], "succeeded", "{:?}: {done:#}", self.act);
        }
        // Of a process that is to die nobody hears an end.
        let ends = if done.is_some() { agree::ended(&ours) } else { Vec::new() };
        let wrong = |what: &str| format!("{what}; it came to {done:?}; jobs {ends:#?}");
        emulated.at_rest(&self.cloud);
        if must_succeed {
            self.line.calm();
        }
        let check = |ours: &Ours, found_again: bool| {
            let jobs = agree::ended(ours);
            let calls = self.line.calls();
            let kept = self.server.run(&["GET", "era"]).text();
            for agrees in [
                agree::with_calls(&jobs, &calls),
                agree::with_audit(ours, &jobs),
                emulated.agrees(&self.cloud, &calls),
                agree::with_data(&jobs, &kept, &era, "set"),
                agree::with_policy(&jobs, (retention, wanted), agree::retention(&self.cloud)),
                agree::with_fence(&jobs, agree::is_writable(&self.server)),
                if self.act == Act::Fenced && !found_again { agree::with_kept_fence(&jobs) } else { Ok(()) },
            ] {
                agrees.unwrap_or_else(|what| panic!("{}", wrong(&what)));
            }
            if found_again {
                assert!(agree::is_writable(&self.server), "{}", wrong("the fence is up for ever"));
                assert!(jobs.iter().all(|j| !j.needs_reconciliation()), "{}", wrong("something is left to reconcile"));
                for (before, now) in ends.iter().zip(&jobs) {
                    assert_eq!(
                        (before.id.as_str(), before.status),
                        (now.id.as_str(), now.status),
                        "{}",
                        wrong("another end")
                    );
                }
            }
        };
        if done.is_some() {
            check(&ours, false);
        }
        self.line.calm();
        let next = self.ours(ours.killed(), must_succeed);
        wait("what was left to be reconciled", Duration::from_secs(20), || {
            next.run(next.provider().recover()).unwrap();
            agree::ended(&next).iter().all(|j| !j.needs_reconciliation()).then_some(())
        });
        emulated.at_rest(&self.cloud);
        self.cloud.emulator.forget_faults();
        check(&next, true);
        if let Act::Look = self.act {
            self.look(&next, &set_id).unwrap();
        }
    }

    /// Does the act as an agent would that calls again a few times. `None`: the process that did it is to die.
    fn drive(
        &self,
        ours: &Ours,
        set_id: &str,
        retention: i64,
        on_yes: &mut dyn FnMut(),
    ) -> Option<Result<Value, Fault>> {
        if self.act == Act::Look {
            return Some(self.look(ours, set_id));
        }
        let mut agrees = || {
            on_yes();
            true
        };
        let call = |args: &Value| self.act.call(ours, self.line.death(), args);
        agree::insist(self.act.args(ID, set_id, retention), &call, &mut agrees)
    }

    /// Reads all there is to read: each answer is the truth, or none.
    fn look(&self, ours: &Ours, set_id: &str) -> Result<Value, Fault> {
        let mut last = Ok(json!({"status": "succeeded"}));
        let mut see = |what: &str, seen: Result<Value, Fault>, truth: Value| match seen {
            Ok(seen) => assert_eq!(seen, truth, "{what}"),
            Err(fault) => last = Err(fault),
        };
        let provider = ours.provider();
        let query = InstanceQuery { search: None, page_number: 1, page_size: 30 };
        let instances = ours.run(provider.instances(&query));
        let ids =
            |rows: Vec<tair_backup_mcp::model::instance::Instance>| rows.into_iter().map(|i| i.id).collect::<Vec<_>>();
        see("instances", instances.map(|(rows, total)| json!([ids(rows), total])), json!([[ID], 1]));
        see("instance", ours.run(provider.describe(ID)).map(|i| json!(i.id)), json!(ID));
        let sets = ours.run(provider.backups(ID, None));
        see("sets", sets.map(|all| all.into_iter().map(|set| set.unwrap().id).collect()), json!([set_id]));
        let policy = ours.run(provider.backup_policy(ID));
        see("policy", policy.map(|p| json!(p.backup_retention_period)), json!(400));
        let dir = TempDir::new().unwrap();
        let to = dir.path().join("set.rdb");
        let set = ours.run(provider.backup(ID, set_id));
        let loaded = set.and_then(|set| ours.run(provider.download(&set, &to, &|_, _| {})));
        let bytes = loaded.map(|loaded| json!(loaded.bytes));
        let on_disk = std::fs::metadata(&to).map_or(Value::Null, |file| json!(file.len()));
        assert!(bytes.is_ok() || on_disk.is_null(), "a download that failed left a file: {bytes:?}");
        see("download", bytes, on_disk);
        last
    }
}
