//! Names of the log's objects. A segment's name alone tells what it covers, so that coverage needs a listing and nothing else.
//!
//! ```text
//! .log/<instance>/<shard>/<timeline>/timeline.json
//! .log/<instance>/<shard>/<timeline>/<first>-<last>-<first ms>-<last ms>-<precision ms>-<commands>-<replication id>.seg
//! .log/<instance>/<shard>/<timeline>/gap-<after offset>-<from ms>-<random>.json
//! .log/<instance>/<shard>/<timeline>/pruned-<offset>.json
//! ```

use crate::vault::layout::SEGMENT;
use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Name of a timeline's record.
pub(super) const TIMELINE: &str = "timeline.json";
/// Folder of all logs. No instance's id begins with a dot.
pub(super) const ROOT: &str = ".log";
/// Longest replication id in a name; a server's has 40 digits.
const REPLID_MAX: usize = 64;

/// The prefix of a shard's objects.
pub(super) fn shard(instance_id: &str, shard: u16) -> String {
    format!("{ROOT}/{instance_id}/{shard}")
}

/// The prefix of a timeline's objects.
pub(super) fn timeline(instance_id: &str, shard_number: u16, id: &str) -> String {
    format!("{}/{id}", shard(instance_id, shard_number))
}

/// Name of a gap's object within its timeline.
pub(super) fn gap_file(after_offset: u64, from: Timestamp, random: &str) -> String {
    format!("gap-{after_offset:020}-{}-{random}.json", from.as_millisecond())
}

/// The offset in the name of a gap's object; `None` where it is none.
pub(super) fn gap_after(file: &str) -> Option<u64> {
    file.strip_prefix("gap-")?.split('-').next()?.parse().ok()
}

/// Name of the object that says that nothing of its timeline before an offset is kept.
pub(super) fn pruned_file(offset: u64) -> String {
    format!("pruned-{offset:020}.json")
}

/// The offset before which nothing of a timeline is kept, by its marks and its segments. Pruning leaves the newest segment, so a mark behind where
/// each of them begins is none that this program has put, and says nothing.
pub(super) fn kept_from(marks: &[u64], segments: &[SegmentName]) -> u64 {
    let newest = segments.iter().map(|segment| segment.first).max().unwrap_or(u64::MAX);
    marks.iter().copied().filter(|mark| *mark <= newest).max().unwrap_or(0)
}

/// What an object of a timeline is, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// The timeline's record.
    Timeline,
    /// A segment.
    Segment(SegmentName),
    /// A gap.
    Gap,
    /// The word that nothing before an offset is kept any more.
    Pruned(u64),
}

/// Reads a name. `None`: none of ours, or a file that is being written.
pub(super) fn name_of(file: &str) -> Option<Name> {
    if file == TIMELINE {
        Some(Name::Timeline)
    } else if file.starts_with("gap-") && file.ends_with(".json") {
        Some(Name::Gap)
    } else if let Some(offset) = file.strip_prefix("pruned-").and_then(|rest| rest.strip_suffix(".json")) {
        offset.parse().ok().map(Name::Pruned)
    } else {
        SegmentName::parse(file).map(Name::Segment)
    }
}

/// What a segment's name tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Offset in the history at which it begins: bytes before it.
    pub first: u64,
    /// Offset behind its last byte.
    pub last: u64,
    /// When its first transaction had been received, in milliseconds since 1970.
    pub first_ms: i64,
    /// When its last transaction had been received.
    pub last_ms: i64,
    /// The widest precision of a time in it, in milliseconds: 0 where all came as it was written.
    pub precision_ms: u64,
    /// Commands in it that change data.
    pub commands: u64,
    /// The source's replication id, one text for all segments of a listing.
    pub replid: Arc<str>,
}

impl SegmentName {
    /// Reads a name back; `None` where it is none of a segment.
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(SEGMENT)?.split('-').collect();
        let [first, last, first_ms, last_ms, precision_ms, commands, replid] = parts.as_slice() else { return None };
        let name = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            first_ms: first_ms.parse().ok()?,
            last_ms: last_ms.parse().ok()?,
            precision_ms: precision_ms.parse().ok()?,
            commands: commands.parse().ok()?,
            replid: (*replid).into(),
        };
        let known = is_replid(replid) && name.first < name.last && name.first_ms <= name.last_ms;
        // One segment has one name.
        (known && name.to_string() == file).then_some(name)
    }
}

/// Whether a text can be a replication id in a name.
pub(super) fn is_replid(text: &str) -> bool {
    (1..=REPLID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, first_ms, last_ms, precision_ms, commands, replid } = self;
        write!(f, "{first:020}-{last:020}-{first_ms:013}-{last_ms:013}-{precision_ms}-{commands}-{replid}{SEGMENT}")
    }
}
