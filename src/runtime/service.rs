//! The service without a client: it keeps the logs of the instances that have them on and takes the backups that policies ask for, until a
//! signal comes, and then drains.

use crate::model::fault::{Fault, Kind};
use crate::provider::LogScope;
use crate::runtime::drain::{self, Ended, RECONCILE_EVERY};
use crate::runtime::metrics;
use crate::runtime::notify::Manager;
use crate::runtime::signals::Signals;
use crate::runtime::wiring;
use crate::tools::App;
use std::sync::Arc;
use std::time::Duration;

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
    drain::recover(&app).await?;
    app.provider.keep_logs(LogScope::All).await?;
    let schedule = wiring::schedule(&app);
    let stop = schedule.stop.clone();
    let scheduled = tokio::spawn(schedule.run(app.config.instance_ids()));
    let figures = app.config.metrics_file.clone().map(|path| tokio::spawn(metrics::keep(Arc::clone(&app), path)));
    manager.tell("READY=1");
    let _ = drain::unless_asked_to_end(&mut signals, forever(&app, &manager)).await;
    manager.tell("STOPPING=1");
    stop.cancel();
    let _ = scheduled.await;
    if let Some(figures) = figures {
        figures.abort();
    }
    Ok(drain::stop(&app, &mut signals).await)
}

/// What is to be done all the time beside the logs.
async fn forever(app: &App, manager: &Manager) {
    let mut reconcile = tokio::time::interval(RECONCILE_EVERY);
    // One that never comes, where nobody asks.
    let mut alive = tokio::time::interval(manager.watchdog().unwrap_or(Duration::from_secs(86_400)));
    loop {
        tokio::select! {
            _ = alive.tick() => manager.tell("WATCHDOG=1"),
            _ = reconcile.tick() => {
                if let Err(fault) = drain::recover(app).await {
                    tracing::warn!("what an earlier process left behind could not be reconciled: {fault}");
                }
            }
        }
    }
}
