//! `state`: the url of the PostgreSQL that has the state, checked when the file is read. Nothing here quotes a url, or a part of one that
//! may be a password: reasons say what is wrong and what would be right.

use crate::model::secret::Secret;
use std::net::IpAddr;
use url::Url;

/// The schemes that are read.
const SCHEMES: [&str; 2] = ["postgres", "postgresql"];
/// The port of a url that names none.
const DEFAULT_PORT: u16 = 5432;
/// What may stand behind `?`.
const PARAMETERS: [&str; 6] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "statement-cache-capacity"];
/// Beginnings of further names that may: settings of the session, such as `options[search_path]`.
const SETTING: &str = "options[";
/// What `sslmode` can be.
const MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Where the state is, if it is not under the home.
#[derive(Debug, Clone)]
pub struct StateUrl {
    /// The url as written, with the password that may be in it.
    pub url: Secret,
    /// Host and port, for messages.
    pub place: String,
    /// Whether the server's certificate has to be verified, because it is another machine's and the url says nothing else.
    pub verified: bool,
}

impl StateUrl {
    /// Checks a url.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("state: {why}; write state = \"postgres://user@host:5432/database\"");
        // What is quoted by the parser's own reason may be a password.
        let url = Url::parse(text).map_err(|_| wrong("this is no url (write / in a password as %2F, # as %23)"))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(wrong("the scheme must be postgres"));
        }
        if url.fragment().is_some() || url.path().contains('@') {
            return Err(wrong("in a password, write / as %2F, # as %23 and ? as %3F"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        if url.path().trim_start_matches('/').is_empty() {
            return Err(wrong("the database's name is missing"));
        }
        let mut mode = false;
        for (name, value) in url.query_pairs() {
            if !PARAMETERS.contains(&name.as_ref()) && !name.starts_with(SETTING) {
                return Err(wrong(&format!("behind ? may stand {} and options[…]", PARAMETERS.join(", "))));
            }
            if name == "sslmode" {
                mode = true;
                if !MODES.contains(&value.as_ref()) {
                    return Err(wrong(&format!("sslmode is one of {}", MODES.join(", "))));
                }
            }
            if name == "statement-cache-capacity" && value.parse::<u16>().is_err() {
                return Err(wrong("statement-cache-capacity is a number"));
            }
        }
        let place = format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT));
        Ok(Self { verified: !mode && !is_here(host), url: Secret::new(text), place })
    }
}

/// Whether a host is this machine: by its loopback address, or by a socket, whose folder is written with %2F.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || is_socket(host) || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a host, or a place, is a socket of this machine.
#[must_use]
pub fn is_socket(host: &str) -> bool {
    host.starts_with("%2F") || host.starts_with("%2f")
}

#[cfg(test)]
mod tests {
    use super::StateUrl;

    /// Each mistake has a reason of its own, and no reason quotes what may be a password.
    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("state.db", "no url"),
            ("mysql://u:s3cret@h/d", "scheme"),
            ("postgres:///d", "host is missing"),
            ("postgres://u:s3cret@h", "name is missing"),
            ("postgres://u:s3cret@h/", "name is missing"),
            ("postgres://u:s3/cret@h/d", "no url"),
            ("postgres://u:5/s3cret@h/d", "%2F"),
            ("postgres://u:s3#cret@h/d", "no url"),
            ("postgres://u:5#s3cret@h/d", "%23"),
            ("postgres://u@h/d?password=s3cret", "behind ?"),
            ("postgres://u@h/d?sslmode=s3cret", "sslmode is one of"),
            // With what connects it is plain text, and nothing that is looked up first.
            ("postgres://u@h/d?sslmode=allow", "sslmode is one of"),
            ("postgres://u@h/d?statement-cache-capacity=s3cret", "is a number"),
        ] {
            let reason = StateUrl::parse(text).unwrap_err();
            assert!(reason.contains(why) && !reason.contains("s3"), "{text}: {reason}");
        }
    }

    /// On the way to another machine a certificate is verified unless the url says otherwise.
    #[test]
    fn places_are_told_from_each_other() {
        for (text, place, verified) in [
            ("postgres://u:p@db.internal/d", "db.internal:5432", true),
            ("postgresql://u@10.0.0.5:5433/d?application_name=a", "10.0.0.5:5433", true),
            ("postgres://u@db.internal/d?sslmode=disable&options[search_path]=tair", "db.internal:5432", false),
            ("postgres://u@localhost/d", "localhost:5432", false),
            ("postgres://u@[::1]:5433/d", "[::1]:5433", false),
            ("postgres://u@127.0.0.1/d", "127.0.0.1:5432", false),
            ("postgres://u@%2Frun%2Fdb/d", "%2Frun%2Fdb:5432", false),
        ] {
            let read = StateUrl::parse(text).unwrap();
            assert_eq!((read.place.as_str(), read.verified), (place, verified), "{text}");
            assert!(!format!("{read:?}").contains("postgres"), "{read:?}");
        }
    }
}
