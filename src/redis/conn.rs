//! One connection to an instance: TCP, TLS or a socket file, commands and replies.
//!
//! It must not retry and must not hide a failure: after a timeout, a lost link, a protocol fault, or a call that was
//! dropped half way, the connection is out of step and says so to every later call.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoint::{Address, Endpoint, TlsSettings};
use super::error::{RedisError, TlsProblem};
use super::resp::{Decoder, Value, encode};
use super::{tls, tls_probe};

/// How long the reason is waited for why a server closed the connection at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An authenticated connection.
pub struct Conn {
    io: Box<dyn Io>,
    decoder: Decoder,
    label: String,
    timeout: Duration,
    /// The local address of a TCP connection.
    local: Option<std::net::SocketAddr>,
    /// The far address of a TCP connection.
    peer: Option<std::net::SocketAddr>,
    /// Commands sent whose replies have not been read. A `cmd` that is dropped while it waits leaves its command here.
    pending: Vec<String>,
    /// Replies are no longer where they are expected. Set before each write and cleared after it, so that a write that is
    /// dropped half way leaves it set.
    broken: bool,
    /// Whether the server has answered anything yet.
    answered: bool,
    /// Where a second connection can probe whether this port speaks TLS; `None` once the server's first byte has come.
    unproven: Option<(String, u16)>,
    /// Whether a command, by name, has the flag `write`. Learned by `commandstats::resolve_writes`.
    pub(super) write_flags: BTreeMap<String, bool>,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("label", &self.label).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Conn {
    /// Connects, and sends AUTH when the endpoint has a password. `within` covers all of it and then holds for each
    /// command until [`Conn::set_timeout`] says otherwise.
    ///
    /// # Errors
    /// [`RedisError::Connect`], [`RedisError::Tls`], [`RedisError::Timeout`] or [`RedisError::Auth`].
    pub async fn open(endpoint: &Endpoint, within: Duration) -> Result<Self, RedisError> {
        let label = endpoint.to_string();
        let late =
            |during: &str| RedisError::Timeout { address: label.clone(), during: during.to_owned(), after: within };
        let opened = timeout(within, Self::connect(endpoint, &label, within)).await;
        let mut conn = opened.map_err(|_| late("the connection attempt"))??;
        if let Some(password) = &endpoint.password {
            let args = match &endpoint.username {
                Some(user) => vec!["AUTH", user.as_str(), password.expose()],
                None => vec!["AUTH", password.expose()],
            };
            conn.cmd_str(&args).await?;
        }
        Ok(conn)
    }

    async fn connect(endpoint: &Endpoint, label: &str, within: Duration) -> Result<Self, RedisError> {
        let refused = |source: io::Error| RedisError::Connect { address: label.to_owned(), source };
        let (mut local, mut peer) = (None, None);
        let io: Box<dyn Io> = match &endpoint.address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
            Address::Tcp { host, port } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(refused)?;
                tcp.set_nodelay(true).map_err(refused)?;
                local = tcp.local_addr().ok();
                peer = tcp.peer_addr().ok();
                match &endpoint.tls {
                    None => Box::new(tcp),
                    Some(settings) => Self::secured(tcp, settings, (host.as_str(), *port), label).await?,
                }
            }
        };
        Ok(Self {
            io,
            decoder: Decoder::default(),
            label: label.to_owned(),
            timeout: within,
            local,
            peer,
            pending: Vec::new(),
            broken: false,
            answered: false,
            unproven: match &endpoint.address {
                Address::Tcp { host, port } if endpoint.tls.is_none() => Some((host.clone(), *port)),
                _ => None,
            },
            write_flags: BTreeMap::new(),
        })
    }

    /// TLS over a connection. A server that does not speak it may stay silent for ever, waiting for the end of a command in
    /// our first bytes: so one that is slow, or fails, is asked on another connection whether it is a plain one.
    async fn secured(
        tcp: TcpStream,
        settings: &TlsSettings,
        (host, port): (&str, u16),
        label: &str,
    ) -> Result<Box<dyn Io>, RedisError> {
        let handshake = Self::wrap_tls(tcp, settings, host, label);
        tokio::pin!(handshake);
        let early = timeout(tls_probe::SLOW, &mut handshake).await;
        if let Ok(Ok(io)) = early {
            return Ok(io);
        }
        if tls_probe::is_plain(host, port).await {
            return Err(RedisError::NoTls { address: label.to_owned() });
        }
        match early {
            Ok(failed) => failed,
            Err(_) => handshake.await,
        }
    }

    async fn wrap_tls(
        tcp: TcpStream,
        settings: &TlsSettings,
        host: &str,
        label: &str,
    ) -> Result<Box<dyn Io>, RedisError> {
        let failed = |reason: String| RedisError::Tls { address: label.to_owned(), problem: TlsProblem::Other, reason };
        let owned = settings.clone();
        // The machine's certificate store is a hundred files; reading them must not hold up the one thread.
        let connector = tokio::task::spawn_blocking(move || tls::connector(&owned))
            .await
            .map_err(|e| failed(e.to_string()))?
            .map_err(&failed)?;
        let name = settings.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| failed("the server's name is not one a certificate can carry".to_owned()))?;
        Ok(Box::new(connector.connect(name, tcp).await.map_err(|e| refused_tls(label, &e))?))
    }

    /// The endpoint's address, without credentials.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// This program's own address on a TCP connection: the address under which the instance can see us, unless
    /// there is address translation between.
    #[must_use]
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.local
    }

    /// The address that answered on a TCP connection.
    #[must_use]
    pub fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.peer
    }

    /// Sets how long each later call may take.
    pub fn set_timeout(&mut self, limit: Duration) {
        self.timeout = limit;
    }

    /// Whether the connection is out of step and of no more use.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends one command and reads its reply. An error reply is an error.
    ///
    /// # Errors
    /// What the server refused, or what broke on the way.
    pub async fn cmd(&mut self, args: &[&[u8]]) -> Result<Value, RedisError> {
        if !self.pending.is_empty() {
            // A reply to an earlier call is still to come: it would be taken for the reply to this one.
            self.broken = true;
        }
        self.send(args).await?;
        self.recv().await
    }

    /// [`Conn::cmd`] for text.
    ///
    /// # Errors
    /// As [`Conn::cmd`].
    pub async fn cmd_str(&mut self, args: &[&str]) -> Result<Value, RedisError> {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        self.cmd(&args).await
    }

    /// Sends a command without waiting for its reply, which [`Conn::recv`] gives in order.
    ///
    /// # Errors
    /// [`RedisError::Timeout`], [`RedisError::Lost`] or [`RedisError::Broken`].
    pub async fn send(&mut self, args: &[&[u8]]) -> Result<(), RedisError> {
        let mut out = Vec::new();
        encode(&mut out, args);
        let name = name_of(args);
        self.write_raw(&out, &name).await?;
        self.pending.push(name);
        Ok(())
    }

    /// Reads the next reply; an error reply is an error. May be dropped and called again: nothing read is lost.
    ///
    /// # Errors
    /// What the server refused, or what broke on the way.
    pub async fn recv(&mut self) -> Result<Value, RedisError> {
        let during = self.pending.first().cloned().unwrap_or_else(|| "a reply".to_owned());
        let value = self.next_value(&during).await?;
        if !self.pending.is_empty() {
            self.pending.remove(0);
        }
        match value {
            Value::Error(text) => Err(RedisError::from_reply(&self.label, &during, &text)),
            value => Ok(value),
        }
    }

    /// The next value of any kind; error replies stay values.
    pub(super) async fn next_value(&mut self, during: &str) -> Result<Value, RedisError> {
        self.usable()?;
        loop {
            match self.decoder.next() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(what) => return Err(self.protocol(what)),
            }
            let read = timeout(self.timeout, self.fill(during)).await;
            if let Ok(filled) = read {
                filled?;
            } else {
                self.broken = true;
                return Err(RedisError::Timeout {
                    address: self.label.clone(),
                    during: during.to_owned(),
                    after: self.timeout,
                });
            }
        }
    }

    /// Writes bytes to the socket, unframed.
    pub(super) async fn write_raw(&mut self, bytes: &[u8], during: &str) -> Result<(), RedisError> {
        self.usable()?;
        self.broken = true;
        let write = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        match timeout(self.timeout, write).await {
            Err(_) => {
                Err(RedisError::Timeout { address: self.label.clone(), during: during.to_owned(), after: self.timeout })
            }
            Ok(Err(source)) => Err(self.last_words(during, source).await),
            Ok(Ok(())) => {
                self.broken = false;
                Ok(())
            }
        }
    }

    /// Why a connection ended as it was written to. A server that takes no client, for it has too many or is in protected mode,
    /// says so at once and closes: that is the reason, and stands in what was received.
    async fn last_words(&mut self, during: &str, source: io::Error) -> RedisError {
        if !self.answered {
            let read = timeout(self.timeout.min(LAST_WORDS), self.io.read_buf(self.decoder.space())).await;
            if let (Ok(Ok(_)), Ok(Some(Value::Error(text)))) = (read, self.decoder.next()) {
                return RedisError::from_reply(&self.label, during, &text);
            }
        }
        RedisError::Lost { address: self.label.clone(), during: during.to_owned(), source }
    }

    /// The next line, without its line end; empty for a keep-alive. No time limit: the caller has its own. May be dropped
    /// and called again.
    pub(super) async fn read_line(&mut self, during: &str) -> Result<Vec<u8>, RedisError> {
        self.usable()?;
        loop {
            match self.decoder.line() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => self.fill(during).await?,
                Err(what) => return Err(self.protocol(what)),
            }
        }
    }

    /// The next bytes, first those already received; 0 at the end of the connection. No time limit. May be dropped and
    /// called again.
    pub(super) async fn read_raw(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.decoder.rest();
        if rest.is_empty() {
            return self.io.read(into).await;
        }
        let n = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.decoder.advance(n);
        Ok(n)
    }

    /// Makes bytes the next ones again.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.decoder.put_back(bytes);
    }

    /// Bytes received and not used.
    pub(super) fn buffered(&self) -> &[u8] {
        self.decoder.rest()
    }

    /// Marks `n` of the bytes received as used.
    pub(super) fn consume(&mut self, n: usize) {
        self.decoder.advance(n);
    }

    /// Reads once from the socket, behind the bytes already received. No time limit. May be dropped and called again.
    pub(super) async fn fill(&mut self, during: &str) -> Result<(), RedisError> {
        let read = match self.unproven.clone() {
            None => self.io.read_buf(self.decoder.space()).await,
            Some((host, port)) => match timeout(tls_probe::SLOW, self.io.read_buf(self.decoder.space())).await {
                Ok(read) => read,
                // One that waits for a TLS handshake may do so for ever.
                Err(_) => tokio::select! {
                    read = self.io.read_buf(self.decoder.space()) => read,
                    () = tls_probe::until_tls(&host, port) => return Err(self.only_tls()),
                },
            },
        };
        let source = match read {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {
                self.answered = true;
                if self.unproven.take().is_some() && self.decoder.rest().first() == Some(&tls_probe::ALERT) {
                    return Err(self.only_tls());
                }
                return Ok(());
            }
            Err(source) => source,
        };
        self.broken = true;
        // The server hung up at the first command, as one does that waited for a TLS handshake.
        if let Some((host, port)) = self.unproven.take()
            && tls_probe::is_tls(&host, port).await
        {
            return Err(self.only_tls());
        }
        // A server tells what it thinks of our certificate only after the handshake.
        if tls::problem(&source).is_some() {
            return Err(refused_tls(&self.label, &source));
        }
        Err(RedisError::Lost { address: self.label.clone(), during: during.to_owned(), source })
    }

    fn only_tls(&mut self) -> RedisError {
        self.broken = true;
        RedisError::OnlyTls { address: self.label.clone() }
    }

    pub(super) fn protocol(&mut self, what: impl Into<String>) -> RedisError {
        self.broken = true;
        RedisError::Protocol { address: self.label.clone(), what: what.into() }
    }

    fn usable(&self) -> Result<(), RedisError> {
        if self.broken { Err(RedisError::Broken { address: self.label.clone() }) } else { Ok(()) }
    }
}

/// The failure of TLS that an error of its connection tells.
fn refused_tls(label: &str, error: &io::Error) -> RedisError {
    let (problem, reason) = tls::problem(error).unwrap_or_else(|| (TlsProblem::Other, error.to_string()));
    RedisError::Tls { address: label.to_owned(), problem, reason }
}

/// The name of a command for messages: its first word, and the second of a command with subcommands. Never an argument,
/// which may be a password.
fn name_of(args: &[&[u8]]) -> String {
    let part = |i: usize| args.get(i).map(|a| String::from_utf8_lossy(a).to_ascii_uppercase()).unwrap_or_default();
    let first = part(0);
    match first.as_str() {
        "CONFIG" | "CLUSTER" | "MODULE" | "COMMAND" | "FUNCTION" | "CLIENT" | "ACL" => format!("{first} {}", part(1)),
        _ => first,
    }
}
