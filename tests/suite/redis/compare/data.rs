//! Random data of every type, as commands: two servers that carry out the same hold the same, written in two ways.

use crate::redis::values::Random;
use crate::support::Redis;
use tair_backup_mcp::redis::resp::Value;

/// A command, and the database it goes to.
pub type Command = (u64, Vec<Vec<u8>>);

/// Expiries are multiples of this, so that what a server tells relative to its clock can be rounded.
pub const STEP_MS: u64 = 100_000_000;

/// What a server can do beyond Redis 6.2.
pub fn has_field_expiries(kind: &str) -> bool {
    matches!(kind, "redis-8.0" | "redis-8.2" | "valkey-9.1")
}

/// Settings under which a server writes values in other ways than by default.
pub const OTHER_ENCODINGS: [&str; 14] = [
    "--rdbcompression",
    "no",
    "--hash-max-ziplist-entries",
    "4",
    "--zset-max-ziplist-entries",
    "4",
    "--set-max-intset-entries",
    "4",
    "--list-max-ziplist-size",
    "3",
    "--list-compress-depth",
    "1",
    "--stream-node-max-entries",
    "3",
];

pub struct Data {
    pub random: Random,
    /// When now is, rounded to a step.
    pub now_ms: u64,
    pub field_expiries: bool,
}

macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(word(&$word)),*] };
}

fn word(word: &(impl AsRef<[u8]> + ?Sized)) -> Vec<u8> {
    word.as_ref().to_vec()
}

impl Data {
    /// A key: most of a few prefixes, some that only a hostile client makes. `of` keeps types apart.
    pub fn key(&mut self, of: &str) -> Vec<u8> {
        let n = self.random.below(12).to_string();
        let plain = [of, ":", &n].concat();
        match self.random.below(12) {
            0 => [of, "."].concat().into_bytes(),
            1 => [plain.as_bytes(), b"\r\n,\"'\\ \0\xff\xfe", n.as_bytes()].concat(),
            2 => [plain.as_bytes(), "größe\u{202e}".as_bytes()].concat(),
            3 if of == "string" => Vec::new(),
            4 if of == "string" => n.into_bytes(),
            5 if of == "list" => [plain.as_bytes(), &vec![b'k'; 100_000]].concat(),
            6 => [&vec![b'x'; 70][..], plain.as_bytes()].concat(),
            7 => [of, &n].concat().into_bytes(),
            _ => plain.into_bytes(),
        }
    }

    /// A text: a number, short, long, compressible, binary.
    fn text(&mut self) -> Vec<u8> {
        let n = self.random.below(30);
        match self.random.below(8) {
            0 => n.to_string().into_bytes(),
            1 => format!("-{}", n * 100_003).into_bytes(),
            2 => format!("0{n}").into_bytes(),
            3 => vec![b'a' + n as u8 % 26; 40 + 20 * n],
            4 => (0..n as u8).map(|b| b.wrapping_mul(37)).collect(),
            5 => i64::MIN.to_string().into_bytes(),
            _ => format!("v{n}").into_bytes(),
        }
    }

    fn score(&mut self) -> String {
        let n = self.random.below(40);
        match self.random.below(6) {
            0 => "inf".to_owned(),
            1 => "-inf".to_owned(),
            2 => n.to_string(),
            3 => format!("{}.1", n * 7),
            4 => format!("{n}e-20"),
            _ => format!("-{n}"),
        }
    }

    fn expiry(&mut self) -> String {
        (self.now_ms + STEP_MS * (1 + self.random.below(20) as u64)).to_string()
    }

    /// How many elements: few, or so many that encodings change.
    fn count(&mut self) -> usize {
        if self.random.below(6) == 0 { 130 + self.random.below(500) } else { 1 + self.random.below(9) }
    }

    /// Something that a client may do.
    pub fn commands(&mut self) -> Vec<Command> {
        let db = [0, 0, 0, 3, 15][self.random.below(5)];
        let mut all = self.in_one_database();
        if self.random.below(4) == 0 {
            let key = all[0][1].clone();
            all.push(words!["PEXPIREAT", key, self.expiry()]);
        }
        all.into_iter().map(|command| (db, command)).collect()
    }

    fn in_one_database(&mut self) -> Vec<Vec<Vec<u8>>> {
        let count = self.count();
        match self.random.below(10) {
            0 => {
                let key = self.key("string");
                vec![words!["SET", key, self.text()]]
            }
            1 => {
                let key = self.key("hll");
                let mut add = words!["PFADD", key];
                add.extend((0..count).map(|n| format!("e{n}").into_bytes()));
                vec![add]
            }
            2 => {
                let key = self.key("list");
                let mut push = words!["RPUSH", key];
                push.extend((0..count).map(|_| self.text()));
                vec![push]
            }
            3 => {
                let key = self.key("set");
                let mut add = words!["SADD", key];
                let numbers = self.random.below(2) == 0;
                add.extend((0..count).map(|n| if numbers { n.to_string().into_bytes() } else { self.text() }));
                vec![add]
            }
            4 => {
                let key = self.key("zset");
                let mut add = words!["ZADD", key];
                for n in 0..count {
                    add.extend(words![self.score(), format!("m{}", n % 200)]);
                }
                vec![add]
            }
            // A hash that was large and has shrunk: a server keeps it as a hash table, in an order of its own.
            5 => {
                let key = self.key("shrunk");
                let (mut set, mut del) = (words!["HSET", key], words!["HDEL", key]);
                for n in 0..600 {
                    set.extend(words![format!("f{n}"), format!("v{n}")]);
                    if n > 9 {
                        del.push(format!("f{n}").into_bytes());
                    }
                }
                vec![set, del]
            }
            6 | 7 => {
                let key = self.key("hash");
                let mut set = words!["HSET", key];
                for n in 0..count {
                    set.extend(words![format!("f{n}"), self.text()]);
                }
                let mut all = vec![set];
                if self.field_expiries && self.random.below(2) == 0 {
                    for n in 0..1 + self.random.below(count.min(8)) {
                        all.push(words!["HPEXPIREAT", key, self.expiry(), "FIELDS", "1", format!("f{n}")]);
                    }
                }
                all
            }
            _ => self.stream(count),
        }
    }

    fn stream(&mut self, count: usize) -> Vec<Vec<Vec<u8>>> {
        let key = self.key("stream");
        // Ids of a run of their own; a server refuses those that are not behind its last.
        let base = 1 + self.random.below(1000) as u64;
        let mut all = Vec::new();
        for n in 0..count.min(200) {
            let id = format!("{}-{}", base + n as u64 / 3, n % 3);
            let mut add = words!["XADD", key, id, "f", self.text()];
            if self.random.below(4) == 0 {
                add.extend(words!["g", self.text()]);
            }
            all.push(add);
            if self.random.below(8) == 0 {
                all.push(words!["XDEL", key, format!("{base}-0")]);
            }
        }
        if self.random.below(2) == 0 {
            let group = format!("group{}", self.random.below(3));
            all.push(words!["XGROUP", "CREATE", key, group, format!("{base}-1")]);
            for _ in 0..self.random.below(4) {
                let (id, consumer) = (format!("{base}-{}", self.random.below(3)), format!("c{}", self.random.below(2)));
                // When it was delivered is said, for the two servers hear of it at two times.
                let at = (self.now_ms - STEP_MS * (1 + self.random.below(5) as u64)).to_string();
                let times = self.random.below(5).to_string();
                all.push(words![
                    "XCLAIM",
                    key,
                    group,
                    consumer,
                    "0",
                    id,
                    "TIME",
                    at,
                    "RETRYCOUNT",
                    times,
                    "FORCE",
                    "JUSTID"
                ]);
            }
        }
        all
    }

    /// What one of two servers does besides.
    pub fn change(&mut self) -> Vec<Command> {
        if self.random.below(3) == 0 {
            return self.commands();
        }
        let of = ["string", "hll", "list", "set", "zset", "shrunk", "hash", "stream"][self.random.below(8)];
        let (db, key) = ([0, 0, 3, 15][self.random.below(4)], self.key(of));
        let command = match self.random.below(7) {
            0 | 1 => words!["DEL", key],
            2 => words!["PEXPIREAT", key, self.expiry()],
            3 => words!["PERSIST", key],
            4 => words!["LSET", key, "0", "other"],
            5 => words!["HSET", key, "f3", "other"],
            _ => words!["XDEL", key, format!("{}-0", 1 + self.random.below(1000))],
        };
        vec![(db, command)]
    }
}

/// Sends commands. One that the server refuses (a key of another type, a group that is there) changes nothing.
pub async fn send(server: &Redis, commands: &[Command]) {
    let mut conn = server.conn().await;
    let mut current = 0;
    for (db, command) in commands {
        if *db != current {
            conn.cmd_str(&["SELECT", &db.to_string()]).await.unwrap();
            current = *db;
        }
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let reply = conn.cmd(&words).await;
        if let Ok(Value::Error(text)) = &reply {
            assert!(!text.contains("unknown"), "{}: {text}", server.kind);
        }
    }
}
