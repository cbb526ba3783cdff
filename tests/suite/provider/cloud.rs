//! The provider of instances on Alibaba Cloud, driven against the emulator with a real Redis behind it: every call over real
//! sockets, signed, and with what can go wrong going wrong.

use crate::guard::flow::Nobody;
use crate::support::emulator::{Emulator, client_at};
use crate::support::{Bench, Redis, program, text, wait};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tair_backup_mcp::config::Config;
use tair_backup_mcp::guard::act::PolicyChange;
use tair_backup_mcp::guard::assess::{Assessment, assess};
use tair_backup_mcp::guard::check::CheckName;
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, typed_answer};
use tair_backup_mcp::guard::plan::Plan;
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::model::backup::{BackupSet, Mode};
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::instance::Capability;
use tair_backup_mcp::model::job::{Job, JobStatus};
use tair_backup_mcp::model::verification::{Level, Look};
use tair_backup_mcp::provider::part::{Part, parts};
use tair_backup_mcp::provider::tair::Tair;
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::provider::{Carried, Raised};
use tair_backup_mcp::provider::{InstanceQuery, Provider};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::tair::client::Client;
use tair_backup_mcp::tools::{
    App, Outcome, Progress, ToolCall, create_instance_from_backup, delete_backup, describe_backup_policy,
    modify_backup_policy, restore_instance,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The instance of most tests.
pub(crate) const ID: &str = "r-bp1zxszhcgatnx0001";

/// The emulator over real servers.
pub(crate) struct Cloud {
    pub(crate) emulator: Emulator,
    pub(crate) bench: Bench,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // What was aimed wrong has tested nothing.
        if !std::thread::panicking() {
            assert_eq!(self.emulator.left(), json!([]), "faults that never struck");
        }
    }
}

impl Cloud {
    /// `instances`: id, server, and what it is in the cloud.
    pub(crate) fn start(instances: &[(&str, &Redis, &str)]) -> Self {
        let mut config = String::from("[guard]\nconfirmation = \"token\"\n");
        for (id, redis, emulate) in instances {
            config.push_str(&format!(
                "[[instance]]\nid = \"{id}\"\nurl = \"{}\"\nemulate = {{{emulate}}}\n",
                redis.url()
            ));
        }
        let bench = Bench::new(&config);
        Self { emulator: Emulator::start(&bench, &["--fault-control"]), bench }
    }

    /// Sets a fault; those set before have struck.
    pub(crate) fn inject(&self, fault: &Value) {
        self.inject_all(std::slice::from_ref(fault));
    }

    pub(crate) fn inject_all(&self, faults: &[Value]) {
        self.struck();
        self.emulator.inject_all(&json!(faults));
    }

    /// Every fault so far has struck.
    fn struck(&self) {
        assert_eq!(self.emulator.left(), json!([]), "faults that did not strike");
    }

    fn client(&self) -> Client {
        self.emulator.client()
    }
}

pub(crate) fn quick_polling() -> Polling {
    Polling {
        first_wait: Duration::from_millis(30),
        longest_wait: Duration::from_millis(300),
        backup_timeout: Duration::from_secs(60),
        restore_timeout: Duration::from_secs(60),
        clone_timeout: Duration::from_secs(60),
        ready_timeout: Duration::from_secs(10),
        visibility_delay: Duration::from_secs(3),
        metrics_delay: Duration::from_secs(12),
        outage_timeout: Duration::from_secs(5),
    }
}

/// Our side: a home of its own, and a runtime that can be dropped as a process that dies drops what it does.
pub(crate) struct Ours {
    runtime: Runtime,
    pub(crate) app: Arc<App>,
    home: Arc<TempDir>,
}

#[async_trait]
impl Progress for Nobody {
    async fn report(&self, _: u64, _: u64, _: &str) {}
}

impl Ours {
    pub(crate) fn new(cloud: &Cloud) -> Self {
        // Writes are counted over minutes, and tests write: whether they block is another test.
        Self::with(cloud, Arc::new(TempDir::new().unwrap()), 1e9)
    }

    pub(crate) fn with(cloud: &Cloud, home: Arc<TempDir>, max_writes: f64) -> Self {
        Self::behind(cloud.client(), home, max_writes)
    }

    pub(crate) fn behind(client: Client, home: Arc<TempDir>, max_writes: f64) -> Self {
        Self::polling(client, home, max_writes, quick_polling())
    }

    /// [`Self::behind`] with other waits.
    pub(crate) fn polling(client: Client, home: Arc<TempDir>, max_writes: f64, polling: Polling) -> Self {
        Self::made(client, home, max_writes, polling, false)
    }

    /// A process with `--read-only`.
    pub(crate) fn reading(client: Client, home: Arc<TempDir>) -> Self {
        Self::made(client, home, 1e9, quick_polling(), true)
    }

    fn made(client: Client, home: Arc<TempDir>, max_writes: f64, polling: Polling, read_only: bool) -> Self {
        let file = home.path().join("config.toml");
        // Without an end there is no limit.
        let limit =
            if max_writes.is_finite() { format!("max_writes_per_second = {max_writes:?}\n") } else { String::new() };
        let guard = format!("[guard]\nconfirmation = \"token\"\n{limit}");
        std::fs::write(&file, guard).unwrap();
        let config = Config::load(Some(home.path().join("home")), Some(file), read_only).unwrap();
        let state: Arc<dyn State> = Arc::new(Sqlite::new(config.home.dir()));
        let provider = Arc::new(Tair::with(client, Arc::clone(&state), polling, read_only));
        // As the program's: one thread, which works while somebody waits.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, app: Arc::new(App { config, provider, state }), home }
    }

    /// What a crash leaves: the home, nothing running. The next process finds it.
    pub(crate) fn crash(self, cloud: &Cloud) -> Self {
        Self::with(cloud, self.killed(), 1e9)
    }

    /// The home that a process leaves which is killed.
    pub(crate) fn killed(self) -> Arc<TempDir> {
        let home = Arc::clone(&self.home);
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        drop(self.app);
        home
    }

    /// Another process on the same home.
    pub(crate) fn beside(&self, cloud: &Cloud) -> Self {
        Self::with(cloud, Arc::clone(&self.home), 1e9)
    }

    /// What an act's facts come to.
    pub(crate) fn assess(
        &self,
        act: &tair_backup_mcp::guard::act::Act,
        earlier: Option<&Plan>,
        rules: Rules,
    ) -> Assessment {
        let facts = self.run(self.provider().facts(ID, act, earlier)).unwrap();
        assess(act, &facts, earlier.map(Plan::earlier), rules).unwrap()
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        self.app.provider.as_ref()
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Lets what runs on this side go on for a moment.
    pub(crate) fn pause(&self) {
        self.run(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }

    /// A restore that was planned and confirmed, in the middle of its work, and its job once that has come to this stage.
    pub(crate) fn restoring(&self, args: &Value, stage: &str) -> Job {
        let mut again = args.clone();
        again["confirmation_token"] = self.tool(args, restore_instance::run).unwrap()["confirmation_token"].clone();
        let app = Arc::clone(&self.app);
        let task = self.runtime.spawn(async move {
            let call = ToolCall { app: &app, caller: &Caller::mcp(), person: &Nobody, progress: &Nobody };
            restore_instance::run(&call, serde_json::from_value(again).unwrap()).await.map(|_| ())
        });
        wait("the restore to be followed", Duration::from_secs(30), || {
            self.pause();
            let jobs = self.run(self.app.state.jobs(Some(ID))).unwrap();
            assert!(!task.is_finished(), "it ended too soon");
            jobs.into_iter().find(|j| j.stage.starts_with(stage))
        })
    }

    pub(crate) fn job(&self, id: &str) -> Job {
        self.run(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.app.state.job(id).await.unwrap()
        })
    }

    pub(crate) fn ended(&self, id: &str) -> Job {
        wait(&format!("job {id}"), Duration::from_secs(60), || {
            Some(self.job(id)).filter(|job| job.status != JobStatus::Running)
        })
    }

    /// The audit says once that a permitted job began, and once how it ended, for the same caller and confirmation,
    /// whichever process ended it.
    pub(crate) fn assert_audited(&self, job: &Job, events: [&str; 2]) {
        let audit = self.run(self.app.state.audit(Some(&job.instance_id), None, 99)).unwrap();
        let of_job: Vec<_> = audit.iter().filter(|r| r.detail.contains(&job.id)).collect();
        let said: Vec<&str> = of_job.iter().map(|r| r.event.as_str()).collect();
        assert_eq!(said, events, "{audit:?}");
        assert!(
            of_job.iter().all(|r| r.caller == job.caller && r.caller == "local" && r.nonce == job.confirmation),
            "{audit:?}"
        );
        assert!(!job.confirmation.is_empty(), "{job:?}");
    }

    pub(crate) fn backup(&self, id: &str) -> BackupSet {
        let (job, joined) = self.run(self.provider().create_backup(id, Mode::Manual, "", None, "local")).unwrap();
        assert!(!joined);
        let job = self.ended(&job.id);
        assert_eq!(job.status, JobStatus::Succeeded, "{job:?}");
        self.run(self.provider().backup(id, &job.backup_id)).unwrap()
    }

    pub(crate) fn sets(&self, id: &str) -> Vec<BackupSet> {
        let sets = self.run(self.provider().backups(id, None)).unwrap();
        sets.into_iter().map(Result::unwrap).collect()
    }

    /// The policy as its tool shows it.
    pub(crate) fn policy(&self, id: &str) -> Value {
        let call = ToolCall { app: &self.app, caller: &Caller::mcp(), person: &Nobody, progress: &Nobody };
        let args = describe_backup_policy::Args { instance_id: id.into() };
        serde_json::to_value(self.run(describe_backup_policy::run(&call, args)).unwrap()).unwrap()
    }

    /// One call of a guarded tool.
    pub(crate) fn tool<A: serde::de::DeserializeOwned>(
        &self,
        args: &Value,
        tool: impl AsyncFnOnce(&ToolCall<'_>, A) -> Result<Outcome, Fault>,
    ) -> Result<Value, Fault> {
        self.run(self.called(args, tool))
    }

    async fn called<A: serde::de::DeserializeOwned>(
        &self,
        args: &Value,
        tool: impl AsyncFnOnce(&ToolCall<'_>, A) -> Result<Outcome, Fault>,
    ) -> Result<Value, Fault> {
        let call = ToolCall { app: &self.app, caller: &Caller::mcp(), person: &Nobody, progress: &Nobody };
        let Outcome::Reply { json, .. } = tool(&call, serde_json::from_value(args.clone()).unwrap()).await? else {
            panic!("a question")
        };
        Ok(json)
    }

    /// [`Self::tool`] in a process that comes to its end with `end`. `None`: it has.
    pub(crate) fn tool_until<A: serde::de::DeserializeOwned>(
        &self,
        end: impl Future<Output = ()>,
        args: &Value,
        tool: impl AsyncFnOnce(&ToolCall<'_>, A) -> Result<Outcome, Fault>,
    ) -> Option<Result<Value, Fault>> {
        self.run(async {
            tokio::select! {
                done = self.called(args, tool) => Some(done),
                () = end => None,
            }
        })
    }

    /// A look at the structure of a set has found it cut.
    pub(crate) fn finds_damage(&self, backup_id: &str) {
        let fault = Some("cut at byte 7".to_owned());
        let look = Look { at: jiff::Timestamp::now(), sha256: String::new(), server: None, fault };
        self.run(self.app.state.set_verified(ID, backup_id, Level::Structure, &look)).unwrap();
    }

    /// Both calls of a guarded tool: the plan and what came of it.
    pub(crate) fn guarded<A: serde::de::DeserializeOwned>(
        &self,
        args: &Value,
        tool: impl AsyncFn(&ToolCall<'_>, A) -> Result<Outcome, Fault>,
    ) -> (Value, Value) {
        let plan = self.tool(args, &tool).unwrap();
        assert_eq!(plan["status"], "confirmation_required", "{plan:#}");
        let mut again = args.clone();
        again["confirmation_token"] = plan["confirmation_token"].clone();
        let done = wait("the safety backup", Duration::from_secs(60), || {
            Some(self.tool(&again, &tool).unwrap()).filter(|done| done["status"] != "prechecks_pending")
        });
        (plan, done)
    }
}

pub(crate) fn redis(keys: u32) -> Redis {
    let redis = Redis::start("redis-7.0", &[]);
    for n in 0..keys {
        redis.run(&["SET", &format!("key:{n}"), &"v".repeat(100)]);
    }
    redis
}

fn check_rdb(file: &PathBuf) {
    let checked = Command::new(program("redis-7.0", "check-rdb")).arg(file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// An instance is described as the cloud has it, found by part of its id, and one that is not there is named with the
/// nearest one that is.
#[test]
fn instances_are_listed_and_found() {
    let (one, two) = (redis(1), redis(1));
    let other = "generation = \"cloud_native\", architecture = \"cluster\"";
    let cloud = Cloud::start(&[(ID, &one, ""), ("r-uf6other", &two, other)]);
    let ours = Ours::new(&cloud);
    let wanted = |search: Option<&str>, page_number, page_size| InstanceQuery {
        search: search.map(str::to_owned),
        page_number,
        page_size,
    };
    let (rows, total) = ours.run(ours.provider().instances(&wanted(None, 1, 30))).unwrap();
    assert_eq!((rows.len(), total), (2, 2));
    let (rows, total) = ours.run(ours.provider().instances(&wanted(None, 2, 1))).unwrap();
    assert_eq!((rows.len(), total), (1, 2));
    let (rows, total) = ours.run(ours.provider().instances(&wanted(Some("uf6"), 1, 500))).unwrap();
    assert_eq!((rows[0].id.as_str(), total), ("r-uf6other", 1));
    let live = rows[0].live.as_ref().unwrap();
    assert!(live.architecture.starts_with("cloud-native cluster"), "{live:?}");
    let described = ours.run(ours.provider().describe(ID)).unwrap();
    assert_eq!((described.kind, described.live.unwrap().status.as_str()), ("tair", "Normal"));
    let fault = ours.run(ours.provider().check_instance("r-bp1zxszhcgatnx0002")).unwrap_err();
    assert_eq!((fault.code, fault.kind), ("instance.not_found", Kind::NotFound));
    assert!(fault.hint.contains(ID), "{fault:?}");
}

/// A backup becomes a set with its size and times, is found under its id, and downloads to a file that Redis's own checker
/// passes; a second download finds the file, and never writes over another one.
#[test]
fn a_backup_is_taken_listed_and_downloaded() {
    let server = redis(500);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    assert_eq!((set.mode, set.sha256.as_str(), set.instance_id.as_str()), (Mode::Manual, "", ID));
    assert!(set.rdb_bytes > 1000 && set.finished_at >= set.started_at, "{set:?}");
    assert_eq!(ours.sets(ID).len(), 1);
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("set.rdb");
    let reported = Arc::new(Mutex::new(0));
    let progress = Arc::clone(&reported);
    let on_bytes = move |done: u64, _: u64| *progress.lock().unwrap() = done;
    let done = ours.run(ours.provider().download(&set, &to, &on_bytes)).unwrap();
    assert_eq!((done.bytes, done.already_there, *reported.lock().unwrap()), (set.rdb_bytes, false, set.rdb_bytes));
    assert_eq!((done.sha256.len(), done.rdb_version > 0), (64, true));
    check_rdb(&to);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the part file is left");
    let again = ours.run(ours.provider().download(&set, &to, &|_, _| {})).unwrap();
    assert_eq!((again.already_there, again.sha256), (true, done.sha256));
    // Another set of the same size is not taken for it.
    server.run(&["SET", "key:1", &"w".repeat(100)]);
    let other = ours.backup(ID);
    let fault = ours.run(ours.provider().download(&other, &to, &|_, _| {})).unwrap_err();
    assert_eq!(fault.code, "download.exists", "{fault:?}");
    let url = ours.run(ours.provider().download_url(&set)).unwrap();
    assert!(url.expires_at.is_some() && url.url.expose().starts_with("http://127.0.0.1"));
    // The cloud keeps its log to itself.
    let able = ours.run(ours.provider().capabilities(ID, &[Capability::DownloadMoment])).unwrap();
    assert_eq!(able.need(&[Capability::DownloadMoment]).unwrap_err().code, "download.no_log");
}

/// A set in which a look has found a fault is damaged, and neither downloaded nor restored, until a look that is as deep finds none.
#[test]
fn a_set_that_was_found_damaged_is_not_used() {
    let server = redis(500);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    ours.finds_damage(&set.id);
    let is_damaged = || {
        let listed = ours.run(ours.provider().backups(ID, None)).unwrap().remove(0);
        let refused = ours.run(ours.provider().backup(ID, &set.id)).err().map(|fault| fault.code);
        assert_eq!(refused, listed.as_ref().err().map(|_| "backup.damaged"));
        listed.err().is_some_and(|damaged| damaged.reason.contains("cut at byte 7"))
    };
    for (level, still) in [(Level::Checksum, true), (Level::Structure, false)] {
        assert!(is_damaged(), "before {level:?}");
        let plan = ours.tool(&json!({"instance_id": ID, "backup_id": set.id}), restore_instance::run).unwrap();
        assert!(plan["status"] == "blocked" && plan.to_string().contains("cut at byte 7"), "{plan:#}");
        let job = ours.run(ours.provider().verify((ID, &set.id), level, "local")).unwrap();
        let ended = ours.ended(&job.id);
        assert_eq!(ended.status, JobStatus::Succeeded, "{ended:?}");
        assert_eq!(is_damaged(), still, "behind {level:?}");
    }
}

/// A download that stopped goes on where it stopped, also where what it left belongs to another set.
#[test]
fn a_download_is_resumed() {
    let server = redis(2000);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let dir = TempDir::new().unwrap();
    let (whole, to, part) = (dir.path().join("whole"), dir.path().join("to"), dir.path().join(".to.part"));
    ours.run(ours.provider().download(&set, &whole, &|_, _| {})).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let half = bytes.len() / 2;
    let mut spoiled = bytes.clone();
    spoiled[half / 2] ^= 1;
    let long = [bytes.as_slice(), b"more"].concat();
    // Half of it; half with an error in it; all of it with one; more than all of it; what is no RDB.
    let begun = [&bytes[..half], &spoiled[..half], &spoiled[..], &long, &b"<html>"[..]];
    for (n, begun) in begun.iter().enumerate() {
        let mut left = Part::open(&parts(ours.app.config.home.dir()), &to).unwrap();
        assert_eq!(left.path, part);
        left.file.write_all(begun).unwrap();
        drop(left);
        let least = Arc::new(Mutex::new(u64::MAX));
        let shared = Arc::clone(&least);
        let on_bytes = move |done: u64, _: u64| {
            let mut least = shared.lock().unwrap();
            *least = done.min(*least);
        };
        ours.run(ours.provider().download(&set, &to, &on_bytes)).unwrap_or_else(|e| panic!("case {n}: {e:?}"));
        if n == 0 {
            assert!(*least.lock().unwrap() > u64::try_from(half).unwrap(), "it began anew");
        }
        assert_eq!(std::fs::read(&to).unwrap(), bytes, "case {n}");
        assert!(!part.exists(), "case {n}");
        std::fs::remove_file(&to).unwrap();
    }
}

/// What stands between us and the emulator: of the downloads that pass, the first is answered that its URL is too old, the
/// second is cut in its middle, and all further ones pass. Gives its port, and counts downloads and calls.
fn between(emulator: u16) -> (u16, Arc<Mutex<(u32, u32)>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&counts);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || pass(client.unwrap(), emulator, &counted));
        }
    });
    (port, counts)
}

/// One request of one connection; it is then closed, which every client has to bear.
fn pass(mut client: TcpStream, emulator: u16, counts: &Mutex<(u32, u32)>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.extend(byte);
    }
    let text = String::from_utf8(head).unwrap();
    // Calls have their parameters right behind the root; files have a path.
    let download = !text.split(' ').nth(1).unwrap().starts_with("/?");
    let number = {
        let mut counts = counts.lock().unwrap();
        let count = if download { &mut counts.0 } else { &mut counts.1 };
        *count += 1;
        *count
    };
    if download && number == 1 {
        client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", emulator)).unwrap();
    server.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).unwrap();
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).unwrap();
    let end = if download && number == 2 { reply.len() / 2 } else { reply.len() };
    client.write_all(&reply[..end]).unwrap();
}

/// A URL that has expired is renewed by listing the set again; a connection that breaks is taken up where it broke.
#[test]
fn an_expired_url_is_renewed_and_a_broken_connection_resumed() {
    let server = redis(2000);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let set = Ours::new(&cloud).backup(ID);
    let (port, counts) = between(cloud.emulator.port);
    let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("to");
    let done = ours.run(ours.provider().download(&set, &to, &|_, _| {})).unwrap();
    assert_eq!(done.bytes, set.rdb_bytes);
    check_rdb(&to);
    let (downloads, calls) = *counts.lock().unwrap();
    assert_eq!(downloads, 3);
    // Its attributes and its rows, twice: once for the first URL, once for the one renewed.
    assert_eq!(calls, 4);
}

/// Passes everything between a client and the emulator, but for the size that the list gives.
fn listing(emulator: u16, size: impl Fn(u64) -> u64 + Clone + Send + 'static) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, size) = (client.unwrap(), size.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    if client.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap().replacen("\r\n", "\r\nConnection: close\r\n", 1);
                let mut server = TcpStream::connect(("127.0.0.1", emulator)).unwrap();
                server.write_all(head.as_bytes()).unwrap();
                let mut reply = Vec::new();
                server.read_to_end(&mut reply).unwrap();
                if let Some((before, after)) =
                    String::from_utf8(reply.clone()).ok().as_deref().and_then(|text| text.split_once("\"BackupSize\":"))
                {
                    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
                    let listed = size(digits.parse().unwrap());
                    let body = format!(
                        "{}\"BackupSize\":{listed}{}",
                        before.split_once("\r\n\r\n").unwrap().1,
                        &after[digits.len()..]
                    );
                    reply =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                            .into_bytes();
                }
                let _ = client.write_all(&reply);
            });
        }
    });
    port
}

/// The size that the list gives proves nothing: the file's own checksum does. Another size is told, and the file is whole, found again and
/// resumed all the same.
#[test]
fn a_size_in_the_list_is_not_the_files() {
    let server = redis(500);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let set = Ours::new(&cloud).backup(ID);
    let real = set.rdb_bytes;
    let sizes: [fn(u64) -> u64; 6] = [|n| n, |n| n.div_ceil(1024) * 1024 + 1024, |n| n / 2, |_| 1, |_| 0, |n| n * 1000];
    for (n, size) in sizes.into_iter().enumerate() {
        let port = listing(cloud.emulator.port, size);
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        let dir = TempDir::new().unwrap();
        let to = dir.path().join("to");
        let set = ours.sets(ID).remove(0);
        assert_eq!(set.rdb_bytes, size(real));
        let told = (size(real) != real).then_some(size(real));
        for there in [false, true] {
            let done = ours.run(ours.provider().download(&set, &to, &|_, _| {})).unwrap();
            assert_eq!((done.bytes, done.listed_bytes, done.already_there), (real, told, there), "{n}");
            check_rdb(&to);
        }
        // A part that is the whole file, and no name yet: what a crash right before the end leaves.
        let whole = std::fs::read(&to).unwrap();
        let second = dir.path().join("second");
        let mut part = Part::open(&parts(ours.app.state.home()), &second).unwrap();
        part.file.write_all(&whole).unwrap();
        drop(part);
        let done = ours.run(ours.provider().download(&set, &second, &|_, _| {})).unwrap();
        assert_eq!((done.bytes, done.listed_bytes), (real, told), "{n}");
        assert_eq!(std::fs::read(&second).unwrap(), whole);
    }
}

/// URLs that are too old whenever they are given are given up, and none of them is in a message.
#[test]
fn urls_that_expire_at_once_are_given_up() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let set = Ours::new(&cloud).backup(ID);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let emulator = cloud.emulator.port;
    std::thread::spawn(move || {
        for client in listener.incoming() {
            pass(client.unwrap(), emulator, &Mutex::new((0, 0)));
        }
    });
    let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("to");
    let fault = ours.run(ours.provider().download(&set, &to, &|_, _| {})).unwrap_err();
    assert_eq!(fault.code, "download.interrupted", "{fault:?}");
    assert!(fault.message.contains("expired") && !format!("{fault:?}").contains("Signature"), "{fault:?}");
    assert!(!to.exists());
}

/// Calling while a job runs joins it: ours by our own record, the cloud's by BackupJobExists.
#[test]
fn a_running_backup_is_joined() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let (ours, others) = (Ours::new(&cloud), Ours::new(&cloud));
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 2}));
    let short = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", Some(6), "local")).unwrap_err();
    assert!(short.code == "arguments.invalid" && short.message.contains("7 to 730"), "{short:?}");
    let (job, joined) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", Some(30), "local")).unwrap();
    assert!(!joined);
    let (same, joined) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    assert_eq!((same.id.as_str(), joined), (job.id.as_str(), true));
    // Another home knows nothing of it; the cloud does.
    let (adopted, joined) = others.run(others.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    assert!(joined);
    let (first, second) = (ours.ended(&job.id), others.ended(&adopted.id));
    assert_eq!((first.status, second.status), (JobStatus::Succeeded, JobStatus::Succeeded), "{first:?} {second:?}");
    assert_eq!(first.backup_id, second.backup_id);
    let sets = ours.sets(ID);
    assert_eq!(sets.len(), 1, "two jobs by one");
    let kept = sets[0].expires_at.unwrap().duration_since(sets[0].started_at).as_hours();
    assert!((29 * 24..=31 * 24).contains(&kept), "the days that the first asked for: {:?}", sets[0]);
}

/// A reply that was lost is looked for, whatever lost it: the job is found, and there is never a second one. A call that
/// never arrived is said to be lost, and not sent again.
#[test]
fn a_lost_reply_is_found_again() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    for (n, kind) in ["error_after", "cut_after"].into_iter().enumerate() {
        cloud.inject(&json!({"kind": kind, "action": "CreateBackup"}));
        ours.backup(ID);
        assert_eq!(ours.sets(ID).len(), n + 1, "{kind}");
    }
    for kind in ["error", "cut"] {
        cloud.inject(&json!({"kind": kind, "action": "CreateBackup"}));
        let fault = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap_err();
        assert_eq!(fault.code, "cloud.uncertain", "{kind}: {fault:?}");
        assert_eq!(ours.sets(ID).len(), 2, "{kind}");
    }
    // What refuses for certain refuses at once.
    cloud.inject(&json!({"kind": "daily_limit"}));
    let fault = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap_err();
    assert_eq!(fault.code, "cloud.backup_daily_limit", "{fault:?}");
    // A job that is said to run and is over when it is looked for is no reason to give up.
    cloud.inject(&json!({"kind": "backup_job_exists"}));
    ours.backup(ID);
    assert_eq!(ours.sets(ID).len(), 3);
    // Being turned away is survived.
    cloud.inject(&json!({"kind": "throttle", "times": 2, "retry_after_ms": 20}));
    ours.backup(ID);
    assert_eq!(ours.sets(ID).len(), 4);
}

/// A process that dies while the cloud takes a backup loses nothing: the next one follows the same job to its set.
#[test]
fn a_backup_outlives_its_process() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 2}));
    let (job, _) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    let next = ours.crash(&cloud);
    assert_eq!(next.job(&job.id).status, JobStatus::Running);
    next.run(next.provider().recover()).unwrap();
    let done = next.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
    assert_eq!(next.sets(ID)[0].id, done.backup_id);
    assert_eq!(next.sets(ID).len(), 1);
    // One that ends well lets go in the same way, without waiting for the cloud.
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 3}));
    let (job, _) = next.run(next.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    next.run(next.provider().shut_down(false));
    assert_eq!(next.job(&job.id).status, JobStatus::Running);
    let last = next.crash(&cloud);
    last.run(last.provider().recover()).unwrap();
    assert_eq!(last.ended(&job.id).status, JobStatus::Succeeded);
}

/// A change of the policy keeps all that it does not name, data flashback above all; what lowers protection is refused
/// without a permit, and done with one.
#[test]
fn a_policy_keeps_what_is_not_named() {
    let server = redis(1);
    let cloud = Cloud::start(&[(ID, &server, "flashback = true")]);
    let ours = Ours::new(&cloud);
    let raise = |change: PolicyChange| ours.run(ours.provider().raise_backup_policy(ID, &change, "local")).unwrap();
    let change = |change: PolicyChange| match raise(change) {
        Raised::Changed(policy, _) => policy,
        Raised::Lowers => panic!("it lowers nothing"),
    };
    let on = change(PolicyChange { enable_backup_log: Some(true), ..PolicyChange::default() });
    assert!(on.enable_backup_log);
    let longer = PolicyChange { backup_retention_period: Some(30), ..PolicyChange::default() };
    cloud.inject(&json!({"kind": "cut_after", "action": "ModifyBackupPolicy"}));
    let kept = change(longer);
    assert_eq!((kept.backup_retention_period, kept.enable_backup_log), (30, true));
    cloud.inject(&json!({"kind": "error", "action": "ModifyBackupPolicy", "code": "IncorrectDBInstanceState"}));
    let last = PolicyChange { preferred_backup_time: Some("23:00Z-00:00Z".into()), ..PolicyChange::default() };
    let last = change(last);
    assert_eq!(last.preferred_backup_time, "23:00Z-24:00Z");
    let described = ours.run(ours.provider().backup_policy(ID)).unwrap();
    assert_eq!((described.backup_retention_period, described.enable_backup_log), (30, true));
    assert_eq!(described.preferred_backup_period, on.preferred_backup_period);
    let off = PolicyChange { enable_backup_log: Some(false), ..PolicyChange::default() };
    assert!(matches!(raise(off), Raised::Lowers));
    let (plan, done) = ours.guarded(&json!({"instance_id": ID, "enable_backup_log": false}), modify_backup_policy::run);
    assert!(plan.to_string().contains("flashback goes off"), "{plan:#}");
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let described = ours.run(ours.provider().backup_policy(ID)).unwrap();
    assert_eq!((described.backup_retention_period, described.enable_backup_log), (30, false));
}

/// Of what an instance keeps on its disk the cloud tells the settings, and lets `appendonly` alone be changed: on at a call, off with a yes, and
/// not while data flashback is on.
#[test]
fn persistence_is_the_clouds_but_for_the_file() {
    for kind in ["flashback = true", "flashback = true, generation = \"cloud_native\""] {
        let server = redis(1);
        let cloud = Cloud::start(&[(ID, &server, kind)]);
        let ours = Ours::new(&cloud);
        let persistence = || ours.policy(ID)["persistence"].clone();
        let found = persistence();
        assert_eq!((&found["appendonly"], &found["appendfsync"]), (&json!(false), &json!("everysec")), "{found}");
        assert!(found["last_save"].is_null() && text(&found["unknown"]).contains("does not tell"), "{found}");
        let change = |args: Value| ours.tool(&args, modify_backup_policy::run);
        let refused = change(json!({"instance_id": ID, "save": "60 1"})).unwrap_err();
        assert_eq!(refused.code, "policy.unsupported");
        // The reply is lost, and what came of it is read.
        cloud.inject(&json!({"kind": "cut_after", "action": "ModifyInstanceConfig"}));
        let done = change(json!({"instance_id": ID, "appendonly": true, "enable_backup_log": true})).unwrap();
        assert_eq!(done["status"], "succeeded", "{done:#}");
        assert!(text(&done["message"]).contains("appendonly yes set and read back"), "{done:#}");
        assert_eq!((&persistence()["appendonly"], server.setting("appendonly")), (&json!(true), "yes".to_owned()));
        let refused = change(json!({"instance_id": ID, "appendonly": false})).unwrap_err();
        assert!(refused.code == "backup.policy_invalid" && refused.message.contains("flashback"), "{refused}");
        let off = json!({"instance_id": ID, "appendonly": false, "enable_backup_log": false});
        cloud.inject(&json!({"kind": "error", "action": "ModifyInstanceConfig", "code": "IncorrectDBInstanceState"}));
        let (plan, done) = ours.guarded(&off, modify_backup_policy::run);
        assert!(plan.to_string().contains("no append-only file any more"), "{plan:#}");
        assert_eq!(done["status"], "succeeded", "{done:#}");
        assert_eq!(server.setting("appendonly"), "no");
        assert_eq!(ours.policy(ID)["enable_backup_log"], false);
    }
}

/// A guarded restore from end to end: planned with its checks, undone by its safety backup if need be, carried out by one
/// call behind a write fence, and the data is that of the set.
#[test]
fn a_guarded_restore_brings_the_data_back() {
    let server = redis(100);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let before = server.digest();
    server.run(&["FLUSHALL"]);
    server.run(&["SET", "newer", "x"]);
    let newer = server.digest();
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (plan, done) = ours.guarded(&args, restore_instance::run);
    let checks: Vec<&str> = plan["prechecks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["instance_ready", "restore_in_place", "backup_exists", "write_traffic", "write_fence", "safety_backup"]
    {
        assert!(checks.contains(&name), "{name} is not among {checks:?}");
    }
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(server.digest(), before);
    // Back to what was there, by the safety backup; this time the reply is lost.
    let safety = ours.sets(ID).into_iter().find(|s| s.id != set.id).unwrap();
    cloud.inject_all(&[
        json!({"kind": "cut_after", "action": "RestoreInstance"}),
        json!({"kind": "slow", "action": "RestoreInstance", "seconds": 1}),
        json!({"kind": "cut_after", "action": "LockDBInstanceWrite"}),
        json!({"kind": "cut_after", "action": "UnlockDBInstanceWrite"}),
    ]);
    let args = json!({"instance_id": ID, "backup_id": safety.id, "write_fence": true});
    let (_, done) = ours.guarded(&args, restore_instance::run);
    cloud.struck();
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(server.digest(), newer);
    // Writers are let in again.
    assert_eq!(server.run(&["SET", "after", "1"]).text(), "OK");
}

/// A process that dies in a restore behind a write fence: the next one follows it to its end and lifts the fence.
#[test]
fn a_fence_is_lifted_after_a_crash() {
    let server = redis(100);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let before = server.digest();
    server.run(&["SET", "newer", "x"]);
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    cloud.inject(&json!({"kind": "slow", "action": "RestoreInstance", "seconds": 4}));
    // The call waits for the job; it dies with its process.
    let job = ours.restoring(&args, "BackupRecovering");
    let next = ours.crash(&cloud);
    next.run(next.provider().recover()).unwrap();
    let done = next.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
    next.assert_audited(&done, ["restore.started", "restore.succeeded"]);
    assert_eq!(server.digest(), before);
    assert_eq!(server.run(&["SET", "after", "1"]).text(), "OK");
}

/// Writes that the cloud has measured block a restore, and so does a moment outside the recovery window.
#[test]
fn writes_and_moments_out_of_reach_block() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "flashback = true")]);
    let ours = Ours::with(&cloud, Arc::new(TempDir::new().unwrap()), 0.0);
    let set = ours.backup(ID);
    let args = json!({"instance_id": ID, "backup_id": set.id});
    let blocked = wait("writes to be measured", Duration::from_secs(40), || {
        for n in 0..50 {
            server.run(&["INCR", &format!("n:{n}")]);
        }
        std::thread::sleep(Duration::from_millis(300));
        let act = tair_backup_mcp::guard::act::Act::restore(
            tair_backup_mcp::guard::act::Source::Backup { backup_id: set.id.clone() },
            false,
        );
        let rules = tair_backup_mcp::guard::rules::Rules {
            confirmation: tair_backup_mcp::config::guard::ConfirmationPolicy::Token,
            max_writes_per_second: Some(0.0),
        };
        let now = ours.assess(&act, None, rules);
        let block = tair_backup_mcp::guard::check::Status::Block;
        now.checks.into_iter().find(|c| c.name == CheckName::WriteTraffic && c.status == block)
    });
    // That it is not known blocks as well: that is for a cloud without figures, and this one has them.
    assert!(blocked.detail.contains("PutQps"), "{blocked:?}");
    let refused = ours.tool(&args, restore_instance::run).unwrap();
    assert_eq!(refused["status"], "blocked", "{refused:#}");
    let moment = json!({"instance_id": ID, "restore_time": "2020-01-01T00:00:00Z"});
    let refused = ours.tool(&moment, restore_instance::run).unwrap();
    assert!(refused.to_string().contains("flashback is off"), "{refused:#}");
    let change = PolicyChange { enable_backup_log: Some(true), ..PolicyChange::default() };
    ours.run(ours.provider().raise_backup_policy(ID, &change, "local")).unwrap();
    let refused = ours.tool(&moment, restore_instance::run).unwrap();
    assert!(refused.to_string().contains("before the first moment kept"), "{refused:#}");
}

/// What cannot be restored in place is refused with the call that works; that call is checked by a dry run, says what it
/// costs, makes one instance even when its reply is lost, and the new instance holds the set's data.
#[test]
fn a_cloud_native_instance_is_cloned_instead() {
    let (source, spare) = (redis(200), redis(0));
    let native = "generation = \"cloud_native\", architecture = \"cluster\"";
    let cloud = Cloud::start(&[(ID, &source, native), ("r-spare", &spare, &format!("{native}, spare = true"))]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    assert!(set.id.starts_with("cb-"), "{set:?}");
    let refused = ours.tool(&json!({"instance_id": ID, "backup_id": set.id}), restore_instance::run).unwrap();
    assert_eq!(refused["status"], "blocked", "{refused:#}");
    let call = text(&refused["next_actions"][0]);
    let (tool, arguments) = call.split_once(' ').unwrap();
    assert_eq!(tool, "create_instance_from_backup");
    assert_eq!(ours.sets(ID).len(), 1, "a safety backup was taken for nothing");
    // The refusal's own arguments are the next call's.
    let args: Value = serde_json::from_str(arguments).unwrap();
    cloud.inject(&json!({"kind": "cut_after", "action": "CreateTairInstance"}));
    let (plan, done) = ours.guarded(&args, create_instance_from_backup::run);
    for part in ["PostPaid", "billed", "dry_run"] {
        assert!(plan.to_string().contains(part), "{part}: {plan:#}");
    }
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert!(done.to_string().contains("r-spare"), "{done:#}");
    assert_eq!(spare.digest(), source.digest());
    // No further instance is to be had: the dry run says so before anybody is asked.
    let refused = ours.tool(&args, create_instance_from_backup::run).unwrap();
    assert_eq!(refused["status"], "blocked", "{refused:#}");
    assert!(refused.to_string().contains("QuotaExceed"), "{refused:#}");
}

/// A manual set of a cloud-native instance is deleted, also when the reply is lost; on a classic one the reason is given
/// before anything is asked of the cloud.
#[test]
fn manual_sets_are_deleted_where_the_cloud_can() {
    let (native, classic) = (redis(5), redis(5));
    let cloud = Cloud::start(&[(ID, &native, "generation = \"cloud_native\""), ("r-classic", &classic, "")]);
    let ours = Ours::new(&cloud);
    for kind in ["error_after", "cut_after"] {
        let set = ours.backup(ID);
        cloud.inject(&json!({"kind": kind, "action": "DeleteBackup"}));
        let (_, done) = ours.guarded(&json!({"instance_id": ID, "backup_id": set.id}), delete_backup::run);
        assert_eq!(done["status"], "succeeded", "{done:#}");
        assert!(ours.sets(ID).is_empty(), "{kind}");
    }
    let set = ours.backup("r-classic");
    let refused = ours.tool(&json!({"instance_id": "r-classic", "backup_id": set.id}), delete_backup::run).unwrap();
    assert_eq!(refused["status"], "blocked", "{refused:#}");
    assert!(refused.to_string().contains("classic"), "{refused:#}");
    assert_eq!(ours.sets("r-classic").len(), 1);
}

/// A fence that cannot be lifted is said to be up, and lifted at the next look; until then its rollback is pending.
#[test]
fn a_fence_that_stays_is_lifted_later() {
    let server = redis(50);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "error", "action": "UnlockDBInstanceWrite", "code": "Forbidden.RAM"}));
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (_, done) = ours.guarded(&args, restore_instance::run);
    assert_eq!(done["status"], "failed", "{done:#}");
    let job = ours.run(ours.app.state.jobs(Some(ID))).unwrap().remove(0);
    assert_eq!((job.code.as_str(), job.stage.contains("rollback pending")), ("restore.still_locked", true), "{job:?}");
    // What was restored, and what is left to do, now and once writes are unlocked.
    let worked = format!("the restore worked: backup {} restored in ", set.id);
    assert!(job.message.starts_with(&worked), "{job:?}");
    for part in ["describe_jobs tries again", "Nothing has to be restored again", "safety backup"] {
        assert!(job.hint.contains(part), "{part}: {job:?}");
    }
    ours.run(ours.provider().recover()).unwrap();
    let job = ours.job(&job.id);
    assert!(job.message.contains("writes are unlocked") && !job.stage.contains("rollback pending"), "{job:?}");
    assert!(job.hint.starts_with("Nothing has to be restored again") && job.hint.contains("safety backup"), "{job:?}");
    // One that never began says that, too, and not that something could be brought back.
    let refused = |action: &str| json!({"kind": "error", "action": action, "code": "Forbidden.RAM"});
    cloud.inject_all(&[refused("RestoreInstance"), refused("UnlockDBInstanceWrite")]);
    let (_, done) = ours.guarded(&args, restore_instance::run);
    let hint = text(&done["hint"]);
    assert_eq!(done["code"], "restore.still_locked", "{done:#}");
    assert!(hint.contains("tries again") && hint.contains("Nothing was overwritten"), "{done:#}");
    assert!(!hint.contains("safety backup"), "{done:#}");
    ours.run(ours.provider().recover()).unwrap();
    assert_eq!(server.run(&["SET", "after", "1"]).text(), "OK");
}

/// A process that dies while a new instance is made: the next one follows it, and none is ordered twice.
#[test]
fn a_clone_outlives_its_process() {
    let (source, spare) = (redis(50), redis(0));
    let native = "generation = \"cloud_native\"";
    let cloud = Cloud::start(&[(ID, &source, native), ("r-spare", &spare, &format!("{native}, spare = true"))]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let args = json!({"instance_id": ID, "backup_id": set.id});
    let plan = ours.tool(&args, create_instance_from_backup::run).unwrap();
    let mut commit = args;
    commit["confirmation_token"] = plan["confirmation_token"].clone();
    cloud.inject(&json!({"kind": "slow", "action": "CreateTairInstance", "seconds": 3}));
    let app = Arc::clone(&ours.app);
    let task = ours.runtime.spawn(async move {
        let call = ToolCall { app: &app, caller: &Caller::mcp(), person: &Nobody, progress: &Nobody };
        create_instance_from_backup::run(&call, serde_json::from_value(commit).unwrap()).await.map(|_| ())
    });
    let job = wait("the new instance to be made", Duration::from_secs(30), || {
        let jobs = ours.run(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ours.app.state.jobs(Some(ID)).await.unwrap()
        });
        assert!(!task.is_finished(), "it ended too soon");
        jobs.into_iter().find(|j| j.stage.contains("Creating"))
    });
    drop(task);
    let next = ours.crash(&cloud);
    next.run(next.provider().recover()).unwrap();
    let done = next.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
    assert!(done.message.contains("r-spare") && done.message.contains("billed"), "{done:?}");
    next.assert_audited(&done, ["clone.started", "clone.succeeded"]);
    assert_eq!(spare.digest(), source.digest());
}

/// What undoes a restore is never a backup that began before it: one that runs already is waited for, and another taken.
#[test]
fn a_safety_backup_is_its_own() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let (ours, others) = (Ours::new(&cloud), Ours::new(&cloud));
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 2}));
    let (running, _) = others.run(others.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    let (job, joined) = ours.run(ours.provider().create_backup(ID, Mode::Safety, "", None, "local")).unwrap();
    assert!(!joined);
    let safety = ours.ended(&job.id);
    assert_eq!(safety.status, JobStatus::Succeeded, "{safety:?}");
    assert_ne!(safety.backup_id, others.ended(&running.id).backup_id);
    assert_eq!(ours.sets(ID).len(), 2);
}

/// The cloud's list is read once more after the yes, right before the call: a safety backup that is gone by then, or in which a fault was found,
/// stops the restore.
#[test]
fn a_safety_backup_that_is_of_no_use_at_the_call() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    server.run(&["SET", "newer", "x"]);
    let newer = server.digest();
    let folders = || -> std::collections::BTreeSet<PathBuf> {
        std::fs::read_dir(cloud.bench.home().join("vault").join(ID)).unwrap().map(|e| e.unwrap().path()).collect()
    };
    for (is_gone, why) in [(false, "cut at byte 7; plan again, which takes another"), (true, "is not there any more")] {
        let before = folders();
        ours.tool(&json!({"instance_id": ID, "backup_id": set.id}), restore_instance::run).unwrap();
        let open = ours.run(ours.app.state.waiting()).unwrap().remove(0);
        let safety = ours.ended(&open.plan.safety.as_ref().unwrap().job_id);
        assert_eq!(safety.status, JobStatus::Succeeded, "{safety:?}");
        let Answer::Yes(yes) = typed_answer(&open.plan, ID, Channel::Terminal) else { panic!("a yes") };
        let permit = ours.run(permit::redeem(ours.app.state.as_ref(), &open, yes)).unwrap();
        if is_gone {
            let taken: Vec<PathBuf> = folders().difference(&before).cloned().collect();
            assert_eq!(taken.len(), 1);
            std::fs::remove_dir_all(&taken[0]).unwrap();
        } else {
            ours.finds_damage(&safety.backup_id);
        }
        let Carried::Job(job) = ours.run(ours.provider().carry_out(permit)).unwrap() else { panic!("a job") };
        let ended = ours.ended(&job.id);
        assert_eq!(ended.status, JobStatus::Failed, "{ended:?}");
        assert!(ended.message.contains(why), "{ended:?}");
        assert_eq!(server.digest(), newer, "{ended:?}");
    }
}
