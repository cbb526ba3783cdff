//! `announce` of an `[[instance]]`: the address under which a target finds this program for a restore.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a target finds us for a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Host name or address, without brackets.
    pub host: String,
    /// A fixed port, where address translation needs one.
    pub port: Option<u16>,
}

impl Announce {
    /// Reads `host` or `host:port`; an IPv6 address with a port stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without brackets has several colons and no port.
            Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            _ => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@[]".contains(c));
        plain.then(|| Self { host: host.into(), port })
    }

    /// The address to listen on: the unspecified one of the announced family.
    #[must_use]
    pub fn any(&self) -> IpAddr {
        match self.host.parse() {
            Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Announce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Announce;

    /// Each form is read and shown as it was written, listened for in its own family, and a wrong one is refused.
    #[test]
    fn announced_addresses() {
        for (text, any) in [
            ("10.0.0.9", "0.0.0.0"),
            ("10.0.0.9:7400", "0.0.0.0"),
            ("backup.internal:7400", "0.0.0.0"),
            ("fd00::9", "::"),
            ("[fd00::9]:7400", "::"),
        ] {
            let announce = Announce::parse(text).unwrap();
            assert_eq!((announce.to_string().as_str(), announce.any().to_string().as_str()), (text, any));
        }
        for text in ["", ":7400", "host:port", "host:0", "host:70000", "redis://host:7400", "a b", "[fd00::9", "[]:1"] {
            assert_eq!(Announce::parse(text), None, "{text:?}");
        }
    }
}
