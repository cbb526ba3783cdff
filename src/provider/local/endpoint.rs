//! Where an instance is and how to get in: addresses, passwords and TLS settings of the configuration.

use crate::config::SANDBOX;
use crate::config::blocking::blocking;
use crate::config::denied::why;
use crate::config::instance::{InstanceConfig, Password};
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::secret::Secret;
use crate::provider::local::Inner;
use crate::provider::local::clones::PREFIX;
use crate::redis::endpoint::{Endpoint, TlsSettings};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

impl Inner {
    /// Where an instance is and how to get in. Starts the sandbox when that is the instance.
    pub(super) async fn endpoint(&self, instance_id: &str) -> Result<Endpoint, Fault> {
        match (self.config(instance_id), &self.sandbox) {
            (Some(config), _) => endpoint_of(config, &config.url).await,
            (None, Some(sandbox)) if instance_id == SANDBOX => sandbox.endpoint().await,
            (None, _) if instance_id.starts_with(PREFIX) => self.clones.endpoint(instance_id).await,
            _ => Err(Fault::new(Kind::NotFound, "instance.not_found", format!("there is no instance {instance_id}"))
                .hint("Call describe_instances for the list.")),
        }
    }

    /// Whether a backup is taken from a replica of the instance. A replica may lag, and a safety backup must hold the very last
    /// write: it never is taken from one.
    pub(super) fn by_replica(&self, instance_id: &str, mode: Mode) -> bool {
        mode != Mode::Safety && self.config(instance_id).is_some_and(|c| c.backup_from.is_some())
    }

    /// Where to capture from: the replica named for it, else the instance itself.
    pub(super) async fn capture_endpoint(&self, instance_id: &str, mode: Mode) -> Result<Endpoint, Fault> {
        match self.config(instance_id) {
            Some(config @ InstanceConfig { backup_from: Some(replica), .. }) if self.by_replica(instance_id, mode) => {
                endpoint_of(config, replica).await
            }
            _ => self.endpoint(instance_id).await,
        }
    }
}

/// Longest file of a password that is read, in bytes: its first line is the password.
const PASSWORD_FILE_MAX: u64 = 64 << 10;

/// The beginning of a file. The file may be a link or a pipe: so secrets are handed over.
async fn first_of(path: PathBuf) -> Result<String, String> {
    blocking(move || {
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(PASSWORD_FILE_MAX).read_to_string(&mut text));
        Ok(read.map(|_| text).map_err(|e| why(&e, &path)))
    })
    .await
    .map_err(|fault| fault.message)?
}

/// Whether a name is written as those of variables mostly are: capitals, digits and at least one `_`.
fn is_usual_name(name: &str) -> bool {
    name.contains('_') && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Where `url` is, with the credentials and TLS settings of the instance. Passwords are read now, so that a rotated one is
/// picked up.
///
/// # Errors
/// `instance.bad_address`, `config.password`.
pub async fn endpoint_of(config: &InstanceConfig, url: &str) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::parse(url).map_err(Fault::from)?;
    let unreadable = |why: &str, hint: String| {
        Fault::new(Kind::Usage, "config.password", format!("the password of {} cannot be read: {why}", config.id))
            .hint(hint)
    };
    let password = match &config.password {
        Password::None => None,
        Password::Given(secret) => Some(secret.clone()),
        Password::File(path) => {
            let text = first_of(path.clone()).await;
            // The password itself may stand where its file or variable is to be named: it is not quoted.
            let text = text.map_err(|why| {
                let path = format!("password_file = \"/etc/tair-backup-mcp/{}\"", config.id);
                let hint = format!("Write the password into that file, as its first line, or name the file that has it: {path}");
                unreadable(&format!("the file that password_file names: {why}"), hint)
            })?;
            Some(Secret::new(text.lines().next().unwrap_or_default()))
        }
        Password::Env(name) => Some(Secret::new(std::env::var(name).map_err(|_| {
            // Nobody's password has this form, but for one that was chosen for it.
            if is_usual_name(name) {
                let hint = format!("Set it for this process, and start that again: export {name}=…");
                return unreadable(&format!("{name}, which password_env names, is not set"), hint);
            }
            let hint = "Set that variable for this process, and start that again; or write password_env = \"REDIS_PASSWORD\", \
                        and export REDIS_PASSWORD=…";
            unreadable("the environment variable that password_env names is not set", hint.to_owned())
        })?)),
    };
    if let Some(password) = password {
        endpoint.password = Some(password);
    }
    if let Some(username) = &config.username {
        endpoint.username = Some(username.clone());
    }
    if let Some(tls) = &mut endpoint.tls {
        *tls = TlsSettings {
            ca_file: config.tls.ca_file.clone(),
            cert_file: config.tls.cert_file.clone(),
            key_file: config.tls.key_file.clone(),
            server_name: config.tls.server_name.clone(),
            insecure_skip_verify: config.tls.insecure,
        };
    }
    Ok(endpoint)
}
