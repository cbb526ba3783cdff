//! The door through which a target comes to fetch its data: one port, one visitor, who must prove to be the target.
//!
//! It must not hand a byte of data to anyone who does not know the one-time password that only the target was told; and
//! whoever does not know it must not be able to use up the target's place or our memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::RedisError;
use super::resp::{Decoder, Value};
use crate::model::secret::Secret;

/// A visitor has so long to prove itself.
const PROOF_WITHIN: Duration = Duration::from_secs(5);
/// A handshake is a few hundred bytes.
const PROOF_MAX: usize = 16 << 10;
/// More at once are turned away unheard.
const VISITORS_MAX: usize = 32;

/// A port that waits for the target.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
}

/// The target, proven, waiting for `$EOF`.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) tcp: TcpStream,
    pub(super) decoder: Decoder,
    pub(super) peer: SocketAddr,
}

impl Listener {
    /// Listens. Port 0 takes a random free one, which is right unless address translation needs a fixed one.
    ///
    /// # Errors
    /// [`RedisError::System`] when the address cannot be had.
    pub async fn bind(ip: IpAddr, port: u16) -> Result<Self, RedisError> {
        let failed = |source: io::Error| RedisError::System { what: format!("cannot listen on {ip}"), source };
        let tcp = TcpListener::bind((ip, port)).await.map_err(failed)?;
        let addr = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, addr })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the one who knows `password`. `only` is the address the target must come from, where that is known.
    ///
    /// The port stays ours, deaf, until this is dropped: were it free while the target still follows it, anybody on this
    /// machine could take it and be the target's master.
    pub(super) async fn accept(
        &self,
        password: &Secret,
        only: Option<IpAddr>,
        replid: &str,
        within: Duration,
    ) -> Result<Link, RedisError> {
        let deadline = Instant::now() + within;
        let mut turned_away = 0;
        let mut visitors = JoinSet::new();
        loop {
            tokio::select! {
                () = sleep_until(deadline) => {
                    return Err(RedisError::TargetDidNotConnect { address: self.addr.to_string(), waited: within, turned_away });
                }
                Some(heard) = visitors.join_next() => match heard {
                    Ok(Ok(link)) => return Ok(link),
                    Ok(Err(reason)) => {
                        turned_away += 1;
                        tracing::warn!(reason, "turned a visitor away from the restore port");
                    }
                    Err(_) => turned_away += 1,
                },
                met = self.tcp.accept() => {
                    // A failed accept is a visitor who left, or no free descriptor: both pass.
                    let Ok((tcp, peer)) = met else { tokio::time::sleep(Duration::from_millis(50)).await; continue };
                    if only.is_some_and(|ip| ip.to_canonical() != peer.ip().to_canonical()) || visitors.len() >= VISITORS_MAX {
                        turned_away += 1;
                        tracing::warn!(%peer, "turned a visitor away from the restore port: not the target's address");
                        continue;
                    }
                    let (password, replid) = (password.clone(), replid.to_owned());
                    visitors.spawn(async move {
                        match timeout(PROOF_WITHIN, hear(tcp, peer, &password, &replid)).await {
                            Ok(heard) => heard,
                            Err(_) => Err("no proof in time"),
                        }
                    });
                }
            }
        }
    }
}

/// A replica's handshake up to PSYNC.
async fn hear(mut tcp: TcpStream, peer: SocketAddr, password: &Secret, replid: &str) -> Result<Link, &'static str> {
    // Without it each small answer waits for the visitor's delayed acknowledgement.
    tcp.set_nodelay(true).map_err(|_| "the socket failed")?;
    let mut decoder = Decoder::default();
    let mut proven = false;
    let mut heard = 0;
    loop {
        let Some(value) = decoder.next().map_err(|_| "not the protocol")? else {
            let n = tcp.read_buf(decoder.space()).await.map_err(|_| "the connection failed")?;
            heard += n;
            if n == 0 {
                return Err("it hung up");
            }
            if heard > PROOF_MAX {
                return Err("it talked too much");
            }
            continue;
        };
        let words: Vec<&[u8]> = value.as_array().unwrap_or_default().iter().map(bytes).collect();
        let name = words.first().map(|w| w.to_ascii_uppercase()).unwrap_or_default();
        let answer = match (name.as_slice(), proven) {
            (b"AUTH", _) => {
                proven = match words.as_slice() {
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
            (b"PSYNC", true) => format!("+FULLRESYNC {replid} {START}\r\n"),
            (_, false) => return Err("a command before the password"),
            (_, true) => "-ERR unknown command\r\n".to_owned(),
        };
        tcp.write_all(answer.as_bytes()).await.map_err(|_| "the connection failed")?;
        if name == b"PSYNC" {
            return Ok(Link { tcp, decoder, peer });
        }
    }
}

/// The offset that we tell the target it starts from.
pub(super) const START: u64 = 1;

pub(super) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(bytes) => bytes,
        Value::Simple(text) => text.as_bytes(),
        _ => &[],
    }
}

/// Compares without telling by its duration how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}
