//! Deletion of a set: only one that somebody asked for by hand, only with a permit.

use crate::guard::cloud_checks as judge;
use crate::guard::permit::{self, Permit};
use crate::guard::survey::{Survey, Words, pins};
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::model::text::bytes;
use crate::model::time::written;
use crate::provider::local::Inner;

impl Inner {
    /// What deleting a set would mean.
    pub async fn survey_deletion(&self, instance_id: &str, backup_id: &str) -> Result<Survey, Fault> {
        let set = self.vault.find(instance_id, backup_id, self).await?;
        let all = self.vault.list(instance_id, self).await?;
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
        let plan = permit.plan();
        let (instance_id, sha256) = (plan.instance_id.clone(), plan.pin("sha256"));
        let set = self.vault.find(&instance_id, backup_id, self).await?;
        if set.mode != Mode::Manual || set.sha256 != sha256 {
            return Err(permit::changed("the backup is not the one that was planned; it is kept"));
        }
        let message = format!("backup {backup_id} is deleted");
        let record = permit.record("backup.deleted", message.clone());
        self.vault.delete(permit.delete()?, &instance_id, backup_id).await?;
        self.jobs.note(record).await;
        Ok(message)
    }
}

fn lost(set: &BackupSet) -> String {
    let keys = total_keys(&set.counts);
    format!("the backup of {}, {keys} keys, {}, for ever", written(set.started_at), bytes(set.rdb_bytes))
}
