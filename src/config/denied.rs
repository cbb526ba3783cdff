//! What the system does not let this user do with a file: whose it is, and what to type. Such a file is neither damaged nor missing.
//!
//! It must not be asked about a store that is no disk: only errors that the system itself gave are read.

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A denial, shown as the part of a sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The file, or the nearest directory above it that this user can look at.
    at: PathBuf,
    /// Whether this user may not even read that.
    unreadable: bool,
    /// Whose it is.
    owner: String,
    /// Who this process is.
    me: String,
    mode: u32,
    /// Whether it may be one of the machine's own directories, such as `/root` or `/var/lib`, which are not to be given away.
    may_be_shared: bool,
}

impl Denied {
    /// What the system denied at a path; `None` for an error of another kind. Blocking.
    #[must_use]
    pub fn of(e: &io::Error, path: &Path) -> Option<Self> {
        let denied = [Errno::ACCESS, Errno::PERM];
        if Errno::from_io_error(e).is_none_or(|errno| !denied.contains(&errno)) {
            return None;
        }
        let (path, me) = (std::path::absolute(path).ok()?, geteuid().as_raw());
        let mut there = path.ancestors().filter_map(|at| Some((at, at.metadata().ok()?)));
        let nearest = there.next()?;
        let (at, found) = if nearest.0 == path && nearest.1.uid() == me && is_readable(&nearest) {
            // A file of this user's own in a directory of somebody else's is neither replaced nor removed.
            there.next().filter(|(_, above)| above.uid() != me).unwrap_or(nearest)
        } else {
            nearest
        };
        let (unreadable, depth) = (!is_readable(&(at, found.clone())), at.components().count());
        Some(Self {
            at: at.to_owned(),
            unreadable,
            may_be_shared: at != path && depth <= if unreadable { 2 } else { 3 },
            owner: user(found.uid()),
            me: user(me),
            mode: found.permissions().mode() & 0o7777,
        })
    }

    /// The next step: commands for a shell.
    #[must_use]
    pub fn hint(&self) -> String {
        let Self { at, owner, me, .. } = self;
        let word = crate::model::text::shell_word(&at.to_string_lossy());
        if owner == me {
            return format!("Give this user the right: chmod u+rwX {word}");
        }
        let run = format!("Run this as {owner} ({})", run_as(owner));
        if self.may_be_shared {
            format!("{run}, or name a place of {me}'s own.")
        } else {
            format!("{run}, or give the files to {me}: sudo chown -R {me} {word}")
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, unreadable, owner, me, mode, .. } = self;
        let what = if *unreadable { "unreadable" } else { "not writable" };
        write!(f, "{what}: {} is owned by {owner} (mode {mode:o}), and this runs as {me}", at.display())
    }
}

fn is_readable((at, found): &(&Path, Metadata)) -> bool {
    let needed = if found.is_dir() { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
    access(*at, needed).is_ok()
}

/// Why something could not be done with a file: what the system denied, else its own words.
#[must_use]
pub fn why(e: &io::Error, path: &Path) -> String {
    Denied::of(e, path).map_or_else(|| e.to_string(), |denied| denied.to_string())
}

/// The name of a user; the number where the machine's list of users has none for it.
#[must_use]
pub fn user(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

/// What to type to run this program as a user; `sudo` takes a number behind a `#`.
#[must_use]
pub fn run_as(user: &str) -> String {
    let number = user.bytes().all(|b| b.is_ascii_digit());
    let user = if number { format!("'#{user}'") } else { user.to_owned() };
    format!("sudo -u {user} tair-backup-mcp …")
}

#[cfg(test)]
mod tests {
    //! Only what the system denied is a denial; it names the file, its owner and what to type.
    use super::{Denied, run_as, user};
    use rustix::io::Errno;
    use std::io::{Error, ErrorKind};

    #[test]
    fn whose_a_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not there");
        for other in [Error::from(Errno::NOENT), ErrorKind::PermissionDenied.into(), Error::other("denied")] {
            assert_eq!(Denied::of(&other, &path), None, "{other}");
        }
        let denied = Denied::of(&Errno::ACCESS.into(), &path).unwrap();
        let (said, me) = (denied.to_string(), user(rustix::process::geteuid().as_raw()));
        assert!(said.contains(&format!("{} is owned by {me}", dir.path().display())), "{said}");
        assert!(denied.hint().contains("chmod u+rwX "), "{}", denied.hint());
        let another = Denied { owner: "another".into(), may_be_shared: false, ..denied };
        assert!(another.hint().contains("sudo -u another ") && another.hint().contains(&format!("chown -R {me} ")));
        let shared = Denied { may_be_shared: true, ..another };
        assert!(!shared.hint().contains("chown"), "{}", shared.hint());
    }

    #[test]
    fn users_have_names() {
        assert_eq!((user(0).as_str(), user(u32::MAX - 7).as_str()), ("root", "4294967288"));
        assert!(run_as("root").starts_with("sudo -u root ") && run_as("501").starts_with("sudo -u '#501' "));
    }
}
