//! Proves that the RDB walker finds in a snapshot exactly what a real server put there, that values it forwards are the
//! bytes DUMP gives, that damage anywhere is reported, and that no input makes it panic or read past the end.

use crate::redis::fixture::KIND;
use crate::redis::values::{Item, entry, intset, listpack, packed, rdb, stream, string, ziplist};
use crate::support::{Redis, program};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Command;
use tair_backup_mcp::redis::rdb::compat::{Flavor, Modules, Server, loadable};
use tair_backup_mcp::redis::rdb::error::RdbError;
use tair_backup_mcp::redis::rdb::statistics::{Checksum, Dialect};
use tair_backup_mcp::redis::rdb::unique::Unique;
use tair_backup_mcp::redis::rdb::{EntryHead, Visitor, Walked, walk, walk_unique};
use tair_backup_mcp::redis::resp::Value;

fn start() -> Redis {
    Redis::start(KIND, &["--lua-time-limit", "60000", "--list-max-listpack-size", "16"])
}

fn lua(server: &Redis, db: u64, script: &str) {
    assert_eq!(server.run_in(db, &["EVAL", script, "0"]).text(), "done");
}

fn save(server: &Redis) -> (PathBuf, Vec<u8>) {
    server.run(&["SAVE"]);
    let path = server.dir.path().join("dump.rdb");
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

/// A little of every type: one key each where the encoding is compact.
const SMALL: &str = "
    redis.call('SET', 'text', 'hello'); redis.call('SET', 'int8', 7); redis.call('SET', 'int16', -3000)
    redis.call('SET', 'int32', 1234567); redis.call('SET', 'int64', 123456789012)
    redis.call('SET', 'lzf', string.rep('compress me ', 20)); redis.call('SET', string.rep('key ', 30), 'lzf key')
    redis.call('SET', '12345', 'int key'); redis.call('SET', 'expires', 1, 'PXAT', 4102444800123)
    redis.call('SET', 'bin\\255\\1\\200', '\\0\\255'); redis.call('SET', '', 'empty key')
    redis.call('RPUSH', 'list', 'a', 'b', 3); redis.call('SADD', 'intset', 1, 2, 300000)
    redis.call('SADD', 'set', 'x', 'y')
    redis.call('ZADD', 'zset', 1, 'a', 2.5, 'b', '-inf', 'c'); redis.call('HSET', 'hash', 'f', 'v', 'g', 2)
    redis.call('XADD', 'stream', '1-1', 'f', 'v'); redis.call('XADD', 'stream', '2-1', 'f', 'w')
    redis.call('XGROUP', 'CREATE', 'stream', 'g', '0'); redis.call('XGROUP', 'CREATE', 'stream', 'idle', '$')
    redis.call('XREADGROUP', 'GROUP', 'g', 'c1', 'COUNT', 1, 'STREAMS', 'stream', '>')
    redis.call('XGROUP', 'CREATECONSUMER', 'stream', 'g', 'c2')
    return 'done'";

/// The large encodings, and strings longer than any buffer.
const LARGE: &str = "
    local function noise(n) local t = {} local x = 1
        for i = 1, n do x = (x * 1103515245 + 12345) % 2147483648 t[i] = string.char(math.floor(x / 65536) % 256) end
        return table.concat(t) end
    for i = 1, 600 do
        redis.call('RPUSH', 'l', 'item ' .. i); redis.call('SADD', 's', 'member ' .. i); redis.call('SADD', 'is', i * 7)
        redis.call('ZADD', 'z', i / 7, 'member ' .. i); redis.call('HSET', 'h', 'field ' .. i, i)
        redis.call('XADD', 'x', i .. '-0', 'n', i, 'text', string.rep('t', i))
    end
    redis.call('XDEL', 'x', '5-0'); redis.call('XGROUP', 'CREATE', 'x', 'g', '0')
    redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 300, 'STREAMS', 'x', '>'); redis.call('XACK', 'x', 'g', '7-0')
    redis.call('SET', 'noise', noise(3000000)); redis.call('SET', 'zeros', string.rep('0', 5000000))
    redis.call('SET', noise(300000), 'long key'); redis.call('SET', string.rep('k', 400000), 'long lzf key')
    redis.call('RPUSH', 'big elements', noise(400000), 'x', noise(20000))
    redis.call('HSET', 'big hash', 'f', noise(700000))
    redis.call('SETEX', 'ttl', 100000, 1); redis.call('EXPIRE', 'h', 100000)
    return 'done'";

const LIBRARY: &str =
    "#!lua name=lib\nredis.register_function('f', function() return 'fffffffffffffffffffffffffffff' end)";

fn filled() -> Redis {
    let server = start();
    lua(&server, 0, SMALL);
    lua(&server, 3, LARGE);
    lua(&server, 11, "redis.call('SET', 'lonely', 1) return 'done'");
    assert_eq!(server.run(&["FUNCTION", "LOAD", LIBRARY]).text(), "lib");
    server
}

/// A small dump with every type, for exhaustive damage.
fn small() -> Vec<u8> {
    let server = start();
    lua(&server, 0, SMALL);
    lua(&server, 2, "redis.call('SET', 'second', 1) return 'done'");
    assert_eq!(server.run(&["FUNCTION", "LOAD", LIBRARY]).text(), "lib");
    save(&server).1
}

#[derive(Debug, PartialEq)]
struct Entry {
    db: u64,
    key: Vec<u8>,
    type_byte: u8,
    expiry_ms: Option<i64>,
    idle: Option<u64>,
    freq: Option<u8>,
    value: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
struct Collect {
    entries: Vec<Entry>,
    ended: usize,
    functions: Vec<Vec<u8>>,
}

impl Visitor for Collect {
    const WANTS_VALUES: bool = true;
    const WANTS_KEYS: bool = true;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        let EntryHead { db, key, type_byte, expiry_ms, idle, freq, .. } = *head;
        self.entries.push(Entry { db, key: key.to_vec(), type_byte, expiry_ms, idle, freq, value: Vec::new() });
        Ok(())
    }

    fn value(&mut self, piece: &[u8]) -> io::Result<()> {
        self.entries.last_mut().unwrap().value.extend_from_slice(piece);
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        self.ended += 1;
        Ok(())
    }

    fn function(&mut self, code: &[u8]) -> io::Result<()> {
        self.functions.push(code.to_vec());
        Ok(())
    }
}

/// CRC-64 as Redis has it, bit by bit: slow, and not the code under test.
pub fn crc64(bytes: &[u8]) -> u64 {
    let table: Vec<u64> = (0..256u64)
        .map(|i| (0..8).fold(i, |c, _| if c & 1 == 1 { c >> 1 ^ 0x95AC_9329_AC4B_C9B5 } else { c >> 1 }))
        .collect();
    bytes.iter().fold(0, |c, b| table[((c ^ u64::from(*b)) & 0xff) as usize] ^ c >> 8)
}

fn sealed(mut rdb: Vec<u8>) -> Vec<u8> {
    rdb.push(255);
    let crc = crc64(&rdb);
    rdb.extend(crc.to_le_bytes());
    rdb
}

/// Hands out at most `step` bytes a read, and fails the test when asked for more than there is.
struct Drip<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        assert!(!self.bytes.is_empty(), "asked for bytes behind the end: a silent peer would hang the walk");
        let n = self.step.min(buf.len()).min(self.bytes.len());
        buf[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

#[tokio::test]
async fn the_statistics_are_what_the_server_says_and_values_are_what_dump_gives() {
    let server = filled();
    let (path, bytes) = save(&server);
    let mut tapped = Vec::new();
    let tap = |b: &[u8]| tapped.write_all(b);
    let Walked { statistics, rest, visitor, .. } =
        walk(std::fs::File::open(path).unwrap(), tap, Collect::default()).unwrap();
    assert!(tapped == bytes, "the tap saw other bytes");
    assert!(rest.is_empty());
    assert_eq!(
        (statistics.dialect, statistics.rdb_version, statistics.checksum),
        (Dialect::Redis, 10, Checksum::Verified)
    );
    assert_eq!((statistics.bytes, statistics.crc64), (bytes.len() as u64, crc64(&bytes[..bytes.len() - 8])));
    assert!(statistics.aux("redis-ver").is_some_and(|v| v.starts_with('7')) && statistics.aux("ctime").is_some());
    assert_eq!((statistics.functions, visitor.functions), (1, vec![LIBRARY.as_bytes().to_vec()]));
    assert_eq!(statistics.databases_needed(), 12);
    let target = |major| Server { flavor: Flavor::Redis, major, minor: 2 };
    assert_eq!(loadable(&statistics, target(7), &Modules::default()), Ok(()));
    let why = loadable(&statistics, target(6), &Modules::default()).unwrap_err();
    assert!(why.contains("version 10") && why.contains("written by Redis 7") && why.contains("Redis 6.2"), "{why}");

    let keyspace = server.run(&["INFO", "keyspace"]).text();
    for count in &statistics.dbs {
        let line = format!("db{}:keys={},expires={},", count.db, count.keys, count.expires);
        assert!(keyspace.contains(&line), "{line} not in {keyspace}");
    }
    assert_eq!(keyspace.matches("keys=").count(), statistics.dbs.len());
    assert_eq!(statistics.types.keys().copied().collect::<Vec<_>>(), [0, 2, 4, 5, 11, 16, 17, 18, 19]);
    assert_eq!(statistics.largest_value, visitor.entries.iter().map(|e| e.value.len() as u64).max().unwrap());
    assert_eq!((statistics.keys() as usize, visitor.ended), (visitor.entries.len(), visitor.entries.len()));

    let mut conn = server.conn().await;
    for entry in &visitor.entries {
        let mut payload = vec![entry.type_byte];
        payload.extend(&entry.value);
        payload.extend(statistics.rdb_version.to_le_bytes());
        payload.extend(crc64(&payload).to_le_bytes());
        conn.cmd_str(&["SELECT", &entry.db.to_string()]).await.unwrap();
        let dumped = conn.cmd(&[b"DUMP", &entry.key]).await.unwrap();
        assert!(dumped == Value::Bulk(payload), "{} differs from its DUMP", String::from_utf8_lossy(&entry.key));
    }
    let long: Vec<usize> = visitor.entries.iter().map(|e| e.key.len()).filter(|n| *n > 100_000).collect();
    assert!(long.len() == 2 && long.contains(&300_000) && long.contains(&400_000), "{long:?}");
    let expires = visitor.entries.iter().find(|e| e.key == b"expires").unwrap();
    assert_eq!(expires.expiry_ms, Some(4_102_444_800_123));
}

#[test]
fn usage_hints_are_read() {
    let server = start();
    for (policy, value) in [("allkeys-lfu", "freq"), ("allkeys-lru", "idle")] {
        server.run(&["CONFIG", "SET", "maxmemory-policy", policy]);
        server.run(&["SET", "key", "value"]);
        let (_, bytes) = save(&server);
        let walked = walk(&bytes[..], (), Collect::default()).unwrap();
        let entry = &walked.visitor.entries[0];
        assert_eq!((entry.freq.is_some(), entry.idle.is_some()), (value == "freq", value == "idle"), "{policy}");
    }
}

#[test]
fn reads_of_any_size_give_the_same_and_never_pass_the_end() {
    let server = filled();
    let (_, bytes) = save(&server);
    let whole = walk(&bytes[..], (), Collect::default()).unwrap();
    for step in [1, 2, 7, 4096, 262_143, usize::MAX] {
        let dripped = walk(Drip { bytes: &bytes, step }, (), Collect::default()).unwrap();
        assert!(dripped.statistics == whole.statistics && dripped.visitor == whole.visitor, "reads of {step}");
        let blind = walk(Drip { bytes: &bytes, step }, (), ()).unwrap();
        assert!(blind.statistics == whole.statistics, "reads of {step}, nothing wanted");
    }
    // Bytes behind the RDB that came in the same read are given back.
    let mark = [b'm'; 40];
    let framed = [&bytes[..], &mark].concat();
    let walked = walk(Drip { bytes: &framed, step: 100_000 }, (), ()).unwrap();
    assert_eq!([&walked.rest[..], walked.src.bytes].concat(), mark);
}

#[test]
fn every_truncation_and_every_changed_byte_is_found() {
    let good = small();
    let statistics = walk(&good[..], (), Collect::default()).unwrap().statistics;
    for length in 0..good.len() {
        match walk(&good[..length], (), Collect::default()) {
            Err(RdbError::Truncated { offset }) => assert_eq!(offset, length as u64),
            other => panic!("cut to {length}: {:?}", other.map(|w| w.statistics)),
        }
    }
    for at in 0..good.len() {
        for flip in [0xff, 1, 2, 16, 64, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(
                walk(&bad[..], (), Collect::default()).is_err(),
                "byte {at} of {} changed by {flip:#x}",
                good.len()
            );
        }
    }
    // With the checksum switched off nothing vouches for the contents, and the statistics says so.
    let mut unsummed = good.clone();
    let trailer = unsummed.len() - 8;
    unsummed[trailer..].fill(0);
    let found = walk(&unsummed[..], (), ()).unwrap().statistics;
    assert_eq!((found.checksum, found.crc64), (Checksum::Absent, statistics.crc64));
}

#[test]
fn no_bytes_make_it_panic() {
    let seed = std::env::var("RDB_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("RDB_FUZZ_SEED={seed}");
    let mut state = seed;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = state;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ x >> 31) % below as u64) as usize
    };
    let good = small();
    let heads: [&[u8]; 5] = [b"REDIS0009", b"REDIS0012", b"REDIS0014", b"VALKEY080", b""];
    for round in 0..20_000 {
        let mut bytes;
        if round % 2 == 0 {
            bytes = heads[random(heads.len())].to_vec();
            for _ in 0..random(400) {
                // Small numbers and opcodes are likelier than noise to lead somewhere.
                let byte = match random(4) {
                    0 => random(32),
                    1 => 242 + random(14),
                    2 => 0x80 + random(2),
                    _ => random(256),
                };
                bytes.push(byte as u8);
            }
        } else {
            bytes = good.clone();
            for _ in 0..=random(6) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
        }
        let wanted = walk(&bytes[..], (), Collect::default()).map(|w| w.statistics).ok();
        let blind = walk(Drip { bytes: &bytes, step: 1 + random(64) }.take(bytes.len() as u64), (), ())
            .map(|w| w.statistics)
            .ok();
        // The blind walk checks less (it decodes no strings) but never contradicts.
        assert!(wanted.is_none() || wanted == blind, "round {round}");
    }
}

/// An encoded container of these items.
fn blob(of: fn(&[Item]) -> Vec<u8>, items: &[&str]) -> Vec<u8> {
    string(&of(&items.iter().map(|text| Item::from(*text)).collect::<Vec<_>>()))
}

/// Types that this machine's server no longer or not yet writes, built by hand from the servers' sources.
fn by_hand(magic: &str, types: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut rdb = magic.as_bytes().to_vec();
    rdb.extend([254, 0]);
    for (type_byte, value) in types {
        rdb.push(*type_byte);
        rdb.extend(string(format!("key {type_byte}").as_bytes()));
        rdb.extend(value);
    }
    rdb
}

fn check_types(magic: &str, types: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let rdb = sealed(by_hand(magic, types));
    let walked = walk(Drip { bytes: &rdb, step: 3 }, (), Collect::default()).unwrap();
    let expected: Vec<_> = types.iter().map(|(t, v)| (*t, v.clone())).collect();
    let found: Vec<_> = walked.visitor.entries.into_iter().map(|e| (e.type_byte, e.value)).collect();
    assert_eq!(found, expected);
    assert_eq!(walked.statistics.types, types.iter().map(|(t, _)| (*t, 1)).collect::<BTreeMap<_, _>>());
    rdb
}

fn module(parts: &[u8]) -> Vec<u8> {
    let id = b"vectorset".iter().fold(0u64, |id, c| id << 6 | u64::from(c - b'a' + 26)) << 10 | 1;
    [&[0x81][..], &id.to_be_bytes(), parts].concat()
}

#[test]
fn types_of_older_servers_are_walked_and_accepted_by_redis_check_rdb() {
    let intset = string(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0]);
    let types = [
        (1, [&[2][..], &string(b"a"), &string(b"b")].concat()),
        (2, [&[1][..], &string(b"a")].concat()),
        (3, [&[3][..], &string(b"a"), &string(b"1.5"), &string(b"b"), &[254], &string(b"c"), &[255]].concat()),
        (4, [&[1][..], &string(b"f"), &[0xc1, 5, 1]].concat()),
        (5, [&[1][..], &string(b"a"), &1.5f64.to_le_bytes()].concat()),
        (9, string(&[1, 1, b'f', 1, 0, b'v', 0xff])),
        (10, blob(ziplist, &["a", "b"])),
        (11, intset),
        (13, blob(ziplist, &["a", "b"])),
        (14, [&[1][..], &blob(ziplist, &["a"])].concat()),
    ];
    let rdb = check_types("REDIS0009", &types);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rdb).unwrap();
    let checked = Command::new(program(KIND, "check-rdb")).arg(file.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    check_types("REDIS0009", &[(12, blob(ziplist, &["a", "1.5"])), (15, stream(1, 5, string))]);
}

#[test]
fn types_of_newer_servers_are_walked_in_their_dialect_and_refused_in_others() {
    let expiring = [&[7, 7, 7, 7, 0, 0, 0, 0][..], &[1, 1], &string(b"f"), &string(b"v")].concat();
    let redis = [
        (7, module(&[1, 5, 2, 0x80, 0, 0, 1, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, b'x', 0])),
        (16, blob(listpack, &["f", "v"])),
        (18, [&[2, 1][..], &string(b"plain"), &[2], &blob(listpack, &["packed"])].concat()),
        (19, stream(2, 5, string)),
        (20, blob(listpack, &["x"])),
        (21, stream(3, 5, string)),
        (24, expiring),
        (25, [&[7, 7, 7, 7, 0, 0, 0, 0][..], &string(&listpack(&["f".into(), "v".into(), 7.into()]))].concat()),
        (26, stream(4, 5, string)),
        (27, stream(5, 5, string)),
    ];
    check_types("REDIS0014", &redis);
    let valkey = (22, [&[1][..], &string(b"f"), &string(b"v"), &[0xff; 8]].concat());
    check_types("VALKEY080", std::slice::from_ref(&valkey));

    let too_old =
        [("REDIS0011", &redis[6]), ("REDIS0012", &redis[8]), ("REDIS0013", &redis[9]), ("REDIS0012", &valkey)];
    for (magic, one) in too_old.into_iter().chain([
        ("VALKEY080", &redis[6]),
        ("VALKEY080", &(23, vec![])),
        ("REDIS0015", &(30, vec![])),
    ]) {
        let rdb = sealed(by_hand(magic, std::slice::from_ref(one)));
        let refused = walk(&rdb[..], (), ());
        assert!(
            matches!(refused, Err(RdbError::UnsupportedType { type_byte, offset: 11, .. }) if type_byte == one.0),
            "{magic} {}",
            one.0
        );
    }
}

#[test]
fn opcodes_mean_what_their_dialect_says() {
    let key = [&[0][..], &string(b"k"), &string(b"v")].concat();
    let meta = [&[243, 1][..], &(0x0041_0820_u32 << 8 | 9).to_le_bytes(), &[2, 5, 0], &key].concat();
    let import = [&[243][..], &string(&[b'j'; 40]), &[1, 0, 3], &key].concat();
    let slot = [&[244, 1, 1, 0][..], &key].concat();
    let aux = [&[247][..], &module(&[2, 1, 5, 1, b'x', 0]), &key].concat();
    let cases = [
        ("REDIS0013", &meta, Some(243)),
        ("REDIS0012", &meta, None),
        ("VALKEY080", &import, Some(243)),
        ("REDIS0012", &slot, Some(244)),
        ("VALKEY080", &slot, Some(244)),
        ("REDIS0011", &slot, None),
        ("REDIS0009", &aux, Some(247)),
        ("REDIS0015", &[&[242][..], &key].concat(), None),
        ("VALKEY081", &[&[242][..], &key].concat(), None),
        ("REDIS0010", &[&[246][..], &key].concat(), None),
    ];
    for (magic, body, opcode) in cases {
        let rdb = sealed([magic.as_bytes(), body].concat());
        match (walk(&rdb[..], (), Collect::default()), opcode) {
            (Ok(walked), Some(opcode)) => {
                assert_eq!(walked.statistics.opcodes.into_iter().collect::<Vec<_>>(), [opcode], "{magic}");
                assert_eq!(walked.visitor.entries.len(), 1);
                if opcode == 247 {
                    assert_eq!(walked.statistics.modules, ["vectorset"]);
                }
            }
            (Err(RdbError::BadOpcode { offset: 9, .. }), None) => {}
            (other, _) => panic!("{magic} {body:?}: {:?}", other.map(|w| w.statistics)),
        }
    }
}

#[test]
fn headers_and_lying_lengths_are_refused_without_allocating() {
    let walked = |bytes: &[u8]| walk(bytes, (), Collect::default()).map(|w| w.statistics);
    assert!(matches!(walked(b"RADIS0009\xff"), Err(RdbError::BadMagic { .. })));
    assert!(matches!(walked(b"REDIS00a9\xff"), Err(RdbError::BadMagic { .. })));
    assert!(matches!(walked(b"REDIS0016\xff"), Err(RdbError::UnsupportedVersion { version: 16, .. })));
    assert!(matches!(walked(b"REDIS0080\xff"), Err(RdbError::UnsupportedVersion { version: 80, .. })));
    assert!(matches!(walked(b"VALKEY011\xff"), Err(RdbError::UnsupportedVersion { version: 11, .. })));
    assert!(matches!(walked(b"REDIS0009\x00\x82"), Err(RdbError::BadLength { byte: 0x82, offset: 10 })));
    // Versions before 5 end without a trailer.
    assert_eq!(walked(b"REDIS0003\xff").unwrap().checksum, Checksum::Absent);

    let huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for (body, what) in [
        ([&[0][..], &huge].concat(), "a key that does not end"),
        ([&[0, 1, b'k'][..], &huge].concat(), "a value that does not end"),
        ([&[4, 1, b'k'][..], &huge].concat(), "a hash that does not end"),
        (
            [&[0, 0xc3, 0x81, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x81, 0, 0, 0, 0, 0x20, 0, 0, 0][..]].concat(),
            "a compressed key",
        ),
        ([&[250][..], &huge].concat(), "an AUX field that does not end"),
    ] {
        let rdb = [&b"REDIS0010"[..], &body, &[0; 100]].concat();
        assert!(matches!(walked(&rdb), Err(RdbError::Truncated { .. })), "{what}");
    }
    for (type_byte, value) in
        [(16, string(&[9, 0, 0, 0, 1, 0, 0xff])), (10, string(&[0; 11])), (11, string(&[3, 0, 0, 0, 0, 0, 0, 0]))]
    {
        let rdb = sealed(by_hand("REDIS0010", &[(type_byte, value)]));
        assert!(matches!(walked(&rdb), Err(RdbError::Corrupt { .. })), "type {type_byte}");
    }
    // A sink that refuses is not damage.
    let rdb = sealed(by_hand("REDIS0010", &[(0, string(b"v"))]));
    let full = |_: &[u8]| Err(io::Error::other("disk full"));
    assert!(matches!(walk(&rdb[..], full, ()), Err(RdbError::Sink { .. })));
}

/// What is too large to be held streams, and the same rules hold there.
#[test]
fn containers_of_any_size_are_checked() {
    let large: Vec<Item> = ["x", "y"].iter().map(|c| Item::Text(c.repeat(700_000).into_bytes())).collect();
    let many: Vec<Item> = (0..300_000_i64).map(Item::Int).collect();
    let ascending: Vec<i64> = (0..100_000).collect();
    let twice: Vec<Item> = many.iter().chain(&[Item::Int(5)]).cloned().collect();
    let mut unsorted = ascending.clone();
    unsorted.swap(70_000, 70_001);
    for (what, type_byte, blob, good) in [
        ("a list of large elements", 10, ziplist(&large), true),
        ("a set of many", 20, listpack(&many), true),
        ("a set of many with one twice", 20, listpack(&twice), false),
        ("a set of numbers", 11, intset(8, &ascending), true),
        ("a set of numbers out of order", 11, intset(8, &unsorted), false),
    ] {
        for (form, value) in [("plain", string(&blob)), ("compressed", packed(&blob))] {
            let rdb = rdb("REDIS0011", &entry(type_byte, "k", &value), true);
            let mut unique = Unique::new(std::env::temp_dir());
            let walked = walk_unique(Drip { bytes: &rdb, step: 50_000 }, (), (), &mut unique).map(|w| w.statistics);
            let mut again = || {
                unique.needs_second_walk().unwrap()
                    && walk_unique(Drip { bytes: &rdb, step: 9999 }, (), (), &mut unique).is_err()
            };
            assert_eq!(walked.is_ok() && !again(), good, "{what}, {form}");
        }
        // Bytes that are no text's own.
        for at in [0, 4, 8, 9, blob.len() - 1].into_iter().filter(|_| good && type_byte != 11) {
            let mut hurt = blob.clone();
            hurt[at] ^= 0x80;
            let refused = |value: &[u8]| {
                let rdb = rdb("REDIS0011", &entry(type_byte, "k", value), false);
                walk(&rdb[..], (), ()).is_err()
            };
            assert!(refused(&string(&hurt)) && refused(&packed(&hurt)), "{what}: byte {at}");
        }
    }
}

/// What follows a type that is not known has no meaning, so it is the type that is named.
#[test]
fn an_unknown_type_is_named_before_its_key_is_read() {
    for magic in ["REDIS0010", "REDIS0015", "VALKEY080"] {
        let rdb = [magic.as_bytes(), &[99, 0x82, 0x82]].concat();
        let refused = walk(&rdb[..], (), Collect::default());
        assert!(matches!(refused, Err(RdbError::UnsupportedType { type_byte: 99, offset: 9, .. })), "{magic}");
    }
}

#[test]
fn the_highest_database_and_empty_containers_are_counted() {
    let key = entry(0, "k", &string(b"v"));
    let body = [&[254, 0x40, 100, 254, 0][..], &key, &entry(4, "h", &[0]), &entry(18, "l", &[0])].concat();
    let rdb = rdb("REDIS0010", &body, true);
    let walked = walk(&rdb[..], (), Collect::default()).unwrap();
    let found = walked.statistics;
    assert_eq!((found.highest_db, found.databases_needed(), found.empty_keys, found.keys()), (100, 101, 2, 1));
    assert_eq!((walked.visitor.entries.len(), walked.visitor.ended), (3, 1));
}
