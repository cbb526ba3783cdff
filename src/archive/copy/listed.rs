//! What the folder of a timeline holds at both ends of a copy, by one listing each.
//!
//! It must open nothing. Of millions of names those of segments are held here, and a digest of each that is taken there.

use crate::archive::layout::{self, Name, name_of};
use crate::archive::{Archive, SegmentName, failed};
use crate::model::fault::Fault;
use crate::vault::copy_object::is_being_written;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a timeline's folder holds here.
#[derive(Default)]
pub(super) struct Here {
    /// Gaps, marks, and whatever else lies there.
    pub others: Vec<String>,
    /// In order.
    pub segments: Vec<SegmentName>,
    pub has_record: bool,
    /// Nothing before that offset is kept.
    pub pruned: u64,
}

/// What its folder holds at the destination.
#[derive(Default)]
pub(super) struct There {
    /// The names that are taken, in order.
    names: Vec<Short>,
    pub last: Option<SegmentName>,
    /// Whether the segments go on over the newest mark here: then no hole is to be told of by it, and it would hide what is there.
    pub reaches_mark: bool,
}

/// Part of the digest of a name: of millions of names no two have the same.
type Short = [u8; 16];

fn short(name: &str) -> Short {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *blake3::hash(name.as_bytes()).as_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

impl Here {
    /// Lists the folder of a timeline.
    pub fn list(from: &Archive, prefix: &str) -> Result<Self, Fault> {
        let (mut here, mut marks) = (Self::default(), Vec::new());
        let mut replids: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let mut keep = |name: &str| match name_of(name) {
            Some(Name::Timeline) => here.has_record = true,
            Some(Name::Segment(segment)) => {
                let replid = Arc::clone(replids.entry(Arc::clone(&segment.replid)).or_insert(segment.replid));
                here.segments.push(SegmentName { replid, ..segment });
            }
            None if name.is_empty() || name.starts_with('.') => {}
            Some(Name::Pruned(offset)) => {
                marks.push(offset);
                here.others.push(name.to_owned());
            }
            Some(Name::Gap) | None => here.others.push(name.to_owned()),
        };
        let store = &from.store;
        store.each(prefix, &mut keep).map_err(|e| failed("read", &store.place(prefix), e))?;
        here.pruned = layout::kept_from(&marks, &here.segments);
        // A mark that says nothing here must not say something there.
        here.others.retain(|name| !matches!(name_of(name), Some(Name::Pruned(offset)) if offset > here.pruned));
        here.segments.sort_unstable();
        here.others.sort();
        Ok(here)
    }
}

impl There {
    /// Lists the folder of a timeline; `mark` is the newest here. What a killed copy has left of its writing goes, where anything is done.
    pub fn list(to: &Archive, prefix: &str, mark: u64, dry_run: bool) -> Result<Self, Fault> {
        let (mut there, mut left) = (Self::default(), Vec::new());
        let mut keep = |name: &str| {
            if is_being_written(name) {
                left.push(format!("{prefix}/{name}"));
                return;
            }
            there.names.push(short(name));
            if let Some(Name::Segment(segment)) = name_of(name) {
                there.reaches_mark |= segment.first < mark && mark <= segment.last;
                there.last = there.last.take().max(Some(segment));
            }
        };
        let store = &to.store;
        store.each(prefix, &mut keep).map_err(|e| failed("read", &store.place(prefix), e))?;
        if !dry_run {
            for name in left {
                store.delete(&name).map_err(|e| failed("remove", &store.place(&name), e))?;
            }
        }
        there.names.sort_unstable();
        Ok(there)
    }

    /// Whether a name is taken.
    pub fn has(&self, name: &str) -> bool {
        self.names.binary_search(&short(name)).is_ok()
    }
}
