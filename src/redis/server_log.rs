//! The log of a server that this program has started: as much of it as an error quotes.

use crate::model::text::clean;
use std::path::Path;

/// Bytes of a log's end that are quoted.
const QUOTED_MAX: usize = 300;

/// The end of a server's log, cleaned; nothing of one that cannot be read.
pub(super) async fn end_of(log: &Path) -> String {
    let text = tokio::fs::read(log).await.unwrap_or_default();
    let end = text.get(text.len().saturating_sub(QUOTED_MAX)..).unwrap_or_default();
    clean(&String::from_utf8_lossy(end))
}
