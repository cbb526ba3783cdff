//! Who calls: the official default chain of credentials, in its order, asked once and renewed before it expires.
//!
//! Environment → OIDC → `~/.aliyun/config.json` → `credentials.ini` → ECS metadata → credentials URI. The first link
//! that gives credentials is kept: a link that fails later is an error, never a silent change to another identity.
//! Nothing here is printed; reasons for failure name variables, files and fields, not their values.

mod cli;
mod external;
mod ini;
mod metadata;
mod sts;
mod temporary;

use crate::config::tair::TairConfig;
use crate::model::secret::Secret;
use crate::tair::access_key::Credentials;
use crate::tair::endpoint;
use crate::tair::environment::Environment;
use crate::tair::error::{FailedLink, NoCredentials, TairError};
use crate::tair::http::Http;
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use url::Url;

/// After a renewal failed and the old ones are still good, the next try comes so much later.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// A link's answer: credentials, or why not.
type Found = Result<Credentials, String>;

/// The links, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Environment,
    Oidc,
    CliProfile,
    IniProfile,
    EcsMetadata,
    Uri,
}

impl Link {
    const ALL: [Self; 6] =
        [Self::Environment, Self::Oidc, Self::CliProfile, Self::IniProfile, Self::EcsMetadata, Self::Uri];

    const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Oidc => "OIDC role",
            Self::CliProfile => "~/.aliyun/config.json",
            Self::IniProfile => "credentials.ini",
            Self::EcsMetadata => "ECS metadata",
            Self::Uri => "credentials URI",
        }
    }
}

/// What links work with.
#[derive(Debug)]
struct Means {
    config: TairConfig,
    env: Environment,
    http: Http,
    metadata: Option<Url>,
    /// The region that is called, whose services are the only ones within a VPC.
    region: Option<String>,
    /// The profile that was chosen first: another one that becomes the current one is somebody else.
    profile: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Held {
    credentials: Option<Arc<Credentials>>,
    link: Option<Link>,
    /// Not asked again before.
    not_before: Option<Timestamp>,
}

/// The chain, with what it gave last.
#[derive(Debug)]
pub struct Chain {
    means: Means,
    held: Mutex<Held>,
}

impl Chain {
    /// A chain that has not asked anybody yet.
    #[must_use]
    pub fn new(config: TairConfig, env: Environment, http: Http) -> Self {
        let metadata = Url::parse(metadata::ADDRESS).ok();
        let means = Means { config, env, http, metadata, region: None, profile: OnceLock::new() };
        Self { means, held: Mutex::default() }
    }

    /// The same chain with the metadata service elsewhere; for tests.
    #[must_use]
    pub fn with_metadata(mut self, address: Url) -> Self {
        self.means.metadata = Some(address);
        self
    }

    /// The same chain for calls of a region.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        self.means.region = Some(region.to_owned());
        self
    }

    /// The region that the profile names.
    #[must_use]
    pub fn profile_region(&self) -> Option<String> {
        cli::region(&self.means)
    }

    /// Credentials that are good for a while. Those who ask together wait for one answer.
    ///
    /// # Errors
    /// [`TairError::NoCredentials`], naming every link asked.
    pub async fn get(&self) -> Result<Arc<Credentials>, TairError> {
        let mut held = self.held.lock().await;
        let now = Timestamp::now();
        if let Some(old) = held.credentials.clone() {
            let waits = held.not_before.is_some_and(|at| now < at);
            if !old.is_stale(now) || (waits && !old.is_expired(now)) {
                return Ok(old);
            }
            return match self.ask(&mut held).await {
                Err(e) if !old.is_expired(now) => {
                    tracing::warn!(error = %e, "credentials could not be renewed; the old ones are good for now");
                    held.not_before = now.saturating_add(RETRY).ok();
                    Ok(old)
                }
                other => other,
            };
        }
        self.ask(&mut held).await
    }

    /// Account and principal of credentials that this chain gave: as the Security Token Service tells them where it belongs to the endpoint
    /// that is called, else, and where it refuses, the access key's own id for both; of temporary credentials, whose id is another one after
    /// every renewal, where they come from. `now` is the cloud's time, as far as it is known.
    ///
    /// # Errors
    /// What kept the service from an answer: then it is not known who calls, which is nobody else than before.
    pub async fn identity(&self, of: &Credentials, now: Timestamp) -> Result<(String, String), TairError> {
        let config = &self.means.config;
        // An endpoint that is named may be the vendor's own all the same.
        let is_asked = config.sts_endpoint.is_some() || config.endpoint.as_ref().is_none_or(endpoint::is_vendors);
        let told = if is_asked { sts::identity(&self.means, of, now).await? } else { None };
        // Keys of the environment are never renewed in a process: their own id is who they are.
        let link = self.held.lock().await.link;
        let is_renewed = of.token.is_some() && link != Some(Link::Environment);
        let stands = if is_renewed { &of.source } else { &of.access_key_id };
        Ok(told.map_or_else(|| (stands.clone(), stands.clone()), |found| (found.account, found.principal)))
    }

    /// New credentials in place of those that the cloud refuses as expired; somebody else's renewal counts.
    ///
    /// # Errors
    /// As [`Chain::get`].
    pub async fn renew(&self, refused: &Credentials) -> Result<Arc<Credentials>, TairError> {
        let mut held = self.held.lock().await;
        match held.credentials.clone() {
            Some(current) if !current.is_same(refused) => Ok(current),
            _ => self.ask(&mut held).await,
        }
    }

    async fn ask(&self, held: &mut Held) -> Result<Arc<Credentials>, TairError> {
        let links: Vec<Link> = match (held.link, &self.means.config.profile) {
            (Some(link), _) => vec![link],
            // A profile that is named is meant: nothing else is asked.
            (None, Some(_)) => vec![Link::CliProfile],
            (None, None) => Link::ALL.to_vec(),
        };
        let mut failed = Vec::new();
        for link in links {
            match self.means.find(link).await {
                Ok(found) => {
                    let found = Arc::new(found);
                    *held = Held { credentials: Some(found.clone()), link: Some(link), not_before: None };
                    return Ok(found);
                }
                Err(why) => failed.push(FailedLink { link: link.name().to_owned(), why }),
            }
        }
        Err(TairError::NoCredentials(NoCredentials(failed)))
    }
}

impl Means {
    async fn find(&self, link: Link) -> Found {
        let found = match link {
            Link::Environment => self.environment(),
            Link::Oidc => self.oidc().await,
            Link::CliProfile => cli::find(self).await,
            Link::IniProfile => ini::find(self).await,
            Link::EcsMetadata => metadata::find(self, None).await,
            Link::Uri => {
                let uri = self.need("ALIBABA_CLOUD_CREDENTIALS_URI")?;
                temporary::from_uri(self, &uri).await.map(|c| c.by("credentials URI"))
            }
        }?;
        // A header could not carry them.
        let parts =
            [Some(found.access_key_id.as_str()), Some(found.secret.expose()), found.token.as_ref().map(Secret::expose)];
        if parts.iter().flatten().any(|part| part.is_empty() || part.chars().any(|c| !matches!(c, '!'..='~'))) {
            return Err("what it gives has white space or other characters that no credential has".to_owned());
        }
        Ok(found)
    }

    fn need(&self, name: &str) -> Result<String, String> {
        self.env.get(name).ok_or_else(|| format!("{name} is not set"))
    }

    fn environment(&self) -> Found {
        let id = self.need("ALIBABA_CLOUD_ACCESS_KEY_ID")?;
        let secret = self.need("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?;
        let token = self.env.get("ALIBABA_CLOUD_SECURITY_TOKEN");
        Ok(Credentials::fixed(id, secret, Link::Environment.name()).with_token(token))
    }

    async fn oidc(&self) -> Found {
        let role = sts::OidcRole {
            token_file: self.need("ALIBABA_CLOUD_OIDC_TOKEN_FILE")?.into(),
            role_arn: self.need("ALIBABA_CLOUD_ROLE_ARN")?,
            provider_arn: self.need("ALIBABA_CLOUD_OIDC_PROVIDER_ARN")?,
            session: self.env.get("ALIBABA_CLOUD_ROLE_SESSION_NAME"),
            ..sts::OidcRole::default()
        };
        sts::assume_with_oidc(self, &role).await.map(|c| c.by("OIDC role of the environment"))
    }
}
