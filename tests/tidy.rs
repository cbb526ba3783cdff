//! The house is tidy: rooms import only rooms below them, every file says what it is for, and a few words stay in one room.
//!
//! Reads source as text; needs no server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by failing")]

use std::path::{Path, PathBuf};

/// The rooms, lowest first. Rooms on one floor do not know each other.
const FLOORS: [&[&str]; 11] = [
    &["model"],
    &["config"],
    &["guard"],
    &["redis"],
    &["vault", "tair", "state"],
    &["archive"],
    &["provider"],
    &["tools"],
    &["mcp", "emulator"],
    &["runtime"],
    &["cli"],
];

/// Parts of an identifier that name nothing in the field: each has a better word, which `docs/glossary.md` or the field has.
const VAGUE: [&str; 11] = [
    "settle",
    "unsettled",
    "survey",
    "pins",
    "standing",
    "spend",
    "heard",
    "seen_through",
    "grave",
    "mishap",
    "census",
];

/// Words, and the only room that may say them: what they do must have one place.
const OWNED: [(&str, &str); 15] = [
    ("\"REPLICAOF\"", "redis"),
    ("\"PSYNC\"", "redis"),
    ("\"FLUSHALL\"", "redis"),
    ("Permit {", "guard"),
    ("Yes {", "guard"),
    ("Yes::delegated", "tools"),
    // What a grant is made of. Nobody in the program has a server of its own to overwrite yet.
    ("Scratch::started", "guard"),
    ("Expired::of", "provider"),
    ("Expired::crowded_out", "provider"),
    ("Expired {", "guard"),
    ("Orphaned::of", "provider"),
    ("Orphaned {", "guard"),
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
        let makes = text.contains("permit::redeem") || text.contains("token::mint");
        // One way for callers that have a person, one for those who sign for what they ask.
        let may = path.starts_with("src/tools/guarded") || path.ends_with("tools/delegated.rs");
        assert!(!makes || may, "{} makes permits or tokens", path.display());
    }
}

#[test]
fn a_provider_reports_facts_and_judges_nothing() {
    for (path, text) in sources() {
        if room(&path).is_none_or(|room| room != "provider") {
            continue;
        }
        for (n, line) in own_code(&text).iter().enumerate() {
            for judging in ["guard::check", "Precheck", "CheckName", "assess::assess", "assess("] {
                assert!(!line.contains(judging), "{}:{}: {judging}", path.display(), n + 1);
            }
        }
    }
}

#[test]
fn the_emulator_stands_on_the_provider_alone() {
    let mut read = 0;
    for (path, text) in sources() {
        if !path.starts_with("src/emulator") {
            continue;
        }
        read += 1;
        for below in ["redis", "vault", "provider::local", "provider::tair"] {
            let names = text.lines().any(|l| code_of(l).contains(&format!("crate::{below}")));
            assert!(!names, "{} goes past the Provider trait to {below}", path.display());
        }
        // Nor does it reach them through a group: `use crate::{redis, …}`.
        let grouped = own_code(&text);
        for named in paths(&module_of(&path), &grouped) {
            let past = matches!(named.first().map(String::as_str), Some("redis" | "vault"))
                || named.starts_with(&["provider".to_owned(), "local".to_owned()]);
            assert!(!past, "{} names {}", path.display(), named.join("::"));
        }
    }
    assert!(read > 10, "only {read} files of the emulator were found");
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

/// What a line says, without its comment and without what stands in quotes.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let (mut quoted, mut escaped, mut last) = (false, false, ' ');
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && last == '/' => break,
            c if !quoted => code.push(c),
            _ => {}
        }
        last = c;
    }
    code
}

/// A file's own code: without its unit tests, which stand at its end.
fn own_code(text: &str) -> Vec<String> {
    text.lines().take_while(|l| l.trim() != "#[cfg(test)]").map(code_of).collect()
}

/// Every path that a file names from the crate's root, as segments: `use` trees expanded, `super::` resolved.
fn paths(module: &[String], code: &[String]) -> Vec<Vec<String>> {
    let text = code.join("\n");
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            // Within a longer path it has been seen from that path's own beginning.
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let mut prefix = Vec::new();
            tree(&text[at..], &mut prefix, &mut found);
        }
    }
    let resolve = |path: Vec<String>| -> Vec<String> {
        let mut base: Vec<String> = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            _ => module.to_vec(),
        };
        for segment in path {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                _ => base.push(segment),
            }
        }
        base
    };
    found.into_iter().map(resolve).collect()
}

/// Reads one path or `use` tree at the beginning of a text. Returns the bytes read.
fn tree(text: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let (depth, mut at) = (prefix.len(), 0);
    loop {
        let name: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
        at += name.len();
        if !name.is_empty() {
            prefix.push(name);
        }
        if text[at..].starts_with("::{") {
            at += 3;
            loop {
                at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
                if text[at..].is_empty() || text[at..].starts_with('}') {
                    break;
                }
                let read = tree(&text[at..], prefix, found);
                // `as Name` behind it, or something that is no path at all.
                at += read;
                at += text[at..].find([',', '}']).unwrap_or(text[at..].len());
            }
            break;
        }
        if !text[at..].starts_with("::") {
            found.push(prefix.clone());
            break;
        }
        at += 2;
    }
    prefix.truncate(depth);
    at
}

/// The module that a file is: `src/redis/rdb/mod.rs` is `redis::rdb`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").iter().skip(1).map(|p| p.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib" || p == "main") {
        parts.pop();
    }
    parts
}

#[test]
fn files_of_one_room_do_not_import_each_other_in_circles() {
    use std::collections::{BTreeMap, BTreeSet};
    // For each module with children: which of its children names which other. A module and its own children count as one.
    let mut graphs: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let files: Vec<(PathBuf, String)> = sources().into_iter().filter(|(p, _)| p.starts_with("src")).collect();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(p, _)| module_of(p)).collect();
    for (path, text) in &files {
        let module = module_of(path);
        if module.is_empty() {
            continue;
        }
        for named in paths(&module, &own_code(text)) {
            let shared = module.iter().zip(&named).take_while(|(a, b)| a == b).count();
            let (Some(here), Some(there)) = (module.get(shared), named.get(shared)) else { continue };
            // Rooms among each other are another test's.
            if shared > 0 && modules.iter().any(|m| m.starts_with(&named[..=shared])) {
                graphs
                    .entry(module[..shared].to_vec())
                    .or_default()
                    .entry(here.clone())
                    .or_default()
                    .insert(there.clone());
            }
        }
    }
    assert!(!files.is_empty(), "no sources were read");
    for (parent, graph) in graphs {
        let mut left = graph.clone();
        // Whoever names nobody that is left can be no part of a circle.
        loop {
            let free: Vec<String> = left
                .iter()
                .filter(|(_, named)| named.iter().all(|n| !left.contains_key(n)))
                .map(|(name, _)| name.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            free.iter().for_each(|name| drop(left.remove(name)));
        }
        let arrows: Vec<String> = left
            .iter()
            .flat_map(|(a, named)| named.iter().filter(|b| left.contains_key(*b)).map(move |b| format!("{a} -> {b}")))
            .collect();
        assert!(arrows.is_empty(), "a circle in {}: {}", parent.join("::"), arrows.join(", "));
    }
}

#[test]
fn the_field_has_a_better_word() {
    for (path, text) in sources() {
        if path.ends_with("tidy.rs") || !path.starts_with("src") {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let code = code_of(line).to_lowercase();
            for word in VAGUE {
                assert!(!code.contains(word), "{}:{}: {word}", path.display(), n + 1);
            }
            assert!(!code.contains("street"), "{}:{}: street", path.display(), n + 1);
        }
    }
}

/// What code asks of an error, a job or a fault is a type. A text is for people: whoever rewords it must break nothing.
const ASKED_OF_A_TEXT: [&str; 10] = [
    "code == \"",
    "code != \"",
    "code().as_str()",
    "code.starts_with(",
    "fault == \"",
    "message == \"",
    "message.starts_with(",
    "message.contains(",
    "stage == \"",
    "stage.starts_with(",
];

#[test]
fn no_code_asks_a_text_what_it_says() {
    for (path, text) in sources() {
        // Serde tells of an unknown field in words alone.
        if !path.starts_with("src") || path == Path::new("src/model/text.rs") {
            continue;
        }
        let own = text.lines().take_while(|l| l.trim() != "#[cfg(test)]");
        for (n, line) in own.enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for asked in ASKED_OF_A_TEXT {
                assert!(!line.contains(asked), "{}:{}: {asked}: give what is asked a type", path.display(), n + 1);
            }
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
