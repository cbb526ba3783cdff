//! `--wait-seconds 0`: another process of this program begins the job and stays until it has ended; this one ends at once.
//!
//! A job lives in the process that began it. So the same line is run once more, with `--stay`, out of reach of this terminal's Ctrl-C; its
//! first line of output is the reply.

use crate::cli::render::screen::Screen;
use crate::cli::{print, render, tell, terminal};
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::tools::App;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// Has the job of a tool's call begun by another process, and shows its reply.
///
/// # Errors
/// `system.program`: this program cannot start itself.
pub async fn run(app: &App, verb: &str, as_json: bool) -> Result<u8, Fault> {
    let fault = || {
        Fault::new(Kind::Unexpected, "system.program", "this program cannot start itself")
            .hint("Leave --wait-seconds 0 out: then the command waits for its job.")
    };
    let failed = |e: std::io::Error| fault().because(e);
    let program = app.config.own_program.as_deref().unwrap_or(Path::new("/proc/self/exe"));
    let mut command = Command::new(program);
    command.arg("--stay").args((!as_json).then_some("--json")).args(std::env::args_os().skip(1));
    // What it logs has no reader any more; how its job ends is in the job.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).await.map_err(failed)?;
    }
    let Ok(reply) = serde_json::from_str::<Value>(&line) else { return Err(fault()) };
    let text = |field: &str| reply.get(field).and_then(Value::as_str);
    let running = text("status") == Some(JobStatus::Running.as_str());
    let job_id = text("backup_job_id").or(text("job_id")).unwrap_or_default();
    let code = if running {
        0
    } else {
        let status = child.wait().await.map_err(failed)?;
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Kind::Unexpected.exit_code())
    };
    if as_json {
        print(line.trim_end());
    } else if let (None, Some(code), Some(message)) = (text("status"), text("code"), text("message")) {
        tell(message, code, text("hint").unwrap_or_default());
    } else {
        print(&render::reply(&Screen::stdout(), verb, &reply));
    }
    if running {
        let command = app.config.command("describe-jobs");
        terminal::note(&format!("its job goes on by itself; follow it: {command} --job-id {job_id}"));
    }
    Ok(code)
}
