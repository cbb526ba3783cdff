//! `doctor`: says in a line of each instance how far it is protected, checks the home, the configuration and every instance, and prints each
//! finding with the next step.
//!
//! It must not change an instance. Like every command it makes the home directory where there is none, and reconciles what
//! dead processes left behind.

mod cloud;
mod cluster;
mod copies;
mod instances;
mod log;
mod machine;
mod notifications;
mod protection;

use crate::cli::render::screen::Screen;
use crate::cli::{print, render};
use crate::model::fault::{Fault, Kind};
use crate::model::text::clean_to;
use crate::tools::App;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest detail, in characters; reasons from a server are capped before.
const DETAIL: usize = 400;
/// Most lines of a next step, such as those to write into a file.
const LINES: usize = 60;

/// Arguments.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Fail where something is missing in the log of an instance, for cron
    #[arg(long)]
    fail_on_gap: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pass,
    /// The feature works, but the operator should know.
    Warn,
    /// Something does not work.
    Fail,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One finding of the doctor.
struct Check {
    /// Id of the instance; empty for a finding about the machine.
    instance_id: String,
    name: &'static str,
    status: Status,
    detail: String,
    /// The next step; empty where none is needed.
    next: String,
}

/// The findings about one instance, or about the machine.
struct Findings {
    instance_id: String,
    checks: Vec<Check>,
}

impl Findings {
    fn of(instance_id: &str) -> Self {
        Self { instance_id: instance_id.into(), checks: Vec::new() }
    }

    fn add(&mut self, status: Status, name: &'static str, detail: impl AsRef<str>, next: impl AsRef<str>) {
        let lines: Vec<String> = next.as_ref().lines().take(LINES).map(|line| clean_to(line, DETAIL)).collect();
        self.checks.push(Check {
            instance_id: self.instance_id.clone(),
            name,
            status,
            detail: clean_to(detail.as_ref(), DETAIL),
            next: lines.join("\n"),
        });
    }

    fn pass(&mut self, name: &'static str, detail: impl AsRef<str>) {
        self.add(Status::Pass, name, detail, "");
    }

    fn warn(&mut self, name: &'static str, detail: impl AsRef<str>, next: impl AsRef<str>) {
        self.add(Status::Warn, name, detail, next);
    }

    fn fail(&mut self, name: &'static str, fault: &Fault) {
        self.add(Status::Fail, name, &fault.message, &fault.hint);
    }
}

/// Checks everything; exit code 5 when something fails.
///
/// # Errors
/// None of its own: a failed check is a finding.
pub async fn run(app: Result<Arc<App>, Fault>, args: Args) -> Result<u8, Fault> {
    let (mut found, mut protected) = (Vec::new(), Vec::new());
    match app {
        Err(fault) => {
            let mut findings = Findings::of("");
            findings.fail("configuration", &fault);
            found.extend(findings.checks);
        }
        Ok(app) => {
            found.extend(machine::check(&app).await.checks);
            found.extend(notifications::check(&app).await.checks);
            let mut offered = BTreeSet::new();
            for id in app.config.instance_ids() {
                let (findings, protection) = instances::check(&app, &id, args.fail_on_gap, &mut offered).await;
                protected.push(protection.json(&findings));
                found.extend(findings.checks);
            }
            found.extend(cloud::check(&app).await.checks);
            app.provider.shut_down(true).await;
        }
    }
    let count = |status| found.iter().filter(|c| c.status == status).count();
    let (failed, warned) = (count(Status::Fail), count(Status::Warn));
    let checks: Vec<Value> = found.iter().map(Check::json).collect();
    let report = json!({ "instances": protected, "checks": checks, "failed": failed, "warned": warned });
    print(&if args.json { report.to_string() } else { render::checks(&Screen::stdout(), &report) });
    Ok(if failed > 0 { Kind::Provider.exit_code() } else { 0 })
}

impl Check {
    fn json(&self) -> Value {
        let mut row = json!({ "name": self.name, "status": self.status.as_str(), "detail": self.detail });
        if let Some(row) = row.as_object_mut() {
            if !self.instance_id.is_empty() {
                row.insert("instance_id".into(), self.instance_id.clone().into());
            }
            if !self.next.is_empty() {
                row.insert("next".into(), self.next.clone().into());
            }
        }
        row
    }
}
