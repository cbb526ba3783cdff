//! Random work on a server: commands of every type in several databases, in transactions, in scripts and functions, by clients that
//! wait; expiries that pass meanwhile, and what replaces or removes a great deal at once.
//!
//! What a server does not know it refuses, and nothing of that is in its stream.

use crate::support::{Dice, Redis, wait};
use std::time::Duration;

/// What tells keys of a type apart.
const KEYS: [&str; 5] = ["0", "1", "2", "3", "\r\n*1 ü"];

/// Commands by the type that they are for. `#` stands for the number of a key, `@` for a number, `%` for a time to live in milliseconds,
/// which may be short, `!` for one that is long, `?` for the number of an entry of a stream.
const COMMANDS: &[&str] = &[
    "SET k# @",
    "SET k# @ PX %",
    "SET k# @ KEEPTTL",
    "SET k# @ NX GET",
    "SETEX k# 90000 @",
    "PSETEX k# % @",
    "GETEX k# PX %",
    "GETEX k# PERSIST",
    "GETSET k# @",
    "GETDEL k#",
    "APPEND k# @",
    "SETRANGE k# 7 @",
    "MSET k# @ n# @",
    "MSETNX k# @ k# @",
    "SET k# @ IFEQ @",
    "DELIFEQ k# @",
    "INCR n#",
    "DECRBY n# @",
    "INCRBYFLOAT n# 1.5",
    "SETBIT b# @ 1",
    "BITFIELD b# SET u8 @ @ INCRBY i5 @ 9 OVERFLOW SAT INCRBY u2 @ 3",
    "BITOP XOR b# b# b#",
    "PFADD p# @ @ @",
    "PFMERGE p# p#",
    "RPUSH l# @ @",
    "LPUSH l# @",
    "RPUSHX l# @",
    "LPOP l#",
    "RPOP l# 2",
    "LMOVE l# l# LEFT RIGHT",
    "RPOPLPUSH l# l#",
    "LMPOP 2 l# l# LEFT COUNT 2",
    "LINSERT l# BEFORE @ x",
    "LSET l# 0 @",
    "LREM l# 0 @",
    "LTRIM l# 0 50",
    "BLPOP l# l# 0.01",
    "BLMOVE l# l# RIGHT LEFT 0.01",
    "SADD s# @ @ word@",
    "SREM s# @",
    "SPOP s#",
    "SPOP s# 3",
    "SMOVE s# s# @",
    "SUNIONSTORE s# s# s#",
    "SDIFFSTORE s# s# s#",
    "ZADD z# @ m@ -1.5 m@",
    "ZADD z# GT CH @ m@",
    "ZINCRBY z# 0.1 m@",
    "ZPOPMIN z#",
    "ZPOPMAX z# 2",
    "BZPOPMIN z# 0.01",
    "ZREMRANGEBYRANK z# 5 -1",
    "ZRANGESTORE z# z# 0 3",
    "ZUNIONSTORE z# 2 z# z# WEIGHTS 2 0.3",
    "GEOADD g# 13.3 38.1 m@ @ 1 n@",
    "GEOSEARCHSTORE g# g# FROMLONLAT 13 38 BYRADIUS 900 km",
    "HSET h# f@ @ g@ @",
    "HSETNX h# f@ @",
    "HINCRBY h# c @",
    "HINCRBYFLOAT h# d 0.1",
    "HDEL h# f@ f@",
    "HPEXPIRE h# % FIELDS 2 f@ f@",
    "HPEXPIRE h# ! FIELDS 1 f@",
    "HPEXPIREAT h# 4102444800000 FIELDS 1 f@",
    "HEXPIRE h# 90000 NX FIELDS 1 f@",
    "HPEXPIRE h# 0 FIELDS 1 f@",
    "HPERSIST h# FIELDS 2 f@ f@",
    "HSETEX h# PX % FIELDS 1 f@ v",
    "HSETEX h# FNX EX 90000 FIELDS 1 f@ v",
    "HGETEX h# PX % FIELDS 1 f@",
    "HGETDEL h# FIELDS 1 f@",
    "XADD x# * f @",
    "XADD x# MAXLEN ~ 9 * f @ g @",
    "XADD y# ?-0 f @",
    "XADD y# ?-0 f @",
    "XADD y# MINID ?-0 ?-0 f @",
    "XDEL y# ?-0",
    "XTRIM y# MAXLEN 30",
    "XSETID y# ?-9",
    "XGROUP CREATE x# g 0 MKSTREAM",
    "XGROUP CREATE y# g $ MKSTREAM",
    "XGROUP CREATE y# g2 ?-0 ENTRIESREAD 3",
    "XGROUP SETID y# g ?-0",
    "XGROUP CREATECONSUMER y# g made@",
    "XGROUP DELCONSUMER y# g made@",
    "XGROUP DELCONSUMER y# g c@",
    "XGROUP DESTROY y# g2",
    "XREADGROUP GROUP g c1 COUNT 2 STREAMS x# >",
    "XREADGROUP GROUP g c@ COUNT 3 STREAMS y# >",
    "XREADGROUP GROUP g c@ COUNT 3 NOACK STREAMS y# >",
    "XREADGROUP GROUP g c1 STREAMS y# 0",
    "XACK y# g ?-0 ?-0 ?-0",
    "XACKDEL y# g DELREF IDS 1 ?-0",
    "XDELEX y# ACKED IDS 1 ?-0",
    "XCLAIM y# g c2 0 ?-0 ?-0",
    "XCLAIM y# g c3 0 ?-0 TIME 5 RETRYCOUNT 9 FORCE",
    "XCLAIM y# g c2 0 ?-0 IDLE 900 JUSTID",
    "XAUTOCLAIM y# g c4 0 0 COUNT 2",
    "XAUTOCLAIM x# g c4 0 0 COUNT 2 JUSTID",
    "PEXPIRE k# %",
    "PEXPIRE h# %",
    "PEXPIRE l# %",
    "PEXPIRE y# %",
    "PEXPIRE z# ! XX",
    "EXPIRE s# 90000",
    "PEXPIREAT n# 4102444800000",
    "EXPIREAT k# 1",
    "PERSIST h#",
    "DEL z# z#",
    "UNLINK s# y#",
    "RENAME k# k#",
    "RENAME y# y#",
    "RENAMENX h# h#",
    "COPY h# h# REPLACE",
    "COPY y# y# DB 1 REPLACE",
    "COPY k# k# DB 2",
    "MOVE k# 2",
    "MOVE h# 1",
    "SORT l# ALPHA STORE l#",
    "SORT s# BY nosort GET # STORE l#",
    "SET h# clobbered",
    "PUBLISH c @",
    "SPUBLISH c @",
    "PING",
    "SCRIPT FLUSH",
    "FCALL f# 1 n#",
    "FCALL keep 2 k# k#",
];

/// What comes seldom, or there would be little to compare.
const RARE: &[&str] = &[
    "SWAPDB 0 1",
    "SWAPDB 1 2",
    "SWAPDB 0 3",
    "FLUSHDB",
    "FLUSHDB ASYNC",
    "FUNCTION FLUSH",
    "FUNCTION DELETE lib#",
    "FLUSHALL",
];

/// Scripts, with the arguments that are keys first. Those that end with an error have written before.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "for i = 1, 5 do redis.call('INCRBY', KEYS[1], i); redis.call('SADD', KEYS[2], redis.call('TIME')[2]) end",
        "2 n# s#",
    ),
    ("math.randomseed(ARGV[1]); for i = 1, 7 do redis.call('RPUSH', KEYS[1], math.random(9)) end", "1 l# @"),
    ("for _, m in ipairs(redis.call('SPOP', KEYS[1], 2)) do redis.call('ZADD', KEYS[2], 1, m) end", "2 s# z#"),
    ("redis.call('SELECT', ARGV[1]); redis.call('SET', KEYS[1], ARGV[2]); redis.call('INCR', KEYS[2])", "2 k# n# 2 @"),
    (
        "redis.call('SET', KEYS[1], 'before'); redis.call('LPUSH', KEYS[1], 1); redis.call('SET', KEYS[1], 'never')",
        "1 k#",
    ),
    (
        "redis.call('PEXPIRE', KEYS[1], ARGV[1]); redis.pcall('INCR', KEYS[2]); return redis.call('DEL', KEYS[3])",
        "3 k# h# z# %",
    ),
    // Bytes of every value, which a test that writes text could not send.
    (
        "local d = redis.call('DUMP', KEYS[1]); if d then redis.call('RESTORE', KEYS[2], ARGV[1], d, 'REPLACE') end",
        "2 h# h# !",
    ),
    (
        "local d = redis.call('DUMP', KEYS[1]); if d then redis.call('RESTORE', KEYS[2], ARGV[1], d, 'REPLACE') end",
        "2 y# y# %",
    ),
    ("local d = redis.call('DUMP', KEYS[1]); if d then redis.call('RESTORE', KEYS[2], 0, d, 'REPLACE') end", "2 z# z#"),
    ("redis.call('SET', KEYS[1], string.char(0, 13, 10, 255) .. ARGV[1] .. '\\r\\n*3\\r\\n')", "1 b# @"),
    ("redis.call('XADD', KEYS[1], '*', 'at', redis.call('TIME')[1]); return redis.call('XLEN', KEYS[1])", "1 x#"),
    ("return redis.call('GET', KEYS[1])", "1 k#"),
];

/// Waiting clients, and what another does for them.
const WAITERS: &[(&str, &str)] = &[
    ("BLPOP q# 1", "RPUSH q# @ @"),
    ("BLMOVE q# l1 LEFT RIGHT 1", "LPUSH q# @"),
    ("BZPOPMAX r# 1", "ZADD r# 1 m@"),
    ("XREADGROUP GROUP g w BLOCK 1000 COUNT 5 STREAMS w1 >", "XADD w1 * f @"),
];

/// Somebody who works on a server.
pub struct Worker<'a> {
    redis: &'a Redis,
    dice: Dice,
    /// The newest entry of the streams whose entries are numbered.
    entry: usize,
    /// Whether times to live may be short.
    pub short: bool,
}

fn owned(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

impl<'a> Worker<'a> {
    pub fn new(redis: &'a Redis, dice: Dice) -> Self {
        Self { redis, dice, entry: 10, short: false }
    }

    fn filled(&mut self, template: &str) -> Vec<String> {
        let number = |word: &str, dice: &mut Dice, entry: &mut usize, short: bool| match word {
            "#" => "#".to_owned(),
            "%" if short => (1 + dice.below(400)).to_string(),
            "%" | "!" => (90_000_000 + dice.below(1000)).to_string(),
            word if word.starts_with('?') => {
                *entry += usize::from(dice.below(3) == 0);
                word.replace('?', &(*entry - dice.below(8)).to_string())
            }
            word => word.replace('#', KEYS[dice.below(KEYS.len())]).replace('@', &dice.below(40).to_string()),
        };
        template.split(' ').map(|word| number(word, &mut self.dice, &mut self.entry, self.short)).collect()
    }

    fn command(&mut self) -> Vec<String> {
        let from = if self.dice.below(60) == 0 { RARE } else { COMMANDS };
        let template = from[self.dice.below(from.len())];
        self.filled(template)
    }

    fn script(&mut self) -> Vec<String> {
        let (script, rest) = SCRIPTS[self.dice.below(SCRIPTS.len())];
        [vec!["EVAL".to_owned(), script.to_owned()], self.filled(rest)].concat()
    }

    /// A library, or another in its place.
    fn library(&mut self) -> Vec<String> {
        let n = self.dice.below(3);
        let code = format!(
            "#!lua name=lib{n}\nlocal function f(keys) return redis.call('INCRBY', keys[1], {}) end\n\
             redis.register_function('f{n}', f)\nredis.register_function{{function_name='g{n}', callback=f, flags={{'no-writes'}}}}\n\
             {}",
            self.dice.below(9),
            if n == 0 {
                "redis.register_function('keep', function(k) for i = 1, 3 do redis.call('APPEND', k[1], i); redis.call('COPY', k[1], k[2], 'REPLACE') end end)"
            } else {
                ""
            }
        );
        ["FUNCTION", "LOAD", "REPLACE", &code].map(str::to_owned).into()
    }

    fn transaction(&mut self) -> Vec<Vec<String>> {
        let mut all = vec![owned("MULTI")];
        for _ in 0..1 + self.dice.below(9) {
            let next = match self.dice.below(12) {
                0 => owned(&format!("SELECT {}", self.dice.below(4))),
                1 => self.script(),
                2 => self.library(),
                _ => self.command(),
            };
            all.push(next);
        }
        all.push(owned(if self.dice.below(10) == 0 { "DISCARD" } else { "EXEC" }));
        if self.dice.below(4) == 0 {
            let key = format!("n{}", self.dice.below(5));
            all.insert(0, owned(&format!("WATCH {key}")));
            if self.dice.below(2) == 0 {
                all.insert(1, owned(&format!("INCR {key}")));
            }
        }
        all
    }

    /// A client that waits until another writes.
    fn waiter(&mut self, db: usize) {
        let (waits, writes) = WAITERS[self.dice.below(WAITERS.len())];
        let key = self.dice.below(2).to_string();
        let on = |template: &str, dice: &mut Dice| {
            let words = template.replace('#', &key).replace('@', &dice.below(40).to_string());
            vec![owned(&format!("SELECT {db}")), owned("XGROUP CREATE w1 g $ MKSTREAM"), owned(&words)]
        };
        let (waits, writes) = (on(waits, &mut self.dice), on(writes, &mut self.dice));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| self.redis.try_all(&waits).unwrap());
            wait("a client to wait, or to have been served", Duration::from_secs(30), || {
                (waiter.is_finished() || self.redis.info("blocked_clients") != "0").then_some(())
            });
            self.redis.try_all(&writes).unwrap();
        });
    }

    /// One piece of work, on a connection of its own.
    pub fn piece(&mut self) {
        let db = self.dice.below(4);
        let mut all = vec![owned(&format!("SELECT {db}"))];
        match self.dice.below(16) {
            0..3 => all.extend(self.transaction()),
            3..5 => all.push(self.script()),
            5 => all.push(self.library()),
            6 if self.dice.below(3) == 0 => return self.waiter(db),
            7 if self.dice.below(4) == 0 => {
                // Longer than what is read at a time.
                let value = "0123456789\r\n".repeat(1000 + self.dice.below(20_000));
                all.push(vec!["SET".to_owned(), format!("k{}", self.dice.below(5)), value]);
            }
            8 if self.dice.below(4) == 0 => {
                let many = (0..600).flat_map(|n| [format!("f{n}"), n.to_string()]);
                all.push([owned(&format!("HSET h{}", self.dice.below(5))), many.collect()].concat());
            }
            _ => {
                for _ in 0..1 + self.dice.below(12) {
                    let command = self.command();
                    all.push(command);
                }
            }
        }
        self.redis.try_all(&all).unwrap();
    }
}
