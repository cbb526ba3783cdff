//! Where a writer goes on: behind the last whole transaction of the spool, or of the vault where that has more.
//!
//! What a crash left behind that transaction in the newest file is dropped; it was never called spooled. A file whose
//! header is damaged is set aside, and what it held is asked for again.

use crate::archive::reach::{Reached, SpoolProgress};
use crate::archive::segment::outline::Outline;
use crate::archive::segment::read::Segment;
use crate::archive::spool::{self, Header, Records, SpoolFile};
use crate::archive::{Archive, Timeline, damaged, failed};
use crate::model::fault::Fault;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The end of the last whole transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub offset: u64,
    pub database: Option<u64>,
    /// Bytes of the spool's file up to there.
    pub len: u64,
}

/// Where a writer goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub number: u64,
    pub file: SpoolFile,
    pub header: Header,
    pub whole: Whole,
    /// Records in the file.
    pub records: u64,
    /// When the last bytes came.
    pub last_ms: i64,
    pub reached: Option<Reached>,
    pub progress: Arc<SpoolProgress>,
}

/// Finds where a writer goes on, and makes the file that it goes on with.
pub(super) fn recover(archive: &Archive, timeline: &Timeline, dir: &Path) -> Result<Recovered, Fault> {
    let io = |e: io::Error| failed("read", &dir.display().to_string(), e);
    let mut files = spool::files(dir).map_err(io)?;
    let segments = archive.segments_behind(timeline, u64::MAX)?;
    let last = segments.first();
    let archived = last.and_then(Reached::by);
    let mut found = None;
    while let Some((number, path)) = files.last() {
        match newest(path) {
            Ok(newest) => {
                let place = path.display().to_string();
                if (newest.0.timeline.as_str(), newest.0.shard) != (timeline.id.as_str(), timeline.shard) {
                    return Err(damaged(&place, "says that it is another timeline's"));
                }
                found = Some((*number, path.clone(), newest));
                break;
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                spool::set_aside(path).map_err(io)?;
                files.pop();
            }
            Err(e) => return Err(io(e)),
        }
    }
    let bytes = || files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|meta| meta.len()).sum::<u64>();
    let next = files.last().map_or(0, |(number, _)| number + 1);
    if let Some((number, path, (header, outline, whole, records))) = found {
        // Whatever goes on, what is partial goes. Until now nobody knew whether what was read here would outlast a power cut.
        let file = SpoolFile::open(path, whole.len).map_err(io)?;
        file.sync().map_err(io)?;
        if archived.is_none_or(|archived| archived.offset <= whole.offset) {
            let last_ms = outline.stamps.last().map_or(header.since_ms, |stamp| stamp.ms);
            let reached = Reached::new(whole.offset, last_ms).filter(|_| last_ms > 0);
            let progress = Arc::new(SpoolProgress::new(number, bytes(), archived));
            return Ok(Recovered { number, file, header, whole, records, last_ms, reached, progress });
        }
    }
    // Nothing is spooled, or the vault has more: another machine went on with this timeline.
    let header = match last {
        Some(last) => Header {
            timeline: timeline.id.clone(),
            shard: timeline.shard,
            replid: last.replid.to_string(),
            first: last.last,
            database: Segment::open(&*archive.store, timeline, last)?.database(),
            since_ms: last.last_ms,
        },
        None => Header {
            timeline: timeline.id.clone(),
            shard: timeline.shard,
            replid: timeline.replid.clone(),
            first: timeline.offset,
            database: timeline.database,
            // Times never go back, nor from one timeline to the next.
            since_ms: timeline.opened_at.as_millisecond(),
        },
    };
    let waiting = bytes();
    let file = SpoolFile::create(dir, next, &header).map_err(io)?;
    let whole = Whole { offset: header.first, database: header.database, len: file.len() };
    Ok(Recovered {
        number: next,
        last_ms: header.since_ms,
        records: 0,
        reached: archived,
        progress: Arc::new(SpoolProgress::new(next, waiting + file.len(), archived)),
        file,
        header,
        whole,
    })
}

pub(super) type Newest = (Header, Outline, Whole, u64);

/// Reads a file up to its last whole record, and finds its last whole transaction.
pub(super) fn newest(path: &Path) -> io::Result<Newest> {
    let mut records = Records::open(path)?;
    let header = records.header.clone();
    let mut outline = Outline::new(header.first, header.database);
    let mut whole = Whole { offset: header.first, database: header.database, len: records.at };
    let mut count = 0;
    loop {
        let record = match records.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => break,
            Err(e) => return Err(e),
        };
        if outline.push(&record.bytes).is_err() {
            break;
        }
        count += 1;
        outline.stamp(record.ms, record.precision_ms, record.bytes.is_empty());
        let (offset, _, database) = outline.whole;
        if offset == records.offset {
            whole = Whole { offset, database, len: records.at };
        }
    }
    // What was partial is dropped, and so is what it said of time.
    let stamps = std::mem::take(&mut outline.stamps);
    outline.stamps = stamps.into_iter().filter(|stamp| stamp.offset <= whole.offset).collect();
    Ok((header, outline, whole, count))
}
