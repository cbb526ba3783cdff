//! `docs/errors.md` lists every code that a fault can have, with the exit code it comes with; `docs/guard.md` every dotted event of
//! the audit. Both are compared with the sources, in both directions.

use super::{read, sources};
use std::collections::{BTreeMap, BTreeSet};
use tair_backup_mcp::model::job::JobKind;

/// A dotted literal that ends so is a file, not a code.
const FILES: [&str; 14] =
    ["aof", "age", "toml", "lock", "db", "log", "rdb", "conf", "json", "ini", "tsv", "zst", "draft", "html"];

/// Kinds of a fault and their exit codes.
const KINDS: [(&str, u8); 6] =
    [("Unexpected", 1), ("Usage", 2), ("Refused", 3), ("NotFound", 4), ("Provider", 5), ("Damaged", 6)];

/// The string literals of a source, each with the line before it. Comments are left out; a raw string counts as its text.
pub(super) fn literals(source: &str) -> Vec<(String, String)> {
    let code: String = source.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let (mut start, mut escaped) = (None, false);
    for (at, c) in code.char_indices() {
        match start {
            _ if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(from) if c == '"' => {
                let before = code[..from - 1].trim_end().lines().next_back().unwrap_or_default();
                found.push((code[from..at].to_owned(), before.to_owned()));
                start = None;
            }
            // Not the quote of a character.
            None if c == '"' && !code[..at].ends_with('\'') => start = Some(at + 1),
            _ => {}
        }
    }
    found
}

/// Whether a literal has the form of a code: two lower-case words, dotted.
fn is_code(text: &str) -> bool {
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_lowercase())
            && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.split_once('.').is_some_and(|(family, what)| word(family) && word(what) && !FILES.contains(&what))
}

/// The exit code of the kind that is named right before a literal, as in `Fault::new(Kind::Usage, "…"`.
fn exit_before(before: &str) -> Option<u8> {
    let (rest, kind) = before.strip_suffix(',')?.rsplit_once("Kind::")?;
    // The end of one arm of a match says nothing about the pattern of the next.
    if rest.ends_with("=> ") {
        return None;
    }
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, exit)| *exit)
}

/// The codes in the sources, with the exit codes that are seen beside them and a place.
fn in_sources() -> BTreeMap<String, (BTreeSet<u8>, String)> {
    let mut found: BTreeMap<String, (BTreeSet<u8>, String)> = BTreeMap::new();
    for (path, text) in sources() {
        for (literal, before) in literals(&text) {
            if is_code(&literal) {
                let entry = found.entry(literal).or_insert_with(|| (BTreeSet::new(), path.display().to_string()));
                entry.0.extend(exit_before(&before));
            }
        }
    }
    found
}

/// Rows of a document's tables whose first cell is a code: the code and the other cells.
fn rows(document: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for line in document.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
        let code = cells[0].trim_matches('`').to_owned();
        if is_code(&code) {
            assert!(found.insert(code.clone(), cells[1..].to_vec()).is_none(), "{code} is listed more than once");
        }
    }
    found
}

#[test]
fn every_code_is_in_the_document_and_every_one_of_the_document_is_a_code() {
    let (sources, codes, guard) = (in_sources(), rows(&read("docs/errors.md")), read("docs/guard.md"));
    let events = rows(guard.split("<!-- audit -->").nth(1).expect("docs/guard.md has the audit's events"));
    assert!(codes.len() > 100, "only {} codes were read", codes.len());
    let missing: Vec<String> = sources
        .iter()
        .filter(|(code, _)| !codes.contains_key(*code) && !events.contains_key(*code))
        .map(|(code, (exits, place))| {
            let exits: Vec<String> = exits.iter().map(u8::to_string).collect();
            format!("| `{code}` | {} | … | … |   ({place})", exits.join(", "))
        })
        .collect();
    assert!(missing.is_empty(), "rows to be written in docs/errors.md:\n{}", missing.join("\n"));
    let gone: Vec<&String> = codes.keys().filter(|code| !sources.contains_key(*code)).collect();
    assert!(gone.is_empty(), "docs/errors.md lists what no source says: {gone:?}");
    // Beginning and end of most jobs are put together of their kind and what became of them, as is that a restore was rolled back later.
    let of_jobs: Vec<String> = [JobKind::Backup, JobKind::Restore, JobKind::Clone, JobKind::Verification]
        .into_iter()
        .flat_map(|kind| {
            ["started", "succeeded", "failed", "uncertain"].map(|what| format!("{}.{what}", kind.as_str()))
        })
        .chain(["restore.rolled_back".to_owned()])
        .collect();
    let missing: Vec<&String> = of_jobs.iter().filter(|event| !events.contains_key(*event)).collect();
    assert!(missing.is_empty(), "docs/guard.md lacks events of jobs: {missing:?}");
    let gone: Vec<&String> =
        events.keys().filter(|event| !sources.contains_key(*event) && !of_jobs.contains(event)).collect();
    assert!(gone.is_empty(), "docs/guard.md lists what no source says: {gone:?}");
}

#[test]
fn the_exit_codes_of_the_document_are_those_of_the_sources() {
    let mut of_sources = in_sources();
    for (code, cells) in rows(&read("docs/errors.md")) {
        let [exits, when, next] = cells.as_slice() else { panic!("{code} has {} cells", cells.len() + 1) };
        assert!(!when.is_empty() && !next.is_empty(), "{code}: say when it comes and what to do");
        let exits: BTreeSet<u8> = exits.split(", ").filter_map(|e| e.parse().ok()).collect();
        let found = of_sources.remove(&code).map(|(found, _)| found).unwrap_or_default();
        assert!(!exits.is_empty(), "{code}: no exit code");
        assert!(found.is_subset(&exits), "{code}: the document says {exits:?}, the sources {found:?}");
    }
}

/// A scanner that finds nothing would make the tests above pass.
#[test]
fn the_scanner_reads_what_it_should() {
    let source =
        "// \"not.this\"\nlet a = Fault::new(Kind::Usage, \"a.code\", '\"', \"it \\\"b.c\\\" \");\nrow(\n \"x.y_2\",";
    let found: Vec<(String, Option<u8>)> = literals(source)
        .into_iter()
        .filter(|(text, _)| is_code(text))
        .map(|(text, before)| (text, exit_before(&before)))
        .collect();
    assert_eq!(found, [("a.code".to_owned(), Some(2)), ("x.y_2".to_owned(), None)]);
    assert!(!is_code("state.db") && !is_code("a.b.c") && !is_code("A.b") && !is_code("plain"));
}
