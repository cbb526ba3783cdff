//! What stands between our client and the emulator: passes every call on, keeps what the emulator answered, and makes of some calls what
//! a network, a gateway or a cloud under load makes of them. The emulator itself never lies here; only this does.

use crate::support::wait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tair_backup_mcp::tair::params::{Params, first, parse};

/// The name that downloads have among the actions.
pub const DOWNLOAD: &str = "download";

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is cut, and the emulator was never asked.
    Cut,
    /// The emulator does it, and the connection is cut.
    CutAfter,
    /// Refused with a code and a status, and nothing was done.
    Refused(&'static str, u16),
    /// Done, and answered with a code and a status.
    RefusedAfter(&'static str, u16),
    /// A gateway's page, and nothing was done.
    Gateway,
    /// Done, and a gateway's page comes back.
    GatewayAfter,
    /// 200 with an error's code, and nothing was done.
    CodeInSuccess,
    /// Done, and 200 with an error's code comes back.
    CodeInSuccessAfter,
    /// Done, and the reply has nothing but its id.
    Without,
    /// Done, and the reply ends in its middle.
    Truncated,
    /// Sent elsewhere, and nothing was done.
    Redirected,
    /// Done, and answered late.
    Late,
    /// Done, and answered as the first call of that action was.
    Stale,
    /// Done, and answered with the attributes of another instance.
    Other,
    /// Done, and answered as of an instance in another region.
    Elsewhere,
    /// Done, and answered as of an instance in that status.
    Status(&'static str),
    /// The process that calls dies before the emulator is asked.
    Dies,
    /// Done, and the process that called dies before the reply comes.
    DiesAfter,
}

impl Trouble {
    /// Whether the process that calls dies of it.
    pub const fn is_death(self) -> bool {
        matches!(self, Self::Dies | Self::DiesAfter)
    }

    /// Whether the emulator is asked at all.
    pub const fn reaches(self) -> bool {
        !matches!(
            self,
            Self::Cut | Self::Refused(..) | Self::Gateway | Self::CodeInSuccess | Self::Redirected | Self::Dies
        )
    }
}

/// A trouble that waits for its calls.
#[derive(Debug, Clone)]
pub struct Armed {
    /// The action into which it strikes.
    pub action: String,
    pub trouble: Trouble,
    /// How many calls it strikes.
    pub times: u32,
    /// The action that has to have been called in earnest, by this call or one before.
    pub after: Option<&'static str>,
}

/// A call that came by.
#[derive(Debug, Clone)]
pub struct Call {
    number: u64,
    pub action: String,
    pub params: Params,
    /// What the emulator answered, where it was asked: its status, and its reply.
    pub answered: Option<(u16, Value)>,
    pub struck: Option<Trouble>,
}

impl Call {
    /// Whether the emulator carried the call out.
    pub fn was_done(&self) -> bool {
        self.answered.as_ref().is_some_and(|(status, _)| *status == 200)
    }
}

#[derive(Default)]
struct Shared {
    armed: Vec<Armed>,
    calls: Vec<Call>,
    /// How many calls have come.
    came: u64,
    /// How many are not answered yet.
    open: u32,
    /// Whether the process that calls is to die.
    deadly: bool,
    /// Where calls get a trouble of their own: by chance, say.
    dice: Option<Chance>,
    /// The first reply to each action for each instance and set, as a mirror that lags has it.
    earlier: BTreeMap<String, (String, Vec<u8>)>,
}

/// Chooses a call's trouble.
pub type Chance = Box<dyn FnMut(&str) -> Option<Trouble> + Send>;

/// A listening line to an emulator.
#[derive(Clone)]
pub struct Between {
    pub port: u16,
    shared: Arc<Mutex<Shared>>,
}

impl Between {
    /// Listens until the test's process ends.
    pub fn start(emulator: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let between = Self { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), shared) = (client, Arc::clone(&shared)) else { continue };
                // A client that is gone has no use for its reply.
                std::thread::spawn(move || pass(client, emulator, &shared));
            }
        });
        between
    }

    fn with<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn arm(&self, armed: Armed) {
        self.with(|s| s.armed.push(armed));
    }

    /// From now on calls come to what `chance` says.
    pub fn leave_to(&self, chance: Option<Chance>) {
        self.with(|s| s.dice = chance);
    }

    /// Returns once the process that calls is to die.
    pub async fn death(&self) {
        while !self.with(|s| s.deadly) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets everything pass again.
    pub fn calm(&self) {
        self.with(|s| {
            s.armed.clear();
            s.dice = None;
            s.deadly = false;
        });
    }

    /// The calls since the last `forget`, once the emulator has answered all of them, also those that nobody waits for any more.
    pub fn calls(&self) -> Vec<Call> {
        wait("all calls to be answered", Duration::from_secs(30), || {
            self.with(|s| (s.open == 0).then(|| s.calls.clone()))
        })
    }

    /// Begins a new record.
    pub fn forget(&self) {
        self.calls();
        self.with(|s| {
            s.calls.clear();
            s.earlier.clear();
        });
    }
}

pub fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut body = vec![0; header(&head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    Some((head, body))
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|l| l.split_once(": ")).find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

pub fn ask(emulator: u16, head: &str, body: &[u8]) -> std::io::Result<(String, Vec<u8>)> {
    let mut server = TcpStream::connect(("127.0.0.1", emulator))?;
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    server.write_all(body)?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)? + 4;
    let body = reply.split_off(end);
    Ok((String::from_utf8_lossy(&reply).into_owned(), body))
}

fn made(status: u16, kind: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn refusal(code: &str, status: u16) -> Vec<u8> {
    let body =
        json!({"Code": code, "Message": format!("no: {code}"), "RequestId": "R", "HostId": "h", "Recommend": "-"});
    made(status, "application/json", "", &body.to_string())
}

/// The head and body of an emulator's reply, with another body.
fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let lines = head.trim_end().split("\r\n").filter(|l| !l.to_ascii_lowercase().starts_with("content-length"));
    let head: Vec<&str> = lines.collect();
    [format!("{}\r\ncontent-length: {}\r\n\r\n", head.join("\r\n"), body.len()).as_bytes(), body].concat()
}

fn pass(mut client: TcpStream, emulator: u16, shared: &Mutex<Shared>) {
    let lock = || shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some((head, body)) = read_request(&mut client) else { return };
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let action = header(&head, "x-acs-action").unwrap_or(DOWNLOAD).to_owned();
    let params = parse(query);
    let (number, struck) = {
        let mut s = lock();
        let mut struck = s.dice.as_mut().and_then(|chance| chance(&action));
        s.came += 1;
        s.open += 1;
        let number = s.came;
        s.calls.push(Call { number, action: action.clone(), params: params.clone(), answered: None, struck: None });
        let Shared { armed, calls, .. } = &mut *s;
        let in_earnest = |c: &Call, name: &str| c.action == name && first(&c.params, "DryRun") != Some("true");
        let has_come = |a: &Armed| a.after.is_none_or(|name| calls.iter().any(|c| in_earnest(c, name)));
        if let Some(armed) = armed.iter_mut().find(|a| a.action == action && a.times > 0 && has_come(a)) {
            armed.times -= 1;
            struck = Some(armed.trouble);
        }
        if let Some(call) = calls.last_mut() {
            call.struck = struck;
        }
        (number, struck)
    };
    let mut reply = None;
    if struck.is_none_or(Trouble::reaches) {
        let Ok((head, body)) = ask(emulator, &head, &body) else {
            lock().open -= 1;
            return;
        };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let named = |name| first(&params, name).unwrap_or_default();
        let key = format!("{action} {} {} {}", named("InstanceId"), named("BackupId"), named("BackupJobId"));
        let mut s = lock();
        s.open -= 1;
        if let Some(call) = s.calls.iter_mut().find(|call| call.number == number) {
            call.answered = Some((status, json));
        }
        if status == 200 {
            s.earlier.entry(key.clone()).or_insert_with(|| (head.clone(), body.clone()));
        }
        reply = Some((head, body, s.earlier.get(&key).cloned()));
    } else {
        lock().open -= 1;
    }
    let sent = match (struck, reply) {
        (None, Some((head, body, _))) => [head.as_bytes(), &body].concat(),
        (Some(Trouble::Late), Some((head, body, _))) => {
            std::thread::sleep(Duration::from_millis(300));
            [head.as_bytes(), &body].concat()
        }
        (Some(Trouble::Refused(code, status) | Trouble::RefusedAfter(code, status)), _) => refusal(code, status),
        (Some(Trouble::Gateway | Trouble::GatewayAfter), _) => made(502, "text/html", "", "<html>Bad Gateway</html>"),
        (Some(Trouble::CodeInSuccess | Trouble::CodeInSuccessAfter), _) => refusal("InternalError", 200),
        (Some(Trouble::Without), _) => made(200, "application/json", "", r#"{"RequestId":"R"}"#),
        (Some(Trouble::Redirected), _) => made(302, "text/html", "location: http://127.0.0.1:9/\r\n", ""),
        (Some(Trouble::Truncated), Some((head, body, _))) => with_body(&head, &body[..body.len() / 2]),
        (Some(Trouble::Stale), Some((head, body, earlier))) => {
            let (head, body) = earlier.unwrap_or((head, body));
            [head.as_bytes(), &body].concat()
        }
        (Some(Trouble::Other), Some((head, body, _))) => {
            let id = first(&params, "InstanceId").unwrap_or_default();
            let text = String::from_utf8_lossy(&body).replace(id, "r-bp1zxszhcgatnxother");
            with_body(&head, text.as_bytes())
        }
        (Some(Trouble::Elsewhere), Some((head, body, _))) => {
            let text =
                String::from_utf8_lossy(&body).replace("\"RegionId\":\"cn-hangzhou\"", "\"RegionId\":\"cn-beijing\"");
            with_body(&head, text.as_bytes())
        }
        (Some(Trouble::Status(status)), Some((head, body, _))) => {
            let mut json: Value = serde_json::from_slice(&body).unwrap();
            json["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"] = status.into();
            with_body(&head, json.to_string().as_bytes())
        }
        (Some(Trouble::Dies | Trouble::DiesAfter), _) => {
            lock().deadly = true;
            // The connection ends with the process.
            let _ = client.read(&mut [0]);
            return;
        }
        (Some(Trouble::Cut | Trouble::CutAfter), _) | (_, None) => return,
    };
    let _ = client.write_all(&sent);
}
