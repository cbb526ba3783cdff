//! Whether a target can take a set, judged before its restore is planned: what would stop it half way is found here.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::restore::Method;
use crate::provider::local::Inner;
use crate::provider::local::restore::built::Built;
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::steps::{has_database, too_large};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::limits::Limits;
use crate::redis::rdb::compat::{Modules, any_of_own, loadable};
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::redis::rdb::{self, EntryHead, Visitor};
use crate::redis::slots::{owned_slots, slot};
use std::io;

/// Bytes of the longest argument that a server takes unless it is told otherwise.
pub(super) const BULK_DEFAULT: u64 = 512 << 20;

impl Inner {
    /// Why this server cannot take this set; `None` where it can. `own`: the set is one of this instance. `built`: where the data is, of
    /// what is no set.
    #[expect(clippy::too_many_arguments, reason = "each is another fact that the answer depends on")]
    pub(super) async fn cannot_load(
        &self,
        set: &BackupSet,
        own: bool,
        statistics: &KeyStatistics,
        facts: &ServerFacts,
        method: Method,
        limits: Limits,
        built: Option<&Built>,
        conn: &mut Conn,
    ) -> Result<Option<String>, Fault> {
        let modules = facts.modules.clone().unwrap_or_default();
        let same_process = !set.run_id.is_empty() && set.run_id == facts.run_id;
        let believed = same_process || has_brought(own, method, &modules);
        let brought = if believed { statistics.modules.as_slice() } else { &[] };
        if let Err(why) = loadable(statistics, facts.server(), &Modules { loaded: &modules, brought }) {
            return Ok(Some(why));
        }
        // A server with fewer databases than the set needs exits while it loads.
        let highest = statistics.databases_needed().saturating_sub(1);
        if highest > 0 && !has_database(conn, highest).await? {
            return Ok(Some(format!("the set uses database {highest}, which the target does not have")));
        }
        if method != Method::Replication {
            // Where the target does not tell its limits, they are taken to be a server's own.
            let limits = Limits { bulk: limits.bulk.or(Some(BULK_DEFAULT)), ..limits };
            if let Some(why) = too_large(statistics.largest_value, limits) {
                return Ok(Some(why));
            }
            let owned = if facts.cluster_enabled { Some(owned_slots(conn).await?) } else { None };
            let contents = match built {
                Some(built) => built.contents(),
                None => Contents::of_set(&self.vault, set, self.vault.open_data(set).await?),
            };
            return cannot_replay(contents, owned).await;
        }
        Ok(None)
    }
}

/// Whether an instance that is another process by now is taken to have the modules whose types its own set has. A process that wrote a type
/// has its module, and cannot have let go of it: a module with types is never unloaded. One that was started anew is believed where a command
/// would be refused and not kill it, and where a module is there that may have brought them.
fn has_brought(own: bool, method: Method, modules: &[String]) -> bool {
    own && method != Method::Replication && any_of_own(modules)
}

/// Why an RDB cannot be written as commands; `None` where it can. By then the target would be empty: what would stop such a restore
/// half way has to stop its plan.
async fn cannot_replay(contents: Contents, owned: Option<Vec<(u16, u16)>>) -> Result<Option<String>, Fault> {
    let Contents { data, whose } = contents;
    blocking(move || {
        let found = match rdb::walk(data, (), Commands { owned, outside: 0, meta: 0 }) {
            Ok(walked) => walked.visitor,
            Err(too_large @ RdbError::TooLarge { .. }) => return Ok(Some(too_large.to_string())),
            Err(e) => return Err(whose.unreadable(e)),
        };
        Ok(match (found.outside, found.meta) {
            (0, 0) => None,
            (0, n) => Some(format!("{n} keys carry metadata of a module, which commands cannot restore")),
            (n, _) => Some(format!("{n} keys of the set belong to slots that this node of the cluster does not serve")),
        })
    })
    .await
}

/// Walks a set as a restore by commands would, and counts the keys that would stop it.
struct Commands {
    /// The slots of a cluster's node.
    owned: Option<Vec<(u16, u16)>>,
    outside: u64,
    meta: u64,
}

impl Visitor for Commands {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = true;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.meta += u64::from(head.has_meta);
        if let Some(owned) = &self.owned {
            let slot = slot(head.key);
            self.outside += u64::from(!owned.iter().any(|(from, to)| (*from..=*to).contains(&slot)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! A type of a module that nobody knows: its own instance is believed, by commands; nobody else, and nobody who would exit.
    use super::has_brought;
    use crate::model::restore::Method;

    #[test]
    fn who_is_believed_to_have_a_module() {
        let own_module = ["mine".to_owned()];
        for (own, method, modules, believed) in [
            (true, Method::Commands, &own_module[..], true),
            (true, Method::Beside, &own_module, true),
            (true, Method::Replication, &own_module, false),
            (false, Method::Commands, &own_module, false),
            (true, Method::Commands, &[], false),
        ] {
            assert_eq!(has_brought(own, method, modules), believed, "{own} {method:?} {modules:?}");
        }
    }
}
