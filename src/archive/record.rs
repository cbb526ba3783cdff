//! Small objects of the log, timelines and gaps, as JSON with a checksum: a changed byte anywhere is damage, not another object.
//!
//! They are put under a name that nobody has, and never again.

use crate::archive::{damaged, failed};
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::model::text::clean;
use crate::vault::store::{Store, read_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// Format that is written. A reader refuses a later one.
const FORMAT: u64 = 1;
/// Longest record in bytes; a longer object is none of ours.
const LONGEST: u64 = 64 << 10;

/// A record as written: what it says, and the SHA-256 of that as compact JSON.
#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u64,
    checksum: String,
    body: Value,
}

fn checksum(body: &Value) -> String {
    hex(&Sha256::digest(body.to_string()))
}

/// Puts a record under a name that nobody has. Its checksum.
///
/// # Errors
/// `log.failed`; where the name is taken too.
pub(super) fn put(store: &dyn Store, name: &str, body: &impl Serialize) -> Result<String, Fault> {
    let fault = |e: std::io::Error| failed("put", &store.place(name), e);
    let body = serde_json::to_value(body).map_err(|e| fault(e.into()))?;
    let checksum = checksum(&body);
    let envelope = Envelope { format: FORMAT, checksum: checksum.clone(), body };
    let bytes = serde_json::to_vec_pretty(&envelope).map_err(|e| fault(e.into()))?;
    let put = || {
        let mut upload = store.upload_whole(name)?;
        upload.write_all(&bytes)?;
        upload.finish()
    };
    put().map_err(fault)?;
    Ok(checksum)
}

/// Reads a record, and its checksum.
///
/// # Errors
/// `log.damaged`, naming the object and what is wrong with it; `log.failed`.
pub(super) fn read<T: DeserializeOwned>(store: &dyn Store, name: &str) -> Result<(T, String), Fault> {
    let place = store.place(name);
    let bytes = match read_whole(store, name, LONGEST) {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Err(damaged(&place, e)),
        read => read.map_err(|e| failed("read", &place, e))?,
    };
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|e| damaged(&place, clean(&e.to_string())))?;
    if envelope.format != FORMAT {
        return Err(damaged(&place, format!("format {} is not known to this version", envelope.format)));
    }
    if envelope.checksum != checksum(&envelope.body) {
        return Err(damaged(&place, "is not what was written: its checksum differs"));
    }
    let body = serde_json::from_value(envelope.body).map_err(|e| damaged(&place, clean(&e.to_string())))?;
    Ok((body, envelope.checksum))
}
