//! An instance that is named by its url alone: `--url`, or `TAIR_BACKUP_MCP_URL`. For one instance no file is needed.
//!
//! Messages never quote a url, which may hold a password.

use crate::config::instance::{InstanceConfig, RawInstance};
use crate::config::instance_url::{Address, DEFAULT_PORT, InstanceUrl, has_userinfo};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use crate::model::text::quoted;
use std::path::Path;

/// Where a url on the command line stands.
pub const URL_OPTION: &str = "--url";
/// Instances named by their urls, in the environment: there a password is read by nobody else.
pub const URL_VARIABLE: &str = "TAIR_BACKUP_MCP_URL";

/// Urls, and where they stood.
#[derive(Debug, Clone)]
pub struct NamedUrls {
    /// [`URL_OPTION`] or [`URL_VARIABLE`]: what messages about the urls begin with.
    pub origin: &'static str,
    /// The urls, each with an id before it where one was given.
    pub urls: Vec<String>,
}

impl Default for NamedUrls {
    fn default() -> Self {
        Self { origin: URL_OPTION, urls: Vec::new() }
    }
}

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

/// Whether the url holds a password, or what may be one: whoever may list the processes of this machine can read it on a
/// command line.
#[must_use]
pub fn has_password(text: &str) -> bool {
    has_userinfo(parts(text).1)
}

/// The id that is given before the url, where one is.
#[must_use]
pub fn given_id(text: &str) -> Option<&str> {
    parts(text).0
}

/// The id of an instance for which none was given: its host, with the port where that is not the usual one; of a socket
/// file, its name.
fn id_of(url: &InstanceUrl) -> Option<String> {
    let id = match &url.address {
        Address::Unix(path) => path.file_stem()?.to_str()?.to_owned(),
        Address::Tcp { host, port } => {
            let host = host.replace(':', "-");
            let host = host.trim_matches('-');
            if *port == DEFAULT_PORT { host.to_owned() } else { format!("{host}-{port}") }
        }
    };
    check_instance_id(&id).is_ok().then_some(id)
}

/// The instance that a text names, checked; `origin` is where the text stood, and what a message begins with.
///
/// # Errors
/// `config.invalid`.
pub fn instance(text: &str, origin: &str) -> Result<InstanceConfig, Fault> {
    let wrong = |why: &str| Fault::new(Kind::Usage, "config.invalid", format!("{origin}: {why}")).hint(SHAPES);
    let (id, url) = parts(text);
    if !url.contains("://") {
        return Err(wrong("this is not the url of a Redis or Valkey"));
    }
    let read = InstanceUrl::parse(url).map_err(wrong)?;
    let id = match id {
        Some(id) => {
            // A url whose :// was mistyped is read as an id, with the password in it.
            let shown = if id.contains(['/', '@', ':']) { "what stands before the =".to_owned() } else { quoted(id) };
            check_instance_id(id).map_err(|_| wrong(&format!("{shown} is not an instance id")))?;
            id.to_owned()
        }
        None => id_of(&read).ok_or_else(|| wrong("no id follows from the url: give one before it"))?,
    };
    RawInstance::of_url(id, url.to_owned()).check(Path::new(".")).map_err(|why| wrong(&why))
}

#[cfg(test)]
mod tests {
    use super::{URL_OPTION, URL_VARIABLE, has_password, instance, split};

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
            assert_eq!(instance(text, URL_OPTION).unwrap().id, id, "{text}");
        }
        for text in [
            "",
            "localhost",
            "localhost:6379",
            "http://h:1",
            "a b=redis://h",
            "=redis://h",
            "redis://",
            "x=s3cret",
            "redis:/:s3cret@h=redis://h",
            "unix:///x.sock?password=s3cret",
            "unix:///run/.s3cret",
            "redis://s3cret@h",
            "redis://:s3/cret@h",
        ] {
            let fault = instance(text, URL_OPTION).unwrap_err();
            assert_eq!(fault.code, "config.invalid", "{text}");
            assert!(
                !fault.message.contains("s3cret")
                    && fault.message.starts_with("--url: ")
                    && fault.hint.contains("redis://host"),
                "{text}: {fault}"
            );
        }
    }

    #[test]
    fn a_message_says_where_the_text_stood() {
        let fault = instance("redis://h:99999", URL_VARIABLE).unwrap_err();
        assert!(fault.message.starts_with("TAIR_BACKUP_MCP_URL: bad port"), "{fault}");
    }

    #[test]
    fn passwords_are_noticed() {
        for text in ["redis://:p@h", "a=rediss://u:p@h:1", "valkey://u:p@h", "redis://p@h", "a=unix://:p@/x"] {
            assert!(has_password(text), "{text}");
        }
        for text in ["redis://h", "a=redis://h:1", "redis://:@h", "unix:///a:b@c"] {
            assert!(!has_password(text), "{text}");
        }
        assert_eq!(split(" a=redis://h:1,redis://i\n redis://j ,"), ["a=redis://h:1", "redis://i", "redis://j"]);
    }
}
