//! A folded stream leaves a server with what the stream itself leaves it with, on every engine: random commands of all types, for few keys
//! in two databases, in transactions and out of them, cut into random pieces.

use crate::support::{Dice, MATRIX, Redis, Reply};
use tair_backup_mcp::redis::master::fold::Fold;
use tair_backup_mcp::redis::resp::encode;

/// Commands whose effect does not depend on chance or on the time, `#` standing for the number of a key and `@` for a number. What fails
/// does so both times.
const COMMANDS: &[&str] = &[
    "SET k# @",
    "SET k# @",
    "SET k# @ PXAT 4102444800000",
    "SET k# @ KEEPTTL",
    "SET k# @ NX",
    "SETEX k# 90000 @",
    "APPEND k# @",
    "SETRANGE k# 7 @",
    "GETDEL k#",
    "PEXPIREAT k# 4102444800000",
    "PERSIST k#",
    "MSET k# @ k# @",
    "RENAME k# k#",
    "INCR n#",
    "INCR n#",
    "INCRBY n# @",
    "DECRBY n# @",
    "DEL n#",
    "SETBIT b# @ 1",
    "BITFIELD b# SET u8 @ @",
    "BITOP XOR b# b# b#",
    "PFADD p# @ @ @",
    "RPUSH l# @ @",
    "RPUSH l# @",
    "LPUSH l# @",
    "LPUSH l# @ @ @",
    "LPOP l#",
    "LTRIM l# 0 30",
    "LREM l# 0 @",
    "LSET l# 0 @",
    "LMOVE l# l# LEFT RIGHT",
    "DEL l#",
    "SADD s# @ @",
    "SADD s# word@",
    "SREM s# @",
    "SREM s# @ @",
    "SMOVE s# s# @",
    "SUNIONSTORE s# s# s#",
    "ZADD z# @ m@ -1.5 m@",
    "ZADD z# @ m@",
    "ZADD z# GT CH @ m@",
    "ZADD z# inf m@",
    "ZINCRBY z# 0.5 m@",
    "ZREM z# m@ m@",
    "ZPOPMIN z#",
    "ZREMRANGEBYRANK z# 20 -1",
    "UNLINK z#",
    "HSET h# f@ @ g@ @",
    "HSET h# f@ @",
    "HMSET h# f@ @",
    "HSETNX h# f@ @",
    "HINCRBY h# c @",
    "HDEL h# f@ f@",
    "HDEL h# f@",
    "HPEXPIREAT h# 4102444800000 FIELDS 1 f@",
    "HPERSIST h# FIELDS 1 f@",
    "DEL h#",
    "DEL k# l#",
    "XADD x# MAXLEN 9 *-* f @",
    "XTRIM x# MAXLEN 3",
    "XDEL x# 5-0",
    "COPY h# h# REPLACE",
    "SORT l# ALPHA STORE l#",
    "EVAL return(redis.call('APPEND',KEYS[1],ARGV[1])) 1 k# @",
];

/// What is not folded comes seldom, or nothing would be.
fn command(known: &[&str], dice: &mut Dice, entry: &mut u64) -> Vec<String> {
    let template = known[dice.below(known.len())];
    let many = ["MSET", "RENAME", "BITOP", "LMOVE", "SMOVE", "SUNIONSTORE", "DEL k# l#", "COPY", "SORT", "EVAL"];
    if dice.below(4) > 0 && many.iter().any(|name| template.starts_with(name)) {
        return command(known, dice, entry);
    }
    *entry += 1;
    let mut word = |word: &str| {
        word.replace("*-*", &format!("{entry}-0"))
            .replace('#', &dice.below(3).to_string())
            .replace('@', &dice.below(40).to_string())
    };
    template.split(' ').map(&mut word).collect()
}

fn owned(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

/// The commands of a stream whose arguments are text without line ends.
fn commands(stream: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(stream).unwrap();
    let mut lines = text.split_terminator("\r\n");
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        let count: usize = line.strip_prefix('*').unwrap().parse().unwrap();
        all.push((0..count).map(|_| lines.nth(1).unwrap().to_owned()).collect());
    }
    all
}

/// How many commands are sent to either server.
const COMMANDS_SENT: usize = 6000;

#[test]
fn a_folded_stream_leaves_the_same_data() {
    let mut dice = Dice::new("a_folded_stream_leaves_the_same_data");
    for kind in MATRIX {
        // A server aborts a transaction in which there is a command that it does not know. No stream has one.
        let asked = Redis::start(kind, &[]);
        let knows = |template: &&&str| {
            let name = template.split(' ').next().unwrap();
            asked.try_run(&["COMMAND", "INFO", name]).unwrap() != Reply::List(vec![Reply::Nil])
        };
        let known: Vec<&str> = COMMANDS.iter().filter(knows).copied().collect();
        let (mut all, mut entry) = (vec![owned("SELECT 0")], 0);
        while all.len() < COMMANDS_SENT {
            match dice.below(60) {
                0 => all.push(owned(&format!("SELECT {}", dice.below(2)))),
                1 => all.push(owned(["SWAPDB 0 1", "FLUSHDB"][usize::from(dice.below(8) == 0)])),
                2..6 => {
                    all.push(owned("MULTI"));
                    all.extend((0..1 + dice.below(5)).map(|_| command(&known, &mut dice, &mut entry)));
                    all.push(owned("EXEC"));
                }
                _ => all.push(command(&known, &mut dice, &mut entry)),
            }
        }
        let mut stream = Vec::new();
        for words in &all {
            encode(&mut stream, &words.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
        let (mut fold, mut folded, mut left) = (Fold::default(), Vec::new(), &stream[..]);
        while !left.is_empty() {
            let (piece, rest) = left.split_at((1 + dice.below(5000)).min(left.len()));
            fold.feed(piece, &mut folded).unwrap();
            left = rest;
        }
        fold.finish(&mut folded);
        let folded = commands(&folded);
        assert!(folded.len() * 10 < all.len() * 9, "{kind}: {} of {} commands are left", folded.len(), all.len());
        let state = |sent: &[Vec<String>]| {
            let server = Redis::start(kind, &[]);
            server.try_all(sent).unwrap();
            server.run(&["DEBUG", "DIGEST"]).text()
        };
        assert_eq!(state(&folded), state(&all), "{kind}");
    }
}

/// A server chooses an encoding by how many elements a command has, and a set that it made large has another order. So no command has more
/// elements than a small key may.
#[test]
fn what_is_small_stays_small() {
    for kind in MATRIX {
        let sets = (0..40).map(|n| format!("SADD s a b c d e n{n}"));
        let boards = (0..400).map(|n| format!("ZADD z {n} m{}", n % 3));
        let fields = (0..400).map(|n| format!("HSET h f{} {n}", n % 3));
        // Before a small set of words has an order, its order is another in each server.
        let has_order = !["redis-6.2", "redis-7.0"].contains(&kind);
        let sorted = has_order.then(|| "SORT s BY w_* ALPHA LIMIT 0 3 STORE l".to_owned());
        let all: Vec<Vec<String>> = ["SELECT 0".to_owned()]
            .into_iter()
            .chain(sets)
            .chain(boards)
            .chain(fields)
            .chain(sorted)
            .map(|w| owned(&w))
            .collect();
        let mut stream = Vec::new();
        for words in &all {
            encode(&mut stream, &words.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
        let (mut fold, mut folded) = (Fold::default(), Vec::new());
        fold.feed(&stream, &mut folded).unwrap();
        fold.finish(&mut folded);
        let folded = commands(&folded);
        assert!(folded.len() < 30, "{kind}: {}", folded.len());
        let state = |sent: &[Vec<String>]| {
            let server = Redis::start(kind, &[]);
            server.try_all(sent).unwrap();
            let encodings = ["s", "z", "h"].map(|key| server.run(&["OBJECT", "ENCODING", key]).text());
            (server.run(&["LRANGE", "l", "0", "-1"]).text(), encodings, server.run(&["DEBUG", "DIGEST"]).text())
        };
        assert_eq!(state(&folded), state(&all), "{kind}");
    }
}
