//! The url of an instance: the one place that knows its schemes and how it is read.
//!
//! Nothing here quotes a url, or a part of one that may be a password: reasons say what is wrong and what would be right.

use crate::model::secret::Secret;
use std::path::PathBuf;

/// The port of a url that names none.
pub const DEFAULT_PORT: u16 = 6379;

/// The place where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address (an IPv6 address without brackets), and port.
    Tcp {
        /// Name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A socket file on this machine.
    Unix(PathBuf),
}

/// What a url says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceUrl {
    /// Where the instance listens.
    pub address: Address,
    /// ACL user; `None` is the default user.
    pub username: Option<String>,
    /// The password, where the url has one.
    pub password: Option<Secret>,
    /// Whether the scheme asks for TLS.
    pub tls: bool,
}

/// What a scheme stands for.
enum Scheme {
    Tcp { tls: bool },
    Unix,
}

/// The schemes that are read.
fn scheme(name: &str) -> Option<Scheme> {
    match name {
        "redis" | "valkey" => Some(Scheme::Tcp { tls: false }),
        "rediss" | "valkeys" => Some(Scheme::Tcp { tls: true }),
        "unix" | "redis+unix" | "valkey+unix" => Some(Scheme::Unix),
        _ => None,
    }
}

/// The text behind the scheme up to the path, and the rest.
fn authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Whether a text holds what is or may be meant as a password, readable url or not. A user alone is mostly a password
/// whose colon was forgotten.
#[must_use]
pub fn has_userinfo(text: &str) -> bool {
    let Some((name, rest)) = text.split_once("://") else { return false };
    let within = match scheme(&name.to_ascii_lowercase()) {
        Some(Scheme::Unix) => authority(rest).0,
        // A password with a bare / in it ends the authority too early, and is one all the same.
        _ => rest,
    };
    within.rsplit_once('@').is_some_and(|(userinfo, _)| !userinfo.trim_matches(':').is_empty())
}

impl InstanceUrl {
    /// Reads `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`, `redis+unix://` and `valkey+unix://`.
    ///
    /// A database number in the path is refused, but for 0, which services write as a matter of course: a backup is of all databases.
    ///
    /// # Errors
    /// What is wrong, in words that quote nothing of the url.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, rest) = text.trim().split_once("://").ok_or("the address has no scheme")?;
        match scheme(&name.to_ascii_lowercase()) {
            Some(Scheme::Tcp { tls }) => Self::tcp(rest, tls),
            Some(Scheme::Unix) => Self::unix(rest),
            None => Err("wrong scheme: the address has one that is not Redis's"),
        }
    }

    fn tcp(rest: &str, tls: bool) -> Result<Self, &'static str> {
        if authority(rest).1.contains('@') {
            return Err("there is an @ behind a /, ? or #: write / as %2F in a password, ? as %3F and # as %23");
        }
        // A scheme that the URL standard does not know is read the same for all of ours.
        let url = url::Url::parse(&format!("redis://{rest}")).map_err(|e| match e {
            url::ParseError::InvalidPort => "bad port: it is a number from 1 to 65535",
            url::ParseError::EmptyHost => "the address names no host",
            _ => "the address is not a URL: its host cannot be read",
        })?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "the address has a part after ? or #, which is not read (escape ? as %3F and # as %23 in a password)",
            );
        }
        match url.path().trim_matches('/') {
            "" | "0" => {}
            number if number.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(
                    "the url ends in the number of a database, and a backup has all databases: write it without / and number, as redis://host:6379",
                );
            }
            _ => return Err("the url has a path, and an instance has none (write / as %2F in a password)"),
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => {
                percent_decode(name).ok_or("the host is not valid percent-encoding")?
            }
            Some(url::Host::Ipv4(ip)) => ip.to_string(),
            Some(url::Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err("the address names no host"),
        };
        let decode = |part: &str| {
            percent_decode(part)
                .ok_or("the user or password is not valid percent-encoding: write % as %25 in a password")
        };
        let username = decode(url.username())?;
        let password = url.password().map(decode).transpose()?.filter(|p| !p.is_empty());
        if password.is_none() && !username.is_empty() {
            return Err(
                "the address has a user without a password (a password alone is written redis://:password@host)",
            );
        }
        let port = url.port().unwrap_or(DEFAULT_PORT);
        if port == 0 {
            return Err("bad port: it is a number from 1 to 65535");
        }
        Ok(Self {
            address: Address::Tcp { host, port },
            username: Some(username).filter(|u| !u.is_empty()),
            password: password.map(Secret::new),
            tls,
        })
    }

    fn unix(path: &str) -> Result<Self, &'static str> {
        if path.contains(['?', '#']) {
            return Err(
                "a socket address takes nothing after ? or #; name user and password beside it: unix:///run/redis/redis.sock",
            );
        }
        if authority(path).0.contains('@') {
            return Err(
                "a socket address takes no user and password; name them beside it: unix:///run/redis/redis.sock",
            );
        }
        if !path.starts_with('/') || path.len() < 2 {
            return Err("a socket address needs an absolute path: unix:///run/redis/redis.sock");
        }
        Ok(Self { address: Address::Unix(PathBuf::from(path)), username: None, password: None, tls: false })
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
mod tests {
    use super::{InstanceUrl, has_userinfo};

    /// Each mistake has a reason of its own, and no reason quotes what may be a password.
    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("h:6379", "no scheme"),
            ("http://h", "wrong scheme"),
            ("redis://", "no host"),
            ("redis://:s3cret@", "no host"),
            ("redis://h:99999", "bad port"),
            ("redis://h:0", "bad port"),
            ("redis://h:s3cret", "bad port"),
            ("redis://h?db=1", "after ? or #"),
            ("redis://h/db", "has a path"),
            ("redis://h/3", "has all databases: write it without / and number"),
            ("redis://:s3cret@h:6379/15/", "has all databases"),
            ("redis://:s3%zzcret@h", "percent-encoding"),
            ("redis://:s3/cret@h", "write / as %2F in a password"),
            ("redis://:s3#cret@h", "# as %23"),
            ("redis://s3cret@h", "without a password"),
            ("unix:///x.sock?password=s3cret", "after ? or #"),
            ("unix:///x.sock#s3cret", "after ? or #"),
            ("unix://:s3cret@/x.sock", "no user and password"),
            ("redis+unix://s3cret@localhost/x.sock", "no user and password"),
        ] {
            let reason = InstanceUrl::parse(text).unwrap_err();
            assert!(reason.contains(why) && !reason.contains("s3"), "{text}: {reason}");
        }
        // Templates of services put an @ into the names of sockets.
        assert!(InstanceUrl::parse("unix:///run/redis@6379.sock").is_ok());
    }

    #[test]
    fn what_may_be_a_password_is_noticed() {
        for text in
            ["redis://:p@h", "rediss://u:p@h:1", "valkey://u:p@h", "redis://p@h", "redis://:a/b@h", "unix://:p@/x"]
        {
            assert!(has_userinfo(text), "{text}");
        }
        for text in ["redis://h", "redis://h:1", "redis://:@h", "unix:///a:b@c", "h"] {
            assert!(!has_userinfo(text), "{text}");
        }
    }
}
