//! What a server says of itself in reply to HELLO, which any user may send: all there is where the user may not run INFO.

use super::conn::Conn;
use super::endpoint::Endpoint;
use super::error::RedisError;
use super::facts::{Role, version_number};
use super::rdb::compat::{Flavor, Server};
use super::sentinel_masters::instead;
use crate::model::text::clean_to;
use std::time::Duration;

/// Characters kept of a version.
const VERSION_MAX: usize = 64;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Whether the server is a Redis or a Valkey; a Valkey may answer in Redis's name.
    pub flavor: Flavor,
    /// The server's version, as it writes it.
    pub version: String,
    /// Whether it is a master or a replica; `None` where it does not say.
    pub role: Option<Role>,
    /// Whether it runs as a node of a cluster.
    pub cluster: bool,
    /// Whether it is a Sentinel.
    pub sentinel: bool,
}

impl Hello {
    /// Flavor and version, which decide which RDBs the server can load.
    #[must_use]
    pub fn server(&self) -> Server {
        let (major, minor, _) = version_number(&self.version);
        Server { flavor: self.flavor, major, minor }
    }
}

/// Asks a server what it is; `None` where it does not know the command, or tells no version.
///
/// # Errors
/// The connection's.
pub async fn hello(conn: &mut Conn) -> Result<Option<Hello>, RedisError> {
    let reply = match conn.cmd_str(&["HELLO"]).await {
        Ok(reply) => reply,
        Err(error) if error.is_reply() => return Ok(None),
        Err(error) => return Err(error),
    };
    let field = |name: &str| {
        reply.as_array()?.chunks(2).find_map(|pair| match pair {
            [key, value] if key.as_str() == Some(name) => value.as_str(),
            _ => None,
        })
    };
    let said = Hello {
        flavor: if field("server") == Some("valkey") { Flavor::Valkey } else { Flavor::Redis },
        version: clean_to(field("version").unwrap_or_default(), VERSION_MAX),
        role: match field("role") {
            Some("master") => Some(Role::Master),
            Some("replica" | "slave") => Some(Role::Replica),
            _ => None,
        },
        cluster: field("mode") == Some("cluster"),
        sentinel: field("mode") == Some("sentinel"),
    };
    Ok(Some(said).filter(|said| said.server().major > 0))
}

/// [`Conn::open`] to what may be a Sentinel that was named by mistake, with the login of the servers that it watches: mostly it has none of
/// its own, refuses that one, and says to anybody what it is.
///
/// # Errors
/// Those of [`Conn::open`]; [`RedisError::Sentinel`] where one refused the login.
pub async fn open(endpoint: &Endpoint, within: Duration) -> Result<Conn, RedisError> {
    let refused = match Conn::open(endpoint, within).await {
        Err(refused @ RedisError::Auth { .. }) => refused,
        opened => return opened,
    };
    let anybody = Endpoint { username: None, password: None, ..endpoint.clone() };
    let Ok(mut conn) = Conn::open(&anybody, within).await else { return Err(refused) };
    match hello(&mut conn).await {
        Ok(Some(said)) if said.sentinel => Err(instead(&mut conn).await),
        _ => Err(refused),
    }
}
