//! Temporary credentials as services and programs hand them out in JSON.
//!
//! Errors name the field that is missing; the text itself is never repeated.

use super::{Credentials, Found, Means};
use crate::tair::http::Request;
use crate::tair::wire::{moment, parse};
use serde_json::Value;
use url::Url;

/// Text under a name.
pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
}

/// Text under a name that has to be there.
pub(super) fn need(value: &Value, name: &str) -> Result<String, String> {
    text(value, name).ok_or_else(|| format!("{name} is missing"))
}

/// Reads `{"AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"}`.
pub(super) fn read(value: &Value) -> Found {
    let expiration = need(value, "Expiration")?;
    let expires_at = moment(Some(&expiration)).ok_or("Expiration is not a time")?;
    let mut found = Credentials::fixed(need(value, "AccessKeyId")?, need(value, "AccessKeySecret")?, "")
        .with_token(Some(need(value, "SecurityToken")?));
    found.expires_at = Some(expires_at);
    if found.is_expired(found.obtained_at) {
        return Err(format!("the credentials it gives expired at {}", crate::model::time::written(expires_at)));
    }
    Ok(found)
}

/// Reads the same with `"Code": "Success"` beside it.
pub(super) fn read_successful(body: &[u8]) -> Found {
    let value = parse(body).map_err(|why| format!("its reply cannot be read: {why}"))?;
    match text(&value, "Code").as_deref() {
        Some("Success") => read(&value),
        _ => Err("its reply does not say Success".to_owned()),
    }
}

/// Asks a credentials URI.
pub(super) async fn from_uri(means: &Means, uri: &str) -> Found {
    if means.env.is_on("ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS") {
        return Err("it is switched off by ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS".to_owned());
    }
    let url = Url::parse(uri).map_err(|_| "it is not an address".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it is not an http address".to_owned());
    }
    let accept = vec![("accept".to_owned(), "application/json".to_owned())];
    let request =
        Request { method: reqwest::Method::GET, url: url.into(), headers: accept, body: Vec::new(), direct: false };
    let reply = means.http.send(request).await.map_err(|t| t.why().to_owned())?;
    if reply.status != 200 {
        return Err(format!("it answered with HTTP {}", reply.status));
    }
    read_successful(&reply.body)
}
