//! In bounds: memory whatever the number of keys, time by the deadline, and errors instead of panics.

use super::{compared, options};
use crate::redis::damage::hurt;
use crate::redis::values::{Random, entry, every, length, listpack, packed, rdb, string, ziplist};
use std::io::{self, Read};
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::model::impact::KeyCounts;
use tair_backup_mcp::redis::compare::error::{CompareError, Side};
use tair_backup_mcp::redis::compare::{Options, Sides, compare};

/// An RDB of many keys that is made while it is read, so that nobody holds it.
struct Many {
    keys: std::ops::Range<u64>,
    /// Every so many keys have another value.
    other: u64,
    ready: Vec<u8>,
    at: usize,
    ended: bool,
    /// What each read takes.
    delay: Duration,
}

impl Many {
    fn open(keys: std::ops::Range<u64>, other: u64, delay: Duration) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Self { keys, other, ready: b"REDIS0009".to_vec(), at: 0, ended: false, delay }))
    }
}

impl Read for Many {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(self.delay);
        if self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            for n in self.keys.by_ref().take(1000) {
                let value = if n % self.other == 0 { "other" } else { "value" };
                self.ready.extend(entry(0, &format!("user:{n}:session"), &string(value.as_bytes())));
            }
            if self.ready.is_empty() && !self.ended {
                self.ended = true;
                self.ready.extend([255, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
        let n = buf.len().min(self.ready.len() - self.at);
        buf[..n].copy_from_slice(&self.ready[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[test]
#[ignore = "run by memory_is_bounded, in a process of its own"]
fn compare_many() {
    let dir = tempfile::tempdir().unwrap();
    let keys = std::env::var("COMPARE_KEYS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let now = || Many::open(0..keys, 11, Duration::ZERO);
    let then = || Many::open(keys / 10..keys + keys / 10, 7, Duration::ZERO);
    let impact = compare(&Sides { now: &now, then: &then }, &options(dir.path())).unwrap();
    let both = keys / 10..keys;
    let changed = both.filter(|n| (n % 11 == 0) != (n % 7 == 0)).count() as u64;
    let tenth = keys / 10;
    let expected = KeyCounts { added: tenth, lost: tenth, changed, untouched: keys - tenth - changed, expired: 0 };
    assert_eq!((impact.total, impact.not_compared), (expected, None));
    assert_eq!((impact.rows.len(), impact.rows[0].counts), (1, expected));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    println!("peak {}", peak.trim());
}

/// Peak memory of a process that compares so many keys a side, in kB.
fn peak(keys: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "redis::compare::bounds::compare_many", "--ignored", "--nocapture"]);
    let done = child.env("COMPARE_KEYS", keys.to_string()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    out.lines().find_map(|l| l.split_once("peak ")?.1.strip_suffix(" kB")).unwrap().parse().unwrap()
}

/// Ten times as many keys leave 58 MB more of records, and none of these in memory.
#[test]
fn memory_is_bounded() {
    let (few, many) = (peak(100_000), peak(1_000_000));
    println!("peak {few} kB, then {many} kB");
    assert!(many < few + 8_000, "{few} kB, then {many} kB");
}

#[test]
fn the_deadline_is_kept_within_the_first_walk() {
    let dir = tempfile::tempdir().unwrap();
    let slow = || Many::open(0..100_000_000, 7, Duration::from_millis(1));
    let begun = Instant::now();
    let deadline = Some(begun + Duration::from_millis(300));
    let options = Options { deadline, ..options(dir.path()) };
    let impact = compare(&Sides { now: &slow, then: &slow }, &options).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((impact.total, impact.rows.len()), (KeyCounts::default(), 0));
    let not = impact.not_compared.unwrap();
    assert_eq!(not.compared_percent, 0);
    // How far either walk came is told.
    let read = not.keys_read.unwrap().map(|side| side.read);
    assert!(read.iter().all(|read| (1..100_000_000).contains(read)), "{read:?}");
}

/// Whatever the time was enough for, the counts are of that share of the keys and of no others.
#[test]
fn what_was_compared_in_time_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let all = || Many::open(0..20_000, 7, Duration::ZERO);
    let begun = Instant::now();
    let whole = compare(&Sides { now: &all, then: &all }, &options(dir.path())).unwrap();
    assert_eq!((whole.total.untouched, whole.not_compared), (20_000, None));
    let took = begun.elapsed();
    for n in 0..40 {
        let deadline = Some(Instant::now() + took * n / 30);
        let impact = compare(&Sides { now: &all, then: &all }, &Options { deadline, ..options(dir.path()) }).unwrap();
        let percent = impact.not_compared.map_or(100, |not| not.compared_percent);
        let keys = impact.total.untouched;
        assert_eq!(impact.total, KeyCounts { untouched: keys, ..KeyCounts::default() });
        assert_eq!(keys * 100 / 20_000, percent, "{keys} keys were compared");
    }
}

#[test]
fn damage_is_an_error_of_its_side() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let mut body = Vec::new();
    for (n, built) in every(&mut random, "7.0").into_iter().enumerate() {
        body.extend(entry(built.type_byte, &format!("k{n}"), &built.bytes()));
    }
    let good = rdb("REDIS0010", &body, true);
    let none = compared(&good, &good, &options(dir.path())).unwrap();
    assert!(none.total.untouched > 10 && none.total.different() == 0, "{none:?}");
    let mut refused = 0;
    for _ in 0..200 {
        let mut bad = good.clone();
        hurt(&mut bad, &mut random);
        if bad == good {
            continue;
        }
        for (now, then, expected) in [(&bad, &good, Side::Now), (&good, &bad, Side::Then)] {
            match compared(now, then, &options(dir.path())) {
                Err(CompareError::Rdb { side, .. } | CompareError::Twice { side }) => assert_eq!(side, expected),
                other => panic!("{other:?}"),
            }
        }
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
    let longer = [&good[..], b"x"].concat();
    let error = compared(&good, &longer, &options(dir.path())).unwrap_err();
    assert!(error.to_string().contains("the state to come"), "{error}");
    let failing = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
    // The one key that differs is not among the names that are kept, and is looked for once more.
    let all = || Many::open(0..3000, 5000, Duration::ZERO);
    let error = compare(&Sides { now: &failing, then: &all }, &options(dir.path())).unwrap_err();
    let fault = Fault::from(error);
    assert!(fault.code == "compare.unreadable" && fault.message.contains("permission denied"), "{fault:?}");
    // One that is deleted between the walks is told so.
    let opened = std::sync::atomic::AtomicUsize::new(0);
    let deleted = || match opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Many::open(0..3000, 2500, Duration::ZERO),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let fault = Fault::from(compare(&Sides { now: &deleted, then: &all }, &options(dir.path())).unwrap_err());
    assert!(fault.code == "compare.unreadable" && fault.message.contains("not found"), "{fault:?}");
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let fault = Fault::from(CompareError::File { dir: "/full".into(), source: full });
    assert!(fault.code == "compare.no_room" && fault.message.contains("/full"), "{fault:?}");
}

/// What this program does not know, or does not hold, is no damage.
#[test]
fn what_cannot_be_compared_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let good = rdb("REDIS0010", &entry(0, "k", &string(b"v")), true);
    let key = "k".repeat((16 << 20) + 1);
    let of = |body: &[u8]| rdb("REDIS0010", body, true);
    for (what, other) in [
        ("a long key", of(&entry(0, &key, &string(b"v")))),
        ("a type", of(&entry(99, "k", &string(b"v")))),
        ("a version", rdb("REDIS0099", &[], true)),
        ("an opcode", of(&[243])),
    ] {
        let fault = Fault::from(compared(&good, &other, &options(dir.path())).unwrap_err());
        assert_eq!(fault.code, "compare.unreadable", "{what}: {fault:?}");
        assert!(fault.message.contains("the state to come"), "{what}: {fault:?}");
    }
    let cut = &good[..good.len() - 12];
    let fault = Fault::from(compared(&good, cut, &options(dir.path())).unwrap_err());
    assert_eq!(fault.code, "compare.damaged", "{fault:?}");
}

/// Each state is as it was at its own moment; what merely expires by the later one is neither lost nor added, whichever state is the first.
#[test]
fn states_of_different_moments() {
    let dir = tempfile::tempdir().unwrap();
    let with = |expiry: Option<i64>, of: Vec<u8>| {
        let expiry = expiry.map_or_else(Vec::new, |ms| [vec![252], ms.to_le_bytes().to_vec()].concat());
        rdb("REDIS0012", &[expiry, of].concat(), true)
    };
    let key = |expiry| with(expiry, entry(0, "k", &string(b"v")));
    let s = |text: &str| string(text.as_bytes());
    let field = |at: i64| [s("g"), s("2"), at.to_le_bytes().to_vec()].concat();
    let hash =
        |fields: &[Vec<u8>]| rdb("VALKEY080", &entry(22, "k", &[length(fields.len()), fields.concat()].concat()), true);
    let lasting = [s("f"), s("1"), (-1_i64).to_le_bytes().to_vec()].concat();
    let none = rdb("REDIS0012", &[], true);
    let (added, lost, changed, untouched, expired) =
        ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]);
    // The first is of the moment 5, the second of 10.
    for (what, first, second, there, back) in [
        ("had expired", key(Some(5)), none.clone(), expired, expired),
        ("expires in between", key(Some(10)), none.clone(), expired, expired),
        ("was deleted, and would expire later", key(Some(11)), none.clone(), lost, added),
        ("came", none.clone(), key(Some(11)), added, lost),
        ("came and is over", none, key(Some(10)), expired, expired),
        ("expires, and is still in the file", key(Some(7)), key(Some(7)), expired, expired),
        ("was made to stay", key(Some(7)), key(None), changed, changed),
        ("came again", key(Some(4)), key(None), added, lost),
        ("stays", key(Some(11)), key(Some(11)), untouched, untouched),
        (
            "loses a field",
            hash(&[field(7), lasting.clone()]),
            hash(std::slice::from_ref(&lasting)),
            untouched,
            untouched,
        ),
        ("loses all fields", hash(&[field(7)]), hash(&[field(7)]), expired, expired),
        ("has lost all fields, and got one", hash(&[field(7)]), hash(&[lasting]), changed, changed),
    ] {
        for (now, then, at_ms, expected) in [(&first, &second, [5, 10], there), (&second, &first, [10, 5], back)] {
            let KeyCounts { added, lost, changed, untouched, expired } =
                compared(now, then, &Options { at_ms, ..options(dir.path()) }).unwrap().total;
            assert_eq!([added, lost, changed, untouched, expired], expected, "{what}, at {at_ms:?}");
        }
    }
}

/// A key in each of so many databases.
fn in_databases(n: u32, value: &str) -> Vec<u8> {
    let of = |db: u32| [vec![254, 0x80], db.to_be_bytes().to_vec(), entry(0, "k", &string(value.as_bytes()))].concat();
    rdb("REDIS0010", &(0..n).flat_map(of).collect::<Vec<_>>(), true)
}

/// A server may have any number of databases: as many as are counted are compared, more are no damage, and rows are told of some.
#[test]
fn many_databases_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (now, then) = (in_databases(40_000, "a"), in_databases(65_000, "b"));
    let begun = Instant::now();
    let impact = compared(&now, &then, &options(dir.path())).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(impact.total, KeyCounts { added: 25_000, changed: 40_000, ..KeyCounts::default() });
    assert_eq!(impact.rows.len() as u64 + impact.rows_left_out, 65_000);
    assert!(impact.rows.len() <= 1024, "{}", impact.rows.len());
    let fault = Fault::from(compared(&now, &in_databases(65_010, "a"), &options(dir.path())).unwrap_err());
    assert!(fault.code == "compare.unreadable" && fault.message.contains("65000 databases"), "{fault:?}");
}

/// A type byte, and a value as it is written.
type Form = (u8, Vec<u8>);

/// The same value in every encoding that a server ever wrote is one, and another value in the same encoding another.
#[test]
fn the_same_in_other_encodings() {
    let dir = tempfile::tempdir().unwrap();
    let s = |text: &str| string(text.as_bytes());
    let score = |score: f64| score.to_le_bytes().to_vec();
    let all: [(&str, Vec<Form>); 6] = [
        ("string", vec![(0, s("12345")), (0, vec![0xc1, 0x39, 0x30]), (0, packed(b"12345"))]),
        (
            "list",
            vec![
                (1, [length(2), s("a"), s("7")].concat()),
                (10, string(&ziplist(&["a".into(), 7.into()]))),
                (14, [length(2), string(&ziplist(&["a".into()])), packed(&ziplist(&[7.into()]))].concat()),
                (18, [length(2), length(1), s("a"), length(2), string(&listpack(&["7".into()]))].concat()),
            ],
        ),
        (
            "set",
            vec![
                (2, [length(2), s("9"), s("-3")].concat()),
                (11, string(&crate::redis::values::intset(2, &[-3, 9]))),
                (20, packed(&listpack(&[9.into(), "-3".into()]))),
            ],
        ),
        (
            "zset",
            vec![
                (3, [length(2), s("a"), s("1.5"), s("b"), vec![255]].concat()),
                (5, [length(2), s("b"), score(f64::NEG_INFINITY), s("a"), score(1.5)].concat()),
                (12, string(&ziplist(&["b".into(), "-inf".into(), "a".into(), "1.5".into()]))),
                (17, string(&listpack(&["b".into(), "-inf".into(), "a".into(), "1.5".into()]))),
            ],
        ),
        (
            "zero",
            vec![
                (5, [length(1), s("z"), score(-0.0)].concat()),
                (5, [length(1), s("z"), score(0.0)].concat()),
                (17, string(&listpack(&["z".into(), 0.into()]))),
                (17, string(&listpack(&["z".into(), "-0".into()]))),
            ],
        ),
        (
            "hash",
            vec![
                (4, [length(2), s("f"), s("1"), s("g"), s("x")].concat()),
                (9, string(&crate::redis::values::zipmap(&[("g", "x"), ("f", "1")]))),
                (13, packed(&ziplist(&["g".into(), "x".into(), "f".into(), 1.into()]))),
                (16, string(&listpack(&["f".into(), "1".into(), "g".into(), "x".into()]))),
                (24, [vec![0; 8], length(2), length(0), s("f"), s("1"), length(0), s("g"), s("x")].concat()),
                (
                    25,
                    [
                        vec![0; 8],
                        string(&listpack(&["f".into(), 1.into(), 0.into(), "g".into(), "x".into(), 0.into()])),
                    ]
                    .concat(),
                ),
            ],
        ),
    ];
    let of = |(type_byte, value): &Form| rdb("REDIS0012", &entry(*type_byte, "k", value), true);
    for (name, forms) in &all {
        for a in forms {
            for (other, others) in &all {
                for b in others {
                    let total = compared(&of(a), &of(b), &options(dir.path())).unwrap().total;
                    assert_eq!(total.untouched == 1, name == other, "{name} {} against {other} {}", a.0, b.0);
                }
            }
        }
    }
}

/// Fields whose time is over by then are not there, in either way in which they are written; and a hash of no others is not there itself.
#[test]
fn fields_expire_as_keys_do() {
    let dir = tempfile::tempdir().unwrap();
    let s = |text: &str| string(text.as_bytes());
    let plain = rdb("REDIS0012", &entry(4, "k", &[length(1), s("f"), s("1")].concat()), true);
    let none = rdb("REDIS0012", &[], true);
    // `f` stays, `g` expires at 1000.
    let redis = [1000_u64.to_le_bytes().to_vec(), length(2), length(0), s("f"), s("1"), length(1), s("g"), s("2")];
    let redis = rdb("REDIS0012", &entry(24, "k", &redis.concat()), true);
    let field = |name: &str, value: &str, at: i64| [s(name), s(value), at.to_le_bytes().to_vec()].concat();
    let valkey =
        rdb("VALKEY080", &entry(22, "k", &[length(2), field("g", "2", 1000), field("f", "1", -1)].concat()), true);
    let gone = rdb("VALKEY080", &entry(22, "k", &[length(1), field("g", "2", 1000)].concat()), true);
    let at = |at_ms, now: &[u8], then: &[u8]| {
        let KeyCounts { added, lost, changed, untouched, expired } =
            compared(now, then, &Options { at_ms: [at_ms; 2], ..options(dir.path()) }).unwrap().total;
        [added, lost, changed, untouched, expired]
    };
    let (added, lost, changed, untouched, expired) =
        ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]);
    for (at_ms, now, then, expected) in [
        (999, &redis, &valkey, untouched),
        (999, &plain, &redis, changed),
        (1000, &plain, &redis, untouched),
        (1000, &plain, &valkey, untouched),
        (999, &none, &gone, added),
        (1000, &none, &gone, expired),
        (1000, &plain, &gone, lost),
        (1000, &gone, &plain, added),
        (1000, &gone, &none, expired),
    ] {
        assert_eq!(at(at_ms, now, then), expected, "at {at_ms}");
    }
}
