//! Room for what comes: how much the spool may still take, so that neither its limit is passed nor its disk is filled.
//!
//! It must not wait for room, only judge it, by figures that are at most as old as its last look.

use crate::archive::LogWriter;

/// What the spool's files take beside the stream, at most, where they hold one transaction.
const SPOOL_OVERHEAD: u64 = 64 << 10;
/// Bytes that the spool leaves free on its disk, for the state store and whoever else writes there.
const RESERVE: u64 = 32 << 20;

/// Why the spool takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It has reached its limit.
    Limit,
    /// Its disk has hardly any room left.
    Disk,
    /// A command or transaction is larger than the limit: so many bytes of it have come, and it can never be taken.
    TooLarge(u64),
}

/// What the spool may take, and why it takes nothing.
pub(super) struct Room {
    limit: u64,
    /// Bytes in spools of earlier timelines of the instance, which wait for the vault too.
    elsewhere: u64,
    /// Whether the disk has hardly any room.
    scarce: bool,
    /// Bytes of a transaction that were not taken whole: so much has to be free before it is asked for again.
    needs: u64,
}

impl Room {
    pub fn of(writer: &LogWriter, limit: u64) -> Self {
        let mut room = Self { limit, elsewhere: 0, scarce: false, needs: 0 };
        room.look(writer);
        room
    }

    /// Looks at what changes beside the writer's own doing.
    pub fn look(&mut self, writer: &LogWriter) {
        self.elsewhere = writer.recount();
        // Room is there again only with some to spare. A disk that does not tell is written to until it refuses.
        let least = if self.scarce { 2 * RESERVE } else { RESERVE };
        self.scarce = writer.disk_free().is_some_and(|free| free < least);
    }

    fn used(&self, writer: &LogWriter) -> u64 {
        writer.spool_bytes().saturating_add(self.elsewhere)
    }

    /// Why bytes that came cannot be taken.
    pub fn refuses(&mut self, writer: &LogWriter, bytes: u64) -> Option<Full> {
        let transaction = writer.partial().saturating_add(bytes);
        let why = if transaction.saturating_add(SPOOL_OVERHEAD) > self.limit {
            Full::TooLarge(transaction)
        } else if self.used(writer).saturating_add(bytes) > self.limit {
            Full::Limit
        } else if self.scarce {
            Full::Disk
        } else {
            return None;
        };
        self.needs = transaction;
        Some(why)
    }

    /// Whether it may be tried again.
    pub fn is_there(&self, writer: &LogWriter) -> bool {
        let least = (self.limit / 2).min(self.limit.saturating_sub(self.needs));
        !self.scarce && self.used(writer) <= least
    }
}
