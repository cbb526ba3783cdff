//! What a reader copies from the documents is valid: configurations load, JSON parses, the lines for an agent are those that `init`
//! prints, and the skill is what agents that read skills expect. Console blocks are another file's: they run.

use super::{documents, read};
use crate::support::root;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::tools::registry::NAMES;

/// The fenced blocks of a document in one language, each with the line it begins in.
fn fenced(document: &str, language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = None;
    for (n, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(named), None) => {
                open = Some(named == language);
                if named == language {
                    found.push((n + 1, String::new()));
                }
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => found.last_mut().unwrap().1 += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    found
}

fn load(text: &str) -> Result<Config, String> {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(PathBuf::from("/nowhere")), Some(file), false).map_err(|f| format!("{} {}", f.message, f.hint))
}

#[test]
fn every_configuration_of_the_documents_loads() {
    let mut seen = 0;
    for document in documents() {
        for (line, text) in fenced(&read(&document), "toml") {
            seen += 1;
            if let Err(why) = load(&text) {
                panic!("{}:{line}: {why}", document.display());
            }
            let with_an_error = format!("{text}\nno_such_key = 1\n");
            assert!(load(&with_an_error).is_err(), "{}:{line} loads whatever it says", document.display());
        }
    }
    assert!(seen >= 2, "only {seen} configurations were found");
}

/// The first three lines of the README's configuration are one, as they say.
#[test]
fn the_minimum_is_enough() {
    let (_, text) = fenced(&read("README.md"), "toml").remove(0);
    let minimum: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    assert_eq!(load(&minimum).unwrap().instance_ids(), ["orders"]);
}

#[test]
fn json_of_the_documents_parses() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        let quoted = text.split('`').filter(|part| part.starts_with("{ \"")).map(str::to_owned);
        for json in fenced(&text, "json").into_iter().map(|(_, json)| json).chain(quoted) {
            seen += 1;
            let parsed = serde_json::from_str::<Value>(&json);
            assert!(parsed.is_ok(), "{}: {}: {json}", document.display(), parsed.unwrap_err());
        }
    }
    assert!(seen >= 7, "only {seen} were found");
}

/// What is pasted for each client is the line that `init` prints, but for where the program lies.
#[test]
fn the_lines_for_agents_are_those_of_init() {
    let home = tempfile::TempDir::new().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp"));
    let file = home.path().join(".config/tair-backup-mcp/config.toml");
    command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    command.args(["init", "--url", "orders=redis://127.0.0.1:1"]);
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(file.exists(), "{printed}");
    let printed = printed.replace(env!("CARGO_BIN_EXE_tair-backup-mcp"), "tair-backup-mcp");
    let readme = read("README.md");
    let cell = |client: &str| {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {client}"))).unwrap();
        row.split('`').rev().nth(1).unwrap().to_owned()
    };
    for client in ["Claude Code", "Codex"] {
        assert!(printed.contains(&cell(client)), "{client}: {printed}");
    }
    for client in ["Cursor", "VS Code"] {
        let shown: Value = serde_json::from_str(&cell(client)).unwrap();
        assert!(printed.contains(&shown.to_string()), "{client}: {shown}: {printed}");
    }
}

/// The front matter of a skill, as pairs, and its body.
fn skill(text: &str) -> (Vec<(String, String)>, String) {
    let (head, body) = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap();
    let pairs = head.lines().map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line}: no key and value")));
    (pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), body.to_owned())
}

/// The rules of <https://agentskills.io/specification>, and one of ours: what is called a tool is one.
#[test]
fn skills_are_what_agents_expect() {
    const KEYS: [&str; 6] = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("skills")).unwrap() {
        let folder = entry.unwrap().path();
        let (front, body) = skill(&read(folder.join("SKILL.md")));
        let value = |key: &str| front.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
        let name = value("name");
        seen += 1;
        assert_eq!(Some(name), folder.file_name().unwrap().to_str(), "a skill is called as its folder is");
        assert!((1..=64).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        assert!(!name.starts_with('-') && !name.ends_with('-') && !name.contains("--"), "{name}");
        assert!((1..=1024).contains(&value("description").chars().count()), "{}", value("description").len());
        assert!(value("compatibility").chars().count() <= 500);
        for (key, value) in &front {
            assert!(KEYS.contains(&key.as_str()), "{key} is no key of a skill");
            // Plain YAML: else it would have to be quoted.
            assert!(
                !value.contains(": ") && !value.contains(" #") && !value.starts_with(['"', '\'', '[', '{', '&', '*']),
                "{key}"
            );
        }
        assert!(body.lines().count() < 500, "a body of {} lines", body.lines().count());
        for quoted in body.split('`').skip(1).step_by(2) {
            let verb = quoted.split('_').next().unwrap();
            let as_a_tool = quoted.contains('_') && NAMES.iter().any(|name| name.split('_').next() == Some(verb));
            assert!(!as_a_tool || NAMES.contains(&quoted), "there is no tool {quoted}");
        }
    }
    assert!(seen > 0, "there is no skill");
}

/// A list of one file's blocks that finds nothing would make the tests above pass.
#[test]
fn blocks_are_found() {
    let document = "a\n```toml\nb = 1\n```\n```text\nc\n```\n```toml\nd = 2\n```\n";
    assert_eq!(fenced(document, "toml"), [(2, "b = 1\n".to_owned()), (8, "d = 2\n".to_owned())]);
    assert!(Path::new("README.md").is_relative() && fenced(&read("README.md"), "console").len() >= 2);
}
