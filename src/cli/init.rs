//! `init`: writes the first configuration, checks it, and prints the lines that register this program with each host.
//!
//! The values come from the options, else from a person at the terminal. A file is overwritten only with `--force`.

mod file;
mod hosts;

use crate::cli::{print, terminal};
use crate::config::Config;
use crate::config::blocking::blocking;
use crate::config::guard::ConfirmationPolicy;
use crate::config::home::default_config_file;
use crate::config::instance::{InstanceConfig, Password, is_variable};
use crate::config::named_url::{self, NamedUrls};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_instance_id;
use file::Written;
use hosts::Registered;
use std::collections::BTreeSet;
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
    /// `--url`, or its variable.
    pub urls: NamedUrls,
    /// `--read-only`: the hosts' lines have it too.
    pub read_only: bool,
}

/// The configuration that was written.
pub struct Made {
    /// The configuration, read back from the file.
    pub config: Config,
    /// The lines for the hosts, and the one that has backups taken, to be printed once the configuration has been checked.
    pub next: String,
}

/// Writes the configuration; `None` where it was only to be printed.
///
/// # Errors
/// `config.exists`, `init.no_terminal`, `config.invalid`, `arguments.invalid`, `config.failed`.
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
    blocking(move || file::write(&to, &text, force)).await?;
    print(&format!("wrote {}, for its owner alone\n", path.display()));
    let config = Config::load(given.home.clone(), Some(path.clone()), given.read_only)?;
    let registered = Registered {
        home: given.home.as_deref(),
        config: (!is_default).then_some(path.as_path()),
        read_only: given.read_only,
        // They are in the file now.
        urls: &[],
        variables: instances.iter().filter_map(|instance| variable(&instance.password)).collect(),
    };
    let hosts = hosts::lines(&registered)?;
    let next = format!(
        "{hosts}\n\nBackups are taken by themselves as long as this is at work, as a service:\n  {}",
        config.command("run")
    );
    Ok(Some(Made { config, next }))
}

/// What somebody is told who starts at a terminal what a host would start.
///
/// # Errors
/// `system.program`.
pub fn how_to_serve(given: &Given, config: &Config) -> Result<String, Fault> {
    let NamedUrls { origin, urls } = &given.urls;
    let by_variable = *origin == named_url::URL_VARIABLE || urls.iter().any(|url| named_url::has_password(url));
    let mut variables: BTreeSet<&str> = config.instances.iter().filter_map(|i| variable(&i.password)).collect();
    if by_variable && !urls.is_empty() {
        variables.insert(named_url::URL_VARIABLE);
    }
    let registered = Registered {
        home: given.home.as_deref(),
        config: given.config.as_deref(),
        read_only: given.read_only,
        urls: if by_variable { &[] } else { urls.as_slice() },
        variables,
    };
    let lines = hosts::lines(&registered)?;
    Ok(format!(
        "This is an MCP server: a host starts it and speaks with it over standard input and output, so there is nothing to type here. \
         Ctrl-C ends it.\n{lines}"
    ))
}

/// The environment variable that a password is read from.
fn variable(password: &Password) -> Option<&str> {
    match password {
        Password::Env(name) => Some(name),
        Password::None | Password::Given(_) | Password::File(_) => None,
    }
}

/// The instances, from the options or by asking, and who approves.
async fn answers(given: &NamedUrls, args: &Args) -> Result<(Vec<Written>, ConfirmationPolicy), Fault> {
    let NamedUrls { origin, urls } = given;
    if args.password_env.as_deref().is_some_and(|name| !is_variable(name)) {
        // Most likely the password itself.
        let message = "--password-env: this is not the name of an environment variable";
        return Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(A_VARIABLE));
    }
    if let Some(id) = &args.id {
        check_instance_id(id)?;
    }
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
            let instance = written(url, origin, args)?;
            if instances.iter().any(|other| other.id == instance.id) {
                let message = format!("{origin}: instance id \"{}\" is given twice", instance.id);
                return Err(Fault::new(Kind::Usage, "config.invalid", message)
                    .hint("Give each an id of its own: orders=redis://host:6379."));
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
    let (url, mut instance) = loop {
        let url =
            ask("Where is the instance? redis://host:port, rediss:// for TLS, unix:///path", "redis://127.0.0.1:6379")
                .await?;
        match written(&url, "The answer", args) {
            Ok(instance) => break (url, instance),
            Err(fault) => eprint_line(&format!("{}. {}", fault.message, fault.hint)),
        }
    };
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
    while matches!(instance.password, Password::None) && !named_url::has_password(&url) {
        let name = ask("Which environment variable holds its password? Enter: it has none", "").await?;
        if name.is_empty() {
            break;
        }
        // Who types the password itself must not find it in a file.
        if is_variable(&name) { instance.password = Password::Env(name) } else { eprint_line(A_VARIABLE) }
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

/// What may stand behind `--password-env`.
const A_VARIABLE: &str =
    "A variable's name has letters, digits and _, such as ORDERS_PASSWORD; the password itself is its value.";

/// An instance as it is to be written.
fn written(text: &str, origin: &str, args: &Args) -> Result<Written, Fault> {
    let both = |message: &str, hint: &str| Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint);
    let InstanceConfig { id, url, .. } = named_url::instance(text, origin)?;
    if args.id.is_some() && named_url::given_id(text).is_some() {
        return Err(both("the instance has an id before its url and another in --id", "Give one of them."));
    }
    if (args.password_env.is_some() || args.password_file.is_some()) && named_url::has_password(text) {
        let message = "the url has a password, and --password-env or --password-file names another";
        return Err(both(message, "Leave the password out of the url: redis://host:6379."));
    }
    let id = args.id.clone().unwrap_or(id);
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
