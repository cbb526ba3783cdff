//! Where an instance is and how to be let in: the url of its configuration, with what TLS needs.
//!
//! It must not open sockets, and nothing in it may print a password: an endpoint's `Display` and `Debug` are safe to log.

use std::fmt;
use std::path::PathBuf;

use super::error::RedisError;
pub use crate::config::instance_url::Address;
use crate::config::instance_url::InstanceUrl;
use crate::model::secret::Secret;

/// How TLS is spoken. The default trusts what the machine trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// PEM file of the authorities to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our own certificate chain, where the server asks for one.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the key that belongs to `cert_file`.
    pub key_file: Option<PathBuf>,
    /// The name the certificate must carry, where it is not the host.
    pub server_name: Option<String>,
    /// Accept any certificate. Only for tests and tunnels: the password then goes to whoever answers.
    pub insecure_skip_verify: bool,
}

/// An instance's address together with the credentials and TLS settings to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the instance listens.
    pub address: Address,
    /// ACL user; `None` is the default user.
    pub username: Option<String>,
    /// Password; `None` sends no AUTH at all.
    pub password: Option<Secret>,
    /// TLS settings; `Some` for `rediss://`.
    pub tls: Option<TlsSettings>,
}

/// The forms of an address, for messages.
const SHAPES: &str = "write redis://[user:password@]host[:6379], rediss:// for TLS, or unix:///path/to/redis.sock";

impl Endpoint {
    /// Reads `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`, `redis+unix://` and `valkey+unix://`.
    ///
    /// A database number in the path is refused, but for 0: a backup is of the whole instance.
    ///
    /// # Errors
    /// [`RedisError::BadAddress`] says what is wrong and what would be right; it never quotes the URL, which may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, RedisError> {
        let InstanceUrl { address, username, password, tls } =
            InstanceUrl::parse(text).map_err(|why| RedisError::BadAddress { reason: format!("{why}; {SHAPES}") })?;
        Ok(Self { address, username, password, tls: tls.then(TlsSettings::default) })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! URLs that people write become the endpoint they meant; a URL that cannot be parsed is refused with the right form.
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let e = Endpoint::parse("redis://10.0.0.1").unwrap();
        assert_eq!(e.address, Address::Tcp { host: "10.0.0.1".into(), port: 6379 });
        assert!(e.tls.is_none() && e.password.is_none());
        let e = Endpoint::parse("valkeys://ops:p%40ss%2Fw@cache.example:6380/0").unwrap();
        assert_eq!(e.username.as_deref(), Some("ops"));
        assert_eq!(e.password.as_ref().map(Secret::expose), Some("p@ss/w"));
        assert_eq!(e.to_string(), "rediss://cache.example:6380");
        assert!(!format!("{e:?}").contains("p@ss"));
        let e = Endpoint::parse("redis://:pw@[::1]:7000").unwrap();
        assert_eq!((e.username.as_deref(), e.to_string().as_str()), (None, "redis://[::1]:7000"));
        let e = Endpoint::parse("redis+unix:///run/redis.sock").unwrap();
        assert_eq!(e.address, Address::Unix("/run/redis.sock".into()));
    }

    #[test]
    fn says_what_would_be_right_without_quoting_the_password() {
        let wrong = [
            "localhost:6379",
            "http://h",
            "redis://",
            "redis://hunter2@h",
            "redis://:hunter2@h/x",
            "unix://r.sock",
            "unix:///r.sock?password=hunter2",
            "unix://:hunter2@/r.sock",
            "redis://:hunter2@h?a",
        ];
        for text in wrong {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains("write redis://") || error.contains("unix:///"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
