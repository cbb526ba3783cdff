//! Profiles of the official command line: `~/.aliyun/config.json`, with the modes that `aliyun configure` writes.
//!
//! Read afresh each time, so that a profile that was changed or logged in again is picked up; never written. The profile that was chosen
//! first stays chosen while the process lives.

use super::sts::{OidcRole, Session, assume, assume_with_oidc};
use super::temporary::{from_uri, need, text};
use super::{Credentials, Found, Means, external, metadata};
use crate::model::text::{nearest, quoted};
use crate::tair::wire::parse;
use jiff::Timestamp;
use serde_json::Value;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// Profiles that may stand on one another.
const DEEPEST: usize = 8;

struct Profiles {
    all: Vec<Value>,
    current: Option<String>,
}

impl Profiles {
    /// Where they stand, where they may be read.
    fn file(means: &Means) -> Result<PathBuf, String> {
        let named = means.config.profile.is_some();
        if !named && means.env.is_on("ALIBABA_CLOUD_CLI_PROFILE_DISABLED") {
            return Err("it is switched off by ALIBABA_CLOUD_CLI_PROFILE_DISABLED".to_owned());
        }
        means.env.in_home(".aliyun/config.json").ok_or_else(|| "this user has no home directory".to_owned())
    }

    fn read(body: std::io::Result<Vec<u8>>) -> Result<Self, String> {
        let body = body.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("it cannot be read: {e}"),
        })?;
        let value = parse(&body).map_err(|why| format!("it cannot be read: {why}"))?;
        let all = value.get("profiles").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self { all, current: text(&value, "current") })
    }

    fn chosen(&self, means: &Means) -> String {
        let choose = || {
            let named = means.config.profile.clone().or_else(|| means.env.get("ALIBABA_CLOUD_PROFILE"));
            named.or_else(|| self.current.clone()).unwrap_or_else(|| "default".to_owned())
        };
        means.profile.get_or_init(choose).clone()
    }

    fn get(&self, name: &str) -> Result<&Value, String> {
        let names = || self.all.iter().filter_map(|p| p.get("name").and_then(Value::as_str));
        self.all.iter().find(|p| p.get("name").and_then(Value::as_str) == Some(name)).ok_or_else(|| {
            let near = nearest(name, names()).map(|n| format!(" (did you mean {}?)", quoted(n))).unwrap_or_default();
            format!("there is no profile {}{near}", quoted(name))
        })
    }
}

/// The region of the profile in use. Blocking: for the start, before anybody is served.
pub(super) fn region(means: &Means) -> Option<String> {
    let profiles = Profiles::read(std::fs::read(Profiles::file(means).ok()?)).ok()?;
    text(profiles.get(&profiles.chosen(means)).ok()?, "region_id")
}

/// Credentials of the profile in use.
pub(super) async fn find(means: &Means) -> Found {
    let profiles = Profiles::read(tokio::fs::read(Profiles::file(means)?).await)?;
    let name = profiles.chosen(means);
    let found =
        of(means, &profiles, &name, DEEPEST).await.map_err(|why| format!("profile {}: {why}", quoted(&name)))?;
    Ok(found.by(&format!("profile {} of ~/.aliyun/config.json", quoted(&name))))
}

fn access_key(profile: &Value) -> Found {
    Ok(Credentials::fixed(need(profile, "access_key_id")?, need(profile, "access_key_secret")?, ""))
}

fn session(profile: &Value) -> Session {
    Session {
        name: text(profile, "ram_session_name").or_else(|| text(profile, "role_session_name")),
        seconds: profile.get("expired_seconds").and_then(Value::as_i64),
        policy: text(profile, "policy"),
        region: text(profile, "sts_region"),
        vpc: profile.get("enable_vpc").and_then(Value::as_bool).unwrap_or_default(),
    }
}

async fn role(means: &Means, by: &Credentials, profile: &Value) -> Found {
    assume(means, by, &need(profile, "ram_role_arn")?, text(profile, "external_id"), &session(profile)).await
}

/// What `aliyun` keeps of a login in a browser; only it can renew that.
fn logged_in(profile: &Value) -> Found {
    let mut found = access_key(profile)?.with_token(Some(need(profile, "sts_token")?));
    let expiration = profile.get("sts_expiration").and_then(Value::as_i64).filter(|at| *at > 0);
    found.expires_at = expiration.and_then(|at| Timestamp::from_second(at).ok());
    if found.is_expired(found.obtained_at) {
        return Err("its login has expired; run any `aliyun` command, or `aliyun configure`, to renew it".to_owned());
    }
    Ok(found)
}

/// Boxed, because profiles stand on profiles.
fn of<'a>(
    means: &'a Means,
    profiles: &'a Profiles,
    name: &'a str,
    deep: usize,
) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>> {
    Box::pin(async move {
        let profile = profiles.get(name)?;
        let mode = text(profile, "mode").unwrap_or_else(|| "AK".to_owned());
        match mode.to_ascii_lowercase().as_str() {
            "ak" => access_key(profile),
            "ststoken" => Ok(access_key(profile)?.with_token(Some(need(profile, "sts_token")?))),
            "ramrolearn" => {
                let by = access_key(profile)?.with_token(text(profile, "sts_token"));
                role(means, &by, profile).await
            }
            "chainableramrolearn" => {
                let source = need(profile, "source_profile")?;
                let deeper = deep.checked_sub(1).ok_or("its source profiles go round in a circle")?;
                let by = of(means, profiles, &source, deeper).await;
                let by = by.map_err(|why| format!("its source profile {}: {why}", quoted(&source)))?;
                role(means, &by, profile).await
            }
            "ecsramrole" => metadata::find(means, text(profile, "ram_role_name")).await,
            "ramrolearnwithrolename" => {
                let by = metadata::find(means, text(profile, "ram_role_name")).await?;
                role(means, &by, profile).await
            }
            "oidc" => {
                let role = OidcRole {
                    token_file: need(profile, "oidc_token_file")?.into(),
                    role_arn: need(profile, "ram_role_arn")?,
                    provider_arn: need(profile, "oidc_provider_arn")?,
                    session: text(profile, "role_session_name").or_else(|| text(profile, "ram_session_name")),
                    more: session(profile),
                };
                assume_with_oidc(means, &role).await
            }
            "external" => external::run(means, &need(profile, "process_command")?).await,
            "credentialsuri" => from_uri(means, &need(profile, "credentials_uri")?).await,
            "cloudsso" | "oauth" => logged_in(profile),
            _ => Err(format!("mode {} is not supported", quoted(&mode))),
        }
    })
}
