//! Calls of our own tools in a text, as the commands that a person types for them. An agent, and a program, is told the calls.
//!
//! It must not guess: a call whose arguments cannot all be read stays as it is.

use super::screen::Screen;
use crate::config::command::line;
use crate::model::text::shell_word;
use crate::tools::registry::TOOLS;
use clap::Command;

/// What stands between a tool and its arguments.
const WITH: &str = " with ";
/// What stands between two arguments.
const BETWEEN: [&str; 2] = [" and ", ", "];
/// What may end a sentence, or a part of one, right behind a value.
const ENDS: [char; 6] = [',', '.', ';', ':', ')', '`'];
/// Stands around a command in a sentence.
const MARK: char = '`';
/// The arguments whose values are one word, and cannot be mistaken for prose. Of a pattern nobody could tell where it ends.
const READ: [&str; 8] = [
    "instance_id",
    "backup_id",
    "job_id",
    "restore_time",
    "before_position",
    "enable_backup_log",
    "preferred_backup_time",
    "level",
];

/// A text of ours for a screen: at a terminal with commands in the place of calls.
#[must_use]
pub fn typed(screen: &Screen, text: &str) -> String {
    if screen.width().is_none() { text.to_owned() } else { with_commands(text) }
}

fn with_commands(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once(WITH) {
        let lead = before.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        let Some((command, after)) = before.get(lead.len()..).and_then(|tool| command(tool, behind)) else {
            out.push_str(before);
            out.push_str(WITH);
            rest = behind;
            continue;
        };
        out.push_str(lead);
        rest = after;
        if out.ends_with(MARK) {
            out.push_str(&command);
        } else if after.trim_end_matches('.').is_empty() && (out.is_empty() || out.ends_with(": ")) {
            // All that is left is the command, and a stop behind it would be pasted with it.
            out.push_str(&command);
            rest = "";
        } else {
            out.push(MARK);
            out.push_str(&command);
            out.push(MARK);
        }
    }
    out.push_str(rest);
    out
}

/// The command of a call, and what stands behind its arguments.
fn command<'t>(tool: &str, behind: &'t str) -> Option<(String, &'t str)> {
    let tool = TOOLS.iter().find(|one| one.name == tool)?;
    let known = (tool.options)(Command::new(tool.name));
    let argument = |name: &str| known.get_arguments().find(|one| one.get_id().as_str() == name);
    let (mut words, mut rest) = (tool.name.replace('_', "-"), behind);
    loop {
        let (name, text) = rest.split_once(' ')?;
        let value = text.split([' ', '\n']).next()?.trim_end_matches(ENDS);
        if !READ.contains(&name) || !is_value(name, value) {
            return None;
        }
        let option = argument(name).filter(|one| one.get_action().takes_values())?.get_long()?;
        words.push_str(&format!(" --{option} {}", shell_word(value)));
        rest = text.get(value.len()..)?;
        let Some(next) = BETWEEN.iter().find_map(|between| rest.strip_prefix(between)) else { break };
        let word = next.split(' ').next().unwrap_or_default();
        match argument(word.trim_end_matches(ENDS)) {
            Some(_) => rest = next,
            // "and the backup_id …": which one is for the reader to find.
            None if word == "the" => return None,
            None => break,
        }
    }
    Some((line(&words), rest))
}

/// Whether a word can be the value of an argument, and is no part of the sentence.
fn is_value(name: &str, word: &str) -> bool {
    let named = matches!(name, "instance_id" | "level") && word != "and";
    let told = word.contains(|c: char| c.is_ascii_digit() || c == '-') || matches!(word, "true" | "false");
    !word.is_empty() && word.is_ascii() && (named || told)
}

#[cfg(test)]
mod tests {
    //! A call becomes the command that does the same, and prose stays prose.
    use super::{typed, with_commands};
    use crate::cli::render::screen::Screen;
    use crate::config::command::line;

    #[test]
    fn a_call_becomes_a_command() {
        let back = line("restore-instance --instance-id orders --backup-id b-1");
        for (text, wanted) in [
            ("restore_instance with instance_id orders and backup_id b-1.", back.clone()),
            ("to get back: restore_instance with instance_id orders and backup_id b-1", format!("to get back: {back}")),
            (
                "restore_instance with instance_id orders, backup_id b-1, which holds all",
                format!("`{back}`, which holds all"),
            ),
            (
                "none: nothing does; modify_backup_policy with instance_id a and enable_backup_log true keeps it",
                format!(
                    "none: nothing does; `{}` keeps it",
                    line("modify-backup-policy --instance-id a --enable-backup-log true")
                ),
            ),
        ] {
            assert_eq!(with_commands(text), wanted);
        }
    }

    #[test]
    fn what_is_no_whole_call_stays() {
        for text in [
            "",
            "with instance_id a",
            "create_backup with care",
            "restore_instance with instance_id a and restore_time goes back",
            "restore_instance with instance_id a and the backup_id that it shows",
            "restore_instance with instance_id a and filter_key user:.*",
            "describe_jobs with the job_id",
            "drop_everything with instance_id a",
            "create_backup with instance_id größe",
        ] {
            assert_eq!(with_commands(text), text);
        }
        // A program reads what an agent reads.
        let call = "create_backup with instance_id a";
        assert_eq!(typed(&Screen::WHOLE, call), call);
    }
}
