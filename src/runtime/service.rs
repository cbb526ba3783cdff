//! The service without a client: it keeps the logs of the instances that have them on and takes the backups that policies ask for, until a
//! signal comes, and then drains.

use crate::model::fault::{Fault, Kind};
use crate::provider::LogScope;
use crate::runtime::advice;
use crate::runtime::background::Background;
use crate::runtime::drain::{self, Ended, reconcile_every};
use crate::runtime::signals::Signals;
use crate::runtime::systemd::Manager;
use crate::tools::App;
use std::sync::Arc;

/// Runs until a signal comes.
///
/// # Errors
/// `mode.read_only`, `system.signals`, `state.failed`, `home.failed`.
pub async fn run(app: Arc<App>) -> Result<Ended, Fault> {
    if app.config.read_only {
        return Err(Fault::new(
            Kind::Refused,
            "mode.read_only",
            "the service takes backups and writes logs, and --read-only forbids that",
        )
        .hint("Leave --read-only out."));
    }
    let (manager, mut signals) = (Manager::of_environment(), Signals::new()?);
    let advised = Arc::clone(&app);
    tokio::spawn(async move { advice::tell(&advised).await });
    drain::recover(&app).await?;
    app.provider.keep_logs(LogScope::All).await?;
    let mut background = Background::begin(&app);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the service is ready");
    manager.tell("READY=1");
    let _ = drain::unless_asked_to_end(&mut signals, forever(&app, &manager)).await;
    manager.tell("STOPPING=1");
    tracing::info!("the service is asked to end");
    background.end().await;
    let ended = drain::stop(&app, &mut signals).await;
    background.told(ended).await;
    Ok(ended)
}

/// What is to be done all the time beside the logs. What is reconciled may wait for a bucket that does not answer; that this process turns is
/// told meanwhile.
async fn forever(app: &App, manager: &Manager) {
    tokio::join!(reconcile(app), tell_alive(manager));
}

async fn reconcile(app: &App) {
    let mut next = tokio::time::interval(reconcile_every(app.state.is_shared()));
    loop {
        next.tick().await;
        if let Err(fault) = drain::recover(app).await {
            tracing::warn!("what an earlier process left behind could not be reconciled: {fault}");
        }
    }
}

async fn tell_alive(manager: &Manager) {
    let Some(often) = manager.watchdog() else { return };
    let mut next = tokio::time::interval(often);
    loop {
        next.tick().await;
        manager.tell("WATCHDOG=1");
    }
}
