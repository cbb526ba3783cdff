//! Roles: the Security Token Service's AssumeRole, signed as any call, and AssumeRoleWithOIDC, which is not signed.
//!
//! Assuming a role changes nothing, so it is repeated after any failure that may pass.

use super::temporary::{need, read};
use super::{Credentials, Found, Means};
use crate::model::time::written;
use crate::tair::acs3;
use crate::tair::attempt::{self, Answer, ApiCall, Failure, attempt};
use crate::tair::endpoint;
use crate::tair::error::TairError;
use crate::tair::http::Request;
use crate::tair::params::{Params, canonical, first};
use crate::tair::retry::Retry;
use crate::tair::wire::{Method, parse};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const VERSION: &str = "2015-04-01";
const ATTEMPTS: u32 = 3;
const WAIT: Duration = Duration::from_millis(500);

/// What both calls share.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// The name under which the audit trail has it.
    pub(super) name: Option<String>,
    /// Seconds it lasts; the service's default is an hour.
    pub(super) seconds: Option<i64>,
    /// A policy that narrows the role.
    pub(super) policy: Option<String>,
    /// The region whose service is asked; when `None` the central one, or within a VPC that of the region that is called.
    pub(super) region: Option<String>,
    /// Whether the service is reached within the VPC.
    pub(super) vpc: bool,
}

/// A role for an identity token.
#[derive(Debug, Clone, Default)]
pub(super) struct OidcRole {
    pub(super) token_file: PathBuf,
    pub(super) role_arn: String,
    pub(super) provider_arn: String,
    pub(super) session: Option<String>,
    pub(super) more: Session,
}

fn service(means: &Means, session: &Session) -> Result<Url, String> {
    let vpc = session.vpc || means.config.vpc || means.env.is_on("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
    let region = session.region.clone().or_else(|| means.env.get("ALIBABA_CLOUD_STS_REGION"));
    // The central service is not reached from within a VPC.
    let region = region.or_else(|| means.region.clone().filter(|_| vpc));
    endpoint::sts(means.config.sts_endpoint.as_ref(), region.as_deref(), vpc).map_err(|e| e.to_string())
}

fn common(role_arn: &str, session: &Session) -> Params {
    let name = session.name.clone().unwrap_or_else(|| format!("tair-backup-mcp-{}", Timestamp::now().as_second()));
    let mut params = vec![("RoleArn".to_owned(), role_arn.to_owned()), ("RoleSessionName".to_owned(), name)];
    let seconds = session.seconds.filter(|s| *s > 0).unwrap_or(3600).max(900);
    params.push(("DurationSeconds".to_owned(), seconds.to_string()));
    if let Some(policy) = &session.policy {
        params.push(("Policy".to_owned(), policy.clone()));
    }
    params
}

/// Assumes a role as somebody.
pub(super) async fn assume(
    means: &Means,
    by: &Credentials,
    role_arn: &str,
    external_id: Option<String>,
    session: &Session,
) -> Found {
    let service = service(means, session)?;
    let mut params = common(role_arn, session);
    params.extend(external_id.map(|id| ("ExternalId".to_owned(), id)));
    let call =
        ApiCall { endpoint: &service, version: VERSION, action: "AssumeRole", method: Method::Post, params: &params };
    request_with_retries(means, &Asked::Signed(call, by)).await
}

/// Assumes a role by an identity token in a file, which its issuer renews.
pub(super) async fn assume_with_oidc(means: &Means, role: &OidcRole) -> Found {
    let service = service(means, &role.more)?;
    let token = tokio::fs::read_to_string(&role.token_file)
        .await
        .map_err(|e| format!("the token file {} cannot be read: {e}", role.token_file.display()))?;
    let session = Session { name: role.session.clone(), ..role.more.clone() };
    let mut body = common(&role.role_arn, &session);
    body.push(("OIDCProviderArn".to_owned(), role.provider_arn.clone()));
    body.push(("OIDCToken".to_owned(), token.trim().to_owned()));
    request_with_retries(means, &Asked::WithOidc(service, body)).await
}

/// Who signs with credentials, as the service knows them.
pub(super) struct Identity {
    /// Id of the account.
    pub(super) account: String,
    /// Id of the user or role.
    pub(super) principal: String,
}

/// Asks the service who signs with credentials. Needs no permission; `None` where the service refuses to say all the same.
pub(super) async fn identity(means: &Means, of: &Credentials, now: Timestamp) -> Result<Option<Identity>, TairError> {
    // Whoever reaches the API within a VPC may not reach the central service.
    let vpc = means.config.endpoint.as_ref().is_some_and(endpoint::is_in_vpc);
    let service = service(means, &Session { vpc, ..Session::default() }).map_err(TairError::Setup)?;
    let params = Params::new();
    let action = "GetCallerIdentity";
    let call = ApiCall { endpoint: &service, version: VERSION, action, method: Method::Post, params: &params };
    let answer = match repeated(means, &Asked::Signed(call, of), now).await {
        Ok(answer) => answer,
        Err(Failure::Cloud(e, _)) if e.status < 500 && e.is_final() => {
            tracing::debug!("the account is not known: {e}");
            return Ok(None);
        }
        Err(Failure::Cloud(e, _)) => return Err(TairError::Cloud(e)),
        Err(Failure::Setup(e)) => return Err(e),
        Err(Failure::NotSent(why)) => {
            let host = service.host_str().unwrap_or_default().to_owned();
            return Err(TairError::Unreachable { host, why });
        }
        Err(Failure::NoReply(why)) => return Err(TairError::NoReply { action: action.to_owned(), why }),
        Err(Failure::Foreign(why)) => return Err(TairError::BadReply { action: action.to_owned(), why }),
    };
    let read = || -> Result<Identity, String> {
        let value = parse(&answer.body)?;
        let principal = need(&value, "PrincipalId").or_else(|_| need(&value, "UserId"))?;
        // Of a role's session the role alone stays: the session is another one after every renewal.
        let principal = principal.split(':').next().unwrap_or_default().to_owned();
        Ok(Identity { account: need(&value, "AccountId")?, principal })
    };
    read().map(Some).map_err(|why| TairError::BadReply { action: action.to_owned(), why })
}

/// A role asked for.
enum Asked<'a> {
    /// A call signed by the credentials of who assumes the role.
    Signed(ApiCall<'a>, &'a Credentials),
    /// By an identity token: the service, and the form that holds the token.
    WithOidc(Url, Params),
}

impl Asked<'_> {
    async fn once(&self, means: &Means, now: Timestamp) -> Result<Answer, Failure> {
        match self {
            Self::Signed(call, by) => attempt(&means.http, *call, by, now).await,
            Self::WithOidc(service, form) => {
                let query = [
                    ("Action", "AssumeRoleWithOIDC".to_owned()),
                    ("Format", "JSON".to_owned()),
                    ("Version", VERSION.to_owned()),
                    ("Timestamp", written(now)),
                    ("SignatureNonce", acs3::nonce().map_err(Failure::Setup)?),
                ];
                let query: Params = query.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                let mut url = service.clone();
                url.set_query(Some(&canonical(&query)));
                let kind = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
                let request = Request {
                    method: reqwest::Method::POST,
                    url: url.into(),
                    headers: vec![kind, ("accept".to_owned(), "application/json".to_owned())],
                    // The token is in the body: addresses end up in logs.
                    body: canonical(form).into_bytes(),
                    direct: false,
                };
                let token = first(form, "OIDCToken").unwrap_or_default();
                attempt::read("AssumeRoleWithOIDC", means.http.send(request).await.map(|reply| reply.without(&[token])))
            }
        }
    }
}

/// Asks again after what may pass, and by the service's clock where it says that ours is off.
async fn repeated(means: &Means, asked: &Asked<'_>, mut now: Timestamp) -> Result<Answer, Failure> {
    let (mut attempts, mut clock_set) = (0, false);
    loop {
        attempts += 1;
        let failure = match asked.once(means, now).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let wait = match &failure {
            Failure::NotSent(_) | Failure::NoReply(_) => Some(WAIT),
            Failure::Foreign(_) | Failure::Setup(_) => None,
            Failure::Cloud(e, date) => match (e.meaning().retry, date) {
                (Retry::SlowDown | Retry::Transient | Retry::NonceUsed, _) => Some(e.retry_after.unwrap_or(WAIT)),
                (Retry::Clock, Some(date)) if !clock_set => {
                    (clock_set, now) = (true, *date);
                    Some(Duration::ZERO)
                }
                _ if e.status >= 500 => Some(WAIT),
                _ => None,
            },
        };
        match wait {
            Some(wait) if attempts < ATTEMPTS && wait < Duration::from_secs(10) => {
                tokio::time::sleep(wait * attempts).await;
            }
            _ => return Err(failure),
        }
    }
}

async fn request_with_retries(means: &Means, asked: &Asked<'_>) -> Found {
    match repeated(means, asked, Timestamp::now()).await {
        Ok(answer) => {
            let value = parse(&answer.body).map_err(|why| format!("the reply of STS cannot be read: {why}"))?;
            let inner = value.get("Credentials").ok_or("the reply of STS has no credentials")?;
            read(inner)
        }
        Err(Failure::NotSent(why) | Failure::NoReply(why) | Failure::Foreign(why)) => {
            Err(format!("STS is not reached: {why}"))
        }
        Err(Failure::Setup(e)) => Err(e.to_string()),
        Err(Failure::Cloud(e, _)) => Err(e.to_string()),
    }
}
