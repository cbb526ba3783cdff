//! What an operator should mend in the configuration, told in the log when a service begins. It must not keep the service from beginning.

use crate::config::blocking::blocking;
use crate::tools::App;
use std::sync::Arc;

/// Tells it.
pub async fn tell(app: &Arc<App>) {
    let of = Arc::clone(app);
    // A directory may be on a network disk, which may answer late.
    for advice in blocking(move || Ok(of.config.advice())).await.unwrap_or_default() {
        tracing::warn!("{}; {}", advice.found, advice.next);
    }
}
