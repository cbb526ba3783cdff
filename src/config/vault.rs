//! `vault`: where backup sets and logs lie: in a directory, or in a bucket on object storage.
//!
//! It must not take a secret: who calls is for the store's own chain of credentials, and a place is shown in messages.

use crate::config::tair::{is_region, is_this_machine};
use crate::model::text::quoted;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Longest prefix within a bucket, in bytes: names of objects have at most 1024, and ours add some 300.
const PREFIX_MAX: usize = 512;

/// How long a store may send nothing, where its url does not say; while a part goes up it sends nothing.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest such time that a url may say, in seconds: each request is tried several times.
const TIMEOUT_SECONDS_MAX: u64 = 3600;

/// Where the vault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultPlace {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket.
    Bucket(BucketPlace),
}

impl VaultPlace {
    /// Reads a place: the url of a bucket, or a directory, which is relative to `base`. `key` is what the messages name.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn parse(key: &str, text: &str, base: &Path, cloud: CloudDefaults<'_>) -> Result<Self, String> {
        match text {
            "" => Err(format!(
                "{key} is empty; write {key} = \"/srv/backups\", or the url of a bucket, s3://bucket/prefix"
            )),
            url if url.contains("://") => match BucketPlace::parse(url, cloud) {
                Ok(place) => Ok(Self::Bucket(place)),
                Err(why) => Err(match why.strip_prefix("vault") {
                    Some(rest) => format!("{key}{rest}"),
                    None => why,
                }),
            },
            dir => Ok(Self::Directory(base.join(dir))),
        }
    }
}

impl fmt::Display for VaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "{}", dir.display()),
            Self::Bucket(place) => place.fmt(f),
        }
    }
}

/// What serves a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, or what speaks its API.
    S3,
    /// Object Storage Service of Alibaba Cloud, by its own API: only there a name is given once.
    Oss,
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// What serves it.
    pub service: Service,
    /// The bucket's name.
    pub bucket: String,
    /// What every name begins with, without `/` at either end; may be empty.
    pub prefix: String,
    /// The region that requests are signed for; from the environment when `None`.
    pub region: Option<String>,
    /// The service's address, instead of the region's own. Never `None` for OSS.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the host's name instead of the path; the service's own way when `None`.
    pub in_host: Option<bool>,
    /// How long the service may send nothing before a request is tried again.
    pub timeout: Duration,
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl Service {
    /// The scheme of its urls.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Oss => "oss",
        }
    }
}

/// What an OSS bucket has from `[tair]`, where its url does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudDefaults<'a> {
    /// The region.
    pub region: Option<&'a str>,
    /// Whether endpoints within the region's VPC are used.
    pub vpc: bool,
}

impl BucketPlace {
    /// Reads `s3://bucket/prefix?…` or `oss://bucket/prefix?…`.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn parse(text: &str, cloud: CloudDefaults<'_>) -> Result<Self, String> {
        if text.contains('@') {
            // The url is not repeated: it may hold a key.
            return Err(
                "vault must not hold an access key, and nothing else before an @; write s3://bucket/prefix: credentials are looked for where \
                 the store's own tools keep them"
                    .to_owned(),
            );
        }
        let bad = |why: &str| {
            format!(
                "vault: {} {why}; write s3://bucket/prefix?region=eu-central-1, oss://bucket/prefix?region=cn-hangzhou, or a directory",
                quoted(text)
            )
        };
        let url = Url::parse(text).map_err(|e| bad(&format!("is no url ({e})")))?;
        let service = match url.scheme() {
            "s3" => Service::S3,
            "oss" => Service::Oss,
            _ => return Err(bad("is of another kind of store")),
        };
        let bucket = url.host_str().filter(|name| is_bucket(name)).ok_or_else(|| bad("names no bucket"))?;
        if url.port().is_some() || url.fragment().is_some() {
            return Err(bad("has more than a bucket, a prefix and settings"));
        }
        let prefix = url.path().trim_matches('/');
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'='))
        };
        if prefix.len() > PREFIX_MAX || !(prefix.is_empty() || prefix.split('/').all(plain)) {
            return Err(bad("has a prefix with more than letters, digits and . _ - = between its slashes"));
        }
        let mut place = Self {
            service,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: None,
            endpoint: None,
            in_host: None,
            timeout: TIMEOUT,
        };
        let (mut endpoint, mut allow_http) = (None, false);
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("region", value) if is_region(value) => place.region = Some(value.to_owned()),
                ("endpoint", value) => endpoint = Some(value.to_owned()),
                ("addressing", "path") => place.in_host = Some(false),
                ("addressing", "virtual") => place.in_host = Some(true),
                ("allow_http", "true") => allow_http = true,
                ("allow_http", "false") => allow_http = false,
                ("timeout_seconds", value) => {
                    let seconds =
                        value.parse::<u64>().ok().filter(|seconds| (1..=TIMEOUT_SECONDS_MAX).contains(seconds));
                    let wrong = || {
                        let right = format!("which is 1 to {TIMEOUT_SECONDS_MAX}, as in timeout_seconds=120");
                        bad(&format!("has {} for timeout_seconds, {right}", quoted(value)))
                    };
                    place.timeout = Duration::from_secs(seconds.ok_or_else(wrong)?);
                }
                ("region" | "addressing" | "allow_http", value) => {
                    return Err(bad(&format!("has {} for {name}", quoted(value))));
                }
                (name, _) => {
                    let all = "region, endpoint, addressing, timeout_seconds and allow_http are known";
                    return Err(bad(&format!("has the setting {}; {all}", quoted(name))));
                }
            }
        }
        place.endpoint = endpoint.map(|text| address(&text, allow_http)).transpose().map_err(|why| bad(&why))?;
        place.with_defaults(cloud).map_err(bad)
    }

    fn with_defaults(mut self, cloud: CloudDefaults<'_>) -> Result<Self, &'static str> {
        let host = self.endpoint.as_ref().and_then(Url::host_str).unwrap_or_default();
        match self.service {
            // Create-only is spelled in another way there, and would be passed over.
            Service::S3 if host.ends_with(".aliyuncs.com") => {
                return Err("is an OSS endpoint, whose buckets are oss://");
            }
            Service::S3 => {}
            Service::Oss => {
                self.region = self.region.or_else(|| cloud.region.map(str::to_owned));
                if self.endpoint.is_none() {
                    let region =
                        self.region.as_deref().ok_or("has neither region nor endpoint, and [tair] no region")?;
                    let within = if cloud.vpc { "-internal" } else { "" };
                    let own = Url::parse(&format!("https://oss-{region}{within}.aliyuncs.com"));
                    self.endpoint = Some(own.map_err(|_| "has no region that can be part of a host's name")?);
                }
            }
        }
        Ok(self)
    }
}

/// Whether a text can be a bucket's name: it becomes part of a host's name or of a path.
fn is_bucket(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let outer = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && name.bytes().next().is_some_and(outer)
        && name.bytes().last().is_some_and(outer)
        && !name.contains("..")
}

/// Reads an endpoint: a host's name or an `https://` address; `http://` only on this machine, unless it is allowed.
fn address(text: &str, allow_http: bool) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|e| format!("has an endpoint that is no address ({e})"))?;
    let more = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
    if url.host().is_none() || more {
        return Err("has an endpoint that is not a host and a port".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_this_machine(&url) => Ok(url),
        "http" => Err("has an endpoint without encryption; allow_http=true among its settings allows that".to_owned()),
        _ => Err("has an endpoint of another scheme than https".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    //! What a url says, what is taken from the cloud's table, and what is refused in words.
    use super::*;

    fn read(text: &str) -> Result<BucketPlace, String> {
        BucketPlace::parse(text, CloudDefaults { region: Some("cn-beijing"), vpc: false })
    }

    #[test]
    fn urls_of_buckets() {
        let s3 = read("s3://backups/redis/prod/?region=eu-central-1").unwrap();
        assert_eq!((s3.to_string().as_str(), s3.region.as_deref()), ("s3://backups/redis/prod", Some("eu-central-1")));
        assert_eq!((s3.endpoint, s3.in_host, s3.timeout), (None, None, TIMEOUT));
        assert_eq!(read("s3://backups?timeout_seconds=600").unwrap().timeout, Duration::from_secs(600));
        let own = read("s3://backups?endpoint=http://127.0.0.1:8333&addressing=path").unwrap();
        assert_eq!(own.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:8333/");
        assert_eq!((own.to_string().as_str(), own.in_host, own.region), ("s3://backups", Some(false), None));
        let host = |place: BucketPlace| place.endpoint.unwrap().host_str().unwrap().to_owned();
        assert_eq!(host(read("oss://backups/a").unwrap()), "oss-cn-beijing.aliyuncs.com");
        assert_eq!(host(read("oss://backups?region=cn-hangzhou").unwrap()), "oss-cn-hangzhou.aliyuncs.com");
        let vpc = CloudDefaults { region: Some("cn-beijing"), vpc: true };
        let within = BucketPlace::parse("oss://backups", vpc).unwrap();
        assert_eq!(host(within), "oss-cn-beijing-internal.aliyuncs.com");
        assert_eq!(host(read("oss://backups?endpoint=oss.internal:8443").unwrap()), "oss.internal");
        read("s3://backups?endpoint=http://minio:9000&allow_http=true").unwrap();
    }

    #[test]
    fn what_is_no_place() {
        for (text, why) in [
            ("s3://", "names no bucket"),
            ("s3://UP", "names no bucket"),
            ("s3://a..b", "names no bucket"),
            ("gs://backups", "another kind of store"),
            ("s3://key:secret@backups", "must not hold an access key"),
            ("s3://backups/a//b", "prefix"),
            ("s3://backups/a b", "prefix"),
            ("s3://backups?regoin=x", "regoin"),
            ("s3://backups?region=EU", "region"),
            ("s3://backups?addressing=dns", "addressing"),
            ("s3://backups?timeout_seconds=0", "1 to 3600, as in timeout_seconds=120"),
            ("s3://backups?timeout_seconds=2m", "1 to 3600, as in timeout_seconds=120"),
            ("s3://backups?endpoint=http://minio:9000", "allow_http"),
            ("s3://backups?endpoint=ftp://minio", "scheme"),
            ("s3://backups?endpoint=https://minio/x", "host and a port"),
            ("s3://backups?endpoint=https://oss-cn-hangzhou.aliyuncs.com", "oss://"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("secret"), "{text}: {said}");
        }
        assert!(BucketPlace::parse("oss://backups", CloudDefaults::default()).unwrap_err().contains("region"));
    }
}
