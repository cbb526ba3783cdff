//! Extends the lock of an object, by a request that opendal has no word for: it goes where opendal's own would go, and is signed by the same
//! key.
//!
//! It must never shorten a lock, nor lock what has none. Whose lock is extended, and to when, is its callers' business.

use crate::model::ids::hex;
use crate::model::time::written;
use crate::vault::bucket::client::Client;
use crate::vault::bucket::keys::AccessKey;
use crate::vault::lacking::out_of_reach;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::Md5;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use sha2::{Digest as _, Sha256};
use std::io;
use url::form_urlencoded;

/// The modes of a lock that ends by itself.
const MODES: [&str; 2] = ["COMPLIANCE", "GOVERNANCE"];
/// What the request is about, and what names a version.
const ABOUT: &str = "retention=";
const VERSION: &str = "versionId=";

impl Client {
    /// Makes the lock of an object last until a second, in its mode. Whether it did: not what has no lock, nor what is locked for as long already.
    ///
    /// # Errors
    /// `PermissionDenied` where this key may not; `Unsupported` where the store knows no such request.
    pub async fn extend_lock(&self, name: &str, until: Timestamp) -> io::Result<bool> {
        if !self.tells_locks() {
            return Ok(false);
        }
        let Some(found) = self.look(name).await? else { return Ok(false) };
        // A bucket that locks keeps versions.
        let Some(version) = found.version.clone() else { return Ok(false) };
        let headers = self.headers(name, found).await?;
        let said = |header: &str| headers.get(header).and_then(|value| value.to_str().ok());
        let mode = said("x-amz-object-lock-mode").filter(|mode| MODES.contains(mode));
        let ends = said("x-amz-object-lock-retain-until-date").and_then(|at| at.parse::<Timestamp>().ok());
        let (Some(mode), Some(ends)) = (mode, ends) else { return Ok(false) };
        if ends.as_second() >= until.as_second() {
            return Ok(false);
        }
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            written(until)
        );
        let (status, answered) = self.put_retention(name, version, body).await?;
        let kind = match status {
            200..=299 => return Ok(true),
            // It was there just now.
            404 => return Ok(false),
            401 | 403 => io::ErrorKind::PermissionDenied,
            405 | 501 => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        // S3 answers in XML.
        let text = answered.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
        Err(out_of_reach(kind, text.map_or(answered.as_str(), |(text, _)| text)))
    }

    async fn put_retention(&self, name: &str, version: String, body: String) -> io::Result<(u16, String)> {
        let unsigned = |e: &dyn std::fmt::Display| {
            out_of_reach(io::ErrorKind::Other, format!("a request about a lock cannot be signed: {e}"))
        };
        let (asked, _) = self.signed(name, Some(version)).await?;
        let (address, query) = asked.split_once('?').ok_or_else(|| unsigned(&"it has no version"))?;
        let version =
            query.split('&').find(|part| part.starts_with(VERSION)).ok_or_else(|| unsigned(&"it has no version"))?;
        // `<key>/<day>/<region>/s3/aws4_request`
        let region = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "X-Amz-Credential")
            .and_then(|(_, scope)| scope.rsplit('/').nth(2).map(str::to_owned))
            .ok_or_else(|| unsigned(&"it has no region"))?;
        let address = format!("{address}?{ABOUT}&{version}");
        let request = hyper::Request::put(address.as_str())
            .header("content-md5", STANDARD.encode(Md5::digest(&body)))
            .header("x-amz-content-sha256", hex(&Sha256::digest(&body)))
            .body(())
            .map_err(|e| unsigned(&e))?;
        let (mut parts, ()) = request.into_parts();
        let signer = self.signer(&region).await?;
        signer.sign(&mut parts, None).await.map_err(|e| unsigned(&e))?;
        // The connection says it.
        parts.headers.remove("host");
        self.put_signed(&address, parts.headers, body).await
    }

    /// What signs as opendal does: by the key that it is given, or that it finds by the store's own chain.
    async fn signer(&self, region: &str) -> io::Result<Signer<Credential>> {
        let context = Context::new().with_file_read(TokioFileRead).with_http_send(self.transport()?).with_env(OsEnv);
        let by = RequestSigner::new("s3", region);
        let Some(AccessKey { id, secret, token }) = self.key().await? else {
            let chain = self.chain.get_or_init(|| Signer::new(context, DefaultCredentialProvider::new(), by));
            return Ok(chain.clone());
        };
        let key = StaticCredentialProvider::new(&id, secret.expose());
        Ok(match token {
            Some(token) => Signer::new(context, key.with_session_token(token.expose()), by),
            None => Signer::new(context, key, by),
        })
    }
}
