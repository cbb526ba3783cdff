//! HTTP: requests read whole within limits, and replies with their bodies.
//!
//! Nothing that arrives may bring the process down or make it hold more than a request's worth of memory.

use crate::emulator::answer::Refused;
use crate::emulator::xml;
use crate::tair::incoming::Incoming;
use crate::tair::params::first;
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use hyper::{Request, Response};
use serde_json::Value;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Most bytes of a request's body; a form of the API is far smaller.
const MAX_BODY: usize = 1 << 20;
/// Most bytes of a request's head.
pub const MAX_HEAD: usize = 64 << 10;
/// Time limit for a head to arrive, and for a body.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// The body of a reply.
pub enum Body {
    /// The whole body in memory.
    Whole(Option<Bytes>),
    /// Pieces as they come, and the number of bytes still to come.
    Stream(mpsc::Receiver<io::Result<Bytes>>, u64),
}

impl Body {
    /// A streamed body of known length.
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
                // The sender stopped early, which must not look like the end of the body.
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

/// A reply of HTTP.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Reply {
    /// A reply with a text as its body.
    pub fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self::of(status, kind, Body::Whole(Some(body.into())))
    }

    /// A reply with a body.
    pub fn of(status: u16, kind: &str, body: Body) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A reply with JSON, under a request's id.
    pub fn json(status: u16, body: &Value, request_id: &str) -> Self {
        Self::new(status, "application/json;charset=utf-8", body.to_string()).with("x-acs-request-id", request_id)
    }

    /// A reply with XML, under a request's id.
    pub fn xml(status: u16, root: &str, body: &Value, request_id: &str) -> Self {
        Self::new(status, xml::KIND, xml::document(root, body)).with("x-acs-request-id", request_id)
    }

    /// A refusal in the cloud's shape.
    pub fn refused(refused: &Refused, host: &str, request_id: &str) -> Self {
        Self::json(refused.status, &refused.body(host, request_id), request_id).retry_after(refused)
    }

    /// Adds how long the client is to wait, where a refusal says it.
    #[must_use]
    pub fn retry_after(self, refused: &Refused) -> Self {
        match refused.retry_after {
            Some(ms) => self.with("x-acs-retry-after", ms.to_string()),
            None => self,
        }
    }

    /// The reply as hyper's type.
    ///
    /// # Errors
    /// An invalid header.
    pub fn into_response(self) -> io::Result<Response<Body>> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(self.body).map_err(io::Error::other)
    }
}

/// A request, read to its end.
pub struct Arrived {
    /// HTTP method: `GET`, `POST`.
    pub method: String,
    /// Path of the URL.
    pub path: String,
    /// Query as sent, percent-encoded; empty where there is none.
    pub query: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body; empty where there is none.
    pub body: Vec<u8>,
}

impl Arrived {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// `InvalidParameter`: too large, too slow, or a header that is not text.
    pub async fn read(request: Request<hyper::body::Incoming>) -> Result<Self, Refused> {
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
        tokio::time::timeout(READ_TIMEOUT, whole).await.map_err(|_| bad().status(408))??;
        Ok(Self {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers,
            body: bytes,
        })
    }

    /// Whether the reply has to be XML: a call signed the older way gets that unless it says another format.
    #[must_use]
    pub fn wants_xml(&self) -> bool {
        let incoming = self.incoming();
        if incoming.header("authorization").is_some() {
            return false;
        }
        let params = incoming.params();
        let format = first(&params, "Format").filter(|format| !format.is_empty());
        first(&params, "Signature").is_some() && format.is_none_or(|format| format.eq_ignore_ascii_case("XML"))
    }

    /// The parts that signatures are verified over.
    #[must_use]
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { method: &self.method, query: &self.query, headers: &self.headers, body: &self.body }
    }
}
