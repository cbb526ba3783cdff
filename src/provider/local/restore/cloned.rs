//! What a clone has of a restore: a moment is found and built as for one by commands, and what the clone's server has loaded is counted as a
//! target's would be.
//!
//! Nobody but time can have removed any of it: keys that are missing and have not expired, and it is no clone.

use crate::config::blocking::blocking;
use crate::config::nameless::FromStart;
use crate::guard::act::Source;
use crate::guard::facts::replay::{NoMoment, Replay};
use crate::guard::preconditions::ReplayIdentity;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::model::job::Job;
use crate::provider::local::restore::built::{Building, Built};
use crate::provider::local::restore::counted::Counted;
use crate::provider::local::restore::expired::expired_in;
use crate::provider::local::restore::outcome::outcome;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::facts::ServerFacts;
use crate::redis::inventory::{Refusals, unknown_commands};
use crate::redis::scratch::program::Program;
use crate::vault::frames::FrameReader;
use std::fs::File;
use std::sync::Arc;

/// How many keys a server of ours has of those of its source, as part of a sentence: what was counted of it, and whether it was looked
/// which of the others have expired.
pub(in crate::provider::local) fn keys_there((keys, looked): (u64, bool), of_source: u64) -> String {
    match of_source.saturating_sub(keys) {
        0 => format!("all {keys} keys"),
        gone if looked => format!("{keys} of {of_source} keys, for {gone} had an expiry that has passed since,"),
        gone => {
            format!(
                "{keys} of {of_source} keys ({gone} others had an expiry, and it was not looked whether it has passed)"
            )
        }
    }
}

impl Inner {
    /// The set and the commands behind it for a clone of a moment, and what is known of its building. What has expired nobody has
    /// counted yet.
    pub(in crate::provider::local) async fn clone_moment(
        &self,
        instance_id: &str,
        source: &Source,
        planned: Option<&ReplayIdentity>,
    ) -> Result<Result<(BackupSet, Replay), NoMoment>, Fault> {
        let behind = match self.behind(instance_id, source, planned).await? {
            Ok(behind) => behind,
            Err(none) => return Ok(Err(none)),
        };
        let (behind, expiring_by_log) = if planned.is_none() {
            blocking(move || {
                let expiring = behind.expired_since();
                Ok((behind, expiring))
            })
            .await?
        } else {
            (behind, None)
        };
        let set = self.set_to_restore(instance_id, &behind.restored.backup_id).await?;
        let (mut unknown, mut counts_refusals) = (Vec::new(), true);
        let builder = match self.clone_program(&set).await? {
            Err(lacking) => Err(lacking),
            Ok(program) => {
                let (found, own) = self.building_on(&program, &set, behind.bytes, planned.is_none()).await?;
                if let Some(own) = own {
                    let mut conn = Conn::open(own.endpoint(), COMMAND_TIMEOUT).await?;
                    unknown = unknown_commands(&mut conn, &behind.names).await?;
                    counts_refusals = Refusals::read(&mut conn).await?.is_some();
                    own.stop().await;
                }
                found
            }
        };
        let replay = Replay {
            moment: behind.restored.moment,
            log: behind.log,
            position: behind.position,
            commands: behind.commands,
            bytes: behind.bytes,
            unknown,
            builder: Some(builder),
            expiring: None,
            expiring_by_log,
            counts_refusals,
        };
        Ok(Ok((set, replay)))
    }

    /// Builds the planned moment of an instance, for a clone: what a set of it would say of itself, and its file.
    pub(in crate::provider::local) async fn build_for_clone(
        &self,
        job: &Job,
        (source, planned): (&Source, &ReplayIdentity),
        program: &Program,
        set: &BackupSet,
        data: FrameReader,
    ) -> Result<(BackupSet, Arc<File>), Fault> {
        let behind = self.behind_as_planned(&job.instance_id, source, planned).await?.of(set);
        let on = Building { program, job: Some(job), until: None, of_drill: false };
        let Built { set, file, .. } = self.build_on(job, &on, set, data, behind).await?;
        Ok((set, file))
    }

    /// Counts the keys of a clone that was loaded from a set, or from what was `built` of one, and says how many there are, and whether
    /// it was looked which of the others have expired.
    ///
    /// # Errors
    /// `restore.census_differs` where they are not those of the set; those of the connection.
    pub(in crate::provider::local) async fn count_clone(
        &self,
        endpoint: &Endpoint,
        set: &BackupSet,
        built: Option<Arc<File>>,
    ) -> Result<(u64, bool), Fault> {
        let mut conn = Conn::open(endpoint, COMMAND_TIMEOUT).await?;
        self.count_loaded(&ServerFacts::read(&mut conn).await?, set, built).await
    }

    /// [`Self::count_clone`] of a server that has told these facts.
    ///
    /// # Errors
    /// `restore.census_differs`, and nothing else.
    pub(in crate::provider::local) async fn count_loaded(
        &self,
        facts: &ServerFacts,
        set: &BackupSet,
        built: Option<Arc<File>>,
    ) -> Result<(u64, bool), Fault> {
        let after = Counted::from(facts);
        let passed = match (built, after.may_have_expired(set)) {
            (Some(built), Some(at)) => expired_in(FromStart::of(&built), at).await,
            (Some(_), None) => None,
            (None, at) => self.expired_by(set, at).await,
        };
        // What had expired when it was loaded the server has left out without counting it.
        let with_expiry = || set.counts.values().map(|(_, expires)| expires).sum();
        let unseen = passed.as_ref().map_or_else(with_expiry, |passed| passed.values().sum());
        let before = Counted { expired: 0, evicted: 0, ..after.clone() };
        outcome(set, Some(&before), &after, unseen, passed.as_ref())?;
        Ok((total_keys(&after.counts), passed.is_some()))
    }
}
