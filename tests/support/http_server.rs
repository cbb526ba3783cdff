//! An HTTP server for one test: it answers as the test says, over real sockets, and keeps the requests it received. Tests point
//! clients of the cloud at it.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tair_backup_mcp::tair::params::{Params, first, parse};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A request as received.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Params,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// A parameter of the query, decoded.
    pub fn param(&self, name: &str) -> Option<String> {
        first(&parse(&self.query), name).map(str::to_owned)
    }

    pub fn action(&self) -> &str {
        self.header("x-acs-action").unwrap_or_default()
    }
}

/// The server's answer to a request.
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Reads the request, and never answers.
    Hang,
    /// Reads the request, and closes the connection.
    Close,
}

impl Answer {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::bytes(body.into().into_bytes())
    }

    pub fn bytes(body: Vec<u8>) -> Self {
        Self::Reply { status: 200, headers: Vec::new(), body }
    }

    /// A success in the cloud's shape: with the id that every reply has.
    pub fn cloud(body: impl Into<String>) -> Self {
        let body = body.into();
        match body.strip_prefix('{') {
            Some("}") => Self::ok(r#"{"RequestId":"R"}"#),
            Some(rest) => Self::ok(format!(r#"{{"RequestId":"R",{rest}"#)),
            None => Self::ok(body),
        }
    }

    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Reply { status, headers: Vec::new(), body: body.into().into_bytes() }
    }

    /// An error in the cloud's shape.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            r#"{{"Code":"{code}","HostId":"h","Message":"no: {code}","Recommend":"https://x","RequestId":"AD425AD3"}}"#
        );
        Self::status(status, body)
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

type Handler = Box<dyn FnMut(usize, &Seen) -> Answer + Send>;

/// A running server; it ends with the test's runtime.
pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a server whose answers are a function of the request's number, from 0, and the request.
    pub async fn start(handler: impl FnMut(usize, &Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Box::new(handler)));
        let requests = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, handler.clone(), requests.clone()));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: Arc<Mutex<Handler>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let Some(request) = read(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let answer = (handler.lock().unwrap())(number, &request);
    match answer {
        Answer::Close => {}
        Answer::Hang => tokio::time::sleep(Duration::from_secs(3600)).await,
        Answer::Reply { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat()).await;
            let _ = stream.shutdown().await;
        }
    }
}

pub fn handler(answer: impl FnMut(usize, &Seen) -> Answer + Send + 'static) -> Arc<Mutex<Handler>> {
    Arc::new(Mutex::new(Box::new(answer)))
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut parts = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (parts.next()?, parts.next()?);
    let headers: Params = lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let length =
        first(&headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect::<Params>(), "content-length")
            .map_or(0, |n| n.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => body.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Seen { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}
