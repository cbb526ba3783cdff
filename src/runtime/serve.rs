//! The MCP service: serves until the client leaves or a signal comes, and then drains.

use crate::mcp;
use crate::model::fault::Fault;
use crate::provider::LogScope;
use crate::runtime::advice;
use crate::runtime::background::Background;
use crate::runtime::drain::{self, Ended, reconcile_every};
use crate::runtime::signals::Signals;
use crate::tools::App;
use std::sync::Arc;
use std::time::Duration;

/// Delay before jobs of dead processes are reconciled, so that the first list is answered first.
const RECONCILE_AFTER: Duration = Duration::from_millis(300);

/// Reconciles the jobs of dead processes. On a store that other machines share this process goes on looking, for as long as it lives, from
/// when something has needed the store: nothing of that is touched before.
async fn reconcile(app: &App) {
    tokio::time::sleep(RECONCILE_AFTER).await;
    loop {
        if (!app.state.is_shared() || app.state.is_open())
            && let Err(fault) = drain::recover(app).await
        {
            tracing::warn!(
                cause = fault.cause(),
                "what an earlier process left behind could not be reconciled: {fault}"
            );
        }
        if !app.state.is_shared() {
            return;
        }
        tokio::time::sleep(reconcile_every(true)).await;
    }
}

/// Serves MCP on standard input and output.
///
/// # Errors
/// `mcp.failed` where the transport breaks, `system.signals`.
pub async fn stdio(app: Arc<App>) -> Result<(), Fault> {
    let Some(session) = mcp::stdio(Arc::clone(&app)).await? else { return Ok(()) };
    let reconciling = Arc::clone(&app);
    tokio::spawn(async move { tokio::join!(advice::tell(&reconciling), reconcile(&reconciling)) });
    // A chat that ends must not leave a gap: but for the sandbox, which ends with it, `run` keeps the logs.
    let scope = if app.config.background { LogScope::All } else { LogScope::Sandbox };
    let mut background = Background::default();
    if !app.config.read_only {
        app.provider.keep_logs(scope).await?;
        if app.config.background {
            background = Background::begin(&app);
        }
    }
    let (stop, mut signals) = (session.stop(), Signals::new()?);
    let closed = session.closed();
    tokio::pin!(closed);
    let left = drain::unless_asked_to_end(&mut signals, &mut closed).await;
    background.end().await;
    let ended = match left {
        // Only the client left: its jobs go on, for a job outlives its caller, unless a signal comes after all.
        Some(()) => drain::finish(&app, &mut signals, || ()).await,
        None => {
            stop();
            drain::stop(&app, &mut signals).await
        }
    };
    background.told(ended).await;
    if ended == Ended::Abandoned {
        tracing::warn!("ended by a second signal; the next start reconciles what runs");
    }
    Ok(())
}
