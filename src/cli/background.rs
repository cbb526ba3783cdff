//! `--wait-seconds 0`: another process of this program begins the job and stays until it has ended; this one ends at once.
//!
//! A job lives in the process that began it. So the same line is run once more, with `--stay`, out of reach of this terminal's Ctrl-C; its
//! first line of output is the reply. Until that is there, whoever asks this process to end asks that one too.

use crate::cli::render::screen::Screen;
use crate::cli::{INTERRUPTED, print, render, tell, terminal};
use crate::config::named_url::{self, URL_OPTION, URL_VARIABLE};
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::runtime::drain;
use crate::runtime::signals::Signals;
use crate::tools::App;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Has the job of a tool's call begun by another process, and shows its reply.
///
/// # Errors
/// `system.program`: this program cannot start itself, or what it started gave no reply.
pub async fn run(app: &App, verb: &str, as_json: bool) -> Result<u8, Fault> {
    let fault = |what: &'static str| {
        Fault::new(Kind::Unexpected, "system.program", what)
            .hint("Leave --wait-seconds 0 out: then the command waits for its job.")
    };
    let failed = |e: std::io::Error| fault("this program cannot start itself").because(e);
    let program = app.config.own_program.as_deref().unwrap_or(Path::new("/proc/self/exe"));
    let (words, urls) = without_urls(std::env::args_os().skip(1).collect());
    let mut command = Command::new(program);
    command.arg("--stay").args((!as_json).then_some("--json")).args(words);
    command.envs(urls.map(|urls| (URL_VARIABLE, urls)));
    // What it logs has no reader any more; how its job ends is in the job.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut signals = Signals::new()?;
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        let mut out = BufReader::new(out);
        let Some(read) = drain::unless_asked_to_end(&mut signals, out.read_line(&mut line)).await else {
            return Ok(interrupted(&mut child, &mut signals).await);
        };
        read.map_err(failed)?;
    }
    let Ok(reply) = serde_json::from_str::<Value>(&line) else {
        return Err(fault("the process that was to do the work ended without a reply"));
    };
    let text = |field: &str| reply.get(field).and_then(Value::as_str);
    if as_json {
        print(line.trim_end());
    }
    if let (None, Some(code), Some(message)) = (text("status"), text("code"), text("message")) {
        tell(message, code, text("hint").unwrap_or_default());
    } else if !as_json {
        print(&render::reply(&Screen::stdout(), verb, &reply));
    }
    if text("status") == Some(JobStatus::Running.as_str()) {
        let command = app.config.command("describe-jobs");
        let job_id = text("backup_job_id").or(text("job_id")).unwrap_or_default();
        let told = format!("its job goes on by itself; follow it: {command} --job-id {job_id}");
        terminal::note(&Screen::stderr().line("", &told));
        return Ok(0);
    }
    let Some(ended) = drain::unless_asked_to_end(&mut signals, child.wait()).await else {
        return Ok(interrupted(&mut child, &mut signals).await);
    };
    let code = ended.map_err(failed)?.code();
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Kind::Unexpected.exit_code()))
}

/// Asks the other process to end, and waits until it has; once more with every further signal. Returns the exit code.
async fn interrupted(child: &mut Child, signals: &mut Signals) -> u8 {
    terminal::stopping();
    loop {
        // Until it was waited for, its number is nobody else's.
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, Signal::INT));
        if drain::unless_asked_to_end(signals, child.wait()).await.is_some() {
            return INTERRUPTED;
        }
    }
}

/// The words of a line without the urls of its options, and these as the variable has them: whoever may list processes can read a line, with the
/// passwords in it, for as long as its process lives. Urls that the variable would take apart stay where they are.
fn without_urls(line: Vec<OsString>) -> (Vec<OsString>, Option<String>) {
    let (mut kept, mut urls): (Vec<OsString>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut words = line.iter();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            kept.push(word.clone());
            kept.extend(words.by_ref().cloned());
        } else if text == URL_OPTION {
            urls.extend(words.next().and_then(|url| url.to_str()));
        } else if let Some(url) = text.strip_prefix(URL_OPTION).and_then(|rest| rest.strip_prefix('=')) {
            urls.push(url);
        } else {
            kept.push(word.clone());
        }
    }
    let fits = !urls.is_empty() && urls.iter().all(|url| named_url::split(url) == [*url]);
    let variable = fits.then(|| urls.join(","));
    if variable.is_some() { (kept, variable) } else { (line, None) }
}

#[cfg(test)]
mod tests {
    use super::without_urls;
    use std::ffi::OsString;

    /// No url stays in a line, wherever it stood, unless the variable could not have it; what is no option is none of ours.
    #[test]
    fn urls_leave_the_line() {
        for (line, kept, urls) in [
            ("create-backup a", "create-backup a", None),
            ("--url a=redis://:p@h create-backup a", "create-backup a", Some("a=redis://:p@h")),
            (
                "create-backup --url=redis://h a --url redis://:p=@i -q",
                "create-backup a -q",
                Some("redis://h,redis://:p=@i"),
            ),
            ("create-backup a --url redis://:p,q@h", "create-backup a --url redis://:p,q@h", None),
            ("create-backup -- --url", "create-backup -- --url", None),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(without_urls(words(line)), (words(kept), urls.map(str::to_owned)), "{line}");
        }
    }
}
