//! What destroyed data, for somebody who looks for a mistake: the log searched on a thread that may block, for a bounded time.

use crate::archive::Run;
use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::model::destruction::Destructions;
use crate::model::fault::{Fault, Kind};
use crate::provider::local::Inner;
use crate::provider::local::log::status::missing;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// How long a search goes on. Clients wait a minute at least.
const SEARCH_FOR: Duration = Duration::from_secs(20);

impl Inner {
    /// What destroyed data between two moments.
    ///
    /// # Errors
    /// `log.none`, `log.failed`, `log.damaged`.
    pub(in crate::provider::local) async fn destructive(
        &self,
        id: &str,
        range: (Timestamp, Timestamp),
    ) -> Result<Destructions, Fault> {
        let on = self.log_is_on(id).await?;
        let without = if on { String::new() } else { self.way_to_a_log(id).await };
        let bases = self.sets(id).await?.into_iter().flatten().collect::<Vec<_>>();
        let (archive, instance) = (self.archive.clone(), id.to_owned());
        let search = move || {
            let deadline = Instant::now() + SEARCH_FOR;
            let coverage = archive.coverage(&instance, SHARD)?;
            if coverage.runs.is_empty() {
                return Err(none(&instance, on, &without));
            }
            let mut found = coverage.destructive(&bases, range, deadline)?;
            let ends = coverage.runs.iter().map(Run::until).max();
            found.missing.extend(missing(coverage));
            // Of what is missing, what lies in the part that was searched.
            let (from, to) = found.searched.unwrap_or((range.0, ends.map_or(range.1, |end| end.min(range.1))));
            found.missing.retain(|gap| gap.from <= to && from <= gap.to);
            found.missing.sort_by_key(|gap| gap.from);
            Ok(found)
        };
        blocking(search).await
    }
}

/// The fault of an instance without a log to search; `next`: of one that is off, what keeps it from now on.
fn none(id: &str, on: bool, next: &str) -> Fault {
    let (message, hint) = if on {
        (
            format!("nothing of {id} is in its log yet"),
            format!(
                "What is written is on the vault some seconds later; describe_instances with instance_id {id} shows the log, and whether somebody keeps it."
            ),
        )
    } else {
        (
            format!("no log of {id} is kept, so nobody knows what was done to it"),
            format!(
                "Restore a set from before the mistake: describe_backups with instance_id {id} lists them. For the next time: {next}"
            ),
        )
    };
    Fault::new(Kind::Provider, "log.none", message).hint(hint)
}
