//! A real PostgreSQL: one cluster for the tests of a binary, on a port of its own, with a database for each test. It ends with the process
//! that started it, however that ends.

use crate::support::{free_port, root, wait};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tair_backup_mcp::config::state_url::StateUrl;
use tempfile::TempDir;

/// The user of every cluster, and the password.
const USER: &str = "keeper";
pub const PASSWORD: &str = "s3cret-of-the-keeper";

/// Whom a server is run as that refuses to be root's: nobody.
const NOBODY: u32 = 65_534;

/// Runs a server until standard input ends, which it does with whoever holds its other end; then it is ended at once, as a crash would end it.
const UNTIL_THE_END: &str = r#"folder=$1; shift
"$@" >>"$LOG" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
[ -z "$folder" ] || rm -rf "$folder""#;

fn program(name: &str) -> PathBuf {
    let servers = std::env::var_os("SERVERS_DIR").map_or_else(|| root().join("target/servers"), PathBuf::from);
    let path = servers.join("postgresql").join(name);
    // It finds what belongs to it by where it lies.
    path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}: run scripts/servers", path.display()))
}

/// A command, as a user under whom the server runs.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdin(Stdio::null()).current_dir("/").env("LC_ALL", "C");
    command
}

fn succeed(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A folder that the server's user may enter.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("postgres").tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    dir
}

/// The files of a cluster that was never started.
fn fresh() -> &'static Path {
    static FRESH: OnceLock<PathBuf> = OnceLock::new();
    FRESH.get_or_init(|| {
        // Removed with the shared cluster, in whose folder it lies.
        let dir = folder().keep();
        let (password, fresh) = (dir.join("password"), dir.join("fresh"));
        std::fs::write(&password, PASSWORD).unwrap();
        let mut initdb = command(program("initdb"));
        initdb.args(["--no-sync", "--encoding=UTF8", "--no-locale", "--auth=scram-sha-256", "--username", USER]);
        succeed(initdb.arg("--pwfile").arg(password).arg("--pgdata").arg(&fresh));
        fresh
    })
}

/// A running cluster.
pub struct Cluster {
    pub port: u16,
    dir: PathBuf,
    /// Where it is only this test's.
    own: Option<TempDir>,
    child: Child,
}

impl Cluster {
    /// The cluster that all tests share.
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::begin(fresh().parent().unwrap().to_owned(), None))
    }

    /// One for a test that restarts it.
    pub fn own() -> Self {
        // With that one goes what both are made of.
        Self::shared();
        let own = folder();
        Self::begin(own.path().to_owned(), Some(own))
    }

    fn begin(dir: PathBuf, own: Option<TempDir>) -> Self {
        let (port, data) = (free_port(), dir.join("data"));
        succeed(command("cp").arg("-a").arg(fresh()).arg(&data));
        let child = Self::spawn(&dir, port, own.is_none());
        let cluster = Self { port, dir, own, child };
        cluster.answers();
        cluster
    }

    fn spawn(dir: &Path, port: u16, goes: bool) -> Child {
        let mut server = command("sh");
        server.args(["-c", UNTIL_THE_END, "postgres"]).arg(if goes { dir.as_os_str() } else { "".as_ref() });
        server.arg(program("postgres")).arg("-D").arg(dir.join("data"));
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=300"] {
            server.args(["-c", setting]);
        }
        server.args(["-c", &format!("port={port}")]).env("LOG", dir.join("log"));
        server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn answers(&self) {
        wait("PostgreSQL to answer", Duration::from_secs(60), || self.try_run("postgres", "SELECT 1").ok());
    }

    /// Ends the server as a crash does, and starts it again.
    pub fn restart(&mut self) {
        assert!(self.own.is_some(), "others are at work on it");
        self.end();
        self.child = Self::spawn(&self.dir, self.port, false);
        self.answers();
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// The url of a database.
    pub fn url(&self, name: &str) -> String {
        url(self.port, name)
    }

    /// Runs statements in a database.
    pub fn run(&self, name: &str, sql: &str) {
        self.try_run(name, sql).unwrap();
    }

    fn try_run(&self, database: &str, sql: &str) -> Result<(), sqlx::Error> {
        let (url, sql) = (self.url(database), sql.to_owned());
        on_a_thread(async move {
            let mut connection = PgConnection::connect(&url).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        })
    }

    /// Lets whoever asks for TLS have it, with the certificate `own.crt` and the key `own.key` of a folder.
    pub fn offer_tls(&self, from: &Path) {
        for (name, to) in [("own.crt", "server.crt"), ("own.key", "server.key")] {
            let to = self.dir.join("data").join(to);
            std::fs::copy(from.join(name), &to).unwrap();
            // It refuses a key that others may read.
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(&to, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        for sql in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
            self.run("postgres", sql);
        }
        let offers = || self.try_connect("postgres?sslmode=require").ok();
        wait("PostgreSQL to offer TLS", Duration::from_secs(30), offers);
    }

    fn try_connect(&self, name: &str) -> Result<(), sqlx::Error> {
        let url = self.url(name);
        on_a_thread(async move { PgConnection::connect(&url).await?.close().await })
    }

    /// Makes a database.
    pub fn create(&self, name: &str) {
        self.run("postgres", &format!("CREATE DATABASE {name}"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// The url of a database that is reached by a port.
pub fn url(port: u16, name: &str) -> String {
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}")
}

/// Runs what waits on a thread of its own: a test may stand in a runtime already.
fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::spawn(run).join().unwrap()
}

/// The line of a configuration that has the state there; none where it is in the home.
pub fn state_line(database: Option<&Database>) -> String {
    database.map(|database| format!("state = \"{}\"\n\n", database.url())).unwrap_or_default()
}

/// A database that is only this test's.
pub struct Database {
    pub name: String,
}

impl Database {
    pub fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        Cluster::shared().create(&name);
        Self { name }
    }

    pub fn port(&self) -> u16 {
        Cluster::shared().port
    }

    pub fn url(&self) -> String {
        Cluster::shared().url(&self.name)
    }

    /// The url as the program reads it.
    pub fn state_url(&self) -> StateUrl {
        StateUrl::parse(&self.url()).unwrap()
    }

    /// As if every process that shares it had been silent for long: those that live say soon that they do. A database without tables has none.
    pub fn silence(&self) {
        self.run(
            "DO $$ BEGIN
                IF to_regclass('owners') IS NOT NULL THEN UPDATE owners SET seen_at = seen_at - 3600000; END IF;
            END $$",
        );
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        Cluster::shared().run(&self.name, sql);
    }

    /// What a statement reads as text, row by row.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let (url, sql) = (self.url(), sql.to_owned());
        on_a_thread(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            found
        })
    }
}
