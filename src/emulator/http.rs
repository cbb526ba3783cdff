//! HTTP: connections, limits, and which of the three faces a path belongs to: the API, the downloads, the mishaps.
//!
//! Nothing that arrives may bring the process down or make it hold more than a request's worth of memory.

use crate::emulator::answer::Refused;
use crate::emulator::call::Call;
use crate::emulator::downloads;
use crate::emulator::gate::Gate;
use crate::emulator::ids;
use crate::emulator::mishaps::{Mishap, Struck};
use crate::emulator::world::World;
use crate::tair::incoming::Incoming;
use crate::tair::params::first;
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use hyper::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes of a request's body at most; a form of the API is far below.
const MAX_BODY: usize = 1 << 20;
/// Bytes of a request's head at most.
pub const MAX_HEAD: usize = 64 << 10;
/// For a head, and for a body.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A reply's body.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes; how much is still to come.
    Stream(mpsc::Receiver<io::Result<Bytes>>, u64),
}

impl Body {
    /// One of a length that is known before it is there.
    #[must_use]
    pub const fn stream(from: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Self {
        Self::Stream(from, length)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Stream(from, left) => from.poll_recv(cx).map(|piece| match piece {
                Some(Ok(piece)) => {
                    *left = left.saturating_sub(piece.len() as u64);
                    Some(Ok(Frame::data(piece)))
                }
                Some(Err(e)) => Some(Err(e)),
                // The sender is gone before its time: that must not look like an end.
                None if *left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                None => None,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |b| b.len() as u64),
            Self::Stream(_, left) => *left,
        })
    }
}

/// A reply.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Reply {
    /// With a text.
    pub fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self::of(status, kind, Body::Whole(Some(body.into())))
    }

    /// With a body.
    pub fn of(status: u16, kind: &str, body: Body) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body }
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(status: u16, body: &Value, request_id: &str) -> Self {
        Self::new(status, "application/json;charset=utf-8", body.to_string()).with("x-acs-request-id", request_id)
    }

    fn refused(refused: &Refused, host: &str, request_id: &str) -> Self {
        let reply = Self::json(refused.status, &refused.body(host, request_id), request_id);
        match refused.retry_after {
            Some(ms) => reply.with("x-acs-retry-after", ms.to_string()),
            None => reply,
        }
    }

    fn into_response(self) -> io::Result<Response<Body>> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(self.body).map_err(io::Error::other)
    }
}

/// A request, read whole.
struct Arrived {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Arrived {
    async fn read(request: Request<hyper::body::Incoming>) -> Result<Self, Refused> {
        let bad = || Refused::new("InvalidParameter");
        let (head, mut body) = request.into_parts();
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| bad())?;
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
        let mut bytes = Vec::new();
        let whole = async {
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                if let Ok(piece) = frame.map_err(|_| bad())?.into_data() {
                    if bytes.len() + piece.len() > MAX_BODY {
                        return Err(bad().status(413).say("The request body is too large."));
                    }
                    bytes.extend_from_slice(&piece);
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, whole).await.map_err(|_| bad().status(408))??;
        Ok(Self {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers,
            body: bytes,
        })
    }

    fn incoming(&self) -> Incoming<'_> {
        Incoming { method: &self.method, query: &self.query, headers: &self.headers, body: &self.body }
    }
}

/// What answers requests.
pub struct Faces {
    /// The world.
    pub world: Arc<World>,
    /// Who may call.
    pub gate: Gate,
    /// Whether mishaps can be set from here.
    pub control: bool,
}

impl Faces {
    /// Answers one request. An error cuts the connection.
    ///
    /// # Errors
    /// Where a mishap cuts it.
    pub async fn answer(&self, from_here: bool, request: Request<hyper::body::Incoming>) -> io::Result<Response<Body>> {
        let request_id = ids::request();
        let arrived = match Arrived::read(request).await {
            Ok(arrived) => arrived,
            Err(refused) => return Reply::refused(&refused, "", &request_id).into_response(),
        };
        let host = arrived.incoming().header("host").unwrap_or_default().to_owned();
        if arrived.path == "/" {
            return match self.call(&arrived, &host, &request_id).await {
                Ok(body) => Reply::json(200, &body, &request_id).into_response(),
                Err(Struck::Refused(refused)) => Reply::refused(&refused, &host, &request_id).into_response(),
                Err(Struck::Cut) => Err(io::ErrorKind::ConnectionAborted.into()),
            };
        }
        if arrived.path.starts_with("/custins") {
            let range = arrived.incoming().header("range");
            let reply =
                downloads::serve(&self.world, &arrived.method, &arrived.path, &arrived.query, &host, range).await;
            return reply.into_response();
        }
        if arrived.path == "/mishaps" && self.control && from_here {
            return self.mishaps(&arrived).into_response();
        }
        Reply::refused(&Refused::new("InvalidApi.NotFound"), &host, &request_id).into_response()
    }

    async fn call(&self, arrived: &Arrived, host: &str, request_id: &str) -> Result<Value, Struck> {
        let world = &self.world;
        let signed = self.gate.admit(&arrived.incoming(), Timestamp::now()).map_err(Struck::Refused)?;
        if let Some(struck) = world.mishaps.before(&signed.action) {
            return Err(struck);
        }
        let asked = first(&signed.params, "RegionId").filter(|r| !r.is_empty());
        let region = world.region.as_deref().or(asked).unwrap_or("cn-hangzhou").to_owned();
        let call = Call {
            world,
            action: &signed.action,
            method: &arrived.method,
            params: &signed.params,
            host,
            caller: &signed.access_key_id,
            request_id,
            region,
        };
        let answer = call.answer().await;
        tracing::info!(action = %signed.action, request_id, refused = answer.as_ref().err().map(|r| r.code.as_str()), "called");
        let body = answer.map_err(Struck::Refused)?;
        world.mishaps.after(&signed.action).map_or(Ok(body), Err)
    }

    /// Sets, lists and clears mishaps. A web page cannot: it would have to ask first, and is not answered.
    fn mishaps(&self, arrived: &Arrived) -> Reply {
        let incoming = arrived.incoming();
        let json = incoming.header("content-type").is_some_and(|t| t.starts_with("application/json"));
        if incoming.header("origin").is_some() || (arrived.method == "POST" && !json) {
            return Reply::new(403, "text/plain", "a client that is no browser, and application/json\n");
        }
        let mishaps = &self.world.mishaps;
        match arrived.method.as_str() {
            "POST" => {
                let list = serde_json::from_slice::<Vec<Value>>(&arrived.body).map_err(|e| e.to_string());
                let more = list.and_then(|list| list.into_iter().map(Mishap::read).collect::<Result<Vec<_>, _>>());
                match more.and_then(|more| mishaps.add(more)) {
                    Ok(()) => {}
                    Err(why) => return Reply::new(400, "text/plain", format!("{why}\n")),
                }
            }
            "DELETE" => mishaps.clear(),
            "GET" => {}
            _ => return Reply::new(405, "text/plain", "GET, POST or DELETE\n"),
        }
        Reply::new(200, "application/json", json!(mishaps.left()).to_string())
    }
}
