//! Configuration: one TOML file, read once; an unknown key is refused, with the nearest known one named.
//!
//! Without a file there is one instance, `sandbox`, a server of our own. With a file, or with urls on the command line, there
//! is only what they name.

pub mod advice;
pub mod announce;
pub mod backup_log;
pub mod blocking;
pub mod command;
pub mod denied;
pub mod durable;
pub mod emulate;
pub mod encryption;
pub mod guard;
pub mod home;
pub mod instance;
pub mod instance_url;
pub mod kept_up;
pub mod named_url;
pub mod nameless;
pub mod notify;
pub mod public_key;
pub mod state_url;
pub mod tair;
pub mod vault;
mod wrong;

use crate::model::fault::{Fault, Kind};
use backup_log::BackupLogConfig;
use denied::Denied;
use encryption::{Encryption, RawEncryption};
use guard::GuardConfig;
use home::Home;
use instance::{InstanceConfig, RawInstance};
use named_url::NamedUrls;
use notify::{NotifyConfig, RawNotify};
use public_key::PublicKey;
use serde::Deserialize;
use state_url::StateUrl;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tair::{RawTair, TairConfig};
use vault::{CloudDefaults, VaultPlace};
use wrong::{invalid, out_of_range, refused};

/// Id of the instance that exists without configuration.
pub const SANDBOX: &str = "sandbox";

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
    vault: Option<String>,
    #[serde(default)]
    trusted_keys: Vec<String>,
    copy_to: Option<String>,
    encryption: Option<RawEncryption>,
    metrics_file: Option<PathBuf>,
    notify: Option<RawNotify>,
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
    /// The keys of the file whose values are secrets that stand there, and of which instance each is.
    pub inline_secrets: Vec<String>,
    /// Whether the file has nothing but blanks and comments.
    pub is_blank: bool,
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
    /// Who is told of what fails; `None`: nobody.
    pub notify: Option<NotifyConfig>,
    /// This very program, by which each clone is watched to its end; `None` where what runs is something else, such as a test.
    pub own_program: Option<PathBuf>,
    /// Where backup sets and logs lie.
    pub vault: VaultPlace,
    /// Keys whose signatures of sets are believed, beside the home's own.
    pub trusted_keys: Vec<PublicKey>,
    /// Where a copy of each set is put, but of the instances that name a place of their own; `None`: nowhere.
    pub copy_to: Option<VaultPlace>,
    /// How what lies there is encrypted; `None`: not.
    pub encryption: Option<Encryption>,
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

    /// Where copies of an instance's sets and of its log are put; `None`: nowhere.
    #[must_use]
    pub fn second_place(&self, instance_id: &str) -> Option<&VaultPlace> {
        let instance = self.instances.iter().find(|instance| instance.id == instance_id)?;
        instance.copy_to.as_ref().or(self.copy_to.as_ref())
    }

    /// Reads a place as the file's own are read, relative to `base`.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn place(&self, key: &str, text: &str, base: &Path) -> Result<VaultPlace, String> {
        VaultPlace::parse(key, text, base, cloud_defaults(self.tair.as_ref()))
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
            vault: VaultPlace::Directory(home.vault()),
            trusted_keys: Vec::new(),
            encryption: None,
            home,
            file: None,
            inline_secrets: Vec::new(),
            is_blank: false,
            guard: GuardConfig::default(),
            download_roots: Vec::new(),
            state: None,
            background: false,
            clone_lifetime_hours: clone_lifetime_hours(),
            server_programs: Vec::new(),
            metrics_file: None,
            notify: None,
            own_program: None,
            copy_to: None,
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
        let tair = raw.tair.map(RawTair::check).transpose().map_err(|why| refused(&path, &why))?;
        let cloud = cloud_defaults(tair.as_ref());
        let place =
            |key: &str, text: &str| VaultPlace::parse(key, text, base, cloud).map_err(|why| refused(&path, &why));
        let mut instances: Vec<InstanceConfig> = Vec::new();
        for mut raw in raw.instance {
            let copy_to = raw.copy_to.take().map(|text| place("copy_to", &text)).transpose()?;
            let instance = raw.check(base).map_err(|why| refused(&path, &why))?;
            let instance = InstanceConfig { copy_to, ..instance };
            if instances.iter().any(|i| i.id == instance.id) {
                let why = format!(
                    "instance id \"{0}\" is given twice; write an id of its own in each [[instance]], such as id = \"{0}-2\"",
                    instance.id
                );
                return Err(refused(&path, &why));
            }
            instances.push(instance);
        }
        let guard = raw.guard.check().map_err(|why| refused(&path, &why))?;
        if !(1..=CLONE_LIFETIME_MAX).contains(&raw.clone_lifetime_hours) {
            let (found, usual) = (raw.clone_lifetime_hours, clone_lifetime_hours());
            let why = out_of_range("", "clone_lifetime_hours", found, (1, CLONE_LIFETIME_MAX), usual);
            return Err(refused(&path, &why));
        }
        let backup_log = raw.backup_log.check().map_err(|why| refused(&path, &why))?;
        let state = raw.state.as_deref().map(StateUrl::parse).transpose().map_err(|why| refused(&path, &why))?;
        let vault = match raw.vault.as_deref() {
            None => VaultPlace::Directory(home.vault()),
            Some("") => {
                let why = "vault is empty; leave it out for a directory in the home, or write vault = \"/srv/backups\"";
                return Err(refused(&path, why));
            }
            Some(text) => place("vault", text)?,
        };
        let trusted_keys = public_key::trusted(&raw.trusted_keys).map_err(|why| refused(&path, &why))?;
        let copy_to = raw.copy_to.map(|text| place("copy_to", &text)).transpose()?;
        if instances.iter().map(|of| &of.copy_to).chain([&copy_to]).flatten().any(|copy_to| *copy_to == vault) {
            let why = format!(
                "copy_to is {vault}, the vault itself; name another place, such as copy_to = \"/mnt/elsewhere\""
            );
            return Err(refused(&path, &why));
        }
        let encryption =
            raw.encryption.map(|table| table.check(base)).transpose().map_err(|why| refused(&path, &why))?;
        let server_programs = raw.server_programs.into_iter().map(|program| base.join(program)).collect();
        let metrics_file = raw.metrics_file.map(|path| base.join(path));
        let notify = raw.notify.map(|notify| notify.check(base)).transpose().map_err(|why| refused(&path, &why))?;
        let inline_secrets = advice::inline_secrets(&instances, raw.state.as_deref(), notify.as_ref());
        let download_roots = raw.download_roots.into_iter().map(|root| base.join(root)).collect();
        Ok(Self {
            home,
            file: Some(path),
            inline_secrets,
            is_blank: text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#')),
            guard,
            download_roots,
            state,
            background: raw.background,
            clone_lifetime_hours: raw.clone_lifetime_hours,
            server_programs,
            metrics_file,
            notify,
            own_program: None,
            vault,
            trusted_keys,
            copy_to,
            encryption,
            backup_log,
            tair,
            instances,
            sandbox: false,
            read_only,
        })
    }
}

/// What a bucket's url need not say where `[tair]` does.
fn cloud_defaults(tair: Option<&TairConfig>) -> CloudDefaults<'_> {
    CloudDefaults { region: tair.and_then(|t| t.region.as_deref()), vpc: tair.is_some_and(|t| t.vpc) }
}

/// Longest configuration file, in bytes: a thousand instances have a fifth of it.
const FILE_MAX: u64 = 1 << 20;

/// The text of the configuration file; `None` where it is missing and nobody named it.
fn read(path: &Path, named: bool) -> Result<Option<String>, Fault> {
    // It may be a link or a pipe: operators hand files over so.
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(n) if n as u64 > FILE_MAX => {
            let why = format!(
                "the file has more than {FILE_MAX} bytes; give some instances a file and a --home of their own"
            );
            Err(refused(path, &why))
        }
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(refused(path, "this is no text in UTF-8: write it anew in that encoding, or let `init --force` do so"))
        }
        Err(e) => {
            let (why, hint) = match Denied::of(&e, path) {
                Some(denied) => (denied.to_string(), denied.hint()),
                None => (e.to_string(), "Name an existing file with --config, make one with `tair-backup-mcp init`, or leave --config out to work with the sandbox.".to_owned()),
            };
            let message = format!("cannot read {}: {why}", path.display());
            Err(Fault::new(Kind::Usage, "config.missing", message).hint(hint).because(e))
        }
    }
}
