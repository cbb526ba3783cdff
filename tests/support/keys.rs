//! What a server holds, key by key, as its own reading commands tell it; random work on it; and the naive difference of two such states.

use super::{Dice, Redis};
use std::collections::BTreeMap;
use tair_backup_mcp::model::impact::KeyCounts;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::resp::Value;

/// The databases that the work is done in.
const DBS: [&str; 2] = ["0", "3"];

/// Digest of the value, and when the key expires, by database and key.
pub type Held = BTreeMap<(u64, Vec<u8>), (String, i64)>;

fn on_a_connection<T>(redis: &Redis, work: impl AsyncFnOnce(Conn) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { work(redis.conn().await).await })
}

/// All keys that there are.
pub fn held(redis: &Redis) -> Held {
    on_a_connection(redis, async |mut conn| {
        let mut all = Held::new();
        for db in DBS {
            conn.cmd_str(&["SELECT", db]).await.unwrap();
            let Value::Array(keys) = conn.cmd_str(&["KEYS", "*"]).await.unwrap() else { panic!("no list") };
            for key in keys {
                let Value::Bulk(key) = key else { panic!("no key") };
                let digest = conn.cmd(&[b"DEBUG", b"DIGEST-VALUE", &key]).await.unwrap();
                let Some(Value::Simple(digest)) = digest.as_array().map(|all| all[0].clone()) else {
                    panic!("{digest:?}")
                };
                let expires = conn.cmd(&[b"PEXPIRETIME", &key]).await.unwrap().as_int().unwrap();
                all.insert((db.parse().unwrap(), key), (digest, expires));
            }
        }
        all
    })
}

/// What becomes of each key on the way from one state to another, counted: of all keys, and by database and what they begin with.
pub fn difference(now: &Held, then: &Held) -> (KeyCounts, BTreeMap<(u64, String), KeyCounts>) {
    let (mut total, mut rows) = (KeyCounts::default(), BTreeMap::<(u64, String), KeyCounts>::new());
    let keys: std::collections::BTreeSet<_> = now.keys().chain(then.keys()).collect();
    for key in keys {
        let prefix = String::from_utf8_lossy(&key.1).split_inclusive(':').next().unwrap_or_default().to_owned();
        for counts in [&mut total, rows.entry((key.0, prefix)).or_default()] {
            match (now.get(key), then.get(key)) {
                (Some(now), Some(then)) if now == then => counts.untouched += 1,
                (Some(_), Some(_)) => counts.changed += 1,
                (Some(_), None) => counts.lost += 1,
                (None, _) => counts.added += 1,
            }
        }
    }
    (total, rows)
}

/// A key of a small pool: what it begins with is plain, or what somebody would choose to break a table; one is 100 KB long.
fn key(dice: &mut Dice) -> Vec<u8> {
    let long = "l".repeat(100_000);
    let prefixes: [&[u8]; 8] =
        [b"user:", b"cart:", b"s:", b"a\nb:", b"\xff\x00\xfe:", b"x,y\":", "\u{202e}zi:".as_bytes(), long.as_bytes()];
    let n = dice.below(30).to_string();
    [prefixes[dice.below(prefixes.len())], n.as_bytes()].concat()
}

/// So many commands of every type on a few keys: some leave what a key holds as it was, and another form of it in memory.
pub fn work(redis: &Redis, dice: &mut Dice, commands: usize) {
    on_a_connection(redis, async |mut conn| {
        for _ in 0..commands {
            conn.cmd_str(&["SELECT", DBS[dice.below(DBS.len())]]).await.unwrap();
            let (key, n) = (key(dice), dice.below(40).to_string());
            let (n, more) = (n.as_bytes(), vec![b'v'; dice.below(90) + 1]);
            // Far off: nothing expires meanwhile.
            let expires = (90_000_000 + dice.below(900_000)).to_string();
            let all: [&[&[u8]]; 16] = [
                &[b"SET", &key, &more],
                &[b"SET", &key, n],
                &[b"APPEND", &key, n],
                &[b"RPUSH", &key, n, &more],
                &[b"LPOP", &key],
                &[b"SADD", &key, n, &more],
                &[b"SADD", &key, b"100", n],
                &[b"SREM", &key, b"100"],
                &[b"HSET", &key, n, &more],
                &[b"HDEL", &key, n],
                &[b"ZADD", &key, n, n],
                &[b"XADD", &key, b"*", n, &more],
                &[b"DEL", &key],
                &[b"PEXPIRE", &key, expires.as_bytes()],
                &[b"PERSIST", &key],
                &[b"UNLINK", &key],
            ];
            // A key of another type refuses it, which is fine.
            let _ = conn.cmd(all[dice.below(all.len())]).await;
        }
    });
}
