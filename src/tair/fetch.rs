//! Fetching a backup set's file from where its signed URL points: one range at a time. Repeats nothing by itself.
//!
//! The URL is a secret: it is in no error and no log line. What arrives is not checked here but for its place.

use crate::config::tair::{Place, is_this_machine, place_of, place_of_ip};
use crate::tair::client::Client;
use crate::tair::wire::DownloadUrl;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE};
use url::Url;

/// Why a file did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is no longer good: list the set again for a new one.
    #[error("the download URL has expired")]
    Expired,
    /// There is no such file any more.
    #[error("the file is no longer there")]
    Gone,
    /// The range begins behind the end of the file.
    #[error("the file ends before byte {0}")]
    BehindEnd(u64),
    /// The connection failed; what came before is good.
    #[error("{0}")]
    Broken(String),
    /// Something else than a file.
    #[error("{0}")]
    Refused(String),
}

/// A file that is arriving.
#[derive(Debug)]
pub struct Arriving {
    /// The byte that the first piece begins with: the one asked for, or 0 where the server knows no ranges.
    pub from: u64,
    /// Bytes of the whole file.
    pub total: u64,
    response: reqwest::Response,
    left: u64,
}

/// Where the file really is: encrypted, unless the endpoint itself is not.
fn safe(url: &DownloadUrl, endpoint: &Url) -> Result<Url, FetchError> {
    let mut parsed = Url::parse(url.expose()).map_err(|_| FetchError::Refused("the download URL is no URL".into()))?;
    // Some listings have plain http where the storage speaks https as well; its signature covers no scheme.
    if parsed.scheme() == "http" && !is_this_machine(&parsed) && endpoint.scheme() != "http" {
        parsed.set_scheme("https").map_err(|()| FetchError::Refused("the download URL is not encrypted".into()))?;
    }
    Ok(parsed)
}

/// All places that an address leads to: by itself, and by what this machine's resolver makes of its name. A name that only a proxy knows is
/// the proxy's.
async fn places_of(url: &Url) -> Vec<Place> {
    let mut places = vec![place_of(url)];
    if let (Some(host), Some(port)) = (url.domain(), url.port_or_known_default())
        && let Ok(found) = tokio::net::lookup_host((host, port)).await
    {
        places.extend(found.map(|address| place_of_ip(address.ip())));
    }
    places
}

/// Whether a file is in a place that only this machine or its network reaches, and the endpoint is not: a list is not to say what is asked
/// of the neighbours. A place is where an address leads by itself, then where its name leads. `in_vpc`: a name of storage within the region
/// leads into the cloud's own network.
fn is_elsewhere(file: &[Place], endpoint: &[Place], in_vpc: bool) -> bool {
    let (Some((itself, by_name)), Some((endpoint_itself, _))) = (file.split_first(), endpoint.split_first()) else {
        return true;
    };
    let allowed = |place: &Place| match place {
        Place::Internet => true,
        Place::Private => in_vpc || endpoint.contains(place),
        Place::Machine => endpoint.contains(place),
    };
    // An address that is written out, or a private name, is where the endpoint itself is by its own name.
    let itself = *itself == Place::Internet || itself == endpoint_itself;
    !itself || !by_name.iter().all(allowed)
}

fn number(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 5-9/10` → (5, 10).
fn range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (span, total) = text.split_once('/')?;
    let from = span.split_once('-').map(|(from, _)| from)?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// Asks for a file from a byte on.
///
/// # Errors
/// See [`FetchError`].
pub async fn open(client: &Client, url: &DownloadUrl, from: u64) -> Result<Arriving, FetchError> {
    let url = safe(url, client.endpoint())?;
    if is_elsewhere(&places_of(&url).await, &places_of(client.endpoint()).await, client.is_in_vpc()) {
        let why = "the download URL leads to this machine or a private network, where the endpoint is not";
        return Err(FetchError::Refused(why.into()));
    }
    let response = client
        .http()
        .for_url(&url)
        .get(url)
        .header(RANGE, format!("bytes={from}-"))
        .send()
        .await
        .map_err(|e| FetchError::Broken(crate::tair::http::why(e)))?;
    let headers = response.headers();
    let (from, total) = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            range(headers).ok_or_else(|| FetchError::Refused("the storage does not say which range it sends".into()))?
        }
        StatusCode::OK => (
            0,
            number(headers, CONTENT_LENGTH)
                .ok_or_else(|| FetchError::Refused("the storage does not say how long the file is".into()))?,
        ),
        // Object storage answers so to a signature that is too old, and to no other request of ours.
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => return Err(FetchError::Expired),
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::Gone),
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(FetchError::BehindEnd(from)),
        status if status.is_server_error() => {
            return Err(FetchError::Broken(format!("the storage answered HTTP {}", status.as_u16())));
        }
        status => return Err(FetchError::Refused(format!("the storage answered HTTP {}", status.as_u16()))),
    };
    let left = total.saturating_sub(from);
    Ok(Arriving { from, total, response, left })
}

impl Arriving {
    /// The next piece; nothing at the end of the file.
    ///
    /// # Errors
    /// [`FetchError::Broken`], also where the connection ended early.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        let piece = self.response.chunk().await.map_err(|e| FetchError::Broken(crate::tair::http::why(e)))?;
        match piece {
            Some(piece) => {
                let n = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.left = self
                    .left
                    .checked_sub(n)
                    .ok_or_else(|| FetchError::Refused("the storage sends more than it said".into()))?;
                Ok(Some(piece.into()))
            }
            None if self.left > 0 => Err(FetchError::Broken(format!("the connection ended {} bytes early", self.left))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    //! A file may be where the endpoint is, and on the internet; all of the addresses that its name has count.
    use super::{Place, is_elsewhere};

    #[test]
    fn a_file_is_where_the_endpoint_is() {
        use Place::{Internet, Machine, Private};
        let (outside, within, here) = ([Internet, Internet], [Internet, Private], [Machine]);
        for (file, allowed) in [
            (&outside[..], [true, true, true]),
            // A name of the internet that leads to a private address: storage within the region, where the endpoint is too.
            (&within[..], [false, true, false]),
            (&[Internet, Internet, Private][..], [false, true, false]),
            (&here[..], [false, false, true]),
            (&[Internet, Machine][..], [false, false, true]),
            (&[Private, Machine][..], [false, false, false]),
            // A private address that is written out is nowhere that a list may lead.
            (&[Private][..], [false, false, false]),
        ] {
            let told = [&outside[..], &within, &here].map(|endpoint| !is_elsewhere(file, endpoint, false));
            assert_eq!(told, allowed, "{file:?}");
        }
        for (file, allowed) in [(&within[..], true), (&[Private][..], false), (&here[..], false)] {
            assert_eq!(!is_elsewhere(file, &outside, true), allowed, "{file:?} in a VPC");
        }
    }
}
