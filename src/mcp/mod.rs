//! The face for agents: MCP over standard input and output, in both eras of the protocol.
//!
//! This room carries calls to `tools` and questions to the person. It decides nothing, and knows neither signals nor the other
//! services of the process. Standard output belongs to the transport.

mod brief;
pub mod contract;
mod envelope;
mod person;
mod progress;
pub mod prompts;
pub mod server;
pub mod transport;

use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::tools::App;
use rmcp::ServiceExt as _;
use rmcp::service::{RoleServer, RunningService, ServerInitializeError};
use server::Server;
use std::sync::Arc;
use transport::Lines;

/// The session of a connected client.
pub struct Session(RunningService<RoleServer, Server>);

/// Serves the client on standard input and output; `None` where the client went away before its first message.
///
/// # Errors
/// `mcp.failed` where the transport breaks.
pub async fn stdio(app: Arc<App>) -> Result<Option<Session>, Fault> {
    let server = Server::new(app, Caller::mcp());
    let (read, write) = rmcp::transport::stdio_pipes();
    match server.serve(Lines::new(read, write)).await {
        Ok(service) => Ok(Some(Session(service))),
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(None),
        Err(e) => Err(Fault::new(Kind::Unexpected, "mcp.failed", "the MCP transport failed")
            .hint("`serve` talks JSON-RPC on standard input and output; start it from an MCP client.")
            .because(e)),
    }
}

impl Session {
    /// A function that ends the session from outside.
    pub fn stop(&self) -> impl FnOnce() + use<> {
        let token = self.0.cancellation_token();
        move || token.cancel()
    }

    /// Waits until the client has left.
    pub async fn closed(self) {
        let _ = self.0.waiting().await;
    }
}
