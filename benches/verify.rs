//! Verifies once and says what it read: the part of the verification benchmark that no command line offers.
//!
//!     verify rdb FILE                        a plain RDB: CRC64, the inside of every value, nothing twice; more than redis-check-rdb checks
//!     verify sha FILE                        the same and SHA-256
//!     verify set VAULT INSTANCE_ID BACKUP_ID a set at rest, as a restore does: frames, SHA-256, counts, and all of that
//!     verify keys-of VAULT INSTANCE_ID BACKUP_ID REGEX    a set at rest, its keys that match made into RESTORE commands, as a restore of some keys does
//!     verify keys-to PORT FILE REGEX         the same of a plain RDB, sent to a server on the loopback, each reply awaited
//!
//! `benches/run verify` measures it. It must do nothing that the server's own verification does not.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to the terminal")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use tair_backup_mcp::model::key_filter::SomeKeys;
use tair_backup_mcp::model::key_filter::matcher::KeyMatcher;
use tair_backup_mcp::redis::rdb::statistics::Dialect;
use tair_backup_mcp::redis::rdb::unique::Unique;
use tair_backup_mcp::redis::rdb::{self, Tap as _};
use tair_backup_mcp::redis::replay::encoder::RestoreEncoder;
use tair_backup_mcp::redis::replay::frame::Frame;
use tair_backup_mcp::redis::replay::some::Wanted;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::hashing::Hashing;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["rdb", path] => plain(path, false),
        ["sha", path] => plain(path, true),
        ["set", vault, instance_id, backup_id] => set(vault, instance_id, backup_id),
        ["keys-to", port, path, list] => keys_to(port, path, list),
        ["keys-of", vault, instance_id, backup_id, list] => keys_of(vault, instance_id, backup_id, list),
        // `cargo bench` calls without knowing what to verify.
        _ => {
            println!("verify: run by benches/run verify");
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn plain(path: &str, hash: bool) -> Result<String, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut sha = if hash { Some(Hashing::new().map_err(|e| e.to_string())?) } else { None };
    let tap = |block: &[u8]| sha.as_mut().map_or(Ok(()), |sha| sha.bytes(block));
    let mut unique = Unique::new(std::env::temp_dir());
    let statistics = rdb::walk_unique(file, tap, (), &mut unique).map_err(|e| e.to_string())?.statistics;
    if let Some(sha) = sha {
        sha.finish().map_err(|e| e.to_string())?;
    }
    if unique.needs_second_walk().map_err(|e| e.to_string())? {
        let again = File::open(path).map_err(|e| e.to_string())?;
        rdb::walk_unique(again, (), (), &mut unique).map_err(|e| e.to_string())?;
    }
    Ok(format!("{} keys, {} bytes, {:?}", statistics.keys(), statistics.bytes, statistics.checksum))
}

/// Makes the keys that match into commands, which another thread writes: what is to be said, and how many commands there were.
fn keys(source: impl Read, list: &str, mut to: impl Write + Send + 'static) -> Result<(String, usize), String> {
    let some = SomeKeys { filter_key: list.to_owned(), add_prefix: None };
    let matcher = KeyMatcher::new(&some).map_err(|fault| fault.message)?;
    let (frames, mut sent) = tokio::sync::mpsc::channel(4);
    let written = std::thread::spawn(move || {
        let (mut bytes, mut commands) = (0, 0);
        while let Some(frame) = sent.blocking_recv() {
            if let Frame::Bytes { wire, ends } = frame {
                bytes += wire.len();
                commands += ends.len();
                to.write_all(&wire)?;
            }
        }
        std::io::Result::Ok((bytes, commands))
    });
    let wanted = Wanted { matcher: Arc::new(matcher), dialect: Dialect::Redis, ahead_ms: 0, had: None };
    let encoder = RestoreEncoder::new(frames, 0, std::env::temp_dir()).some(wanted);
    let walked = rdb::walk(source, (), encoder).map_err(|e| e.to_string())?;
    let all = walked.statistics.keys();
    let gathered = walked.visitor.finish_some().map_err(|e| e.to_string())?.ok_or("all keys were sent")?;
    let (bytes, commands) = written.join().map_err(|_| "the other thread died")?.map_err(|e| e.to_string())?;
    Ok((format!("{} of {all} keys, {bytes} bytes of commands", gathered.sent.total()), commands))
}

/// Sends the keys that match to a server that has none of them, which replies +OK to each command.
fn keys_to(port: &str, path: &str, list: &str) -> Result<String, String> {
    let sending = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).map_err(|e| e.to_string())?;
    let reading = sending.try_clone().map_err(|e| e.to_string())?;
    let closing = sending.try_clone().map_err(|e| e.to_string())?;
    // A server that is not read from stops reading.
    let replies = std::thread::spawn(move || {
        BufReader::new(reading).lines().try_fold(0, |count, line| match line?.as_str() {
            "+OK" => Ok(count + 1),
            other => Err(std::io::Error::other(other.to_owned())),
        })
    });
    let (said, commands) = keys(File::open(path).map_err(|e| e.to_string())?, list, sending)?;
    // The server answers all that it was sent, and then sees the end.
    closing.shutdown(std::net::Shutdown::Write).map_err(|e| e.to_string())?;
    let count = replies.join().map_err(|_| "the other thread died")?.map_err(|e| e.to_string())?;
    if count == commands { Ok(said) } else { Err(format!("{commands} commands, {count} replies")) }
}

fn keys_of(vault: &str, instance_id: &str, backup_id: &str, list: &str) -> Result<String, String> {
    let vault = Vault::new(vault.into());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let open = async {
        let set = vault.find(instance_id, backup_id, &()).await?;
        vault.open_data(&set).await
    };
    keys(runtime.block_on(open).map_err(|f| f.to_string())?, list, std::io::sink()).map(|(said, _)| said)
}

fn set(vault: &str, instance_id: &str, backup_id: &str) -> Result<String, String> {
    let vault = Vault::new(vault.into());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let verify = async {
        let set = vault.find(instance_id, backup_id, &()).await?;
        vault.verify(&set).await
    };
    let statistics = runtime.block_on(verify).map_err(|f| f.to_string())?;
    Ok(format!("{} keys, {} bytes, {:?}", statistics.keys(), statistics.bytes, statistics.checksum))
}
