//! What is written out of an instance's log, and what came of it.

use crate::archive::CutAt;
use crate::archive::export::AofForm;
use crate::model::backup::BackupSet;
use jiff::Timestamp;

/// The state that is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportAt {
    /// One that the log has.
    Log(CutAt),
    /// That of the last write before the cutover of a restore, by the id of its job.
    Cutover(String),
}

/// What is written out of an instance's log, or of what a restore kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOf {
    /// The state that the commands end with.
    pub at: ExportAt,
    /// A moment whose state, and every one since, they contain too.
    pub since: Option<Timestamp>,
}

/// An append-only file that was made or found.
#[derive(Debug, Clone)]
pub struct Exported {
    /// The set that it begins with.
    pub base: BackupSet,
    /// How it is kept.
    pub form: AofForm,
    /// Whether its commands have times, by which the server's own tool cuts it.
    pub has_times: bool,
    /// When the last of its commands had been received.
    pub moment: Timestamp,
    /// Bytes of its files.
    pub bytes: u64,
    /// It was there already, equal to the byte.
    pub already_there: bool,
}
