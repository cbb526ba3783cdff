//! The command line that a person types at a terminal to reach what this process works with: the one place that writes one for hints,
//! questions and replies. It works as it stands: in any directory, whatever the person's own environment names.

use crate::config::Config;
use crate::model::text::shell_word;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What this process was started with, for sentences of rooms that have no configuration in hand.
static STARTED: OnceLock<String> = OnceLock::new();

/// What stands around a command in a sentence, mostly.
const MARK: char = '`';

/// What Linux puts behind the path of a program whose file was replaced or deleted since it was started.
const REPLACED: &str = " (deleted)";

impl Config {
    /// What a person types for a subcommand: this very program by its path, the home, and the file that was read.
    ///
    /// Both are named also where they are the usual ones: a host starts this program in an environment of its own, and for the person others
    /// may be usual. Urls of the command line are not repeated; they may hold a password.
    #[must_use]
    pub fn command(&self, subcommand: &str) -> String {
        format!("{} {subcommand}", self.prefix())
    }

    /// Remembers this configuration for [`line`]: the one that the process was started with.
    pub fn remember(&self) {
        // A process has one; a second one is a test's.
        let _ = STARTED.set(self.prefix());
    }

    fn prefix(&self) -> String {
        let mut command = shell_word(&program().to_string_lossy());
        let mut option = |name: &str, path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            command += &format!(" {name} {}", shell_word(&path.to_string_lossy()));
        };
        option("--home", self.home.dir());
        if let Some(file) = &self.file {
            option("--config", file);
        }
        command
    }
}

/// What a person types for a subcommand of the process that says so; with the program's bare name where no configuration was remembered.
#[must_use]
pub fn line(subcommand: &str) -> String {
    let program = STARTED.get().map_or("tair-backup-mcp", String::as_str);
    format!("{program} {subcommand}")
}

/// What a person types to say that nothing of a restore is left to roll back.
#[must_use]
pub fn clear_rollback(job_id: &str) -> String {
    line(&format!("clear-rollback --job-id {job_id}"))
}

/// A command of this process in a text, with what stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InText<'t> {
    /// What stands before the command; its mark, if it has one, is left out.
    pub before: &'t str,
    /// What a person types.
    pub command: &'t str,
    /// What stands behind it.
    pub after: &'t str,
}

/// Finds in a text the first command that [`Config::command`] or [`line`] made; `None` where there is none, or no configuration was remembered.
#[must_use]
pub fn find(text: &str) -> Option<InText<'_>> {
    find_of(STARTED.get()?, text)
}

/// The same for a program as its commands begin. Where a command ends, its mark says; one that begins its text is all of its line, and of another in a
/// sentence the subcommand and its options with their values are.
fn find_of<'t>(program: &str, text: &'t str) -> Option<InText<'t>> {
    let at = text.find(&format!("{program} "))?;
    let (before, rest) = text.split_at_checked(at)?;
    let line = rest.lines().next().unwrap_or_default();
    if let Some(before) = before.strip_suffix(MARK) {
        let (command, _) = line.split_once(MARK)?;
        return Some(InText { before, command, after: rest.get(command.len() + MARK.len_utf8()..)? });
    }
    let behind = program.len() + 1;
    let len = if before.is_empty() { line.len() } else { behind + words_of_a_command(line.get(behind..)?) };
    let (command, after) = rest.split_at_checked(len)?;
    Some(InText { before, command, after })
}

/// The bytes of a subcommand and of its options with their values, at the beginning of a part of a sentence.
fn words_of_a_command(text: &str) -> usize {
    let (mut at, mut end, mut is_part) = (0, 0, true);
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end();
        if !is_part && !bare.starts_with("--") {
            break;
        }
        let without_stop = bare.trim_end_matches(['.', ',', ';', ':']);
        end = at + without_stop.len();
        if without_stop.len() < bare.len() {
            break;
        }
        at += word.len();
        is_part = bare.starts_with("--");
    }
    end
}

/// The path of this program; its name alone where the system does not tell.
fn program() -> PathBuf {
    let Ok(path) = std::env::current_exe() else { return "tair-backup-mcp".into() };
    // Under its old path there is the program that took its place, if any.
    match path.to_str().and_then(|text| text.strip_suffix(REPLACED)) {
        Some(text) => text.into(),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::{InText, find_of, program};
    use crate::config::Config;
    use std::path::PathBuf;

    /// Whatever paths have in them, a shell reads the line as they are; and nothing is left to what is usual.
    #[test]
    fn a_shell_reads_it_back() {
        let home = PathBuf::from("/tmp/a home's");
        let file = std::env::temp_dir().join(format!("tair-backup-mcp {}.toml", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let config = Config::load(Some(home.clone()), Some(file.clone()), false).unwrap();
        let line = config.command("approve --list");
        let script = format!("printf '%s\\n' {line}");
        let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        let words: Vec<String> = String::from_utf8(read.stdout).unwrap().lines().map(str::to_owned).collect();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        assert_eq!(
            words,
            [
                text(program()),
                "--home".into(),
                text(home),
                "--config".into(),
                text(file),
                "approve".into(),
                "--list".into()
            ]
        );
        assert!(program().is_absolute());
    }

    /// A command in a sentence is found with all its words, and without the sentence's.
    #[test]
    fn a_command_is_found_in_a_sentence() {
        for (text, before, command, after) in [
            ("P --home '/a b' vault verify", "", "P --home '/a b' vault verify", ""),
            ("Run `P --home '/a b' x orders --all` yourself.", "Run ", "P --home '/a b' x orders --all", " yourself."),
            ("clear it: P --home '/a b' x --id rj-1.", "clear it: ", "P --home '/a b' x --id rj-1", "."),
            ("at a terminal: P --home '/a b' x, with it", "at a terminal: ", "P --home '/a b' x", ", with it"),
            ("runs P --home '/a b' x between calls", "runs ", "P --home '/a b' x", " between calls"),
            ("it is P --home '/a b' x", "it is ", "P --home '/a b' x", ""),
            ("P --home '/a b' x\na = 1", "", "P --home '/a b' x", "\na = 1"),
        ] {
            let found = find_of("P --home '/a b'", text);
            assert_eq!(found, Some(InText { before, command, after }), "{text}");
        }
        for none in ["", "nothing to run", "P --home '/a b'", "an open `P --home '/a b' mark", "P --home '/a' x"] {
            assert_eq!(find_of("P --home '/a b'", none), None, "{none}");
        }
    }
}
