//! The RAM role of an ECS instance, from its metadata service: version 2 with a token, and version 1 where it may be.
//!
//! The service is link-local: no proxy is asked, and a machine without it is found out within a second.

use super::temporary::read_successful;
use super::{Found, Means};
use crate::tair::http::{Reply, Request, Trouble};
use std::time::Duration;

/// Where every ECS instance finds it.
pub(super) const ADDRESS: &str = "http://100.100.100.200/";

const TOKEN: &str = "latest/api/token";
const ROLES: &str = "latest/meta-data/ram/security-credentials/";
const WAIT: Duration = Duration::from_secs(1);

/// Asks for the role's credentials; for the instance's own role when none is named.
pub(super) async fn find(means: &Means, role: Option<String>) -> Found {
    if means.env.is_on("ALIBABA_CLOUD_ECS_METADATA_DISABLED") {
        return Err("it is switched off by ALIBABA_CLOUD_ECS_METADATA_DISABLED".to_owned());
    }
    let token = token(means).await?;
    let role = match role.or_else(|| means.env.get("ALIBABA_CLOUD_ECS_METADATA")) {
        Some(role) => role,
        None => {
            let body = get(means, ROLES, token.as_deref()).await?;
            let text = String::from_utf8_lossy(&body);
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
    };
    if role.is_empty() || !role.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err("this machine has no RAM role".to_owned());
    }
    let body = get(means, &format!("{ROLES}{role}"), token.as_deref()).await?;
    read_successful(&body).map(|c| c.by("RAM role of this ECS instance"))
}

/// A token of version 2; `None` where the service knows only version 1 and that is allowed.
async fn token(means: &Means) -> Result<Option<String>, String> {
    let header = ("X-aliyun-ecs-metadata-token-ttl-seconds".to_owned(), "21600".to_owned());
    let reply = send(means, reqwest::Method::PUT, TOKEN, vec![header]).await?;
    match String::from_utf8(reply.body).map(|t| t.trim().to_owned()) {
        Ok(token) if reply.status == 200 && !token.is_empty() => Ok(Some(token)),
        _ if means.env.is_on("ALIBABA_CLOUD_IMDSV1_DISABLED") => Err(format!(
            "it gave no token (HTTP {}), and version 1 is switched off by ALIBABA_CLOUD_IMDSV1_DISABLED",
            reply.status
        )),
        _ => Ok(None),
    }
}

async fn get(means: &Means, path: &str, token: Option<&str>) -> Result<Vec<u8>, String> {
    let headers = token.map(|t| ("X-aliyun-ecs-metadata-token".to_owned(), t.to_owned()));
    let reply = send(means, reqwest::Method::GET, path, headers.into_iter().collect()).await?;
    match reply.status {
        200 => Ok(reply.body),
        404 => Err("this machine has no such RAM role".to_owned()),
        status => Err(format!("it answered with HTTP {status}")),
    }
}

async fn send(
    means: &Means,
    method: reqwest::Method,
    path: &str,
    headers: Vec<(String, String)>,
) -> Result<Reply, String> {
    let address = means.metadata.as_ref().and_then(|base| base.join(path).ok()).ok_or("it has no address")?;
    let request = Request { method, url: address.into(), headers, body: Vec::new(), direct: true };
    match tokio::time::timeout(WAIT, means.http.send(request)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(Trouble::NotSent(why) | Trouble::NoReply(why))) => Err(format!("not reached: {why}")),
        Err(_) => Err("not reached within a second: this is no ECS instance".to_owned()),
    }
}
