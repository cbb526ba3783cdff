//! Gaps: what is missing in the log, each an object with its cause. They are put once; nothing here changes or removes one.

use crate::archive::layout::{self, Name};
use crate::archive::{Archive, damaged, failed, record};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::log::{Gap, GapCause};
use crate::model::text::clean;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A gap, as written.
#[derive(Serialize, Deserialize)]
struct Record {
    timeline: String,
    shard: u16,
    after_offset: u64,
    from: Timestamp,
    to: Timestamp,
    cause: String,
    source_run_id: String,
}

impl Archive {
    /// Puts a gap down for good.
    ///
    /// # Errors
    /// `log.failed`; `system.no_randomness`.
    pub fn record_gap(&self, instance_id: &str, gap: &Gap) -> Result<(), Fault> {
        let record = Record {
            timeline: gap.timeline.clone(),
            shard: gap.shard,
            after_offset: gap.after_offset,
            from: gap.from,
            to: gap.to,
            cause: gap.cause.as_str().into(),
            source_run_id: gap.source_run_id.clone(),
        };
        let file = layout::gap_file(gap.after_offset, gap.from, &hex(&random::<3>()?));
        let name = format!("{}/{file}", layout::timeline(instance_id, gap.shard, &gap.timeline));
        record::put(&*self.store, &name, &record).map(drop)
    }

    /// The gaps that were put down for a shard, oldest first.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn gaps(&self, instance_id: &str, shard: u16) -> Result<Vec<Gap>, Fault> {
        let prefix = layout::shard(instance_id, shard);
        let names = self.store.list(&prefix).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        let mut gaps = Vec::new();
        for name in names {
            let Some((timeline, file)) = name.split_once('/') else { continue };
            if matches!(layout::name_of(file), Some(Name::Gap)) {
                gaps.push(self.gap(&prefix, timeline, &name)?);
            }
        }
        gaps.sort_by_key(|gap| (gap.from, gap.after_offset));
        Ok(gaps)
    }

    fn gap(&self, prefix: &str, timeline: &str, name: &str) -> Result<Gap, Fault> {
        let name = format!("{prefix}/{name}");
        let (record, _) = record::read::<Record>(&*self.store, &name)?;
        if record.timeline != timeline {
            return Err(damaged(&self.store.place(&name), "says that it is another timeline's"));
        }
        Ok(Gap {
            timeline: record.timeline,
            shard: record.shard,
            after_offset: record.after_offset,
            from: record.from,
            to: record.to,
            cause: GapCause::parse(&record.cause),
            // Whoever can write to the vault can write this too.
            source_run_id: clean(&record.source_run_id),
        })
    }
}
