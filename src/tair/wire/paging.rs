//! Paging to the end: what a listing has to say of itself, so that all its rows can be read.
//!
//! A listing that changes while it is read may repeat rows, which are dropped by their key.

use crate::tair::wire::Action;

/// One page of a listing.
#[derive(Debug)]
pub struct Page<R> {
    /// The page's rows.
    pub rows: Vec<R>,
    /// Rows a page has at most, as the server gives the size; that may be less than was asked for.
    pub size: Option<i64>,
    /// Rows in all, where the listing says it.
    pub total: Option<i64>,
}

/// An action that lists by pages.
pub trait Paged: Action {
    /// A row of the listing.
    type Row: Send;
    /// The page sizes it takes, ascending.
    const SIZES: &'static [i64];

    /// The same call for a page, counted from 1.
    #[must_use]
    fn on_page(&self, number: i64, size: i64) -> Self;
    /// The rows of a reply.
    fn page(reply: Self::Reply) -> Page<Self::Row>;
    /// What makes a row one of its kind.
    fn key(row: &Self::Row) -> String;
}

/// Pages read at most: an end that never comes is a server's fault, not a reason to go on for ever.
pub const MAX_PAGES: i64 = 1000;

/// Whether more pages follow, after so many rows of pages so large.
///
/// # Errors
/// When the page is empty although rows are missing: a partial list must not pass for a whole one.
pub fn more<R>(page: &Page<R>, number: i64, asked: i64) -> Result<bool, String> {
    let rows = i64::try_from(page.rows.len()).unwrap_or(i64::MAX);
    let size = page.size.filter(|s| *s > 0).map_or(asked, |s| s.min(asked));
    let seen = number.saturating_sub(1).saturating_mul(size).saturating_add(rows);
    match page.total {
        Some(total) if rows == 0 && seen < total => {
            Err(format!("page {number} is empty although {total} rows are said to exist"))
        }
        Some(total) => Ok(seen < total),
        None => Ok(rows >= size),
    }
}
