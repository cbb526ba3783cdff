//! Clocks that a test turns: that of its own process, and that of the emulator. A small library is preloaded into both, which adds what a
//! file says to the wall clock of all that runs in the process: no code of the program has to know of it. A process gets the
//! library when it starts, so a test that wants clocks runs itself again.

use crate::support::root;
use jiff::{SignedDuration, Timestamp};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where the library finds the clock of its process.
const OURS: &str = "TEST_CLOCK";
/// Where the emulator's clock is.
const THEIRS: &str = "TEST_CLOCK_OF_EMULATOR";

/// The clocks of a test's process and of its emulator, both ahead of the machine's.
pub struct Clocks {
    ours: File,
    theirs: File,
    /// Seconds by which the emulator's clock is ahead of the machine's.
    ahead: i64,
    /// Seconds by which ours is ahead of the emulator's.
    skew: i64,
}

impl Clocks {
    /// Runs the test of that name again in a process with clocks, and passes or fails as that does; gives the clocks in that process.
    pub fn of(test: &str) -> Option<Self> {
        let given = |name: &str| std::env::var_os(name).map(|path| File::options().write(true).open(path).unwrap());
        if let (Some(ours), Some(theirs)) = (given(OURS), given(THEIRS)) {
            return Some(Self { ours, theirs, ahead: 0, skew: 0 });
        }
        let dir = TempDir::new().unwrap();
        let library = dir.path().join("clock.so");
        let built = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .arg(&library)
            .arg(root().join("tests/support/clock.c"))
            .status();
        assert!(built.is_ok_and(|built| built.success()), "a C compiler is needed");
        let clock = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, 0_i64.to_ne_bytes()).unwrap();
            path
        };
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([test, "--exact", "--nocapture"]).stdin(Stdio::null()).env("LD_PRELOAD", &library);
        let ended = again.env(OURS, clock("ours")).env(THEIRS, clock("theirs")).output().unwrap();
        // What it printed belongs to this test.
        println!("{}", String::from_utf8_lossy(&ended.stdout));
        eprintln!("{}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "see above");
        None
    }

    /// The same clocks, set to the machine's.
    pub fn again(&self) -> Self {
        let again = |file: &File| file.try_clone().unwrap();
        let clocks = Self { ours: again(&self.ours), theirs: again(&self.theirs), ahead: 0, skew: 0 };
        clocks.set();
        clocks
    }

    fn set(&self) {
        let write = |file: &File, seconds: i64| file.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0).unwrap();
        write(&self.theirs, self.ahead);
        write(&self.ours, self.ahead + self.skew);
    }

    /// Lets so many seconds pass for both.
    pub fn pass(&mut self, seconds: i64) {
        self.ahead += seconds;
        self.set();
    }

    /// Sets ours ahead of the emulator's by so many seconds; gives back by how many it was.
    pub fn skew(&mut self, seconds: i64) -> i64 {
        let before = std::mem::replace(&mut self.skew, seconds);
        self.set();
        before
    }

    /// Seconds by which ours is ahead of the emulator's.
    pub const fn off(&self) -> i64 {
        self.skew
    }

    /// The machine's own time.
    pub fn machine(&self) -> Timestamp {
        Timestamp::now() - SignedDuration::from_secs(self.ahead + self.skew)
    }

    /// Seconds that have passed beside the machine's own.
    pub const fn passed(&self) -> i64 {
        self.ahead
    }
}

/// Gives a command that starts the emulator its clock, where the test has clocks.
pub fn give_theirs(command: &mut Command) {
    if let Some(clock) = std::env::var_os(THEIRS) {
        command.env(OURS, clock);
    }
}

/// Leaves a command the machine's own clock.
pub fn take_away(command: &mut Command) {
    command.env_remove("LD_PRELOAD");
}
