//! Restores under a load of writes, to a moment in the middle of it and back: what there is then is what was accepted, to the last write
//! of every client.

use crate::provider::moment_log::now;
use crate::provider::moments::{restore, written};
use crate::support::log::{LONG, Service, coverage, log_until, received, service_log};
use crate::support::{Bench, Redis, Reply, text, unattended, wait};
use std::fmt::Write as _;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Clients, keys of each, and writes that each sends at once.
const CLIENTS: usize = 4;
const KEYS: u64 = 500;
const AT_ONCE: u64 = 100;
const ACCEPTED: &[u8] = b"+OK\r\n";

/// Writes a second that the clients send together: `LOAD_RATE` in the environment.
fn rate() -> u64 {
    std::env::var("LOAD_RATE").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

/// What a client has sent, and what of that was accepted.
#[derive(Default)]
struct Client {
    sent: AtomicU64,
    accepted: AtomicU64,
}

impl Client {
    /// Numbers its writes, and sends them until one is refused or it is to stop.
    fn write(&self, of: usize, port: u16, stop: &AtomicBool) -> std::io::Result<()> {
        let mut to = TcpStream::connect(("127.0.0.1", port))?;
        to.set_nodelay(true)?;
        to.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (mut from, mut reply, mut all) = (BufReader::new(to.try_clone()?), [0; ACCEPTED.len()], String::new());
        let pause = Duration::from_secs(AT_ONCE * CLIENTS as u64) / u32::try_from(rate()).unwrap();
        let mut next = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            let first = self.sent.load(Ordering::SeqCst) + 1;
            all.clear();
            for n in first..first + AT_ONCE {
                let _ = write!(all, "SET w:{of}:{} {n}\r\n", n % KEYS);
            }
            self.sent.store(first + AT_ONCE - 1, Ordering::SeqCst);
            to.write_all(all.as_bytes())?;
            for n in first..first + AT_ONCE {
                from.read_exact(&mut reply)?;
                if reply != ACCEPTED {
                    return Ok(());
                }
                self.accepted.store(n, Ordering::SeqCst);
            }
            next += pause;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }
}

/// Writes a second that were accepted of all clients.
fn accepted_a_second(clients: &[Client], within: Duration) -> u64 {
    numbers(clients, |client| &client.accepted).iter().sum::<u64>() * 1000 / u64::try_from(within.as_millis()).unwrap()
}

fn numbers(clients: &[Client], of: fn(&Client) -> &AtomicU64) -> Vec<u64> {
    clients.iter().map(|client| of(client).load(Ordering::SeqCst)).collect()
}

/// The newest write of a client that a server has, every older one being there that no newer one took the place of.
fn newest(redis: &Redis, of: usize) -> u64 {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("w:{of}:{key}")).collect();
    let all: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let Reply::List(values) = redis.run(&all) else { panic!("a list") };
    let values: Vec<u64> = values.iter().map(|value| value.text().parse().unwrap_or(0)).collect();
    let newest = *values.iter().max().unwrap();
    for (key, value) in (0..KEYS).zip(values) {
        // The newest number at most `newest` that goes to this key; none where that would be below the first.
        let back = (newest + KEYS - key) % KEYS;
        assert_eq!(value, newest.saturating_sub(back), "client {of}, key {key}, newest {newest}");
    }
    newest
}

/// The digest of all that the clients did not write.
fn others(redis: &Redis) -> String {
    for of in 0..CLIENTS {
        let keys: Vec<String> = (0..KEYS).map(|key| format!("w:{of}:{key}")).collect();
        redis.run(&std::iter::once("DEL").chain(keys.iter().map(String::as_str)).collect::<Vec<_>>());
    }
    redis.digest()
}

#[test]
fn a_moment_under_load_and_back() {
    std::thread::scope(|scope| {
        for kind in ["redis-7.0", "valkey-9.1"] {
            scope.spawn(move || {
                // What else a machine has to do may take its time once: what is restored is compared all the same.
                let reached = [(); 2].iter().map(|()| under_load(kind)).find(|reached| *reached >= rate() / 2);
                assert!(reached.is_some(), "{kind}: twice fewer than half of {} writes a second were accepted", rate());
            });
        }
    });
}

/// Restores under the load, and back; the writes a second that were accepted from the first on to the cutover.
fn under_load(kind: &str) -> u64 {
    let redis = Redis::start(kind, &["--repl-backlog-size", "256mb"]);
    redis.fill(0, 1);
    let before = redis.digest();
    let bench = Bench::new(&unattended(&redis, "enable_backup_log = true\n[backup_log]\nseal_seconds = 1\n"));
    let _service = Service::start(&bench);
    log_until(&bench, "an archiver", |log| log["archiver"].is_string());
    received(&bench, &redis);
    let (clients, stop): (Vec<Client>, _) = ((0..CLIENTS).map(|_| Client::default()).collect(), AtomicBool::new(false));
    let (done, at, accepted_then, sent_then, reached) = std::thread::scope(|scope| {
        let began = Instant::now();
        let (stop, redis) = (&stop, &redis);
        let write = move |(of, client): (usize, &Client)| {
            let _ = client.write(of, redis.port, stop);
            Instant::now()
        };
        let writing: Vec<_> = clients.iter().enumerate().map(|client| scope.spawn(move || write(client))).collect();
        std::thread::sleep(Duration::from_secs(3));
        // What was accepted a while ago has been received by now; what is not sent yet has not.
        let accepted = numbers(&clients, |client| &client.accepted);
        std::thread::sleep(Duration::from_secs(2));
        let at = now().as_millisecond();
        let sent = numbers(&clients, |client| &client.sent);
        let before = accepted_a_second(&clients, began.elapsed());
        wait("the moment to be on the vault", LONG, || {
            coverage(&bench).runs.last().filter(|run| run.until().as_millisecond() > at).map(drop)
        });
        let done = restore(&bench, "--restore-time", &written(at));
        stop.store(true, Ordering::SeqCst);
        let ended = writing.into_iter().map(|client| client.join().unwrap()).max().unwrap();
        let reached = accepted_a_second(&clients, ended - began);
        println!(
            "{kind}: of {} writes a second {before} were accepted before the restore, {reached} up to its cutover",
            rate()
        );
        (done, at, accepted, sent, reached)
    });
    assert_eq!(done.code, 0, "{kind}: {done:?}\n{}", service_log(&bench));
    let last = numbers(&clients, |client| &client.accepted);
    assert!(
        clients.iter().all(|client| client.sent.load(Ordering::SeqCst) > client.accepted.load(Ordering::SeqCst)),
        "{kind}: a client was never refused"
    );
    let there: Vec<u64> = (0..CLIENTS).map(|of| newest(&redis, of)).collect();
    for of in 0..CLIENTS {
        let within = accepted_then[of]..=sent_then[of];
        assert!(within.contains(&there[of]), "{kind}, client {of} at {}: {} of {within:?}", written(at), there[of]);
    }
    assert_eq!(others(&redis), before, "{kind}");

    let job = text(&done.json()["job_id"]);
    let back = restore(&bench, "--before-position", &job);
    assert_eq!(back.code, 0, "{kind}: {back:?}\n{}", service_log(&bench));
    let there: Vec<u64> = (0..CLIENTS).map(|of| newest(&redis, of)).collect();
    assert_eq!(there, last, "{kind}: {}\n{}", done.out, back.out);
    assert_eq!(others(&redis), before, "{kind}");
    reached
}
