//! The command line: every tool as a subcommand with the same arguments, and commands for people alone.
//!
//! Standard output carries the result alone; logs, bars and questions go to standard error or the terminal.

mod approve;
mod audit;
mod background;
mod clear_rollback;
mod compare;
mod delete_instance;
mod demo;
mod doctor;
mod emulate;
mod init;
mod line;
mod prune;
pub mod render;
mod retention;
mod state;
mod terminal;
mod tool;
mod vault;

use crate::config::Config;
use crate::config::named_url::{self, NamedUrls, URL_OPTION, URL_VARIABLE};
use crate::model::fault::{Fault, Kind};
use crate::provider::local::clones::keep;
use crate::runtime::drain::Ended;
use crate::runtime::signals::Signals;
use crate::runtime::{drain, log, wiring};
use crate::tools::App;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use line::EVERYWHERE;
use render::screen::{Screen, Tone};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tool::ToolCommand;

/// Back up, describe, download and restore Redis, Valkey and Tair instances; for AI agents, guarded by people.
#[derive(Parser)]
#[command(name = "tair-backup-mcp", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    /// Where backups and state are kept [default: the XDG data directory]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "TAIR_BACKUP_MCP_HOME")]
    home: Option<PathBuf>,
    /// Configuration file, TOML [default: tair-backup-mcp/config.toml in the XDG config directory]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE", env = "TAIR_BACKUP_MCP_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse everything that changes an instance or makes a backup
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    read_only: bool,
    /// An instance by its url, without a file or beside those of the file: redis://host:6379, rediss:// (TLS) or
    /// unix:///socket. May be repeated. Without an id it is called by its host, with the port if that is not 6379. The
    /// variable takes several, between commas or blanks, and is not read if this option is given
    #[arg(long, help_heading = EVERYWHERE, value_name = "[ID=]URL", env = URL_VARIABLE, hide_env_values = true)]
    url: Vec<String>,
    /// Show no progress and no notes: only the result, warnings, errors and questions
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// Stay until the job has ended; given by this program alone, to the process that does the work of `--wait-seconds 0`
    #[arg(long, global = true, hide = true)]
    stay: bool,
    /// What the cloud is told of who calls, in place of the configured text
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "TEXT")]
    user_agent: Option<String>,
    /// How the log on standard error is written [default: text]; what it says is set by TAIR_BACKUP_MCP_LOG
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORMAT")]
    log_format: Option<log::Format>,
    /// What `url` and its variable come to.
    #[arg(skip)]
    named_urls: NamedUrls,
    #[command(subcommand)]
    command: Command,
}

/// The option that names an instance by its url.
const URL: &str = "url";

const EXAMPLES: &str = "Examples:
  tair-backup-mcp demo                                     see a guarded restore from end to end
  tair-backup-mcp init                                     write a configuration, and the lines for your host
  tair-backup-mcp serve                                    MCP over stdio, for an agent's configuration
  tair-backup-mcp serve --url redis://localhost:6379       the same for one instance, without a file
  tair-backup-mcp doctor --url orders=redis://10.0.0.5     check one that is called orders
  tair-backup-mcp create-backup orders
  tair-backup-mcp describe-backups orders --start-time yesterday
  tair-backup-mcp restore-instance orders --backup-id b-20261123T061500Z-3f9a1c
  tair-backup-mcp compare-backups orders b-20261123T061500Z-3f9a1c    which keys differ by now
  tair-backup-mcp prune orders --keep-last 5 --dry-run     which manual and safety backups would go
  tair-backup-mcp approve                                  say yes or no to what an agent has planned
  tair-backup-mcp audit --since yesterday                  what was done, and for whom

Without a configuration file and --url there is one instance, `sandbox`: a real server of our own with sample data.
Exit codes: 0 done, or planned and nothing done yet (confirmation_required, prechecks_pending), 1 unexpected, or
compare-backups found a difference, 2 usage, 3 refused, 4 not found, 5 instance or provider, 6 damaged data, 130 interrupted.";

#[derive(Subcommand)]
enum Command {
    /// Write a configuration file, check it, and print the lines for Claude Code, Codex, Cursor and VS Code
    Init(init::Args),
    /// Serve MCP over standard input and output
    #[command(after_help = HOSTS)]
    Serve,
    /// Take the backups that policies ask for and keep the logs that are on (enable_backup_log), as a service without MCP
    Run,
    #[command(flatten)]
    Tool(ToolCommand),
    /// Say yes or no, at a terminal, to what an agent has planned: a restore, a deletion, a policy, a new instance
    Approve(approve::Args),
    /// Say, at a terminal, that nothing of a failed restore is left to roll back, so that others may begin
    ClearRollback(clear_rollback::Args),
    /// End a clone, at a terminal, before its time; its data is gone, the backup that it was made of stays
    DeleteInstance(delete_instance::Args),
    /// Show which keys differ between two backups or moments, or between one of them and now
    CompareBackups(compare::Args),
    /// Show which backups of an instance would expire now, and why each other one stays; deletes nothing
    Retention(retention::Args),
    /// Delete the manual and safety backups of an instance that no rule of yours keeps, after your yes at a terminal
    Prune(prune::Args),
    /// Check the vault for damage and for changes by others, or copy it to another place
    Vault(vault::Args),
    /// Show what was done for whom: plans and answers, jobs, downloads, refusals
    Audit(audit::Args),
    /// Move the state to another database or machine: write it into a file, take a file over
    State(state::Args),
    /// Play a guarded restore from end to end on the sandbox
    Demo,
    /// Serve Alibaba Cloud's API over the configured instances, for tests without a cloud
    Emulate(emulate::Args),
    /// Check the home, the configuration and every instance
    Doctor(doctor::Args),
    /// Keep a clone's server until its end; started by this program alone
    #[command(name = keep::SUBCOMMAND, hide = true)]
    KeepClone(keep::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const HOSTS: &str = "A host starts it; tell one of it by a line such as
  claude mcp add tair-backup -- tair-backup-mcp serve --url redis://localhost:6379
  codex mcp add tair-backup -- tair-backup-mcp serve --url orders=redis://10.0.0.5:6379
`tair-backup-mcp init` prints these lines for your configuration, and those for Cursor and VS Code.";

/// Exit code after Ctrl-C, by the convention of shells.
const INTERRUPTED: u8 = 130;

/// Makes the application that a subcommand works with.
fn app(cli: &Cli) -> Result<Arc<App>, Fault> {
    let mut config = Config::load_with_urls(cli.home.clone(), cli.config.clone(), &cli.named_urls, cli.read_only)?;
    // Its file may be replaced or deleted while we run: there it is found all the same, and is this version.
    config.own_program =
        if cfg!(target_os = "linux") { Some("/proc/self/exe".into()) } else { std::env::current_exe().ok() };
    if let (Some(tair), Some(agent)) = (&mut config.tair, &cli.user_agent) {
        tair.user_agent.clone_from(agent);
    }
    config.remember();
    if matches!(cli.command, Command::Emulate(_)) { wiring::app_without_cloud(config) } else { wiring::app(config) }
}

/// The whole command line. `--url` may precede a subcommand as well as follow it, where hosts put it.
fn command() -> clap::Command {
    let command = line::completed(Cli::command());
    let url = command.get_arguments().find(|arg| arg.get_id() == URL).cloned();
    let Some(url) = url else { return command };
    // The environment variable is read by the global option alone.
    let url = url.env(None::<&'static str>);
    command.mut_subcommands(|subcommand| subcommand.arg(url.clone()))
}

/// The urls of the command line, wherever they stand; where there are none, those of the environment.
fn urls(given: &ArgMatches) -> NamedUrls {
    let urls_in = |matches: &ArgMatches| -> Vec<String> {
        matches.get_many::<String>(URL).into_iter().flatten().cloned().collect()
    };
    let (before, typed) = (urls_in(given), given.value_source(URL) == Some(ValueSource::CommandLine));
    let behind = given.subcommand().map(|(_, matches)| urls_in(matches)).unwrap_or_default();
    if !typed && behind.is_empty() {
        let urls = before.iter().flat_map(|text| named_url::split(text)).collect();
        return NamedUrls { origin: URL_VARIABLE, urls };
    }
    let all = if typed { [before, behind].concat() } else { behind };
    if all.iter().any(|url| named_url::has_password(url)) {
        let label = Screen::stderr().paint(Tone::Mind, "warning:");
        let warning = "whoever may list the processes of this machine can read the password in --url";
        let _ = writeln!(std::io::stderr(), "{label} {warning}; put the url into {URL_VARIABLE}");
    }
    NamedUrls { origin: URL_OPTION, urls: all }
}

/// Default filter of a service: the SDK logs whole requests at debug, so only our own messages are logged.
const LOG_OF_A_SERVICE: &str = "error,tair_backup_mcp=warn";
/// Default filter of a command, which prints the result of its job itself: the job's failure is not logged too.
const LOG_OF_A_COMMAND: &str = "error,tair_backup_mcp=warn,tair_backup_mcp::job_failed=off";

/// Parses the command line, runs the command, prints the outcome.
#[must_use]
pub fn main() -> ExitCode {
    // An image of this process would hold passwords. Where that cannot be helped it is the machine's own setting.
    let cores = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..cores });
    let line: Vec<_> = std::env::args_os().collect();
    let given = line::parse(command, &line).unwrap_or_else(|e| e.exit());
    let mut cli = Cli::from_arg_matches(&given).unwrap_or_else(|e| e.exit());
    if let Command::KeepClone(args) = &cli.command {
        return keep::run(args);
    }
    let filter = match cli.command {
        Command::Serve | Command::Run | Command::Emulate(_) => LOG_OF_A_SERVICE,
        _ => LOG_OF_A_COMMAND,
    };
    if let Err(fault) = log::begin(filter, cli.log_format.unwrap_or_default()) {
        return fail(&fault);
    }
    terminal::set_quiet(cli.quiet);
    cli.named_urls = urls(&given);
    match crate::runtime::run(run(cli)) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(fault)) | Err(fault) => fail(&fault),
    }
}

/// Tells a person of a fault: what is wrong, its code, and what to do next.
fn tell(message: &str, code: &str, hint: &str) {
    let screen = Screen::stderr();
    let mut err = std::io::stderr();
    // Nobody reads the message when standard error is closed.
    let _ = writeln!(err, "{} {message} [{code}]", screen.paint(Tone::Bad, "error:"));
    if !hint.is_empty() {
        let head = format!("{} ", screen.paint(Tone::Head, "hint:"));
        let _ = writeln!(err, "{}", screen.line(&head, &render::typed(&screen, hint)));
    }
}

fn fail(fault: &Fault) -> ExitCode {
    let cause = std::error::Error::source(fault);
    let mut err = std::io::stderr();
    tell(&fault.message, fault.code, &fault.hint);
    match cause {
        // Nobody can do anything about what has no cause. Many messages name theirs.
        Some(cause) if fault.kind == Kind::Unexpected => {
            if !fault.message.ends_with(&cause.to_string()) {
                let _ = writeln!(err, "cause: {cause}");
            }
        }
        cause => tracing::debug!(cause = ?cause, "failed"),
    }
    ExitCode::from(fault.kind.exit_code())
}

/// Prints to standard output; a closed pipe (`| head`) is not an error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn run(cli: Cli) -> Result<u8, Fault> {
    // Not every command needs the application: completions and the demo do without, and the doctor reports its fault as a finding.
    let app = app(&cli);
    match cli.command {
        Command::Serve => {
            let app = app?;
            if std::io::stdin().is_terminal() {
                // A host has no terminal: here somebody tries what a host would start.
                let given =
                    init::Given { home: cli.home, config: cli.config, urls: cli.named_urls, read_only: cli.read_only };
                if let Ok(how) = init::how_to_serve(&given, &app.config) {
                    terminal::note(&how);
                }
            }
            crate::runtime::serve::stdio(app).await.map(|()| 0)
        }
        Command::Run => match crate::runtime::service::run(app?).await? {
            Ended::Abandoned => Ok(INTERRUPTED),
            // To be asked to end is how a service ends.
            Ended::Done | Ended::Interrupted => Ok(0),
        },
        Command::Tool(command) => command.run(&*app?, cli.stay).await,
        Command::Approve(args) => approve::run(&*app?, args).await,
        Command::ClearRollback(args) => clear_rollback::run(&*app?, args).await,
        Command::DeleteInstance(args) => delete_instance::run(&*app?, args).await,
        Command::CompareBackups(args) => compare::run(&*app?, args).await,
        Command::Retention(args) => retention::run(&*app?, args).await,
        Command::Prune(args) => prune::run(&*app?, args).await,
        Command::Vault(args) => vault::run(&*app?, args).await,
        Command::Audit(args) => audit::run(&*app?, args).await,
        Command::State(args) => state::run(&*app?, args).await.map(|code| code.unwrap_or(INTERRUPTED)),
        Command::Emulate(args) => emulate::run(app?, args).await,
        Command::Demo => {
            if cli.config.is_some() || cli.read_only || !cli.named_urls.urls.is_empty() {
                let note = "note: the demo plays on a sandbox of its own; --config, --url and --read-only are for other commands";
                terminal::note(note);
            }
            demo::run(cli.home).await
        }
        Command::Doctor(args) => check(app, args).await,
        Command::Init(args) => {
            let given =
                init::Given { home: cli.home, config: cli.config, urls: cli.named_urls, read_only: cli.read_only };
            let Some(made) = init::run(given, args).await? else { return Ok(0) };
            let code = check(wiring::app(made.config), doctor::Args::default()).await;
            print(&made.next);
            code
        }
        // Kept before there is a runtime.
        Command::KeepClone(_) => Ok(0),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "tair-backup-mcp", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// Runs the doctor, unless a signal comes.
async fn check(app: Result<Arc<App>, Fault>, args: doctor::Args) -> Result<u8, Fault> {
    let (checked, mut signals) = (app.as_ref().ok().map(Arc::clone), Signals::new()?);
    if let Some(done) = drain::unless_asked_to_end(&mut signals, doctor::run(app, args)).await {
        return done;
    }
    if let Some(app) = checked {
        drain::stop(&app, &mut signals).await;
    }
    Ok(INTERRUPTED)
}
