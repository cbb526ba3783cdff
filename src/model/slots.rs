//! The slots of a cluster whose keys a server holds whole: a key of such a slot that the server does not have is nowhere.
//!
//! It must not know which slot a key belongs to.

use serde::{Deserialize, Serialize};

/// The slots whose keys a server holds whole, at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldSlots {
    /// All: the server is no node of a cluster.
    All,
    /// Those of a cluster's node.
    Node {
        /// The node's id.
        id: String,
        /// The node's configuration epoch, which grows when the node takes over a slot of another.
        epoch: u64,
        /// The first and the last slot of each range; without those that are on their way to another node.
        ranges: Vec<(u16, u16)>,
    },
}

impl HeldSlots {
    /// Whether a slot is one of them.
    #[must_use]
    pub fn has(&self, slot: u16) -> bool {
        match self {
            Self::All => true,
            Self::Node { ranges, .. } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&slot)),
        }
    }

    /// Those that were held at this moment and at a later one.
    #[must_use]
    pub fn and_later(self, later: Self) -> Self {
        match (self, later) {
            (Self::Node { ranges: before, .. }, Self::Node { id, epoch, ranges: after }) => {
                let common = |(from, to): (u16, u16)| {
                    after.iter().map(move |(f, t)| (from.max(*f), to.min(*t))).filter(|(from, to)| from <= to)
                };
                let ranges = before.into_iter().flat_map(common).collect();
                Self::Node { id, epoch, ranges }
            }
            (Self::All, held) | (held, Self::All) => held,
        }
    }

    /// Those that were held from this moment to a later one; `None` where that is not known, for a slot may have been elsewhere in between.
    #[must_use]
    pub fn until(self, later: Self) -> Option<Self> {
        match (&self, &later) {
            (Self::All, Self::All) => Some(Self::All),
            (Self::Node { id: a, epoch: e, .. }, Self::Node { id: b, epoch: f, .. }) if (a, e) == (b, f) => {
                Some(self.and_later(later))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    //! What was held at two moments is no more than either; and between them only where no slot can have come back.
    use super::HeldSlots;

    fn node(id: &str, epoch: u64, ranges: &[(u16, u16)]) -> HeldSlots {
        HeldSlots::Node { id: id.into(), epoch, ranges: ranges.into() }
    }

    #[test]
    fn what_was_held_at_both_moments() {
        let (before, after) = (node("a", 3, &[(0, 10), (20, 30)]), node("a", 3, &[(5, 24), (30, 40)]));
        let both = node("a", 3, &[(5, 10), (20, 24), (30, 30)]);
        assert_eq!(before.clone().and_later(after.clone()), both);
        assert_eq!(
            [4, 5, 10, 11, 20, 25, 30].map(|slot| both.has(slot)),
            [false, true, true, false, true, false, true]
        );
        assert_eq!(before.clone().until(after.clone()), Some(both));
        assert_eq!(before.clone().until(node("a", 4, &[(0, 10)])), None);
        assert_eq!(before.clone().until(node("b", 3, &[(0, 10)])), None);
        assert_eq!((HeldSlots::All.until(HeldSlots::All), HeldSlots::All.until(before)), (Some(HeldSlots::All), None));
    }
}
