//! `[encryption]`: for whom what lies in the vault is encrypted, in age's own format (<https://age-encryption.org/v1>), so that it is read
//! without this program too.
//!
//! It must not hold a key: files and variables are named here, and read when the vault first needs them.

use crate::config::instance::is_variable;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What every recipient begins with.
const RECIPIENT: &str = "age1";
/// Most recipients: each takes its place at the beginning of every object.
const RECIPIENTS_MAX: usize = 30;

/// The table as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEncryption {
    #[serde(default)]
    recipients: Vec<String>,
    identity_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    passphrase_env: Option<String>,
}

/// How the vault is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Who else can read what is written: public keys, `age1…`.
    pub recipients: Vec<String>,
    /// What this program itself reads it with; what is written can be read with that, too.
    pub key: KeySource,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file as `age-keygen` writes it.
    Identity(PathBuf),
    /// A file with a passphrase; the vault keeps its own key, encrypted with that.
    PassphraseFile(PathBuf),
    /// A variable with a passphrase; so too.
    PassphraseEnv(String),
}

impl RawEncryption {
    /// Checks the table; paths are relative to `base`.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn check(self, base: &Path) -> Result<Encryption, String> {
        let Self { recipients, identity_file, passphrase_file, passphrase_env } = self;
        if recipients.iter().any(|key| key.parse::<age::x25519::Recipient>().is_err()) {
            // Most likely the secret key itself, which no message may hold.
            return Err(format!(
                "encryption.recipients are public keys, and one of them is none; write what age-keygen -y prints, recipients = [\"{RECIPIENT}…\"]"
            ));
        }
        if recipients.len() > RECIPIENTS_MAX {
            let n = recipients.len();
            return Err(format!("encryption.recipients has {n} keys; {RECIPIENTS_MAX} is the most: take others out"));
        }
        let key = match (identity_file, passphrase_file, passphrase_env) {
            (Some(file), None, None) => KeySource::Identity(base.join(file)),
            (None, Some(file), None) => KeySource::PassphraseFile(base.join(file)),
            (None, None, Some(name)) if is_variable(&name) => KeySource::PassphraseEnv(name),
            (None, None, Some(_)) => {
                // Most likely the passphrase itself.
                return Err(
                    "encryption.passphrase_env is the name of an environment variable, in letters, digits and _; the passphrase is \
                     its value; write passphrase_env = \"VAULT_PASSPHRASE\""
                        .to_owned(),
                );
            }
            _ => {
                return Err(
                    "encryption: give one of identity_file, passphrase_file, passphrase_env, for each set is read back before it \
                     counts as one; write identity_file = \"/etc/tair-backup-mcp/key.txt\""
                        .to_owned(),
                );
            }
        };
        Ok(Encryption { recipients, key })
    }
}

#[cfg(test)]
mod tests {
    //! What is wrong is named, and nothing that may be a secret.
    use super::{Encryption, KeySource, RawEncryption};
    use std::path::Path;

    fn check(text: &str) -> Result<Encryption, String> {
        toml::from_str::<RawEncryption>(text).map_err(|e| e.to_string())?.check(Path::new("/etc/tair"))
    }

    #[test]
    fn one_key_and_thirty_recipients() {
        let public = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let read = check(&format!("identity_file = \"key.txt\"\nrecipients = [\"{public}\"]")).unwrap();
        assert_eq!((read.key, read.recipients.len()), (KeySource::Identity("/etc/tair/key.txt".into()), 1));
        let of = |n: usize| {
            let keys = format!("\"{public}\",").repeat(n);
            check(&format!("passphrase_env = \"P\"\nrecipients = [{keys}]"))
        };
        assert_eq!(of(30).unwrap().recipients.len(), 30);
        assert!(of(31).unwrap_err().contains("30 is the most"));
        assert_eq!(check("passphrase_env = \"P\"").unwrap().key, KeySource::PassphraseEnv("P".into()));
        for (text, why) in [
            ("", "give one of"),
            ("passphrase_env = \"P\"\nidentity_file = \"k\"", "give one of"),
            ("passphrase_env = \"s3cret words\"", "name of an environment variable"),
            ("identity_file = \"k\"\nrecipients = [\"AGE-SECRET-KEY-1S3CRET\"]", "are public keys"),
        ] {
            let wrong = check(text).unwrap_err();
            assert!(wrong.contains(why) && !wrong.to_lowercase().contains("s3cret"), "{text}: {wrong}");
        }
    }
}
