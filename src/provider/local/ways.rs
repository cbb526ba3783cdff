//! What a refusal names as the next step: a call that works on this very instance, with its arguments, or what its operator has to change.
//!
//! It must not name a way that the instance lacks: a log that the file keeps off, a set that there is not, a tool that this process refuses.

use crate::config::command::line;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::Capability;
use crate::model::sets::last_backup;
use crate::model::text::{nearest, quoted};
use crate::model::time::written;
use crate::provider::local::{Inner, Local};
use jiff::Timestamp;

impl Inner {
    /// What is left where an instance has no log: the call that restores its newest set, or what has one taken. No safety backup is offered: it most
    /// likely holds what is to be undone.
    pub(super) async fn way_by_set(&self, id: &str) -> String {
        let Ok(listed) = self.all_sets(id).await else {
            return format!("Its sets could not be listed here: describe_backups with instance_id {id} lists them.");
        };
        let lacking = listed.iter().any(|set| set.as_ref().is_err_and(|set| set.unreadable.is_some()));
        let newest = if lacking { "newest set that this user may read" } else { "newest set" };
        let any = !listed.is_empty();
        let whole: Vec<BackupSet> = listed.into_iter().flatten().collect();
        match last_backup(&whole, Timestamp::now()) {
            Some(set) if self.read_only => {
                format!("Its {newest} is {}, of {}; {AS_READ_ONLY}.", set.id, written(set.started_at))
            }
            Some(set) => format!(
                "restore_instance with instance_id {id} and backup_id {} restores its {newest}, of {}.",
                set.id,
                written(set.started_at)
            ),
            None if lacking => {
                format!("It has sets that this user may not read: describe_backups with instance_id {id} lists them.")
            }
            None if !whole.is_empty() => format!(
                "It has safety backups alone, taken before restores: describe_backups with instance_id {id} lists them."
            ),
            None if any => {
                format!("Its sets are damaged: describe_backups with instance_id {id} says what is wrong with each.")
            }
            None if self.read_only => format!("There is no set of it; {AS_READ_ONLY}."),
            None => format!("There is no set of it yet: create_backup with instance_id {id} takes one."),
        }
    }

    /// What keeps the log of an instance from now on: a call, or what its operator has to write; of a clone, where a moment is had instead.
    pub(super) async fn way_to_a_log(&self, id: &str) -> String {
        if self.kind(id) == "clone" {
            let source = self.clones.find(id).await.map(|clone| clone.of.instance_id);
            return match source {
                Some(of) if !self.read_only && self.has_log(&of).await => format!(
                    "A clone has no log; {of} has: create_instance_from_backup with instance_id {of} and restore_time makes a clone of a moment."
                ),
                _ => "A clone has no log.".to_owned(),
            };
        }
        if self.log_is_on(id).await.unwrap_or(false) {
            return format!(
                "Its log is on, and nothing is in it yet: it is kept as long as `{}` is at work.",
                line("run")
            );
        }
        if self.config(id).is_some_and(|config| config.enable_backup_log.is_some()) {
            return format!(
                "To have its log from now on its operator writes enable_backup_log = true {}.",
                self.in_the_file(id)
            );
        }
        if self.read_only {
            return format!("Its log can be switched on by modify_backup_policy; {AS_READ_ONLY}.");
        }
        format!(
            "modify_backup_policy with instance_id {id} and enable_backup_log true keeps its log from now on, as long as `{}` is at work.",
            line("run")
        )
    }

    /// The fault of an id that no instance has: the nearest that one has, and all of them.
    pub(super) async fn no_such_instance(&self, id: &str) -> Fault {
        let mut ids = self.ids.clone();
        ids.extend(self.clones.living().await.into_iter().map(|clone| clone.id));
        let near = nearest(id, ids.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("Did you mean {near}? "));
        let message = format!("there is no instance {}", quoted(id));
        Fault::new(Kind::NotFound, "instance.not_found", message).hint(format!("{near}Instances: {}.", ids.join(", ")))
    }

    /// What came of looking for a set by an id that a caller gave: where the instance has none, the fault tells whose it is, or which may have been
    /// meant. Not for a set that nobody has named, for the vault is looked through.
    pub(super) async fn named_set<T>(
        &self,
        (instance_id, backup_id): (&str, &str),
        found: Result<T, Fault>,
    ) -> Result<T, Fault> {
        match found {
            Err(fault) if fault.kind == Kind::NotFound => {
                match self.vault.hint_of_missing(instance_id, backup_id, self).await {
                    Some(hint) => Err(fault.hint(hint)),
                    None => Err(fault),
                }
            }
            found => found,
        }
    }

    /// Where the operator changes an instance, as part of a sentence.
    pub(super) fn in_the_file(&self, id: &str) -> String {
        let file = self.file.as_ref().map_or_else(|| "the configuration file".to_owned(), |f| f.display().to_string());
        format!("in the [[instance]] {id} of {file} and starts this program again")
    }
}

/// What is added where this process changes nothing.
const AS_READ_ONLY: &str = "this server runs with --read-only, and its operator can start it without";

impl Local {
    /// Whether a clone can be made here of a set: a server program that loads it is there, and clones are not forbidden.
    pub(super) async fn can_clone_here(&self, id: &str, backup_id: &str) -> bool {
        let clone = [Capability::Clone];
        if self.inner.capabilities(id, &clone).await.need(&clone).is_err() {
            return false;
        }
        let Ok(set) = self.inner.set(id, backup_id).await else { return false };
        matches!(self.inner.clone_program(&set).await, Ok(Ok(_)))
    }
}
