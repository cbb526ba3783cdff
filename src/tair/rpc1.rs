//! HMAC-SHA1 in the query, the cloud's older signature ("V1"): made by the official command line and older SDKs.
//!
//! Our client does not use it; whoever serves the cloud's API has to verify it.

use crate::model::secret::Secret;
use crate::tair::error::TairError;
use crate::tair::incoming::{Incoming, Refusal, Signed, check_date};
use crate::tair::params::{Params, canonical, encode, first};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;

/// The string to sign: method, path and the sorted parameters, encoded twice. `Signature` itself is left out.
#[must_use]
pub fn string_to_sign(method: &str, params: &[(String, String)]) -> String {
    let signed: Params = params.iter().filter(|(k, _)| k != "Signature").cloned().collect();
    format!("{method}&%2F&{}", encode(&canonical(&signed)))
}

fn mac(secret: &Secret, text: &str) -> Result<Hmac<Sha1>, TairError> {
    let key = format!("{}&", secret.expose());
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key.as_bytes()).map_err(|_| TairError::UnusableKey)?;
    mac.update(text.as_bytes());
    Ok(mac)
}

/// The signature of a call's parameters, base64.
///
/// # Errors
/// [`TairError::UnusableKey`]; HMAC takes keys of any length, so this does not happen.
pub fn sign(method: &str, params: &[(String, String)], secret: &Secret) -> Result<String, TairError> {
    Ok(STANDARD.encode(mac(secret, &string_to_sign(method, params))?.finalize().into_bytes()))
}

/// Whether a request carries this signature rather than [`acs3`](super::acs3)'s.
#[must_use]
pub fn is_signed_so(request: &Incoming<'_>) -> bool {
    request.header("authorization").is_none() && first(&request.params(), "Signature").is_some()
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
    let params = request.params();
    let need = |name: &'static str| {
        first(&params, name)
            .filter(|v| !v.is_empty())
            .ok_or_else(|| Refusal::IncompleteSignature(format!("the parameter {name} is missing")))
    };
    let access_key_id = need("AccessKeyId")?;
    let nonce = need("SignatureNonce")?;
    let date = need("Timestamp")?;
    if need("SignatureMethod")? != "HMAC-SHA1" || need("SignatureVersion")? != "1.0" {
        return Err(Refusal::IncompleteSignature("only HMAC-SHA1 of version 1.0 is known here".into()));
    }
    // SDKs repeat both in headers, which are not signed: those may repeat them, and say nothing else.
    let (action, version) = (need("Action")?, need("Version")?);
    for (name, signed) in [("x-acs-action", action), ("x-acs-version", version)] {
        if request.headers.iter().any(|(k, sent)| k.eq_ignore_ascii_case(name) && sent != signed) {
            return Err(Refusal::IncompleteSignature(format!("the header {name} differs from the signed parameter")));
        }
    }
    let sent = need("Signature")?;
    let secret = secret_of(access_key_id).ok_or(Refusal::UnknownAccessKey)?;
    check_date(date, now)?;
    let text = string_to_sign(request.method, &params);
    let wrong = || Refusal::SignatureDoesNotMatch(text.chars().take(MOST_SHOWN).collect());
    let sent = STANDARD.decode(sent).map_err(|_| wrong())?;
    mac(&secret, &text).map_err(|_| wrong())?.verify_slice(&sent).map_err(|_| wrong())?;
    Ok(Signed {
        access_key_id: access_key_id.to_owned(),
        security_token: first(&params, "SecurityToken").map(Secret::new),
        nonce: nonce.to_owned(),
        action: action.to_owned(),
        version: version.to_owned(),
        params: params.iter().filter(|(k, _)| !ENVELOPE.contains(&k.as_str())).cloned().collect(),
    })
}

/// Characters of the string to sign that a refusal repeats.
const MOST_SHOWN: usize = 4096;

/// Parameters of the signature, not of the action.
const ENVELOPE: [&str; 10] = [
    "Action",
    "Version",
    "Format",
    "Timestamp",
    "SignatureNonce",
    "SignatureMethod",
    "SignatureVersion",
    "AccessKeyId",
    "SecurityToken",
    "Signature",
];
