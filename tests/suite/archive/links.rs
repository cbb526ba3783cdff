//! The archiver's link, cut at every step of what is said on it: the log goes on, no gap is told of, every byte that the source sent is
//! there, and what the log has is what is restored.

use super::collector::{KIND, logging, same_as};
use crate::support::log::{LONG, Service, Witness, log_of, log_until, received, service_log};
use crate::support::{Bench, Redis, text, wait};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tair_backup_mcp::model::log::Position;

/// Where a link is cut: once its client has sent one text, and so many bytes have come of what the server answers, from where another
/// begins; from the very first where that is empty.
#[derive(Debug, Clone, Copy)]
struct Cut(&'static str, &'static str, usize);

/// What is said before a source goes on in its history, and within its stream.
const GOING_ON: [Cut; 4] = [Cut("AUTH", "", 0), Cut("REPLCONF", "", 0), Cut("PSYNC", "", 0), Cut("PSYNC", "+CONT", 3)];
const STREAM: [Cut; 3] = [Cut("PSYNC", "cut-here", 4), Cut("PSYNC", "MULTI", 7), Cut("PSYNC", "cut-within", 10)];
/// What is said before a source sends its data, and within that.
const DATA: [Cut; 6] = [
    Cut("PING", "", 0),
    Cut("REPLCONF", "", 0),
    Cut("PSYNC", "", 0),
    Cut("PSYNC", "+FULLRESYNC", 20),
    Cut("PSYNC", "$EOF:", 12),
    Cut("PSYNC", "$EOF:", 60_000),
];

/// A port that leads to a server, and cuts one link.
struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The cut that is to come, and the first connection that it is for.
    armed: Mutex<Option<(Cut, usize)>>,
    opened: AtomicUsize,
    ends: Mutex<Vec<TcpStream>>,
}

fn find(bytes: &[u8], what: &str) -> Option<usize> {
    if what.is_empty() { Some(0) } else { bytes.windows(what.len()).position(|w| w == what.as_bytes()) }
}

impl Cutter {
    fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to, shared) = (listener.local_addr().unwrap().port(), redis.port, Arc::<Shared>::default());
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let number = all.opened.fetch_add(1, Ordering::SeqCst);
                all.ends.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let sent = Arc::<Mutex<Vec<u8>>>::default();
                let (mut asks, mut asked, said) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&sent));
                std::thread::spawn(move || {
                    let mut piece = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = asks.read(&mut piece) {
                        said.lock().unwrap().extend_from_slice(&piece[..n]);
                        if asked.write_all(&piece[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = (asks.shutdown(Shutdown::Both), asked.shutdown(Shutdown::Both));
                });
                let all = Arc::clone(&all);
                std::thread::spawn(move || all.answer(number, &sent, server, client));
            }
        });
        Self { port, shared }
    }

    /// Cuts a link there, the next time that it comes to it: one that is opened from now on, or any.
    fn arm(&self, cut: Cut, fresh: bool) {
        let from = if fresh { self.shared.opened.load(Ordering::SeqCst) } else { 0 };
        *self.shared.armed.lock().unwrap() = Some((cut, from));
    }

    /// Ends every link that there is.
    fn end_all(&self) {
        for end in self.shared.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn has_cut(&self, cut: Cut) {
        wait(&format!("{cut:?}"), LONG, || self.shared.armed.lock().unwrap().is_none().then_some(()));
    }
}

impl Shared {
    /// Hands on what a server sends, until its link is cut.
    fn answer(&self, number: usize, sent: &Mutex<Vec<u8>>, mut from: TcpStream, mut to: TcpStream) {
        let (mut piece, mut seen) = (vec![0; 1 << 14], Vec::new());
        while let Ok(n @ 1..) = from.read(&mut piece) {
            let mut through = n;
            {
                let mut armed = self.armed.lock().unwrap();
                match *armed {
                    Some((Cut(after, at, keep), first))
                        if number >= first && find(&sent.lock().unwrap(), after).is_some() =>
                    {
                        let before = seen.len();
                        seen.extend_from_slice(&piece[..n]);
                        if let Some(end) = find(&seen, at).map(|at| at + keep).filter(|end| *end <= seen.len()) {
                            through = end.saturating_sub(before);
                            *armed = None;
                            let _ = to.write_all(&piece[..through]);
                            break;
                        }
                    }
                    _ => seen.clear(),
                }
            }
            if to.write_all(&piece[..through]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// A source, its port, a witness, and a bench whose program logs in there.
fn source() -> (Redis, Cutter, Witness, Bench) {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "64mb", "--rdbcompression", "no"]);
    redis.run(&["DEBUG", "POPULATE", "1000", "k", "200"]);
    redis.run(&["ACL", "SETUSER", "bk", "on", ">pw", "~*", "&*", "+@all"]);
    let (cutter, witness) = (Cutter::to(&redis), Witness::attach(&redis));
    let bench = logging(&format!("redis://127.0.0.1:{}", cutter.port), "username = \"bk\"\npassword = \"pw\"");
    (redis, cutter, witness, bench)
}

/// Something to cut within: a command, and a transaction.
fn write(redis: &Redis, round: usize) {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let value = "x".repeat(50);
    let all = ["MULTI", &format!("INCR cut-within:{round}"), "RPUSH list a", "EXEC"];
    redis.run(&["SET", &format!("cut-here:{round}"), &value]);
    let done = redis.try_all(&all.map(words)).unwrap();
    assert_eq!(done.len(), 4);
}

/// Nothing is missing of what a witness saw, nothing is said to be, and what there was at these positions is restored.
fn is_whole(redis: &Redis, witness: &Witness, bench: &Bench, service: Service, then: &[(Position, String)]) {
    same_as(witness, bench, redis);
    let log = log_of(bench);
    assert_eq!(log["total_gaps"], 0, "{log}\n{}", service_log(bench));
    assert_eq!(service.ask_to_end(), Some(0), "{}", service_log(bench));
    for (position, digest) in then {
        let position = position.to_string();
        let call = ["restore-instance", "--instance-id", "orders", "--before-position", &position, "--json"];
        let planned = bench.run(&call);
        assert_eq!(planned.code, 0, "{position}: {planned:?}");
        let token = text(&planned.json()["confirmation_token"]);
        let done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
        assert_eq!((done.code, &redis.digest()), (0, digest), "{position}: {done:?}");
    }
}

/// Of a log that goes on behind what it has.
#[test]
fn a_link_that_goes_on_is_cut_at_every_step() {
    let (redis, cutter, witness, bench) = source();
    let service = Service::start(&bench);
    log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
    let mut then = Vec::new();
    let cuts = STREAM.map(|cut| (cut, false)).into_iter().chain(GOING_ON.map(|cut| (cut, true)));
    for (round, (cut, fresh)) in cuts.enumerate() {
        cutter.arm(cut, fresh);
        if fresh {
            cutter.end_all();
        }
        write(&redis, round);
        cutter.has_cut(cut);
        then.push((received(&bench, &redis), redis.digest()));
    }
    // The last of the stream's, and the last of all.
    let last = then.len() - 1;
    is_whole(&redis, &witness, &bench, service, &[then[2].clone(), then[last].clone()]);
}

/// Of a log that begins with a set, whose capture is begun anew: no half of it is left.
#[test]
fn a_link_that_brings_the_data_is_cut_at_every_step() {
    std::thread::scope(|scope| {
        for cut in DATA {
            scope.spawn(move || {
                let (redis, cutter, witness, bench) = source();
                cutter.arm(cut, true);
                let service = Service::start(&bench);
                cutter.has_cut(cut);
                write(&redis, 0);
                log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
                write(&redis, 1);
                let then = (received(&bench, &redis), redis.digest());
                assert_eq!(
                    (bench.backups().len(), bench.left_over().len()),
                    (1, 0),
                    "{cut:?}: {}",
                    service_log(&bench)
                );
                // Where the data was on its way a restore shows that it is whole.
                let then = if cut.2 > 0 { vec![then] } else { Vec::new() };
                is_whole(&redis, &witness, &bench, service, &then);
            });
        }
    });
}
