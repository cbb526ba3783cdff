//! The house is tidy: rooms import only rooms below them, every file says what it is for, and a few words stay in one room.
//!
//! Reads source as text; needs no server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by failing")]

use std::path::{Path, PathBuf};

/// The rooms, lowest first. Rooms on one floor do not know each other.
const FLOORS: [&[&str]; 13] = [
    &["model"],
    &["config"],
    &["guard"],
    &["redis"],
    &["vault", "tair", "state"],
    &["archive"],
    &["provider"],
    &["schedule"],
    &["notify"],
    &["tools"],
    &["mcp", "emulator"],
    &["runtime"],
    &["cli"],
];

/// Parts of an identifier that name nothing in the field: each has a better word, which `docs/glossary.md` or the field has.
const VAGUE: [&str; 12] = [
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
    "street",
];

/// Words, and the only room or file that may say them, or the only ones: what they do must have one place.
const OWNED: [(&str, &str); 25] = [
    ("\"REPLICAOF\"", "redis"),
    ("\"PSYNC\"", "redis"),
    ("\"FLUSHALL\"", "redis"),
    ("Permit {", "guard"),
    ("Yes {", "guard"),
    ("Yes::delegated", "tools"),
    // What a grant is made of.
    ("Scratch::started", "redis/scratch/mod.rs"),
    ("Expired::of", "provider"),
    ("Expired::by_policy", "provider"),
    ("Outlived::by_policy", "provider"),
    ("Expired::crowded_out", "provider"),
    ("Expired::after_watching", "provider"),
    ("Expired {", "guard"),
    ("Outlived {", "guard"),
    ("Orphaned::of", "provider"),
    ("Orphaned {", "guard"),
    // The first word of a server's error reply, and a published code of the cloud.
    ("\"MISCONF\"", "redis/prefix.rs"),
    ("\"NOPERM\"", "redis/prefix.rs"),
    ("\"NOREPLICAS\"", "redis/prefix.rs"),
    (".is(\"", "tair/error.rs"),
    ("sqlx::", "state"),
    ("rmcp::", "mcp"),
    ("reqwest::", "tair|vault/bucket/again.rs|vault/bucket/client.rs|vault/bucket/failure.rs"),
    ("opendal::", "vault/bucket/client.rs|vault/bucket/failure.rs|vault/bucket/listing.rs|vault/bucket/putting.rs"),
    ("reqsign_", "vault/bucket/client.rs|vault/bucket/extending.rs"),
];

/// Lines of a file before somebody has to say why it is one.
const LONG: usize = 410;

/// The files below a directory whose names end so, each under its path from the root.
fn walk(dir: &Path, ending: &str, out: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, ending, out);
        } else if path.extension().is_some_and(|e| e == ending) {
            let text = std::fs::read_to_string(&path).unwrap();
            out.push((path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned(), text));
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    for dir in ["src", "tests", "benches"] {
        if root.join(dir).is_dir() {
            walk(&root.join(dir), "rs", &mut out);
        }
    }
    assert!(out.len() > 50, "only {} files found", out.len());
    out
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
        let whole: Vec<String> = text.lines().map(code_of).collect();
        // In unit tests `super` is the file itself, so only what they name from the crate's root is looked at.
        let named = paths(&module_of(&path), &own_code(&text), &["super::"]).into_iter();
        for named in named.chain(paths(&[], &whole, &["crate::"])) {
            let used = &named[0];
            let fine = *used == room || floor(used) < floor(&room);
            assert!(fine, "{}: {room} must not know {used}: {}", path.display(), named.join("::"));
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
        for named in paths(&module_of(&path), &grouped, &ANYHOW) {
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
            let owns = owner.split('|').any(|owner| room == owner || path == Path::new("src").join(owner));
            assert!(!said || owns, "{} says {word}, which belongs to {owner}", path.display());
        }
    }
}

/// What a line says, without its comment and without what stands in quotes.
fn code_of(line: &str) -> String {
    spoken(line, false)
}

/// What a line says, without its comment: with what stands in quotes, or without.
fn spoken(line: &str, with_quoted: bool) -> String {
    let (mut said, mut quoted) = (String::new(), false);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        let ahead = rest.as_str();
        match c {
            '\\' if quoted => drop(rest.next()),
            '"' => {
                quoted = !quoted;
                said.extend(with_quoted.then_some('"'));
            }
            '/' if !quoted && ahead.starts_with('/') => break,
            // A character in quotes of its own, as a lifetime is not.
            '\'' if !quoted && ahead.starts_with('\\') => {
                rest.nth(1);
                while rest.next().is_some_and(|c| c != '\'') {}
            }
            '\'' if !quoted && ahead.chars().nth(1) == Some('\'') => drop(rest.nth(1)),
            c if !quoted || with_quoted => said.push(c),
            _ => {}
        }
    }
    said
}

#[test]
fn lines_are_read_as_the_compiler_does() {
    for (line, said) in [
        ("a('\"'); b(\"c\") // d", "a(); b() "),
        ("fn a<'b>(c: &'b str) -> '\\'' { '\\u{7f}' }", "fn a<'b>(c: &'b str) ->  {  }"),
        ("\"a \\\" // b\" + c", " + c"),
        ("let a = 'b'; 'c: loop {}", "let a = ; 'c: loop {}"),
    ] {
        assert_eq!(code_of(line), said, "{line}");
    }
    assert_eq!(spoken("a(\"b\") // c", true), "a(\"b\") ");
}

/// A file's own code: without its unit tests, which stand at its end.
fn own_code(text: &str) -> Vec<String> {
    text.lines().take_while(|l| l.trim() != "#[cfg(test)]").map(code_of).collect()
}

/// What paths within the crate begin with.
const ANYHOW: [&str; 3] = ["crate::", "super::", "self::"];

/// Every path with one of these beginnings that a file names, from the crate's root, as segments: `use` trees expanded, `super::` resolved.
fn paths(module: &[String], code: &[String], beginnings: &[&str]) -> Vec<Vec<String>> {
    let text = code.join("\n");
    let mut found = Vec::new();
    for start in beginnings {
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
        for named in paths(&module, &own_code(text), &ANYHOW) {
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

/// Files that say a vague word because somebody else's name has it: columns of an earlier schema, and flags of an earlier version.
const NAMED_BY_OTHERS: [&str; 1] = ["tests/suite/state/migration.rs"];

#[test]
fn the_field_has_a_better_word() {
    let mut clients = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python"), "py", &mut clients);
    assert!(clients.len() > 3, "only {} files of clients were found", clients.len());
    for (path, text) in sources().into_iter().chain(clients) {
        if NAMED_BY_OTHERS.iter().any(|named| path == Path::new(named)) || path.ends_with("tidy.rs") {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let code = code_of(line.split(" # ").next().unwrap()).to_lowercase();
            for word in VAGUE {
                assert!(!code.contains(word), "{}:{}: {word}", path.display(), n + 1);
            }
        }
    }
}

/// What a reader is told in words. What code asks of an error, a job or a fault is a type: whoever rewords a text must break nothing.
const TEXTS: [&str; 6] = ["code", "fault", "message", "hint", "stage", "reason"];
/// What may stand between such a name and a question, and leaves it the same text.
const SAME_TEXT: [&str; 13] = [
    "()",
    ")",
    "\"",
    "?",
    ".as_str",
    ".as_deref",
    ".as_ref",
    ".as_bytes",
    ".to_ascii_lowercase",
    ".to_lowercase",
    ".trim",
    ".to_string",
    ".unwrap_or_default",
];
/// The questions, each before what is looked for.
const QUESTIONS: [&str; 9] = [
    " == ",
    " != ",
    ".contains(",
    ".starts_with(",
    ".ends_with(",
    ".strip_prefix(",
    ".eq_ignore_ascii_case(",
    ".find(",
    // Of `matches!`.
    ", ",
];

/// Whether a line asks a text whether it says something that is written down in the program.
fn asks_a_text(line: &str) -> bool {
    TEXTS.iter().flat_map(|word| line.match_indices(word)).any(|(at, word)| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut rest = &line[at + word.len()..];
        if line[..at].ends_with(is_name) || rest.starts_with(is_name) {
            return false;
        }
        while let Some(same) = SAME_TEXT.iter().find_map(|same| rest.strip_prefix(same)) {
            rest = same;
        }
        if rest.starts_with(" {") && line[..at].contains("match ") && line[at..].contains(".as_") {
            return true;
        }
        let asked = QUESTIONS.iter().filter(|question| **question != ", " || line[..at].contains("matches!("));
        asked.filter_map(|question| rest.strip_prefix(question)).any(|what| {
            // `Some("…")`, `b"…"` and the like.
            let what = what.trim_start_matches(['&', 'b', 'S', 'o', 'm', 'e', '(', '[']);
            let named: String = what.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            what.starts_with('"') || named.len() > 2
        })
    })
}

/// Where a text is asked all the same, and why nothing else tells.
const ARGUED: [(&str, &str, &str); 9] = [
    ("src/tair/error.rs", "daily backup times", "the cloud documents the message, and sends it without its code"),
    ("src/emulator/answer.rs", "DENIED_BY_RAM", "the emulator's own code, under which the cloud sends more members"),
    ("src/model/text.rs", "contains(\"unknown\")", "serde tells of an unknown field in words alone"),
    ("src/tools/arguments.rs", "unknown field", "serde tells of an unknown field in words alone"),
    ("src/tools/arguments.rs", " field `", "serde names the field in words alone"),
    ("src/provider/tair/clone/record.rs", "MAY_BE", "the job's own hint has it already, and it is said once"),
    ("src/redis/rdb/library.rs", "#!", "the code of a function library is a program's"),
    ("src/cli/demo/story.rs", "person.no_channel", "the demo is a client, and codes are what clients have"),
    ("src/cli/demo/protection.rs", "data.rdb.zst", "the demo is a client, and shows that the damaged file is named"),
];

#[test]
fn no_code_asks_a_text_what_it_says() {
    for (line, asks) in [
        ("if fault.code == \"a.b\" {", true),
        ("if e.code() != NOT_FOUND {", true),
        ("self.message.to_ascii_lowercase().contains(\"daily\")", true),
        ("matches!(job.code.as_str(), \"a\" | \"b\")", true),
        ("match fault.code.as_str() {", true),
        ("text(&reply, \"/code\") == \"a.b\"", true),
        ("hint.as_deref() == Some(\"a\")", true),
        ("code.strip_prefix(b\"#!\")", true),
        ("if stage == job.stage {", false),
        ("rows.find(|row| row.code == code)", false),
        ("let code = \"a.b\";", false),
        ("match message {", false),
        ("Fault::new(Kind::Usage, code, \"a\")", false),
        ("error_code == \"a\"", false),
    ] {
        assert_eq!(asks_a_text(line), asks, "{line}");
    }
    let mut argued = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src")) {
        let own = text.lines().take_while(|l| l.trim() != "#[cfg(test)]").map(|line| spoken(line, true));
        // A chain that is written on several lines is one.
        let joined = own.fold(String::new(), |mut all, line| {
            let goes_on = line.trim_start().starts_with(['.', '=', '!']);
            all.push_str(if goes_on { "" } else { "\n" });
            let leads = if line.trim_start().starts_with(['=', '!']) { " " } else { "" };
            all.push_str(leads);
            all.push_str(if goes_on { line.trim_start() } else { &line });
            all
        });
        for line in joined.lines().filter(|line| asks_a_text(line)) {
            let reason = ARGUED.iter().position(|(file, what, _)| path == Path::new(file) && line.contains(what));
            let reason =
                reason.unwrap_or_else(|| panic!("{}: {}: give what is asked a type", path.display(), line.trim()));
            argued.push(reason);
        }
    }
    for (n, (file, what, why)) in ARGUED.iter().enumerate() {
        assert!(argued.contains(&n), "{file} asks {what} no more ({why})");
    }
}

/// What may lie at the top of the tree, beside dotted files and what cargo builds.
const TOP: [&str; 16] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "benches",
    "config.example.toml",
    "docs",
    "prompts",
    "scripts",
    "skills",
    "src",
    "tests",
    "tools",
];

#[test]
fn nothing_else_lies_at_the_top() {
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || name == "target" || TOP.contains(&name.as_str()),
            "{name} has no place at the top"
        );
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
