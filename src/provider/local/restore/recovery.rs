//! The recovery record of a restore: written before its target is touched, and all that is needed to take the target off this
//! program again.

use crate::guard::plan::Plan;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::model::job::RecoveryKind;
use crate::model::key_filter::SomeKeys;
use crate::model::secret::Secret;
use crate::provider::jobs::Recoverable;
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::master::types::RollbackRecord;
use crate::redis::own_client;
use crate::redis::replay::beside::Placement;
use crate::redis::settings::{SetByUs, Settings};
use serde::{Deserialize, Serialize};

/// Written before a restore touches its target; all that is needed to take the target off this program again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// The call that brings back the data from before.
    pub(super) back: String,
    /// Keys that the set has: by them it is judged how far the restore came.
    pub(super) keys: u64,
    /// What the target was before it was made to follow us; `None` for a restore by commands.
    pub(super) switch: Option<SwitchRecord>,
    /// Where the set is loaded beside the old data; `None` for the other ways.
    #[serde(default)]
    pub(super) placement: Option<Placement>,
    /// Whether the databases have been swapped for good.
    #[serde(default)]
    pub(super) swapped: bool,
    /// Whether the target of a restore by replication has loaded the set.
    #[serde(default)]
    pub(super) loaded: bool,
    /// Keys that the target had evicted: of a restore by replication when it began to refuse writes (`None` until it has loaded the set), beside
    /// the old data when the set was swapped in (`None` until then), else when the job first looked at it.
    #[serde(default)]
    pub(super) evicted: Option<u64>,
    /// The moment to which commands are replayed behind the set, for people; `None` where the set alone is restored.
    #[serde(default)]
    pub(super) moment: Option<String>,
    /// The keys that alone are restored; `None` where all are.
    #[serde(default)]
    pub(super) some_keys: Option<SomeKeys>,
    /// The process of the target; empty in the records of earlier versions.
    #[serde(default)]
    run_id: String,
    /// That process's number of the connection that writes; `None` where it is not known, or where none of ours does.
    #[serde(default)]
    client_id: Option<i64>,
}

impl Recoverable for RecoveryRecord {
    const KIND: RecoveryKind = RecoveryKind::LocalRestore;
}

/// [`RollbackRecord`], as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SwitchRecord {
    repl_diskless_load: String,
    masterauth: Option<String>,
    /// Of the one-time password; absent in the records of earlier versions.
    #[serde(default)]
    set_masterauth_sha256: String,
    masteruser: Option<String>,
    replica_read_only: String,
    /// Only where it was put out of force.
    #[serde(default)]
    maxmemory: Option<String>,
    host: String,
    port: u16,
    replid: String,
    /// The process of the target, in the records of earlier versions: now the record that this one is part of has it.
    #[serde(default, rename = "run_id", skip_serializing)]
    earlier_run_id: String,
}

impl RecoveryRecord {
    /// The record of a restore by commands, or of one whose target has not been made to follow us yet.
    pub fn of(plan: &Plan, set: &BackupSet, moment: Option<String>) -> Result<Self, Fault> {
        Ok(Self {
            moment,
            some_keys: plan.act.keys().cloned(),
            back: plan.impact.way_back.clone(),
            keys: total_keys(&set.counts),
            switch: None,
            placement: None,
            swapped: false,
            loaded: false,
            evicted: None,
            run_id: plan.direct_restore()?.run_id.clone(),
            client_id: None,
        })
    }

    /// The record of a restore that writes on that connection.
    pub(super) async fn written_on(self, conn: &mut Conn) -> Result<Self, Fault> {
        Ok(Self { client_id: own_client::number(conn).await?, ..self })
    }

    /// Ends the connection on which the process wrote that was taken for dead: it may live, and what it has sent may still be carried out.
    pub(super) async fn end_its_connection(&self, conn: &mut Conn) -> Result<(), Fault> {
        if let Some(number) = self.client_id
            && ServerFacts::read(conn).await?.run_id == self.run_id
        {
            own_client::end(conn, number).await?;
        }
        Ok(())
    }

    /// The process of the target; empty where nobody wrote it down.
    pub(super) fn run_id(&self) -> &str {
        match &self.switch {
            Some(switch) if self.run_id.is_empty() => &switch.earlier_run_id,
            _ => &self.run_id,
        }
    }

    /// The record of a restore by commands that loads beside the old data.
    pub fn beside(self, placement: Placement) -> Self {
        Self { placement: Some(placement), ..self }
    }

    /// From here on the target holds the set, whatever comes. `evicted`: keys that it had evicted then.
    pub fn swapped(&mut self, evicted: u64) {
        self.swapped = true;
        self.evicted = Some(evicted);
    }

    /// From here on the target of a restore by replication has the set in its memory.
    pub fn loaded(&mut self) {
        self.loaded = true;
    }

    /// What the target of a restore by replication was like, before any more of that is changed.
    pub fn switching(&mut self, switch: &RollbackRecord) {
        let s = &switch.settings;
        let record = SwitchRecord {
            repl_diskless_load: s.repl_diskless_load.clone(),
            masterauth: s.masterauth.as_ref().map(|p| p.expose().to_owned()),
            set_masterauth_sha256: switch.set_by_us.masterauth_sha256.clone(),
            masteruser: s.masteruser.clone(),
            replica_read_only: s.replica_read_only.clone(),
            maxmemory: s.maxmemory.clone(),
            host: switch.host.clone(),
            port: switch.port,
            replid: switch.replid.clone(),
            earlier_run_id: String::new(),
        };
        self.run_id.clone_from(&switch.run_id);
        self.switch = Some(record);
    }
}

impl SwitchRecord {
    /// What rolling back needs. `run_id`: the process of the target.
    pub(super) fn switch(&self, run_id: &str) -> RollbackRecord {
        RollbackRecord {
            settings: Settings {
                repl_diskless_load: self.repl_diskless_load.clone(),
                masterauth: self.masterauth.clone().map(Secret::new),
                masteruser: self.masteruser.clone(),
                replica_read_only: self.replica_read_only.clone(),
                maxmemory: self.maxmemory.clone(),
            },
            set_by_us: SetByUs { masterauth_sha256: self.set_masterauth_sha256.clone() },
            host: self.host.clone(),
            port: self.port,
            replid: self.replid.clone(),
            run_id: run_id.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! What is stored is all that a roll-back needs, and records from before a field existed are read.
    use super::RecoveryRecord;
    use crate::model::secret::Secret;
    use crate::redis::master::types::RollbackRecord;
    use crate::redis::settings::{SetByUs, Settings};

    #[test]
    fn what_is_stored_is_what_is_read() {
        let mut record = RollbackRecord {
            settings: Settings {
                repl_diskless_load: "disabled".into(),
                masterauth: Some(Secret::new("old")),
                masteruser: None,
                replica_read_only: "yes".into(),
                maxmemory: Some("1048576".into()),
            },
            set_by_us: SetByUs { masterauth_sha256: "ab".into() },
            host: "127.0.0.1".into(),
            port: 7000,
            replid: "cd".into(),
            run_id: "ef".into(),
        };
        let mut recovery = RecoveryRecord {
            back: String::new(),
            keys: 1,
            moment: None,
            some_keys: None,
            run_id: String::new(),
            switch: None,
            placement: None,
            swapped: false,
            loaded: false,
            evicted: None,
            client_id: None,
        };
        recovery.switching(&record);
        let mut json = serde_json::to_value(&recovery).unwrap();
        let read = |json| {
            let recovery = serde_json::from_value::<RecoveryRecord>(json).unwrap();
            recovery.switch.as_ref().unwrap().switch(recovery.run_id())
        };
        assert_eq!(read(json.clone()), record);
        let mut earlier = json.clone();
        let run_id = earlier.as_object_mut().unwrap().remove("run_id").unwrap();
        assert!(earlier["switch"].as_object_mut().unwrap().insert("run_id".into(), run_id).is_none());
        assert_eq!(read(earlier), record);
        json["switch"].as_object_mut().unwrap().remove("maxmemory").unwrap();
        record.settings.maxmemory = None;
        assert_eq!(read(json), record);
    }
}
