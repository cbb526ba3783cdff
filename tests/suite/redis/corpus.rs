//! The corpus of the fuzzers, replayed by the functions that they call, in a process of its own: no input makes a reader panic, and
//! each is judged in bounded time and memory, with an error that says where.
//!
//! `FUZZ_SECONDS` is how long changed inputs are tried after that, `TEST_SEED` repeats them. The ignored test `make_the_seeds` makes the
//! seeds anew; what a fuzzer has found stays.

use crate::redis::damage::{damaged, hurt};
use crate::redis::fixture::{capture, fill};
use crate::redis::values::{Random, entry, every, rdb};
use crate::support::targets::{MAGICS, TARGETS, read};
use crate::support::{MATRIX, Redis, files_under, root};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::vault::frames::FrameWriter;
use tair_backup_mcp::vault::manifest::Manifest;

/// What one input may take, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(10);
/// What one input may take of memory, with what the process has anyway: two strings of 16 MiB, and twice that for growing.
const KILOBYTES_MAX: u64 = 256 << 10;
/// How long changed inputs are tried in a run of the suite.
const SECONDS: u64 = 5;
/// Inputs are larger by accident only.
const CORPUS_BYTES_MAX: u64 = 1 << 20;

fn corpus(target: &str) -> PathBuf {
    root().join("tests/fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths = files_under(&corpus(target));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The most memory that the process has had since it was asked to forget.
fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn judge(target: &str, bytes: &[u8], what: &str) -> Result<(), String> {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let begun = Instant::now();
    let read = read(target, bytes);
    let (took, peak) = (begun.elapsed(), peak_kilobytes());
    assert!(took < WITHIN, "{target}: {what} took {took:?}");
    assert!(peak < KILOBYTES_MAX, "{target}: {what} took {peak} kB");
    read
}

/// Every input of the corpus, then changed ones for as long as is wanted.
#[test]
#[ignore = "run by every_input_is_judged_in_bounds, in a process of its own"]
fn judge_every_input() {
    for target in TARGETS {
        let (mut good, mut refused) = (0, 0);
        for (path, bytes) in inputs(target) {
            println!("{target}: {}", path.display());
            *(if judge(target, &bytes, &path.display().to_string()).is_ok() { &mut good } else { &mut refused }) += 1;
        }
        println!("{target}: {good} inputs are whole, {refused} refused");
        assert!(good > 0 && refused > 0, "{target}: the corpus has {good} whole inputs, and {refused} that are not");
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seed = number("TEST_SEED").unwrap_or(u64::from(std::process::id()));
    let (mut random, input) = (Random(seed), std::env::temp_dir().join(format!("input-{}", std::process::id())));
    // What ends this process is left there.
    println!("TEST_SEED={seed}; the input is in {}", input.display());
    let corpus: Vec<(&str, Vec<u8>)> =
        TARGETS.into_iter().flat_map(|t| inputs(t).into_iter().map(move |(_, bytes)| (t, bytes))).collect();
    let (begun, mut tried) = (Instant::now(), 0_u64);
    while begun.elapsed().as_secs() < number("FUZZ_SECONDS").unwrap_or(SECONDS) {
        // As many of each kind, however large its part of the corpus.
        let target = TARGETS[random.below(TARGETS.len())];
        let of: Vec<&Vec<u8>> = corpus.iter().filter(|(t, _)| *t == target).map(|(_, bytes)| bytes).collect();
        let mut bytes = of[random.below(of.len())].clone();
        if random.below(4) == 0 {
            // The front of one and the end of another.
            let other = of[random.below(of.len())];
            bytes.truncate(random.below(bytes.len() + 1));
            bytes.extend(&other[random.below(other.len() + 1)..]);
        }
        for _ in 0..=random.below(4) {
            hurt(&mut bytes, &mut random);
        }
        std::fs::write(&input, &bytes).unwrap();
        let _ = judge(target, &bytes, &format!("input {tried} of TEST_SEED={seed}"));
        tried += 1;
    }
    std::fs::remove_file(&input).unwrap();
    println!("{tried} changed inputs were tried");
}

#[test]
fn every_input_is_judged_in_bounds() {
    let bytes: u64 = files_under(&root().join("tests/fuzz/corpus")).iter().map(|p| p.metadata().unwrap().len()).sum();
    assert!(bytes < CORPUS_BYTES_MAX, "the corpus has {bytes} bytes");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "redis::corpus::judge_every_input", "--ignored", "--nocapture"]);
    let done = child.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{}", out.lines().filter(|l| !l.contains("corpus/")).collect::<Vec<_>>().join("\n"));
    assert!(done.status.success(), "behind {:?}:\n{err}", out.lines().last().unwrap_or_default());
    assert!(out.contains("changed inputs were tried"), "the child did not do its work: {out}");
}

/// Every fuzzer has its kind of input, and every kind a fuzzer.
#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let manifest = std::fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    let (_, bins) = manifest.split_once("[[bin]]").unwrap();
    let fuzzers: Vec<&str> =
        bins.lines().filter_map(|l| l.strip_prefix("name = ")).map(|n| n.trim_matches('"')).collect();
    assert_eq!(fuzzers, TARGETS);
    let mut folders: Vec<_> = std::fs::read_dir(corpus("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    folders.sort();
    let mut targets = TARGETS;
    targets.sort_unstable();
    assert_eq!(folders, targets);
}

/// Seeds by kind: for each thing that a reader says, the shortest input that makes it say so.
#[derive(Default)]
struct Seeds(BTreeMap<(&'static str, String), Vec<u8>>);

impl Seeds {
    fn offer(&mut self, target: &'static str, about: &str, bytes: &[u8]) {
        let said = read(target, bytes).err().unwrap_or_default();
        // Neither offsets, nor paths, nor what is quoted of an input make another answer.
        let said = said.split('"').next().unwrap_or_default().split(' ');
        let said: Vec<&str> = said.filter(|w| !w.contains(|c: char| c.is_ascii_digit() || c == '/')).take(12).collect();
        let said = said.join(" ");
        let seed = self.0.entry((target, format!("{about} {said}"))).or_insert_with(|| bytes.to_vec());
        if bytes.len() < seed.len() {
            *seed = bytes.to_vec();
        }
    }
}

const REPLID: &str = "0123456789abcdef0123456789abcdef01234567";
const MARK: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// What a source says to a capture, in both framings.
fn conversations(data: &[u8]) -> Vec<Vec<u8>> {
    let info = "redis_version:7.0.15\r\nrun_id:0\r\n";
    let hello = format!("+PONG\r\n+OK\r\n${}\r\n{info}\r\n+FULLRESYNC {REPLID} 100\r\n", info.len());
    let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.0\r\n";
    let newer = format!("+PONG\r\n+OK\r\n${}\r\n{valkey}\r\n+OK\r\n\n\n+FULLRESYNC {REPLID} 7\r\n", valkey.len());
    let stream = "\n*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n";
    let length = format!("${}\r\n", data.len());
    let mark = format!("$EOF:{MARK}\r\n");
    vec![
        [hello.as_bytes(), length.as_bytes(), data, stream.as_bytes()].concat(),
        [newer.as_bytes(), mark.as_bytes(), data, MARK.as_bytes(), stream.as_bytes()].concat(),
        b"-MISCONF no saves\r\n+OK\r\n-NOPERM this user\r\n-ERR unknown command\r\n-LOADING\r\n".to_vec(),
        b"-NOAUTH Authentication required.\r\n".to_vec(),
    ]
}

/// Makes the seeds: values of every encoding and what damage makes of them, snapshots of real servers, and by hand what is text.
#[tokio::test]
#[ignore = "writes tests/fuzz/corpus"]
async fn make_the_seeds() {
    let mut seeds = Seeds::default();
    let mut random = Random(1);
    let mut whole = Vec::new();
    for (at, newer) in ["7.0", "7.0", "redis", "valkey"].into_iter().enumerate() {
        for n in 0..60 {
            for built in every(&mut random, newer) {
                let (about, mut bytes) = (format!("{at} {}", built.type_byte), vec![at as u8, built.type_byte]);
                bytes.extend(built.bytes());
                seeds.offer("value", &about, &bytes);
                let case = damaged(&built, &mut random);
                let bytes = [&[at as u8, case.type_byte][..], &case.value].concat();
                // Which edition it is adds little to what is wrong with a value.
                seeds.offer("value", &case.type_byte.to_string(), &bytes);
                if n == 0 {
                    whole.push((MAGICS[at], entry(built.type_byte, &format!("k{}", built.type_byte), &built.bytes())));
                }
            }
        }
    }
    let mut snapshots = Vec::new();
    for kind in MATRIX {
        let server = Redis::start(kind, &[]);
        for command in [
            "SET a 1",
            "RPUSH l a b",
            "SADD s 1 2",
            "HSET h f v",
            "ZADD z 1 a",
            "XADD x 1-1 k v",
            "SET e 1 EX 99999999",
        ] {
            server.run(&command.split(' ').collect::<Vec<_>>());
        }
        snapshots.push(capture(&server.endpoint()).await.unwrap().0);
    }
    let full = Redis::start("redis-7.0", &["--rdbcompression", "yes"]);
    fill(&full).await;
    full.run(&["FLUSHDB"]);
    full.run(&["DEBUG", "POPULATE", "50", "k", "40"]);
    snapshots.push(capture(&full.endpoint()).await.unwrap().0);
    // Whoever reads blocks, and runs a runtime of its own.
    let seeds = tokio::task::spawn_blocking(move || {
        for (n, snapshot) in snapshots.iter().enumerate() {
            seeds.offer("rdb", &n.to_string(), snapshot);
            for _ in 0..300 {
                let mut bytes = snapshot.clone();
                hurt(&mut bytes, &mut random);
                seeds.offer("rdb", "damaged", &bytes);
            }
        }
        for magic in MAGICS {
            let body: Vec<u8> = whole.iter().filter(|(m, _)| *m == magic).flat_map(|(_, e)| e.clone()).collect();
            seeds.offer("rdb", magic, &rdb(magic, &body, true));
        }
        let plain: [&[u8]; 3] = [b"", b"abc", &vec![7; (1 << 20) + 9]];
        let mut texts: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for bytes in plain {
            let mut frames = FrameWriter::new(Vec::new()).unwrap();
            frames.push(bytes).unwrap();
            texts.push(("frames", frames.finish().unwrap().0));
        }
        let fixtures = root().join("tests/fixtures/vault/format1/orders/b-20261125T181537Z-ce6cde");
        texts.push(("frames", std::fs::read(fixtures.join("data.rdb.zst")).unwrap()));
        let first = std::fs::read(fixtures.join("manifest.json")).unwrap();
        let set = Manifest::read(&first).unwrap();
        texts.push(("manifest", Manifest::of(&set).unwrap()));
        texts.push(("manifest", first));
        for wire in [
            "+PONG\r\n:1\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n",
            "\n*3\r\n:1\r\n*2\r\n$3\r\na\nb\r\n*0\r\n$-1\r\n-ERR x\r\n",
            "$99999999999\r\n",
            "*16777216\r\n",
            "HTTP/1.1 400\r\n",
            "$1\r\nabc",
            ":x\r\n",
            &"*1\r\n".repeat(40),
            "-LOADING Redis is loading\r\n-NOPERM no\r\n-MOVED 1 h:1\r\n",
        ] {
            texts.push(("resp", wire.into()));
        }
        texts.extend(conversations(&snapshots[1]).into_iter().map(|wire| ("replica", wire)));
        for url in [
            "redis://h",
            "orders=rediss://u:pa%20ss@[::1]:7000/0",
            "unix:///run/redis.sock",
            "redis://:a/b@h",
            "redis://h?x=1",
            "http://h",
            "redis://h:0",
            "redis+unix://u@/x",
            "redis://s3cret@h",
            "a b=redis://h",
            "redis://:s3%zz@h",
            "valkeys://:p@h,redis://i",
        ] {
            texts.push(("url", url.into()));
        }
        let example = std::fs::read_to_string(root().join("config.example.toml")).unwrap();
        let lines: Vec<&str> =
            example.lines().map(|l| l.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(l)).collect();
        texts.push(("config", example.clone().into_bytes()));
        texts.push(("config", lines.join("\n").into_bytes()));
        texts.push(("config", b"[[instance]]\nid = \"orders\"\nurl = \"redis://h\"\n".to_vec()));
        for (target, text) in texts {
            seeds.offer(target, &hex(&Sha256::digest(&text)), &text);
            for _ in 0..60 {
                let mut bytes = text.clone();
                hurt(&mut bytes, &mut random);
                seeds.offer(target, "damaged", &bytes);
            }
        }
        seeds
    });
    for ((target, _), bytes) in seeds.await.unwrap().0 {
        let path = corpus(target).join(&hex(&Sha256::digest(&bytes))[..16]);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
