//! Pages of a listing: the page asked for, checked, and its rows.

use crate::emulator::answer::Refused;

/// The page's number and size, checked.
///
/// # Errors
/// `InvalidPageSize.Malformed`, `InvalidPageNumbers.Malformed`.
pub fn page(number: Option<i64>, size: Option<i64>, fits: impl Fn(i64) -> bool) -> Result<(i64, i64), Refused> {
    let (number, size) = (number.unwrap_or(1), size.unwrap_or(30));
    if !fits(size) {
        return Err(Refused::new("InvalidPageSize.Malformed"));
    }
    if number < 1 {
        return Err(Refused::new("InvalidPageNumbers.Malformed"));
    }
    Ok((number, size))
}

/// The rows of one page.
pub fn cut<T>(rows: Vec<T>, number: i64, size: i64) -> Vec<T> {
    let skipped = number.saturating_sub(1).saturating_mul(size);
    let (skipped, size) = (usize::try_from(skipped).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(0));
    rows.into_iter().skip(skipped).take(size).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Pages are counted from one, are no larger than asked for, and may lie behind the end.
    use super::*;

    #[test]
    fn pages() {
        let rows = || (1..=5).collect::<Vec<_>>();
        assert_eq!(cut(rows(), 1, 2), [1, 2]);
        assert_eq!(cut(rows(), 3, 2), [5]);
        assert!(cut(rows(), 4, 2).is_empty());
        assert!(cut(rows(), i64::MAX, i64::MAX).is_empty());
        assert_eq!(page(None, None, |size| size == 30).unwrap(), (1, 30));
        assert_eq!(page(Some(0), None, |_| true).unwrap_err().code, "InvalidPageNumbers.Malformed");
        assert_eq!(page(None, Some(7), |size| size == 30).unwrap_err().code, "InvalidPageSize.Malformed");
    }
}
