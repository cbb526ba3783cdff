//! The command line: every tool as a subcommand with the same arguments, and what only people do.
//!
//! Standard output carries the result alone; logs, bars and questions go to standard error or the terminal.

mod approve;
mod audit;
mod demo;
mod doctor;
mod emulate;
mod render;
mod terminal;
mod tool;

use crate::config::Config;
use crate::model::fault::Fault;
use crate::runtime::signals::Signals;
use crate::runtime::{drain, wiring};
use crate::tools::App;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tool::ToolCommand;

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
    #[command(flatten)]
    Tool(ToolCommand),
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

/// Everything a subcommand may need.
fn app(cli: &Cli) -> Result<Arc<App>, Fault> {
    let config = Config::load(cli.home.clone(), cli.config.clone(), cli.read_only)?;
    if matches!(cli.command, Command::Emulate(_)) { wiring::app_without_cloud(config) } else { wiring::app(config) }
}

/// Parses, runs, prints.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The SDK logs whole requests at debug; only our own messages are worth a default.
    crate::runtime::log("error,tair_backup_mcp=warn");
    match crate::runtime::run(run(cli)) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(fault)) | Err(fault) => fail(&fault),
    }
}

fn signals() -> Result<Signals, Fault> {
    Signals::new()
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
        Command::Serve => crate::runtime::serve::stdio(app?).await.map(|()| 0),
        Command::Tool(command) => command.run(&*app?).await,
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
            let (seen, mut signals) = (app.as_ref().ok().map(Arc::clone), signals()?);
            match drain::unless_asked_to_end(&mut signals, doctor::run(app, args)).await {
                Some(done) => done,
                None => {
                    if let Some(app) = seen {
                        drain::stop(&app, &mut signals).await;
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
