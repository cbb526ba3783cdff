//! The configuration file that `init` writes: its text, with a comment on every key, and writing it whole.

use crate::config::durable::{private_dir, put_new, replace};
use crate::config::guard::ConfirmationPolicy;
use crate::config::instance::Password;
use crate::model::calendar;
use crate::model::fault::{Fault, Kind};
use std::path::Path;

/// An instance as it is written to the file.
pub struct Written {
    /// The instance's id.
    pub id: String,
    /// The instance's url.
    pub url: String,
    /// Where the instance's password comes from.
    pub password: Password,
}

const HEAD: &str = "\
# What tair-backup-mcp backs up and restores, and who has to approve. docs/configuration.md of the project describes every key.
# After a change: tair-backup-mcp doctor

# Directories under which downloads may be written, beside the home's own.
# download_roots = [\"/srv/backups\"]
# Who is told when a backup fails, or none succeeds any more.
# notify.webhook_url = \"https://hooks.example.com/backups\"

[guard]
# Who says yes before data is overwritten or deleted: \"person\", asked through a channel that the model does not control,
# or \"token\": nobody, an agent's second call is enough.
";

const GUARD: &str = "\
# Minutes for which a plan can be confirmed.
# token_minutes = 15
# Writes a second above which no restore begins. Without it they are told to whoever says yes.
# max_writes_per_second = 100
";

const OPTIONAL: &str = "\
# A user of the server's ACL, where it is not the default one.
# username = \"backup\"
# Under which address the instance reaches this machine for a restore, where it is not the one that it sees.
# announce = \"10.0.0.9:7400\"
# A replica to take backups from, so that the master need not fork.
# backup_from = \"redis://replica:6379\"
# TLS (rediss://): certificates to trust instead of the machine's, and ours where the server asks for one.
# tls_ca_file = \"ca.crt\"
# tls_cert_file = \"client.crt\"
# tls_key_file = \"client.key\"
";

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The text of the configuration file.
pub fn text(instances: &[Written], confirmation: ConfirmationPolicy) -> String {
    let mut text = format!("{HEAD}confirmation = {}\n{GUARD}", quoted(confirmation.as_str()));
    for instance in instances {
        text += "\n[[instance]]\n# A person types this id to approve a restore.\n";
        text += &format!("id = {}\nurl = {}\n", quoted(&instance.id), quoted(&instance.url));
        text +=
            "# The password stands in the environment (password_env) or in the first line of a file (password_file).\n";
        text += &match &instance.password {
            Password::Env(name) => format!("password_env = {}\n", quoted(name)),
            Password::File(path) => format!("password_file = {}\n", quoted(&path.to_string_lossy())),
            Password::None | Password::Given(_) => "# password_env = \"REDIS_PASSWORD\"\n".to_owned(),
        };
        text += &format!(
            "# A backup a day, begun within this hour (UTC) and kept for so many days, by `tair-backup-mcp run`.\n\
             preferred_backup_time = {}\nbackup_retention_period = {}\n",
            quoted(calendar::USUAL_WINDOW),
            calendar::RETENTION_DAYS.start()
        );
        text += OPTIONAL;
    }
    text
}

/// The fault of a file that exists already.
pub fn exists(path: &Path) -> Fault {
    Fault::new(Kind::Refused, "config.exists", format!("{} is there already; nothing has been written", path.display()))
        .hint("Write over it with --force, name another file with --config, or look at the text with --print.")
}

fn failed(what: &str, path: &Path, e: std::io::Error) -> Fault {
    Fault::new(Kind::Unexpected, "config.failed", format!("cannot {what} {}: {e}", path.display()))
        .hint("Name a file that this user may write with --config, or look at the text with --print.")
        .because(e)
}

/// Writes the file whole or not at all, for its owner alone, and on the disk when this returns. Blocking.
///
/// # Errors
/// `config.exists` where there is one and `force` is not set, also when it came meanwhile; `config.failed`.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(Path::new("."));
    private_dir(folder).map_err(|e| failed("make the directory", folder, e))?;
    let put = if force { replace } else { put_new };
    put(path, text.as_bytes()).map_err(|e| {
        if e.kind() == std::io::ErrorKind::AlreadyExists { exists(path) } else { failed("write", path, e) }
    })
}
