//! The face for agents: MCP over standard input and output, in both eras of the protocol.
//!
//! It carries calls to `tools` and questions to the person; it decides nothing. Standard output belongs to the transport.

pub mod contract;
mod person;
mod progress;
pub mod prompts;
pub mod server;
pub mod signals;

use crate::model::fault::{Fault, Kind};
use crate::tools::App;
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use signals::Signals;
use std::sync::Arc;
use std::time::Duration;

/// Recovery of what dead processes left waits until the first list has been answered.
const RECONCILE_AFTER: Duration = Duration::from_millis(300);

/// Serves until the client closes standard input or a signal comes; then ends well.
///
/// # Errors
/// `mcp.failed` where the transport breaks.
pub async fn serve(app: Arc<App>) -> Result<(), Fault> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Fault::new(Kind::Unexpected, "mcp.failed", "the MCP transport failed")
            .hint("`serve` talks JSON-RPC on standard input and output; start it from an MCP client.")
            .because(e)
    };
    let server = server::Server::new(Arc::clone(&app));
    let service = match server.serve(rmcp::transport::stdio_pipes()).await {
        Ok(service) => service,
        // The client went away before it said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(e) => return Err(failed(Box::new(e))),
    };
    let reconciling = Arc::clone(&app);
    tokio::spawn(async move {
        tokio::time::sleep(RECONCILE_AFTER).await;
        // Nothing was ever stored here: nothing can have been left behind.
        if reconciling.config.home.dir().join("state.db").exists()
            && let Err(fault) = reconciling.provider.recover().await
        {
            tracing::warn!("what an earlier process left behind could not be settled: {fault}");
        }
    });
    let stop = service.cancellation_token();
    let waiting = service.waiting();
    tokio::pin!(waiting);
    let mut signals = Signals::new().map_err(|e| failed(Box::new(e)))?;
    tokio::select! {
        // Only the client left: what it began goes on, for a job outlives its caller, unless a signal comes after all.
        _ = &mut waiting => tokio::select! {
            () = app.provider.shut_down(false) => return Ok(()),
            () = signals.asked_to_end() => (),
        },
        () = signals.asked_to_end() => stop.cancel(),
    }
    // Captures stop and leave nothing; a restore that has begun is seen to its end, unless a second signal comes.
    tokio::select! {
        () = app.provider.shut_down(true) => (),
        () = signals.asked_to_end() => tracing::warn!("ended by a second signal; the next start settles what runs"),
    }
    Ok(())
}
