//! Values as servers write them, one of every encoding, built by hand from the servers' sources and independent of the program's own
//! code: what tests of the walker change, damage, and hand to real servers.

use crate::redis::rdb::crc64;

/// A source of random numbers that a seed repeats.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ x >> 31) % n.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| b'a' + self.below(26) as u8).collect()
    }
}

pub fn length(n: usize) -> Vec<u8> {
    match n {
        0..64 => vec![n as u8],
        64..16_384 => vec![0x40 | (n >> 8) as u8, n as u8],
        _ => [&[0x80][..], &(n as u32).to_be_bytes()].concat(),
    }
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [length(bytes.len()), bytes.to_vec()].concat()
}

/// As LZF of literals and, where bytes repeat, runs.
pub fn lzf(bytes: &[u8]) -> Vec<u8> {
    let (mut packed, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let same = bytes[at..].iter().take(200).take_while(|b| **b == bytes[at]).count();
        if at > 0 && bytes[at - 1] == bytes[at] && same >= 9 {
            packed.extend([7 << 5, (same - 9) as u8, 0]);
            at += same;
        } else {
            let n = if same >= 10 { 1 } else { (bytes.len() - at).min(8) };
            packed.push(n as u8 - 1);
            packed.extend(&bytes[at..at + n]);
            at += n;
        }
    }
    packed
}

/// A string as LZF.
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let lzf = lzf(bytes);
    [&[0xc3][..], &length(lzf.len()), &length(bytes.len()), &lzf].concat()
}

fn backlength(n: usize) -> Vec<u8> {
    let bytes = match n {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        _ => 4,
    };
    (0..bytes).rev().map(|at| (n >> (7 * at)) as u8 & 0x7f | if at + 1 == bytes { 0 } else { 0x80 }).collect()
}

/// A whole number, or text.
#[derive(Clone)]
pub enum Item {
    Int(i64),
    Text(Vec<u8>),
}

impl From<i64> for Item {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

pub fn listpack(items: &[Item]) -> Vec<u8> {
    let mut body = Vec::new();
    for item in items {
        let element = match item {
            Item::Int(n @ 0..=127) => vec![*n as u8],
            Item::Int(n @ -4096..4096) => vec![0xc0 | (*n >> 8 & 0x1f) as u8, *n as u8],
            Item::Int(n) if i16::try_from(*n).is_ok() => [&[0xf1][..], &(*n as i16).to_le_bytes()].concat(),
            Item::Int(n @ -8_388_608..8_388_608) => [&[0xf2][..], &n.to_le_bytes()[..3]].concat(),
            Item::Int(n) if i32::try_from(*n).is_ok() => [&[0xf3][..], &(*n as i32).to_le_bytes()].concat(),
            Item::Int(n) => [&[0xf4][..], &n.to_le_bytes()].concat(),
            Item::Text(t) if t.len() < 64 => [&[0x80 | t.len() as u8][..], t].concat(),
            Item::Text(t) if t.len() < 4096 => [&[0xe0 | (t.len() >> 8) as u8, t.len() as u8][..], t].concat(),
            Item::Text(t) => [&[0xf0][..], &(t.len() as u32).to_le_bytes(), t].concat(),
        };
        body.extend(&element);
        body.extend(backlength(element.len()));
    }
    let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
    [&(body.len() as u32 + 7).to_le_bytes()[..], &count.to_le_bytes(), &body, &[0xff]].concat()
}

pub fn ziplist(items: &[Item]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0_usize, 10);
    for item in items {
        let mut element = match previous {
            0..254 => vec![previous as u8],
            _ => [&[254][..], &(previous as u32).to_le_bytes()].concat(),
        };
        element.extend(match item {
            Item::Int(n @ 0..=12) => vec![0xf1 + *n as u8],
            Item::Int(n) if i8::try_from(*n).is_ok() => vec![0xfe, *n as u8],
            Item::Int(n) if i16::try_from(*n).is_ok() => [&[0xc0][..], &(*n as i16).to_le_bytes()].concat(),
            Item::Int(n @ -8_388_608..8_388_608) => [&[0xf0][..], &n.to_le_bytes()[..3]].concat(),
            Item::Int(n) if i32::try_from(*n).is_ok() => [&[0xd0][..], &(*n as i32).to_le_bytes()].concat(),
            Item::Int(n) => [&[0xe0][..], &n.to_le_bytes()].concat(),
            Item::Text(t) if t.len() < 64 => [&[t.len() as u8][..], t].concat(),
            Item::Text(t) if t.len() < 16_384 => [&[0x40 | (t.len() >> 8) as u8, t.len() as u8][..], t].concat(),
            Item::Text(t) => [&[0x80][..], &(t.len() as u32).to_be_bytes(), t].concat(),
        });
        tail = 10 + body.len();
        previous = element.len();
        body.extend(element);
    }
    let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
    let head = [(body.len() as u32 + 11).to_le_bytes(), (tail as u32).to_le_bytes()].concat();
    [&head[..], &count.to_le_bytes(), &body, &[0xff]].concat()
}

pub fn zipmap(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut map = vec![pairs.len() as u8];
    for (field, value) in pairs {
        map.push(field.len() as u8);
        map.extend(field.bytes());
        map.extend([value.len() as u8, 2]);
        map.extend(value.bytes());
        map.extend([0, 0]);
    }
    map.push(0xff);
    map
}

pub fn intset(width: u32, numbers: &[i64]) -> Vec<u8> {
    let mut set = [width.to_le_bytes(), (numbers.len() as u32).to_le_bytes()].concat();
    for n in numbers {
        set.extend(&n.to_le_bytes()[..width as usize]);
    }
    set
}

/// A node of a stream: its first id, then entries of one field or, every third, of two others; every fourth is deleted.
pub fn node(entries: usize) -> Vec<u8> {
    let deleted = entries / 4;
    let mut items: Vec<Item> = vec![(entries as i64 - deleted as i64).into(), (deleted as i64).into(), 1.into()];
    items.extend([Item::from("field"), 0.into()]);
    for n in 0..entries as i64 {
        let flags = i64::from(n % 4 == 3);
        if n % 3 == 2 {
            items.extend([flags.into(), n.into(), 0.into(), 2.into(), "one".into(), "two".into()]);
            items.extend([Item::from(n), "value".into(), 8.into()]);
        } else {
            items.extend([(flags | 2).into(), n.into(), 0.into(), "value".into(), 4.into()]);
        }
    }
    listpack(&items)
}

fn id(ms: u64) -> Vec<u8> {
    [ms.to_be_bytes(), [0; 8]].concat()
}

/// A stream of two nodes of `entries` each with a group of two consumers; `edition` 1 to 5 are types 15, 19, 21, 26, 27.
pub fn stream(edition: u8, entries: usize, blob: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut v = vec![2];
    for first in [1000, 2000] {
        v.extend(string(&id(first)));
        v.extend(blob(&node(entries)));
    }
    v.extend(length(2 * (entries - entries / 4)));
    // The last id; first id, highest deleted id, entries added.
    v.extend([length(2000 + entries), length(0)].concat());
    if edition >= 2 {
        v.extend([length(1000), length(0), length(0), length(0), length(2 * entries)].concat());
    }
    v.push(1);
    v.extend(string(b"group"));
    v.extend([length(1001), length(0)].concat());
    if edition >= 2 {
        v.extend(length(2));
    }
    v.push(3);
    for ms in [1000, 1001, 2000] {
        v.extend(id(ms));
        v.extend([&1_700_000_000_000_u64.to_le_bytes()[..], &[1]].concat());
    }
    v.push(2);
    for (name, owned) in [(b"first", &[1000_u64, 2000][..]), (b"other", &[1001])] {
        v.extend(string(name));
        v.extend([1_700_000_000_000_u64.to_le_bytes(); 2].concat().iter().take(if edition >= 3 { 16 } else { 8 }));
        v.push(owned.len() as u8);
        v.extend(owned.iter().flat_map(|ms| id(*ms)));
    }
    if edition >= 5 {
        v.push(0);
    }
    if edition >= 4 {
        v.extend([50, 60, 1]);
        v.extend(string(b"producer"));
        v.push(2);
        for id in [b"one", b"two"] {
            v.extend(string(id));
            v.extend([1, 1]);
        }
        v.extend([2, 0]);
    }
    v
}

/// A value to be written behind its key.
#[derive(Clone)]
pub struct Built {
    /// What it is, for a message.
    pub name: &'static str,
    pub type_byte: u8,
    /// Before the blob.
    pub head: Vec<u8>,
    /// The encoded container, without the length before it; empty where the value is none.
    pub blob: Vec<u8>,
    /// Behind the blob.
    pub tail: Vec<u8>,
    /// Whether the blob is written as LZF.
    pub packed: bool,
}

impl Built {
    fn plain(name: &'static str, type_byte: u8, head: Vec<u8>) -> Self {
        Self { name, type_byte, head, blob: Vec::new(), tail: Vec::new(), packed: false }
    }

    fn of(name: &'static str, type_byte: u8, blob: Vec<u8>) -> Self {
        Self { name, type_byte, head: Vec::new(), blob, tail: Vec::new(), packed: false }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let blob = match &self.blob[..] {
            [] => Vec::new(),
            blob if self.packed => packed(blob),
            blob => string(blob),
        };
        [&self.head[..], &blob, &self.tail].concat()
    }
}

/// One value of every encoding that servers up to that version read, of a random size. `newer`: `redis` from 7.4 or `valkey` from 9 has
/// its own.
pub fn every(random: &mut Random, newer: &str) -> Vec<Built> {
    let n = 1 + random.below(12);
    let texts: Vec<Vec<u8>> = (0..n).map(|i| [random.bytes(1 + i % 7), i.to_string().into_bytes()].concat()).collect();
    let wide = random.below(3) == 0;
    let items: Vec<Item> = (0..n as i64)
        .map(|i| match (i % 3, wide) {
            (0, true) => Item::Int(i * 1_000_003 - 7),
            (0, false) => Item::Int(i),
            (1, true) => Item::Text(random.bytes(60 + 30 * i as usize)),
            _ => Item::Text(texts[i as usize].clone()),
        })
        .collect();
    let pairs: Vec<Item> = items.iter().flat_map(|item| [item.clone(), "value".into()]).collect();
    let scored: Vec<Item> = items
        .iter()
        .enumerate()
        .flat_map(|(i, item)| {
            [item.clone(), if i % 2 == 0 { Item::Int(i as i64) } else { Item::Text(format!("{i}.5").into()) }]
        })
        .collect();
    let elements = |each: &dyn Fn(usize) -> Vec<u8>| [length(n), (0..n).flat_map(each).collect()].concat();
    let width = [2, 4, 8][random.below(3)];
    let numbers: Vec<i64> = (0..n as i64).map(|i| i * 31 - 40).collect();
    let mut two = Built::of("quicklist of ziplists", 14, ziplist(&items));
    two.head = [vec![2], string(&ziplist(&["x".into()]))].concat();
    let mut quick = Built::of("quicklist of listpacks", 18, listpack(&items));
    quick.head = [vec![2, 1], string(b"plain"), vec![2]].concat();
    let mut all = vec![
        Built::plain("string", 0, string(&random.bytes(n * 9))),
        Built::plain("number", 0, [&[0xc1][..], &[n as u8, 3]].concat()),
        Built::plain("compressed string", 0, packed(&[&[b'z'; 90][..], &random.bytes(n)].concat())),
        Built::plain("list", 1, elements(&|i| string(&texts[i]))),
        Built::plain("set", 2, elements(&|i| string(&texts[i]))),
        Built::plain("set of numbers", 2, elements(&|i| vec![0xc0, i as u8])),
        Built::plain("sorted set with text scores", 3, elements(&|i| [string(&texts[i]), string(b"1.5")].concat())),
        Built::plain("hash", 4, elements(&|i| [string(&texts[i]), string(b"value")].concat())),
        Built::plain(
            "hash with compressed fields",
            4,
            elements(&|i| [packed(&[b"ffffffffffffffff", &texts[i][..]].concat()), string(b"v")].concat()),
        ),
        Built::plain(
            "sorted set",
            5,
            elements(&|i| [string(&texts[i]), (i as f64 / 3.0).to_le_bytes().to_vec()].concat()),
        ),
        Built::of("zipmap", 9, zipmap(&[("field", "value"), ("other", "")])),
        Built::of("ziplist", 10, ziplist(&items)),
        Built::of("intset", 11, intset(width, &numbers)),
        Built::of("sorted set in a ziplist", 12, ziplist(&scored)),
        Built::of("hash in a ziplist", 13, ziplist(&pairs)),
        two,
        Built::of("hash in a listpack", 16, listpack(&pairs)),
        Built::of("sorted set in a listpack", 17, listpack(&scored)),
        quick,
        Built::plain("stream of Redis 5", 15, stream(1, n, string)),
        Built::plain("stream of Redis 7.0", 19, stream(2, n, string)),
        Built::plain("stream in compressed listpacks", 19, stream(2, n, packed)),
    ];
    if newer != "7.0" {
        all.push(Built::of("set in a listpack", 20, listpack(&items)));
        all.push(Built::plain("stream of Redis 7.2", 21, stream(3, n, string)));
    }
    if newer == "redis" {
        let far = 4_102_444_800_000_u64.to_le_bytes();
        let each = |i: usize| [length(i * 50), string(&texts[i]), string(b"value")].concat();
        all.push(Built::plain("hash with expiring fields", 24, [far.to_vec(), elements(&each)].concat()));
        let rows: Vec<Item> = (0..n)
            .flat_map(|i| [Item::Text(texts[i].clone()), "v".into(), (4_102_444_800_000 + i as i64).into()])
            .collect();
        all.push(Built {
            head: far.to_vec(),
            ..Built::of("hash with expiring fields in a listpack", 25, listpack(&rows))
        });
    }
    if newer == "valkey" {
        let never = |i: usize| if i.is_multiple_of(2) { -1_i64 } else { 4_102_444_800_000 };
        let each = |i: usize| [string(&texts[i]), string(b"value"), never(i).to_le_bytes().to_vec()].concat();
        all.push(Built::plain("hash with expiring fields", 22, elements(&each)));
    }
    let compressed: Vec<Built> =
        all.iter().filter(|b| !b.blob.is_empty()).map(|b| Built { packed: true, ..b.clone() }).collect();
    all.extend(compressed);
    all
}

/// A whole RDB of a body, with a checksum or without.
pub fn rdb(magic: &str, body: &[u8], checksum: bool) -> Vec<u8> {
    let mut rdb = [magic.as_bytes(), &[254, 0], body, &[255]].concat();
    let crc = if checksum { crc64(&rdb) } else { 0 };
    rdb.extend(crc.to_le_bytes());
    rdb
}

/// A key with its value.
pub fn entry(type_byte: u8, key: &str, value: &[u8]) -> Vec<u8> {
    [&[type_byte][..], &string(key.as_bytes()), value].concat()
}
