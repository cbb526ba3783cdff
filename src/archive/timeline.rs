//! Timelines: one history of an instance's shard, from where its log began. A timeline is never written again, and never ends by a
//! record: it ends where its segments do.

use crate::archive::layout::{self, TIMELINE};
use crate::archive::{Archive, damaged, failed, record};
use crate::model::fault::Fault;
use crate::model::ids::new_id;
use crate::model::log::{Position, is_timeline_id};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a timeline goes back to: the instance was restored in place, and its log goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredFrom {
    /// Where in the older timeline; `None` where a backup set was restored that lies on none.
    pub position: Option<Position>,
    /// The moment that was restored.
    pub moment: Timestamp,
    /// Id of the restore's job.
    pub job_id: String,
}

/// What is known of a timeline that is to be opened.
#[derive(Debug, Clone)]
pub struct NewTimeline {
    /// The instance.
    pub instance_id: String,
    /// Number of the shard.
    pub shard: u16,
    /// Now.
    pub opened_at: Timestamp,
    /// The source's replication id.
    pub replid: String,
    /// Offset in the source's history at which the log begins: bytes before it.
    pub offset: u64,
    /// The database selected in the stream at that offset, where it is known. Behind a snapshot a source selects one itself.
    pub database: Option<u64>,
    /// The restore after which it begins.
    pub restored_from: Option<RestoredFrom>,
}

/// A timeline on the vault. Its record has these fields as they stand, but for the checksum of the record itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Its id, which begins with the second in which it was opened.
    pub id: String,
    /// The instance.
    pub instance_id: String,
    /// Number of the shard.
    pub shard: u16,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The source's replication id at its beginning.
    pub replid: String,
    /// Offset at which it begins.
    pub offset: u64,
    /// The database selected there, where it is known.
    pub database: Option<u64>,
    /// The restore after which it begins.
    pub restored_from: Option<RestoredFrom>,
    /// Checksum of its record.
    #[serde(skip)]
    pub digest: String,
}

impl Timeline {
    /// A position in this timeline.
    #[must_use]
    pub fn position(&self, offset: u64) -> Position {
        Position { timeline: self.id.clone(), shard: self.shard, offset }
    }

    /// The order of timelines, the oldest first.
    pub(super) fn by_age(&self, other: &Self) -> std::cmp::Ordering {
        (self.opened_at, &self.id).cmp(&(other.opened_at, &other.id))
    }

    pub(super) fn prefix(&self) -> String {
        layout::timeline(&self.instance_id, self.shard, &self.id)
    }
}

impl Archive {
    /// Opens a timeline: from now on segments can be written to it.
    ///
    /// # Errors
    /// `log.failed`; `system.no_randomness`.
    pub fn open_timeline(&self, new: NewTimeline) -> Result<Timeline, Fault> {
        let NewTimeline { instance_id, shard, opened_at, replid, offset, database, restored_from } = new;
        let (id, digest) = (new_id("t", opened_at)?, String::new());
        let mut timeline =
            Timeline { id, instance_id, shard, opened_at, replid, offset, database, restored_from, digest };
        timeline.digest = record::put(&*self.store, &format!("{}/{TIMELINE}", timeline.prefix()), &timeline)?;
        Ok(timeline)
    }

    /// Reads a timeline.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn timeline(&self, instance_id: &str, shard: u16, id: &str) -> Result<Timeline, Fault> {
        let name = format!("{}/{TIMELINE}", layout::timeline(instance_id, shard, id));
        let (timeline, digest) = record::read::<Timeline>(&*self.store, &name)?;
        if (timeline.id.as_str(), timeline.instance_id.as_str(), timeline.shard) != (id, instance_id, shard) {
            return Err(damaged(&self.store.place(&name), "says that it is another timeline's"));
        }
        Ok(Timeline { digest, ..timeline })
    }

    /// The timelines of a shard, oldest first. One that is begun and has no record yet is none.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn timelines(&self, instance_id: &str, shard: u16) -> Result<Vec<Timeline>, Fault> {
        let prefix = layout::shard(instance_id, shard);
        let ids = self.store.folders(&prefix).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        let mut found = Vec::new();
        for id in ids.iter().filter(|id| is_timeline_id(id)) {
            let name = format!("{}/{TIMELINE}", layout::timeline(instance_id, shard, id));
            if self.store.has(&name).map_err(|e| failed("read", &self.store.place(&name), e))? {
                found.push(self.timeline(instance_id, shard, id)?);
            }
        }
        found.sort_by(Timeline::by_age);
        Ok(found)
    }
}
