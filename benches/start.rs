//! From exec to the first `tools/list` reply over stdio, for several servers in turn, and what they then have resident.
//!
//!     start ROUNDS legacy|modern -- SERVER ARGS… [-- SERVER ARGS…]…
//!
//! Prints a line for each server: its resident kB one second after the list, then the milliseconds of each round.
//! `benches/run start` measures with it. A program of its own, because starting a process from Python costs more than
//! the server under test.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to the terminal")]

use std::io::{self, BufReader, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const LEGACY: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"#,
    r#""clientInfo":{"name":"bench","version":"1"}}}"#,
    "\n"
);
const LEGACY_LIST: &str = concat!(
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
    "\n"
);
const MODERN_LIST: &str = concat!(
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":{"#,
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#,
    "\n"
);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = args.split(|a| a == "--");
    let head = parts.next().unwrap_or_default();
    let servers: Vec<&[String]> = parts.collect();
    let ([rounds, era], false) = (head, servers.is_empty()) else {
        // `cargo bench` calls without knowing what to start.
        println!("start: run by benches/run start");
        return ExitCode::SUCCESS;
    };
    match measure(rounds.parse().unwrap_or(50), era == "legacy", &servers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize, legacy: bool, servers: &[&[String]]) -> io::Result<()> {
    let mut times = vec![Vec::new(); servers.len()];
    for round in 0..=rounds {
        for (times, server) in times.iter_mut().zip(servers) {
            let (mut child, took) = list(server, legacy)?;
            // The first round fills the page cache and does not count.
            if round > 0 {
                times.push(took);
            }
            end(&mut child)?;
        }
    }
    for (times, server) in times.iter().zip(servers) {
        let (mut child, _) = list(server, legacy)?;
        std::thread::sleep(Duration::from_secs(1));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        print!("{}", resident.trim().trim_end_matches(" kB"));
        for took in times {
            print!(" {:.3}", took.as_secs_f64() * 1000.0);
        }
        println!();
        end(&mut child)?;
    }
    Ok(())
}

/// Starts a server and waits for its list.
fn list(server: &[String], legacy: bool) -> io::Result<(Child, Duration)> {
    let (program, args) = server.split_first().ok_or_else(|| io::Error::other("a server without a name"))?;
    let started = Instant::now();
    let mut child =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (Some(input), Some(output)) = (&mut child.stdin, &mut child.stdout) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut output = BufReader::new(output);
    if legacy {
        input.write_all(LEGACY.as_bytes())?;
        reply(&mut output, 1)?;
        input.write_all(LEGACY_LIST.as_bytes())?;
    } else {
        input.write_all(MODERN_LIST.as_bytes())?;
    }
    let list = reply(&mut output, 2)?;
    let took = started.elapsed();
    if !list.contains("\"tools\"") {
        return Err(io::Error::other(format!("{program} answered {list}")));
    }
    Ok((child, took))
}

fn reply(output: &mut impl io::BufRead, id: u32) -> io::Result<String> {
    let wanted = format!("\"id\":{id}");
    loop {
        let mut line = String::new();
        if output.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the server hung up"));
        }
        if line.contains(&wanted) {
            return Ok(line);
        }
    }
}

/// Closes its input, as a client does that leaves.
fn end(child: &mut Child) -> io::Result<()> {
    drop(child.stdin.take());
    child.wait().map(|_| ())
}
