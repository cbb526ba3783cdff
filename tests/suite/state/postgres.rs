//! What only a database on another machine can do to the store: be away and come back, lose a reply, refuse, have other tables.

use super::contract::{confirmation, new, record};
use super::places::Place as _;
use crate::support::postgres::{Cluster, Database, PASSWORD, url};
use crate::support::{Bench, free_port, wait};
use futures::future::join_all;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Connection as _};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tair_backup_mcp::config::state_url::StateUrl;
use tair_backup_mcp::guard::ledger::{AuditRecord, ConfirmationStatus as Status, Ledger as _};
use tair_backup_mcp::model::job::{JobKind, JobStatus, Phase};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::{Begun, JobStore as _};
use tair_backup_mcp::state::leases::Leases as _;
use tair_backup_mcp::state::liveness::Liveness as _;
use tair_backup_mcp::state::postgres::Postgres;
use tair_backup_mcp::state::postgres::database::Database as Server;
use tair_backup_mcp::state::sql::heartbeats::{Beat, Heartbeats};
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

fn store(port: u16, name: &str) -> Postgres {
    Postgres::new(&StateUrl::parse(&url(port, name)).unwrap(), Path::new("/nowhere"))
}

/// Where a connection is cut: when the client sends this.
#[derive(Clone, Copy)]
struct Cut {
    at: &'static [u8],
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Before the server has it.
    Unsent,
    /// When it has answered.
    Answered,
    /// Before the server has it, which does not notice that nobody is there any more.
    Unnoticed,
}

/// A line to the server.
pub struct Line {
    pub port: u16,
    armed: Arc<Mutex<Option<Cut>>>,
    down: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    pub fn to(server: u16) -> Self {
        Self::from("127.0.0.1", server)
    }

    /// One that is reached at another address of this machine.
    fn from(address: &str, server: u16) -> Self {
        let port = free_port();
        let line = Self { port, armed: Arc::default(), down: Arc::default(), clients: Arc::default() };
        let (listener, armed) = (TcpListener::bind((address, line.port)).unwrap(), Arc::clone(&line.armed));
        let (down, clients) = (Arc::clone(&line.down), Arc::clone(&line.clients));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, armed) = (client.unwrap(), Arc::clone(&armed));
                let mut clients = clients.lock().unwrap();
                if down.load(Ordering::SeqCst) {
                    continue;
                }
                clients.push(client.try_clone().unwrap());
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let cut = Arc::new(AtomicBool::new(false));
                let down = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&cut));
                std::thread::spawn(move || pass(&client, &server, |sent| Self::goes(&armed, sent, &cut)));
                let back = move |_: &[u8]| if down.2.load(Ordering::SeqCst) { Goes::Nowhere } else { Goes::On };
                std::thread::spawn(move || pass(&down.0, &down.1, back));
            }
        });
        line
    }

    /// Whether something that a client sends goes on to the server.
    fn goes(armed: &Mutex<Option<Cut>>, sent: &[u8], cut: &AtomicBool) -> Goes {
        let mut armed = armed.lock().unwrap();
        match armed.filter(|cut| sent.windows(cut.at.len()).any(|part| part == cut.at)) {
            None => Goes::On,
            Some(found) => {
                *armed = None;
                cut.store(found.how == How::Answered, Ordering::SeqCst);
                match found.how {
                    How::Unsent => Goes::Nowhere,
                    How::Answered => Goes::On,
                    How::Unnoticed => Goes::Unnoticed,
                }
            }
        }
    }

    fn cut(&self, at: &'static [u8], how: How) {
        *self.armed.lock().unwrap() = Some(Cut { at, how });
    }

    /// Cuts all connections, and each that is made, until it is up again.
    pub fn down(&self) {
        let mut clients = self.clients.lock().unwrap();
        self.down.store(true, Ordering::SeqCst);
        for client in clients.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    pub fn up(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.armed.lock().unwrap().is_none()
    }
}

/// What becomes of what comes.
enum Goes {
    On,
    /// Both ends are closed.
    Nowhere,
    /// The end that it came from is closed, and the other is left as it is.
    Unnoticed,
}

/// Passes on what comes, as long as it goes on.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut goes: impl FnMut(&[u8]) -> Goes) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        match goes(&piece[..n]) {
            Goes::On if to.write_all(&piece[..n]).is_ok() => {}
            Goes::On | Goes::Nowhere => break,
            Goes::Unnoticed => {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
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
    // A server that has not noticed keeps the transaction for some seconds: it is neither written nor given up before it is known.
    direct.open(&confirmation("unnoticed", "orders", 15)).await.unwrap();
    line.cut(COMMIT, How::Unnoticed);
    assert!(store.transition("unnoticed", &[Status::Open], Status::Redeemed).await.unwrap() && line.has_cut());
    assert_eq!(direct.find("unnoticed").await.unwrap().unwrap().status, Status::Redeemed);
    for answered in [How::Answered, How::Unsent] {
        let nonce = format!("answered {}", answered == How::Answered);
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
        assert_eq!(direct.audit(Some(&nonce), None, 9).await.unwrap().len(), 1);
    }
}

/// Where the database does not remember what became of a change whose reply was lost, that is said: the change is neither taken for made, nor
/// made a second time.
#[tokio::test]
async fn what_the_database_has_forgotten_is_uncertain() {
    const COMMIT: &[u8] = b"COMMIT\0";
    let database = Database::new();
    // As it is asked of a transaction that is longer ago than the server's records.
    database.run(&format!(
        "CREATE FUNCTION public.pg_xact_status(xid8) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
        ALTER DATABASE {} SET search_path = public, pg_catalog",
        database.name
    ));
    let line = Line::to(database.port());
    let (store, direct) = (store(line.port, &database.name), database.open());
    assert!(store.adopt("local", None).await.unwrap().is_empty());
    for committed in [true, false] {
        let (nonce, how) = (format!("committed {committed}"), if committed { How::Answered } else { How::Unsent });
        direct.open(&confirmation(&nonce, "orders", 15)).await.unwrap();
        line.cut(COMMIT, how);
        let fault = store.count_wrong_answer(&nonce).await.unwrap_err();
        assert!(fault.code == "state.uncertain" && line.has_cut(), "{nonce}: {fault:?}");
        let counted = direct.find(&nonce).await.unwrap().unwrap().wrong_answers;
        assert_eq!(counted == 1, committed, "{nonce}: {counted}");
        line.cut(COMMIT, how);
        let fault = store.transition(&nonce, &[Status::Open], Status::Redeemed).await.unwrap_err();
        assert!(fault.code == "state.uncertain" && line.has_cut(), "{nonce}: {fault:?}");
        let status = direct.find(&nonce).await.unwrap().unwrap().status;
        assert_eq!(status == Status::Redeemed, committed, "{nonce}: {status:?}");
        // Whoever asks again redeems what is not redeemed yet, and nothing twice.
        let again = store.transition(&nonce, &[Status::Open], Status::Redeemed).await.unwrap();
        assert_eq!(again, !committed, "{nonce}");
    }
}

/// What a process could neither end nor give back while the database was away it takes on again once that is back, though it lives; what it works
/// on it does not, nor does another.
#[tokio::test]
async fn what_could_not_be_given_back_is_taken_on_again() {
    let (database, next) = (Database::new(), async |store: &Postgres| store.acquire("archive/orders").await.unwrap());
    let line = Line::to(database.port());
    let (store, other) = (store(line.port, &database.name), database.open());
    let lease = next(&store).await.unwrap();
    let Begun::Started(job) = store.begin(new("rj-1", JobKind::Restore, "orders")).await.unwrap() else {
        panic!("a job")
    };
    assert!(next(&store).await.is_none() && store.adopt("local", None).await.unwrap().is_empty());
    line.down();
    let away = Duration::from_millis(300);
    let given_back = tokio::time::timeout(away, store.give_back(&lease)).await;
    let ended = tokio::time::timeout(away, store.finish(&job.id, Ok("done"), None)).await;
    assert!(given_back.is_err() && ended.is_err(), "{given_back:?} {ended:?}");
    store.leave(&job.id);
    line.up();
    assert!(other.acquire("archive/orders").await.unwrap().is_none(), "its process lives");
    let again = next(&store).await.unwrap();
    assert!(again.epoch > lease.epoch && !store.renew(&lease).await.unwrap() && next(&store).await.is_none());
    assert!(other.adopt("local", None).await.unwrap().is_empty());
    let (one, two) = tokio::join!(store.adopt("local", None), store.adopt("local", None));
    let adopted: Vec<_> = one.unwrap().into_iter().chain(two.unwrap()).map(|orphan| orphan.job.id).collect();
    assert_eq!(adopted, [job.id.as_str()], "by one part of the process");
    assert!(store.finish(&job.id, Ok("done"), None).await.unwrap());
    store.give_back(&again).await.unwrap();
    assert!(other.acquire("archive/orders").await.unwrap().is_some());
}

#[tokio::test]
async fn a_read_is_repeated_on_another_connection() {
    let database = Database::new();
    let line = Line::to(database.port());
    let store = store(line.port, &database.name);
    store.record(AuditRecord::now("ended", "a", "orders", "")).await.unwrap();
    for answered in [How::Answered, How::Unsent] {
        line.cut(b"FROM audit", answered);
        assert_eq!(store.audit(None, None, 9).await.unwrap().len(), 1);
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
    cluster.run("state", "UPDATE owners SET seen_at = seen_at - 3600000");
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
    let columns = "SELECT tables.name || '.' || columns.name || CASE WHEN columns.\"notnull\" OR columns.pk THEN '' ELSE ' or none' END FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' AND tables.name <> '_sqlx_migrations'";
    let here: BTreeSet<String> = sqlx::query_scalar(columns).fetch_all(&pool).await.unwrap().into_iter().collect();
    let columns = "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE ' or none' END FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT IN ('keys', '_sqlx_migrations')";
    let there: BTreeSet<String> = database.texts(columns).into_iter().collect();
    assert!(here.len() > 50, "{here:?}");
    assert_eq!(here, there);
    // What there is once; the audit's own number is a row's place in the one database, and has an index in the other.
    let unique = "SELECT tables.name || ' ' || (SELECT group_concat(name) FROM pragma_index_info(indexes.name))
          || CASE indexes.partial WHEN 0 THEN '' ELSE ', of some' END
        FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes
        WHERE tables.type = 'table' AND tables.name <> '_sqlx_migrations' AND indexes.\"unique\"";
    let here: BTreeSet<String> = sqlx::query_scalar(unique).fetch_all(&pool).await.unwrap().into_iter().collect();
    let unique = "SELECT tables.relname || ' ' || (SELECT string_agg(attname, ',' ORDER BY position) FROM pg_attribute
            JOIN unnest(indkey::int2[]) WITH ORDINALITY AS of_it (number, position) ON attnum = number WHERE attrelid = tables.oid)
          || CASE WHEN indpred IS NULL THEN '' ELSE ', of some' END
        FROM pg_index JOIN pg_class AS tables ON tables.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace AND relname NOT IN ('keys', 'audit', '_sqlx_migrations') AND indisunique";
    let there: BTreeSet<String> = database.texts(unique).into_iter().collect();
    assert!(here.len() > 4, "{here:?}");
    assert_eq!(here, there);
}

/// Processes that open a fresh database at once share one description of it, whatever isolation the server has by default; and none waits for ever
/// for one that stands still meanwhile, nor for one that stands still in any other transaction.
#[tokio::test]
async fn whoever_stands_still_keeps_nobody_waiting_for_ever() {
    let (fresh, held, written) = (Database::new(), Database::new(), Database::new());
    fresh.run(&format!("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'", fresh.name));
    let opened = join_all((0..6).map(|_| async { fresh.open().jobs(None).await.map(|jobs| jobs.len()) })).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let store = written.open();
    let Begun::Started(job) = store.begin(new("rj-1", JobKind::Restore, "orders")).await.unwrap() else {
        panic!("a job")
    };
    // Connections of somebody who never ends.
    let stands_still = async |database: &Database, sql: &str| {
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {sql}"))).execute(&mut connection).await.unwrap();
        connection
    };
    let migrating = stands_still(&held, "SELECT pg_advisory_xact_lock(8386099921323386738)").await;
    let writing = stands_still(&written, "UPDATE jobs SET stage = 'for ever'").await;
    let begun = Instant::now();
    let (refused, not_written) =
        tokio::join!(async { held.open().jobs(None).await }, store.progress(&job.id, Phase::Working, "", 1, 2));
    let codes = [refused.unwrap_err().code, not_written.unwrap_err().code];
    assert!(codes == ["state.unreachable"; 2] && begun.elapsed() < Duration::from_secs(40), "{codes:?}");
    drop((migrating, writing));
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
        // The log has the cause, as the message says.
        assert!(code != "state.unreachable" || told.contains("refused"), "{told}");
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
        (another, "?sslmode=verify-ca&sslrootcert=/nowhere", false),
        (another, "?sslmode=require", true),
        ("127.0.0.1", "?sslmode=verify-full&ROOT", true),
        ("127.0.0.1", "?sslmode=verify-full", false),
        ("127.0.0.1", "", true),
    ] {
        let wanted = if opens { Ok(()) } else { Err(("state.unreachable", true)) };
        assert_eq!(opened(host, more).await, wanted, "{host}{more}");
    }
}

/// A process that could not write for a while, or cannot, takes nobody for dead, and knows that it may be taken for dead itself before it is. Two
/// connections that died idle keep no heartbeat.
#[tokio::test]
async fn a_process_that_is_cut_off_knows_it() {
    let database = Database::new();
    let line = Line::to(database.port());
    let at = |port| {
        let url = StateUrl::parse(&url(port, &database.name)).unwrap();
        Arc::new(Server::new(&url, Path::new("/nowhere")))
    };
    let beat = Beat { every: Duration::from_millis(500), missed: 4, back_within: Duration::from_secs(1) };
    let (ours, dead) = (Heartbeats::new(at(line.port), beat), Heartbeats::new(at(database.port()), beat));
    assert!(!ours.may_be_taken_for_dead());
    let (me, other) = (ours.me().await.unwrap(), dead.me().await.unwrap());
    drop(dead);
    let until = async |what: &str, is: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("its end to be written", &|| database.texts("SELECT name FROM owners").len() == 1).await;
    database.run(&format!("INSERT INTO owners (name, seen_at) VALUES ('{other}', 1)"));
    let is_dead = async || {
        let deadline = Instant::now() + Duration::from_secs(10);
        while ours.lives(&other).await.unwrap() {
            assert!(Instant::now() < deadline, "it stays alive for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    is_dead().await;
    let others = Heartbeats::new(at(database.port()), Beat { back_within: Duration::ZERO, ..beat });
    assert!(!ours.may_be_taken_for_dead() && others.lives(&me).await.unwrap());
    line.down();
    until("to know that it is cut off", &|| ours.may_be_taken_for_dead()).await;
    assert!(others.lives(&me).await.unwrap(), "not yet, for others");
    line.up();
    until("to be back", &|| !ours.may_be_taken_for_dead()).await;
    assert!(ours.lives(&other).await.unwrap(), "others may have been cut off as well");
    is_dead().await;
}

/// An IPv6 address stands in brackets in a url, and nowhere else.
#[tokio::test]
async fn an_address_in_brackets_is_reached() {
    let database = Database::new();
    let line = Line::from("::1", database.port());
    let url = url(line.port, &database.name).replace("127.0.0.1", "[::1]");
    let store = Postgres::new(&StateUrl::parse(&url).unwrap(), Path::new("/nowhere"));
    assert!(store.jobs(None).await.unwrap().is_empty());
}

/// What a plan is about may be named by anything: a NUL in one that waits keeps no other from being redeemed.
#[tokio::test]
async fn a_nul_in_an_open_plan_keeps_no_other_from_being_redeemed() {
    let database = Database::new();
    let store = database.open();
    let mut odd = confirmation("odd", "orders", 15);
    odd.plan.impact.way_back = "a\0b".to_owned();
    store.open(&odd).await.unwrap();
    store.open(&confirmation("plain", "orders", 15)).await.unwrap();
    store.withdraw_others("carts", "plain").await.unwrap();
    store.withdraw_others("orders", "plain").await.unwrap();
    assert_eq!(store.find("odd").await.unwrap().unwrap().status, Status::Superseded);
}
