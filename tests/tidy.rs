//! The house is tidy: rooms import only rooms below them, every file says what it is for, and a few words stay in one room.
//!
//! Reads source as text; needs no server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by failing")]

use std::path::{Path, PathBuf};

/// The rooms, lowest first. Rooms on one floor do not know each other.
const FLOORS: [&[&str]; 8] = [
    &["model"],
    &["config"],
    &["redis", "guard"],
    &["vault", "tair", "state"],
    &["provider"],
    &["tools"],
    &["mcp", "emulator"],
    &["cli"],
];

/// Words, and the only room that may say them: what they do must have one place.
const OWNED: [(&str, &str); 9] = [
    ("\"REPLICAOF\"", "redis"),
    ("\"PSYNC\"", "redis"),
    ("\"FLUSHALL\"", "redis"),
    ("Permit {", "guard"),
    ("Yes {", "guard"),
    ("Yes::delegated", "tools"),
    ("sqlx::", "state"),
    ("rmcp::", "mcp"),
    ("reqwest::", "tair"),
];

/// Lines of a file before somebody has to say why it is one.
const LONG: usize = 410;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    for dir in ["src", "tests", "benches"] {
        if root.join(dir).is_dir() {
            walk(&root.join(dir), &mut out);
        }
    }
    assert!(out.len() > 50, "only {} files found", out.len());
    out.into_iter().map(|(p, s)| (p.strip_prefix(root).unwrap().to_owned(), s)).collect()
}

fn room(path: &Path) -> Option<String> {
    let mut parts = path.iter().map(|p| p.to_str().unwrap());
    (parts.next() == Some("src")).then_some(())?;
    let room = parts.next()?.trim_end_matches(".rs").to_owned();
    (room != "lib" && room != "main").then_some(room)
}

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|f| f.contains(&room)).unwrap_or_else(|| panic!("room {room} is on no floor"))
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    for (path, text) in sources() {
        let Some(room) = room(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let fine = used == room || floor(&used) < floor(&room);
                assert!(fine, "{}:{}: {room} must not know {used}", path.display(), n + 1);
            }
        }
    }
}

#[test]
fn only_tools_bring_guard_and_provider_together() {
    for (path, text) in sources() {
        let Some(room) = room(&path) else { continue };
        if room != "tools" && room != "provider" {
            continue;
        }
        let spends = text.contains("permit::spend") || text.contains("token::mint");
        // One street for callers that have a person, one for those who sign for what they ask.
        let may = path.ends_with("tools/guarded.rs") || path.ends_with("tools/delegated.rs");
        assert!(!spends || may, "{} makes permits or tokens", path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! ") && text.lines().next().unwrap().len() > 30,
            "{} has no opening line",
            path.display()
        );
    }
}

#[test]
fn no_file_has_outgrown_itself() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(!path.starts_with("src") || lines <= LONG, "{} has {lines} lines", path.display());
    }
}

#[test]
fn a_few_words_stay_in_one_room() {
    for (path, text) in sources() {
        let Some(room) = room(&path) else { continue };
        for (word, owner) in OWNED {
            let said = text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(word));
            assert!(!said || room == owner, "{} says {word}, which belongs to {owner}", path.display());
        }
    }
}

#[test]
fn no_vague_rooms() {
    for (path, _) in sources() {
        for vague in ["util", "helper", "common", "manager", "misc"] {
            assert!(!path.to_str().unwrap().contains(vague), "{}", path.display());
        }
    }
}
