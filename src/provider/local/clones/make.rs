//! Making a clone: its directory, its file, its server. Until it is whole it is nobody's, and goes when its maker fails.
//!
//! | What dies | What is left | Who removes it |
//! | --- | --- | --- |
//! | the maker, before the server runs | a directory whose lock is free | whoever looks next |
//! | the maker, once the server runs | a clone that is not whole, whose job has nobody | whoever reconciles the job |
//! | the server | a directory whose lock is free | its keeper all but the record; the rest whoever looks next |
//! | the keeper | the clone as it is | whoever looks at it after its life's end |

use super::lock::{self, Held};
use super::record::Record;
use super::{ADMIN, ADMIN_PASSWORD, Clones, PASSWORD, keep};
use crate::config::blocking::blocking;
use crate::config::durable;
use crate::config::home::{file_fault, private_dir};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::model::secret::Secret;
use crate::redis::endpoint::Endpoint;
use crate::redis::own_server::{OwnServer, StartError, starts_within};
use crate::redis::scratch::program::Program;
use crate::state::owner::lock_exclusive;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Name of the file that the server loads at its start.
const DUMP: &str = "dump.rdb";
/// What whoever has only the clone's password may do: read, and look at the server. Commands in scripts are asked for one by one.
/// SCRIPT DEBUG can end a server, so of SCRIPT there is only what loads and looks.
const READER: &str = "-@all +@read +@connection +@transaction +@scripting -script +script|load +script|exists -@write -@admin -@dangerous \
                      +select +info +keys +config|get +memory +command +time";

/// A clone that is being made.
#[derive(Debug)]
pub(in crate::provider::local) struct Making {
    dir: PathBuf,
    lock: File,
    record: Record,
}

impl Clones {
    /// Begins a clone: its directory, with its lock held and its record in it.
    ///
    /// # Errors
    /// `clone.exists`; `home.failed`.
    pub(in crate::provider::local) async fn begin(&self, record: Record) -> Result<Making, Fault> {
        let (dir, registry, exists) = (self.dir_of(&record.id), self.registry(), self.exists(&record.id));
        blocking(move || {
            if let Some(all) = dir.parent() {
                private_dir(all)?;
            }
            // Whoever sweeps waits: a directory without a lock looks like one that was left.
            let _registry = lock_exclusive(&registry)?;
            if dir.exists() {
                match lock::take(&dir).map_err(|e| file_fault("lock", &dir, e))? {
                    Held::Another(_) => return Err(exists),
                    Held::Ours(_) | Held::Nothing => {
                        std::fs::remove_dir_all(&dir).map_err(|e| file_fault("remove", &dir, e))?;
                    }
                }
            }
            private_dir(&dir)?;
            let lock = lock::new(&dir).map_err(|e| file_fault("lock", &dir, e))?;
            record.write(&dir)?;
            Ok(Making { dir, lock, record })
        })
        .await
    }
}

impl Making {
    /// The file that the server will load, to be written by the caller. Blocking.
    ///
    /// # Errors
    /// Those of the file system.
    pub(in crate::provider::local) fn dump(&self) -> std::io::Result<File> {
        durable::private_file(&self.dir.join(DUMP))
    }

    /// Starts the server on that file, of so many bytes, and waits until it has loaded it.
    ///
    /// # Errors
    /// `clone.failed`; `home.failed`.
    pub(in crate::provider::local) async fn start(
        &self,
        own_program: Option<&Path>,
        program: &Program,
        databases: u64,
        bytes: u64,
    ) -> Result<Endpoint, Fault> {
        let (password, admin) = (hex(&random::<16>()?), hex(&random::<24>()?));
        for (name, text) in [(PASSWORD, password.clone()), (ADMIN_PASSWORD, admin.clone())] {
            let path = self.dir.join(name);
            blocking(move || durable::put_new(&path, text.as_bytes()).map_err(|e| file_fault("write", &path, e)))
                .await?;
        }
        let hash = |password: &str| hex(&Sha256::digest(password));
        let server = OwnServer {
            program: program.path.clone(),
            started_by: own_program.map_or_else(Vec::new, |own| self.kept_by(own)),
            dir: self.dir.clone(),
            settings: format!(
                "dbfilename {DUMP}\nsave \"\"\nappendonly no\nmaxmemory 0\nmaxmemory-policy noeviction\n\
                 databases {databases}\nrepl-diskless-sync-delay 0\nuser default on #{} ~* &* {READER}\nuser {ADMIN} on #{} ~* &* +@all\n",
                hash(&password),
                hash(&admin)
            ),
            username: Some(ADMIN.into()),
            password: Secret::new(admin),
        };
        let within = starts_within(bytes);
        server.start(Some(&self.lock), within).await.map_err(|error| match error {
            StartError::Home(fault) => fault,
            error => not_made(&program.name, &error.to_string()).because(error),
        })
    }

    /// The command that keeps the server.
    fn kept_by(&self, own_program: &Path) -> Vec<OsString> {
        vec![own_program.into(), keep::SUBCOMMAND.into(), self.dir.clone().into(), "--".into()]
    }

    /// Writes down that the clone is whole. From here on it is shown, and its server alone has the lock.
    ///
    /// # Errors
    /// `home.failed`.
    pub(in crate::provider::local) async fn made(&mut self) -> Result<Record, Fault> {
        let record = Record { made: true, ..self.record.clone() };
        let (written, dir) = (record.clone(), self.dir.clone());
        blocking(move || written.write(&dir)).await?;
        self.record.made = true;
        Ok(record)
    }

    /// Ends what there is of it.
    pub(in crate::provider::local) async fn discard(self, clones: &Clones) {
        let Self { dir, lock, record } = self;
        drop(lock);
        if let Err(fault) = clones.end(&record.id).await {
            tracing::warn!(clone = %record.id, "what was made of the clone in {} could not be removed: {fault}", dir.display());
        }
    }
}

/// The clone did not come to be; nothing of it is left.
pub(in crate::provider::local) fn not_made(program: &str, why: &str) -> Fault {
    let message = format!("the clone was not made, and nothing of it is left: {program}: {why}");
    Fault::new(Kind::Provider, "clone.failed", message)
        .hint("Make a new plan when this is cured; download_backup gives the set's file.")
}
