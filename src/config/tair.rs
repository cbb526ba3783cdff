//! `[tair]`: how Alibaba Cloud is reached. Credentials are not written here: they come from where Alibaba's own tools keep them.

use crate::config::wrong::out_of_range;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use url::{Host, Url};

/// What follows our own product token in `User-Agent` when nothing else is configured.
pub const AGENT_SKILLS: &str = "AlibabaCloud-Agent-Skills/alibabacloud-tair-agent-skills";

/// `[tair]` as written in the file, unchecked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTair {
    region: Option<String>,
    endpoint: Option<String>,
    sts_endpoint: Option<String>,
    profile: Option<String>,
    user_agent: String,
    vpc: bool,
    allow_http: bool,
    requests_per_second: f64,
    connect_timeout_seconds: u64,
    read_timeout_seconds: u64,
}

impl Default for RawTair {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            sts_endpoint: None,
            profile: None,
            user_agent: AGENT_SKILLS.to_owned(),
            vpc: false,
            allow_http: false,
            requests_per_second: 10.0,
            connect_timeout_seconds: 5,
            read_timeout_seconds: 30,
        }
    }
}

/// `[tair]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TairConfig {
    /// The region; from the profile or the environment when `None`.
    pub region: Option<String>,
    /// The API's address, instead of the region's own.
    pub endpoint: Option<Url>,
    /// The address of the Security Token Service, instead of its public one.
    pub sts_endpoint: Option<Url>,
    /// The profile of `~/.aliyun/config.json` to use, to the exclusion of all other sources; the default chain when `None`.
    pub profile: Option<String>,
    /// What follows our own product token in `User-Agent`; may be empty.
    pub user_agent: String,
    /// Whether the endpoints within the region's VPC are used.
    pub vpc: bool,
    /// Most requests a second, for the account as a whole.
    pub requests_per_second: f64,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long the cloud may send nothing before a call fails.
    pub read_timeout: Duration,
}

impl Default for TairConfig {
    fn default() -> Self {
        let raw = RawTair::default();
        Self {
            region: None,
            endpoint: None,
            sts_endpoint: None,
            profile: None,
            user_agent: raw.user_agent,
            vpc: raw.vpc,
            requests_per_second: raw.requests_per_second,
            connect_timeout: Duration::from_secs(raw.connect_timeout_seconds),
            read_timeout: Duration::from_secs(raw.read_timeout_seconds),
        }
    }
}

/// Whether a text can be a region: it becomes part of a host name.
#[must_use]
pub fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
}

impl RawTair {
    /// Checks the values as written.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn check(self) -> Result<TairConfig, String> {
        if let Some(region) = self.region.as_deref().filter(|r| !is_region(r)) {
            return Err(format!(
                "tair.region: {} is not a region; write region = \"cn-hangzhou\"",
                crate::model::text::quoted(region)
            ));
        }
        if !self.requests_per_second.is_finite() || !(0.1..=1000.0).contains(&self.requests_per_second) {
            let usual = Self::default().requests_per_second;
            return Err(out_of_range("tair.", "requests_per_second", self.requests_per_second, (0.1, 1000), usual));
        }
        let usual = Self::default();
        let seconds = |name: &str, n: u64, usual: u64| {
            if (1..=600).contains(&n) {
                Ok(Duration::from_secs(n))
            } else {
                Err(out_of_range("tair.", name, n, (1, 600), usual))
            }
        };
        let allow_http = self.allow_http;
        let address = |name: &str, text: Option<String>| text.map(|t| address(name, &t, allow_http)).transpose();
        Ok(TairConfig {
            connect_timeout: seconds(
                "connect_timeout_seconds",
                self.connect_timeout_seconds,
                usual.connect_timeout_seconds,
            )?,
            read_timeout: seconds("read_timeout_seconds", self.read_timeout_seconds, usual.read_timeout_seconds)?,
            endpoint: address("endpoint", self.endpoint)?,
            sts_endpoint: address("sts_endpoint", self.sts_endpoint)?,
            region: self.region,
            profile: self.profile,
            user_agent: self.user_agent,
            vpc: self.vpc,
            requests_per_second: self.requests_per_second,
        })
    }
}

/// Whether an address is on this machine, where nobody listens in and no proxy is asked.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    place_of(url) == Place::Machine
}

/// Where an address leads, as far as it tells by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This machine.
    Machine,
    /// A private network, or what is only reached from within one.
    Private,
    /// Anywhere else.
    Internet,
}

/// Ends of names that are only known within a network. Whether one of the first two leads to this machine is for its resolver to say.
const PRIVATE_NAMES: [&str; 6] = [".localhost", ".localdomain", ".local", ".internal", ".lan", ".home.arpa"];

/// The place of an address.
#[must_use]
pub fn place_of(url: &Url) -> Place {
    match url.host() {
        Some(Host::Domain(host)) => {
            let host = host.trim_end_matches('.');
            let ends = |ends: &[&str]| ends.iter().any(|end| host.ends_with(end));
            if host == "localhost" {
                Place::Machine
            } else if !host.contains('.') || ends(&PRIVATE_NAMES) {
                Place::Private
            } else {
                Place::Internet
            }
        }
        Some(Host::Ipv4(ip)) => place_of_v4(ip),
        Some(Host::Ipv6(ip)) => place_of_v6(ip),
        None => Place::Machine,
    }
}

/// The place of an address of either kind.
#[must_use]
pub fn place_of_ip(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => place_of_v4(ip),
        IpAddr::V6(ip) => place_of_v6(ip),
    }
}

fn place_of_v6(ip: Ipv6Addr) -> Place {
    let [first, second, third, .., high, low] = ip.segments();
    // Of the older kind, behind a translator or a tunnel: what is this machine to us is the network's there.
    let beyond = |high: u16, low: u16| match place_of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))) {
        Place::Internet => Place::Internet,
        Place::Machine | Place::Private => Place::Private,
    };
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return place_of_v4(mapped);
    }
    match (first, second) {
        _ if ip.is_loopback() || ip.is_unspecified() => Place::Machine,
        _ if ip.to_ipv4().is_some() => beyond(high, low),
        (0x64, 0xff9b) => beyond(high, low),
        (0x2002, _) => beyond(second, third),
        _ if ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast() => Place::Private,
        _ => Place::Internet,
    }
}

fn place_of_v4(ip: Ipv4Addr) -> Place {
    match ip.octets() {
        [0 | 127, ..] => Place::Machine,
        // The shared range is that of a cloud's own services, such as the one that gives credentials away.
        [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] | [224..=255, ..] => Place::Private,
        _ if ip.is_private() || ip.is_link_local() => Place::Private,
        _ => Place::Internet,
    }
}

/// Reads an endpoint: a host name, or an `https://` address; `http://` only on this machine, unless it is allowed, because
/// tokens and data would be readable on the way.
///
/// # Errors
/// What is wrong and what would be right, as a sentence.
pub fn address(name: &str, text: &str, allow_http: bool) -> Result<Url, String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let bad = |why: &str| {
        format!(
            "tair.{name}: {} {why}; write a host name or https://host:port, such as {name} = \"r-kvstore.cn-beijing.aliyuncs.com\"",
            crate::model::text::quoted(text)
        )
    };
    if text.contains('@') {
        // The address is not repeated: it may hold a password.
        return Err(format!(
            "tair.{name} must not hold a user name or a password; write {name} = \"https://host:port\", and leave credentials where \
             Alibaba's own tools keep them"
        ));
    }
    let url = Url::parse(&whole).map_err(|e| bad(&format!("is not an address ({e})")))?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("has more than a host and a port"));
    }
    if url.host().is_none() {
        return Err(bad("has no host"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) || allow_http => Ok(url),
        "http" => Err(bad("is not encrypted; to use it all the same, set tair.allow_http = true")),
        _ => Err(bad("is of another scheme")),
    }
}
