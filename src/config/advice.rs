//! What an operator should mend in a configuration that works: secrets that others can read, directories that are not there, a file that
//! names nothing. Each with what to type.
//!
//! It must not quote a secret, nor refuse anything: `doctor` and the beginning of a service tell it.

use crate::config::Config;
use crate::config::denied::{Denied, user};
use crate::config::encryption::KeySource;
use crate::config::instance::{InstanceConfig, Password};
use crate::config::instance_url::has_userinfo;
use crate::config::notify::NotifyConfig;
use crate::model::text::shell_word;
use rustix::process::{getegid, geteuid};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use url::Url;

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What was found, as a sentence without its full stop.
    pub found: String,
    /// What to type.
    pub next: String,
}

/// The keys of a file whose values are secrets that stand there.
pub(super) fn inline_secrets(
    instances: &[InstanceConfig],
    state: Option<&str>,
    notify: Option<&NotifyConfig>,
) -> Vec<String> {
    let mut found = Vec::new();
    for instance in instances {
        let from = instance.backup_from.as_deref();
        for (key, holds) in [
            ("password", matches!(instance.password, Password::Given(_))),
            ("url", has_userinfo(&instance.url)),
            ("backup_from", from.is_some_and(has_userinfo)),
        ] {
            found.extend(holds.then(|| format!("{key} of {}", instance.id)));
        }
    }
    let has_password = |text: &str| Url::parse(text).is_ok_and(|url| url.password().is_some());
    // Whoever has such an address can tell there what is not so.
    let (webhook, ping) = notify.map_or((false, false), |notify| (notify.webhook.is_some(), notify.ping.is_some()));
    for (key, holds) in [
        ("state", state.is_some_and(has_password)),
        ("webhook_url of [notify]", webhook),
        ("ping_url of [notify]", ping),
    ] {
        found.extend(holds.then(|| key.to_owned()));
    }
    found
}

/// The mode of a plain file that others can read, and what to type so that they cannot. `group`: whether its group counts as others; not
/// where the file is another's, or was given a group of its own: then the group is there to read it, and may be what lets this user in.
fn readable(path: &Path, group: bool) -> Option<(u32, String)> {
    let found = path.metadata().ok().filter(|found| found.is_file())?;
    let (mode, me) = (found.permissions().mode() & 0o777, geteuid());
    let owned = found.uid() == me.as_raw();
    let usual_group = owned && found.gid() == getegid().as_raw();
    let others = if group && usual_group { 0o044 } else { 0o004 };
    let file = word(path);
    let next = if !owned && !me.is_root() {
        format!("sudo chown {} {file} && sudo chmod 600 {file}", user(me.as_raw()))
    } else if mode & 0o040 != 0 && !usual_group {
        format!("chmod o-rwx {file}")
    } else {
        format!("chmod 600 {file}")
    };
    (mode & others != 0).then_some((mode, next))
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

impl Config {
    /// What to mend. Looks at files, and blocks.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let mut all = Vec::new();
        let mut add = |found: String, next: String| all.push(Advice { found, next });
        if let Some(file) = &self.file {
            if !self.inline_secrets.is_empty()
                && let Some((mode, next)) = readable(file, true)
            {
                let secrets = self.inline_secrets.join(", ");
                add(
                    format!("others can read {} (mode {mode:o}), which holds secrets: {secrets}", file.display()),
                    next,
                );
            }
            if let Some(Advice { found, next }) = self.without_instances() {
                add(found, next);
            }
        }
        for (what, path) in self.secret_files() {
            // A group may be there to read it.
            if let Some((mode, next)) = readable(path, false) {
                add(format!("everybody can read the {what}, {} (mode {mode:o})", path.display()), next);
            }
        }
        for root in &self.download_roots {
            let shown = root.display();
            match root.metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => add(
                    format!("the download root {shown} is no directory"),
                    "Name a directory in download_roots.".to_owned(),
                ),
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    add(format!("the download root {shown} is not there"), format!("mkdir -p {}", word(root)));
                }
                Err(e) => match Denied::of(&e, root) {
                    Some(denied) => add(format!("the download root {shown}: {denied}"), denied.hint()),
                    None => {
                        add(format!("the download root {shown}: {e}"), "Name another in download_roots.".to_owned())
                    }
                },
            }
        }
        all
    }

    /// What is to be said of a file that names no instance; `None` where there is no file, or one that does.
    #[must_use]
    pub fn without_instances(&self) -> Option<Advice> {
        let shown = self.file.as_ref()?.display();
        if !self.instances.is_empty() || self.tair.is_some() {
            return None;
        }
        if self.is_blank {
            let next = self.command("init --force --url redis://host:6379");
            return Some(Advice { found: format!("{shown} is empty"), next });
        }
        let next = "Add to it: [[instance]], and under it id = \"orders\" and url = \"redis://host:6379\"";
        Some(Advice { found: format!("{shown} names no instance"), next: next.to_owned() })
    }

    /// The files that hold a secret each, and what it is.
    fn secret_files(&self) -> Vec<(String, &Path)> {
        let mut files = Vec::new();
        for instance in &self.instances {
            if let Password::File(path) = &instance.password {
                files.push((format!("password of {}", instance.id), path.as_path()));
            }
            if let Some(path) = &instance.tls.key_file {
                files.push((format!("key of {}", instance.id), path.as_path()));
            }
        }
        match self.encryption.as_ref().map(|encryption| &encryption.key) {
            Some(KeySource::Identity(path)) => files.push(("key of the vault".to_owned(), path.as_path())),
            Some(KeySource::PassphraseFile(path)) => {
                files.push(("passphrase of the vault".to_owned(), path.as_path()));
            }
            Some(KeySource::PassphraseEnv(_)) | None => {}
        }
        files
    }
}
