//! A client that writes all the while a restore is planned and carried out, and knows which of its writes were accepted.

use crate::support::wait;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the counter of a [`Writer`] begins at, in the target and in its sets.
pub const BASE: i64 = 1_000_000;
const WITHIN: Duration = Duration::from_secs(60);

/// A client that counts up one key, one write after the other, and knows the last count that was accepted.
pub struct Writer {
    /// Held while a write is under way: whoever holds it is alone.
    pub turn: Arc<Mutex<()>>,
    accepted: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    pub fn start(port: u16) -> Self {
        let (turn, stop) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
        let accepted = Arc::new(AtomicI64::new(BASE));
        let thread = {
            let (turn, accepted, stop) = (Arc::clone(&turn), Arc::clone(&accepted), Arc::clone(&stop));
            std::thread::spawn(move || count(port, &turn, &accepted, &stop).unwrap_or_default())
        };
        let writer = Self { turn, accepted, stop, thread };
        // A target that is full refuses even the first.
        let writes = || writer.accepted.load(Ordering::SeqCst) > BASE + 3 || writer.thread.is_finished();
        wait("the first writes", WITHIN, || writes().then_some(()));
        writer
    }

    /// The last count that was accepted before the cutover, or before the target was gone.
    pub fn end(self) -> i64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Counts until told to stop, refused, or cut off. A count that does not follow the last one is of other data, and is taken back.
fn count(port: u16, turn: &Mutex<()>, accepted: &AtomicI64, stop: &AtomicBool) -> std::io::Result<()> {
    let mut to = TcpStream::connect(("127.0.0.1", port))?;
    to.set_read_timeout(Some(WITHIN))?;
    to.set_nodelay(true)?;
    let mut from = BufReader::new(to.try_clone()?);
    let mut say = |command: &str| -> std::io::Result<Option<i64>> {
        to.write_all(command.as_bytes())?;
        let mut line = String::new();
        from.read_line(&mut line)?;
        Ok(line.trim_end().strip_prefix(':').and_then(|n| n.parse().ok()))
    };
    while !stop.load(Ordering::SeqCst) {
        {
            let _turn = turn.lock().unwrap();
            match say("INCR live\r\n")? {
                Some(n) if n == accepted.load(Ordering::SeqCst) + 1 => accepted.store(n, Ordering::SeqCst),
                Some(_) => return say("DECR live\r\n").map(drop),
                None => return Ok(()),
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
