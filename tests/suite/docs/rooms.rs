//! `docs/architecture.md` says what each room imports, and `docs/guard.md` which checks there are and what takes a grant: all as the
//! sources have it.

use super::{read, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The room that a source belongs to; none for `lib.rs` and `main.rs`.
fn room(path: &Path) -> Option<String> {
    let mut parts = path.iter().skip(1).map(|part| part.to_str().unwrap().to_owned());
    let room = parts.next()?;
    parts.next().is_some().then_some(room)
}

/// A source without its comments, so that what they name counts for nothing.
fn code(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What every room imports, without itself.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(room) = room(&path) else { continue };
        let imported = found.entry(room.clone()).or_default();
        for rest in code(&text).split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if name != room {
                imported.insert(name);
            }
        }
    }
    found
}

/// The rows of the first table after a text, as cells.
fn table(document: &str, after: &str) -> Vec<Vec<String>> {
    let behind = document.split_once(after).unwrap_or_else(|| panic!("there is no {after:?}")).1;
    let rows = behind.lines().skip_while(|l| !l.starts_with("| ")).take_while(|l| l.starts_with('|')).skip(2);
    rows.map(|l| l.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn unquoted(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

#[test]
fn what_each_room_imports_is_what_the_architecture_says() {
    let said: BTreeMap<String, BTreeSet<String>> = table(&read("docs/architecture.md"), "What each imports today.")
        .into_iter()
        .map(|cells| {
            assert!(
                cells.len() == 3 && !cells[2].is_empty(),
                "a room, its imports, and what it must not do: {cells:?}"
            );
            let names = cells[1].split(", ").filter(|n| *n != "none").map(str::to_owned).collect();
            (unquoted(&cells[0]), names)
        })
        .collect();
    let found = imports();
    assert!(found.len() > 10, "only {} rooms were read", found.len());
    for (room, imported) in &found {
        let row = imported.iter().cloned().collect::<Vec<_>>().join(", ");
        assert_eq!(said.get(room), Some(imported), "docs/architecture.md: the row of {room} should say: {row}");
    }
    assert_eq!(said.len(), found.len(), "docs/architecture.md has a row for a room that there is not");
}

/// The public functions below the provider that take a grant by value: name, file, kind. What a grant is handed on to inside
/// a file is that file's own business.
fn granted_functions() -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for (path, text) in sources() {
        if !room(&path).is_some_and(|room| ["redis", "vault", "archive", "tair"].contains(&room.as_str())) {
            continue;
        }
        let code = code(&text);
        for (at, _) in code.match_indices("grant: Grant<") {
            let kind: String = code[at + "grant: Grant<".len()..].chars().take_while(|c| *c != '>').collect();
            let before = &code[..at];
            let declared = before.rfind("fn ").map_or("", |from| &before[from + 3..]);
            let line_start = before.rfind("fn ").map_or("", |from| &before[..from]);
            // A field of a struct, or a function of that room alone, is none that others can call.
            let public = line_start.rsplit('\n').next().is_some_and(|l| l.trim_start().starts_with("pub "));
            if public && before.rfind('}') < before.rfind("fn ") {
                let name: String = declared.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                found.insert((name, path.display().to_string(), kind));
            }
        }
        for (at, what) in code.match_indices("needs: crate::guard::grant::") {
            let kind: String = code[at + what.len()..].chars().take_while(char::is_ascii_alphabetic).collect();
            let line = code[..at].rsplit('\n').next().unwrap();
            let name = line.trim_start().split(',').next().unwrap();
            found.insert((name.to_owned(), path.display().to_string(), kind));
        }
    }
    found
}

/// Whoever reads the guard's page must be able to rely on the list: a primitive that it leaves out, or names for nothing, fails.
#[test]
fn every_function_that_takes_a_grant_is_in_the_guards_page() {
    let said: BTreeSet<(String, String, String)> = table(&read("docs/guard.md"), "<!-- grants -->")
        .into_iter()
        .map(|cells| (unquoted(&cells[0]), unquoted(&cells[1]), unquoted(&cells[2])))
        .collect();
    let found = granted_functions();
    assert!(found.len() >= 8, "only {found:?}");
    let list = |set: Vec<&(String, String, String)>| format!("{set:#?}");
    assert!(
        said == found,
        "missing: {}, gone: {}",
        list(found.difference(&said).collect()),
        list(said.difference(&found).collect())
    );
}

/// The doctests of a file, each behind what its fence says of it.
fn doctests(text: &str) -> Vec<String> {
    text.split("```").skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each primitive of the list has a doctest that calls it without its grant and must fail to compile, with the error that is meant. Beside it
/// stands one that differs by the grant and compiles: else a name that has moved would pass for a grant that is missing.
#[test]
fn every_function_that_takes_a_grant_does_not_compile_without() {
    for (path, text) in sources() {
        for doctest in doctests(&text).iter().filter_map(|doctest| doctest.strip_prefix("compile_fail")) {
            assert!(doctest.starts_with(",E0"), "{}: which error does the compiler give of {doctest}", path.display());
        }
    }
    for (name, path, _) in granted_functions() {
        // The cloud's actions are all sent by one function.
        let path = if path.starts_with("src/tair/wire/") { "src/tair/client.rs".to_owned() } else { path };
        let called = [format!("{name}("), format!("request: &{name})")];
        let (fail, compile): (Vec<String>, Vec<String>) = doctests(&read(&path))
            .into_iter()
            .filter(|doctest| called.iter().any(|call| doctest.contains(call)))
            .partition(|doctest| doctest.starts_with("compile_fail"));
        assert!(!fail.is_empty(), "{path}: no doctest shows that {name} does not compile without its grant");
        assert!(!compile.is_empty(), "{path}: no doctest shows that {name} compiles with its grant");
    }
}

/// The names of the checks that the guard can make.
fn checks() -> BTreeSet<String> {
    let source = code(&read("src/guard/check.rs"));
    let names = source.split("impl CheckName").nth(1).and_then(|rest| rest.split("pub const fn").nth(1)).unwrap();
    names.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn every_check_is_in_the_guards_page() {
    let said: BTreeSet<String> = table(&read("docs/guard.md"), "### Facts, checks, preconditions")
        .into_iter()
        .map(|c| unquoted(&c[0]))
        .collect();
    let found = checks();
    assert!(found.len() > 15, "only {found:?}");
    assert_eq!(said, found);
}

/// Every line of what the guard holds against names tests that are there.
#[test]
fn what_the_guard_holds_against_is_shown_by_tests() {
    let page = read("docs/guard.md");
    let section = page.split("## What it holds against").nth(1).unwrap().split("\n## ").next().unwrap();
    let numbered = |line: &str| line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    let mut lines: Vec<String> = Vec::new();
    for line in section.lines() {
        match lines.last_mut() {
            _ if numbered(line) => lines.push(line.to_owned()),
            Some(last) => last.push_str(line),
            None => {}
        }
    }
    assert_eq!(lines.len(), 9);
    for line in lines {
        let shown = line.split("*Shown by*").nth(1).unwrap_or_else(|| panic!("shown by nothing: {line}"));
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{line}");
        for name in names {
            let (place, test) = name.rsplit_once("::").unwrap();
            let (files, head) = if place.starts_with("clients::python::") {
                (vec![format!("tests/{}.py", place.replace("::", "/"))], format!("def {test}("))
            } else {
                let file = format!("tests/suite/{}", place.replace("::", "/"));
                (vec![format!("{file}.rs"), format!("{file}/mod.rs")], format!("fn {test}("))
            };
            let text = files.iter().find_map(|file| std::fs::read_to_string(crate::support::root().join(file)).ok());
            assert!(text.is_some_and(|text| text.contains(&head)), "{name} is not there");
        }
    }
}
