//! Deletion of a set: only one that somebody asked for by hand, only with a permit.

use crate::guard::cloud_checks as judge;
use crate::guard::permit::{self, Permit};
use crate::guard::survey::{Survey, Words, pins};
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::model::text::bytes;
use crate::model::time::written;
use crate::provider::blocking;
use crate::provider::local::Inner;

impl Inner {
    /// What deleting a set would mean.
    pub async fn survey_deletion(&self, instance_id: &str, backup_id: &str) -> Result<Survey, Fault> {
        let (vault, id, set_id) = (self.vault.clone(), instance_id.to_owned(), backup_id.to_owned());
        let (set, all) = blocking(move || Ok((vault.find(&id, &set_id)?, vault.list(&id)?))).await?;
        let left = all.iter().flatten().filter(|s| s.id != set.id).count();
        let ours = "taken by the guard before a restore, so that it can be undone: only manual backups can be deleted";
        let manual = judge::deletable(set.mode == Mode::Manual, (set.mode == Mode::Safety).then_some(ours));
        let others = judge::other_backups(left);
        let any_left = if left == 0 { "none" } else { "some" };
        Ok(Survey {
            address: "the vault of this machine".into(),
            checks: vec![manual, others],
            // Whoever agreed to one of several going did not agree to the last one going.
            pins: pins([("sha256", &set.sha256), ("mode", set.mode.as_str()), ("other_backups", any_left)]),
            words: Words {
                now: format!("{left} other backups beside it"),
                after: "the set is gone from the vault".into(),
                lost: lost(&set),
                how: "delete".into(),
                how_meaning: "its folder is removed from the vault".into(),
                back: "none; download_backup keeps a copy if called before".into(),
            },
            ..Survey::default()
        })
    }

    /// Deletes as permitted.
    pub async fn delete(&self, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let (vault, id, set_id) = (self.vault.clone(), permit.plan().instance_id.clone(), backup_id.to_owned());
        let sha256 = permit.plan().pin("sha256").to_owned();
        blocking(move || {
            let set = vault.find(&id, &set_id)?;
            if set.mode != Mode::Manual || set.sha256 != sha256 {
                return Err(permit::changed("the backup is not the one that was planned; it is kept"));
            }
            vault.delete(&id, &set_id)
        })
        .await?;
        let message = format!("backup {backup_id} is deleted");
        self.jobs.audit(permit.record("backup.deleted", message.clone())).await;
        Ok(message)
    }
}

fn lost(set: &BackupSet) -> String {
    let keys = total_keys(&set.counts);
    format!("the backup of {}, {keys} keys, {}, for ever", written(set.started_at), bytes(set.rdb_bytes))
}
