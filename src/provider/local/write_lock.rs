//! The write lock of a server that we reach ourselves: `min-replicas-to-write` beyond what any server has.
//!
//! Writes are refused then (`NOREPLICAS`) and reads are not. Whoever locks remembers the setting that the lock replaces, and
//! does so before the lock is put on, so that it can be put back after a crash. The lock does not hold back the master of a
//! replica, so a restore by replication goes on under it; a restore by commands is refused by the server before it has
//! changed anything.

use crate::model::fault::{Fault, Kind};
use crate::provider::WriteLock;
use crate::provider::local::Inner;
use crate::redis::conn::Conn;
use crate::redis::resp::Value;
use std::time::Duration;

const SETTING: &str = "min-replicas-to-write";
/// More replicas than there are.
const NEVER: &str = "1000000";
/// For connecting and for each command.
const LIMIT: Duration = Duration::from_secs(5);

impl Inner {
    /// Whether writes are locked. The server decides: it may have been restarted, or set by hand, since somebody locked it.
    pub async fn write_lock(&self, instance_id: &str) -> Result<WriteLock, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, LIMIT).await?;
        let reply = conn.cmd_str(&["CONFIG", "GET", SETTING]).await?;
        let value = reply.as_array().and_then(|pair| pair.get(1)).and_then(Value::as_str);
        match value {
            Some(NEVER) => Ok(WriteLock::Locked),
            Some(setting) => Ok(WriteLock::Unlocked { setting: setting.to_owned() }),
            None => Err(Fault::new(Kind::Provider, "instance.odd", format!("the server does not tell its {SETTING}"))),
        }
    }

    /// Puts the lock on, or the setting back that it replaced.
    pub async fn set_write_lock(&self, instance_id: &str, to: &WriteLock) -> Result<(), Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, LIMIT).await?;
        let value = match to {
            WriteLock::Locked => NEVER,
            WriteLock::Unlocked { setting } => setting,
        };
        conn.cmd_str(&["CONFIG", "SET", SETTING, value]).await?;
        Ok(())
    }
}
