//! Whatever the program tells a reader to call, give or set exists: the names in its sentences are those of its tools, of their arguments and
//! reply fields, of its configuration and of its command line.

use super::errors::literals;
use super::{read, sources};
use crate::support::Bench;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rooms whose sentences reach whoever called. Others speak SQL, RESP or the cloud's wire.
const ROOMS: [&str; 7] = ["guard", "mcp", "model", "provider", "runtime", "tools", "config"];
/// Files of other rooms that hold such sentences.
const FILES: [&str; 4] = ["src/tair/meanings.rs", "src/tair/error.rs", "src/redis/faults.rs", "src/vault/owner.rs"];
/// Words that are none of the program's: of INFO, of statuses and of attributes.
const OTHERS: [&str; 2] = ["run_id", "human_verified"];

/// The tools, each with its arguments; and the names of all fields of their replies.
fn contract() -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    fn properties(schema: &Value, into: &mut BTreeSet<String>) {
        match schema {
            Value::Object(map) => {
                if let Some(Value::Object(named)) = map.get("properties") {
                    into.extend(named.keys().cloned());
                }
                map.values().for_each(|inner| properties(inner, into));
            }
            Value::Array(all) => all.iter().for_each(|inner| properties(inner, into)),
            _ => {}
        }
    }
    let (mut tools, mut fields) = (BTreeMap::new(), BTreeSet::new());
    for tool in &tair_backup_mcp::tools::registry::TOOLS {
        let published: Value = serde_json::from_str(tool.frozen).unwrap();
        let mut arguments = BTreeSet::new();
        properties(&published["inputSchema"], &mut arguments);
        properties(&tair_backup_mcp::mcp::contract::reply(tool), &mut fields);
        tools.insert(tool.name.to_owned(), arguments);
    }
    (tools, fields)
}

/// The snake_case words of a sentence, in order, without what is filled in.
fn words(sentence: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in sentence.replace("\\\"", " ").replace("{{", " ").replace("}}", " ").chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let name = |word: &&str| {
        word.contains('_')
            && !word.starts_with('_')
            && !word.ends_with('_')
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    plain.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(name).map(str::to_owned).collect()
}

/// Sentences of the program, each with the file it is in.
fn sentences() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let path = path.display().to_string();
        if ROOMS.iter().any(|room| path.starts_with(&format!("src/{room}/"))) || FILES.contains(&path.as_str()) {
            let all = literals(&text).into_iter().map(|(literal, _)| literal);
            found.extend(all.filter(|literal| literal.contains(' ')).map(|literal| (path.clone(), literal)));
        }
    }
    assert!(found.len() > 500, "only {} sentences found", found.len());
    found
}

/// Every name in a sentence is one that exists, and what is told to be given to a tool is an argument of that tool.
#[test]
fn what_is_told_to_be_called_exists() {
    let (tools, fields) = contract();
    let configuration = read("config.example.toml") + &read("docs/configuration.md");
    let guard = read("docs/guard.md");
    let mut seen = 0;
    for (path, sentence) in sentences() {
        let words = words(&sentence);
        for word in &words {
            seen += usize::from(tools.contains_key(word));
            let known = tools.contains_key(word)
                || tools.values().any(|arguments| arguments.contains(word))
                || fields.contains(word)
                || OTHERS.contains(&word.as_str())
                || [&configuration, &guard].iter().any(|text| text.contains(&format!("`{word}`")))
                || configuration.contains(&format!("{word} ="));
            assert!(known, "{path}: nothing is called {word}: {sentence:?}");
        }
        for pair in words.windows(2) {
            let [tool, argument] = pair else { continue };
            for told in ["with", "without"] {
                if let Some(arguments) = tools.get(tool)
                    && sentence.contains(&format!("{tool} {told} {argument}"))
                {
                    assert!(arguments.contains(argument), "{path}: {tool} has no {argument}: {sentence:?}");
                }
            }
        }
        // A call as JSON: every word behind the tool is one of its arguments.
        if sentence.contains("{{\\\"")
            && let [tool, arguments @ ..] = words.as_slice()
            && let Some(known) = tools.get(tool)
        {
            assert!(arguments.iter().all(|argument| known.contains(argument)), "{path}: {sentence:?}");
        }
    }
    assert!(seen > 60, "only {seen} tools are named");
}

/// Whatever is told to be given to a tool, up to the end of that part of the sentence, is an argument of it.
#[test]
fn what_is_told_to_be_given_is_an_argument() {
    let (tools, _) = contract();
    let mut seen = 0;
    for (path, sentence) in sentences() {
        for (tool, arguments) in &tools {
            for rest in sentence.split(&format!("{tool} with ")).skip(1) {
                let part = rest.split(['.', ';', ':', ',', '`']).next().unwrap();
                for word in words(part) {
                    seen += 1;
                    assert!(arguments.contains(&word), "{path}: {tool} has no {word}: {sentence:?}");
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} arguments are named");
}

/// What a fault names as the next call is a tool.
#[test]
fn next_calls_are_tools() {
    let (tools, _) = contract();
    let mut seen = 0;
    for (path, text) in sources() {
        for call in text.split(".next(&[").skip(1) {
            let listed = call.split(']').next().unwrap();
            for (name, _) in literals(listed) {
                seen += 1;
                assert!(tools.contains_key(&name), "{}: {name}", path.display());
            }
        }
    }
    assert!(seen > 10, "only {seen} next calls are named");
}

/// A flag that is named is one of the command line.
#[test]
fn flags_exist() {
    let bench = Bench::new("");
    let help = |args: &[&str]| bench.run(args).out;
    let listed = |help: &str| -> Vec<String> {
        help.lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect()
    };
    let mut all = help(&["--help"]);
    let commands = listed(&all);
    assert!(commands.len() > 10, "{commands:?}");
    for command in &commands {
        let shown = help(&[command, "--help"]);
        if shown.contains("\nCommands:\n") {
            listed(&shown).iter().for_each(|verb| all += &help(&[command, verb, "--help"]));
        }
        all += &shown;
    }
    let mut seen = 0;
    for (path, text) in sources() {
        // What is told to other programs is theirs.
        for (literal, _) in literals(&text).into_iter().filter(|(literal, _)| literal.contains(' ')) {
            for flag in literal.split("--").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())) {
                let flag: String = flag.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                seen += 1;
                assert!(all.contains(&format!("--{flag}")), "{}: --{flag}: {literal:?}", path.display());
            }
        }
    }
    assert!(seen > 10, "only {seen} flags are named");
}
