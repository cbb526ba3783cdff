//! What only a database on another machine can do to the store: be away and come back, lose a reply, refuse, have other tables.

use super::contract::{confirmation, new, record};
use super::places::Place as _;
use crate::support::postgres::{Cluster, Database, PASSWORD, url};
use crate::support::{Bench, free_port, wait};
use futures::future::join_all;
use sqlx::sqlite::SqlitePool;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tair_backup_mcp::config::state_url::StateUrl;
use tair_backup_mcp::guard::ledger::{AuditRecord, ConfirmationStatus as Status, Ledger as _};
use tair_backup_mcp::model::job::{JobKind, JobStatus};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::{Begun, JobStore as _};
use tair_backup_mcp::state::postgres::Postgres;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

fn store(port: u16, name: &str) -> Postgres {
    Postgres::new(&StateUrl::parse(&url(port, name)).unwrap(), Path::new("/nowhere"))
}

/// Where a connection is cut: when the client sends this, before the server has it or when it has answered.
#[derive(Clone, Copy)]
struct Cut {
    at: &'static [u8],
    answered: bool,
}

/// A line to the server.
struct Line {
    port: u16,
    armed: Arc<Mutex<Option<Cut>>>,
}

impl Line {
    fn to(server: u16) -> Self {
        let line = Self { port: free_port(), armed: Arc::default() };
        let (listener, armed) = (TcpListener::bind(("127.0.0.1", line.port)).unwrap(), Arc::clone(&line.armed));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, armed) = (client.unwrap(), Arc::clone(&armed));
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let cut = Arc::new(AtomicBool::new(false));
                let down = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&cut));
                std::thread::spawn(move || pass(&client, &server, |sent| Self::goes(&armed, sent, &cut)));
                std::thread::spawn(move || pass(&down.0, &down.1, |_| !down.2.load(Ordering::SeqCst)));
            }
        });
        line
    }

    /// Whether something that a client sends goes on to the server.
    fn goes(armed: &Mutex<Option<Cut>>, sent: &[u8], cut: &AtomicBool) -> bool {
        let mut armed = armed.lock().unwrap();
        match armed.filter(|cut| sent.windows(cut.at.len()).any(|part| part == cut.at)) {
            None => true,
            Some(found) => {
                *armed = None;
                cut.store(found.answered, Ordering::SeqCst);
                found.answered
            }
        }
    }

    fn cut(&self, at: &'static [u8], answered: bool) {
        *self.armed.lock().unwrap() = Some(Cut { at, answered });
    }

    fn has_cut(&self) -> bool {
        self.armed.lock().unwrap().is_none()
    }
}

/// Passes on what comes, as long as it goes on.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut goes: impl FnMut(&[u8]) -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        if !goes(&piece[..n]) || to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// A change is made once, whether the server had committed it or not when the connection was lost, and says what it did.
#[tokio::test]
async fn a_change_whose_reply_was_lost_is_found_out() {
    const COMMIT: &[u8] = b"COMMIT\0";
    let database = Database::new();
    let line = Line::to(database.port());
    let (store, direct) = (store(line.port, &database.name), database.open());
    assert!(store.adopt("local", None).await.unwrap().is_empty());
    for answered in [true, false] {
        let nonce = format!("answered {answered}");
        direct.open(&confirmation(&nonce, "orders", 15)).await.unwrap();
        line.cut(COMMIT, answered);
        assert!(store.transition(&nonce, &[Status::Open], Status::Redeemed).await.unwrap(), "{nonce}");
        assert!(line.has_cut() && !store.transition(&nonce, &[Status::Open], Status::Redeemed).await.unwrap());
        assert_eq!(direct.find(&nonce).await.unwrap().unwrap().status, Status::Redeemed);
        line.cut(COMMIT, answered);
        assert_eq!(store.count_wrong_answer(&nonce).await.unwrap(), 1, "{nonce}");
        assert!(line.has_cut());
        assert_eq!(direct.find(&nonce).await.unwrap().unwrap().wrong_answers, 1, "{nonce}");
        line.cut(COMMIT, answered);
        let begun = store.begin(new(&nonce, JobKind::Backup, &nonce)).await.unwrap();
        assert!(matches!(begun, Begun::Started(_)) && line.has_cut(), "{begun:?}");
        assert_eq!(direct.jobs(Some(&nonce)).await.unwrap().len(), 1);
        line.cut(COMMIT, answered);
        let said = AuditRecord::now("ended", "a", &nonce, "");
        assert!(store.finish(&nonce, Ok("done"), Some(said)).await.unwrap() && line.has_cut());
        assert_eq!(direct.audit(Some(&nonce), 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_read_is_repeated_on_another_connection() {
    let database = Database::new();
    let line = Line::to(database.port());
    let store = store(line.port, &database.name);
    store.record(AuditRecord::now("ended", "a", "orders", "")).await.unwrap();
    for answered in [true, false] {
        line.cut(b"FROM audit", answered);
        assert_eq!(store.audit(None, 9).await.unwrap().len(), 1);
        assert!(line.has_cut());
    }
}

/// A crash of the server takes back nothing, whoever had it open goes on, and a silence that it was the cause of proves nobody dead.
#[tokio::test]
async fn what_was_redeemed_stays_so_after_a_restart() {
    let mut cluster = Cluster::own();
    cluster.create("state");
    // Without what this program asks for, a server that is told to be hasty forgets what it has just confirmed.
    cluster.run("state", "ALTER DATABASE state SET synchronous_commit = off");
    let living = store(cluster.port, "state");
    living.open(&confirmation("1", "orders", 15)).await.unwrap();
    let Begun::Started(job) = living.begin(new("rj-1", JobKind::Restore, "orders")).await.unwrap() else {
        panic!("a job")
    };
    living.save_recovery(&job.id, &record()).await.unwrap();
    cluster.run("state", "UPDATE owners SET seen_at = seen_at - 3600000");
    assert!(living.transition("1", &[Status::Open], Status::Redeemed).await.unwrap());
    cluster.restart();
    let next = store(cluster.port, "state");
    for store in [&living, &next] {
        assert_eq!(store.find("1").await.unwrap().unwrap().status, Status::Redeemed);
        assert!(!store.transition("1", &[Status::Open], Status::Redeemed).await.unwrap());
        assert_eq!(store.job(&job.id).await.unwrap().status, JobStatus::Running);
    }
    assert!(next.adopt("local", None).await.unwrap().is_empty(), "its process lives, and could not say so");
    assert!(living.finish(&job.id, Ok("done"), None).await.unwrap());
}

/// Of processes that open a fresh database at once one makes its tables, and all have one key.
#[tokio::test]
async fn a_fresh_database_is_opened_once_and_has_one_key() {
    let database = Database::new();
    let stores: Vec<_> = (0..6).map(|_| database.open()).collect();
    let keys = join_all(stores.iter().map(|store| store.key())).await;
    let keys: Vec<[u8; 32]> = keys.into_iter().map(|key| key.unwrap().0).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(database.open().key().await.unwrap().0, keys[0]);
    database.run("UPDATE keys SET key = 'short'");
    assert_eq!(database.open().key().await.unwrap_err().code, "guard.key");
}

#[tokio::test]
async fn a_later_version_is_refused() {
    let database = Database::new();
    assert!(database.open().jobs(None).await.unwrap().is_empty());
    database.run(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', TRUE, '', 0)",
    );
    assert_eq!(database.open().jobs(None).await.unwrap_err().code, "state.newer");
}

/// What one database has a column for the other has too, but for what on this machine is a file.
#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let (home, database) = (TempDir::new().unwrap(), Database::new());
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    drop(database.open().jobs(None).await.unwrap());
    let pool = SqlitePool::connect(&format!("sqlite://{}", home.path().join("state.db").display())).await.unwrap();
    let columns = "SELECT tables.name || '.' || columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' AND tables.name <> '_sqlx_migrations'";
    let here: BTreeSet<String> = sqlx::query_scalar(columns).fetch_all(&pool).await.unwrap().into_iter().collect();
    let columns = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT IN ('keys', '_sqlx_migrations')";
    let there: BTreeSet<String> = database.texts(columns).into_iter().collect();
    assert!(here.len() > 50, "{here:?}");
    assert_eq!(here, there);
}

/// Whoever is refused is told so, and no password is said, whatever is logged.
#[test]
fn a_refusal_says_no_password() {
    let database = Database::new();
    let (wrong, here) = ("wr0ng-s3cret", database.port());
    let refused = database.url().replace(PASSWORD, wrong);
    let unknown = database.url().replace(&database.name, "elsewhere");
    let away = database.url().replace(&here.to_string(), &free_port().to_string());
    for (url, code) in [(refused, "state.refused"), (unknown, "state.refused"), (away, "state.unreachable")] {
        let bench =
            Bench::new(&format!("state = \"{url}\"\n\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n"));
        let mut command = bench.command(&["describe-jobs"]);
        let done = crate::support::finish(command.env("TAIR_BACKUP_MCP_LOG", "trace").spawn().unwrap());
        assert!(done.code == 1 && done.err.contains(code), "{done:?}");
        let told = format!("{done:?}");
        assert!(!told.contains(wrong) && !told.contains(PASSWORD), "{told}");
    }
}

/// A server that only lists its tools asks nobody; the first call that needs the state does.
#[test]
fn a_server_that_lists_its_tools_does_not_connect() {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::new(&format!(
        "state = \"{}\"\n\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n",
        url(port, "state")
    ));
    let mut server = bench.command(&["serve"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut say = server.stdin.take().unwrap();
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
    ] {
        writeln!(say, "{message}").unwrap();
    }
    let mut listed = String::new();
    let mut lines = std::io::BufReader::new(server.stdout.take().unwrap());
    while !listed.contains("restore_instance") {
        assert!(std::io::BufRead::read_line(&mut lines, &mut listed).unwrap() > 0, "{listed}");
    }
    // Longer than what dead processes left is not looked for.
    let until = std::time::Instant::now() + Duration::from_millis(600);
    while std::time::Instant::now() < until {
        assert!(listener.accept().is_err(), "it has connected");
        std::thread::sleep(Duration::from_millis(5));
    }
    let call = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"describe_jobs","arguments":{}}}"#;
    writeln!(say, "{call}").unwrap();
    wait("a connection", Duration::from_secs(30), || listener.accept().ok());
    server.kill().unwrap();
    server.wait().unwrap();
}

/// On the way to another machine nothing is said before its certificate is verified, name and all, unless the url says otherwise.
#[tokio::test]
async fn a_certificate_is_verified_on_the_way_to_another_machine() {
    let dir = TempDir::new().unwrap();
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout own.key -out own.crt -days 2 \
        -subj /CN=db -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made =
        Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().expect("openssl must be on PATH");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cluster = Cluster::own();
    cluster.create("state");
    let opened = async |host: &str, more: &str| {
        let more = more.replace("ROOT", &format!("sslrootcert={}", dir.path().join("own.crt").display()));
        let url = format!("{}{more}", cluster.url("state").replace("127.0.0.1", host));
        let store = Postgres::new(&StateUrl::parse(&url).unwrap(), Path::new("/nowhere"));
        store.jobs(None).await.map(drop).map_err(|fault| (fault.code, fault.message.contains("over TLS")))
    };
    // An address that is not known to be this machine's, and leads here.
    let another = "0.0.0.0";
    assert_eq!(opened(another, "").await, Err(("state.unreachable", true)), "without TLS");
    opened(another, "?sslmode=prefer").await.unwrap();
    cluster.offer_tls(dir.path());
    for (host, more, opens) in [
        (another, "", false),
        // Its certificate is another name's.
        (another, "?ROOT", false),
        (another, "?sslmode=verify-ca&ROOT", true),
        (another, "?sslmode=verify-ca", false),
        (another, "?sslmode=require", true),
        ("127.0.0.1", "?sslmode=verify-full&ROOT", true),
        ("127.0.0.1", "?sslmode=verify-full", false),
        ("127.0.0.1", "", true),
    ] {
        let wanted = if opens { Ok(()) } else { Err(("state.unreachable", true)) };
        assert_eq!(opened(host, more).await, wanted, "{host}{more}");
    }
}
