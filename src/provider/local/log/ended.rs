//! What ended timelines have left in the spool of this machine: brought to the vault beside the timeline that is written.
//!
//! It must not hold up whoever reads the source.

use crate::archive::Archive;
use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::provider::local::log::heads::remember_all;
use crate::state::State;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether something is left, and after a failure, at most.
const EVERY: Duration = Duration::from_secs(2);
const EVERY_MAX: Duration = Duration::from_secs(60);

/// Seals what ended timelines of an instance have left, for as long as this is awaited.
pub(super) async fn keep_sealing(archive: Archive, state: Arc<dyn State>, id: String) -> Infallible {
    let mut wait = EVERY;
    loop {
        let (archive, of) = (archive.clone(), id.clone());
        let sealing = move || {
            let mut heads = Vec::new();
            let sealed = archive.seal_ended(&of, SHARD, &mut |head| heads.push(head));
            Ok((sealed, heads))
        };
        let sealed = match blocking(sealing).await {
            Ok((sealed, heads)) => {
                remember_all(&*state, &heads).await;
                sealed
            }
            Err(fault) => Err(fault),
        };
        match sealed {
            Ok(_) => wait = EVERY,
            Err(fault) => {
                tracing::warn!(instance = %id, "the spool of an ended timeline does not come to the vault: {fault}");
                wait = (wait * 2).min(EVERY_MAX);
            }
        }
        tokio::time::sleep(wait).await;
    }
}
