//! A moment of an instance's log at rest: built on a server of our own, for whoever wants to look at it before anything is decided.
//!
//! No instance is touched or asked. What is built is a file without a name: nothing of it is left behind, whatever ends this program.

use crate::config::blocking::blocking;
use crate::guard::act::Source;
use crate::guard::facts::replay::NoMoment;
use crate::guard::preconditions::ReplayIdentity;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::Job;
use crate::provider::local::Inner;
use crate::provider::local::restore::built::{Building, told};
use crate::redis::scratch::program::{Program, nearest_to, server_named};
use jiff::Timestamp;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long a moment may take that nobody waits for: others wait for their turn.
const FOR_NOBODY: Duration = Duration::from_secs(3600);

/// A moment that was built, and not verified: whoever reads the file looks at it.
pub(in crate::provider::local) struct MomentAtRest {
    /// The set that it begins with.
    pub base: String,
    /// The moment that the data is of.
    pub moment: Timestamp,
    /// The RDB.
    pub file: File,
}

impl Inner {
    /// Builds a moment of an instance, no longer than until then; or why there is no such moment.
    ///
    /// # Errors
    /// `restore.not_built`, also where no program here loads the set, or where there is no room; those of the log and the vault.
    pub(in crate::provider::local) async fn build_moment(
        &self,
        instance_id: &str,
        source: &Source,
        planned: Option<&ReplayIdentity>,
        until: Option<Instant>,
    ) -> Result<Result<MomentAtRest, NoMoment>, Fault> {
        let behind = match self.behind(instance_id, source, planned).await? {
            Ok(behind) => behind,
            Err(none) => return Ok(Err(none)),
        };
        let (base, moment) = (behind.restored.backup_id.clone(), behind.restored.moment);
        let set = self.found(instance_id, &base).await?;
        let behind = behind.of(&set);
        let (like, loads) = (server_named(&set.engine, &set.version), told(&set));
        let program = blocking(move || Ok(nearest_to(&[], like, &loads, |_| true))).await?.ok_or_else(|| {
            let message = format!("the moment could not be built on a server of our own: no program here loads {base}");
            Fault::new(Kind::Provider, "restore.not_built", message)
                .hint(format!("Put the server program of {like} into PATH."))
        })?;
        let data = self.vault.open_data(&set).await?;
        let on = Building { program: &program, job: None, until, of_drill: false };
        let (_, _, file) = self.built_on(&on, &set, data, behind).await?;
        Ok(Ok(MomentAtRest { base, moment, file }))
    }

    /// Builds a moment behind a set for nobody, and verifies what was built: how many commands were behind the set, and how many keys
    /// there were then; or why there is no such moment.
    ///
    /// # Errors
    /// As [`Self::build_moment`].
    pub(in crate::provider::local) async fn moment_behind(
        &self,
        job: &Job,
        set: &BackupSet,
        program: &Program,
        moment: Timestamp,
    ) -> Result<Result<(u64, u64), NoMoment>, Fault> {
        let source = Source::Moment { restore_time: moment, time_shift: None };
        let behind_it = ReplayIdentity { backup_id: set.id.clone(), position: String::new() };
        let behind = match self.behind(&set.instance_id, &source, Some(&behind_it)).await? {
            Ok(behind) => behind.of(set),
            Err(none) => return Ok(Err(none)),
        };
        let (commands, data) = (behind.commands, self.vault.open_data(set).await?);
        let until = Some(Instant::now() + FOR_NOBODY);
        let on = Building { program, job: Some(job), until, of_drill: true };
        let built = self.build_on(job, &on, set, data, behind).await?;
        Ok(Ok((commands, total_keys(&built.set.counts))))
    }
}
