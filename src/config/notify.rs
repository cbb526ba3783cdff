//! `[notify]`: who is told when a backup, a restore or a drill fails, or when nothing succeeds any more; checked when the file is read.
//!
//! An address may be a key to whoever is told, and so may an argument: nothing here quotes one, or more of it than the host.

use crate::config::tair::is_this_machine;
use crate::config::wrong::out_of_range;
use crate::model::secret::Secret;
use jiff::SignedDuration;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use url::Url;

/// The names of the ways by which somebody is told.
pub const WEBHOOK: &str = "webhook";
/// A program that is run.
pub const COMMAND: &str = "command";
/// A monitor, which hears of successes too.
pub const PING: &str = "ping";

/// Longest address, in bytes.
const URL_MAX: usize = 2048;
/// Most words of a command, and longest word, in bytes.
const WORDS_MAX: usize = 64;
const WORD_MAX: usize = 4096;
/// Time of grace where nobody has chosen another.
pub const USUAL_GRACE: SignedDuration = SignedDuration::from_mins(60);
/// Most minutes of grace: behind them the next window of a day must not have come.
const GRACE_MAX: u32 = 720;

/// `[notify]` as written in the file, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNotify {
    webhook_url: Option<String>,
    command: Option<Vec<String>>,
    ping_url: Option<String>,
    allow_http: bool,
    grace_minutes: u32,
}

impl Default for RawNotify {
    fn default() -> Self {
        Self { webhook_url: None, command: None, ping_url: None, allow_http: false, grace_minutes: 60 }
    }
}

impl std::fmt::Debug for RawNotify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// An address of which only the host is shown.
#[derive(Debug, Clone)]
pub struct Place {
    /// The address as written.
    pub url: Secret,
    /// Host, and port where one is written.
    pub host: String,
}

/// A program, and what it is given.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program: a path, or a name that is looked for in PATH.
    pub path: PathBuf,
    /// Its arguments, one by one: no shell reads them.
    pub arguments: Vec<Secret>,
}

/// `[notify]`, checked.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// Gets each event, as JSON, by POST.
    pub webhook: Option<Place>,
    /// Is run for each event.
    pub command: Option<Program>,
    /// Hears of each success, and of what fails at the address behind it that [`Place::failing`] gives: it is to notice when nobody comes.
    pub ping: Option<Place>,
    /// Time from when a backup was due until it is said to be missing.
    pub grace: SignedDuration,
}

impl Place {
    fn parse(key: &str, text: &str, allow_http: bool) -> Result<Self, String> {
        let wrong = |why: &str| format!("notify.{key}: {why}; write {key} = \"https://host/path\"");
        let text = text.trim();
        if text.len() > URL_MAX {
            return Err(wrong(&format!("this is longer than {URL_MAX} bytes")));
        }
        // The parser's own reason may quote what it could not read.
        let url = Url::parse(text).map_err(|_| wrong("this is no url"))?;
        match url.scheme() {
            "https" => {}
            "http" if allow_http || is_this_machine(&url) => {}
            "http" => {
                return Err(wrong(
                    "this is not encrypted, and the url may be a key (set notify.allow_http = true to use it all the same)",
                ));
            }
            _ => return Err(wrong("the scheme must be https")),
        }
        if url.fragment().is_some() {
            return Err(wrong("nothing can stand behind #"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { url: Secret::new(text), host })
    }

    /// The address by which a failure is told: `/fail` behind the path.
    #[must_use]
    pub fn failing(&self) -> Secret {
        let Ok(mut url) = Url::parse(self.url.expose()) else { return self.url.clone() };
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("fail");
        }
        Secret::new(url)
    }
}

impl Program {
    fn check(words: Vec<String>, base: &Path) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "notify.command: {why}; write the program and each argument by itself: command = [\"/usr/local/bin/tell\", \"on-call\"]"
            )
        };
        if words.len() > WORDS_MAX || words.iter().any(|word| word.len() > WORD_MAX) {
            return Err(wrong(&format!("at most {WORDS_MAX} words of {WORD_MAX} bytes can be given")));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(wrong("no word can have a NUL"));
        }
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.trim().is_empty()).ok_or_else(|| wrong("it is empty"))?;
        if program.contains(char::is_whitespace) && words.len() == 0 {
            // No shell takes it apart.
            return Err(wrong("this is a whole line"));
        }
        let path = if program.contains('/') { base.join(program) } else { program.into() };
        Ok(Self { path, arguments: words.map(Secret::new).collect() })
    }

    /// The program's own name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl NotifyConfig {
    /// The ways by which somebody is told: the name of each, and where it leads.
    #[must_use]
    pub fn ways(&self) -> Vec<(&'static str, String)> {
        let host = |place: &Place| place.host.clone();
        let webhook = self.webhook.as_ref().map(|to| (WEBHOOK, host(to)));
        let command = self.command.as_ref().map(|program| (COMMAND, program.name()));
        let ping = self.ping.as_ref().map(|to| (PING, host(to)));
        webhook.into_iter().chain(command).chain(ping).collect()
    }
}

impl RawNotify {
    /// Checks the values as written; a relative program is relative to `base`, the file's directory.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn check(self, base: &Path) -> Result<NotifyConfig, String> {
        let allow_http = self.allow_http;
        let place = |key: &str, text: Option<String>| text.map(|text| Place::parse(key, &text, allow_http)).transpose();
        let (webhook, ping) = (place("webhook_url", self.webhook_url)?, place("ping_url", self.ping_url)?);
        let command = self.command.map(|words| Program::check(words, base)).transpose()?;
        if webhook.is_none() && ping.is_none() && command.is_none() {
            let why = "notify: it names nobody; write webhook_url = \"https://host/path\" (or command, or ping_url), or leave [notify] out";
            return Err(why.to_owned());
        }
        if self.grace_minutes > GRACE_MAX {
            let usual = Self::default().grace_minutes;
            return Err(out_of_range("notify.", "grace_minutes", self.grace_minutes, (0, GRACE_MAX), usual));
        }
        Ok(NotifyConfig { webhook, command, ping, grace: SignedDuration::from_mins(i64::from(self.grace_minutes)) })
    }
}

#[cfg(test)]
mod tests {
    //! What is wrong is said with what would be right, and without what may be a key.
    use super::*;

    fn read(text: &str) -> Result<NotifyConfig, String> {
        toml::from_str::<RawNotify>(text).unwrap().check(Path::new("/etc/it"))
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_of_the_url() {
        for (text, told) in [
            ("", "names nobody"),
            ("grace_minutes = 5", "names nobody"),
            ("webhook_url = \"hooks.example.com/s3cret\"", "this is no url; write webhook_url = \"https://host/path\""),
            ("webhook_url = \"http://hooks.example.com/s3cret\"", "notify.allow_http = true"),
            ("webhook_url = \"ftp://hooks.example.com/s3cret\"", "the scheme must be https"),
            ("ping_url = \"https://hc.example.com/s3cret#s3cret\"", "notify.ping_url: nothing can stand behind #"),
            ("command = []", "notify.command: it is empty"),
            ("command = [\" \", \"s3cret\"]", "it is empty"),
            ("command = [\"mail -s s3cret\"]", "this is a whole line"),
            ("command = [\"tell\", \"s3cret\\u0000\"]", "NUL"),
            ("command = [\"tell\"]\ngrace_minutes = 721", "between 0 and 720"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(told) && !why.contains("s3cret"), "{text}: {why}");
        }
        let long = format!("webhook_url = \"https://h/{}\"", "s3cret".repeat(500));
        assert!(read(&long).unwrap_err().contains("2048"));
    }

    #[test]
    fn what_is_right_is_kept_and_not_shown() {
        let text = "webhook_url = \"https://hooks.example.com:8443/s3cret\"\nping_url = \"http://127.0.0.1/s3cret/?a=s3cret\"\n\
            command = [\"bin/tell\", \"s3cret\"]";
        let read = read(text).unwrap();
        assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
        let (webhook, command) = (read.webhook.as_ref().unwrap(), read.command.as_ref().unwrap());
        assert_eq!((webhook.host.as_str(), command.name().as_str()), ("hooks.example.com:8443", "tell"));
        assert_eq!((command.path.as_path(), command.arguments.len()), (Path::new("/etc/it/bin/tell"), 1));
        assert_eq!(read.ping.unwrap().failing().expose(), "http://127.0.0.1/s3cret/fail?a=s3cret");
        assert_eq!(webhook.failing().expose(), "https://hooks.example.com:8443/s3cret/fail");
    }
}
