//! Sends a request of our own again that failed in passing, as the client does with its own. It must be one that may be sent any number of times.

use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;

/// The first pause; each is twice the last.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How often it is sent again.
const TIMES: u32 = 4;

/// Sends a request, and again where the server is not there for it now.
pub(super) async fn patiently(request: RequestBuilder) -> reqwest::Result<Response> {
    for n in 0..TIMES {
        let Some(again) = request.try_clone() else { break };
        match again.send().await {
            Ok(reply) if reply.status().is_server_error() || reply.status() == StatusCode::TOO_MANY_REQUESTS => {}
            Err(e) if !e.is_builder() => {}
            sent => return sent,
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(n)).await;
    }
    request.send().await
}
