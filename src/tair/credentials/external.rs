//! Credentials from a program that the profile names, as the official command line runs it.
//!
//! Its output holds secrets: neither that nor its error output is repeated. No shell is involved.

use super::temporary::{need, text};
use super::{Credentials, Found, Means};
use crate::tair::wire::moment;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const WAIT: Duration = Duration::from_secs(60);

/// Runs the program and reads `{"mode", "access_key_id", "access_key_secret", "sts_token", "expiration"}`.
pub(super) async fn run(means: &Means, command: &str) -> Found {
    if means.env.is_on("ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS") {
        return Err("it is switched off by ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS".to_owned());
    }
    let mut parts = command.split_whitespace();
    let program = parts.next().ok_or("process_command is empty")?;
    let mut command = Command::new(program);
    // Standard output is this process's wire to its client: a child never inherits it.
    command.args(parts).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(WAIT, command.output()).await {
        Ok(output) => output.map_err(|e| format!("its program cannot be run: {e}"))?,
        Err(_) => return Err(format!("its program took longer than {} s", WAIT.as_secs())),
    };
    if !output.status.success() {
        return Err(format!("its program failed ({})", output.status));
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|_| "its program's output is not JSON")?;
    read(&value)
}

fn read(value: &Value) -> Found {
    let mode = need(value, "mode")?;
    let found =
        Credentials::fixed(need(value, "access_key_id")?, need(value, "access_key_secret")?, "external program");
    if mode.eq_ignore_ascii_case("AK") {
        return Ok(found);
    }
    if !mode.eq_ignore_ascii_case("StsToken") {
        return Err("its program's mode is neither AK nor StsToken".to_owned());
    }
    let mut found = found.with_token(Some(need(value, "sts_token")?));
    if let Some(expiration) = text(value, "expiration") {
        found.expires_at = Some(moment(Some(&expiration)).ok_or("its program's expiration is not a time")?);
    }
    if found.is_expired(found.obtained_at) {
        return Err("the credentials its program gives have expired".to_owned());
    }
    Ok(found)
}
