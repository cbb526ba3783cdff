//! The configuration reference and the example have every key that the program reads, and the example is a valid file.

use super::{read, sources};
use crate::support::root;
use std::path::{Path, PathBuf};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::tair::TairConfig;

/// The structs that a file is read into, and the table that each stands for.
const STRUCTS: [(&str, &str); 8] = [
    ("File", ""),
    ("GuardConfig", "[guard]"),
    ("BackupLogConfig", "[backup_log]"),
    ("RawNotify", "[notify]"),
    ("RawEncryption", "[encryption]"),
    ("RawInstance", "[[instance]]"),
    ("Emulate", "emulate"),
    ("RawTair", "[tair]"),
];

/// Names of the fields of a struct in `src/config`.
fn fields(name: &str) -> Vec<String> {
    let opening = format!("struct {name} {{");
    let (_, text) = sources()
        .into_iter()
        .find(|(path, text)| path.starts_with("src/config") && text.contains(&opening))
        .unwrap_or_else(|| panic!("there is no struct {name} in src/config"));
    let body = text.split(&opening).nth(1).unwrap().split("\n}").next().unwrap();
    let is_field = |l: &&str| !l.starts_with("//") && !l.starts_with('#') && l.contains(": ");
    let name = |l: &str| l.trim_start_matches("pub ").split(':').next().unwrap().to_owned();
    body.lines().map(str::trim).filter(is_field).map(name).collect()
}

#[test]
fn every_key_is_in_the_reference_and_in_the_example() {
    let (reference, example) = (read("docs/configuration.md"), read("config.example.toml"));
    let mut seen = 0;
    for (name, table) in STRUCTS {
        for field in fields(name) {
            seen += 1;
            assert!(
                reference.contains(&format!("| `{field}` |")),
                "docs/configuration.md has no row for {table} {field}"
            );
            let in_example = example.lines().any(|l| {
                let setting = l.trim_start_matches('#').trim_start_matches(['[', ' ']);
                setting.starts_with(&format!("{field} =")) || setting.starts_with(&format!("{field}]"))
            }) || example.contains(&format!(" {field} = "));
            assert!(in_example, "config.example.toml has no {table} {field}");
        }
    }
    assert!(seen > 35, "only {seen} keys were found");
}

/// Prose begins with `# `; a setting that is switched off with `#` alone.
fn switched_on(example: &str) -> String {
    let on = |l: &str| match l.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') => setting.to_owned(),
        _ => l.to_owned(),
    };
    example.lines().map(on).collect::<Vec<_>>().join("\n")
}

fn load(file: &Path) -> Config {
    Config::load(Some(PathBuf::from("/nowhere")), Some(file.to_owned()), false)
        .unwrap_or_else(|f| panic!("{}: {} {}", file.display(), f.message, f.hint))
}

/// As it is the example is one local instance; with every setting switched on it is a valid file, too, and what it shows for the
/// guard and the cloud are the defaults, but for what has none.
#[test]
fn the_example_loads_as_it_is_and_with_every_setting() {
    let plain = load(&root().join("config.example.toml"));
    assert_eq!(plain.instance_ids().len(), 1);
    assert!(plain.tair.is_none() && !plain.sandbox);

    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, switched_on(&read("config.example.toml"))).unwrap();
    let whole = load(&file);
    assert_eq!(whole.instance_ids().len(), 3);
    let same = |of: &Config| (of.guard.confirmation, of.guard.token_minutes, of.backup_log, of.background);
    assert_eq!(same(&whole), same(&plain));
    // Unset, nothing blocks.
    assert_eq!((plain.guard.max_writes_per_second, whole.guard.max_writes_per_second), (None, Some(100.0)));
    let (shown, default) = (whole.tair.unwrap(), TairConfig::default());
    assert_eq!(shown.user_agent, default.user_agent);
    assert_eq!(shown.requests_per_second, default.requests_per_second);
    assert_eq!((shown.connect_timeout, shown.read_timeout), (default.connect_timeout, default.read_timeout));
}

/// Every environment variable of ours that the program reads, and every flag that goes before a subcommand.
#[test]
fn variables_and_flags_are_in_the_reference() {
    let reference = read("docs/configuration.md");
    for (path, text) in sources() {
        for found in text.split("\"TAIR_BACKUP_MCP_").skip(1) {
            let name = format!("TAIR_BACKUP_MCP_{}", found.split('"').next().unwrap());
            // A variable that only a child of the demo is given has no reader of its own.
            assert!(reference.contains(&format!("| `{name}` |")), "{}: {name} is not in the reference", path.display());
        }
    }
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in help.lines().filter_map(|l| l.split("--").nth(1)?.split([' ', '<']).next()) {
        let meant = flag != "help" && flag != "version" && help.contains(&format!("      --{flag}"));
        assert!(!meant || reference.contains(&format!("`--{flag}")), "--{flag} is not in the reference");
    }
}
