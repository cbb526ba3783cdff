//! An instance that is named by its url alone: `--url`, or `TAIR_BACKUP_MCP_URL`. For one instance no file is needed.
//!
//! Messages never quote a url, which may hold a password.

use crate::config::instance::{InstanceConfig, RawInstance};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use std::path::Path;

/// Redis's port, for a url that names none.
const DEFAULT_PORT: u16 = 6379;

/// The forms of a url, for messages.
pub const SHAPES: &str = "Write redis://host:6379, rediss://host:6379 (TLS) or unix:///path/to/socket, with an id of your \
choice before it where you like: orders=redis://host:6379.";

/// Splits the value of `TAIR_BACKUP_MCP_URL`: urls between blanks or commas. A comma in a password is written %2C.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The id, where one is given before the url, and the url.
fn parts(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        // A `=` behind the scheme belongs to a password.
        Some((id, url)) if !id.contains("://") => (Some(id.trim()), url.trim()),
        _ => (None, text.trim()),
    }
}

fn parsed(url: &str) -> Option<url::Url> {
    // A scheme that the URL standard does not know is read the same for all of ours.
    let (scheme, rest) = url.split_once("://")?;
    matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys")
        .then(|| url::Url::parse(&format!("redis://{rest}")).ok())?
}

/// Whether the url holds a password: on a command line, whoever may list this machine's processes can read it.
#[must_use]
pub fn has_password(text: &str) -> bool {
    parsed(parts(text).1).is_some_and(|url| url.password().is_some_and(|p| !p.is_empty()))
}

/// The id of an instance for which none was given: its host, with the port where that is not the usual one; of a socket
/// file, its name.
fn id_of(url: &str) -> Option<String> {
    if let Some((_, path)) = url.split_once("unix://") {
        return Path::new(path).file_stem().and_then(|name| name.to_str()).map(str::to_owned);
    }
    let parsed = parsed(url)?;
    let host: String = parsed.host_str()?.chars().map(|c| if c == ':' { '-' } else { c }).collect();
    let host = host.trim_matches(['[', ']', '-']);
    Some(match parsed.port() {
        Some(port) if port != DEFAULT_PORT => format!("{host}-{port}"),
        _ => host.to_owned(),
    })
}

/// The instance that a text names, checked.
///
/// # Errors
/// `config.invalid`.
pub fn instance(text: &str) -> Result<InstanceConfig, Fault> {
    let wrong = |why: &str| Fault::new(Kind::Usage, "config.invalid", format!("--url: {why}")).hint(SHAPES);
    let (id, url) = parts(text);
    if !url.contains("://") {
        return Err(wrong("this is not the url of a Redis or Valkey"));
    }
    let id = match id {
        Some(id) => id.to_owned(),
        None => id_of(url).ok_or_else(|| wrong("the url names no host"))?,
    };
    check_instance_id(&id).map_err(|fault| wrong(&fault.message))?;
    RawInstance::of_url(id, url.to_owned()).check(Path::new(".")).map_err(|why| wrong(&why))
}

#[cfg(test)]
mod tests {
    use super::{has_password, instance, split};

    /// An instance gets the id that was given, or one from its host; and nothing of a password gets into an id or a message.
    #[test]
    fn an_id_is_given_or_follows_from_the_host() {
        for (text, id) in [
            ("redis://127.0.0.1", "127.0.0.1"),
            ("redis://127.0.0.1:6379", "127.0.0.1"),
            ("redis://localhost:6380/0", "localhost-6380"),
            ("rediss://:pa=ss@cache.example.com", "cache.example.com"),
            ("redis://[::1]:7000", "1-7000"),
            ("unix:///run/redis/orders.sock", "orders"),
            ("orders=redis://10.0.0.1", "orders"),
            ("carts=rediss://user:a=b@h:1", "carts"),
        ] {
            assert_eq!(instance(text).unwrap().id, id, "{text}");
        }
        for text in
            ["", "localhost", "localhost:6379", "http://h:1", "a b=redis://h", "=redis://h", "redis://", "x=s3cret"]
        {
            let fault = instance(text).unwrap_err();
            assert_eq!(fault.code, "config.invalid", "{text}");
            assert!(!fault.message.contains("s3cret") && fault.hint.contains("redis://host"), "{text}: {fault}");
        }
    }

    #[test]
    fn passwords_are_noticed() {
        for text in ["redis://:p@h", "a=rediss://u:p@h:1", "valkey://u:p@h"] {
            assert!(has_password(text), "{text}");
        }
        for text in ["redis://h", "a=redis://h:1", "redis://:@h", "unix:///a:b@c"] {
            assert!(!has_password(text), "{text}");
        }
        assert_eq!(split(" a=redis://h:1,redis://i\n redis://j ,"), ["a=redis://h:1", "redis://i", "redis://j"]);
    }
}
