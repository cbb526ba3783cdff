//! Where a key that the source of a restore does not have was not there: in the slots of a cluster whose keys that source held whole. A key
//! of another slot may have been on another node then.
//!
//! It must not guess: where nothing tells, it is not known.

use crate::model::backup::BackupSet;
use crate::model::slots::HeldSlots;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::slots::held_slots;

impl Inner {
    /// The slots whose keys the source held whole; `None` where that is not known. `behind`: commands behind the set are restored as well.
    /// `target`: the server of the instance `instance_id`, which gets the keys.
    pub(in crate::provider::local) async fn held_then(
        &self,
        set: &BackupSet,
        behind: bool,
        instance_id: &str,
        target: &ServerFacts,
    ) -> Option<HeldSlots> {
        match &set.held {
            Some(held) if !behind || *held == HeldSlots::All => Some(held.clone()),
            // Which slots went and came behind the set nobody has written down; that none has come the node itself tells.
            Some(held) => held.clone().until(self.held_now(&set.instance_id).await?),
            // A set of an earlier version, a file that was handed in, or a node whose user may not ask.
            None if target.cluster_enabled => None,
            None if set.instance_id == instance_id => Some(HeldSlots::All),
            None => self.held_now(&set.instance_id).await.filter(|held| *held == HeldSlots::All),
        }
    }

    async fn held_now(&self, instance_id: &str) -> Option<HeldSlots> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await.ok()?, COMMAND_TIMEOUT).await.ok()?;
        let facts = ServerFacts::read(&mut conn).await.ok()?;
        held_slots(&facts, &mut conn).await.ok()
    }
}
