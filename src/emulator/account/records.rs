//! The records that the emulated account needs after a restart: policies, locks, spare instances handed out, client tokens, and
//! which backups were requested by calls.
//!
//! Types alone, as they are written to the file of [`RecordsFile`](crate::emulator::account::records_file::RecordsFile); the
//! names of their fields are that file's. Sets and jobs are not in it: the provider has those.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The days of a backup policy, in the cloud's order.
pub const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// How long client tokens and requests for backups are kept.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// A backup policy as the cloud keeps it, but for data flashback, which the provider keeps. Nothing runs by it yet: a scheduler of local
/// backups would read it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The hour in which backups begin: `05:00Z-06:00Z`.
    pub time: String,
    /// English weekdays on which backups are taken.
    pub days: Vec<String>,
    /// Days for which a backup is kept.
    pub retention: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { time: "02:00Z-03:00Z".into(), days: WEEKDAYS.map(str::to_owned).to_vec(), retention: 7 }
    }
}

/// How a new instance came to be: a spare one that was handed out, or a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// When the call that created the instance came.
    pub at: Timestamp,
    /// The new instance's name.
    pub name: String,
    /// How the instance is charged: `PostPaid` or `PrePaid`.
    pub charge: String,
    /// When the instance was filled and became `Normal`. Sets begun before do not belong to the new instance.
    pub normal_at: Option<Timestamp>,
    /// Whether the instance could not be filled.
    pub failed: bool,
    /// The set that the instance is filled with, by which its restore is found after a crash; empty where it is filled with a moment.
    #[serde(alias = "copy")]
    pub backup_id: String,
    /// Id of the instance that the new one is a clone of; `None` where a spare instance was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_of: Option<String>,
}

/// A backup that a call requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBackup {
    /// When the call came.
    pub at: Timestamp,
    /// Id of the set that the backup makes.
    pub backup_id: String,
}

/// The record of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceRecord {
    /// The instance's policy; the default one where none was set.
    pub policy: Option<Policy>,
    /// The instance's write lock, while there is one.
    pub locked: Option<LockRecord>,
    /// How the instance was created, where a call created it.
    pub created: Option<Creation>,
    /// Backups requested in the last day.
    pub taken: Vec<RequestedBackup>,
    /// Expiries set for single sets, by backup id; `None`: kept as long as the instance lives.
    pub expiry: BTreeMap<String, Option<Timestamp>>,
}

/// A write lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// Why the instance is locked, as the caller wrote.
    pub reason: String,
    /// The server's own `min-replicas-to-write`, which the lock replaced and unlocking puts back.
    pub replicas_to_write: String,
}

/// A call that created an instance, for when the call is repeated with the same token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    /// When the call came.
    pub at: Timestamp,
    /// Hash of the call's arguments, hexadecimal.
    pub arguments: String,
    /// Id of the instance that the call created.
    pub instance_id: String,
}

/// All records of the account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Records {
    /// Records by instance id.
    pub instances: BTreeMap<String, InstanceRecord>,
    /// Calls by the token that the client made up.
    pub tokens: BTreeMap<String, ClientToken>,
}

impl Records {
    /// The record of an instance, to be changed.
    pub fn of(&mut self, instance_id: &str) -> &mut InstanceRecord {
        self.instances.entry(instance_id.to_owned()).or_default()
    }

    /// Removes tokens and requests that are a day old, so that the file does not grow.
    pub fn prune(&mut self, now: Timestamp) {
        let young = |at: Timestamp| now.duration_since(at) < REMEMBERED;
        self.tokens.retain(|_, token| young(token.at));
        for record in self.instances.values_mut() {
            record.taken.retain(|t| young(t.at));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Tokens and requests are forgotten after a day; files of earlier versions are read.
    use super::*;

    #[test]
    fn a_day_is_remembered() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut records = Records::default();
        for (n, at) in ["2026-11-23T12:00:00Z", "2026-11-23T12:00:01Z"].into_iter().enumerate() {
            let at: Timestamp = at.parse().unwrap();
            let token = ClientToken { at, arguments: String::new(), instance_id: "orders".into() };
            records.tokens.insert(n.to_string(), token);
            records.of("orders").taken.push(RequestedBackup { at, backup_id: n.to_string() });
        }
        records.prune(now);
        assert_eq!(records.tokens.keys().collect::<Vec<_>>(), ["1"]);
        assert_eq!(records.of("orders").taken.len(), 1);
    }

    #[test]
    fn the_file_of_an_earlier_version_is_read() {
        let text = r#"{"instances": {"spare-1": {"policy": {"time": "02:00Z-03:00Z", "days": [], "retention": 7,
            "flashback_since": null}, "created": {"at": "2026-11-23T12:00:00Z", "name": "new", "charge": "PostPaid",
            "normal_at": null, "failed": false, "copy": "b-20261123T120000Z-000000"}}}}"#;
        let mut records: Records = serde_json::from_str(text).unwrap();
        let created = records.of("spare-1").created.clone().unwrap();
        assert_eq!(created.backup_id, "b-20261123T120000Z-000000");
    }
}
