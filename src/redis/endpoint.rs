//! Where an instance listens and how to log in: addresses parsed from `redis://`-like URLs.
//!
//! It must not open sockets, and nothing in it may print a password: an endpoint's `Display` and `Debug` are safe to log.

use std::fmt;
use std::path::PathBuf;

use super::error::RedisError;
use crate::model::secret::Secret;

/// The address at which the instance listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address (an IPv6 address without brackets), and port.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A socket file on this machine.
    Unix(PathBuf),
}

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
    /// Parses `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://` and `redis+unix://`.
    ///
    /// A database number in the path is accepted and ignored: a backup is of the whole instance.
    ///
    /// # Errors
    /// [`RedisError::BadAddress`] says what is wrong and what would be right; it never quotes the URL, which may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, RedisError> {
        let bad = |why: &str| RedisError::BadAddress { reason: format!("{why}; {SHAPES}") };
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(bad("the address has no scheme"));
        };
        let scheme = scheme.to_ascii_lowercase();
        let tls = match scheme.as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            "unix" | "redis+unix" | "valkey+unix" => return Self::unix(rest),
            _ => return Err(bad("the address has a scheme that is not Redis's")),
        };
        let url =
            url::Url::parse(&format!("redis://{rest}")).map_err(|e| bad(&format!("the address is not a URL: {e}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad(
                "the address has a part after ? or #, which is not read (escape ? as %3F and # as %23 in a password)",
            ));
        }
        let path = url.path().trim_matches('/');
        if !path.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("the path of the address is not a database number (escape / as %2F in a password)"));
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => percent_decode(name),
            Some(url::Host::Ipv4(ip)) => Some(ip.to_string()),
            Some(url::Host::Ipv6(ip)) => Some(ip.to_string()),
            _ => None,
        };
        let host = host.ok_or_else(|| bad("the address names no host"))?;
        let decode =
            |part: &str| percent_decode(part).ok_or_else(|| bad("the user or password is not valid percent-encoding"));
        let username = decode(url.username())?;
        let password = url.password().map(decode).transpose()?.filter(|p| !p.is_empty());
        if password.is_none() && !username.is_empty() {
            return Err(bad(
                "the address has a user without a password (a password alone is written redis://:password@host)",
            ));
        }
        Ok(Self {
            address: Address::Tcp { host, port: url.port().unwrap_or(6379) },
            username: Some(username).filter(|u| !u.is_empty()),
            password: password.map(Secret::new),
            tls: tls.then(TlsSettings::default),
        })
    }

    fn unix(path: &str) -> Result<Self, RedisError> {
        if !path.starts_with('/') || path.len() < 2 {
            let reason = "a socket address needs an absolute path: unix:///run/redis/redis.sock".to_owned();
            return Err(RedisError::BadAddress { reason });
        }
        Ok(Self { address: Address::Unix(PathBuf::from(path)), username: None, password: None, tls: None })
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

/// `None` where an escape is broken or the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
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
        let e = Endpoint::parse("valkeys://ops:p%40ss%2Fw@cache.example:6380/3").unwrap();
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
            "redis://:hunter2@h?a",
        ];
        for text in wrong {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains("write redis://") || error.contains("unix:///"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
