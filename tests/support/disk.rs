//! A small disk of its own under a directory, so that a full one is real: needs the right to mount, as root in a container has.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of so many megabytes, as long as this lives. Declared behind the bench whose directory it is on.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, and said so, where this process may not mount: the test is skipped.
    pub fn at(dir: &Path, megabytes: u64) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        for dir in dir.ancestors().take(2) {
            std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        let mounted = mount(&["-o", &format!("mode=0700,size={megabytes}m"), "tmpfs"], dir);
        if !mounted {
            println!("skipped: no file system may be mounted here, so that no disk can be full");
        }
        mounted.then(|| Self(dir.to_owned()))
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

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(["-t", "tmpfs"]).args(args).arg(at).output().is_ok_and(|done| done.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
