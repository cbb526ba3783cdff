//! Asks a Sentinel which masters it watches.
//!
//! It must not follow what it is told: which server is meant is for the operator to say, and a failover changes it.

use super::conn::Conn;
use super::error::RedisError;
use super::resp::Value;
use super::sentinel::Sentinel;
use crate::model::fault::Fault;
use crate::model::text::clean_to;
use std::error::Error as _;

/// Characters kept of a master's name.
const NAME_MAX: usize = 64;
/// Characters kept of its host: of a name that is cut off nothing could be reached.
const HOST_MAX: usize = 255;

/// The error that names the masters of the Sentinel on a connection; what broke on the way where that fails.
pub async fn instead(conn: &mut Conn) -> RedisError {
    let masters = match conn.cmd_str(&["SENTINEL", "MASTERS"]).await {
        Ok(reply) => {
            let scheme = if conn.label().starts_with("rediss://") { "rediss" } else { "redis" };
            Some(reply.as_array().unwrap_or_default().iter().filter_map(|master| named(master, scheme)).collect())
        }
        Err(error) if error.is_reply() => None,
        Err(error) => return error,
    };
    Sentinel { address: conn.label().to_owned(), masters }.into()
}

/// Whether it failed because a Sentinel answered where a server is meant.
#[must_use]
pub fn is_cause_of(fault: &Fault) -> bool {
    let cause = fault.source().and_then(|cause| cause.downcast_ref::<RedisError>());
    matches!(cause, Some(RedisError::Sentinel(_)))
}

/// Name and url of a master, of its flat list of fields and values.
fn named(master: &Value, scheme: &str) -> Option<(String, String)> {
    let fields = master.as_array()?;
    let value = |name: &str| {
        fields.chunks(2).find_map(|pair| match pair {
            [key, value] if key.as_str() == Some(name) => value.as_str(),
            _ => None,
        })
    };
    let (host, port) = (clean_to(value("ip")?, HOST_MAX), value("port")?.parse::<u16>().ok()?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some((clean_to(value("name")?, NAME_MAX), format!("{scheme}://{host}:{port}")))
}
