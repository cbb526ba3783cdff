//! Configuration: one TOML file, read once; an unknown key is refused, with the nearest known one named.
//!
//! Without a file there is one instance, `sandbox`, a server of our own. With a file, or with urls on the command line, there
//! is only what they name.

pub mod backup_log;
pub mod blocking;
pub mod durable;
pub mod home;
pub mod instance;
pub mod instance_url;
pub mod named_url;
pub mod nameless;
pub mod state_url;
pub mod tair;

use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean, shell_word, unknown_field};
use backup_log::BackupLogConfig;
use home::Home;
use instance::{InstanceConfig, RawInstance};
use named_url::NamedUrls;
use serde::{Deserialize, Serialize};
use state_url::StateUrl;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tair::{RawTair, TairConfig};

/// Id of the instance that exists without configuration.
pub const SANDBOX: &str = "sandbox";

/// Who has to say yes to a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationPolicy {
    /// A person, through a channel the model does not control.
    #[default]
    Person,
    /// Nobody: echoing the token is enough. An operator's choice, said in every reply.
    Token,
}

impl ConfirmationPolicy {
    /// The policy in replies, as written in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Token => "token",
        }
    }
}

/// `[guard]`: the operator's rules for acts that need a yes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Who has to say yes.
    pub confirmation: ConfirmationPolicy,
    /// Writes per second above which a restore is blocked; `None`: never.
    pub max_writes_per_second: Option<f64>,
    /// Minutes a confirmation token is good for.
    pub token_minutes: u32,
    /// Days that a safety backup is kept.
    pub safety_retention_days: u32,
    /// Seconds that a plan spends on what becomes of keys, at most; 0: none.
    pub impact_seconds: u32,
    /// Megabytes on this machine's disk that the tail of a restore takes at most.
    pub tail_megabytes: u32,
}

impl GuardConfig {
    /// Bytes that the tail of a restore takes at most.
    #[must_use]
    pub const fn tail_bytes(&self) -> u64 {
        (self.tail_megabytes as u64) << 20
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            confirmation: ConfirmationPolicy::Person,
            max_writes_per_second: None,
            token_minutes: 15,
            safety_retention_days: 7,
            impact_seconds: 20,
            tail_megabytes: 4096,
        }
    }
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    guard: GuardConfig,
    #[serde(default)]
    download_roots: Vec<PathBuf>,
    state: Option<String>,
    #[serde(default)]
    background: bool,
    #[serde(default = "clone_lifetime_hours")]
    clone_lifetime_hours: u32,
    #[serde(default)]
    server_programs: Vec<PathBuf>,
    metrics_file: Option<PathBuf>,
    #[serde(default)]
    backup_log: BackupLogConfig,
    tair: Option<RawTair>,
    #[serde(default)]
    instance: Vec<RawInstance>,
}

/// Hours that a clone lives where the file says nothing.
const fn clone_lifetime_hours() -> u32 {
    24
}

/// Most hours that a clone may live: thirty days.
const CLONE_LIFETIME_MAX: u32 = 720;

/// The whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// The directory under which this program keeps its files.
    pub home: Home,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The guard's rules.
    pub guard: GuardConfig,
    /// Directories under which downloads may be written, beside the home's own.
    pub download_roots: Vec<PathBuf>,
    /// The PostgreSQL that has the state; `None`: the state is under the home.
    pub state: Option<StateUrl>,
    /// Whether `serve` keeps logs too, and not `run` alone.
    pub background: bool,
    /// Hours that a clone lives.
    pub clone_lifetime_hours: u32,
    /// Server programs that clones may run, before those in PATH.
    pub server_programs: Vec<PathBuf>,
    /// Where figures are written for whoever watches; `None`: nowhere.
    pub metrics_file: Option<PathBuf>,
    /// This very program, by which each clone is watched to its end; `None` where what runs is something else, such as a test.
    pub own_program: Option<PathBuf>,
    /// How logs are kept.
    pub backup_log: BackupLogConfig,
    /// How Alibaba Cloud is reached; `None` where the file has no `[tair]`.
    pub tair: Option<TairConfig>,
    /// The instances of the file, and those given by their url alone.
    pub instances: Vec<InstanceConfig>,
    /// Whether the sandbox is one of the instances.
    pub sandbox: bool,
    /// Whether tools that change something are refused.
    pub read_only: bool,
}

impl Config {
    /// Ids of the instances that we reach ourselves.
    #[must_use]
    pub fn instance_ids(&self) -> Vec<String> {
        let named = self.instances.iter().map(|i| i.id.clone());
        named.chain(self.sandbox.then(|| SANDBOX.into())).collect()
    }

    /// What a person types at a terminal to run a subcommand on what this process works with: a home or a file that is not the
    /// one read anyway is named.
    #[must_use]
    pub fn command(&self, subcommand: &str) -> String {
        let mut command = String::from("tair-backup-mcp");
        let mut option = |name: &str, path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            command += &format!(" {name} {}", shell_word(&path.to_string_lossy()));
        };
        if Home::new(None).map_or(true, |usual| usual.dir() != self.home.dir()) {
            option("--home", self.home.dir());
        }
        if let Some(file) = &self.file
            && home::default_config_file().map_or(true, |usual| usual != *file)
        {
            option("--config", file);
        }
        format!("{command} {subcommand}")
    }

    /// Reads the file named, or the one in the XDG directory when it exists, or none.
    ///
    /// # Errors
    /// `config.missing`, `config.invalid`.
    pub fn load(home: Option<PathBuf>, file: Option<PathBuf>, read_only: bool) -> Result<Self, Fault> {
        Self::load_with_urls(home, file, &NamedUrls::default(), read_only)
    }

    /// [`Self::load`], with further instances given by their url alone: `[id=]redis://host:port`.
    ///
    /// # Errors
    /// `config.missing`, `config.invalid`, also where two have the same id.
    pub fn load_with_urls(
        home: Option<PathBuf>,
        file: Option<PathBuf>,
        named_urls: &NamedUrls,
        read_only: bool,
    ) -> Result<Self, Fault> {
        let NamedUrls { origin, urls } = named_urls;
        let home = Home::new(home)?;
        let named = file.is_some();
        let path = match file {
            Some(path) => Ok(path),
            None => home::default_config_file(),
        };
        let (path, text) = match path {
            // A user without a home directory has no file there.
            Err(_) if !urls.is_empty() => (PathBuf::new(), None),
            Err(fault) => return Err(fault),
            Ok(path) => {
                let text = read(&path, named)?;
                (path, text)
            }
        };
        let mut config = match text {
            Some(text) => Self::parse(home, path, &text, read_only)?,
            None => Self::empty(home, read_only),
        };
        for text in urls {
            let instance = named_url::instance(text, origin)?;
            if config.instances.iter().any(|i| i.id == instance.id) {
                let message = format!("{origin}: instance id \"{}\" is given twice", instance.id);
                return Err(Fault::new(Kind::Usage, "config.invalid", message)
                    .hint("Give each an id of its own: orders=redis://host:6379."));
            }
            config.sandbox = false;
            config.instances.push(instance);
        }
        Ok(config)
    }

    /// Nothing configured: the sandbox is the only instance.
    fn empty(home: Home, read_only: bool) -> Self {
        Self {
            home,
            file: None,
            guard: GuardConfig::default(),
            download_roots: Vec::new(),
            state: None,
            background: false,
            clone_lifetime_hours: clone_lifetime_hours(),
            server_programs: Vec::new(),
            metrics_file: None,
            own_program: None,
            backup_log: BackupLogConfig::default(),
            tair: None,
            instances: Vec::new(),
            sandbox: true,
            read_only,
        }
    }

    fn parse(home: Home, path: PathBuf, text: &str, read_only: bool) -> Result<Self, Fault> {
        let raw: File = toml::from_str(text).map_err(|e| invalid(&path, text, &e))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let mut instances: Vec<InstanceConfig> = Vec::new();
        for raw in raw.instance {
            let instance = raw.check(base).map_err(|why| refused(&path, &why))?;
            if instances.iter().any(|i| i.id == instance.id) {
                return Err(refused(&path, &format!("instance id \"{}\" is given twice", instance.id)));
            }
            instances.push(instance);
        }
        if raw.guard.max_writes_per_second.is_some_and(|most| !most.is_finite() || most < 0.0) {
            return Err(refused(&path, "guard.max_writes_per_second must be 0 or more"));
        }
        if !(1..=1440).contains(&raw.guard.token_minutes) {
            return Err(refused(&path, "guard.token_minutes must be between 1 and 1440"));
        }
        if !(1..=3650).contains(&raw.guard.safety_retention_days) {
            return Err(refused(&path, "guard.safety_retention_days must be between 1 and 3650"));
        }
        if !(1..=CLONE_LIFETIME_MAX).contains(&raw.clone_lifetime_hours) {
            let why = format!("clone_lifetime_hours must be between 1 and {CLONE_LIFETIME_MAX}");
            return Err(refused(&path, &why));
        }
        if raw.guard.impact_seconds > 3600 {
            return Err(refused(&path, "guard.impact_seconds must be between 0 and 3600"));
        }
        if !(1..=1 << 24).contains(&raw.guard.tail_megabytes) {
            return Err(refused(&path, "guard.tail_megabytes must be between 1 and 16777216"));
        }
        let backup_log = raw.backup_log.check().map_err(|why| refused(&path, &why))?;
        let tair = raw.tair.map(RawTair::check).transpose().map_err(|why| refused(&path, &why))?;
        let state = raw.state.as_deref().map(StateUrl::parse).transpose().map_err(|why| refused(&path, &why))?;
        let server_programs = raw.server_programs.into_iter().map(|program| base.join(program)).collect();
        let metrics_file = raw.metrics_file.map(|path| base.join(path));
        let download_roots = raw.download_roots.into_iter().map(|root| base.join(root)).collect();
        Ok(Self {
            home,
            file: Some(path),
            guard: raw.guard,
            download_roots,
            state,
            background: raw.background,
            clone_lifetime_hours: raw.clone_lifetime_hours,
            server_programs,
            metrics_file,
            own_program: None,
            backup_log,
            tair,
            instances,
            sandbox: false,
            read_only,
        })
    }
}

/// Longest configuration file, in bytes: a thousand instances have a fifth of it.
const FILE_MAX: u64 = 1 << 20;

/// The text of the configuration file; `None` where it is missing and nobody named it.
fn read(path: &Path, named: bool) -> Result<Option<String>, Fault> {
    // It may be a link or a pipe: operators hand files over so.
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(n) if n as u64 > FILE_MAX => Err(refused(path, &format!("the file has more than {FILE_MAX} bytes"))),
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => Ok(None),
        Err(e) => Err(Fault::new(Kind::Usage, "config.missing", format!("cannot read {}: {e}", path.display()))
            .hint("Name an existing file with --config, make one with `tair-backup-mcp init`, or leave --config out to work with the sandbox.")
            .because(e)),
    }
}

fn refused(path: &Path, why: &str) -> Fault {
    Fault::new(Kind::Usage, "config.invalid", format!("{}: {why}", path.display()))
        .hint("docs/configuration.md lists every key.")
}

/// The message of a TOML error without the value that it is about, which may be a password: of a value that is wrong only what was
/// expected is kept. Names of keys stay, and so do the words that a setting can have.
fn without_values(message: &str) -> String {
    for what in ["invalid type", "invalid value", "invalid length"] {
        if let Some(rest) = message.strip_prefix(what) {
            let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("{what}: expected {expected}");
        }
    }
    message.to_owned()
}

/// Turns a TOML error into one line, with the nearest right key for an unknown one.
fn invalid(path: &Path, text: &str, e: &toml::de::Error) -> Fault {
    let message = clean(&without_values(e.message()));
    let near = unknown_field(e.message()).and_then(|(_, near)| near);
    let line = e.span().map(|s| text.get(..s.start).map_or(1, |t| t.matches('\n').count() + 1));
    let at = line.map(|n| format!(" line {n}")).unwrap_or_default();
    let fault = Fault::new(Kind::Usage, "config.invalid", format!("{}{at}: {message}", path.display()));
    match near {
        Some(near) => fault.hint(format!("Did you mean `{near}`?")),
        None => fault.hint("docs/configuration.md lists every key."),
    }
}
