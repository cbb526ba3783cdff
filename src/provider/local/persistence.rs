//! Persistence of instances that this program reaches itself: what their servers keep on their disks, read and changed by the servers' own
//! settings.
//!
//! Nothing of it is stored here: the server has it, and where it can it writes it into its own configuration file.

use crate::guard::act::PolicyChange;
use crate::guard::facts::policy::PersistenceFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::model::fault::{Fault, Kind};
use crate::model::persistence::{Persistence, PersistenceSettings};
use crate::model::text::bytes;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::persistence_settings::{NotSet, Set, is_refusal, read, read_settings, set};
use std::time::Duration;

/// The rest of the policy must not wait for a server that is away.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// The next step where a server lets nobody at its settings.
const NO_CONFIG: &str = "Give the user the rights +config|get +config|set +config|rewrite +info. Where CONFIG is renamed or the service forbids it, change \
    its persistence in the server's configuration file or in the service's own console.";

impl Inner {
    async fn conn(&self, instance_id: &str) -> Result<Conn, Fault> {
        Ok(Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?)
    }

    /// What the instance's server keeps on its disk.
    pub(super) async fn persistence(&self, instance_id: &str) -> Result<Persistence, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, READ_TIMEOUT).await?;
        let mut found = read(&mut conn).await?;
        if !found.unread.is_empty() {
            found.unread = format!("{} cannot be read. {NO_CONFIG}", found.unread);
        }
        Ok(found)
    }

    /// The settings in force and those after a change; `None` where it names none.
    pub(super) async fn persistence_facts(
        &self,
        instance_id: &str,
        change: &PolicyChange,
    ) -> Result<Option<PersistenceFacts>, Fault> {
        if change.persistence.is_empty() {
            return Ok(None);
        }
        let now = settings(&mut self.conn(instance_id).await?).await?;
        Ok(Some(PersistenceFacts { then: now.with(&change.persistence), now }))
    }

    /// Changes the settings; what protects less with the permit of a plan that was made of the settings that are in force. What came of it
    /// for the reader, empty where nothing was changed; `None`: it would protect less, and there is no permit.
    pub(super) async fn write_persistence(
        &self,
        instance_id: &str,
        change: &PolicyChange,
        permit: Option<(&Permit, Option<&PersistenceSettings>)>,
    ) -> Result<Option<String>, Fault> {
        if change.persistence.is_empty() {
            return Ok(Some(String::new()));
        }
        let mut conn = self.conn(instance_id).await?;
        let now = settings(&mut conn).await?;
        if permit.is_some_and(|(_, planned)| planned != Some(&now)) {
            return Err(changed("the server's settings have been changed since the plan; they were left as they are"));
        }
        let then = now.with(&change.persistence);
        let memory = match (now.appendonly, then.appendonly) {
            (Some(true), _) | (_, Some(false) | None) => None,
            _ => ServerFacts::read(&mut conn).await.ok(),
        };
        match set(&mut conn, &now, &then, permit.map(|(permit, _)| permit)).await {
            Ok(done) => Ok(Some(note(&done, memory.as_ref()))),
            Err(NotSet::Lowers) => Ok(None),
            Err(NotSet::Refused { name, why, put_back, left }) => Err(refused(name, &why, &put_back, &left)),
        }
    }
}

/// Reads the settings, before a change of them.
async fn settings(conn: &mut Conn) -> Result<PersistenceSettings, Fault> {
    read_settings(conn).await.map_err(|error: RedisError| {
        if !is_refusal(&error) {
            return error.into();
        }
        let message = format!("the server's persistence cannot be changed from here: {error}");
        Fault::new(Kind::Provider, "policy.no_config", message).hint(NO_CONFIG).because(error)
    })
}

/// What came of a change, for a reader; empty where all was so already.
fn note(done: &Set, memory: Option<&ServerFacts>) -> String {
    if done.changed.is_empty() {
        return String::new();
    }
    let set = done.changed.describe();
    let mut all = vec![match &done.kept {
        Ok(()) => format!("{set} set on the server, read back, and written into its configuration file"),
        Err(why) => format!(
            "{set} set on the server and read back, but a restart of it forgets that, for it cannot write its configuration file ({why}): \
             put there, or on its command line: {set}"
        ),
    }];
    if let Some(state) = &done.begun {
        let size = state.current_size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
        all.push(match (state.rewriting, state.rewritten) {
            (true, _) => {
                "a child of the server (fork) writes all it holds into the first append-only file, and has not ended: \
                          describe_backup_policy shows how that goes"
                    .to_owned()
            }
            (false, Some(false)) => {
                "a child of the server (fork) was to write all it holds into the first append-only file, and failed: \
                          see the server's log; until that is mended a crash loses what came since the last save"
                    .to_owned()
            }
            (false, _) => {
                format!("a child of the server (fork) has written all it holds into the first append-only file{size}")
            }
        });
    }
    if let Some(ServerFacts { used_memory, total_system_memory, .. }) = memory
        && *total_system_memory > 0
        && used_memory.saturating_mul(2) > *total_system_memory
    {
        all.push(format!(
            "it uses {} of its machine's {}: while a child writes, each changed page is there twice, which may be more than there is",
            bytes(*used_memory),
            bytes(*total_system_memory)
        ));
    }
    all.join("; ")
}

/// The fault of a change that the server refused.
fn refused(name: &str, why: &str, put_back: &[&str], left: &[&str]) -> Fault {
    let back = match put_back {
        [] => String::new(),
        names => format!("; {} had been set and was put back", names.join(", ")),
    };
    let (kind, left) = match left {
        [] => (Kind::Provider, "; all is as it was".to_owned()),
        names => {
            (Kind::Uncertain, format!("; {} may not be as before, for it could not be put back", names.join(", ")))
        }
    };
    Fault::new(kind, "policy.setting_refused", format!("the server did not take {name}: {why}{back}{left}"))
        .hint("Look at describe_backup_policy and at the server's log, mend what it minds, then call again.")
}
