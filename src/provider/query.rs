//! What is listed of a provider: a page of its instances, the sets of a range.

use jiff::Timestamp;

/// Which instances to list.
#[derive(Debug, Clone)]
pub struct InstanceQuery {
    /// Only those whose id or name contains this.
    pub search: Option<String>,
    /// The page's number, from 1.
    pub page_number: u32,
    /// How many rows a page has.
    pub page_size: u32,
}

/// From when to when, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first moment of the range.
    pub start: Timestamp,
    /// The last moment of the range. `None`: no moment is the last, so that a set is found that was taken while the clock was ahead.
    pub end: Option<Timestamp>,
}

impl Range {
    /// Whether a moment is in the range. Times are written to the second, so they are compared to the second: a set is found by the
    /// time it is shown with.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.start.as_second() <= at.as_second() && self.end.is_none_or(|end| at.as_second() <= end.as_second())
    }
}
