//! `[[instance]]`: one Redis or Valkey that we look after, as its operator wrote it down, checked.

use crate::config::announce::Announce;
use crate::config::emulate::Emulate;
use crate::config::instance_url::InstanceUrl;
use crate::config::vault::VaultPlace;
use crate::config::wrong::out_of_range;
use crate::model::calendar::{retention, usual, weekdays, window};
use crate::model::fault::Fault;
use crate::model::ids::check_instance_id;
use crate::model::policy::BackupPolicy;
use crate::model::secret::Secret;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How restores of an instance get their data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum RestoreWay {
    /// By replication where the target can follow this program, else by commands.
    #[default]
    Auto,
    /// Always by commands, because the target cannot connect to this program.
    Commands,
}

/// Long enough for a source that saves its data to its own disk before it sends a byte.
pub const NO_DATA_SECONDS: u64 = 1800;
/// A day.
const NO_DATA_SECONDS_MAX: u64 = 86_400;

/// Long enough for a server that frees data of many gigabytes.
pub const FREE_STALL_SECONDS: u64 = 60;
/// An hour: writes are refused for as long.
const FREE_STALL_SECONDS_MAX: u64 = 3600;

/// One `[[instance]]` as written in the file, unchecked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInstance {
    id: String,
    url: String,
    username: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    announce: Option<String>,
    #[serde(default)]
    restore_way: RestoreWay,
    backup_from: Option<String>,
    #[serde(default)]
    allow_plain_replication: bool,
    no_data_seconds: Option<u64>,
    enable_backup_log: Option<bool>,
    /// Read where `[tair]` is known, which says where a bucket is.
    pub copy_to: Option<String>,
    preferred_backup_time: Option<String>,
    preferred_backup_period: Option<Vec<String>>,
    backup_retention_period: Option<u32>,
    free_stall_seconds: Option<u64>,
    tls_ca_file: Option<PathBuf>,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    tls_server_name: Option<String>,
    #[serde(default)]
    tls_insecure: bool,
    #[serde(default)]
    emulate: Emulate,
}

/// Where the password comes from. A file or variable is read when a connection is made, so that a rotated password is picked
/// up.
#[derive(Debug, Clone)]
pub enum Password {
    /// None, or the one in the URL.
    None,
    /// Written in the configuration file.
    Given(Secret),
    /// The first line of a file of its own.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// TLS settings of an instance's connections.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our certificate, where the server wants one.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the key that belongs to `cert_file`.
    pub key_file: Option<PathBuf>,
    /// The name to expect in the server's certificate, where that is not the host's.
    pub server_name: Option<String>,
    /// Whether any certificate is accepted.
    pub insecure: bool,
}

impl Tls {
    fn is_set(&self) -> bool {
        self.insecure
            || self.server_name.is_some()
            || [&self.ca_file, &self.cert_file, &self.key_file].iter().any(|file| file.is_some())
    }
}

/// One instance of the configuration, checked.
#[derive(Debug, Clone)]
pub struct InstanceConfig {
    /// The instance's id, which tools name it by.
    pub id: String,
    /// The server's address: `redis://`, `rediss://` or `unix://`.
    pub url: String,
    /// ACL user; `None` for the default user or the one in the URL.
    pub username: Option<String>,
    /// Where the user's password comes from.
    pub password: Password,
    /// The address that the target is told to replicate from during a restore.
    pub announce: Option<Announce>,
    /// How restores get their data in.
    pub restore_way: RestoreWay,
    /// Whether an instance that is reached by TLS may be restored by replication, which is not encrypted.
    pub allow_plain_replication: bool,
    /// URL of a replica to capture from, so that the master need not fork.
    pub backup_from: Option<String>,
    /// How long a source may send signs of life and no data before its backup is given up.
    pub no_data: Duration,
    /// Whether every change is archived; `None` where the file does not say: then it is what the state store has.
    pub enable_backup_log: Option<bool>,
    /// When backups are taken by themselves and how long they are kept; `None` where the file does not say: then it is what the state store has.
    pub calendar: Option<BackupPolicy>,
    /// How long a restored target may free none of its old data before it is promoted with its memory limit out of force.
    pub free_stall: Duration,
    /// Where a copy of each set and of the log is put; `None`: where the copies of all are.
    pub copy_to: Option<VaultPlace>,
    /// TLS settings of the instance's connections.
    pub tls: Tls,
    /// How the emulator shows the instance.
    pub emulate: Emulate,
}

/// The calendar as written: with an hour every day is one of it and sets are kept for a week, unless that is said too.
fn calendar(time: Option<&str>, days: Option<&[String]>, kept: Option<u32>) -> Result<Option<BackupPolicy>, String> {
    let Some(time) = time else {
        return match (days, kept) {
            (None, None) => Ok(None),
            _ => Err("preferred_backup_period and backup_retention_period need an hour; write preferred_backup_time = \"02:00Z-03:00Z\"".to_owned()),
        };
    };
    let usual = usual();
    let write = |fault: Fault, line: &str| format!("{}; write {line}", fault.message);
    Ok(Some(BackupPolicy {
        preferred_backup_time: window(time)
            .map_err(|fault| write(fault, "preferred_backup_time = \"02:00Z-03:00Z\", a whole hour in UTC"))?,
        preferred_backup_period: match days {
            Some(days) => weekdays(days.iter().map(String::as_str)).map_err(|fault| {
                write(fault, "preferred_backup_period = [\"Monday\", \"Thursday\"], with the days that are meant")
            })?,
            None => usual.preferred_backup_period,
        },
        backup_retention_period: retention(kept.unwrap_or(usual.backup_retention_period))
            .map_err(|fault| write(fault, "backup_retention_period = 7, or up to 730 days"))?,
        ..BackupPolicy::none()
    }))
}

/// Whether a text can be the name of an environment variable.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a text can be the name of a file, and is not what the file is to hold.
fn is_file_name(path: &Path) -> bool {
    let text = path.to_string_lossy();
    !text.is_empty() && text.len() < 4096 && !text.contains(char::is_control) && !text.contains("-----BEGIN")
}

impl InstanceConfig {
    /// Whether the instance is reached by TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        InstanceUrl::parse(&self.url).is_ok_and(|url| url.tls)
    }
}

impl RawInstance {
    /// An instance of which only id and url are known.
    #[must_use]
    pub fn of_url(id: String, url: String) -> Self {
        Self { id, url, ..Self::default() }
    }

    /// Checks the values as written; relative file names are relative to `base`, the file's directory.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn check(self, base: &Path) -> Result<InstanceConfig, String> {
        if self.id.contains(['/', '@', ':']) {
            // A url in the wrong place, with the password in it.
            return Err("an instance's id is no address: 1 to 64 letters, digits, '.', '_' or '-'; write id = \"orders\" and the address as url".to_owned());
        }
        check_instance_id(&self.id).map_err(|fault| {
            format!("id: {}; write 1 to 64 letters, digits, '.', '_' or '-', such as id = \"orders\"", fault.message)
        })?;
        let wrong = |why: &str| format!("instance \"{}\": {why}", self.id);
        let files = [("password_file", &self.password_file), ("tls_key_file", &self.tls_key_file)];
        if let Some((key, _)) = files.iter().find(|(_, file)| file.as_deref().is_some_and(|file| !is_file_name(file))) {
            let why = format!(
                "{key} is the name of a file, not what is in it; write {key} = \"/etc/tair-backup-mcp/{}\"",
                self.id
            );
            return Err(wrong(&why));
        }
        if self.password_env.as_deref().is_some_and(|name| !is_variable(name)) {
            // Most likely the password itself, which no message may hold.
            return Err(wrong(
                "password_env is the name of an environment variable, in letters, digits and _; the password is its value; write \
                 password_env = \"REDIS_PASSWORD\"",
            ));
        }
        let password = match (self.password, self.password_file, self.password_env) {
            (None, None, None) => Password::None,
            (Some(p), None, None) => Password::Given(Secret::new(p)),
            (None, Some(f), None) => Password::File(base.join(f)),
            (None, None, Some(e)) => Password::Env(e),
            _ => {
                let why =
                    "give one of password, password_file, password_env; write password_env = \"REDIS_PASSWORD\" alone";
                return Err(wrong(why));
            }
        };
        let no_data = self.no_data_seconds.unwrap_or(NO_DATA_SECONDS);
        if !(1..=NO_DATA_SECONDS_MAX).contains(&no_data) {
            let range = (1, NO_DATA_SECONDS_MAX);
            return Err(wrong(&out_of_range("", "no_data_seconds", no_data, range, NO_DATA_SECONDS)));
        }
        let free_stall = self.free_stall_seconds.unwrap_or(FREE_STALL_SECONDS);
        if free_stall > FREE_STALL_SECONDS_MAX {
            let range = (0, FREE_STALL_SECONDS_MAX);
            return Err(wrong(&out_of_range("", "free_stall_seconds", free_stall, range, FREE_STALL_SECONDS)));
        }
        let mut by_tls = false;
        for (key, url) in [("url", Some(&self.url)), ("backup_from", self.backup_from.as_ref())] {
            let Some(url) = url else { continue };
            let read = InstanceUrl::parse(url).map_err(|why| {
                wrong(&format!(
                    "{key}: {why}; write {key} = \"redis://host:6379\", \"rediss://host:6379\" (TLS) or \"unix:///path/to/socket\""
                ))
            })?;
            by_tls |= read.tls;
        }
        let calendar = calendar(
            self.preferred_backup_time.as_deref(),
            self.preferred_backup_period.as_deref(),
            self.backup_retention_period,
        )
        .map_err(|why| wrong(&why))?;
        let announce = self.announce.as_deref().map(|text| {
            Announce::parse(text).ok_or_else(|| {
                wrong(
                    "announce is host, host:port or [ipv6]:port, under which the target reaches us; write announce = \"10.0.0.9:7400\"",
                )
            })
        });
        let tls = Tls {
            ca_file: self.tls_ca_file.map(|f| base.join(f)),
            cert_file: self.tls_cert_file.map(|f| base.join(f)),
            key_file: self.tls_key_file.map(|f| base.join(f)),
            server_name: self.tls_server_name,
            insecure: self.tls_insecure,
        };
        // Without TLS they would do nothing, and the password would go out in clear.
        if tls.is_set() && !by_tls {
            return Err(wrong("tls_… needs a url with TLS; write url = \"rediss://host:6379\", or take tls_… out"));
        }
        Ok(InstanceConfig {
            announce: announce.transpose()?,
            tls,
            id: self.id,
            url: self.url,
            username: self.username,
            password,
            restore_way: self.restore_way,
            allow_plain_replication: self.allow_plain_replication,
            backup_from: self.backup_from,
            no_data: Duration::from_secs(no_data),
            enable_backup_log: self.enable_backup_log,
            calendar,
            free_stall: Duration::from_secs(free_stall),
            copy_to: None,
            emulate: self.emulate,
        })
    }
}
