//! Listings read to their end: page after page, all rows or an error.

use crate::tair::client::{Client, unreadable};
use crate::tair::error::TairError;
use crate::tair::wire::Harmless;
use crate::tair::wire::paging::{MAX_PAGES, Paged, Progress};
use std::collections::HashSet;

/// A listing from which rows go while it is read is read so often at most.
const LISTINGS: u32 = 3;

impl Client {
    /// Calls a listing until its end. Rows that come twice, because the list changed meanwhile, are given once.
    ///
    /// # Errors
    /// Any [`TairError`]; a list that cannot be read to its end is an error, never a shorter list.
    pub async fn list<A: Paged<Needs = Harmless>>(&self, request: &A) -> Result<Vec<A::Row>, TairError> {
        for _ in 0..LISTINGS {
            if let Some(rows) = self.list_once(request).await? {
                return Ok(rows);
            }
        }
        Err(unreadable(A::NAME, false, "rows go from it while its pages are read, again and again".to_owned()))
    }

    /// Reads a listing once. `None`: it has become shorter meanwhile, and a row may have been passed over.
    async fn list_once<A: Paged<Needs = Harmless>>(&self, request: &A) -> Result<Option<Vec<A::Row>>, TairError> {
        let size = A::SIZES.last().copied().unwrap_or(30);
        let (mut rows, mut seen, mut progress) = (Vec::new(), HashSet::new(), Progress::default());
        for number in 1..=MAX_PAGES {
            let page = A::page(self.call(&request.on_page(number, size)).await?);
            if progress.has_shrunk(&page) {
                return Ok(None);
            }
            let fresh: Vec<bool> = page.rows.iter().map(|row| seen.insert(A::key(row))).collect();
            let follows = progress.follows(&page, fresh.iter().filter(|fresh| **fresh).count(), size);
            let follows = follows.map_err(|why| unreadable(A::NAME, false, why))?;
            rows.extend(page.rows.into_iter().zip(fresh).filter_map(|(row, fresh)| fresh.then_some(row)));
            if !follows {
                return Ok(Some(rows));
            }
        }
        Err(unreadable(A::NAME, false, format!("it has more than {MAX_PAGES} pages")))
    }
}
