//! `init`: writes the first configuration, checks it, and prints the lines that register this program with each host.
//!
//! The values come from the options, else from a person at the terminal. A file is overwritten only with `--force`.

mod file;
mod hosts;

use crate::cli::{print, terminal};
use crate::config::home::default_config_file;
use crate::config::instance::{InstanceConfig, Password};
use crate::config::{Config, ConfirmationPolicy, named_url};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use file::Written;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Without --url it asks at the terminal. Examples:
  tair-backup-mcp init
  tair-backup-mcp init --url redis://10.0.0.5:6379 --id orders --password-env ORDERS_PASSWORD
  tair-backup-mcp init --url rediss://10.0.0.5:6379 --print")]
pub struct Args {
    /// What the instance is called; a person types it to approve a restore [default: its host]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The environment variable that holds the instance's password
    #[arg(long, value_name = "NAME", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// The file whose first line is the instance's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Who approves what overwrites or deletes data [default: person]
    #[arg(long, value_name = "WHO", value_parser = ["person", "token"])]
    confirmation: Option<String>,
    /// Write over the configuration file that is there
    #[arg(long, conflicts_with = "print")]
    force: bool,
    /// Print the configuration and write nothing
    #[arg(long)]
    print: bool,
}

/// The global options, which precede the subcommand.
pub struct Given {
    /// The home directory of `--home`.
    pub home: Option<PathBuf>,
    /// `--config`: the file to write.
    pub config: Option<PathBuf>,
    /// The instances of `--url`.
    pub urls: Vec<String>,
}

/// The configuration that was written.
pub struct Made {
    /// The configuration, read back from the file.
    pub config: Config,
    /// The lines for the hosts, to be printed once the configuration has been checked.
    pub next: String,
}

/// Writes the configuration; `None` where it was only to be printed.
///
/// # Errors
/// `config.exists`, `init.no_terminal`, `config.invalid`, `home.failed`.
pub async fn run(given: Given, args: Args) -> Result<Option<Made>, Fault> {
    let default = default_config_file();
    let is_default = given.config.is_none();
    let path = given.config.clone().map_or(default, Ok)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    if !args.print && !args.force && path.symlink_metadata().is_ok() {
        return Err(file::exists(&path));
    }
    let (instances, confirmation) = answers(&given.urls, &args).await?;
    let text = file::text(&instances, confirmation);
    if args.print {
        print(text.trim_end());
        return Ok(None);
    }
    let (to, force) = (path.clone(), args.force);
    tokio::task::spawn_blocking(move || file::write(&to, &text, force))
        .await
        .map_err(|e| Fault::new(Kind::Unexpected, "home.failed", "writing the file died of a bug").because(e))??;
    print(&format!("wrote {}, for its owner alone\n", path.display()));
    let config = Config::load(given.home.clone(), Some(path.clone()), false)?;
    let next = hosts::lines(given.home.as_deref(), (!is_default).then_some(&path), &instances)?;
    Ok(Some(Made { config, next }))
}

/// The instances, and who approves, from the options or by asking.
async fn answers(urls: &[String], args: &Args) -> Result<(Vec<Written>, ConfirmationPolicy), Fault> {
    let policy = |text: &str| if text == "token" { ConfirmationPolicy::Token } else { ConfirmationPolicy::Person };
    let of_options = args.confirmation.as_deref().map_or(ConfirmationPolicy::Person, policy);
    if !urls.is_empty() {
        let one = urls.len() == 1;
        if !one && (args.id.is_some() || args.password_env.is_some() || args.password_file.is_some()) {
            let message = "--id, --password-env and --password-file are for one instance";
            return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
                .hint("Name several as --url orders=redis://…, and add their passwords to the file."));
        }
        let mut instances: Vec<Written> = Vec::new();
        for url in urls {
            let instance = written(url, args)?;
            if instances.iter().any(|other| other.id == instance.id) {
                let message = format!("--url: instance id \"{}\" is given twice", instance.id);
                return Err(Fault::new(Kind::Usage, "config.invalid", message)
                    .hint("Give each an id of its own: --url orders=redis://host:6379."));
            }
            instances.push(instance);
        }
        return Ok((instances, of_options));
    }
    if !terminal::is_interactive() {
        let message = "init needs the url of an instance, and there is no terminal to ask at";
        return Err(Fault::new(Kind::Usage, "init.no_terminal", message)
            .hint("Give it: tair-backup-mcp init --url redis://host:6379 [--id ID] [--password-env NAME]."));
    }
    let url = loop {
        let url =
            ask("Where is the instance? redis://host:port, rediss:// for TLS, unix:///path", "redis://127.0.0.1:6379")
                .await?;
        match named_url::instance(&url) {
            Ok(_) => break url,
            Err(fault) => eprint_line(&format!("{}. {}", fault.message, fault.hint)),
        }
    };
    let mut instance = written(&url, args)?;
    while args.id.is_none() {
        let id = ask("What is it called? A person types this to approve a restore", &instance.id).await?;
        match check_instance_id(&id) {
            Ok(()) => {
                instance.id = id;
                break;
            }
            Err(fault) => eprint_line(&fault.hint),
        }
    }
    if matches!(instance.password, Password::None) && !named_url::has_password(&url) {
        let name = ask("Which environment variable holds its password? Enter: it has none", "").await?;
        if !name.is_empty() {
            instance.password = Password::Env(name);
        }
    }
    let confirmation = match args.confirmation {
        Some(_) => of_options,
        None => loop {
            match ask("Who approves what overwrites or deletes data: person, or token (nobody)", "person").await? {
                answer if answer == "person" || answer == "token" => break policy(&answer),
                _ => eprint_line("Type person or token."),
            }
        },
    };
    Ok((vec![instance], confirmation))
}

/// An instance as it is to be written to the file.
fn written(url: &str, args: &Args) -> Result<Written, Fault> {
    let InstanceConfig { id, url, .. } = named_url::instance(url)?;
    let id = args.id.clone().unwrap_or(id);
    check_instance_id(&id)?;
    let password = match (&args.password_env, &args.password_file) {
        (Some(name), _) => Password::Env(name.clone()),
        // A path in the file would be relative to the file's directory.
        (None, Some(path)) => Password::File(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        (None, None) => Password::None,
    };
    Ok(Written { id, url, password })
}

async fn ask(question: &str, default: &str) -> Result<String, Fault> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let answer = terminal::read_line(format!("{question}{shown} > ")).await.ok_or_else(|| {
        Fault::new(Kind::Usage, "init.no_terminal", "the terminal gave no answer; nothing has been written")
            .hint("Give it: tair-backup-mcp init --url redis://host:6379.")
    })?;
    Ok(if answer.is_empty() { default.to_owned() } else { answer })
}

fn eprint_line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
