//! A source of captures that follows a script, for what no real server can be brought to do on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use tair_backup_mcp::redis::endpoint::{Address, Endpoint};

/// The mark behind the data of a [`FakeSource`].
pub const MARK: &[u8; 40] = b"fedcba9876543210fedcba9876543210fedcba98";

/// The replication id that a [`FakeSource`] announces; its offset is 100.
pub const REPLID: &str = "0123456789abcdef0123456789abcdef01234567";

type Answer = dyn Fn(&[String]) -> Option<String> + Send + Sync;
type Sends = dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server that answers a replica's handshake, then sends what its script says. It ends with the test's process.
pub struct FakeSource {
    pub port: u16,
    received: Arc<Mutex<Vec<Vec<String>>>>,
}

impl FakeSource {
    /// `answer` may answer a command, without its line end; else PING and REPLCONF are agreed to, PSYNC is followed by what `sends`
    /// writes, and any other is unknown.
    pub fn start(
        answer: impl Fn(&[String]) -> Option<String> + Send + Sync + 'static,
        sends: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, sends): (Arc<Answer>, Arc<Sends>) = (Arc::new(answer), Arc::new(sends));
        let log = Arc::clone(&received);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (answer, sends, log) = (Arc::clone(&answer), Arc::clone(&sends), Arc::clone(&log));
                // A replica that leaves in the middle is no failure of the source.
                std::thread::spawn(move || serve(tcp, &*answer, &*sends, &log).ok());
            }
        });
        Self { port, received }
    }

    /// Agrees to everything, and sends `pieces` with `pause` before each, marked.
    pub fn sending(pieces: Vec<Vec<u8>>, pause: std::time::Duration) -> Self {
        Self::start(
            |_| None,
            move |tcp| {
                marked(tcp)?;
                for piece in &pieces {
                    std::thread::sleep(pause);
                    tcp.write_all(piece)?;
                }
                until_left(tcp)
            },
        )
    }

    /// Says `greeting` to whoever connects, and hangs up.
    pub fn greeting(greeting: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().flatten() {
                tcp.write_all(greeting).ok();
            }
        });
        port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn endpoint(&self) -> Endpoint {
        let address = Address::Tcp { host: "127.0.0.1".into(), port: self.port };
        Endpoint { address, username: None, password: None, tls: None }
    }

    /// The commands received so far, on all connections.
    pub fn received(&self) -> Vec<Vec<String>> {
        self.received.lock().unwrap().clone()
    }
}

/// The answer to PSYNC, with the data's end marked.
pub fn marked(tcp: &mut TcpStream) -> std::io::Result<()> {
    tcp.write_all(format!("+FULLRESYNC {REPLID} 100\r\n$EOF:{}\r\n", String::from_utf8_lossy(MARK)).as_bytes())
}

/// Waits until the replica leaves.
pub fn until_left(tcp: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 4096];
    while tcp.read(&mut rest)? > 0 {}
    Ok(())
}

fn serve(mut tcp: TcpStream, answer: &Answer, sends: &Sends, log: &Mutex<Vec<Vec<String>>>) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut from = BufReader::new(tcp.try_clone()?);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let count: usize = line.trim_end().trim_start_matches('*').parse().unwrap_or(0);
        let mut words = Vec::new();
        for _ in 0..count {
            let mut length = String::new();
            from.read_line(&mut length)?;
            let mut word = vec![0; length.trim_end().trim_start_matches('$').parse::<usize>().unwrap_or(0) + 2];
            from.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            words.push(String::from_utf8_lossy(&word).into_owned());
        }
        log.lock().unwrap().push(words.clone());
        let name = words.first().cloned().unwrap_or_default();
        match answer(&words) {
            Some(answer) => tcp.write_all(format!("{answer}\r\n").as_bytes())?,
            None if name == "PING" => tcp.write_all(b"+PONG\r\n")?,
            None if name == "REPLCONF" => tcp.write_all(b"+OK\r\n")?,
            None if name == "PSYNC" => return sends(&mut tcp),
            None => tcp.write_all(format!("-ERR unknown command '{name}'\r\n").as_bytes())?,
        }
    }
}
