//! One signed attempt at a call, to any product of the cloud. Each has a date and a nonce of its own.
//!
//! An attempt judges nothing: whether and when there is another attempt is decided by who called.

use crate::model::secret::Secret;
use crate::model::text::clean;
use crate::model::time::written;
use crate::tair::access_key::Credentials;
use crate::tair::acs3::{self, Outgoing};
use crate::tair::error::{CloudError, TairError};
use crate::tair::http::{Http, Reply, Request, Trouble};
use crate::tair::params::canonical;
use crate::tair::wire::{Method, parse};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

/// A call, but for what every attempt has anew.
#[derive(Debug, Clone, Copy)]
pub struct ApiCall<'a> {
    /// The endpoint that the call goes to.
    pub endpoint: &'a Url,
    /// The version of the product's API.
    pub version: &'a str,
    /// The action's name.
    pub action: &'a str,
    /// The HTTP method, GET or POST.
    pub method: Method,
    /// The action's parameters; they travel in the query.
    pub params: &'a [(String, String)],
}

/// Why an attempt gave no result.
#[derive(Debug)]
pub enum Failure {
    /// No connection: nothing was sent.
    NotSent(String),
    /// Sent, and no usable reply: it may have taken effect.
    NoReply(String),
    /// Answered by something that does not speak the cloud's language, such as a proxy.
    Foreign(String),
    /// The cloud answered with an error. With it, the server's clock.
    Cloud(Box<CloudError>, Option<Timestamp>),
    /// The attempt could not even be made.
    Setup(TairError),
}

/// The `Host` header of an address: the port only where it is not the scheme's.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn headers(call: &ApiCall<'_>, credentials: &Credentials, now: Timestamp) -> Result<Vec<(String, String)>, TairError> {
    let mut headers = vec![
        ("host".to_owned(), host_of(call.endpoint)),
        ("x-acs-action".to_owned(), call.action.to_owned()),
        ("x-acs-version".to_owned(), call.version.to_owned()),
        ("x-acs-date".to_owned(), written(now)),
        ("x-acs-signature-nonce".to_owned(), acs3::nonce()?),
        ("x-acs-content-sha256".to_owned(), acs3::content_hash(b"")),
    ];
    if let Some(token) = credentials.token.as_ref().map(Secret::expose) {
        headers.push(("x-acs-accesskey-id".to_owned(), credentials.access_key_id.clone()));
        headers.push(("x-acs-security-token".to_owned(), token.to_owned()));
    }
    Ok(headers)
}

/// What the cloud answered a success with.
#[derive(Debug)]
pub(super) struct Answer {
    /// The reply's body, as it is.
    pub(super) body: Vec<u8>,
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
}

/// Signs the call, sends it once, and reads whether it succeeded.
pub(super) async fn attempt(
    http: &Http,
    call: ApiCall<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let query = canonical(call.params);
    let method = call.method.as_str();
    let mut headers = headers(&call, credentials, now).map_err(Failure::Setup)?;
    // Neither User-Agent nor Accept is signed: a proxy may rewrite them.
    let signature = acs3::sign(Outgoing { method, query: &query, headers: &headers, body: b"" }, &credentials.secret);
    let signature = signature.map_err(Failure::Setup)?;
    headers.push(("authorization".to_owned(), signature.authorization(&credentials.access_key_id)));
    headers.push(("accept".to_owned(), "application/json".to_owned()));
    if call.method == Method::Post {
        // Not sent for an empty body unless it is asked for; servers may demand the header.
        headers.push(("content-length".to_owned(), "0".to_owned()));
    }
    let mut url = call.endpoint.clone();
    url.set_query(Some(&query));
    let request = Request {
        method: match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        },
        url: url.into(),
        headers,
        body: Vec::new(),
        direct: false,
    };
    // What is sent is quoted back: in messages of a signature that does not match, by gateways, by whoever answers in their place.
    let held: Vec<&str> =
        [Some(&credentials.secret), credentials.token.as_ref()].into_iter().flatten().map(Secret::expose).collect();
    read(call.action, http.send(request).await.map(|reply| reply.without(&held)))
}

/// Separates success from failure: the status shows a failure, the code says which.
pub(super) fn read(action: &str, sent: Result<Reply, Trouble>) -> Result<Answer, Failure> {
    let reply = match sent {
        Ok(reply) => reply,
        Err(Trouble::NotSent(why)) => return Err(Failure::NotSent(why)),
        Err(Trouble::NoReply(why)) => return Err(Failure::NoReply(why)),
    };
    if (200..300).contains(&reply.status) {
        return Ok(Answer { body: reply.body, date: reply.date });
    }
    let body = parse(&reply.body).unwrap_or_default();
    let field = |names: [&str; 2]| names.iter().find_map(|n| body.get(n).and_then(Value::as_str)).map(str::to_owned);
    let code = if reply.status >= 400 { field(["Code", "code"]) } else { None };
    match code {
        Some(code) => Err(Failure::Cloud(
            Box::new(CloudError {
                action: action.to_owned(),
                code,
                message: field(["Message", "message"]).unwrap_or_default(),
                request_id: clean(&field(["RequestId", "requestId"]).unwrap_or_default()),
                status: reply.status,
                retry_after: reply.retry_after,
            }),
            reply.date,
        )),
        None if reply.status >= 500 => Err(Failure::NoReply(format!("HTTP {} without an error code", reply.status))),
        None => Err(Failure::Foreign(format!("HTTP {} without an error code", reply.status))),
    }
}
