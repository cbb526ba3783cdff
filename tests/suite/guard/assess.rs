//! A provider reports facts and nothing else: one that checks nothing cannot restore, because the guard decides which checks an
//! act needs, and unknown facts do not pass.

use crate::guard::flow::{self, Nobody, Silent};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::guard::ConfirmationPolicy;
use tair_backup_mcp::guard::act::{Act, CloneOrder, PolicyChange, Source};
use tair_backup_mcp::guard::assess::{Assessment, assess, safety_backup};
use tair_backup_mcp::guard::check::Status;
use tair_backup_mcp::guard::facts::Facts;
use tair_backup_mcp::guard::facts::backup::{CloudSet, VaultDeletion};
use tair_backup_mcp::guard::facts::clone::LocalClone;
use tair_backup_mcp::guard::facts::replay::{Builder, Room};
use tair_backup_mcp::guard::facts::restore::{
    DirectRestore, Libraries, ListedSafety, MethodReason, NotReady, Position, SafetyFacts, SafetyProof, SafetyStatus,
    SetLook, SourceFacts, TargetFacts,
};
use tair_backup_mcp::guard::facts::rights::{Right, StepRight};
use tair_backup_mcp::guard::ledger::{ConfirmationStatus, Ledger as _};
use tair_backup_mcp::guard::permit::Permit;
use tair_backup_mcp::guard::plan::{Plan, Safety};
use tair_backup_mcp::guard::preconditions::Preconditions;
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::guard::writes::Writes;
use tair_backup_mcp::model::backup::{BackupSet, DamagedSet, Mode};
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::instance::{Capabilities, Capability, Instance};
use tair_backup_mcp::model::job::Job;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::model::restore::Method;
use tair_backup_mcp::provider::{Carried, Downloaded, InstanceQuery, OnBytes, Provider, Raised, Range, SignedUrl};
use tair_backup_mcp::state::State as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::tools::{self, App, Outcome, ToolCall};
use tempfile::TempDir;

const RULES: Rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: None };

/// Facts that pass every check.
pub fn passing() -> DirectRestore {
    let writes = Writes::counted(7, Timestamp::now());
    DirectRestore {
        target: TargetFacts {
            address: "redis://127.0.0.1:1".into(),
            engine: "redis".into(),
            version: "7.0.15".into(),
            run_id: "a".repeat(40),
            replication_id: "b".repeat(40),
            not_ready: None,
            sentinel: false,
            replicas: 0,
            append_only: false,
            counts: [(0, (12, 0))].into(),
            writes,
            measured: Some((0.0, 1.0)),
            used_memory: 1 << 20,
            maxmemory: 0,
            eviction_policy: "noeviction".into(),
            free_memory: Some(1 << 30),
            method: Method::Replication,
            method_reason: MethodReason::CanFollow,
            in_place: None,
            rights: vec![StepRight { rule: "+replicaof", right: Right::Granted }],
            libraries: Libraries::default(),
            unpacked: 0,
            unread: Vec::new(),
            cannot_load: None,
            slots: String::new(),
        },
        source: SourceFacts {
            backup_id: "b-1".into(),
            taken_at: Timestamp::now(),
            sha256: "c".repeat(64),
            rdb_bytes: 1 << 20,
            counts: [(0, (37, 0))].into(),
            expired: Some(0),
            functions: 0,
            used_memory: 2 << 20,
            origin_known: true,
            without_crc64: false,
            look: SetLook::Verified { stored_digest: "d".repeat(64), crc64: true, module_data: false },
        },
        running: None,
        replay: None,
        keys: None,
        pending_rollback: None,
    }
}

/// A provider that reports the facts it is given, checks nothing, and counts how often it overwrites.
struct Careless {
    facts: Facts,
    safety: SafetyStatus,
    overwritten: AtomicU32,
    /// Where every plan that waits gets its yes while a safety backup is taken.
    yes_comes: Option<Arc<Sqlite>>,
    /// Whether the facts cannot be read for now.
    away: AtomicBool,
}

fn no<T>() -> Result<T, Fault> {
    Err(Fault::new(Kind::Unexpected, "test.not_asked_for", "the trial provider has none"))
}

#[async_trait]
impl Provider for Careless {
    async fn check_instance(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
    async fn instances(&self, _: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        no()
    }
    async fn describe(&self, _: &str) -> Result<Instance, Fault> {
        no()
    }
    async fn create_backup(&self, _: &str, _: Mode, _: &str, _: Option<u32>, _: &str) -> Result<(Job, bool), Fault> {
        no()
    }
    async fn backups(&self, _: &str, _: Option<Range>) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        no()
    }
    async fn backup(&self, _: &str, _: &str) -> Result<BackupSet, Fault> {
        no()
    }
    async fn download(&self, _: &BackupSet, _: &Path, _: &OnBytes) -> Result<Downloaded, Fault> {
        no()
    }
    async fn download_url(&self, _: &BackupSet) -> Result<SignedUrl, Fault> {
        no()
    }
    async fn backup_policy(&self, _: &str) -> Result<BackupPolicy, Fault> {
        no()
    }
    async fn raise_backup_policy(&self, _: &str, _: &PolicyChange, _: &str) -> Result<Raised, Fault> {
        no()
    }
    async fn capabilities(&self, _: &str, _: &[Capability]) -> Result<Capabilities, Fault> {
        Ok(Capabilities::all())
    }
    async fn facts(&self, _: &str, _: &Act, _: Option<&Plan>) -> Result<Facts, Fault> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Fault::new(Kind::Provider, "test.away", "the trial instance is away"));
        }
        Ok(self.facts.clone())
    }
    async fn safety_backup(&self, _: &str, _: &Assessment, _: &str) -> Result<SafetyFacts, Fault> {
        if let Some(state) = &self.yes_comes {
            for open in state.waiting().await? {
                state.transition(&open.nonce, &[ConfirmationStatus::Open], ConfirmationStatus::Approved).await?;
            }
        }
        Ok(SafetyFacts { job_id: String::new(), backup_id: "b-2".into(), status: self.safety.clone() })
    }
    async fn safety_status(&self, _: &str, safety: &Safety) -> Result<SafetyFacts, Fault> {
        let Safety { job_id, backup_id, .. } = safety.clone();
        Ok(SafetyFacts { job_id, backup_id, status: self.safety.clone() })
    }
    async fn carry_out(&self, permit: Permit) -> Result<Carried, Fault> {
        permit.overwrite()?;
        self.overwritten.fetch_add(1, Ordering::Relaxed);
        Ok(Carried::Done("overwritten".into()))
    }
    async fn recover(&self) -> Result<(), Fault> {
        Ok(())
    }
    async fn shut_down(&self, _: bool) {}
}

/// Restores with that provider, by two calls, under rules that need no person. Status, the whole of the last reply, and how
/// often the provider overwrote anything.
async fn restore(facts: DirectRestore, safety: SafetyStatus) -> (String, String, u32) {
    let (replies, overwritten) = run(Facts::DirectRestore(Box::new(facts)), safety).await;
    let reply = replies.unwrap();
    (reply["status"].as_str().unwrap().to_owned(), reply.to_string(), overwritten)
}

/// The last reply, or the code of the fault, and how often anything was overwritten.
async fn run(facts: Facts, safety: SafetyStatus) -> (Result<Value, &'static str>, u32) {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(&file, "[guard]\nconfirmation = \"token\"\n").unwrap();
    let config = Config::load(Some(home.path().join("home")), Some(file), false).unwrap();
    let state = Arc::new(Sqlite::new(config.home.dir()));
    let provider = Arc::new(Careless {
        facts,
        safety,
        overwritten: AtomicU32::new(0),
        yes_comes: None,
        away: AtomicBool::new(false),
    });
    let app = App { config, provider: Arc::clone(&provider) as Arc<dyn Provider>, state };
    let call = ToolCall { app: &app, caller: &Caller::mcp(), person: &Nobody, progress: &Silent };
    let mut arguments = json!({"instance_id": "orders", "backup_id": "b-1"});
    let mut reply = json!(null);
    for _ in 0..2 {
        let outcome = tools::run(&call, "restore_instance", arguments.clone()).await;
        let json = match outcome {
            Ok(Outcome::Reply { json, .. }) => json,
            Ok(Outcome::AskPerson { .. }) => panic!("nobody defers here"),
            Err(fault) => return (Err(fault.code), provider.overwritten.load(Ordering::Relaxed)),
        };
        arguments["confirmation_token"] = json["confirmation_token"].clone();
        reply = json;
    }
    assert!(!app.state.audit(None, None, 50).await.unwrap().is_empty());
    (Ok(reply), provider.overwritten.load(Ordering::Relaxed))
}

fn whole() -> SafetyStatus {
    proven(|_, _, _| ())
}

/// A safety backup that was read back and is of the target, but for what is changed.
fn proven(change: fn(&mut SetLook, &mut Position, &mut Position)) -> SafetyStatus {
    let mut look = SetLook::Verified { stored_digest: "e".repeat(64), crc64: true, module_data: false };
    let mut origin = Position { run_id: "a".repeat(40), replication_id: "b".repeat(40), offset: 100 };
    let mut target = origin.clone();
    change(&mut look, &mut origin, &mut target);
    let proof = SafetyProof::Vault { look, origin, target };
    SafetyStatus::Whole { keys: Some(12), taken_at: Timestamp::now(), reused: false, proof }
}

/// The test's provider can restore with passing facts: so a restore that is stopped below is stopped by the changed fact.
#[tokio::test]
async fn passing_facts_allow_a_restore() {
    let (status, reply, overwritten) = restore(passing(), whole()).await;
    assert_eq!((status.as_str(), overwritten), ("succeeded", 1), "{reply}");
}

/// A yes is not lost because it comes while an equal plan is being made, nor because its plan cannot be looked at for now: the call goes on with
/// the approved plan as soon as it can.
#[tokio::test]
async fn a_yes_is_not_lost_while_an_equal_plan_is_made() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(&file, "").unwrap();
    let config = Config::load(Some(home.path().join("home")), Some(file), false).unwrap();
    let state = Arc::new(Sqlite::new(config.home.dir()));
    let provider = Arc::new(Careless {
        facts: Facts::DirectRestore(Box::new(passing())),
        safety: whole(),
        overwritten: AtomicU32::new(0),
        yes_comes: Some(Arc::clone(&state)),
        away: AtomicBool::new(false),
    });
    let app = App { config, provider: Arc::clone(&provider) as Arc<dyn Provider>, state: state.clone() };
    let call = ToolCall { app: &app, caller: &Caller::mcp(), person: &Nobody, progress: &Silent };
    let plan = async || {
        let arguments = json!({"instance_id": "orders", "backup_id": "b-1"});
        match tools::run(&call, "restore_instance", arguments).await {
            Ok(Outcome::Reply { json, .. }) => Ok(json),
            Ok(Outcome::AskPerson { .. }) => panic!("nobody defers here"),
            Err(fault) => Err(fault.code),
        }
    };
    let first = plan().await.unwrap();
    let again = plan().await.unwrap();
    assert!(again["message"].as_str().unwrap().contains("has approved this very plan"), "{again}");
    assert_eq!(again["confirmation_token"], first["confirmation_token"]);
    provider.away.store(true, Ordering::Relaxed);
    assert_eq!(plan().await, Err("test.away"));
    provider.away.store(false, Ordering::Relaxed);
    assert_eq!(plan().await.unwrap()["confirmation_token"], first["confirmation_token"]);
    let left: Vec<_> = state.redeemable().await.unwrap().into_iter().map(|open| open.status).collect();
    assert_eq!(left, [ConfirmationStatus::Approved]);
}

/// Each mandatory check stops the restore by itself, though the provider checked nothing.
#[tokio::test]
async fn a_provider_that_forgets_its_checks_cannot_restore() {
    let target = |change: fn(&mut TargetFacts)| {
        let mut facts = passing();
        change(&mut facts.target);
        facts
    };
    let source = |change: fn(&mut SourceFacts)| {
        let mut facts = passing();
        change(&mut facts.source);
        facts
    };
    for (check, facts) in [
        ("instance_ready", target(|t| t.not_ready = Some(NotReady::Loading))),
        ("instance_ready", target(|t| t.not_ready = Some(NotReady::Replica { host: "h".into(), port: 1 }))),
        ("backup_verified", source(|s| s.look = SetLook::Damaged("cut".into()))),
        ("backup_verified", source(|s| s.look = SetLook::KnownFromPlan)),
        ("engine_compatible", target(|t| t.cannot_load = Some("a newer format".into()))),
        // Traffic that was not measured is not idle.
        ("write_traffic", target(|t| t.measured = None)),
        ("restore_rights", target(|t| t.rights.push(StepRight { rule: "+flushall", right: Right::Denied }))),
        ("restore_rights", target(|t| t.rights.push(StepRight { rule: "+swapdb", right: Right::Absent }))),
        ("restore_rights", target(|t| t.rights[0].right = Right::Refused("MISCONF the disk is full".into()))),
        ("room_for_data", target(|t| t.maxmemory = 1)),
        // It holds the set as the source packed it, and not as this target would keep it.
        ("room_for_data", target(|t| (t.maxmemory, t.unpacked) = (3 << 20, 1 << 20))),
        ("room_for_data", target(|t| t.free_memory = Some(1))),
        ("instance_idle", DirectRestore { pending_rollback: Some("rj-1".into()), ..passing() }),
    ] {
        let (status, reply, overwritten) = restore(facts, whole()).await;
        assert_eq!((status.as_str(), overwritten), ("blocked", 0), "{check}: {reply}");
        assert!(reply.contains(check), "{check}: {reply}");
    }
    let unknown = target(|t| t.rights[0].right = Right::Unknown);
    let (status, reply, overwritten) = restore(unknown, whole()).await;
    let told = "what cannot be tested is told, and stops nothing";
    assert_eq!((status.as_str(), overwritten), ("succeeded", 1), "{told}: {reply}");
}

/// A way back that is not there, not whole, not read, or not one to this very server stops the restore by itself.
#[tokio::test]
async fn a_safety_backup_that_proves_nothing_is_no_way_back() {
    let listed = SafetyStatus::Whole {
        keys: None,
        taken_at: Timestamp::now(),
        reused: false,
        proof: SafetyProof::Listed(Box::new(listed(|_| {}))),
    };
    for (why, safety) in [
        ("no room", SafetyStatus::Failed("no room".into())),
        ("is damaged", SafetyStatus::Damaged("cut".into())),
        ("not there any more", SafetyStatus::Gone),
        ("nobody has read it", listed),
        ("nobody has read it", proven(|look, _, _| *look = SetLook::KnownFromPlan)),
        ("is damaged", proven(|look, _, _| *look = SetLook::Damaged("flipped".into()))),
        ("does not tell", proven(|_, origin, _| origin.run_id.clear())),
        ("another process", proven(|_, origin, _| origin.run_id = "c".repeat(40))),
        ("another replication history", proven(|_, _, target| target.replication_id = "c".repeat(40))),
        ("has not reached", proven(|_, origin, _| origin.offset += 1)),
    ] {
        let (status, reply, overwritten) = restore(passing(), safety).await;
        assert_eq!((status.as_str(), overwritten), ("blocked", 0), "{why}: {reply}");
        assert!(reply.contains("safety_backup") && reply.contains(why), "{why}: {reply}");
    }
    // Written to since is no other server, and a set without CRC64 is one that the person is told of.
    let (status, reply, _) = restore(passing(), proven(|_, _, target| target.offset += 1)).await;
    assert_eq!(status, "succeeded", "{reply}");
    let unsummed = proven(|look, _, _| {
        *look = SetLook::Verified { stored_digest: "e".repeat(64), crc64: false, module_data: false };
    });
    let facts = SafetyFacts { job_id: String::new(), backup_id: "b-2".into(), status: unsummed };
    let check = safety_backup(&facts, &flow::plan().preconditions, false, None);
    assert!(check.status == Status::Warn && check.detail.contains("no CRC64"), "{check:?}");
}

/// Function libraries are data too: what is lost counts them, and names them where the user may list them.
#[test]
fn function_libraries_are_named_as_lost() {
    let act = Act::restore(Source::Backup { backup_id: "b-1".into() }, false);
    let impact = |libraries: Libraries, functions: u64| {
        let mut facts = passing();
        (facts.target.libraries, facts.source.functions) = (libraries, functions);
        let facts = Facts::DirectRestore(Box::new(facts));
        assess(&act, &facts, None, RULES).unwrap().impact
    };
    let none = impact(Libraries::default(), 0);
    assert!(![&none.now, &none.after, &none.lost].into_iter().any(|line| line.contains("function")), "{none:?}");
    let two = impact(Libraries { count: 2, names: vec!["precious".into(), "other".into()] }, 1);
    assert!(two.now.contains("2 function libraries (precious, other)"), "{two:?}");
    assert!(two.lost.contains("precious") && two.after.contains("1 function library"), "{two:?}");
    let unnamed = impact(Libraries { count: 2, names: Vec::new() }, 0);
    assert!(unnamed.now.contains("2 function libraries") && unnamed.lost.contains("function libraries"), "{unnamed:?}");
    let many = impact(Libraries { count: 1000, names: vec!["one".into()] }, 0);
    assert!(many.lost.contains("1000 function libraries (one and 999 more)"), "{many:?}");
}

/// Facts of another kind have other mandatory checks, which a restore would pass: they are no answer to what was asked.
#[tokio::test]
async fn facts_about_another_act_are_no_answer() {
    let others = || VaultDeletion {
        mode: Mode::Manual,
        sha256: "c".repeat(64),
        taken_at: Timestamp::now(),
        keys: 12,
        rdb_bytes: 1,
        others: 3,
        dependents: Vec::new(),
    };
    let mut another_set = passing();
    another_set.source.backup_id = "b-9".into();
    for facts in [Facts::VaultDeletion(others()), Facts::DirectRestore(Box::new(another_set))] {
        let shown = format!("{facts:?}");
        let (reply, overwritten) = run(facts, whole()).await;
        assert_eq!((reply.unwrap_err(), overwritten), ("act.unsupported", 0), "{shown}");
    }
}

/// When the plan of [`listed`] first looked at its instance.
fn looked_at() -> Timestamp {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

/// A safety backup as a cloud lists it that proves a way back, but for what is changed.
fn listed(change: impl FnOnce(&mut ListedSafety)) -> ListedSafety {
    let taken_at = looked_at() + SignedDuration::from_secs(3);
    let set = CloudSet {
        backup_id: "7".into(),
        bytes: 10,
        taken_at,
        finished_at: taken_at,
        expires_at: None,
        jobs: vec![1, 2],
        manual: true,
    };
    let read_at = taken_at + SignedDuration::from_secs(60);
    let mut listed = ListedSafety {
        set,
        asked_for: vec![2, 1],
        full: true,
        success: true,
        smallest_file: 5,
        foreign_nodes: Vec::new(),
        read_at,
    };
    change(&mut listed);
    listed
}

/// What the cloud lists under our job proves a way back only where it is a full backup of this instance, not empty, not about to expire,
/// and begun after the plan looked at what it has to bring back.
#[test]
fn a_listed_set_is_proven_by_what_it_is() {
    let of: Preconditions =
        serde_json::from_value(json!({"of": "cloud_restore", "set": null, "instance": {"address": "a",
        "architecture": "classic", "instance_class": "c", "engine_version": "7.0", "created_at": ""}}))
        .unwrap();
    let judged = |change: fn(&mut ListedSafety), looked_at| {
        let listed = listed(change);
        let status = SafetyStatus::Whole {
            keys: None,
            taken_at: listed.set.taken_at,
            reused: false,
            proof: SafetyProof::Listed(Box::new(listed)),
        };
        let facts = SafetyFacts { job_id: "bj-1".into(), backup_id: "7".into(), status };
        safety_backup(&facts, &of, false, looked_at)
    };
    let good = judged(|_| {}, Some(looked_at()));
    assert_eq!(good.status, Status::Pass, "{good:?}");
    let later = judged(|s| s.set.expires_at = Some(s.read_at + SignedDuration::from_hours(2)), Some(looked_at()));
    assert_eq!(later.status, Status::Pass, "{later:?}");
    type Change = fn(&mut ListedSafety);
    let bad: [(&str, Change); 9] = [
        ("Success", |s| s.success = false),
        ("were asked for", |s| s.set.jobs = vec![1, 3]),
        ("were asked for", |s| s.asked_for.clear()),
        ("0 bytes", |s| s.smallest_file = 0),
        ("full backup", |s| s.full = false),
        ("no node of this instance", |s| s.foreign_nodes.push("r-other".into())),
        ("expires", |s| s.set.expires_at = Some(s.read_at + SignedDuration::from_mins(1))),
        ("expires", |s| s.set.expires_at = Some(s.read_at - SignedDuration::from_mins(1))),
        ("before the plan", |s| s.set.taken_at -= SignedDuration::from_mins(1)),
    ];
    for (why, change) in bad {
        let check = judged(change, Some(looked_at()));
        assert!(check.status == Status::Block && check.detail.contains(why), "{why}: {check:?}");
    }
    assert_eq!(judged(|_| {}, None).status, Status::Block);
}

/// A clone that this machine has no room for is blocked, as is one that no program here loads; what is not known is a warning.
#[test]
fn a_clone_needs_a_program_and_room_here() {
    let source = Source::Backup { backup_id: "b-1".into() };
    let order = CloneOrder {
        source,
        instance_name: None,
        instance_class: None,
        zone_id: None,
        vswitch_id: None,
        recover_config_mode: Vec::new(),
    };
    let judged = |program: Result<Builder, String>, name: &str| {
        let facts = LocalClone {
            instance_id: "orders".into(),
            name: None,
            source: passing().source,
            program,
            replay: None,
            delete: "tair-backup-mcp delete-instance --instance-id".into(),
            lifetime_hours: 24,
        };
        let act = Act::CreateInstanceFromBackup { order: order.clone() };
        let assessed = assess(&act, &Facts::LocalClone(Box::new(facts)), None, RULES).unwrap();
        assert!(!assessed.needs_safety_backup);
        assessed.checks.iter().find(|check| check.name.as_str() == name).unwrap().status
    };
    let room = |need, free| Room { need, free };
    let program = |memory, disk| Ok(Builder { program: "Redis 7.0.15".into(), memory, disk });
    let enough = room(10, Some(10));
    for (program, name, status) in [
        (program(enough, enough), "room_here", Status::Pass),
        (program(room(11, Some(10)), enough), "room_here", Status::Block),
        (program(enough, room(11, Some(10))), "room_here", Status::Block),
        (program(room(11, None), enough), "room_here", Status::Warn),
        (program(enough, enough), "engine_compatible", Status::Pass),
        (Err("none".into()), "engine_compatible", Status::Block),
    ] {
        assert_eq!(judged(program.clone(), name), status, "{program:?}");
    }
    // Facts about another set are none about this act.
    let other = Act::CreateInstanceFromBackup {
        order: CloneOrder { source: Source::Backup { backup_id: "b-2".into() }, ..order.clone() },
    };
    let facts = LocalClone {
        instance_id: "orders".into(),
        name: None,
        source: passing().source,
        program: program(enough, enough),
        replay: None,
        delete: "tair-backup-mcp delete-instance --instance-id".into(),
        lifetime_hours: 24,
    };
    assert_eq!(assess(&other, &Facts::LocalClone(Box::new(facts)), None, RULES).unwrap_err().code, "act.unsupported");
}
