//! The line as people type it: what every command takes stands before its subcommand or behind it, and an instance is named by its place
//! (`create-backup orders`) as well as by its option.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};
use std::ffi::OsString;

/// The heading of what every command takes, before its subcommand as well as behind.
pub const EVERYWHERE: &str = "Options of every command";
/// The option that prints JSON.
const JSON: &str = "json";
/// The option that names the instance.
const INSTANCE_ID: &str = "instance_id";
/// The instance by its place.
const PLACE: &str = "instance_by_place";

/// The command line, complete: of every subcommand that names an instance by an option, also by its place. `--json` is taken before the
/// subcommand too, and so by those that print none; they refuse it.
pub fn completed(command: Command) -> Command {
    let json = Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).global(true);
    let json = json.help("Print the structured result, of a command that has one").help_heading(EVERYWHERE);
    command.arg(json).mut_subcommands(complete)
}

fn complete(command: Command) -> Command {
    let command = command.mut_subcommands(complete);
    let arguments = || command.get_arguments();
    let (prints_json, has_places) =
        (arguments().any(|arg| arg.get_id() == JSON), command.get_positionals().next().is_some());
    let instance = arguments().find(|arg| arg.get_id() == INSTANCE_ID).map(Arg::is_required_set);
    let command = if prints_json { command } else { command.arg(unused_json()) };
    match instance {
        Some(is_required) if !has_places => {
            let place = Arg::new(PLACE).value_name("INSTANCE_ID").help("The instance, as by --instance-id");
            let place = if is_required { place.required_unless_present(INSTANCE_ID) } else { place };
            command.mut_arg(INSTANCE_ID, |option| option.required(false)).arg(place)
        }
        _ => command,
    }
}

/// `--json` of a command that prints none. It is there to be refused by its name, and no help shows it.
fn unused_json() -> Arg {
    Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).hide(true)
}

/// Parses a line. An instance that is named by its place comes out as if it were named by its option.
///
/// # Errors
/// Those of the line: also two instances where one is meant, and `--json` for a command that prints none.
pub fn parse(command: impl Fn() -> Command, line: &[OsString]) -> Result<ArgMatches, Error> {
    let given = command().try_get_matches_from(line)?;
    let mut whole = command();
    let (mut used, mut inner) = (&whole, &given);
    while let Some((name, further)) = inner.subcommand() {
        let Some(found) = used.find_subcommand(name) else { break };
        (used, inner) = (found, further);
    }
    let has_json = inner.try_get_one::<bool>(JSON).ok().flatten() == Some(&true);
    if has_json && used.get_arguments().any(|arg| arg.get_id() == JSON && arg.is_hide_set()) {
        let message = format!("{} prints no JSON: leave --json out", used.get_name());
        return Err(whole.error(ErrorKind::ArgumentConflict, message));
    }
    let named = |id| inner.try_get_one::<String>(id).ok().flatten();
    match (named(PLACE), named(INSTANCE_ID)) {
        (Some(place), Some(option)) if place != option => {
            let message = format!("two instances are named, {place} and --instance-id {option}: give one");
            Err(whole.error(ErrorKind::ArgumentConflict, message))
        }
        (Some(place), None) => command().try_get_matches_from(with_option(line, place)),
        _ => Ok(given),
    }
}

/// The line with an instance as its option, before what may only be positional.
fn with_option(line: &[OsString], instance_id: &str) -> Vec<OsString> {
    let end = line.iter().position(|word| word == "--").unwrap_or(line.len());
    let (before, behind) = line.split_at(end);
    let option = OsString::from(format!("--instance-id={instance_id}"));
    [before, &[option], behind].concat()
}

#[cfg(test)]
mod tests {
    use super::{INSTANCE_ID, JSON, completed, parse};
    use clap::{Arg, ArgAction, Command};
    use std::ffi::OsString;

    fn command() -> Command {
        let json = || Arg::new(JSON).long(JSON).action(ArgAction::SetTrue);
        let instance = || Arg::new(INSTANCE_ID).long("instance-id");
        completed(
            Command::new("program")
                .subcommand_required(true)
                .arg(Arg::new("home").long("home").global(true))
                .subcommand(
                    Command::new("needs").arg(instance().required(true)).arg(json()).arg(Arg::new("note").long("note")),
                )
                .subcommand(Command::new("may").arg(instance()))
                .subcommand(Command::new("outer").subcommand(Command::new("inner").arg(instance()).arg(json())))
                .subcommand(Command::new("places").arg(instance().required(true)).arg(Arg::new("from"))),
        )
    }

    /// The instance, `--json` and the home of a line; what is wrong with another.
    fn read(line: &str) -> Result<(Option<String>, bool, Option<String>), String> {
        let words: Vec<OsString> = std::iter::once("program").chain(line.split_whitespace()).map(Into::into).collect();
        let given = parse(command, &words).map_err(|e| e.to_string())?;
        let (home, mut inner) = (given.get_one::<String>("home").cloned(), &given);
        while let Some((_, further)) = inner.subcommand() {
            inner = further;
        }
        Ok((inner.get_one::<String>(INSTANCE_ID).cloned(), inner.get_flag(JSON), home))
    }

    /// Wherever they stand, the same is understood.
    #[test]
    fn options_stand_anywhere() {
        let wanted: Result<_, String> = Ok((Some("orders".to_owned()), true, Some("h".to_owned())));
        for line in [
            "--json --home h needs orders",
            "--home h needs --json orders",
            "needs orders --home h --json",
            "needs --note x orders --json --home h",
            "needs --instance-id orders --json --home h",
            "needs orders --instance-id orders --json --home h",
            "--json --home h needs -- orders",
            "outer --json inner orders --home h",
            "--json outer inner --instance-id orders --home h",
        ] {
            assert_eq!(read(line), wanted, "{line}");
        }
        assert_eq!(read("may"), Ok((None, false, None)));
        assert_eq!(read("may orders"), Ok((Some("orders".into()), false, None)));
    }

    /// Two instances, none where one is needed, one too many, and JSON of a command that has none.
    #[test]
    fn what_is_not_meant_is_refused() {
        for (line, told) in [
            ("needs orders --instance-id carts", "two instances are named"),
            ("needs", "INSTANCE_ID"),
            ("needs orders carts", "carts"),
            ("may orders --json", "may prints no JSON"),
            ("--json may", "may prints no JSON"),
            ("--json outer", ""),
            ("places orders", "--instance-id"),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(told), "{line}: {refused}");
        }
    }
}
