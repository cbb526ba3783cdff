//! Support for the tests of the emulator: it runs as a process, and is called over real sockets, by our own client and by
//! requests put together here.

use crate::support::{Bench, clock, program, wait};
use crate::tair::client::{config, env};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::tair::acs3::{self, Outgoing};
use tair_backup_mcp::tair::client::{Client, RetryPolicy};
use tair_backup_mcp::tair::environment::Environment;
use tair_backup_mcp::tair::params::{Params, canonical};
use tair_backup_mcp::tair::rpc1;

pub const KEY: &str = "testAKID";
pub const SECRET: &str = "s3cr3tOfTheTest";

/// A range that includes any time.
pub const EVER: [(&str, &str); 2] = [("StartTime", "2010-01-01T10:00Z"), ("EndTime", "2050-01-01T10:00Z")];

/// A running emulator, killed when dropped.
pub struct Emulator {
    child: Child,
    pub port: u16,
    /// The line that the emulator prints once it listens.
    pub announced: String,
}

impl Emulator {
    /// Processes that it has started, also those that are dead and not yet waited for.
    pub fn children(&self) -> Vec<String> {
        let ours = self.child.id().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = all.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
        let parent = |stat: &String| {
            let fields = stat.rsplit_once(')')?.1;
            fields.split_whitespace().nth(1).map(str::to_owned)
        };
        stats.filter(|stat| parent(stat).as_ref() == Some(&ours)).collect()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A reply of the emulator, as received.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether as many bytes came as `content-length` promised.
    pub whole: bool,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The reply of a call that succeeded.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Status and code of a call that was refused.
    pub fn refused(&self) -> (u16, String) {
        assert!(self.status >= 400, "{}", self.text());
        let body = self.json();
        for field in ["Message", "HostId", "RequestId", "Recommend"] {
            assert!(body[field].as_str().is_some_and(|t| !t.is_empty()), "{field}: {body}");
        }
        assert_eq!(self.header("x-acs-request-id"), body["RequestId"].as_str());
        (self.status, body["Code"].as_str().unwrap().to_owned())
    }
}

/// How a request is signed.
#[derive(Debug, Clone)]
pub struct Signing {
    pub key: String,
    pub secret: String,
    pub token: Option<String>,
    pub date: Timestamp,
    pub nonce: String,
    pub version: String,
    /// The older (V1) signature, in the query or in a form.
    pub older: bool,
    pub form: bool,
    /// The format that the older signature asks for.
    pub format: Option<&'static str>,
}

impl Signing {
    pub fn new() -> Self {
        Self {
            key: KEY.into(),
            secret: SECRET.into(),
            token: None,
            date: Timestamp::now(),
            nonce: acs3::nonce().unwrap(),
            version: "2015-01-01".into(),
            older: false,
            form: false,
            format: Some("json"),
        }
    }
}

/// Our own client with short retries, for an emulator or a proxy before one.
pub fn client_at(port: u16) -> Client {
    client_by(port, &env(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)]))
}

/// [`client_at`] with other credentials.
pub fn client_by(port: u16, credentials: &Environment) -> Client {
    let mut config = config(&format!("http://127.0.0.1:{port}"));
    config.read_timeout = Duration::from_secs(10);
    let short_retries =
        RetryPolicy { attempts: 3, first: Duration::from_millis(2), longest: Duration::from_millis(900) };
    Client::with(config, credentials, short_retries).unwrap()
}

impl Emulator {
    pub fn start(bench: &Bench, more: &[&str]) -> Self {
        Self::start_with(bench, &[], more)
    }

    /// [`Self::start`] with arguments before the subcommand.
    pub fn start_with(bench: &Bench, before: &[&str], more: &[&str]) -> Self {
        let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let base = [&["emulate", "--access-key-id", KEY], listen].concat();
        let mut command = bench.command(&[before, &base].concat());
        command.env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET).env_remove("ALIBABA_CLOUD_SECURITY_TOKEN").args(more);
        // What a moment is built with for some of its keys.
        command.env("NO_COLOR", "1").env("TAIR_BACKUP_MCP_SANDBOX_SERVER", program("redis-7.0", "server"));
        clock::give_theirs(&mut command);
        let mut child = command.spawn().unwrap();
        let mut announced = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut announced).unwrap();
        let mut why = String::new();
        if announced.is_empty() {
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        }
        let port = announced.trim().rsplit(':').next().and_then(|p| p.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("the emulator printed {announced:?}, and {why}")), announced }
    }

    /// Ends the emulator by SIGINT, and waits for its end.
    pub fn interrupt(self) -> Option<i32> {
        self.end("-INT").0
    }

    /// Ends the emulator by a signal; its exit code, and its standard error.
    pub fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let code = wait("the emulator to end", Duration::from_secs(30), || self.child.try_wait().unwrap()).code();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (code, log)
    }

    /// Our own client with short retries.
    pub fn client(&self) -> Client {
        client_at(self.port)
    }

    /// Sends a request unchanged; `None` where the connection ends without a reply.
    pub fn raw(&self, method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Option<Answer> {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        tcp.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        tcp.write_all(body).unwrap();
        let mut from = BufReader::new(tcp);
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let promised = headers.iter().find(|(k, _)| k == "content-length").map(|(_, v)| v.parse::<usize>().unwrap());
        let mut body = Vec::new();
        // A connection that is reset has ended, too.
        let _ = from.read_to_end(&mut body);
        Some(Answer { status, headers, whole: promised == Some(body.len()), body })
    }

    pub fn host(&self) -> (String, String) {
        ("host".to_owned(), format!("127.0.0.1:{}", self.port))
    }

    /// A signed request.
    pub fn signed(&self, method: &str, action: &str, params: &[(&str, &str)], by: &Signing) -> Option<Answer> {
        let mut params: Params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let date = by.date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let secret = Secret::new(&by.secret);
        let mut headers = vec![self.host()];
        if by.older {
            params.extend([
                pair("Action", action),
                pair("Version", &by.version),
                pair("Timestamp", &date),
                pair("SignatureNonce", &by.nonce),
                pair("SignatureMethod", "HMAC-SHA1"),
                pair("SignatureVersion", "1.0"),
                pair("AccessKeyId", &by.key),
            ]);
            params.extend(by.format.iter().map(|f| pair("Format", f)));
            params.extend(by.token.iter().map(|t| pair("SecurityToken", t)));
            let signature = rpc1::sign(method, &params, &secret).unwrap();
            params.push(pair("Signature", &signature));
        }
        let encoded = canonical(&params);
        let (query, body) = if by.form { (String::new(), encoded) } else { (encoded, String::new()) };
        if by.form {
            headers.push(pair("content-type", "application/x-www-form-urlencoded"));
        }
        if !by.older {
            headers.extend([
                pair("x-acs-action", action),
                pair("x-acs-version", &by.version),
                pair("x-acs-date", &date),
                pair("x-acs-signature-nonce", &by.nonce),
                pair("x-acs-content-sha256", &acs3::content_hash(body.as_bytes())),
            ]);
            headers.extend(by.token.iter().map(|t| pair("x-acs-security-token", t)));
            let request = Outgoing { method, query: &query, headers: &headers, body: body.as_bytes() };
            let authorization = acs3::sign(request, &secret).unwrap().authorization(&by.key);
            headers.push(pair("authorization", &authorization));
        }
        self.raw(method, &format!("/?{query}"), &headers, body.as_bytes())
    }

    /// A call, as the SDKs make it.
    pub fn call(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.signed("POST", action, params, &Signing::new()).expect("a reply")
    }

    /// [`Self::call`] by GET.
    pub fn get(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.signed("GET", action, params, &Signing::new()).expect("a reply")
    }

    /// Fetches a URL, with these headers.
    pub fn fetch(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let base = format!("http://127.0.0.1:{}", self.port);
        let target = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url} is not at {base}"));
        let mut all: Vec<(String, String)> = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        all.push(self.host());
        self.raw("GET", target, &all, b"").expect("a reply")
    }

    /// Sets faults over HTTP, for the next calls.
    pub fn inject_all(&self, list: &Value) {
        let headers = [self.host(), ("content-type".into(), "application/json".into())];
        let set = self.raw("POST", "/faults", &headers, list.to_string().as_bytes()).unwrap();
        assert_eq!(set.status, 200, "{}", set.text());
    }

    /// The faults not injected yet.
    pub fn left(&self) -> Value {
        self.raw("GET", "/faults", &[self.host()], b"").unwrap().json()
    }

    /// Forgets the faults that have not been injected.
    pub fn forget_faults(&self) {
        self.raw("DELETE", "/faults", &[self.host()], b"").unwrap();
    }

    /// Sets one fault over HTTP.
    pub fn inject(&self, fault: Value) {
        self.inject_all(&json!([fault]));
    }

    pub fn status(&self, id: &str) -> String {
        let reply = self.call("DescribeInstanceAttribute", &[("InstanceId", id)]).ok();
        reply["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"].as_str().unwrap().to_owned()
    }

    /// Waits for a status other than this one.
    pub fn leaves(&self, id: &str, status: &str) -> String {
        wait(&format!("{id} to leave {status}"), Duration::from_secs(60), || {
            Some(self.status(id)).filter(|now| now != status)
        })
    }

    pub fn rows(&self, id: &str, more: &[(&str, &str)]) -> Vec<Value> {
        let params = [&[("InstanceId", id)], &EVER[..], more].concat();
        self.call("DescribeBackups", &params).ok()["Backups"]["Backup"].as_array().unwrap().clone()
    }

    /// Takes a backup and polls as terraform does; the row of its job.
    pub fn backup(&self, id: &str) -> Value {
        let job = self.call("CreateBackup", &[("InstanceId", id)]).ok()["BackupJobID"].as_str().unwrap().to_owned();
        wait("the backup", Duration::from_secs(60), || {
            self.rows(id, &[("BackupJobId", &job)]).into_iter().find(|row| row["BackupId"].is_i64())
        })
    }
}
