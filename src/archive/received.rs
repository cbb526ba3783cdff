//! Whether a log has all of a part of its source's history: on the vault, or in the spool of this machine on its way there.
//!
//! It must not call received what is not in a file, nor put anything anywhere.

use crate::archive::recover::newest;
use crate::archive::spool::{self, Records};
use crate::archive::{Archive, failed};
use crate::model::fault::Fault;
use crate::model::log::Position;
use std::io;
use std::path::Path;

/// A part of a history without a break: bytes before it, and before its end.
type Part = (u64, u64);

impl Archive {
    /// The position of an offset of a history in the newest timeline of a shard, where that has everything behind another offset up to
    /// there; `None` where it does not, or not yet. What is in the spool is synced within
    /// half a second of its arrival.
    ///
    /// # Errors
    /// `log.failed`, `log.damaged`.
    pub fn received(
        &self,
        instance_id: &str,
        shard: u16,
        replid: &str,
        from: u64,
        to: u64,
    ) -> Result<Option<Position>, Fault> {
        let Some(timeline) = self.timelines(instance_id, shard)?.pop() else { return Ok(None) };
        let dir = self.spool.join(timeline.prefix());
        // Before the vault: what leaves the spool meanwhile is there by then.
        let mut parts = spooled(&dir, replid).map_err(|e| failed("read", &dir.display().to_string(), e))?;
        let segments = self.segments_behind(&timeline, from)?;
        let of_it = segments.iter().filter(|segment| segment.replid.eq_ignore_ascii_case(replid));
        parts.extend(of_it.map(|segment| (segment.first, segment.last)));
        Ok(reaches(parts, from, to).then(|| timeline.position(to)))
    }
}

/// Whether parts lead from one offset to another.
fn reaches(mut parts: Vec<Part>, from: u64, to: u64) -> bool {
    parts.sort_unstable();
    let mut reached = None;
    for (first, last) in parts {
        let at = reached.unwrap_or(from);
        if first <= at && at <= last {
            reached = Some(last);
        }
    }
    reached.is_some_and(|reached| reached >= to)
}

/// What the files of a spool have of a history.
fn spooled(dir: &Path, replid: &str) -> io::Result<Vec<Part>> {
    let files = match spool::files(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut headers = Vec::new();
    for (number, path) in files {
        match Records::open(&path) {
            Ok(records) => headers.push((number, path, records.header)),
            // It went to the vault meanwhile, or has just been begun.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
            Err(e) => return Err(e),
        }
    }
    let mut parts = Vec::new();
    let mut next = None;
    for (number, path, header) in headers.into_iter().rev() {
        // A file ends where the next one begins; the last one where its last whole transaction does.
        let last = match next.replace((number, header.first)) {
            Some((after, first)) if after == number + 1 => first,
            _ => match newest(&path) {
                Ok((_, _, whole, _)) => whole.offset,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => continue,
                Err(e) => return Err(e),
            },
        };
        if header.replid.eq_ignore_ascii_case(replid) && header.first <= last {
            parts.push((header.first, last));
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    //! Parts lead to where there is no break between them, whichever way they overlap.
    use super::reaches;

    #[test]
    fn parts_lead_as_far_as_they_touch() {
        let parts = vec![(30, 40), (0, 10), (10, 20), (15, 25)];
        for (from, to, leads) in [
            (0, 25, true),
            (10, 25, true),
            (5, 25, true),
            (0, 26, false),
            (26, 40, false),
            (30, 40, true),
            (41, 41, false),
        ] {
            assert_eq!(reaches(parts.clone(), from, to), leads, "{from} {to}");
        }
        assert!(!reaches(Vec::new(), 0, 0));
    }
}
