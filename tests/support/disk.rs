//! A small disk of its own under a directory, so that a full one is real. Where this user may not mount one, the test runs itself again in a
//! namespace of its own (`unshare`), in which it may. Where that is not allowed either it fails: what was not tried is not proven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set in the process that runs a test again.
const IN_NAMESPACE: &str = "TEST_IN_NAMESPACE";
/// Lets tests pass unproven that need a disk of their own.
const WITHOUT_MOUNTS: &str = "TESTS_WITHOUT_MOUNTS";

/// A file system of so many megabytes, as long as this lives. Declared behind the bench whose directory it is on.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount: the test has passed in a namespace where it may, or was told to do without
    /// (`TESTS_WITHOUT_MOUNTS`).
    pub fn at(dir: &Path, megabytes: u64) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        for dir in dir.ancestors().take(2) {
            std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        if mount(&["-o", &format!("mode=0700,size={megabytes}m"), "tmpfs"], dir) {
            return Some(Self(dir.to_owned()));
        }
        if std::env::var_os(WITHOUT_MOUNTS).is_some() {
            println!("not proven: no file system may be mounted here, and {WITHOUT_MOUNTS} is set");
        } else {
            passes_in_a_namespace();
        }
        None
    }

    /// Makes it as large as that.
    pub fn resize(&self, megabytes: u64) {
        assert!(mount(&["-o", &format!("remount,size={megabytes}m"), "tmpfs"], &self.0));
    }

    /// Takes no more writes, or takes them again. Nothing on it may be open for writing.
    pub fn read_only(&self, is: bool) {
        assert!(mount(&["-o", if is { "remount,ro" } else { "remount,rw" }, "tmpfs"], &self.0));
    }

    /// Fills it but for so many bytes.
    pub fn fill_but(&self, free: u64) {
        let file = std::fs::File::create(self.0.join("filler")).unwrap();
        let now = tair_backup_mcp::config::durable::free(&self.0).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, now - free).unwrap();
    }

    /// Takes away what filled it.
    pub fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

/// Runs the test of this thread again where it is root of a namespace of its own, and passes or fails as that does.
fn passes_in_a_namespace() {
    let what_to_do = format!(
        "no file system may be mounted here, so that no disk can be full: run this test as root (in a container with CAP_SYS_ADMIN), or where \
         `unshare --user --map-root-user --mount true` works; {WITHOUT_MOUNTS}=1 leaves it unproven"
    );
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).stdin(Stdio::null());
        command
    };
    let allowed = || unshare().arg("true").output().is_ok_and(|done| done.status.success());
    assert!(std::env::var_os(IN_NAMESPACE).is_none() && allowed(), "{what_to_do}");
    // The harness names the thread of a test after it, but where tests run one at a time.
    let thread = std::thread::current();
    let test = thread.name().filter(|name| name.contains("::"));
    let test =
        test.unwrap_or_else(|| panic!("{what_to_do}; or let tests run two at a time, so that each knows its name"));
    let mut again = unshare();
    again.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(IN_NAMESPACE, "1");
    let ended = again.output().unwrap();
    // What it printed belongs to this test.
    println!("{}", String::from_utf8_lossy(&ended.stdout));
    eprintln!("{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "it failed in a namespace of its own: see above");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "no test {test} ran: see above");
}

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(["-t", "tmpfs"]).args(args).arg(at).output().is_ok_and(|done| done.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
