//! A small library for a process of ours: its wall clock, how long its vault takes for the log, and behind which step it dies, are what
//! the test says while it runs. No code of the program has to know of it.

use crate::support::root;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// What the processes that were started with it are told.
pub struct Preload {
    dir: TempDir,
    clock: File,
    vault: File,
    steps: File,
}

impl Preload {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let source = |name: &str| root().join("tests/support").join(name);
        let built = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .arg(dir.path().join("preload.so"))
            .args([source("clock.c"), source("vault.c"), source("steps.c")])
            .status();
        assert!(built.is_ok_and(|built| built.success()), "a C compiler is needed");
        let told = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, 0_i64.to_ne_bytes()).unwrap();
            File::options().read(true).write(true).open(path).unwrap()
        };
        let (clock, vault, steps) = (told("clock"), told("vault"), told("steps"));
        Self { dir, clock, vault, steps }
    }

    /// Gives a command the library.
    pub fn give(&self, command: &mut Command) {
        let path = |name: &str| self.dir.path().join(name);
        command.env("LD_PRELOAD", path("preload.so")).env("TEST_STEPS", path("steps"));
        command.env("TEST_CLOCK", path("clock")).env("TEST_VAULT", path("vault"));
    }

    fn tell(file: &File, value: i64) {
        file.write_all_at(&value.to_ne_bytes(), 0).unwrap();
    }

    /// Whoever is started next dies behind so many of its steps that last: commits to the state, and what it renames or removes on the vault. Of
    /// several that run the one dies that takes the last of so many; behind 0 nobody does.
    pub fn dies_behind(&self, steps: i64) {
        Self::tell(&self.steps, steps);
    }

    /// Of those that have the library the one dies that puts the next manifest of a set, right behind that.
    pub fn dies_behind_the_next_manifest(&self) {
        Self::tell(&self.steps, -1);
    }

    /// How many steps are left of those that were told.
    pub fn steps_left(&self) -> i64 {
        let mut left = [0; 8];
        self.steps.read_exact_at(&mut left, 0).unwrap();
        i64::from_ne_bytes(left)
    }

    /// Sets the clock ahead of the machine's by so many milliseconds, or back.
    pub fn clock_ahead_ms(&self, ms: i64) {
        Self::tell(&self.clock, ms * 1_000_000);
    }

    /// Each object of the log takes so long on its way to the vault.
    pub fn vault_takes(&self, long: Duration) {
        Self::tell(&self.vault, long.as_millis() as i64);
    }

    /// The vault neither takes an object nor refuses it.
    pub fn vault_hangs(&self) {
        Self::tell(&self.vault, -1);
    }

    /// The vault refuses every object.
    pub fn vault_fails(&self) {
        Self::tell(&self.vault, -2);
    }
}

impl Drop for Preload {
    /// A process that hangs is let go.
    fn drop(&mut self) {
        Self::tell(&self.vault, 0);
    }
}
