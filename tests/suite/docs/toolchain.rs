//! `rust-version` in Cargo.toml is what the tree really needs: no dependency asks for a newer compiler.

use crate::support::root;
use serde_json::Value;
use std::process::Command;

/// `1.94` and `1.94.0` as numbers that compare.
fn version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|p| p.parse().unwrap_or_else(|_| panic!("{text} is no version")));
    (parts.next().unwrap(), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// What a command says on standard output; it must succeed.
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Read from what cargo resolved for this platform, offline: only what this build has downloaded is looked at.
#[test]
fn no_dependency_needs_a_newer_compiler_than_we_say() {
    let rustc = said(Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV"));
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&said(cargo.current_dir(root()))).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        packages.iter().partition(|p| p["name"] == env!("CARGO_PKG_NAME") && p["source"].is_null());
    assert!(ours.len() == 1 && others.len() > 100, "{} of ours, {} others", ours.len(), others.len());
    let promised = ours[0]["rust_version"].as_str().expect("Cargo.toml has a rust-version");
    let newer: Vec<String> = others
        .iter()
        .filter_map(|p| Some((p, p["rust_version"].as_str()?)))
        .filter(|(_, needs)| version(needs) > version(promised))
        .map(|(p, needs)| format!("{} {} needs {needs}", p["name"], p["version"]))
        .collect();
    assert!(newer.is_empty(), "rust-version says {promised}, but {}", newer.join(", "));
}
