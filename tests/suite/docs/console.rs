//! Every `console` block of the documents runs: what a reader is told to type works, and prints what is shown.
//!
//! Lines that begin with `$ ` are run in order by one bash for each block, in the home of a new user of each document, with the
//! program and a Redis server in PATH. A block must end with 0; a line that ends in `# exit N` must end with N. Lines
//! without `$ ` are output: each must be found in what the block printed, in order, where `…` stands for anything and spaces
//! are not counted. `127.0.0.1:7070` in a block stands for a free port of this machine, and `127.0.0.1:6379` for a Redis that
//! the reader has: one that the test starts. A block behind `<!-- not run: why -->` is left out.

use super::{documents, read};
use crate::support::{Redis, free_port, program};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Blocks that may be left out in all: those that install, build or ask a person.
const NOT_RUN: usize = 3;

/// A console block.
struct Block {
    /// The line it begins in.
    line: usize,
    /// Why it is not run.
    not_run: Option<String>,
    text: Vec<String>,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut not_run) = (false, None);
    for (n, line) in document.lines().enumerate() {
        if let Some(why) = line.strip_prefix("<!-- not run: ") {
            not_run = Some(why.trim_end_matches(" -->").to_owned());
        } else if line == "```console" {
            open = true;
            found.push(Block { line: n + 1, not_run: not_run.take(), text: Vec::new() });
        } else if line.starts_with("```") {
            open = false;
        } else if open {
            found.last_mut().unwrap().text.push(line.to_owned());
        }
    }
    assert!(not_run.is_none(), "\"not run\" stands before no block: {not_run:?}");
    found
}

/// What the addresses of a document stand for.
struct Ports {
    /// Nobody listens there yet.
    free: u16,
    redis: u16,
}

const FREE: &str = "127.0.0.1:7070";
const REDIS: &str = "127.0.0.1:6379";

impl Ports {
    fn placed(&self, line: &str) -> String {
        line.replace(FREE, &format!("127.0.0.1:{}", self.free)).replace(REDIS, &format!("127.0.0.1:{}", self.redis))
    }
}

/// The block as a script. Everything it started ends with it.
fn script(block: &Block, ports: &Ports) -> String {
    let mut lines = vec![
        "set -euo pipefail".to_owned(),
        // Programs in the background are told to end and waited for, so that they end what they started.
        "trap 'rc=$?; jobs -p | xargs -r kill 2>/dev/null || true; wait || true; exit $rc' EXIT".to_owned(),
    ];
    for line in block.text.iter().filter_map(|l| l.strip_prefix("$ ")) {
        let line = ports.placed(line);
        match line.split_once("# exit ") {
            None => lines.push(line),
            Some((command, code)) => lines.push(format!(
                "rc=0; {} || rc=$?; [ $rc = {code} ] || {{ echo \"exit code $rc, not {code}\" >&2; exit 99; }}",
                command.trim_end()
            )),
        }
    }
    lines.join("\n") + "\n"
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line holds the parts of a pattern in order.
fn holds(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    squeezed(pattern).split('…').map(str::trim).all(|part| match rest.find(part) {
        None => false,
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
    })
}

/// The first line of output that is shown in a block and was not printed.
fn missing(block: &Block, ports: &Ports, printed: &str) -> Option<String> {
    let mut lines = printed.lines().map(squeezed);
    let shown = block.text.iter().filter(|l| !l.starts_with("$ ") && !l.trim().is_empty());
    shown.into_iter().find(|pattern| !lines.any(|line| holds(&line, &ports.placed(pattern)))).cloned()
}

fn run(block: &Block, redis: u16, user: &Path, bin: &Path) -> Result<(), String> {
    let ports = Ports { free: free_port(), redis };
    let mut command = Command::new("bash");
    command.arg("-c").arg(script(block, &ports)).current_dir(user).env_clear();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("HOME", user).env("TMPDIR", user.join("tmp")).env("LANG", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().expect("bash must be on PATH");
    let group = child.id();
    let done = child.wait_with_output().unwrap();
    // What has not ended by itself must not outlive the test.
    let _ = Command::new("bash").arg("-c").arg(format!("kill -9 -- -{group}")).stderr(Stdio::null()).status();
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if !done.status.success() {
        return Err(format!("ended with {}", done.status) + "\n" + &printed);
    }
    match missing(block, &ports, &printed) {
        None => Ok(()),
        Some(line) => Err(format!("did not print {line:?}\n{printed}")),
    }
}

/// The home of a document's reader. A plan that waits for its person keeps the sandbox's server: it ends with the home.
struct User(TempDir);

impl Drop for User {
    fn drop(&mut self) {
        let inside =
            |process: &Path| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.0.path()));
        for process in std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(|p| inside(p)) {
            let id = process.file_name().unwrap();
            // It may have ended by now.
            let _ = Command::new("kill").arg("-9").arg(id).stderr(Stdio::null()).status();
        }
    }
}

/// Blocks of one document share a home, as its reader's do.
#[test]
fn every_command_of_the_documents_runs() {
    let (mut ran, mut left_out, mut failed) = (0, Vec::new(), Vec::new());
    let redis = Redis::start("redis-7.0", &[]);
    for document in documents() {
        let user = User(TempDir::new().unwrap());
        let (home, bin) = (user.0.path(), user.0.path().join("bin"));
        for folder in ["bin", "tmp"] {
            std::fs::create_dir(home.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tair-backup-mcp"), bin.join("tair-backup-mcp")).unwrap();
        for part in ["server", "cli"] {
            // A wrapper that looks for what lies beside it must be started under its own name.
            let (to, name) = (program("redis-7.0", part), bin.join(format!("redis-{part}")));
            std::fs::write(&name, format!("#!/bin/sh\nexec '{}' \"$@\"\n", to.display())).unwrap();
            std::fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        for block in blocks(&read(&document)) {
            let place = format!("{}:{}", document.display(), block.line);
            match &block.not_run {
                Some(why) => left_out.push(format!("{place}: {why}")),
                None => {
                    ran += 1;
                    if let Err(why) = run(&block, redis.port, home, &bin) {
                        failed.push(format!("{place} {why}"));
                    }
                }
            }
        }
    }
    println!("{ran} blocks ran; left out:\n{}", left_out.join("\n"));
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(ran >= 6, "only {ran} blocks ran");
    assert!(left_out.len() <= NOT_RUN, "too many blocks are not run:\n{}", left_out.join("\n"));
}

/// A comparison that takes everything would make the test above pass.
#[test]
fn the_comparison_can_fail() {
    let block = |text: &str| Block { line: 1, not_run: None, text: text.lines().map(str::to_owned).collect() };
    let printed = "one  two three\nfour\nat 127.0.0.1:2\n";
    let missing = |block: &Block, printed: &str| missing(block, &Ports { free: 1, redis: 2 }, printed);
    assert_eq!(missing(&block("$ x\none two…\nfour"), printed), None);
    assert_eq!(missing(&block("two … three"), printed), None);
    assert_eq!(missing(&block("four\none two three"), printed), Some("one two three".to_owned()));
    assert_eq!(missing(&block("three … one"), printed), Some("three … one".to_owned()));
    assert_eq!(missing(&block("five"), printed), Some("five".to_owned()));
    assert_eq!(missing(&block("at 127.0.0.1:6379"), printed), None);
    assert_eq!(missing(&block("at 127.0.0.1:7070"), printed), Some("at 127.0.0.1:7070".to_owned()));
}
