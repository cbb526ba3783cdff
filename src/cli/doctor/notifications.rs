//! The check of who is told of what fails: by which ways, what was told last, and what was not. Of an address it says the host alone.

use super::{Findings, Status};
use crate::config::SANDBOX;
use crate::config::notify::NotifyConfig;
use crate::model::time::age;
use crate::tools::App;
use jiff::Timestamp;
use serde_json::Value;

const NAME: &str = "notifications";

/// Checks who is told.
pub async fn check(app: &App) -> Findings {
    let mut findings = Findings::of("");
    match &app.config.notify {
        Some(config) => configured(app, config, &mut findings).await,
        None => nobody(app, &mut findings).await,
    }
    findings
}

/// What a notification is about, for a reader.
fn about(body: &str) -> String {
    let told: Value = serde_json::from_str(body).unwrap_or_default();
    let field = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (event, instance) = (field("event"), field("instance_id"));
    if instance.is_empty() { event } else { format!("{event} of {instance}") }
}

async fn configured(app: &App, config: &NotifyConfig, findings: &mut Findings) {
    if let Some(program) =
        config.command.as_ref().filter(|program| program.path.components().nth(1).is_some() && !program.path.exists())
    {
        let detail = format!("there is no {}", program.path.display());
        return findings.add(Status::Fail, NAME, detail, "Name a program that is there in notify.command.");
    }
    let (now, mut all, mut status) = (Timestamp::now(), Vec::new(), Status::Pass);
    for (way, place) in config.ways() {
        let (told, failed) = match app.state.told_last(way).await {
            Ok(last) => last,
            Err(fault) => return findings.fail(NAME, &fault),
        };
        // What was told since shows that it works.
        if failed.as_ref().is_some_and(|failed| told.as_ref().is_none_or(|told| told.at <= failed.at)) {
            status = Status::Warn;
        }
        let last = |body: &str, at: Timestamp| format!("{}, {} ago", about(body), age(at, now));
        let sent = told
            .as_ref()
            .map_or_else(|| "none sent yet".to_owned(), |told| format!("last sent: {}", last(&told.body, told.at)));
        let failed = failed
            .map(|failed| format!(", last notification failed: {}: {}", last(&failed.body, failed.at), failed.failure));
        all.push(format!("{way} ({place}) {sent}{}", failed.unwrap_or_default()));
    }
    let next = if status == Status::Pass {
        ""
    } else {
        "See why it cannot be reached: what three tries have not sent is not sent again."
    };
    findings.add(status, NAME, all.join("; "), next);
}

/// Nobody is told: of the sandbox nobody needs to be.
async fn nobody(app: &App, findings: &mut Findings) {
    let mut with_policy = Vec::new();
    for id in app.config.instance_ids().into_iter().filter(|id| id != SANDBOX) {
        // What cannot be read is a finding of its own.
        if app.provider.backup_policy(&id).await.is_ok_and(|policy| policy.has_calendar()) {
            with_policy.push(id);
        }
    }
    if app.config.metrics_file.is_some() {
        findings.pass(NAME, "none; whoever watches metrics_file is told by that");
    } else if with_policy.is_empty() {
        findings.pass(NAME, "none");
    } else {
        let detail = format!("nobody is told when backups of {} fail or stop", with_policy.join(", "));
        findings.warn(
            NAME,
            detail,
            "[notify] with webhook_url, command or ping_url in the configuration; or metrics_file",
        );
    }
}
