//! Brings closed files of the spool to the vault as segments, in their order, and removes each once it is there.

use crate::archive::{Archive, Reached, Timeline};
use crate::model::fault::{Fault, Kind};

/// Seals a timeline's spool. It may hang with the vault while the writer goes on; one for a timeline.
#[derive(Debug)]
pub struct Sealer;

impl Archive {
    /// The sealer of a timeline.
    #[must_use]
    pub fn sealer(&self, timeline: &Timeline) -> Sealer {
        let _ = timeline;
        Sealer
    }
}

impl Sealer {
    /// Puts every closed file of the spool on the vault. How far the vault reaches then; `None` where it has no segment.
    ///
    /// # Errors
    /// `log.failed`, where the same can be tried again later; `log.conflict`, where another archiver wrote to this timeline;
    /// `log.damaged`, where the spool is not what was written.
    pub fn seal(&mut self) -> Result<Option<Reached>, Fault> {
        Err(Fault::new(Kind::Unexpected, "log.failed", "not built yet"))
    }
}
