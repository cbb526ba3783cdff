//! Gaps: what is missing in the log, each an object with its cause. They are put once; nothing here changes or removes one.

use crate::archive::layout::{self, Name};
use crate::archive::{Archive, damaged, failed, record};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::log::Gap;
use crate::model::text::clean;

impl Archive {
    /// Puts a gap down for good.
    ///
    /// # Errors
    /// `log.failed`; `system.no_randomness`.
    pub fn record_gap(&self, instance_id: &str, gap: &Gap) -> Result<(), Fault> {
        let file = layout::gap_file(gap.after_offset, gap.from, &hex(&random::<3>()?));
        let name = format!("{}/{file}", layout::timeline(instance_id, gap.shard, &gap.timeline));
        record::put(&*self.store, &name, gap).map(drop)
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
        let (gap, _) = record::read::<Gap>(&*self.store, &name)?;
        if gap.timeline != timeline {
            return Err(damaged(&self.store.place(&name), "says that it is another timeline's"));
        }
        // Whoever can write to the vault can write this too.
        Ok(Gap { source_run_id: clean(&gap.source_run_id), ..gap })
    }
}
