//! The transport on standard input and output: one message a line, bounded before it is kept, and answered also where it cannot be
//! read: too long, too deep, no JSON, no message.
//!
//! The SDK's own transport drops such lines, and their sender waits for ever. It must not answer what asks for no answer: a
//! notification, or the answer to a question of ours.

use crate::mcp::envelope::{Envelope, Kind};
use futures::future::BoxFuture;
use rmcp::model::{ClientRequest, ErrorCode, ErrorData, GetMeta as _, JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::Value;
use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader, Empty, empty};

/// Longest message, in bytes. The longest that any tool takes has a hundredth of it.
pub const MESSAGE_MAX: usize = 1 << 20;
/// Levels that a message may be nested.
const DEPTH_MAX: usize = 64;
/// Longest name of a method, in bytes.
const METHOD_MAX: usize = 128;
/// Longest version of the protocol, in bytes.
const VERSION_MAX: usize = 64;
/// Memory of a line that is kept for the next one, in bytes.
const KEPT: usize = 64 << 10;
/// UTF-8's byte order mark, which some clients begin with.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What becomes of a line.
enum Verdict {
    /// The message is delivered.
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    /// The line is answered with an error.
    Answer(ErrorData, Option<RequestId>),
    /// Nobody waits for an answer.
    Skip,
}

/// Lines in, lines out.
pub struct Lines<R, W: AsyncWrite> {
    read: BufReader<R>,
    /// The line as far as it has come; nothing more is kept of one that is too long.
    line: Vec<u8>,
    /// Bytes of the line as far as it has come.
    length: usize,
    envelope: Envelope,
    /// Whether no further byte comes.
    ended: bool,
    /// Whether the session has begun: until then the SDK takes nothing but requests, and ends at anything else.
    begun: bool,
    /// An error that is being sent. It is kept here because receiving may be broken off at any await and begun anew.
    answering: Option<BoxFuture<'static, Result<(), io::Error>>>,
    /// Writes.
    out: AsyncRwTransport<RoleServer, Empty, W>,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    /// A transport over both.
    pub fn new(read: R, write: W) -> Self {
        Self {
            read: BufReader::new(read),
            line: Vec::new(),
            length: 0,
            envelope: Envelope::default(),
            ended: false,
            begun: false,
            answering: None,
            out: AsyncRwTransport::new_server(empty(), write),
        }
    }

    /// Reads to the end of a line; `false` where there is none any more. A read that is broken off goes on with the next call:
    /// between the waiting and the keeping nothing can come.
    async fn read_line(&mut self) -> bool {
        while !self.ended {
            let available = match self.read.fill_buf().await {
                Ok(available) => available,
                Err(e) => {
                    tracing::error!("standard input cannot be read: {e}");
                    &[]
                }
            };
            if available.is_empty() {
                self.ended = true;
                // A last line without its end is one.
                return self.length > 0;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            self.envelope.see(piece);
            self.length = self.length.saturating_add(piece.len());
            if self.length <= MESSAGE_MAX {
                self.line.extend_from_slice(piece);
            } else {
                self.line.clear();
            }
            let used = piece.len() + usize::from(end.is_some());
            self.read.consume(used);
            if end.is_some() {
                return true;
            }
        }
        false
    }

    /// Makes room for the next line.
    fn next_line(&mut self) {
        self.line.clear();
        self.line.shrink_to(KEPT);
        self.length = 0;
        self.envelope = Envelope::default();
    }

    fn judge(&self) -> Verdict {
        let line = self.line.strip_prefix(BOM).unwrap_or(&self.line);
        if self.length > MESSAGE_MAX {
            let why = format!("the message has {} bytes; at most {MESSAGE_MAX} are read", self.length);
            return self.refuse(ErrorCode::INVALID_REQUEST, why);
        }
        if line.trim_ascii().is_empty() {
            return Verdict::Skip;
        }
        if self.envelope.deepest() > DEPTH_MAX {
            let deepest = self.envelope.deepest();
            let why = format!("the message is nested {deepest} levels deep; at most {DEPTH_MAX} are read");
            return self.refuse(ErrorCode::INVALID_REQUEST, why);
        }
        match serde_json::from_slice::<RxJsonRpcMessage<RoleServer>>(line) {
            Ok(message) => self.bounded(message),
            Err(e) if e.is_data() => {
                // A notification that nobody knows asks for nothing.
                let value: Value = serde_json::from_slice(line).unwrap_or_default();
                if value.get("id").is_none() && value.get("method").is_some_and(Value::is_string) {
                    return Verdict::Skip;
                }
                let why = "this is JSON, and no message of MCP: a request has jsonrpc, id, method and params, as its method says";
                self.refuse(ErrorCode::INVALID_REQUEST, why.into())
            }
            Err(e) => {
                self.refuse(ErrorCode::PARSE_ERROR, format!("this is not JSON: at byte {} of the line", e.column()))
            }
        }
    }

    /// A message of which all that is repeated in answers is short.
    fn bounded(&self, message: RxJsonRpcMessage<RoleServer>) -> Verdict {
        let method = match &message {
            JsonRpcMessage::Request(request) => request.request.method(),
            _ => "",
        };
        if method.len() > METHOD_MAX {
            let why = format!("the name of the method has {} bytes; at most {METHOD_MAX}", method.len());
            return self.refuse(ErrorCode::METHOD_NOT_FOUND, why);
        }
        let version = match &message {
            JsonRpcMessage::Request(request) => request.request.get_meta().protocol_version(),
            _ => None,
        };
        if let Some(version) = version.filter(|version| version.as_str().len() > VERSION_MAX) {
            // A version that is not known is repeated in the answer.
            let why = format!("the version in _meta has {} bytes; at most {VERSION_MAX}", version.as_str().len());
            return self.refuse(ErrorCode::INVALID_PARAMS, why);
        }
        if matches!(message, JsonRpcMessage::Request(_)) && self.envelope.id().is_empty() {
            return self.refuse(ErrorCode::INVALID_REQUEST, "the message's id has more than 256 bytes".into());
        }
        Verdict::Message(Box::new(message))
    }

    /// What becomes of a line that is no message: whoever waits for it hears of that.
    fn refuse(&self, code: ErrorCode, why: String) -> Verdict {
        let id = serde_json::from_slice(self.envelope.id()).ok();
        tracing::debug!("a message is refused: {why}");
        let error = ErrorData::new(code, why, None);
        match (self.envelope.kind(), id) {
            // Our own question waits: its answer is that there is none. It is not one by which a client says that it cannot ask.
            (Kind::Answer, Some(id)) => {
                let error = ErrorData { code: ErrorCode::PARSE_ERROR, ..error };
                Verdict::Message(Box::new(JsonRpcMessage::error(error, Some(id))))
            }
            (Kind::Answer, None) => Verdict::Skip,
            (Kind::Call | Kind::Unknown, id) => Verdict::Answer(error, id),
        }
    }

    /// Whether the session has begun with this message.
    fn begins(message: &RxJsonRpcMessage<RoleServer>) -> bool {
        let JsonRpcMessage::Request(request) = message else { return false };
        match &request.request {
            ClientRequest::InitializeRequest(_) => true,
            ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
            request => request.get_meta().protocol_version().is_some(),
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.out.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(sending) = &mut self.answering {
                let sent = sending.await;
                self.answering = None;
                sent.ok()?;
            }
            if !self.read_line().await {
                return None;
            }
            let verdict = self.judge();
            self.next_line();
            match verdict {
                Verdict::Message(message) => {
                    self.begun |= Self::begins(&message);
                    if self.begun || matches!(*message, JsonRpcMessage::Request(_)) {
                        return Some(*message);
                    }
                }
                Verdict::Answer(error, id) => {
                    self.answering = Some(Box::pin(self.out.send(JsonRpcMessage::error(error, id))));
                }
                Verdict::Skip => {}
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.out.close().await
    }
}
