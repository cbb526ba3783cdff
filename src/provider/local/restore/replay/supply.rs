//! The commands behind a set on their way to the target: verified, and read for what must be moved or kept on it.
//!
//! It must not hand on a part of the commands as if it were all of them.

use crate::model::fault::{Fault, Kind};
use crate::provider::local::restore::replay::{Behind, Reader};
use crate::redis::master::fold::Fold;
use crate::redis::master::shift::StreamShift;
use crate::redis::master::types::Supply;
use jiff::Timestamp;
use tokio::sync::mpsc;

/// Bytes of a log that are read, for a plan, for the expiries in it.
const COUNTED_BYTES_MAX: u64 = 256 << 20;

impl Behind {
    /// What the stream is read for on its way; `None` where it goes as it is.
    fn shift(&self) -> Option<StreamShift> {
        let needed = self.shift_ms != 0 || self.relative || StreamShift::is_needed(&self.names);
        needed.then(|| StreamShift::new(self.shift_ms, self.relative))
    }

    /// Reads what is moved and may be refused for what it is, before anybody is asked: a payload whose times cannot be moved would end the
    /// replay half way.
    ///
    /// # Errors
    /// `restore.not_movable`; what the log fails with.
    pub(super) fn rehearsed(self) -> Result<Self, Fault> {
        let payloads = ["RESTORE", "RESTORE-ASKING", "HPERSIST"].into_iter().any(|name| self.names.contains(name));
        let (Reader::Log(archive, cut), Some(mut shift), true) = (&self.reader, self.shift(), payloads) else {
            return Ok(self);
        };
        for bytes in archive.read(cut)? {
            shift.feed(&bytes?, 0, &mut Vec::new()).map_err(|why| {
                Fault::new(
                    Kind::Usage,
                    "restore.not_movable",
                    format!("the log cannot be replayed: {why}; nothing was touched"),
                )
                .hint("Leave time_shift out, or choose a moment before that command: describe_backups has the sets.")
            })?;
        }
        Ok(self)
    }

    /// Expiries that the commands set between their moment and now. `None` where that is not counted: the log is long, or it is a tail.
    pub(in crate::provider::local::restore) fn expired_since(&self) -> Option<u64> {
        if !StreamShift::may_expire(&self.names) {
            return Some(0);
        }
        let Reader::Log(archive, cut) = &self.reader else { return None };
        if self.bytes > COUNTED_BYTES_MAX {
            return None;
        }
        let between = (self.restored.moment.as_millisecond(), Timestamp::now().as_millisecond());
        // Servers that send every expiry as a moment send none that counts from when it runs.
        let (mut shift, mut passed) = (StreamShift::new(0, true).counting(between), Vec::new());
        let mut log = archive.read(cut).ok()?.timed();
        while let Some(bytes) = log.next() {
            shift.feed(&bytes.ok()?, log.received_ms(), &mut passed).ok()?;
            passed.clear();
        }
        Some(shift.counted())
    }

    /// Hands the commands over, all of them or a reason. The other side may have given up, and says why.
    pub(in crate::provider::local::restore) fn supply(self, to: &mpsc::Sender<Supply>) -> Result<(), String> {
        let timed = self.relative;
        let (mut shift, mut fold) = (self.shift(), Fold::default());
        let mut send = |mut bytes: Vec<u8>, at_ms| -> Result<bool, String> {
            if let Some(shift) = &mut shift {
                let mut moved = Vec::with_capacity(bytes.len());
                shift.feed(&bytes, at_ms, &mut moved)?;
                bytes = moved;
            }
            let mut folded = Vec::new();
            fold.feed(&bytes, &mut folded)?;
            Ok(hand_over(to, folded, fold.is_between_commands()))
        };
        let commands = match self.reader {
            Reader::Tail(mut tail) => {
                let at_ms = self.restored.moment.as_millisecond();
                while let Some(bytes) = tail.next()? {
                    if !send(bytes, at_ms)? {
                        return Ok(());
                    }
                }
                tail.sent()
            }
            Reader::Log(archive, cut) => {
                let mut log = archive.read(&cut).map_err(|fault| fault.message)?;
                if timed {
                    log = log.timed();
                }
                while let Some(bytes) = log.next() {
                    let bytes = bytes.map_err(|fault| fault.message)?;
                    if !send(bytes, log.received_ms())? {
                        return Ok(());
                    }
                }
                log.commands()
            }
        };
        if commands == self.commands {
            let mut last = Vec::new();
            fold.finish(&mut last);
            hand_over(to, last, true);
            return Ok(());
        }
        Err(format!("the log gave {commands} commands, and {} were planned", self.commands))
    }
}

/// Whether the other side took it; there may be nothing to take.
fn hand_over(to: &mpsc::Sender<Supply>, bytes: Vec<u8>, whole: bool) -> bool {
    bytes.is_empty() || to.blocking_send(Supply::Stream { bytes, whole }).is_ok()
}
