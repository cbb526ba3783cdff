//! Paging to the end: what a listing has to say of itself, so that all its rows can be read.
//!
//! A listing that changes while it is read may repeat rows, which are dropped by their key; one that loses rows is read anew.

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

/// How far a listing is read.
#[derive(Debug, Default)]
pub struct Progress {
    received: i64,
    distinct: i64,
    total: Option<i64>,
}

impl Progress {
    /// Takes note of a page's total, and tells whether rows have gone since the page before: then those behind them have moved up, and one
    /// may stand on a page that was read already.
    pub fn has_shrunk<R>(&mut self, page: &Page<R>) -> bool {
        let before = self.total;
        self.total = page.total.or(before);
        before.zip(page.total).is_some_and(|(before, now)| now < before)
    }

    /// Takes note of a page that was `asked` for with so many rows, of which so many are `fresh`, and tells whether another follows.
    ///
    /// A total may be wrong, and a page may be smaller than was asked for: only a page that has less than it may have ends a listing, and
    /// where the page does not say how much that is, one that brings nothing new.
    ///
    /// # Errors
    /// When the listing ends although rows are missing: a partial list must not pass for a whole one.
    pub fn follows<R>(&mut self, page: &Page<R>, fresh: usize, asked: i64) -> Result<bool, String> {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let rows = count(page.rows.len());
        self.received = self.received.saturating_add(rows);
        self.distinct = self.distinct.saturating_add(count(fresh));
        let size = page.size.filter(|size| *size > 0).map(|size| size.min(asked));
        let full = rows > 0 && size.is_none_or(|size| rows >= size);
        if full && fresh > 0 {
            return Ok(true);
        }
        // A list that grows meanwhile gives some rows twice; a server that gives the same page again has told nothing new.
        let known = if full { self.distinct } else { self.received };
        match page.total {
            Some(total) if known < total && rows > 0 && !full => Ok(true),
            Some(total) if known < total => {
                Err(format!("it ends after {known} rows although {total} are said to exist"))
            }
            None if full && size.is_some() => Err("the same page comes again and again".to_owned()),
            _ => Ok(false),
        }
    }
}
