//! Routing by path to one of three services: the API, the downloads, or the control of injected faults.
//!
//! Nothing of a request of the API is used before its signature is verified. No request may bring the process down.

use crate::emulator::account::Account;
use crate::emulator::actions::downloads;
use crate::emulator::answer::Refused;
use crate::emulator::auth::Authenticator;
use crate::emulator::dispatch::dispatch;
use crate::emulator::faults::{Injected, InjectedFault};
use crate::emulator::http::{Arrived, Body, Reply};
use crate::emulator::ids;
use crate::emulator::request::ActionRequest;
use crate::tair::params::first;
use hyper::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;

/// The paths of fault control: the second is from earlier versions.
const FAULT_CONTROL: [&str; 2] = ["/faults", "/mishaps"];

/// Answers requests.
pub struct Router {
    /// The account that requests are about.
    pub account: Arc<Account>,
    /// Admits signed requests.
    pub authenticator: Authenticator,
    /// Whether faults can be set over HTTP.
    pub fault_control: bool,
}

impl Router {
    /// Answers one request. An error cuts the connection.
    ///
    /// # Errors
    /// An injected fault cuts the connection.
    pub async fn answer(&self, is_local: bool, request: Request<hyper::body::Incoming>) -> io::Result<Response<Body>> {
        let request_id = ids::request_id();
        let arrived = match Arrived::read(request).await {
            Ok(arrived) => arrived,
            Err(refused) => return Reply::refused(&refused, "", &request_id).into_response(),
        };
        let host = arrived.incoming().header("host").unwrap_or_default().to_owned();
        if arrived.path == "/" {
            let xml = arrived.wants_xml();
            return match self.call(&arrived, &host, &request_id).await {
                Ok((action, body)) if xml => {
                    Reply::xml(200, &format!("{action}Response"), &body, &request_id).into_response()
                }
                Ok((_, body)) => Reply::json(200, &body, &request_id).into_response(),
                Err(Injected::Refused(refused)) if xml => {
                    Reply::xml(refused.status, "Error", &refused.body(&host, &request_id), &request_id)
                        .retry_after(&refused)
                        .into_response()
                }
                Err(Injected::Refused(refused)) => Reply::refused(&refused, &host, &request_id).into_response(),
                Err(Injected::Cut) => Err(io::ErrorKind::ConnectionAborted.into()),
            };
        }
        if arrived.path.starts_with("/custins") {
            let range = arrived.incoming().header("range");
            let reply =
                downloads::serve(&self.account, &arrived.method, &arrived.path, &arrived.query, &host, range).await;
            return reply.into_response();
        }
        if FAULT_CONTROL.contains(&arrived.path.as_str()) && self.fault_control && is_local {
            return self.control_faults(&arrived).into_response();
        }
        Reply::refused(&Refused::new("InvalidApi.NotFound"), &host, &request_id).into_response()
    }

    async fn call(&self, arrived: &Arrived, host: &str, request_id: &str) -> Result<(String, Value), Injected> {
        let account = &self.account;
        let signed = self.authenticator.admit(&arrived.incoming(), Timestamp::now()).map_err(Injected::Refused)?;
        if let Some(injected) = account.faults.before(&signed.action) {
            return Err(injected);
        }
        let asked = first(&signed.params, "RegionId").filter(|r| !r.is_empty());
        let region = account.region.as_deref().or(asked).unwrap_or("cn-hangzhou").to_owned();
        let request = ActionRequest {
            account,
            action: &signed.action,
            method: &arrived.method,
            params: &signed.params,
            host,
            access_key_id: &signed.access_key_id,
            request_id,
            region,
        };
        let answer = dispatch(&request).await;
        tracing::info!(action = %signed.action, request_id, refused = answer.as_ref().err().map(|r| r.code.as_str()), "called");
        let body = answer.map_err(Injected::Refused)?;
        account.faults.after(&signed.action).map_or(Ok((signed.action, body)), Err)
    }

    /// Sets, lists and clears faults. Web pages are refused: requests with an `Origin`, and without JSON.
    fn control_faults(&self, arrived: &Arrived) -> Reply {
        let incoming = arrived.incoming();
        let json = incoming.header("content-type").is_some_and(|t| t.starts_with("application/json"));
        if incoming.header("origin").is_some() || (arrived.method == "POST" && !json) {
            return Reply::new(403, "text/plain", "a client that is no browser, and application/json\n");
        }
        let faults = &self.account.faults;
        match arrived.method.as_str() {
            "POST" => {
                let list = serde_json::from_slice::<Vec<Value>>(&arrived.body).map_err(|e| e.to_string());
                let more =
                    list.and_then(|list| list.into_iter().map(InjectedFault::read).collect::<Result<Vec<_>, _>>());
                match more.and_then(|more| faults.add(more)) {
                    Ok(()) => {}
                    Err(why) => return Reply::new(400, "text/plain", format!("{why}\n")),
                }
            }
            "DELETE" => faults.clear(),
            "GET" => {}
            _ => return Reply::new(405, "text/plain", "GET, POST or DELETE\n"),
        }
        Reply::new(200, "application/json", json!(faults.left()).to_string())
    }
}
