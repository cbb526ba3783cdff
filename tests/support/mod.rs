//! Support for tests of the whole program: real servers of each kind, the program on a home of its own, and polling with a
//! deadline. A missing server fails the test that needs it.

pub mod backup_set;
pub mod between;
pub mod clock;
pub mod clones;
pub mod disk;
pub mod emulator;
pub mod http_server;
pub mod keys;
pub mod log;
pub mod oss;
pub mod postgres;
pub mod preload;
pub mod program;
pub mod recorder;
pub mod s3;
pub mod source;
pub mod targets;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tair_backup_mcp::guard::grant::Scratch;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::endpoint::{Address, Endpoint};
use tair_backup_mcp::state::manifests::Manifests as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

/// The kinds of server that most tests run on.
pub const KINDS: [&str; 3] = ["redis-7.0", "redis-8.0", "valkey-8.1"];

/// Every kind of server that the program promises to work with, for what differs by engine: captures, loads, and crossings.
pub const MATRIX: [&str; 6] = ["redis-6.2", "redis-7.0", "redis-8.0", "redis-8.2", "valkey-8.1", "valkey-9.1"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn free_port() -> u16 {
    // Below those that the system gives to whoever connects: one of these could be taken before its server has bound it. Each is given once
    // until all were, for of two servers that were given one before either has bound it each would be taken for the other.
    const FIRST: u16 = 10_000;
    const PORTS: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(7919));
        let port = FIRST + u16::try_from(n % PORTS).unwrap();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // A node of a cluster takes a second one, so far above.
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// Polls until `found` gives something.
pub fn wait<T>(what: &str, within: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Random numbers, whose printed seed repeats them: `TEST_SEED` in the environment.
pub struct Dice(u64);

impl Dice {
    pub fn new(what: &str) -> Self {
        let given = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(u64::try_from(now.as_nanos() % 1_000_000_007).unwrap());
        println!("{what}: TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number between 0 and 1.
    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Random numbers of its own for each of many.
    pub fn nth(&self, n: u64) -> Self {
        Self((self.0 ^ (n + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9)).wrapping_mul(0x94D0_49BB_1331_11EB) | 1)
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (self.share() * n as f64) as usize;
        at.min(n - 1)
    }

    /// One delay in each of `points` equal parts of `whole`.
    pub fn spread(&mut self, whole: Duration, points: u32) -> Vec<Duration> {
        (0..points).map(|i| whole.mul_f64((f64::from(i) + self.share()) / f64::from(points))).collect()
    }
}

/// A reply of a server, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Text(String),
    Int(i64),
    List(Vec<Reply>),
    Nil,
    Error(String),
}

impl Reply {
    pub fn text(&self) -> String {
        match self {
            Self::Text(t) | Self::Error(t) => t.clone(),
            Self::Int(n) => n.to_string(),
            Self::Nil => String::new(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }
}

fn read_reply(from: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let n: i64 = rest.parse().unwrap_or(0);
    Ok(match kind {
        "+" => Reply::Text(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Int(n),
        _ if n < 0 => Reply::Nil,
        "$" => {
            let mut body = vec![0; usize::try_from(n).unwrap() + 2];
            from.read_exact(&mut body)?;
            body.truncate(body.len() - 2);
            Reply::Text(String::from_utf8_lossy(&body).into_owned())
        }
        _ => Reply::List((0..n).map(|_| read_reply(from)).collect::<Result<_, _>>()?),
    })
}

/// A real server in a directory of its own, killed when dropped. DEBUG is allowed, so that tests can compare digests.
pub struct Redis {
    pub kind: String,
    pub port: u16,
    pub dir: TempDir,
    pub password: Option<String>,
    args: Vec<String>,
    child: Child,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of a kind of server: `server`, `cli`, `check-rdb`.
pub fn program(kind: &str, part: &str) -> PathBuf {
    other_program(kind, &format!("{}-{part}", kind.split('-').next().unwrap()))
}

/// A program that tests use beside the servers.
pub fn other_program(folder: &str, name: &str) -> PathBuf {
    let servers = std::env::var_os("SERVERS_DIR").map_or_else(|| root().join("target/servers"), PathBuf::from);
    let path = servers.join(folder).join(name);
    assert!(path.exists(), "{} is missing: run scripts/servers", path.display());
    path
}

impl Redis {
    pub fn start(kind: &str, args: &[&str]) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let args: Vec<String> = args.iter().map(|a| a.replace("{dir}", dir.path().to_str().unwrap())).collect();
        let password = args.iter().position(|a| a == "--requirepass").map(|i| args[i + 1].clone());
        let child = Self::spawn(kind, port, dir.path(), &args);
        let redis = Self { kind: kind.into(), port, dir, password, args, child };
        redis.answers();
        redis
    }

    fn spawn(kind: &str, port: u16, dir: &Path, args: &[String]) -> Child {
        let mut command = Command::new(program(kind, "server"));
        // A configuration file has to come first, and to be there.
        let (file, args) = args.split_at(usize::from(args.first().is_some_and(|arg| arg.ends_with(".conf"))));
        for file in file {
            std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        }
        command.args(file).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--logfile", "log"]);
        if kind != "redis-6.2" {
            // There DEBUG is allowed to everybody, and this setting unknown.
            command.args(["--enable-debug-command", "yes"]);
        }
        command.args(["--repl-diskless-sync-delay", "0", "--dir"]).arg(dir);
        // Redis 6.2 opens its log before it goes to its directory.
        command.current_dir(dir).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        clock::take_away(&mut command);
        command.spawn().unwrap()
    }

    fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.try_run(&["PING"]).is_ok_and(|reply| reply == Reply::Text("PONG".into())) {
            assert!(Instant::now() < deadline, "{} does not answer; its log: {}", self.kind, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills the server by SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Restarts the server with the same arguments, and the data it had saved.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// [`Self::restart`] with further arguments, which stay.
    pub fn restart_with(&mut self, more: &[&str]) {
        // Some may be given only once.
        if more.is_empty() || !self.args.windows(more.len()).any(|args| args == more) {
            self.args.extend(more.iter().map(|arg| (*arg).to_owned()));
        }
        self.kill();
        self.child = Self::spawn(&self.kind, self.port, self.dir.path(), &self.args);
        self.answers();
    }

    pub fn url(&self) -> String {
        let login = self.password.as_ref().map(|p| format!(":{p}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// The server's endpoint, for the program's own connections.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: Address::Tcp { host: "127.0.0.1".into(), port: self.port },
            username: None,
            password: self.password.as_deref().map(Secret::new),
            tls: None,
        }
    }

    /// A connection of the program's own.
    pub async fn conn(&self) -> Conn {
        Conn::open(&self.endpoint(), Duration::from_secs(15)).await.unwrap()
    }

    /// The proof that the server is the test's own, from which grants come.
    pub fn scratch(&self) -> Scratch {
        Scratch::started(&self.child)
    }

    /// Sends several commands on one connection.
    pub fn try_all(&self, commands: &[Vec<String>]) -> std::io::Result<Vec<Reply>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_nodelay(true)?;
        // The digest of a gigabyte takes its time where other tests are at work.
        tcp.set_read_timeout(Some(Duration::from_secs(180)))?;
        let login = self.password.iter().map(|p| vec!["AUTH".to_owned(), p.clone()]);
        let all: Vec<Vec<String>> = login.chain(commands.iter().cloned()).collect();
        let mut out = Vec::new();
        for command in &all {
            write!(out, "*{}\r\n", command.len())?;
            for arg in command {
                write!(out, "${}\r\n{arg}\r\n", arg.len())?;
            }
        }
        (&tcp).write_all(&out)?;
        let mut from = BufReader::new(&tcp);
        let replies = all.iter().map(|_| read_reply(&mut from)).collect::<Result<Vec<_>, _>>()?;
        Ok(replies[all.len() - commands.len()..].to_vec())
    }

    pub fn try_run(&self, args: &[&str]) -> std::io::Result<Reply> {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        Ok(self.try_all(&[args])?.remove(0))
    }

    /// Sends one command, which must not fail.
    pub fn run(&self, args: &[&str]) -> Reply {
        let reply = self.try_run(args).unwrap_or_else(|e| panic!("{} {args:?}: {e}\n{}", self.kind, self.log()));
        assert!(!matches!(reply, Reply::Error(_)), "{} {args:?}: {reply:?}", self.kind);
        reply
    }

    /// From now on sends a replica that asks for all nothing before so many seconds are over: whoever takes a backup is found at it, however slow
    /// the machine is.
    pub fn holds_backups_for(&self, seconds: u32) {
        self.run(&["CONFIG", "SET", "repl-diskless-sync-delay", &seconds.to_string()]);
    }

    /// Lets the backups go on that wait.
    pub fn lets_backups_go_on(&self) {
        self.holds_backups_for(0);
    }

    /// Sends one command in another database.
    pub fn run_in(&self, db: u64, args: &[&str]) -> Reply {
        let select = vec!["SELECT".to_owned(), db.to_string()];
        self.try_all(&[select, args.iter().map(|w| (*w).to_owned()).collect()]).unwrap().remove(1)
    }

    pub fn info(&self, name: &str) -> String {
        let text = self.run(&["INFO", "everything"]).text();
        let found = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        found.unwrap_or_default()
    }

    pub fn setting(&self, name: &str) -> String {
        match self.run(&["CONFIG", "GET", name]) {
            Reply::List(pair) => pair[1].text(),
            other => panic!("{other:?}"),
        }
    }

    /// One digest of all keys, values and expiries, followed by the functions.
    pub fn digest(&self) -> String {
        // A library's functions are listed in the order of a hash table. Redis 6.2 has none, and says so.
        let functions = self.try_run(&["FUNCTION", "LIST", "WITHCODE"]).unwrap().text();
        let mut parts: Vec<&str> = functions.split(' ').collect();
        parts.sort_unstable();
        format!("{} {}", self.run(&["DEBUG", "DIGEST"]).text(), parts.join(" "))
    }

    /// `db0:keys=…,expires=…` of each database.
    pub fn statistics(&self) -> Vec<String> {
        let text = self.run(&["INFO", "keyspace"]).text();
        let dbs = text.lines().filter(|l| l.starts_with("db"));
        dbs.map(|l| l.split(",avg_ttl").next().unwrap().to_owned()).collect()
    }

    /// Fills the server with every type and encoding, and with so many megabytes of bulk.
    pub fn fill(&self, megabytes: u32, seed: u32) {
        let mut command = Command::new("python3");
        command.arg(root().join("scripts/fill")).args(["--quiet", "--port", &self.port.to_string()]);
        command.args(["--megabytes", &megabytes.to_string(), "--seed", &seed.to_string()]);
        if let Some(password) = &self.password {
            command.args(["--password", password]);
        }
        let done = command.output().expect("python3 must be on PATH");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Exit code and output of the program.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        // A program ended by a signal has no exit code.
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A home and a configuration in a temporary directory, to run the program on.
pub struct Bench {
    pub dir: TempDir,
    /// What the program finds in its environment besides.
    pub env: Vec<(&'static str, String)>,
}

impl Bench {
    /// With a configuration file of this text.
    pub fn new(config: &str) -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), env: Vec::new() };
        bench.configure(config);
        bench
    }

    /// One instance, `orders`, and no person needed.
    pub fn unattended(redis: &Redis) -> Self {
        Self::new(&unattended(redis, ""))
    }

    pub fn configure(&self, config: &str) {
        std::fs::write(self.dir.path().join("config.toml"), config).unwrap();
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp"));
        command.arg("--home").arg(self.home()).arg("--config").arg(self.dir.path().join("config.toml")).args(args);
        command.env_remove("TAIR_BACKUP_MCP_HOME").env_remove("TAIR_BACKUP_MCP_CONFIG").env_remove("COLUMNS");
        command.envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command that finds the server program of one kind, and no other.
    pub fn command_beside(&self, kind: &str, args: &[&str]) -> Command {
        let mut command = self.command(args);
        // What the machine has in PATH is none of the test's, but for what a server of our own is started and watched with.
        let path = self.dir.path().join("path");
        if std::fs::create_dir(&path).is_ok() {
            for tool in ["sh", "cat", "rm"] {
                std::os::unix::fs::symlink(Path::new("/bin").join(tool), path.join(tool)).unwrap();
            }
        }
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program(kind, "server")).env("PATH", path);
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        Done::of(&self.command(args).output().unwrap())
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs the program with `--json`; it must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.json()
    }

    /// Takes a backup; the set's id.
    pub fn backup(&self) -> String {
        let made = self.json(&["create-backup", "--instance-id", "orders"]);
        assert_eq!(made["status"], "succeeded", "{made}");
        text(&made["backup_id"])
    }

    /// Makes a set one of before manifests were signed and remembered, so that its manifest may be written anew.
    pub fn as_of_before(&self, backup: &str) -> PathBuf {
        let folder = self.home().join("vault/orders").join(backup);
        let _ = std::fs::remove_file(folder.join("manifest.json.minisig"));
        let store = Sqlite::new(&self.home());
        // The caller may be within a runtime.
        std::thread::scope(|scope| {
            let forget = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(store.set_manifest("orders", backup, None)).unwrap();
            };
            scope.spawn(forget).join().unwrap();
        });
        folder.join("manifest.json")
    }

    pub fn backups(&self) -> Vec<Value> {
        self.json(&["describe-backups", "--instance-id", "orders", "--page-size", "100"])["backups"]
            .as_array()
            .unwrap()
            .clone()
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.json(&["describe-jobs", "--page-size", "50"])["jobs"].as_array().unwrap().clone()
    }

    /// The first call of a restore, whatever its result.
    pub fn ask(&self, backup: &str) -> Done {
        self.run(&["restore-instance", "--instance-id", "orders", "--backup-id", backup, "--json"])
    }

    /// The token of a restore's plan.
    pub fn token(&self, backup: &str) -> String {
        let planned = self.ask(backup);
        assert_eq!(planned.code, 0, "{planned:?}");
        text(&planned.json()["confirmation_token"])
    }

    /// The arguments of the second call of a restore.
    pub fn echo<'a>(backup: &'a str, token: &'a str) -> [&'a str; 8] {
        let id = "orders";
        ["restore-instance", "--instance-id", id, "--backup-id", backup, "--confirmation-token", token, "--json"]
    }

    /// Both calls of a restore.
    pub fn restore(&self, backup: &str) -> Done {
        let token = self.token(backup);
        self.run(&Self::echo(backup, &token))
    }

    /// Waits for a scratch server. A directory that has none yet is left by a kill, and goes with the next one a minute later.
    pub fn await_scratch_server(&self) {
        let scratch = self.home().join("scratch");
        wait("a server of our own", Duration::from_secs(60), || {
            files_under(&scratch).iter().any(|file| file.ends_with("log")).then_some(())
        });
    }

    /// Folders in the vault that are no whole set: they hold other objects than data, manifest and signature.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.home().join("vault/orders")) else { return Vec::new() };
        let names = |dir: &Path| {
            let entries = std::fs::read_dir(dir).map(|all| all.map(|e| e.unwrap().file_name()).collect());
            let mut names: Vec<_> = entries.unwrap_or_default();
            // What tests put themselves is not signed.
            names.retain(|name| name != "manifest.json.minisig");
            names.sort();
            names
        };
        let hidden = |p: &Path| p.file_name().unwrap().to_string_lossy().starts_with('.');
        let left = |p: &PathBuf| hidden(p) || names(p) != ["data.rdb.zst", "manifest.json"];
        entries.map(|e| e.unwrap().path()).filter(left).collect()
    }
}

/// A configuration with one instance, `orders`, that needs no person; `more` are further lines of the instance.
pub fn unattended(redis: &Redis, more: &str) -> String {
    format!("[guard]\nconfirmation = \"token\"\n\n[[instance]]\nid = \"orders\"\nurl = \"{}\"\n{more}\n", redis.url())
}

/// Puts other bytes in the place of a file of the vault, which is read-only: as somebody does who may write to its folder.
pub fn write_over(path: &Path, bytes: impl AsRef<[u8]>) {
    // Not to be read through another name, such as that of an open handle: a new file.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// How many writes a restore says that were accepted after the safety backup that it names; `None` where it says nothing of that.
pub fn accepted_after(message: &str) -> Option<u64> {
    if message.contains("nothing was written after it") {
        return Some(0);
    }
    let (before, _) = message.split_once(" write commands were accepted after it")?;
    // It may say that the number is not known.
    before.rsplit(' ').next()?.parse().ok()
}

/// Waits for the end of a program, for at most two and a half minutes.
pub fn finish(mut child: Child) -> Done {
    let within = Duration::from_secs(150);
    let drain = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            from.map(|mut f| f.read_to_end(&mut all));
            all
        })
    };
    let out = drain(child.stdout.take().map(|s| Box::new(s) as _));
    let err = drain(child.stderr.take().map(|s| Box::new(s) as _));
    let status = wait("the program to end", within, || child.try_wait().unwrap());
    Done::of(&Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() })
}

/// Sends a command to a port of this machine, logged in with the words of an AUTH, where there are any.
pub fn run_at(port: u16, login: &[&str], args: &[&str]) -> std::io::Result<Reply> {
    let mut to = TcpStream::connect(("127.0.0.1", port))?;
    to.set_read_timeout(Some(Duration::from_secs(60)))?;
    let auth = [&["AUTH"], login].concat();
    let all = if login.is_empty() { vec![args] } else { vec![&auth[..], args] };
    for command in &all {
        let mut out = format!("*{}\r\n", command.len());
        for arg in *command {
            out.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
        }
        to.write_all(out.as_bytes())?;
    }
    let mut from = BufReader::new(to);
    let replies = all.iter().map(|_| read_reply(&mut from)).collect::<Result<Vec<_>, _>>()?;
    Ok(replies.last().unwrap().clone())
}

/// Runs the program at a pseudo-terminal, each answer typed when its question has been shown.
pub fn terminal(bench: &Bench, answers: &[(&str, &str)], args: &[&str]) -> Done {
    let typed: Vec<_> = answers.iter().map(|(question, answer)| serde_json::json!([question, answer])).collect();
    let program = bench.command(args);
    let output = Command::new("python3")
        .arg(root().join("tests/support/terminal.py"))
        .arg(serde_json::json!(typed).to_string())
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .output()
        .expect("python3 must be on PATH");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Done { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Sends a command through a socket file.
pub fn run_by_socket(socket: &Path, args: &[&str]) -> std::io::Result<Reply> {
    let mut to = UnixStream::connect(socket)?;
    let mut out = format!("*{}\r\n", args.len());
    for arg in args {
        out.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
    }
    to.write_all(out.as_bytes())?;
    read_reply(&mut BufReader::new(to))
}

/// All files under a directory, at any depth.
pub fn files_under(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files_under(&p) } else { vec![p] }).collect()
}
