//! ACS3-HMAC-SHA256, the cloud's header-based signature ("V3"): signing a request, and verifying one.
//!
//! Described in Alibaba Cloud's "V3 request body and signature mechanism". Verifying rebuilds everything from the
//! request's own list of signed headers, because every SDK signs a different set. Judging nonces is the server's.

use crate::model::ids::{hex, random};
use crate::model::secret::Secret;
use crate::tair::error::TairError;
use crate::tair::incoming::{Incoming, Refusal, Signed, check_date};
use crate::tair::params::{canonical, parse};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The name of the algorithm, as headers carry it.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The query, already in canonical form.
    pub query: &'a str,
    /// Headers to sign, lower-case names.
    pub headers: &'a [(String, String)],
    /// The body's bytes.
    pub body: &'a [u8],
}

/// A request's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// SHA-256 of the canonical request, hexadecimal.
    pub digest: String,
    /// Names of the signed headers, joined by `;`.
    pub headers: String,
    /// The signature, hexadecimal.
    pub value: String,
}

impl Signature {
    /// The value of the `Authorization` header.
    #[must_use]
    pub fn authorization(&self, access_key_id: &str) -> String {
        format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={},Signature={}", self.headers, self.value)
    }
}

/// SHA-256 in hexadecimal, as `x-acs-content-sha256` has it.
#[must_use]
pub fn content_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// A nonce of 32 hexadecimal digits. Every attempt needs a new one: the cloud refuses a second use.
///
/// # Errors
/// When the operating system has no randomness.
pub fn nonce() -> Result<String, TairError> {
    random::<16>().map(|bytes| hex(&bytes)).map_err(|_| TairError::NoRandomness)
}

fn canonical_request(method: &str, query: &str, names: &[&str], headers: &[(String, String)], hash: &str) -> String {
    let mut lines = String::new();
    for name in names {
        let mut values: Vec<&str> =
            headers.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect();
        values.sort_unstable();
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&values.join(","));
        lines.push('\n');
    }
    format!("{method}\n/\n{query}\n{lines}\n{}\n{hash}", names.join(";"))
}

fn mac(secret: &Secret, canonical: &str) -> Result<(String, Hmac<Sha256>), TairError> {
    let digest = hex(&Sha256::digest(canonical));
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes()).map_err(|_| TairError::UnusableKey)?;
    mac.update(ALGORITHM.as_bytes());
    mac.update(b"\n");
    mac.update(digest.as_bytes());
    Ok((digest, mac))
}

/// Signs a request over all the headers given.
///
/// # Errors
/// [`TairError::UnusableKey`]; HMAC takes keys of any length, so this does not happen.
pub fn sign(request: Outgoing<'_>, secret: &Secret) -> Result<Signature, TairError> {
    let mut names: Vec<&str> = request.headers.iter().map(|(k, _)| k.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let hash = content_hash(request.body);
    let canonical = canonical_request(request.method, request.query, &names, request.headers, &hash);
    let (digest, mac) = mac(secret, &canonical)?;
    Ok(Signature { digest, headers: names.join(";"), value: hex(&mac.finalize().into_bytes()) })
}

/// The fields of an `Authorization` header of this algorithm; `None` when it is not one.
#[must_use]
pub fn fields(authorization: &str) -> Option<(&str, &str, &str)> {
    let rest = authorization.trim().strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
    let (mut credential, mut headers, mut signature) = (None, None, None);
    for field in rest.split(',') {
        match field.trim().split_once('=')? {
            ("Credential", value) => credential = Some(value),
            ("SignedHeaders", value) => headers = Some(value),
            ("Signature", value) => signature = Some(value),
            _ => {}
        }
    }
    Some((credential?, headers?, signature?))
}

/// Verifies a request. `secret_of` finds the secret of an access key id.
///
/// # Errors
/// The refusal that the cloud would send, in its code.
pub fn verify(
    request: &Incoming<'_>,
    secret_of: impl Fn(&str) -> Option<Secret>,
    now: Timestamp,
) -> Result<Signed, Refusal> {
    let authorization = request.header("authorization").unwrap_or_default();
    let Some((access_key_id, names, signature)) = fields(authorization) else {
        return Err(Refusal::IncompleteSignature("the Authorization header is not of ACS3-HMAC-SHA256".into()));
    };
    let names: Vec<&str> = names.split(';').collect();
    // The official Python SDK's asynchronous half sends a content type that it has not signed, with an empty body.
    let types_a_body = |name: &str| name == "content-type" && !request.body.is_empty();
    let must_sign = |name: &str| name == "host" || name.starts_with("x-acs-") || types_a_body(name);
    for (name, _) in request.headers {
        let name = name.to_ascii_lowercase();
        if must_sign(&name) && !names.contains(&name.as_str()) {
            return Err(Refusal::IncompleteSignature(format!("the header {name} is not signed")));
        }
    }
    let need = |name: &'static str| {
        let signed = names.contains(&name).then(|| request.header(name)).flatten();
        signed.ok_or_else(|| Refusal::IncompleteSignature(format!("the header {name} is missing")))
    };
    need("host")?;
    let (date, nonce) = (need("x-acs-date")?, need("x-acs-signature-nonce")?);
    let (action, version) = (need("x-acs-action")?, need("x-acs-version")?);
    if nonce.trim().is_empty() {
        return Err(Refusal::IncompleteSignature("the header x-acs-signature-nonce is empty".into()));
    }
    let hash = content_hash(request.body);
    if !need("x-acs-content-sha256")?.eq_ignore_ascii_case(&hash) {
        return Err(Refusal::IncompleteSignature("x-acs-content-sha256 is not the hash of the body".into()));
    }
    let secret = secret_of(access_key_id).ok_or(Refusal::UnknownAccessKey)?;
    check_date(date, now)?;
    let query = canonical(&parse(request.query));
    let canonical = canonical_request(request.method, &query, &names, request.headers, &hash);
    let wrong = |digest: &str| Refusal::SignatureDoesNotMatch(format!("{ALGORITHM}\n{digest}"));
    let (digest, mac) = mac(&secret, &canonical).map_err(|_| wrong(""))?;
    let sent = unhex(signature).ok_or_else(|| wrong(&digest))?;
    mac.verify_slice(&sent).map_err(|_| wrong(&digest))?;
    Ok(Signed {
        access_key_id: access_key_id.to_owned(),
        security_token: request.header("x-acs-security-token").map(Secret::new),
        nonce: nonce.trim().to_owned(),
        action: action.trim().to_owned(),
        version: version.trim().to_owned(),
        params: request.params(),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|v| u8::try_from(v).ok())).collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
