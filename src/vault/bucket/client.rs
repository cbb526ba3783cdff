//! The client of a bucket: by which keys and connections it is called, and what is asked of one object. It, its listings, its puts and its failures
//! are the only files that know opendal: what changes there changes here.
//!
//! It must not follow a redirect, nor take a reply that is short for the end of an object.

use crate::config::tair::is_this_machine;
use crate::config::vault::{BucketPlace, Service};
use crate::model::text::clean_to;
use crate::vault::bucket::again::{FIRST_PAUSE, patiently};
use crate::vault::bucket::failure::{REASON_MAX, failed, said};
use crate::vault::bucket::keys::{AccessKey, AccessKeys};
use crate::vault::lacking::out_of_reach;
use crate::vault::store::SecondPut;
use opendal::layers::RetryLayer;
use opendal::options::StatOptions;
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqsign_aws_v4::Credential;
use reqsign_core::Signer;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Name of the mark among an object's metadata.
pub(super) const MARK: &str = "put-id";
/// For opening a connection.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often a request is sent again that failed in passing; longest of the pauses before that, each of which is twice the last.
const TIMES: usize = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// For how long a request is good that is signed here and sent at once.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// What stores say of an object that a lock of theirs keeps, where they do not just deny it.
const KEPT: [&str; 4] = ["object lock", "worm", "immutable", "retention"];
/// The region that requests are signed for where a service of one's own has none.
const ANY_REGION: &str = "us-east-1";

/// What an object is, without its bytes.
#[derive(Debug)]
pub(super) struct Found {
    pub size: u64,
    /// By which this very object is read, and no other of its name.
    tag: Option<String>,
    /// The same, in a bucket that keeps versions.
    pub version: Option<String>,
    /// Whether only that leads to it: something hides it. To read by version may take another right.
    pub by_version: bool,
    /// What was given to it when it was put, by which whoever put it knows it again.
    pub mark: Option<String>,
}

impl Found {
    /// Whether the same put made both, of the same bytes. The mark alone says little: whoever may read one can give it to something else.
    pub fn is_same_put(&self, other: &Self) -> bool {
        self.mark.is_some() && (&self.mark, self.size, &self.tag) == (&other.mark, other.size, &other.tag)
    }
}

/// A bucket that is called when something is wanted of it, and not before.
#[derive(Debug)]
pub(super) struct Client {
    place: BucketPlace,
    keys: Option<Arc<dyn AccessKeys>>,
    http: OnceLock<reqwest::Client>,
    /// Whether no object that was looked at had a version: as far as is known this bucket never kept any. One is enough for ever.
    pub(super) flat: AtomicBool,
    /// Whether this bucket, or this key's rights, do not let versions be listed.
    pub(super) blind: AtomicBool,
    /// What became of the last object that was put, as far as the bucket passes over the condition.
    pub(super) second_put: Mutex<SecondPut>,
    /// What signs our own requests by the store's own chain, and remembers the key that it had of that.
    pub(super) chain: OnceLock<Signer<Credential>>,
    /// With the key that it signs by; `None` where the store's own chain is asked.
    made: Mutex<Option<(Option<AccessKey>, Operator)>>,
}

impl Client {
    pub fn new(place: BucketPlace, keys: Option<Arc<dyn AccessKeys>>) -> Self {
        let (flat, blind) = (AtomicBool::new(true), AtomicBool::new(false));
        let second_put = Mutex::new(SecondPut::Refused);
        Self {
            place,
            keys,
            http: OnceLock::new(),
            flat,
            blind,
            second_put,
            chain: OnceLock::new(),
            made: Mutex::new(None),
        }
    }

    pub const fn place(&self) -> &BucketPlace {
        &self.place
    }

    /// Whether objects here tell until when they are locked. OSS locks by the bucket, and says so of no object.
    pub fn tells_locks(&self) -> bool {
        self.place.service == Service::S3
    }

    /// Whether all versions of what is put here can be listed.
    pub fn lists_versions(&self) -> bool {
        !self.blind.load(Ordering::Relaxed)
    }

    /// The key of the moment; `None` where that is for the store's own chain to find.
    pub async fn key(&self) -> io::Result<Option<AccessKey>> {
        match &self.keys {
            Some(keys) => keys.get().await.map(Some).map_err(|e| out_of_reach(e.kind(), e.to_string())),
            None => Ok(None),
        }
    }

    pub async fn operator(&self) -> io::Result<Operator> {
        let key = self.key().await?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, operator)) = &*made
            && *of == key
        {
            return Ok(operator.clone());
        }
        let operator = self.make(key.as_ref()).map_err(|e| said(&e))?;
        let operator = operator.with_context(OperationContext::new().with_http_transport(self.transport()?));
        let retry = RetryLayer::new()
            .with_jitter()
            .with_max_times(TIMES)
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE);
        let operator = operator.layer(retry);
        *made = Some((key, operator.clone()));
        Ok(operator)
    }

    fn make(&self, key: Option<&AccessKey>) -> opendal::Result<Operator> {
        let BucketPlace { service, bucket, prefix, region, endpoint, in_host, timeout: _ } = &self.place;
        let endpoint = endpoint.as_ref().map_or("", url::Url::as_str);
        match service {
            Service::S3 => {
                // A bucket with locks takes nothing without a checksum.
                let mut s3 = opendal::services::S3::default()
                    .bucket(bucket)
                    .root(prefix)
                    .endpoint(endpoint)
                    .checksum_algorithm("crc32c");
                let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|name| std::env::var(name).is_ok());
                match region {
                    Some(region) => s3 = s3.region(region),
                    None if !named && !endpoint.is_empty() => s3 = s3.region(ANY_REGION),
                    None => {}
                }
                if *in_host == Some(true) {
                    s3 = s3.enable_virtual_host_style();
                }
                if let Some(AccessKey { id, secret, token }) = key {
                    s3 = s3.access_key_id(id).secret_access_key(secret.expose());
                    s3 = s3.session_token(token.as_ref().map_or("", |token| token.expose()));
                }
                Operator::new(s3)
            }
            Service::Oss => {
                let mut oss = opendal::services::Oss::default().bucket(bucket).root(prefix).endpoint(endpoint);
                if *in_host == Some(false) {
                    oss = oss.addressing_style("path");
                }
                if let Some(AccessKey { id, secret, token }) = key {
                    oss = oss.access_key_id(id).access_key_secret(secret.expose());
                    oss = oss.security_token(token.as_ref().map_or("", |token| token.expose()));
                }
                Operator::new(oss)
            }
        }
    }

    /// The connections, as whoever signs takes them: a chain may ask for its key over them.
    pub fn transport(&self) -> io::Result<HttpTransporter> {
        Ok(HttpTransporter::new(ReqwestTransport::new(self.http()?)))
    }

    /// Connections, by way of the environment's proxies unless the bucket is on this machine. A redirect is not followed: a signature is for
    /// one host.
    fn http(&self) -> io::Result<reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let setup =
            |e: &dyn std::fmt::Display| out_of_reach(io::ErrorKind::Other, format!("TLS cannot be set up: {e}"));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| setup(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECTING)
            .read_timeout(self.place.timeout);
        if self.place.endpoint.as_ref().is_some_and(is_this_machine) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| setup(&e))?;
        Ok(self.http.get_or_init(|| client).clone())
    }

    /// What has a name, or that version of it; `None` where there is none.
    pub async fn stat(&self, name: &str, version: Option<String>) -> io::Result<Option<Found>> {
        let by_version = version.is_some();
        let of = StatOptions { version, ..StatOptions::default() };
        match self.operator().await?.stat_options(name, of).await {
            Ok(found) => Ok(Some(Found {
                size: found.content_length(),
                tag: found.etag().map(str::to_owned),
                version: found.version().map(str::to_owned),
                by_version,
                mark: found.user_metadata().and_then(|all| all.get(MARK).map(str::to_owned)),
            })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(said(&e)),
        }
    }

    /// What is answered about an object besides: opendal passes over its lock. Nothing, where that is not told.
    pub async fn headers(&self, name: &str, found: Found) -> io::Result<HeaderMap> {
        let (address, headers) = self.signed(name, found.version.filter(|_| found.by_version)).await?;
        let reply = patiently(self.http()?.head(address).headers(headers)).await.map_err(failed)?;
        // It was there just now: whoever asks may not know.
        if reply.status().is_client_error() && reply.status() != StatusCode::TOO_MANY_REQUESTS {
            return Ok(HeaderMap::new());
        }
        Ok(reply.error_for_status().map_err(failed)?.headers().clone())
    }

    /// Where an object, or that version of it, is asked about, signed for that.
    pub async fn signed(&self, name: &str, version: Option<String>) -> io::Result<(String, HeaderMap)> {
        let of = StatOptions { version, ..StatOptions::default() };
        let operator = self.operator().await?;
        let signed = operator.presign_stat_options(name, SIGNED_FOR, of).await.map_err(|e| said(&e))?;
        Ok((signed.uri().to_string(), signed.header().clone()))
    }

    /// Puts what opendal has no word for, by headers that sign it: the status, and the beginning of what was answered.
    pub async fn put_signed(&self, address: &str, headers: HeaderMap, body: String) -> io::Result<(u16, String)> {
        let mut reply = patiently(self.http()?.put(address).headers(headers).body(body)).await.map_err(failed)?;
        let begins = reply.chunk().await.map_err(failed)?.unwrap_or_default();
        Ok((reply.status().as_u16(), clean_to(&String::from_utf8_lossy(&begins), REASON_MAX)))
    }

    /// Reads a range that the object has, of the very object that was found and no other.
    pub async fn range(&self, name: &str, found: &Found, from: u64, len: u64) -> io::Result<Vec<u8>> {
        let operator = self.operator().await?;
        let mut read = operator.read_with(name).range(from..from + len);
        match (&found.version, &found.tag) {
            (Some(version), _) if found.by_version => read = read.version(version),
            (_, Some(tag)) => read = read.if_match(tag),
            _ => {}
        }
        match read.await {
            Ok(bytes) if bytes.len() as u64 == len => Ok(bytes.to_vec()),
            // What the object has is known from its tag: a reply that is shorter says nothing of it.
            Ok(bytes) => {
                let why = format!("{} of {len} bytes came that were asked for", bytes.len());
                Err(out_of_reach(io::ErrorKind::Other, why))
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConditionNotMatch | ErrorKind::NotFound) => {
                let why = "the object was taken away, or another has taken its name, while it was read";
                Err(out_of_reach(io::ErrorKind::InvalidData, why))
            }
            Err(e) => Err(said(&e)),
        }
    }

    /// Deletes what has a name, or that version of it; what is not there is no error.
    ///
    /// # Errors
    /// `PermissionDenied` where a lock keeps it, or this key may not.
    pub async fn delete_one(&self, name: &str, version: Option<&str>) -> io::Result<()> {
        let operator = self.operator().await?;
        let deleted = match version {
            Some(version) => operator.delete_with(name).version(version).await,
            None => operator.delete(name).await,
        };
        let Err(e) = deleted else { return Ok(()) };
        let why = said(&e);
        let words = why.to_string().to_ascii_lowercase();
        match e.kind() {
            ErrorKind::NotFound => Ok(()),
            _ if e.is_permanent() && KEPT.iter().any(|kept| words.contains(kept)) => {
                Err(out_of_reach(io::ErrorKind::PermissionDenied, why.to_string()))
            }
            _ => Err(why),
        }
    }
}
