//! Profiles of the SDKs: `~/.alibabacloud/credentials.ini`.
//!
//! Read afresh each time; never written.

use super::sts::{OidcRole, Session, assume, assume_with_oidc};
use super::{Credentials, Found, Means, metadata};
use crate::model::text::quoted;
use std::collections::HashMap;
use std::path::PathBuf;

/// Credentials of the section that `ALIBABA_CLOUD_PROFILE` names, or `default`.
pub(super) async fn find(means: &Means) -> Found {
    let named = means.env.get("ALIBABA_CLOUD_CREDENTIALS_FILE").map(PathBuf::from);
    let path = named.or_else(|| means.env.in_home(".alibabacloud/credentials.ini"));
    let path = path.ok_or("this user has no home directory")?;
    let body = tokio::fs::read_to_string(&path).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        _ => format!("{} cannot be read: {e}", path.display()),
    })?;
    let name = means.env.get("ALIBABA_CLOUD_PROFILE").unwrap_or_else(|| "default".to_owned());
    let section = section(&body, &name).ok_or_else(|| format!("there is no section {}", quoted(&name)))?;
    let found = of(means, &Section(section)).await.map_err(|why| format!("section {}: {why}", quoted(&name)))?;
    Ok(found.by(&format!("section {} of credentials.ini", quoted(&name))))
}

/// The keys of a section; `#` and `;` begin a comment.
fn section(body: &str, name: &str) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut inside = false;
    for line in body.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = header.trim() == name;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            found.get_or_insert_default().insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

struct Section(HashMap<String, String>);

impl Section {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).filter(|v| !v.is_empty()).cloned()
    }

    fn need(&self, key: &str) -> Result<String, String> {
        self.text(key).ok_or_else(|| format!("{key} is missing"))
    }
}

async fn of(means: &Means, section: &Section) -> Found {
    let key =
        || -> Found { Ok(Credentials::fixed(section.need("access_key_id")?, section.need("access_key_secret")?, "")) };
    let session =
        Session { name: section.text("role_session_name"), policy: section.text("policy"), ..Session::default() };
    let kind = section.need("type")?;
    match kind.as_str() {
        "access_key" => key(),
        "sts" => Ok(key()?.with_token(Some(section.need("security_token")?))),
        "ram_role_arn" => assume(means, &key()?, &section.need("role_arn")?, None, &session).await,
        "oidc_role_arn" => {
            let role = OidcRole {
                token_file: section.need("oidc_token_file_path")?.into(),
                role_arn: section.need("role_arn")?,
                provider_arn: section.need("oidc_provider_arn")?,
                session: section.text("role_session_name"),
                more: session,
            };
            assume_with_oidc(means, &role).await
        }
        "ecs_ram_role" => metadata::find(means, section.text("role_name")).await,
        other => Err(format!("type {} is not supported", quoted(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections, comments and white space; a section that is opened twice is one section.
    #[test]
    fn sections_are_read() {
        let body =
            "x=0\n[default] # c\ntype = access_key ; c\naccess_key_id=a=b\n\n[two]\nrole_arn=r\n[default]\nlast=1\n[";
        let found = section(body, "default").unwrap();
        assert_eq!(
            (found["type"].as_str(), found["access_key_id"].as_str(), found["last"].as_str()),
            ("access_key", "a=b", "1")
        );
        assert!(!found.contains_key("role_arn") && !found.contains_key("x"));
        assert!(section(body, "three").is_none());
    }
}
