//! The port on which a target fetches its data: one port, one connection that counts, whose owner must prove to be the target.
//!
//! It must not hand a byte of data to a peer that does not know the one-time password, which was given to the target alone; and
//! such a peer must not be able to use up the target's place or our memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::model::secret::Secret;
use crate::redis::error::RedisError;
use crate::redis::resp::{Decoder, Value};

/// A peer must have completed the handshake within this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A replica's handshake is a few hundred bytes.
const HANDSHAKE_BYTES_MAX: usize = 16 << 10;
/// Connections that may be in their handshake at once; more are closed unread.
const HANDSHAKES_MAX: usize = 32;
/// Delay after a failed `accept`: a peer that left, or no free descriptor; both pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The replication offset that FULLRESYNC announces to the target.
pub(super) const START_OFFSET: u64 = 1;

/// A port on which the target is awaited.
#[derive(Debug)]
pub(super) struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
}

/// The position in the target's own history that it must ask for: it was a master until it was told to follow us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) replication_id: String,
    pub(super) next: u64,
}

/// The target's connection, authenticated, after PSYNC: the target waits for the answer to that.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) tcp: TcpStream,
    pub(super) decoder: Decoder,
    pub(super) peer: SocketAddr,
}

impl Link {
    /// Answers the target's PSYNC: from here on the target waits for data, and drops its own when it has all of it.
    pub(super) async fn full_resync(&mut self, replid: &str) -> Result<(), RedisError> {
        let line = format!("+FULLRESYNC {replid} {START_OFFSET}\r\n");
        let written = timeout(HANDSHAKE_TIMEOUT, self.tcp.write_all(line.as_bytes())).await;
        let reason = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("it closed the connection ({error})"),
            Err(_) => "it took no answer".to_owned(),
        };
        Err(RedisError::Rejected { sent: 0, reason })
    }
}

impl Listener {
    /// Opens the port. Port 0 takes a random free one, which is right unless address translation needs a fixed one.
    ///
    /// # Errors
    /// [`RedisError::System`] when the address cannot be had.
    pub(super) async fn bind(ip: IpAddr, port: u16) -> Result<Self, RedisError> {
        let failed = |source: io::Error| RedisError::System { what: format!("cannot listen on {ip}"), source };
        let tcp = TcpListener::bind((ip, port)).await.map_err(failed)?;
        let addr = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, addr })
    }

    /// The address of the port.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for a peer that knows `password` and, where it asks for a position, for the target's. `only` is the address that the
    /// target must connect from, where known.
    ///
    /// The port stays bound, and nothing is accepted any more, until the listener is dropped: were the port free while the
    /// target still follows it, anybody on this machine could bind it and be the target's master.
    pub(super) async fn accept(
        &self,
        password: &Secret,
        only: Option<IpAddr>,
        asked: &Asked,
        within: Duration,
    ) -> Result<Link, RedisError> {
        let deadline = Instant::now() + within;
        let mut rejected = 0;
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                () = sleep_until(deadline) => {
                    return Err(RedisError::TargetDidNotConnect { address: self.addr.to_string(), waited: within, rejected });
                }
                Some(ended) = handshakes.join_next() => match ended {
                    Ok(Ok(link)) => return Ok(link),
                    Ok(Err(reason)) => {
                        rejected += 1;
                        tracing::warn!(reason, "rejected a connection to the restore port");
                    }
                    Err(_) => rejected += 1,
                },
                accepted = self.tcp.accept() => {
                    let Ok((tcp, peer)) = accepted else { sleep(ACCEPT_RETRY_DELAY).await; continue };
                    if only.is_some_and(|ip| ip.to_canonical() != peer.ip().to_canonical()) {
                        rejected += 1;
                        tracing::warn!(%peer, "rejected a connection to the restore port: not the target's address");
                        continue;
                    }
                    if handshakes.len() >= HANDSHAKES_MAX {
                        rejected += 1;
                        tracing::warn!(%peer, "rejected a connection to the restore port: too many at once");
                        continue;
                    }
                    let (password, asked) = (password.clone(), asked.clone());
                    handshakes.spawn(async move {
                        match timeout(HANDSHAKE_TIMEOUT, handshake(tcp, peer, &password, &asked)).await {
                            Ok(ended) => ended,
                            Err(_) => Err("no proof in time"),
                        }
                    });
                }
            }
        }
    }
}

/// A replica's handshake up to PSYNC.
async fn handshake(
    mut tcp: TcpStream,
    peer: SocketAddr,
    password: &Secret,
    asked: &Asked,
) -> Result<Link, &'static str> {
    // Without TCP_NODELAY each small answer waits for the peer's delayed acknowledgement.
    tcp.set_nodelay(true).map_err(|_| "the socket failed")?;
    let mut decoder = Decoder::default();
    let mut proven = false;
    let mut received = 0;
    loop {
        let Some(value) = decoder.next().map_err(|_| "not the protocol")? else {
            let n = tcp.read_buf(decoder.space()).await.map_err(|_| "the connection failed")?;
            received += n;
            if n == 0 {
                return Err("it hung up");
            }
            if received > HANDSHAKE_BYTES_MAX {
                return Err("it talked too much");
            }
            continue;
        };
        let args: Vec<&[u8]> = value.as_array().unwrap_or_default().iter().map(bytes).collect();
        let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        let answer = match (name.as_slice(), proven) {
            (b"AUTH", _) => {
                proven = match args.as_slice() {
                    [_, given] => same(given, password.expose().as_bytes()),
                    [_, b"default", given] => same(given, password.expose().as_bytes()),
                    _ => false,
                };
                if !proven {
                    return Err("a wrong password");
                }
                "+OK\r\n".to_owned()
            }
            // A replica takes this answer to PING as a sign to go on with AUTH.
            (b"PING", false) => "-NOAUTH Authentication required.\r\n".to_owned(),
            (b"PING", true) => "+PONG\r\n".to_owned(),
            (b"REPLCONF", true) => "+OK\r\n".to_owned(),
            (b"PSYNC", true) if asked.is_by(&args) => return Ok(Link { tcp, decoder, peer }),
            (b"PSYNC", true) => return Err("it asked for another server's position"),
            (_, false) => return Err("a command before the password"),
            (_, true) => "-ERR unknown command\r\n".to_owned(),
        };
        tcp.write_all(answer.as_bytes()).await.map_err(|_| "the connection failed")?;
    }
}

impl Asked {
    /// Whether a PSYNC is the target's: it asks for its own position, or for none.
    fn is_by(&self, args: &[&[u8]]) -> bool {
        let [_, id, next, ..] = args else { return false };
        *id == b"?"
            || (id.eq_ignore_ascii_case(self.replication_id.as_bytes()) && *next == self.next.to_string().as_bytes())
    }
}

/// The bytes of a command's argument.
pub(super) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(bytes) => bytes,
        Value::Simple(text) => text.as_bytes(),
        _ => &[],
    }
}

/// Compares in constant time, so that the duration does not tell how many bytes were right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}
