//! What the buckets obey into which a service puts backups, its vault and the second places: found out by trying, once in the life of the process.
//!
//! It must not keep the service from beginning. A process that does nothing by itself tries none, for it may never need them.

use crate::config::Config;
use crate::config::vault::VaultPlace;
use crate::model::vault_check::Deletion;
use crate::provider::local::vault;
use crate::tools::App;
use crate::vault::probe::Probe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// From a trial that a bucket did not let come to an end to the next one.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// The buckets of a configuration, each once.
pub(super) fn of(config: &Config) -> Vec<VaultPlace> {
    let ids = config.instance_ids();
    let second_places = ids.iter().filter_map(|id| config.second_place(id));
    let mut all: Vec<VaultPlace> = Vec::new();
    for place in std::iter::once(&config.vault).chain(second_places) {
        if matches!(place, VaultPlace::Bucket(_)) && !all.contains(place) {
            all.push(place.clone());
        }
    }
    all
}

/// Tries buckets, each until it was tried, and tells in the log what one does not obey. Ends sooner when `stop` is cancelled.
pub(super) async fn try_all(app: Arc<App>, buckets: Vec<VaultPlace>, stop: CancellationToken) {
    let all = buckets.into_iter().map(|bucket| try_one(Arc::clone(&app), bucket));
    let _ = stop.run_until_cancelled(futures::future::join_all(all)).await;
}

async fn try_one(app: Arc<App>, bucket: VaultPlace) {
    let vault = vault::at(&app.config, &app.state, &bucket);
    loop {
        match vault.probe().await {
            Ok(probe) => return tell(&bucket, &probe),
            Err(fault) => {
                tracing::warn!(cause = fault.cause(), "what {bucket} obeys is not known yet: {fault}");
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn tell(bucket: &VaultPlace, probe: &Probe) {
    let broken = probe.broken();
    if broken.is_empty() {
        tracing::info!("{bucket} was tried: a name is given once, and what was put is listed and read in ranges");
    } else {
        let broken = broken.join("; ");
        tracing::error!(
            "{bucket}: {broken}. No set is safe there. Use a bucket that obeys: docs/vault.md has what a bucket must support, and `tair-backup-mcp doctor` tries it again"
        );
    }
    if probe.deletion == Deletion::DoneInSpiteOfALock {
        tracing::error!(
            "{bucket}: it says that it locks what was put, and deleted it all the same. Do not rely on that lock: it is one that these credentials pass over, or the store does not keep it"
        );
    }
}
