//! `keep-clone`: the process that a clone's server is started by, of this very program. It waits for the server's end, ends it when the
//! clone's life is over, whether or not any other process of this program runs then, and removes its data. The record stays for the next command, which
//! writes the end down and removes the rest. A person who removes the directory ends the server too.
//!
//! Killed, it leaves the server, which the next command on the home finds by its lock. It must not touch a directory whose lock is not
//! its own standard input.

use super::lock::{self, LOCK};
use super::record::{RECORD, Record};
use jiff::Timestamp;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

/// Name of the subcommand.
pub const SUBCOMMAND: &str = "keep-clone";
/// Between two looks at server and clock: a clock that was set, or a machine that slept, counts too.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The clone's directory
    dir: PathBuf,
    /// The server, with its arguments
    #[arg(last = true, required = true)]
    server: Vec<OsString>,
}

/// Starts the server and sees it to its end. Blocking; says nothing, for nobody listens.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match keep(args) {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(_) => ExitCode::FAILURE,
    }
}

fn keep(args: &Args) -> io::Result<ExitStatus> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((program, arguments)) = args.server.split_first().filter(|_| lock::is_of(&stdin, &args.dir)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut server = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = loop {
        if let Some(ended) = server.try_wait()? {
            break ended;
        }
        let lives = |record: Record| record.of.ends_at > Timestamp::now();
        if !Record::read(&args.dir).is_some_and(lives) {
            // Nothing of a clone is kept, so nothing has to be saved.
            server.kill()?;
            break server.wait()?;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    // One that was never whole is its maker's, who says why.
    if Record::read(&args.dir).is_some_and(|record| record.made) && lock::is_of(&stdin, &args.dir) {
        for entry in std::fs::read_dir(&args.dir)? {
            let entry = entry?;
            if entry.file_name() == RECORD || entry.file_name() == LOCK {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(ended)
}
