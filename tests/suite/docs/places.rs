//! Files and links that the documents name exist.

use super::{documents, read};
use crate::support::root;

/// Text between backticks, outside fenced blocks.
fn quoted(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// `a/{b,c}.rs` stands for `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    let Some((head, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (names, tail) = rest.split_once('}').unwrap_or_else(|| panic!("{path}: no closing brace"));
    names.split(',').flat_map(|name| expanded(&format!("{head}{name}{tail}"))).collect()
}

/// Folders of the tree whose files may be named in a document.
const FOLDERS: [&str; 9] = ["src/", "tests/", "tools/", "prompts/", "benches/", "scripts/", "docs/", "skills/", ".ci/"];

/// Methods of MCP, which look like paths.
const METHODS: [&str; 2] = ["tools/list", "tools/call"];

/// Folders that the documents name already, and that arrive when the cloud's provider is divided by act. To be emptied then.
const COMING: [&str; 3] = ["src/provider/tair/backup/", "src/provider/tair/restore/", "src/provider/tair/clone/"];

#[test]
fn every_path_that_is_named_exists() {
    let (mut named, mut missing) = (0, Vec::new());
    for document in documents() {
        for text in quoted(&read(&document)) {
            // A pattern such as tools/<verb>.md names no file.
            let is_path = FOLDERS.iter().any(|f| text.starts_with(f))
                && !text.contains(['<', '*', ' ', '…'])
                && !METHODS.contains(&text.as_str());
            for path in expanded(&text).into_iter().filter(|_| is_path) {
                named += 1;
                let there = root().join(&path).exists() || COMING.contains(&path.as_str());
                if !there {
                    missing.push(format!("{}: there is no {path}", document.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 40, "only {named} paths were found");
}

/// What follows `](` of each link.
fn links(document: &str) -> Vec<&str> {
    document.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// A heading as it is linked to: lower case, spaces as dashes, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_within_the_tree_leads_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let text = read(&document);
        for link in links(&text).into_iter().filter(|l| !l.starts_with("https://")) {
            followed += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(root().join(&to).exists(), "{}: {link} leads nowhere", document.display());
            if !heading.is_empty() {
                let found =
                    read(&to).lines().any(|l| l.starts_with('#') && anchor(l.trim_start_matches('#')) == heading);
                assert!(found, "{}: {link}: no such heading", document.display());
            }
        }
    }
    assert!(followed > 30, "only {followed} links were found");
}

/// A document that nobody is sent to is not found.
#[test]
fn every_document_is_linked_from_the_readme() {
    let readme = read("README.md");
    for document in documents() {
        // The crate's page is read as Rust documentation.
        let reached = document.ends_with("README.md")
            || document.ends_with("crate.md")
            || links(&readme).iter().any(|l| l.split('#').next() == document.to_str());
        assert!(reached, "README.md does not link {}", document.display());
    }
}

/// The README is read before anything else, and in one sitting.
#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 140, "README.md has {lines} lines: move what is not needed at first to docs/");
}

/// Every picture is there, says in words what it shows, and can be read as XML by whoever draws it: each tag that is opened is closed.
#[test]
fn pictures_are_there_and_whole() {
    let mut seen = 0;
    for document in documents() {
        for picture in read(&document).split("![").skip(1).filter_map(|rest| rest.split_once(')')) {
            let (words, path) = picture.0.split_once("](").unwrap();
            let svg = read(document.parent().unwrap().join(path));
            seen += 1;
            assert!(words.len() > 20, "{}: {path} is not described", document.display());
            assert!(svg.starts_with("<svg ") && svg.contains("<title>") && !svg.contains("<script"), "{path}");
            let tags = svg
                .split('<')
                .skip(1)
                .filter(|tag| !tag.starts_with('!') && !tag.split('>').next().unwrap().ends_with('/'));
            let (closed, opened): (Vec<&str>, Vec<&str>) = tags.partition(|tag| tag.starts_with('/'));
            assert_eq!(closed.len(), opened.len(), "{path}: a tag is not closed");
        }
    }
    assert!(seen >= 3, "only {seen} pictures were found");
}
