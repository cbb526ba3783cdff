//! Proves that no value that the walker passes ends a server: values of every encoding are damaged in every way, judged, and those that
//! pass are loaded by real servers, read back, written to, dumped and deleted.
//!
//! `DAMAGE_CASES` says how many values are tried (a few thousand by default, ten thousand and more in CI), `TEST_SEED` repeats a run.

use crate::redis::values::{Built, Random, entry, every, packed, rdb, string};
use crate::support::{KINDS, Redis};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;
use tair_backup_mcp::redis::rdb::unique::Unique;
use tair_backup_mcp::redis::rdb::{walk, walk_unique};

/// Values that a server gets at once.
const BATCH: usize = 400;
/// Damages per run in the dev profile: with the servers' part about a minute on one core.
const CASES: usize = 10_000;

/// A damaged value.
#[derive(Clone)]
pub struct Case {
    name: String,
    pub type_byte: u8,
    pub value: Vec<u8>,
}

fn magic_of(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "redis-7.0" => ("REDIS0010", "7.0"),
        "redis-8.0" => ("REDIS0012", "redis"),
        _ if kind.starts_with("valkey-9") => ("VALKEY080", "valkey"),
        _ => ("REDIS0011", "7.2"),
    }
}

/// The program's verdict, as a vault reaches it: a walk, a second one where something may be there twice, and nothing behind the end.
/// The number of keys, where the RDB passes.
fn keys_of(rdb: &[u8]) -> Option<u64> {
    let mut unique = Unique::new(std::env::temp_dir());
    let walked = walk_unique(rdb, (), (), &mut unique).ok().filter(|w| w.rest.is_empty() && w.src.is_empty())?;
    let again = unique.needs_second_walk().unwrap() && walk_unique(rdb, (), (), &mut unique).is_err();
    (!again).then(|| walked.statistics.keys() + walked.statistics.empty_keys)
}

/// Changes a few bytes in one of many ways.
pub fn hurt(bytes: &mut Vec<u8>, random: &mut Random) -> &'static str {
    if bytes.is_empty() {
        return "nothing";
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "a bit flipped"
        }
        1 => {
            bytes[at] = random.below(256) as u8;
            "a byte replaced"
        }
        2 => {
            bytes[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xf0, 0xfe, 0xff][random.below(8)];
            "a byte replaced by one that means something"
        }
        3 => {
            bytes.truncate(at);
            "cut"
        }
        4 => {
            bytes.remove(at);
            "a byte missing"
        }
        5 => {
            bytes.insert(at, random.below(256) as u8);
            "a byte too many"
        }
        6 => {
            // Lengths and counts are at the front.
            let at = random.below(bytes.len().min(10));
            bytes[at] = bytes[at].wrapping_add([1, 2, 0xff, 0x80][random.below(4)]);
            "a length that lies"
        }
        7 => {
            let n = random.below((bytes.len() - at).min(24)) + 1;
            let part = bytes[at..at + n].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, part);
            "a part there twice"
        }
        _ => {
            let n = random.below((bytes.len() - at).min(24)) + 1;
            bytes.drain(at..at + n);
            "a part missing"
        }
    }
}

/// Puts the lengths that an outer damage check would look at right again, so that only the inside is wrong.
fn mend_header(built: &mut Built) {
    let length = (built.blob.len() as u32).to_le_bytes();
    if built.blob.len() >= 4 && !matches!(built.type_byte, 9 | 11) {
        built.blob[..4].copy_from_slice(&length);
        if built.blob.last() != Some(&0xff) {
            *built.blob.last_mut().unwrap() = 0xff;
        }
    }
}

pub fn damaged(built: &Built, random: &mut Random) -> Case {
    let mut built = built.clone();
    let mut how = Vec::new();
    // None at all, now and then: what is sound has to pass.
    for _ in 0..random.below(4) {
        if built.blob.is_empty() || random.below(8) == 0 {
            let mut value = built.bytes();
            how.push(hurt(&mut value, random));
            built = Built { head: value, blob: Vec::new(), tail: Vec::new(), ..built };
        } else {
            how.push(hurt(&mut built.blob, random));
            if random.below(3) > 0 {
                mend_header(&mut built);
            }
        }
    }
    let name = format!("{}{}: {}", if built.packed { "compressed " } else { "" }, built.name, how.join(", "));
    Case { name, type_byte: built.type_byte, value: built.bytes() }
}

/// What reads a key of such a type whole, forwards and backwards, and then writes to it.
fn commands(key: &str, type_byte: u8) -> Vec<Vec<String>> {
    let long = "x".repeat(100);
    let lines: Vec<String> = match type_byte {
        0 => vec!["GET K".into(), "STRLEN K".into(), "APPEND K z".into()],
        1 | 10 | 14 | 18 => vec![
            "LRANGE K 0 -1".into(),
            "LINDEX K -1".into(),
            "LPOS K nothing".into(),
            format!("RPUSH K {long}"),
            format!("LINSERT K BEFORE {long} y"),
            "LREM K 0 y".into(),
            "LPOP K".into(),
            "RPOP K".into(),
        ],
        2 | 11 | 20 => vec![
            "SMEMBERS K".into(),
            "SRANDMEMBER K 5".into(),
            "SISMEMBER K 7".into(),
            "SADD K 99999999999".into(),
            format!("SADD K {long}"),
            "SMEMBERS K".into(),
            "SPOP K".into(),
        ],
        3 | 5 | 12 | 17 => vec![
            "ZRANGE K 0 -1 WITHSCORES".into(),
            "ZREVRANGE K 0 -1 WITHSCORES".into(),
            "ZRANGEBYSCORE K -inf +inf".into(),
            "ZRANK K nothing".into(),
            "ZADD K 3 small".into(),
            format!("ZADD K 7 {long}"),
            "ZINCRBY K 1 small".into(),
            "ZRANGE K 0 -1 WITHSCORES".into(),
            "ZPOPMIN K".into(),
            "ZREM K small".into(),
        ],
        4 | 9 | 13 | 16 | 22 | 24 | 25 => vec![
            "HGETALL K".into(),
            "HGET K nothing".into(),
            "HSET K small 1".into(),
            "HDEL K small".into(),
            format!("HSET K f {long}"),
            "HGETALL K".into(),
            "HRANDFIELD K 3 WITHVALUES".into(),
        ],
        _ => vec![
            "XRANGE K - +".into(),
            "XREVRANGE K + -".into(),
            "XINFO STREAM K FULL COUNT 0".into(),
            "XPENDING K group".into(),
            "XPENDING K group - + 10".into(),
            "XREADGROUP GROUP group first COUNT 2 STREAMS K >".into(),
            "XREADGROUP GROUP group other STREAMS K 0".into(),
            "XAUTOCLAIM K group third 0 0".into(),
            "XACK K group 1000-0 1001-0 2000-0".into(),
            "XGROUP DELCONSUMER K group first".into(),
            "XADD K * field value".into(),
            "XDEL K 1000-0".into(),
            "XTRIM K MAXLEN 1".into(),
        ],
    };
    let all = ["OBJECT ENCODING K", "DUMP K", "MEMORY USAGE K SAMPLES 0"].map(String::from);
    let mut commands: Vec<Vec<String>> = all
        .into_iter()
        .chain(lines)
        .chain(["DUMP K".into(), "DEL K".into()])
        .map(|line| line.split(' ').map(|word| if word == "K" { key.to_owned() } else { word.to_owned() }).collect())
        .collect();
    commands.push(vec!["PING".into()]);
    commands
}

/// Skips one reply; the text of an error.
fn reply(from: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let n: i64 = rest.parse().unwrap_or(0);
    match kind {
        "-" => return Ok(Some(rest.to_owned())),
        "$" if n >= 0 => {
            let mut body = vec![0; n as usize + 2];
            from.read_exact(&mut body)?;
        }
        "*" => {
            for _ in 0..n {
                reply(from)?;
            }
        }
        _ => {}
    }
    Ok(None)
}

struct Loader {
    kind: &'static str,
    server: Redis,
    /// Of the last death: what the client saw, and what the server's log says of it.
    last_words: String,
}

impl Loader {
    fn new(kind: &'static str) -> Self {
        Self { kind, server: Redis::start(kind, &["--proto-max-bulk-len", "1gb"]), last_words: String::new() }
    }

    /// Lets the server load the values, then reads, changes, dumps and deletes each. Whether it lived.
    fn survives(&mut self, cases: &[Case], tiny: bool) -> bool {
        let (magic, _) = magic_of(self.kind);
        let body: Vec<u8> =
            cases.iter().enumerate().flat_map(|(n, c)| entry(c.type_byte, &format!("k{n}"), &c.value)).collect();
        std::fs::write(self.server.dir.path().join("dump.rdb"), rdb(magic, &body, true)).unwrap();
        match self.run(cases, tiny) {
            Ok(()) => true,
            Err(e) => {
                let log = self.server.log();
                let telling = ["==>", "Guru", "crashed by", "Accessing address", "RDB", "corrupt", "argv["];
                let lines = log.lines().filter(|line| telling.iter().any(|word| line.contains(word))).take(20);
                self.last_words = format!("{e}\n{}", lines.collect::<Vec<_>>().join("\n"));
                self.server = Self::new(self.kind).server;
                false
            }
        }
    }

    fn run(&mut self, cases: &[Case], tiny: bool) -> std::io::Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", self.server.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut from = BufReader::new(stream.try_clone()?);
        let mut send = |commands: &[Vec<String>]| -> std::io::Result<Vec<Option<String>>> {
            let mut wire = Vec::new();
            for command in commands {
                write!(wire, "*{}\r\n", command.len())?;
                for word in command {
                    write!(wire, "${}\r\n{word}\r\n", word.len())?;
                }
            }
            (&stream).write_all(&wire)?;
            commands.iter().map(|_| reply(&mut from)).collect()
        };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        // With limits this low, compact encodings are unfolded as they are loaded.
        let limit = if tiny { "1" } else { "512" };
        for name in [
            "hash-max-listpack-entries",
            "zset-max-listpack-entries",
            "set-max-intset-entries",
            "set-max-listpack-entries",
        ] {
            send(&[words(&format!("CONFIG SET {name} {limit}"))])?;
        }
        if let Some(Some(error)) = send(&[words("DEBUG RELOAD NOSAVE")])?.into_iter().next() {
            return Err(std::io::Error::other(error));
        }
        for (n, case) in cases.iter().enumerate() {
            send(&commands(&format!("k{n}"), case.type_byte))?;
        }
        Ok(())
    }

    /// The first value that the server does not survive by itself, of some that it does not survive together.
    fn culprit(&mut self, cases: &[Case], tiny: bool) -> Vec<Case> {
        let (mut cases, mut tries) = (cases.to_vec(), 0);
        while cases.len() > 1 && tries < 40 {
            tries += 1;
            let (front, back) = cases.split_at(cases.len() / 2);
            cases = if self.survives(front, tiny) { back.to_vec() } else { front.to_vec() };
        }
        cases
    }
}

#[test]
fn no_damaged_value_that_passes_ends_a_server() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_007
    });
    println!("TEST_SEED={seed}");
    let cases = std::env::var("DAMAGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let mut random = Random(seed);
    let (mut tried, mut passed, mut loaded) = (0, 0, 0);
    for kind in KINDS {
        let (magic, newer) = magic_of(kind);
        let mut loader = Loader::new(kind);
        let mut batch = Vec::new();
        let until = tried + cases / KINDS.len();
        let mut run = |batch: &mut Vec<Case>, tiny: bool| {
            loaded += batch.len();
            if !loader.survives(batch, tiny) {
                let first = loader.last_words.clone();
                let found = loader.culprit(batch, tiny);
                let shown: Vec<String> =
                    found.iter().map(|c| format!("type {} ({}): {:02x?}", c.type_byte, c.name, c.value)).collect();
                panic!(
                    "TEST_SEED={seed}: {kind} (low limits: {tiny}) does not survive\n{}\n{first}\n{}",
                    shown.join("\n"),
                    loader.last_words
                );
            }
            batch.clear();
        };
        while tried < until {
            for built in every(&mut random, newer) {
                let whole = rdb(magic, &entry(built.type_byte, "k", &built.bytes()), true);
                if let Err(why) = walk(&whole[..], (), ()) {
                    panic!("TEST_SEED={seed}: {} is sound and was refused: {why}\n{:02x?}", built.name, built.bytes());
                }
                let case = damaged(&built, &mut random);
                tried += 1;
                // A checksum that was never there, and one that fits what was damaged before it was made, tell the same: nothing.
                // A value that ends early may leave bytes that are keys by themselves, which do not go together with another's.
                let whole = rdb(magic, &entry(case.type_byte, "k", &case.value), random.below(2) == 0);
                if keys_of(&whole) == Some(1) {
                    passed += 1;
                    batch.push(case);
                }
            }
            if batch.len() >= BATCH {
                let tiny = random.below(2) == 0;
                run(&mut batch, tiny);
            }
        }
        run(&mut batch, true);
    }
    println!("{tried} damaged values, {passed} passed, {loaded} loaded by servers");
    assert!(tried >= cases * 9 / 10 && passed * 20 > tried, "the generator damages everything beyond recognition");
    assert_eq!(passed, loaded);
}

#[test]
fn what_is_there_twice_is_refused_and_what_only_looks_alike_is_not() {
    let (a, b) = (b"field a".as_slice(), b"field b".as_slice());
    let set = |x: &[u8], y: &[u8]| [vec![2], x.to_vec(), y.to_vec()].concat();
    let key = |name: &str| entry(0, name, &string(b"v"));
    let long = "k".repeat(300_000);
    for (what, body, good) in [
        ("a key", [key("a"), key("b"), key("a")].concat(), false),
        ("a long key", [key(&long), key("b"), key(&long)].concat(), false),
        (
            "a key and its packed form",
            [key("aaaaaaaaaaaaaaaaaaaaaaaa"), [&[0][..], &packed(&[b'a'; 24]), &string(b"v")].concat()].concat(),
            false,
        ),
        ("a number and its text", [&[0, 0xc0, 12][..], &string(b"v"), &key("12")].concat(), false),
        ("a key in two databases", [&key("a")[..], &[254, 3], &key("a")].concat(), true),
        (
            "a key in a database that comes again",
            [&key("a")[..], &[254, 3], &key("b"), &[254, 0], &key("a")].concat(),
            false,
        ),
        ("a member", entry(2, "s", &set(&string(a), &string(a))), false),
        ("a member and its packed form", entry(2, "s", &set(&string(&[b'x'; 40]), &packed(&[b'x'; 40]))), false),
        ("different members", entry(2, "s", &set(&string(a), &string(b))), true),
        (
            "a member in two sets",
            [entry(2, "s", &set(&string(a), &string(b))), entry(2, "t", &set(&string(a), &string(b)))].concat(),
            true,
        ),
        ("a value in a list", entry(1, "l", &set(&string(a), &string(a))), true),
    ] {
        assert_eq!(keys_of(&rdb("REDIS0010", &body, true)).is_some(), good, "{what}");
    }
}
