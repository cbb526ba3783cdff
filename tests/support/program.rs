//! A workload whose every state is known by its number: a writer without a pause at a server that may go and come, and an oracle that
//! tells the digest behind any step.

use crate::support::{Dice, Redis};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A state: how often the server had lost all by then, and the steps since.
pub type Mark = (u64, u64);

/// What is known of a step: whether it was a large one, and when it was sent, in milliseconds since 1970.
type Steps = BTreeMap<Mark, (bool, i64)>;

/// Writes steps without a pause, in a thread, until it is stopped. Each is one transaction.
pub struct Program {
    stop: Arc<AtomicBool>,
    large: Arc<AtomicBool>,
    steps: Arc<Mutex<Steps>>,
    dice: Arc<Dice>,
    thread: Option<JoinHandle<()>>,
}

fn put(out: &mut Vec<u8>, words: &[&str]) {
    let mut all = format!("*{}\r\n", words.len());
    for word in words {
        all += &format!("${}\r\n{word}\r\n", word.len());
    }
    out.extend(all.bytes());
}

/// The commands of a step.
fn step(dice: &Dice, (epoch, n): Mark, large: bool) -> Vec<u8> {
    let (mut dice, mut out) = (dice.nth(epoch << 32 | n), Vec::new());
    put(&mut out, &["MULTI"]);
    for _ in 0..3 {
        let (key, value) = (format!("{}", dice.below(200)), "v".repeat(dice.below(60)));
        match dice.below(8) {
            0 => put(&mut out, &["RPUSH", &format!("list:{key}"), &value]),
            1 => put(&mut out, &["HSET", &format!("hash:{key}"), &value, &n.to_string()]),
            2 => put(&mut out, &["SADD", &format!("set:{key}"), &format!("{value}{}", n % 9)]),
            3 => put(&mut out, &["ZADD", &format!("zset:{key}"), &(n % 50).to_string(), &value]),
            4 => put(&mut out, &["DEL", &format!("list:{key}")]),
            5 => put(&mut out, &["INCRBY", &format!("number:{key}"), &n.to_string()]),
            6 => {
                put(&mut out, &["SELECT", "1"]);
                put(&mut out, &["SET", &key, &value]);
                put(&mut out, &["SELECT", "0"]);
            }
            _ => put(&mut out, &["SET", &key, &value]),
        }
    }
    if large {
        put(&mut out, &["SET", &format!("large:{}", n % 8), &"x".repeat(100_000)]);
    }
    put(&mut out, &["SET", "mark", &format!("{epoch}:{n}")]);
    put(&mut out, &["EXEC"]);
    out
}

/// Sends commands and waits until all are answered; the answers.
pub fn send(tcp: &mut TcpStream, commands: &[u8]) -> std::io::Result<Vec<u8>> {
    const END: &[u8] = b"the-end-of-it\r\n";
    let mut all = commands.to_vec();
    put(&mut all, &["ECHO", "the-end-of-it"]);
    let (mut writes, answers) = (tcp.try_clone()?, &mut Vec::new());
    let writer = std::thread::spawn(move || writes.write_all(&all));
    let mut piece = vec![0; 1 << 16];
    while !answers.ends_with(END) {
        match tcp.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => answers.extend_from_slice(&piece[..n]),
        }
    }
    writer.join().unwrap()?;
    Ok(std::mem::take(answers))
}

pub fn connect(port: u16) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(tcp)
}

/// The state that a server says it is in; `None` before the first step.
pub fn mark(tcp: &mut TcpStream) -> std::io::Result<Option<Mark>> {
    let mut get = Vec::new();
    put(&mut get, &["GET", "mark"]);
    let answer = String::from_utf8_lossy(&send(tcp, &get)?).into_owned();
    let told = answer.lines().nth(1).and_then(|line| line.split_once(':'));
    Ok(told.and_then(|(epoch, n)| Some((epoch.parse().ok()?, n.parse().ok()?))))
}

impl Program {
    pub fn on(redis: &Redis, dice: &Arc<Dice>) -> Self {
        let (port, stop, large) = (redis.port, Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let steps = Arc::<Mutex<Steps>>::default();
        let mut program = Self {
            stop: Arc::clone(&stop),
            large: Arc::clone(&large),
            steps: Arc::clone(&steps),
            dice: Arc::clone(dice),
            thread: None,
        };
        let dice = Arc::clone(dice);
        program.thread = Some(std::thread::spawn(move || {
            let (mut epoch, mut n) = (0, 1);
            while !stop.load(Ordering::SeqCst) {
                let mut write = || -> std::io::Result<()> {
                    let mut tcp = connect(port)?;
                    match mark(&mut tcp)? {
                        Some((told, at)) if told == epoch => n = at + 1,
                        _ if n > 1 => (epoch, n) = (epoch + 1, 1),
                        _ => {}
                    }
                    while !stop.load(Ordering::SeqCst) {
                        let large = large.load(Ordering::SeqCst);
                        let now = jiff::Timestamp::now().as_millisecond();
                        steps.lock().unwrap().insert((epoch, n), (large, now));
                        send(&mut tcp, &step(&dice, (epoch, n), large))?;
                        n += 1;
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Ok(())
                };
                if write().is_err() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }));
        program
    }

    /// Whether steps write much.
    pub fn large(&self, large: bool) {
        self.large.store(large, Ordering::SeqCst);
    }

    /// Ends the writing.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Steps so far.
    pub fn count(&self) -> usize {
        self.steps.lock().unwrap().len()
    }

    /// When a step was sent, in milliseconds since 1970.
    pub fn sent(&self, mark: Mark) -> Option<i64> {
        self.steps.lock().unwrap().get(&mark).map(|(_, at)| *at)
    }

    /// The digests behind steps, by a server that has done nothing else.
    pub fn digests(&self, kind: &str, wanted: &BTreeSet<Mark>) -> BTreeMap<Mark, String> {
        let steps = self.steps.lock().unwrap();
        let redis = Redis::start(kind, &[]);
        let mut tcp = connect(redis.port).unwrap();
        let mut found = BTreeMap::new();
        let (mut waiting, mut last) = (Vec::new(), 0);
        for (mark, (large, _)) in steps.iter() {
            if mark.0 != last {
                waiting.clear();
                redis.run(&["FLUSHALL"]);
                last = mark.0;
            }
            waiting.extend(step(&self.dice, *mark, *large));
            let asked = wanted.contains(mark);
            if asked || waiting.len() > 1 << 20 {
                send(&mut tcp, &waiting).unwrap();
                waiting.clear();
            }
            if asked {
                found.insert(*mark, redis.run(&["DEBUG", "DIGEST"]).text());
            }
        }
        found
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
