//! A real S3 server, SeaweedFS, one for all tests of the binary and a prefix for each; and a line to a server that loses replies, or answers in
//! the server's place.

use crate::support::between::{ask, header, read_request};
use crate::support::{free_port, other_program, wait};
use jiff::Timestamp;
use ring::{digest, hmac};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tair_backup_mcp::config::vault::{BucketPlace, Service, TIMEOUT, VaultPlace};
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::bucket::Bucket;
use tair_backup_mcp::vault::bucket::keys::AccessKey;
use tair_backup_mcp::vault::store::Store;
use url::Url;

/// The access key of the server.
pub const KEY: (&str, &str) = ("test-key", "secret-of-the-test");

/// One that has no right to delete anything.
pub const ARCHIVER: (&str, &str) = ("archiver-key", "secret-of-the-archiver");

/// Who may do what.
const IDENTITIES: &str = r#"{"identities": [
    {"name": "owner", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
     "credentials": [{"accessKey": "test-key", "secretKey": "secret-of-the-test"}]},
    {"name": "archiver", "actions": [], "policyNames": ["archiver"],
     "credentials": [{"accessKey": "archiver-key", "secretKey": "secret-of-the-archiver"}]}],
  "policies": [{"name": "archiver", "content": "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Resource\": [\"arn:aws:s3:::*\"], \"Action\": [\"s3:GetObject\", \"s3:GetObjectVersion\", \"s3:PutObject\", \"s3:ListBucket\", \"s3:ListBucketVersions\", \"s3:AbortMultipartUpload\"]}]}"}]}"#;

/// The bucket that all tests share.
pub const BUCKET: &str = "backups";

struct Server {
    port: u16,
    /// The server ends when this process does, however it ends, for then its shell's input ends.
    _shell: Child,
}

/// Runs a server until its input ends, and takes its directory away.
const SHELL: &str = r#"dir=$1; shift; "$@" >"$dir/log" 2>&1 & pid=$!; read -r _; kill -9 "$pid"; rm -rf "$dir""#;

/// The server's port.
pub fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start).port
}

fn start() -> Server {
    let weed = other_program("seaweedfs-4.48", "weed");
    let dir = tempfile::Builder::new().prefix("weed").tempdir().unwrap().keep();
    let port = free_port();
    let mut command = Command::new("sh");
    command.args(["-c", SHELL, "weed"]).arg(&dir).arg(weed).arg("mini").arg("-dir").arg(&dir);
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket", BUCKET, &format!("-s3.port={port}")]);
    for of in ["master", "volume", "filer", "admin"] {
        command.arg(format!("-{of}.port={}", free_port()));
    }
    // What it has besides would listen on ports of its own choice, or talk to others.
    command.args([
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]);
    let identities = dir.join("identities.json");
    std::fs::write(&identities, IDENTITIES).unwrap();
    command.arg("-s3.config").arg(identities);
    command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let store = Bucket::new(place_at(port, "ready"), Some(Arc::new(key())));
    let ready = || {
        // A port that is open is not a server that is ready.
        TcpStream::connect(("127.0.0.1", port)).ok()?;
        match store.upload_whole("object").and_then(|upload| upload.finish()) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => None,
            _ => Some(()),
        }
    };
    let waited = std::time::Instant::now();
    while ready().is_none() {
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(waited.elapsed() < Duration::from_secs(60), "the S3 server does not begin; its log: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Server { port, _shell: shell }
}

/// A request of the owner, or of an intruder who has the owner's key; its status. The target has nothing that would have to be encoded.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let host = format!("127.0.0.1:{}", port());
    let at = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut all =
        vec![("host", host.as_str()), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", at.as_str())];
    all.extend_from_slice(headers);
    all.sort_unstable();
    let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let signed: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{signed}\n{names}\nUNSIGNED-PAYLOAD");
    let scope = format!("{}/us-east-1/s3/aws4_request", &at[..8]);
    let of = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{}", KEY.1).into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{of}")));
    let sent: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let credential = format!("Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", KEY.0);
    let head = format!(
        "{method} {target} HTTP/1.1\r\n{sent}authorization: AWS4-HMAC-SHA256 {credential}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (head, _) = ask(port(), &head, body.as_bytes()).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A bucket that keeps what is put there for a day.
pub fn locked() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| locked_for("locked", 1));
    "locked"
}

/// A bucket that locks what it is told to, and nothing by itself.
pub fn lockable() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| make_lockable("lockable"));
    "lockable"
}

/// Makes such a bucket.
pub fn make_lockable(bucket: &str) {
    assert_eq!(request("PUT", &format!("/{bucket}"), &[("x-amz-bucket-object-lock-enabled", "true")], ""), 200);
}

/// Locks what has a name there until a second.
pub fn lock(name: &str, until: Timestamp) {
    lock_in(lockable(), name, until);
}

/// Locks what has a name in such a bucket until a second.
pub fn lock_in(bucket: &str, name: &str, until: Timestamp) {
    let body = format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>GOVERNANCE</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
        written(until)
    );
    assert_eq!(request("PUT", &format!("/{bucket}/{name}?retention="), &[], &body), 200);
}

/// Makes a bucket that keeps what is put there for so many days.
pub fn locked_for(bucket: &str, days: u32) {
    make_lockable(bucket);
    lock_from_now_on(bucket, days);
}

/// Makes such a bucket keep for so many days what is put there from now on.
pub fn lock_from_now_on(bucket: &str, days: u32) {
    let retention = format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
         <Mode>COMPLIANCE</Mode><Days>{days}</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    );
    assert_eq!(request("PUT", &format!("/{bucket}?object-lock="), &[], &retention), 200);
}

/// Makes a bucket keep versions from now on.
pub fn keep_versions(bucket: &str) {
    const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(request("PUT", &format!("/{bucket}?versioning="), &[], ENABLED), 200);
}

/// A bucket that keeps versions, and locks nothing.
pub fn versioned() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        assert_eq!(request("PUT", "/versioned", &[], ""), 200);
        keep_versions("versioned");
    });
    "versioned"
}

/// A vault in a bucket, called by one of the keys.
pub fn vault_in(bucket: &str, prefix: &str, (id, secret): (&str, &str), spill_dir: &std::path::Path) -> Vault {
    let place = BucketPlace { bucket: bucket.into(), ..place_at(port(), prefix) };
    let key = AccessKey { id: id.into(), secret: Secret::new(secret), token: None };
    Vault::at(&VaultPlace::Bucket(place), spill_dir.to_owned(), Some(Arc::new(key)), None)
}

/// The access key, for the program's own client.
pub fn key() -> AccessKey {
    AccessKey { id: KEY.0.into(), secret: Secret::new(KEY.1), token: None }
}

/// A prefix that no other test has.
pub fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The place as a configuration has it.
pub fn url(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{}", port())
}

/// The access key, as the store's own chain looks for it.
pub fn environment(secret: &str) -> Vec<(&'static str, String)> {
    vec![("AWS_ACCESS_KEY_ID", KEY.0.into()), ("AWS_SECRET_ACCESS_KEY", secret.into())]
}

/// A place in the bucket, at a port that leads there.
pub fn place_at(port: u16, prefix: &str) -> BucketPlace {
    BucketPlace {
        service: Service::S3,
        bucket: BUCKET.into(),
        prefix: prefix.into(),
        region: None,
        endpoint: Some(Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()),
        in_host: None,
        timeout: TIMEOUT,
    }
}

/// A store there.
pub fn store_at(port: u16, prefix: &str) -> Arc<dyn Store> {
    Arc::new(Bucket::new(place_at(port, prefix), Some(Arc::new(key()))))
}

/// A vault under a prefix of its own.
pub fn vault(port: u16, spill_dir: &std::path::Path) -> Vault {
    Vault::at(&VaultPlace::Bucket(place_at(port, &prefix())), spill_dir.to_owned(), Some(Arc::new(key())), None)
}

/// A vault under a prefix.
pub fn vault_at(port: u16, prefix: &str, spill_dir: &std::path::Path) -> Vault {
    Vault::at(&VaultPlace::Bucket(place_at(port, prefix)), spill_dir.to_owned(), Some(Arc::new(key())), None)
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fate {
    Pass,
    /// It is passed on, and its reply is lost.
    Lose,
    /// It is held back, and passed on when it is let through, whatever became of its client by then; nobody answers.
    Late(Arc<Held>),
    /// The server never hears of it, and nobody answers for so long.
    Silence(Duration),
    /// The server never hears of it.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
}

impl Fate {
    /// An error as S3 has them.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        Self::Answer { status, headers: Vec::new(), body: body.into_bytes() }
    }
}

/// How long what is held back, or let through, is waited for.
const HELD_FOR: Duration = Duration::from_secs(120);

/// Requests that are on their way for as long as a test wants.
#[derive(Debug, Default)]
pub struct Held {
    came: AtomicU32,
    opened: AtomicBool,
    landed: AtomicU32,
}

impl Held {
    /// Waits until a request is held back.
    pub fn await_one(&self) {
        wait("a request to be held back", HELD_FOR, || (self.came.load(Ordering::SeqCst) > 0).then_some(()));
    }

    /// Lets all through, and waits until the server has answered them.
    pub fn let_through(&self) {
        self.opened.store(true, Ordering::SeqCst);
        let all_landed = || self.landed.load(Ordering::SeqCst) == self.came.load(Ordering::SeqCst);
        wait("what was held back to land", HELD_FOR, || all_landed().then_some(()));
    }

    fn pass(&self, send: impl FnOnce()) {
        self.came.fetch_add(1, Ordering::SeqCst);
        wait("what is held back to be let through", HELD_FOR, || self.opened.load(Ordering::SeqCst).then_some(()));
        send();
        self.landed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What came with it, where the line itself answers.
    pub body: Vec<u8>,
    head: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.trim()))
    }

    /// Whether it is of this method, and its target has this. A listing is of its bucket, whatever it asks for.
    pub fn is(&self, method: &str, part: &str) -> bool {
        let path = self.target.split_once('?').map_or(&*self.target, |(path, _)| path);
        self.method == method && self.target.contains(part) && path.trim_matches('/').contains('/')
    }
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;

/// A listening line to a server.
pub struct Line {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Line {
    /// Listens until the test's process ends.
    pub fn to(server: u16, rule: impl FnMut(&Request) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let line = Self { port, seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, rule) = (Arc::clone(&seen), Arc::clone(&rule));
                std::thread::spawn(move || pass(client, server, &seen, &rule));
            }
        });
        line
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pass(mut client: TcpStream, server: u16, seen: &Mutex<Vec<Request>>, rule: &Mutex<Rule>) {
    let Some((head, body)) = read_request(&mut client) else { return };
    let mut words = head.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let kept = if server == 0 { body.clone() } else { Vec::new() };
    let request = Request { method, target, body: kept, head: head.clone() };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let fate = rule.lock().unwrap_or_else(PoisonError::into_inner)(&request);
    let reply = match fate {
        Fate::Answer { status, headers, body } => {
            let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            // What a HEAD is answered has no body, whatever its length.
            let length = if headers.iter().any(|(name, _)| *name == "content-length") {
                String::new()
            } else {
                format!("content-length: {}\r\n", body.len())
            };
            let body = if request.method == "HEAD" { Vec::new() } else { body };
            [format!("HTTP/1.1 {status} X\r\n{more}{length}connection: close\r\n\r\n").as_bytes(), &body].concat()
        }
        Fate::Silence(time) => return std::thread::sleep(time),
        Fate::Late(held) => return held.pass(|| drop(ask(server, &head, &body))),
        fate => {
            let Ok((head, body)) = ask(server, &head, &body) else { return };
            if matches!(fate, Fate::Lose) {
                return;
            }
            [head.as_bytes(), &body].concat()
        }
    };
    let _ = client.write_all(&reply);
}
