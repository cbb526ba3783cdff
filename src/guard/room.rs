//! Room: how much memory a set needs on a target, and whether the target would evict for it. Figures in, figures out: no wording.

/// Bytes that an element takes which a server keeps in a table of its own and not packed: an entry, a name and a value.
const UNPACKED_BYTES: u64 = 120;

/// Bytes of memory that a set needs on a target that unpacks so many of its elements. An estimate: what the source used, or the
/// RDB's own size where that is not known or more.
#[must_use]
pub fn need(source_used: u64, rdb_bytes: u64, unpacked: u64) -> u64 {
    source_used.max(rdb_bytes).saturating_add(unpacked.saturating_mul(UNPACKED_BYTES))
}

/// Bytes of memory that some of a source's keys need. An estimate: their share of what the source used, by bytes or by number, whichever
/// is more; at least what an RDB has of them. `some` and `all`: bytes of an RDB, and keys.
#[must_use]
pub fn need_of_some(source_used: u64, some: (u64, u64), all: (u64, u64)) -> u64 {
    let share = |part: u64, whole: u64| {
        let share = u128::from(source_used) * u128::from(part.min(whole)) / u128::from(whole.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    some.0.max(share(some.0, all.0)).max(share(some.1, all.1))
}

/// Whether a server deletes keys by itself when its memory limit is reached.
#[must_use]
pub fn evicts(maxmemory: u64, policy: &str) -> bool {
    // A policy that the server does not tell may be any.
    maxmemory > 0 && policy != "noeviction"
}

/// Whether a set of this need fits beside the data that the server holds now, without a key being evicted or a write refused.
#[must_use]
pub fn fits_beside(need: u64, used: u64, maxmemory: u64, free: Option<u64>) -> bool {
    let together = used.saturating_add(need);
    (maxmemory == 0 || together <= maxmemory) && free.is_none_or(|free| need <= free)
}

#[cfg(test)]
mod tests {
    //! What fits is judged with both limits, and what is not known is no reason to call it full.
    use super::{evicts, fits_beside, need, need_of_some};

    #[test]
    fn both_limits_count() {
        assert!(fits_beside(10, 90, 100, Some(10)) && fits_beside(10, 90, 0, None));
        assert!(
            !fits_beside(10, 91, 100, None) && !fits_beside(10, 0, 0, Some(9)) && !fits_beside(u64::MAX, 1, 5, None)
        );
    }

    #[test]
    fn unpacked_elements_need_more() {
        assert!(need(100, 1000, 0) == 1000 && need(2000, 1000, 0) == 2000 && need(0, 0, 10) >= 640);
        assert_eq!(need(1, 1, u64::MAX), u64::MAX);
    }

    #[test]
    fn some_keys_need_their_share() {
        assert_eq!(need_of_some(1000, (10, 1), (100, 100)), 100);
        assert_eq!(need_of_some(1000, (10, 50), (100, 100)), 500);
        assert_eq!(need_of_some(0, (10, 50), (100, 100)), 10);
        assert_eq!((need_of_some(7, (0, 0), (0, 0)), need_of_some(u64::MAX, (9, 9), (3, 0))), (0, u64::MAX));
    }

    #[test]
    fn a_policy_that_is_not_told_may_be_any() {
        assert!(evicts(1, "allkeys-lru") && evicts(1, "volatile-ttl") && evicts(1, ""));
        assert!(!evicts(0, "allkeys-lru") && !evicts(1, "noeviction"));
    }
}
