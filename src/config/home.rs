//! The home directory and the directories in it.

use crate::config::denied::Denied;
use crate::config::durable;
use crate::model::fault::{Fault, Kind};
use etcetera::BaseStrategy as _;
use std::path::{Path, PathBuf};

const NAME: &str = "tair-backup-mcp";
/// The file of the key that signs manifests, in the home.
pub const SIGNING_KEY: &str = "tair-backup.key";
/// The file of its public key, in the home.
pub const PUBLIC_KEY: &str = "tair-backup.pub";

/// The home directory: all that this program keeps is under it.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

fn xdg() -> Result<etcetera::base_strategy::Xdg, Fault> {
    etcetera::base_strategy::Xdg::new().map_err(|e| {
        Fault::new(Kind::Usage, "home.unknown", "this user has no home directory")
            .hint("Name a directory with --home and a configuration file with --config.")
            .because(e)
    })
}

/// `tair-backup-mcp/config.toml` in the XDG configuration directory.
///
/// # Errors
/// `home.unknown`.
pub fn default_config_file() -> Result<PathBuf, Fault> {
    Ok(xdg()?.config_dir().join(NAME).join("config.toml"))
}

impl Home {
    /// The directory named, made absolute, or the one in the XDG data directory. Touches nothing.
    ///
    /// # Errors
    /// `home.unknown`.
    pub fn new(named: Option<PathBuf>) -> Result<Self, Fault> {
        let dir = match named {
            Some(dir) => dir,
            None => xdg()?.data_dir().join(NAME),
        };
        std::path::absolute(&dir).map(Self).map_err(|e| {
            Fault::new(Kind::Usage, "home.unknown", format!("{} cannot be a home directory: {e}", dir.display()))
                .hint("Name a directory with --home.")
        })
    }

    /// The home directory's path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The directory of backup sets.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    /// The directory for what of logs is not on the vault yet.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The directory for downloads that name none.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.0.join("downloads")
    }

    /// The directory of scratch servers, each in one of its own.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// The directory of clones, each in one of its own.
    #[must_use]
    pub fn clones(&self) -> PathBuf {
        self.0.join("clones")
    }

    /// The directory of the sandbox's server.
    #[must_use]
    pub fn sandbox(&self) -> PathBuf {
        self.0.join("sandbox")
    }
}

/// A failed file operation under the home directory: `home.unreadable` where this user may not, else `home.failed`. Blocking.
pub(crate) fn file_fault(what: &str, path: &Path, e: std::io::Error) -> Fault {
    if let Some(denied) = Denied::of(&e, path) {
        let message = format!("cannot {what} {}: {denied}", path.display());
        return Fault::new(Kind::Unexpected, "home.unreadable", message).hint(denied.hint()).because(e);
    }
    Fault::new(Kind::Unexpected, "home.failed", format!("cannot {what} {}: {e}", path.display()))
        .hint("Check that the home directory (--home) is on a disk with room and belongs to this user.")
        .because(e)
}

/// Makes a directory that only this user may enter, and its parents.
///
/// # Errors
/// `home.failed`.
pub fn private_dir(path: &Path) -> Result<(), Fault> {
    durable::private_dir(path).map_err(|e| file_fault("make the directory", path, e))
}
