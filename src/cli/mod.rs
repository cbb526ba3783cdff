//! The command line: every tool as a subcommand with the same arguments, and what only people do.
//!
//! Standard output carries the result alone; logs, bars and questions go to standard error or the terminal.

mod approve;
mod audit;
mod demo;
mod doctor;
mod emulate;
mod terminal;

use crate::config::{Config, ConfirmationPolicy};
use crate::mcp::server::CALLER;
use crate::mcp::signals::Signals;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::provider::Provider;
use crate::provider::local::Local;
use crate::provider::routed::Routed;
use crate::provider::tair::Tair;
use crate::state::State;
use crate::state::sqlite::Sqlite;
use crate::tair::client::Client;
use crate::tair::environment::Environment;
use crate::tools::guarded::reply::Guarded;
use crate::tools::{
    App, Outcome, ToolCall, create_backup, create_instance_from_backup, delete_backup, describe_backup_policy,
    describe_backups, describe_instances, describe_jobs, download_backup, modify_backup_policy, restore_instance,
};
use clap::{CommandFactory as _, Parser, Subcommand};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use terminal::{Bar, TerminalPerson};

/// Back up, describe, download and restore Redis, Valkey and Tair instances; for AI agents, guarded by people.
#[derive(Parser)]
#[command(name = "tair-backup-mcp", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    /// Where backups and state are kept [default: the XDG data directory]
    #[arg(long, value_name = "DIR", env = "TAIR_BACKUP_MCP_HOME")]
    home: Option<PathBuf>,
    /// Configuration file, TOML [default: tair-backup-mcp/config.toml in the XDG config directory]
    #[arg(long, value_name = "FILE", env = "TAIR_BACKUP_MCP_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse everything that changes an instance or makes a backup
    #[arg(long)]
    read_only: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  tair-backup-mcp demo                                     see a guarded restore from end to end
  tair-backup-mcp serve                                    MCP over stdio, for an agent's configuration
  tair-backup-mcp create-backup --instance-id orders
  tair-backup-mcp describe-backups --instance-id orders --start-time 2026-11-01T00:00Z
  tair-backup-mcp restore-instance --instance-id orders --backup-id b-20261123T061500Z-3f9a1c
  tair-backup-mcp approve                                  say yes or no to what an agent has planned

Without a configuration file there is one instance, `sandbox`: a real server of our own with sample data.
Exit codes: 0 done, or planned and nothing done yet (confirmation_required, prechecks_pending), 1 unexpected, 2 usage,
3 refused, 4 not found, 5 instance or provider, 6 damaged data, 130 interrupted.";

#[derive(Subcommand)]
enum Command {
    /// Serve MCP over standard input and output
    Serve,
    /// List instances with status, size and protection
    DescribeInstances(#[command(flatten)] Tool<describe_instances::Args>),
    /// Back up an instance; waits for the end unless --wait-seconds says otherwise
    CreateBackup(#[command(flatten)] Tool<create_backup::Args>),
    /// List backup sets, by default of the last 7 days
    DescribeBackups(#[command(flatten)] Tool<describe_backups::Args>),
    /// Write a backup set to a plain .rdb file
    DownloadBackup(#[command(flatten)] Tool<download_backup::Args>),
    /// Overwrite an instance with a backup set or a moment, after pre-checks and your yes
    RestoreInstance(#[command(flatten)] Tool<restore_instance::Args>),
    /// Show backup and restore jobs
    DescribeJobs(#[command(flatten)] Tool<describe_jobs::Args>),
    /// Show when an instance is backed up by itself, and how far back it can go
    DescribeBackupPolicy(#[command(flatten)] Tool<describe_backup_policy::Args>),
    /// Change that; what lowers protection takes your yes
    ModifyBackupPolicy(#[command(flatten)] Tool<modify_backup_policy::Args>),
    /// Delete a manual backup set for ever, after your yes
    DeleteBackup(#[command(flatten)] Tool<delete_backup::Args>),
    /// Make a new instance on Alibaba Cloud from a backup, after your yes: it is billed
    CreateInstanceFromBackup(#[command(flatten)] Tool<create_instance_from_backup::Args>),
    /// Say yes or no, at a terminal, to what an agent has planned: a restore, a deletion, a policy, a new instance
    Approve(approve::Args),
    /// Show what the guard has recorded
    Audit(audit::Args),
    /// Play a guarded restore from end to end on the sandbox
    Demo,
    /// Serve Alibaba Cloud's API over the configured instances, for tests without a cloud
    Emulate(emulate::Args),
    /// Check the home, the configuration and every instance
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// A tool's arguments, and how to print.
#[derive(clap::Args)]
struct Tool<A: clap::Args> {
    #[command(flatten)]
    args: A,
    /// Print exactly the tool's structured result
    #[arg(long)]
    json: bool,
}

/// Everything a subcommand may need.
fn app(cli: &Cli) -> Result<Arc<App>, Fault> {
    let mut config = Config::load(cli.home.clone(), cli.config.clone(), cli.read_only)?;
    if matches!(cli.command, Command::Emulate(_)) {
        // What stands in for the cloud is what is here; nothing of it may come from the cloud.
        config.tair = None;
    }
    let state: Arc<dyn State> = Arc::new(Sqlite::new(config.home.dir()));
    let local = Local::new(&config, Arc::clone(&state));
    let provider: Arc<dyn Provider> = match &config.tair {
        None => Arc::new(local),
        Some(tair) => {
            let client = Client::new(tair.clone(), &Environment::process())?;
            Arc::new(Routed::new(local, Tair::new(client, Arc::clone(&state))))
        }
    };
    Ok(Arc::new(App { config, provider, state }))
}

/// Parses, runs, prints.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("TAIR_BACKUP_MCP_LOG").unwrap_or_else(|_| {
        // The SDK logs whole requests at debug; only our own words are worth a default.
        tracing_subscriber::EnvFilter::new("error,tair_backup_mcp=warn")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One thread for the protocol, worker threads for hashing and disks: the smallest that serves.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            return fail(&Fault::new(Kind::Unexpected, "system.runtime", format!("the runtime did not start: {e}")));
        }
    };
    let done = runtime.block_on(run(cli));
    // Jobs have been waited for. A thread that still reads or writes for a call that is over must not keep us: a download
    // resumes, and verifying leaves nothing.
    runtime.shutdown_background();
    match done {
        Ok(code) => ExitCode::from(code),
        Err(fault) => fail(&fault),
    }
}

fn signals() -> Result<Signals, Fault> {
    Signals::new()
        .map_err(|e| Fault::new(Kind::Unexpected, "system.signals", "signals cannot be waited for").because(e))
}

fn fail(fault: &Fault) -> ExitCode {
    tracing::debug!(cause = ?std::error::Error::source(fault), "failed");
    let mut err = std::io::stderr();
    // Nobody left to tell when standard error is gone.
    let _ = writeln!(err, "error: {} [{}]", fault.message, fault.code);
    if !fault.hint.is_empty() {
        let _ = writeln!(err, "hint: {}", fault.hint);
    }
    ExitCode::from(fault.kind.exit_code())
}

/// Prints to standard output; a closed pipe (`| head`) is not an error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn run(cli: Cli) -> Result<u8, Fault> {
    // Not every command needs it: completions and the demo go without, and to the doctor what is wrong with it is a finding.
    let app = app(&cli);
    match cli.command {
        Command::Serve => crate::mcp::serve(app?).await.map(|()| 0),
        Command::DescribeInstances(t) => tool(&*app?, "describe_instances", to_json(&t.args)?, t.json).await,
        Command::CreateBackup(mut t) => {
            // A person waits, as long as a tool may.
            t.args.wait_seconds.get_or_insert(create_backup::MAX_WAIT);
            tool(&*app?, "create_backup", to_json(&t.args)?, t.json).await
        }
        Command::DescribeBackups(t) => tool(&*app?, "describe_backups", to_json(&t.args)?, t.json).await,
        Command::DownloadBackup(t) => tool(&*app?, "download_backup", to_json(&t.args)?, t.json).await,
        Command::RestoreInstance(t) => tool(&*app?, "restore_instance", to_json(&t.args)?, t.json).await,
        Command::DescribeJobs(t) => tool(&*app?, "describe_jobs", to_json(&t.args)?, t.json).await,
        Command::DescribeBackupPolicy(t) => tool(&*app?, "describe_backup_policy", to_json(&t.args)?, t.json).await,
        Command::ModifyBackupPolicy(t) => tool(&*app?, "modify_backup_policy", to_json(&t.args)?, t.json).await,
        Command::DeleteBackup(t) => tool(&*app?, "delete_backup", to_json(&t.args)?, t.json).await,
        Command::CreateInstanceFromBackup(t) => {
            tool(&*app?, "create_instance_from_backup", to_json(&t.args)?, t.json).await
        }
        Command::Approve(args) => approve::run(&*app?, args).await,
        Command::Audit(args) => audit::run(&*app?, args).await,
        Command::Emulate(args) => emulate::run(app?, args).await,
        Command::Demo => {
            if cli.config.is_some() || cli.read_only {
                let note =
                    "note: the demo plays on a sandbox of its own; --config and --read-only are for other commands";
                let _ = writeln!(std::io::stderr(), "{note}");
            }
            demo::run(cli.home).await
        }
        Command::Doctor(args) => {
            let (provider, mut signals) = (app.as_ref().ok().map(|app| Arc::clone(&app.provider)), signals()?);
            tokio::select! {
                done = doctor::run(app, args) => done,
                () = signals.asked_to_end() => {
                    if let Some(provider) = provider {
                        provider.shut_down(true).await;
                    }
                    Ok(INTERRUPTED)
                }
            }
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tair-backup-mcp", &mut std::io::stdout());
            Ok(0)
        }
    }
}

fn to_json(args: &impl serde::Serialize) -> Result<Value, Fault> {
    serde_json::to_value(args).map_err(|e| {
        Fault::new(Kind::Unexpected, "arguments.invalid", "the arguments could not be written as JSON").because(e)
    })
}

/// Runs a tool to its end, or until Ctrl-C or another signal; then ends cleanly what it began.
async fn tool(app: &App, name: &str, arguments: Value, as_json: bool) -> Result<u8, Fault> {
    let recovered = app.config.home.dir().join("state.db").exists();
    if recovered {
        app.provider.recover().await?;
    }
    let (person, bar, mut signals) = (TerminalPerson::new(as_json), Bar::new(), signals()?);
    let call = ToolCall { app, caller: CALLER, person: &person, progress: &bar };
    let work = conversation(&call, name, arguments, as_json);
    tokio::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => Some(outcome),
        () = signals.asked_to_end() => None,
    };
    bar.clear();
    let Some(outcome) = outcome else {
        stop(app, &mut signals).await;
        return Ok(INTERRUPTED);
    };
    let (code, goes_on) = said(outcome, as_json);
    // What the call began outlives its reply, but not this process.
    if goes_on.is_some() {
        let _ = writeln!(std::io::stderr(), "its job goes on (Ctrl-C cancels a backup of our own making)");
    }
    tokio::select! {
        () = app.provider.shut_down(false) => {}
        () = signals.asked_to_end() => {
            stop(app, &mut signals).await;
            return Ok(INTERRUPTED);
        }
    }
    let Some(job) = goes_on.filter(|_| !as_json) else { return code };
    let job = app.state.job(&job).await?;
    // The cloud goes on by itself; whoever looks next follows it.
    let told = if job.status == JobStatus::Running { "follow it with describe-jobs" } else { &job.message };
    print(&format!("{}  {}  {told}", job.status.as_str(), job.id));
    if job.status == JobStatus::Failed { Ok(Guarded::failed(&job.code).exit_code()) } else { code }
}

async fn stop(app: &App, signals: &mut Signals) {
    let _ = writeln!(std::io::stderr(), "stopping: a backup is cancelled, a restore that has begun is seen to its end");
    tokio::select! {
        () = app.provider.shut_down(true) => {}
        // Asked twice. What runs is settled at the next start.
        () = signals.asked_to_end() => {}
    }
}

/// Prints what came of a call. Returns the exit code and, where a job of the call still runs, its id.
fn said(outcome: Result<Outcome, Fault>, as_json: bool) -> (Result<u8, Fault>, Option<String>) {
    let (json, human) = match outcome {
        Ok(Outcome::Reply { json, human }) => (json, human),
        // A terminal answers at once; nothing is deferred here.
        Ok(Outcome::AskPerson { .. }) => return (Ok(Kind::Unexpected.exit_code()), None),
        Err(fault) => {
            if as_json {
                print(&crate::mcp::contract::error_json(&fault).to_string());
            }
            return (Err(fault), None);
        }
    };
    print(&if as_json { json.to_string() } else { human });
    let word = |key: &str| json.get(key).and_then(Value::as_str);
    let status = word("status").unwrap_or_default();
    let goes_on = matches!(status, "running" | "started").then(|| word("backup_job_id").or(word("job_id"))).flatten();
    let refused = Guarded::refused(status, word("code").unwrap_or_default());
    (Ok(refused.map_or(0, Kind::exit_code)), goes_on.map(str::to_owned))
}

/// One call; for a restore at a terminal also the second one, since the person is right here.
async fn conversation(call: &ToolCall<'_>, name: &str, mut arguments: Value, as_json: bool) -> Result<Outcome, Fault> {
    let first = crate::tools::run(call, name, arguments.clone()).await?;
    let Outcome::Reply { json, human } = &first else { return Ok(first) };
    let planned = json.get("status").and_then(Value::as_str) == Some("confirmation_required");
    // Where the token alone is enough, echoing it is the person's own second step.
    let asked = call.app.config.guard.confirmation == ConfirmationPolicy::Person;
    if !planned || !asked || as_json || !terminal::is_there() {
        return Ok(first);
    }
    let _ = writeln!(std::io::stderr(), "{human}\n");
    if let (Some(arguments), Some(token)) = (arguments.as_object_mut(), json.get("confirmation_token")) {
        arguments.insert("confirmation_token".into(), token.clone());
    }
    loop {
        let next = crate::tools::run(call, name, arguments.clone()).await?;
        match &next {
            Outcome::Reply { json, .. } if json.get("status").and_then(Value::as_str) == Some("prechecks_pending") => {}
            _ => return Ok(next),
        }
    }
}
