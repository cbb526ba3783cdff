//! Whether a server can go on behind a position in a history, by what it tells of itself.
//!
//! It must not ask the server: one that is asked in vain forks.

use crate::redis::facts::ServerFacts;

/// Whether a server can go on behind a position in a history, without a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Its backlog has what comes behind the position.
    Whole,
    /// The history is its own, and its backlog does not reach back that far, or there is none.
    Overrun,
    /// The history is its own, and it has not come that far: it may lag.
    Ahead,
    /// Its history has left that one before the position.
    Left,
    /// Its history is another one.
    Another,
}

impl ServerFacts {
    /// Whether the server can go on behind a position in a history.
    #[must_use]
    pub fn reach(&self, replid: &str, offset: u64) -> Reach {
        let next = offset.saturating_add(1);
        if self.replid != replid {
            match &self.before {
                Some((id, until)) if id == replid && next <= *until => {}
                Some((id, _)) if id == replid => return Reach::Left,
                _ => return Reach::Another,
            }
        } else if offset > self.offset {
            return Reach::Ahead;
        }
        match self.backlog_from {
            Some(from) if next >= from => Reach::Whole,
            _ => Reach::Overrun,
        }
    }
}

#[cfg(test)]
mod tests {
    //! A position is within reach to the byte: of the history itself, and of the one that it goes on from.
    use super::*;

    #[test]
    fn a_position_is_within_reach_to_the_byte() {
        let (now, before) = ("a".repeat(40), "b".repeat(40));
        let facts = |backlog: &str| {
            ServerFacts::from_info(&format!(
                "master_replid:{now}\r\nmaster_replid2:{before}\r\nmaster_repl_offset:900\r\nsecond_repl_offset:501\r\n{backlog}"
            ))
        };
        let with = facts("repl_backlog_active:1\r\nrepl_backlog_first_byte_offset:301\r\n");
        for (id, offset, reach) in [
            (&now, 900, Reach::Whole),
            (&now, 300, Reach::Whole),
            (&now, 299, Reach::Overrun),
            (&now, 901, Reach::Ahead),
            (&before, 500, Reach::Whole),
            (&before, 501, Reach::Left),
            (&before, 299, Reach::Overrun),
            (&"c".repeat(40), 400, Reach::Another),
        ] {
            assert_eq!(with.reach(id, offset), reach, "{id} {offset}");
        }
        assert_eq!(facts("repl_backlog_active:0\r\n").reach(&now, 900), Reach::Overrun);
    }
}
