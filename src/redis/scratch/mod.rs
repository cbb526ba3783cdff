//! Scratch servers: started by this program on a loopback socket in a private directory, to load an RDB once, to be asked, and to be
//! stopped. Whatever ends this program ends them, and their directory goes with them; what a crash of the machine leaves goes with the
//! next one.
//!
//! It must not let anybody else in, keep anything, or be used for a server that this program did not start.

pub mod program;
pub mod room;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use self::program::Program;
use crate::config::durable;
use crate::guard::grant::Scratch;
use crate::model::ids::{hex, random};
use crate::model::instance::Counts;
use crate::redis::conn::Conn;
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::error::RedisError;
use crate::redis::facts::key_counts;
use crate::redis::server_log::end_of;
use tokio::io::AsyncReadExt as _;

/// Name of the file that a server loads at its start.
const DUMP: &str = "dump.rdb";
/// Name of the socket.
const SOCKET: &str = "s";
/// Longest path of a socket that every system takes, in bytes.
const SOCKET_PATH_MAX: usize = 100;
/// Between two looks at a server that loads.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A directory younger than this may have been made by a process that has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);
/// Bytes of a directory's name, which is their hexadecimal form.
const NAME_BYTES: usize = 6;
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a log in which is looked for why a server has ended: a crash report stands behind that.
const SEARCHED_MAX: u64 = 1 << 20;
/// What servers write that were asked to end, or got no memory, which they tell in words alone.
const NOT_OF_THE_DATA: [&[u8]; 5] =
    [b"requested shutdown", b"shutdown signal", b"Out Of Memory", b"failed allocating", b"OOM in "];
/// What a server writes that could not make a value, for whatever reason. The data has no such end, for it was walked before.
const UNEXPECTED_END: &[u8] = b"Unexpected EOF";
/// The one such reason that is of the data, which servers write before that. Redis 7.0 writes none where it got no memory.
const LIBRARY: &[u8] = b"Failed loading library";
/// Name of the file that says with which code a server has ended.
const ENDED: &str = "ended";
/// Starts the server, and ends it and its directory when the other end of standard input is closed, as it is when this program ends in
/// whatever way. `$0` is the directory.
const WATCH: &str = r#"exec 3<&0
"$@" </dev/null & server=$!
{ cat <&3; kill -9 "$server"; } >/dev/null 2>&1 & watch=$!
wait "$server"
echo "$?" >ended
kill "$watch" 2>/dev/null
cat <&3 >/dev/null
cd / && rm -rf "$0""#;

/// Why a scratch server did not come to serve.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The server ended of what it loaded, or was asked for: that is what the data does to a server.
    #[error("it ended with {code}: {log}")]
    Died {
        /// The code that the server ended with.
        code: String,
        /// The end of the server's log.
        log: String,
    },
    /// The server was ended, or ended for want of memory: that says nothing of data that was walked before.
    #[error("it was ended, or got no memory ({code}): {log}")]
    Ended {
        /// The code that the server ended with.
        code: String,
        /// The end of the server's log.
        log: String,
    },
    /// The server did not serve in time.
    #[error("it did not serve within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The server did not do what it was asked for.
    #[error(transparent)]
    Asked(#[from] RedisError),
    /// The directory or the program cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ScratchError {
    /// What the code of a server that has ended says, and its log, of which `log` is the end.
    fn of_end(code: String, log: String, searched: &[u8]) -> Self {
        let says = |what: &[u8]| searched.windows(what.len()).any(|found| found == what);
        // From 126 on: it was not started, or signals, of which some are a processor's or an assertion's (ILL, TRAP, ABRT, BUS, FPE, SEGV), and
        // the others are somebody's: KILL is how a system gets memory back. 0 says nothing: a server whose own check of a file passes ends
        // with it, too.
        let by_itself = matches!(code.parse(), Ok(0_u8..=125 | 132..=136 | 139));
        let of_others = NOT_OF_THE_DATA.iter().any(|what| says(what)) || (says(UNEXPECTED_END) && !says(LIBRARY));
        if by_itself && !of_others { Self::Died { code, log } } else { Self::Ended { code, log } }
    }
}

/// A private directory for one scratch server, locked as long as this program uses it. Dropping it removes it.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    _lock: File,
}

impl ScratchDir {
    /// Makes a directory under `parent`, and removes those that nobody uses any more. Blocking.
    ///
    /// # Errors
    /// Those of the file system; where the path is too long for a socket.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let dir = parent.join(hex(&random::<NAME_BYTES>().map_err(io::Error::other)?));
        if dir.join(SOCKET).as_os_str().len() > SOCKET_PATH_MAX {
            return Err(io::Error::other(format!("{} is too long for a socket's path", dir.display())));
        }
        sweep(parent);
        durable::private_dir(&dir)?;
        let lock = File::open(&dir)?;
        lock.lock()?;
        Ok(Self { path: dir, _lock: lock })
    }

    /// A directory whose server will load what is read from there, and how many bytes that is. Blocking.
    ///
    /// # Errors
    /// As [`Self::new`]; those of the reading.
    pub fn with_dump(parent: &Path, from: &mut impl io::Read) -> io::Result<(Self, u64)> {
        let dir = Self::new(parent)?;
        let mut dump = BufWriter::with_capacity(1 << 20, dir.dump()?);
        let bytes = io::copy(from, &mut dump)?;
        dump.flush()?;
        drop(dump);
        Ok((dir, bytes))
    }

    /// The file that the server will load, to be written by the caller. Blocking.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn dump(&self) -> io::Result<File> {
        durable::private_file(&self.path.join(DUMP))
    }
}

/// Removes what a crash of the machine has left: directories of ours that no process holds the lock of.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.len() == 2 * NAME_BYTES && name.bytes().all(|b| b.is_ascii_hexdigit()));
        let old = entry
            .metadata()
            .is_ok_and(|m| m.is_dir() && m.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG)));
        if ours && old && File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            // Not removed now, it is tried again with the next one.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // The watching shell may have been first.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A server that has loaded its file. Dropping it ends it.
#[derive(Debug)]
pub struct ScratchServer {
    child: Child,
    dir: ScratchDir,
    endpoint: Endpoint,
}

impl ScratchServer {
    /// Starts a server on the directory's file, with so many databases, and waits until it has loaded it.
    ///
    /// # Errors
    /// [`ScratchError`].
    pub async fn start(
        program: &Program,
        dir: ScratchDir,
        databases: u64,
        within: Duration,
    ) -> Result<Self, ScratchError> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(WATCH)
            .arg(&dir.path)
            .arg(&program.path)
            .args(["--port", "0", "--unixsocket", SOCKET, "--unixsocketperm", "700", "--dir", "."])
            .args(["--dbfilename", DUMP, "--save", "", "--appendonly", "no", "--logfile", "log"])
            .args(["--databases", &databases.max(16).to_string()])
            .args(program.strict())
            .current_dir(&dir.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let address = Address::Unix(dir.path.join(SOCKET));
        let endpoint = Endpoint { address, username: None, password: None, tls: None };
        let server = Self { child, dir, endpoint };
        match server.loaded(within).await {
            Ok(()) => Ok(server),
            Err(e) => {
                server.stop().await;
                Err(e)
            }
        }
    }

    async fn loaded(&self, within: Duration) -> Result<(), ScratchError> {
        let begun = Instant::now();
        loop {
            if let Some(died) = self.ended(Duration::ZERO).await {
                return Err(died);
            }
            // While it loads it answers that it does, which is an error.
            if let Ok(mut conn) = Conn::open(&self.endpoint, ANSWER_WITHIN).await
                && conn.cmd_str(&["PING"]).await.is_ok()
            {
                return Ok(());
            }
            if begun.elapsed() > within {
                return Err(ScratchError::TooSlow(within));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How the server has ended, or ends within that time.
    pub async fn ended(&self, within: Duration) -> Option<ScratchError> {
        let begun = Instant::now();
        loop {
            // The shell makes the file before it writes it.
            if let Ok(code) = tokio::fs::read_to_string(self.dir.path.join(ENDED)).await
                && code.ends_with('\n')
            {
                let log = self.log().await;
                return Some(ScratchError::of_end(code.trim().into(), log, &self.searched_log().await));
            }
            if begun.elapsed() >= within {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The proof that the server is this program's own.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        Scratch::started(&self.child)
    }

    /// Saves what the server holds and ends it. The file has no name by then: closed, it is gone, whatever ends this program.
    ///
    /// # Errors
    /// What the server said, and those of the file system.
    pub async fn save(self, within: Duration) -> Result<File, ScratchError> {
        let path = self.dir.path.join(DUMP);
        let saved = async {
            let mut conn = Conn::open(&self.endpoint, within).await?;
            conn.cmd_str(&["SAVE"]).await?;
            Ok(tokio::fs::File::open(&path).await?.into_std().await)
        };
        let saved = saved.await;
        self.stop().await;
        saved
    }

    /// The end of the server's log, cleaned.
    pub async fn log(&self) -> String {
        end_of(&self.dir.path.join("log")).await
    }

    /// The log, as much as is searched; what cannot be read says nothing.
    async fn searched_log(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Ok(log) = tokio::fs::File::open(self.dir.path.join("log")).await {
            let _ = log.take(SEARCHED_MAX).read_to_end(&mut text).await;
        }
        text
    }

    /// Keys per database.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn counts(&self) -> Result<Counts, RedisError> {
        key_counts(&mut Conn::open(&self.endpoint, ANSWER_WITHIN).await?).await
    }

    /// Where the server listens.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends the server, and waits until it and its directory are gone.
    pub async fn stop(self) {
        // Where the waiting thread dies, the shell ends the server all the same.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for ScratchServer {
    fn drop(&mut self) {
        // The shell ends when the server and the directory are gone.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    //! What an end of a server says.
    use super::ScratchError;

    #[test]
    fn only_an_end_of_its_own_says_something_of_the_data() {
        for (code, log, died) in [
            ("1", "Internal error in RDB reading offset 0 -> Zset ziplist integrity check failed", true),
            ("134", "ASSERTION FAILED", true),
            ("139", "", true),
            (
                "0",
                "Failed loading library, Error compiling function; Short read or OOM loading DB; Unexpected EOF",
                true,
            ),
            ("1", "Short read or OOM loading DB. Unrecoverable error; Unexpected EOF reading RDB file", false),
            ("1", "rdbLoadLzfStringObject failed allocating 67108864 bytes; Unexpected EOF reading RDB file", false),
            ("1", "OOM in dictTryExpand 9; Internal error in RDB reading", false),
            ("134", "Out Of Memory allocating 9 bytes!", false),
            ("0", "User requested shutdown...", false),
            ("0", "Received shutdown signal during loading, exiting now.", false),
            // Not started; TERM; KILL.
            ("127", "", false),
            ("143", "", false),
            ("137", "", false),
        ] {
            let end = ScratchError::of_end(code.into(), String::new(), log.as_bytes());
            assert_eq!(matches!(end, ScratchError::Died { .. }), died, "{code}, {log}: {end:?}");
        }
    }
}
