//! Clones: servers of this program's own that hold what a set or a moment held, to be looked at. Each is a directory under `clones/` in
//! the home, a server on a loopback port, and nothing else: no table has to agree with them.
//!
//! A clone lives as long as its server, and that no longer than its lifetime: its keeper ends it, and so does whoever looks at it later.
//! Nothing of it is kept. This room of the provider must not end or touch a server that it did not start: which those are says the
//! lock alone ([`lock`]).

pub mod keep;
mod lock;
pub(super) mod make;
mod record;

use self::lock::Held;
pub(super) use self::record::Record;
use crate::config::Config;
use crate::config::blocking::blocking;
use crate::config::home::file_fault;
use crate::model::fault::{Fault, Kind};
use crate::model::secret::Secret;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::own_server::{endpoint, port_of};
use crate::state::owner::lock_exclusive;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What ids of clones begin with: so no look is needed to tell them from others.
pub(super) const PREFIX: &str = "clone-";
/// File of the password that lets a person look.
const PASSWORD: &str = "password";
/// The user that this program logs in as, who may do everything.
pub(super) const ADMIN: &str = "tair-backup-mcp";
/// File of that user's password.
const ADMIN_PASSWORD: &str = "admin-password";
/// How long a server is waited for that was asked to end.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// How long processes are waited for that were killed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at a server that ends.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The clones of a home.
#[derive(Debug)]
pub(super) struct Clones {
    dir: PathBuf,
    /// The command that ends a clone, without its id.
    pub(super) delete: String,
    /// Hours that a clone lives.
    pub(super) lifetime_hours: u32,
    /// Programs named by the configuration.
    pub(super) programs: Vec<PathBuf>,
    /// This very program, by which clones are kept.
    pub(super) own_program: Option<PathBuf>,
}

/// What came of a look at a directory.
enum Found {
    /// Nobody belonged to it any more, and it is removed; what stood in its record.
    Removed(Option<Record>),
    /// Its life is over, and its server runs.
    Over(Record),
    /// It lives, or is being made.
    Stays,
}

impl Clones {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            dir: config.home.clones(),
            delete: config.command("delete-instance --instance-id"),
            lifetime_hours: config.clone_lifetime_hours,
            programs: config.server_programs.clone(),
            own_program: config.own_program.clone(),
        }
    }

    /// Where clones are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn dir_of(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Held while a directory is begun, and while it is told whether one was left.
    fn registry(&self) -> PathBuf {
        self.dir.join(".lock")
    }

    /// When the life of a clone that begins now is over.
    pub(super) fn ends_at(&self, now: Timestamp) -> Timestamp {
        now.checked_add(SignedDuration::from_hours(i64::from(self.lifetime_hours))).unwrap_or(Timestamp::MAX)
    }

    /// The fault of a name that a clone has.
    pub(super) fn exists(&self, id: &str) -> Fault {
        Fault::new(Kind::Usage, "clone.exists", format!("there is an instance {id} already")).hint(format!(
            "Give another instance_name; or, where it is a clone, end it in a terminal: `{} {id}`.",
            self.delete
        ))
    }

    /// The file of the password that lets a person look at a clone.
    pub(super) fn password_file(&self, id: &str) -> PathBuf {
        self.dir_of(id).join(PASSWORD)
    }

    /// All records, whole and half made, whether or not anybody lives.
    async fn records(&self) -> Vec<Record> {
        let dir = self.dir.clone();
        let read = blocking(move || Ok(dirs(&dir).iter().filter_map(|dir| Record::read(dir)).collect::<Vec<_>>()));
        let mut all = read.await.unwrap_or_default();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The clones that are whole and live, by their ids.
    pub(super) async fn living(&self) -> Vec<Record> {
        let mut living = Vec::new();
        for record in self.records().await {
            if self.lives(&record).await {
                living.push(record);
            }
        }
        living
    }

    async fn lives(&self, record: &Record) -> bool {
        let dir = self.dir_of(&record.id);
        record.made
            && record.of.ends_at > Timestamp::now()
            && blocking(move || Ok(lock::is_held(&dir))).await.unwrap_or(false)
    }

    /// A clone that is whole and lives.
    pub(super) async fn find(&self, id: &str) -> Option<Record> {
        if !id.starts_with(PREFIX) {
            return None;
        }
        let dir = self.dir_of(id);
        let record = blocking(move || Ok(Record::read(&dir))).await.ok().flatten()?;
        self.lives(&record).await.then_some(record)
    }

    /// What there is of the clone that a job makes.
    pub(super) async fn of_job(&self, job_id: &str) -> Option<Record> {
        self.records().await.into_iter().find(|record| record.job_id == job_id)
    }

    /// Where a clone listens, with the rights of this program.
    ///
    /// # Errors
    /// `clone.ended`.
    pub(super) async fn endpoint(&self, id: &str) -> Result<Endpoint, Fault> {
        let found = match self.find(id).await {
            Some(record) => self.login(&record.id).await,
            None => None,
        };
        found.ok_or_else(|| {
            Fault::new(Kind::NotFound, "clone.ended", format!("the clone {id} has ended, and its data is gone"))
                .hint(format!("Backup sets taken of it are still there: describe_backups with instance_id {id}. create_instance_from_backup makes another of what it was made of."))
        })
    }

    async fn login(&self, id: &str) -> Option<Endpoint> {
        let dir = self.dir_of(id);
        let read = blocking(move || Ok(port_of(&dir).zip(std::fs::read_to_string(dir.join(ADMIN_PASSWORD)).ok())));
        let (port, password) = read.await.ok().flatten()?;
        Some(endpoint(port, Some(ADMIN.into()), Secret::new(password)))
    }

    /// Removes what nobody belongs to any more, and ends what is past its life. The clones that were whole and are gone now. What cannot be
    /// removed now is tried again, and keeps nothing else.
    pub(super) async fn sweep(&self) -> Vec<Record> {
        let (dir, registry) = (self.dir.clone(), self.registry());
        let looked = blocking(move || {
            let left = dirs(&dir);
            if left.is_empty() {
                return Ok(Vec::new());
            }
            let _registry = lock_exclusive(&registry)?;
            let found = left.iter().filter_map(|dir| match look(dir) {
                Ok(found) => Some(found),
                Err(e) => {
                    tracing::warn!("what is left of a clone in {} could not be removed: {e}", dir.display());
                    None
                }
            });
            Ok(found.collect())
        });
        let looked = looked.await.unwrap_or_else(|fault| {
            tracing::warn!("clones could not be looked at: {fault}");
            Vec::new()
        });
        let (mut gone, mut over) = (Vec::new(), Vec::new());
        for found in looked {
            match found {
                Found::Removed(Some(record)) if record.made => gone.push(record),
                Found::Removed(_) | Found::Stays => {}
                Found::Over(record) => over.push(record),
            }
        }
        // At once: each that hangs is waited for.
        let ends = over.into_iter().map(|record| async move {
            let ended = self.end_now(&record.id).await;
            ended
                .map_err(|fault| tracing::warn!(clone = %record.id, "the clone's life is over: {fault}"))
                .ok()
                .map(|()| record)
        });
        gone.extend(futures::future::join_all(ends).await.into_iter().flatten());
        gone
    }

    /// Ends a clone, whole or not: its server is asked to, and what does not follow is killed; then its directory is removed. One that is
    /// gone already is no error.
    ///
    /// # Errors
    /// `clone.not_ended`; `home.failed`.
    pub(super) async fn end(&self, id: &str) -> Result<(), Fault> {
        if self.remove(id, Duration::ZERO).await? {
            return Ok(());
        }
        if let Some(endpoint) = self.login(id).await
            && let Ok(mut conn) = Conn::open(&endpoint, ENDS_WITHIN).await
        {
            // The server answers by closing the connection.
            let _ = conn.cmd_str(&["SHUTDOWN", "NOSAVE"]).await;
        }
        if self.remove(id, ENDS_WITHIN).await? {
            return Ok(());
        }
        self.end_now(id).await
    }

    /// [`Self::end`] of one that need not be asked first: nothing of a clone is kept.
    async fn end_now(&self, id: &str) -> Result<(), Fault> {
        let dir = self.dir_of(id);
        blocking(move || match lock::take(&dir) {
            Ok(Held::Another(lock)) => lock::end_holders(&lock).map_err(|e| file_fault("look at who uses", &dir, e)),
            _ => Ok(()),
        })
        .await?;
        if self.remove(id, KILLED_WITHIN).await? {
            return Ok(());
        }
        Err(Fault::new(Kind::Provider, "clone.not_ended", format!("the server of the clone {id} does not end"))
            .hint("Its directory is in clones/ of the home: end the server whose settings are there; the next command removes the rest."))
    }

    /// Removes a directory once nobody has its lock, for at most so long; whether it is gone.
    async fn remove(&self, id: &str, within: Duration) -> Result<bool, Fault> {
        let begun = Instant::now();
        loop {
            let dir = self.dir_of(id);
            let gone = blocking(move || {
                let removed = match lock::take(&dir) {
                    Ok(Held::Another(_)) => return Ok(false),
                    Ok(Held::Nothing) => removed(&dir),
                    // Its name may be another clone's by now.
                    Ok(Held::Ours(lock)) if lock::is_of(&lock, &dir) => removed(&dir),
                    Ok(Held::Ours(_)) => Ok(()),
                    Err(e) => Err(e),
                };
                removed.map(|()| true).map_err(|e| file_fault("remove", &dir, e))
            });
            if gone.await? {
                return Ok(true);
            }
            if begun.elapsed() >= within {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The directories of clones, whole or not. Those whose name no clone can have are not looked at.
fn dirs(all: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    let ours = |entry: &std::fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    entries.filter(ours).map(|entry| entry.path()).collect()
}

/// Looks at a directory, and removes it where nobody belongs to it.
fn look(dir: &Path) -> std::io::Result<Found> {
    let record = Record::read(dir);
    match lock::take(dir)? {
        Held::Another(_) => Ok(match record.filter(|r| r.made && r.of.ends_at <= Timestamp::now()) {
            Some(record) => Found::Over(record),
            None => Found::Stays,
        }),
        Held::Ours(_) | Held::Nothing => removed(dir).map(|()| Found::Removed(record)),
    }
}

/// Removes a directory that others may be removing too.
fn removed(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
