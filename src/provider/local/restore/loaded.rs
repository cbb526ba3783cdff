//! Whether a clone holds all that the file had which it was loaded from: its keys are counted and compared, by database.
//!
//! Nobody but time can have removed any of them: what is missing and has not expired is no clone.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::provider::local::restore::counted::Counted;
use crate::provider::local::restore::expired::expired_in;
use crate::provider::local::restore::outcome::outcome;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::facts::ServerFacts;
use std::fs::File;

impl Inner {
    /// Counts the keys of a clone that was loaded from a set, or from what was `built` of one, and says how many there are.
    ///
    /// # Errors
    /// `restore.census_differs` where they are not those of the set; those of the connection.
    pub(in crate::provider::local) async fn count_clone(
        &self,
        endpoint: &Endpoint,
        set: &BackupSet,
        built: Option<File>,
    ) -> Result<u64, Fault> {
        let mut conn = Conn::open(endpoint, COMMAND_TIMEOUT).await?;
        let after = Counted::from(&ServerFacts::read(&mut conn).await?);
        let passed = match (built, after.may_have_expired(set)) {
            (Some(built), Some(at)) => expired_in(built, at).await,
            (Some(_), None) => None,
            (None, at) => self.expired_by(set, at).await,
        };
        // What had expired when it was loaded the server has left out without counting it.
        let with_expiry = || set.counts.values().map(|(_, expires)| expires).sum();
        let unseen = passed.as_ref().map_or_else(with_expiry, |passed| passed.values().sum());
        let before = Counted { expired: 0, evicted: 0, ..after.clone() };
        outcome(set, Some(&before), &after, unseen, passed.as_ref())?;
        Ok(total_keys(&after.counts))
    }
}
