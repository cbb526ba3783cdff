//! HTTP to the cloud, and to whoever is told something: one request, one reply or a plain account of why there is none. It repeats nothing by itself.
//!
//! It must never follow a redirect: a signature is for one host. URLs and headers are not repeated in errors.

use crate::config::tair::{TairConfig, is_this_machine};
use crate::model::secret::{take_out, take_out_whole};
use crate::tair::error::TairError;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

/// Largest reply that is read; a page of 300 sets has a hundredth of it.
const MAX_BODY: usize = 32 << 20;

/// Longest `User-Agent`.
const MAX_AGENT: usize = 256;

/// A request, ready to be sent.
#[derive(Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: reqwest::Method,
    /// The whole address, encoded.
    pub url: String,
    /// The request's headers.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: Vec<u8>,
    /// Whether proxies are passed by: for services of this machine and its host.
    pub direct: bool,
}

impl Request {
    /// A request that nobody signs: a GET, or a POST of a body of some type.
    #[must_use]
    pub fn plain(url: &str, body: Option<(&str, &str)>) -> Self {
        let typed =
            |(of, body): (&str, &str)| (vec![("content-type".to_owned(), of.to_owned())], body.as_bytes().to_vec());
        let method = if body.is_some() { reqwest::Method::POST } else { reqwest::Method::GET };
        let (headers, body) = body.map(typed).unwrap_or_default();
        Self { method, url: url.to_owned(), headers, body, direct: false }
    }
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The reply's HTTP status.
    pub status: u16,
    /// What `x-acs-retry-after` asks for.
    pub retry_after: Option<Duration>,
    /// The server's clock.
    pub date: Option<Timestamp>,
    /// The reply's body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The reply without what is secret of who asked; of one that tells of no error only what is a secret as a whole is taken out, for the
    /// rest is what was asked for.
    #[must_use]
    pub fn without(mut self, secrets: &[&str]) -> Self {
        let told = (200..300).contains(&self.status) && !self.tells_of_an_error();
        let take_out = if told { take_out_whole } else { take_out };
        if let Some(body) = std::str::from_utf8(&self.body).ok().and_then(|body| take_out(body, secrets)) {
            self.body = body.into_bytes();
        }
        self
    }

    /// Whether the body has a field that only an error has, or is none that can be read.
    fn tells_of_an_error(&self) -> bool {
        let body: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let fields = body.as_ref().and_then(serde_json::Value::as_object);
        let of_error =
            |name: &String| ["Code", "ErrorCode", "Error", "Message"].iter().any(|e| name.eq_ignore_ascii_case(e));
        fields.is_none_or(|fields| fields.keys().any(of_error))
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No connection: nothing was sent.
    NotSent(String),
    /// Sent, or perhaps sent.
    NoReply(String),
}

impl Trouble {
    /// What happened.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::NotSent(why) | Self::NoReply(why) => why,
        }
    }
}

/// Connections, with the proxies of the environment and without.
#[derive(Debug, Clone)]
pub struct Http {
    proxied: reqwest::Client,
    direct: reqwest::Client,
    /// Silence is bounded by the client; a reply that drips is bounded by this.
    whole: Duration,
}

impl Http {
    /// Sets up connections; makes none. Blocking: it reads the machine's certificates.
    ///
    /// # Errors
    /// [`TairError::Setup`].
    pub fn new(config: &TairConfig) -> Result<Self, TairError> {
        let setup = |e: &dyn std::fmt::Display| TairError::Setup(format!("TLS cannot be set up: {e}"));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::warn!("this machine has no certificate authorities, so nothing can be reached by https");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| setup(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Silence while connecting has to count as "not sent", so connecting gives up first.
        let connecting = config.connect_timeout.min(config.read_timeout / 2);
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(agent(&config.user_agent))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(connecting)
                .read_timeout(config.read_timeout)
        };
        Ok(Self {
            proxied: builder().build().map_err(|e| setup(&why(e)))?,
            direct: builder().no_proxy().build().map_err(|e| setup(&why(e)))?,
            whole: config.connect_timeout + config.read_timeout * 4,
        })
    }

    /// The connections for an address: those of this machine pass proxies by.
    pub(super) fn for_url(&self, url: &Url) -> &reqwest::Client {
        if is_this_machine(url) { &self.direct } else { &self.proxied }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// Whether it was sent, and what happened.
    pub async fn send(&self, request: Request) -> Result<Reply, Trouble> {
        let bad = |what: &str| Trouble::NotSent(format!("{what} cannot be sent"));
        let url = Url::parse(&request.url).map_err(|_| bad("the address"))?;
        let client = if request.direct { &self.direct } else { self.for_url(&url) };
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a header's name"))?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad("the value of a header"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let exchange = async {
            let sent = client.request(request.method, url).headers(headers).body(request.body).send().await;
            let mut response = sent.map_err(|e| {
                let connecting = e.is_connect() || e.is_builder();
                let why = why(e);
                if connecting { Trouble::NotSent(why) } else { Trouble::NoReply(why) }
            })?;
            let mut reply = Reply {
                status: response.status().as_u16(),
                retry_after: header(response.headers(), "x-acs-retry-after")
                    .and_then(|v| v.trim().parse().ok())
                    .filter(|ms| *ms > 0)
                    .map(Duration::from_millis),
                date: header(response.headers(), "date").and_then(http_date),
                body: Vec::new(),
            };
            while let Some(chunk) = response.chunk().await.map_err(|e| Trouble::NoReply(why(e)))? {
                if reply.body.len() + chunk.len() > MAX_BODY {
                    return Err(Trouble::NoReply("the reply has no end".to_owned()));
                }
                reply.body.extend_from_slice(&chunk);
            }
            Ok(reply)
        };
        let late = || Trouble::NoReply(format!("no whole reply within {} s", self.whole.as_secs()));
        tokio::time::timeout(self.whole, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The forms in which HTTP has a date, behind the day of the week: of today, of before, and of C. It is always of UTC.
const DATES: [&str; 3] = ["%d %b %Y %H:%M:%S", "%d-%b-%y %H:%M:%S", "%b %d %H:%M:%S %Y"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`, and the older forms that a reader has to know; nothing for anything else.
fn http_date(text: &str) -> Option<Timestamp> {
    let (_, date) = text.trim().split_once([',', ' '])?;
    let date = date.trim().trim_end_matches("GMT").trim_end_matches("UTC").trim_end_matches("+0000").trim_end();
    let read = |form| jiff::civil::DateTime::strptime(form, date).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    DATES.iter().find_map(read).map(|date| date.timestamp())
}

/// The innermost cause, without the address: it carries parameters.
pub(super) fn why(e: reqwest::Error) -> String {
    let e = e.without_url();
    let timed_out = e.is_timeout();
    let mut innermost = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        innermost = cause.to_string();
        source = cause.source();
    }
    let innermost = crate::model::text::clean(&innermost);
    if timed_out { "timed out".to_owned() } else { innermost }
}

/// Our product token, then what is configured, reduced to printable ASCII.
#[must_use]
pub fn agent(configured: &str) -> String {
    let whole = format!("{}/{} {configured}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    whole.chars().filter(|c| matches!(c, ' '..='~')).take(MAX_AGENT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form that HTTP servers give their date in.
    #[test]
    fn dates_of_servers_are_read() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            " Sun, 06 Nov 1994 08:49:37 UTC ",
        ] {
            assert_eq!(http_date(date).map(|date| date.as_second()), Some(784_111_777), "{date}");
        }
        for none in [
            "",
            "yesterday",
            "0",
            "Sun, 06 Nov 1994 08:49:37 +0800",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "784111777",
            "日期",
        ] {
            assert_eq!(http_date(none), None, "{none}");
        }
    }

    /// A user agent cannot break out of its header.
    #[test]
    fn the_agent_is_printable() {
        let name = concat!("tair-backup-mcp/", env!("CARGO_PKG_VERSION"));
        assert_eq!(agent(""), name);
        assert_eq!(agent("a/1\r\nX: y\u{202e}"), format!("{name} a/1X: y"));
        assert_eq!(agent(&"x".repeat(999)).len(), MAX_AGENT);
    }
}
