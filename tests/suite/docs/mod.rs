//! The documents are true: codes, keys, paths, links, imports, grants and the compiler they name are those of the tree, and their
//! commands run.

mod configuration;
mod console;
mod errors;
mod hints;
mod places;
mod rooms;
mod snippets;
mod toolchain;

use std::path::{Path, PathBuf};

use crate::support::root;

/// A file of the tree, whole.
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every document that a reader is sent to, relative to the root.
fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].iter().map(PathBuf::from).collect();
    let mut docs: Vec<PathBuf> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().strip_prefix(root()).unwrap().to_owned())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    docs.sort();
    assert!(docs.len() > 8, "docs/ lacks documents: {docs:?}");
    all.extend(docs);
    all
}

/// The sources of the program, without the unit tests that stand at their ends: path and text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let own = text.split("\n#[cfg(test)]").next().unwrap().to_owned();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), own));
            }
        }
    }
    assert!(found.len() > 100, "only {} sources found", found.len());
    found.sort();
    found
}
