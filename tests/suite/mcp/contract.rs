//! The published contract is what the types and descriptions say, is small, and has every corner of every verb.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tair_backup_mcp::mcp::{contract, prompts};
use tair_backup_mcp::tools::registry::{NAMES, Risk, TOOLS};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `UPDATE_CONTRACTS=1` rewrites the frozen files; a missing one fails otherwise.
#[test]
fn frozen_listings_are_what_the_types_say() {
    for verb in NAMES {
        let generated = serde_json::to_string_pretty(&contract::generate(verb).expect(verb)).unwrap() + "\n";
        let path = root().join(format!("tools/{verb}.json"));
        if std::env::var_os("UPDATE_CONTRACTS").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let frozen = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(frozen, generated, "{verb}: run with UPDATE_CONTRACTS=1 if the change is meant");
    }
}

/// What a person reads of a tool: the first sentence of its description, and its risk.
fn in_short() -> Vec<(&'static str, String, String)> {
    let tools = NAMES.iter().map(|verb| {
        let md = std::fs::read_to_string(root().join(format!("tools/{verb}.md"))).unwrap();
        let (front, description) = contract::front_matter(&md);
        let first = description.split_once(". ").map_or(description, |(first, _)| first).trim_end_matches('.');
        (*verb, format!("{first}."), front["risk"].as_str().unwrap().to_owned())
    });
    tools.collect()
}

/// What stands between the markers of a document is `list`; `UPDATE_CONTRACTS=1` writes it.
fn lists_the_tools(document: &str, list: &str) {
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find("<!-- tools:").and_then(|at| Some(at + text[at..].find("-->")? + 4)).unwrap();
    let end = text.find("<!-- /tools -->").unwrap();
    let wanted = format!("{}\n{list}\n{}", &text[..start], &text[end..]);
    if std::env::var_os("UPDATE_CONTRACTS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(text == wanted, "{document}: its list of tools is stale: run with UPDATE_CONTRACTS=1");
}

/// The README's table of tools, and the skill's list of them, are what the descriptions say.
#[test]
fn the_readme_and_the_skill_list_the_tools_as_they_are() {
    let mut table = String::from("| Tool | What it does | Risk |\n| --- | --- | --- |\n");
    let mut list = String::new();
    for (verb, does, risk) in in_short() {
        table += &format!("| `{verb}` | {does} | {risk} |\n");
        list += &format!("- `{verb}` (risk: {risk}): {does}\n");
    }
    lists_the_tools("README.md", &table);
    lists_the_tools("skills/tair-backup/SKILL.md", &list);
}

/// Every user pays for every token in every request.
#[test]
fn the_list_costs_at_most_3000_tokens() {
    let list = serde_json::json!({ "tools": contract::tools() });
    let bpe = tiktoken_rs::o200k_base().unwrap();
    let tokens = bpe.encode_ordinary(&list.to_string()).len();
    for tool in contract::tools() {
        println!("{:<20} {}", tool.name, bpe.encode_ordinary(&serde_json::to_string(tool).unwrap()).len());
    }
    println!("tools/list: {tokens} tokens (o200k)");
    assert!(tokens <= 3000, "tools/list costs {tokens} tokens");
    assert!(contract::tools().len() <= 12);
}

#[test]
fn instructions_cost_less_than_150_tokens() {
    let tokens = tiktoken_rs::o200k_base().unwrap().encode_ordinary(tair_backup_mcp::mcp::server::INSTRUCTIONS).len();
    println!("instructions: {tokens} tokens (o200k)");
    assert!(tokens < 150, "instructions cost {tokens} tokens");
}

/// Some model providers refuse the whole list for a schema with these at its top.
#[test]
fn every_tool_has_a_title_all_hints_and_plain_schemas() {
    assert_eq!(contract::tools().iter().map(|t| t.name.as_ref()).collect::<Vec<_>>(), NAMES);
    for tool in contract::tools() {
        let json = serde_json::to_value(tool).unwrap();
        assert!(json["title"].is_string() && json["description"].is_string(), "{}", tool.name);
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(json["annotations"][hint].is_boolean(), "{} {hint}", tool.name);
        }
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(json[schema]["type"], "object", "{} {schema}", tool.name);
            for bad in ["anyOf", "oneOf", "allOf", "$ref", "$defs"] {
                assert!(!json[schema].to_string().contains(&format!("\"{bad}\"")), "{} {schema} has {bad}", tool.name);
            }
        }
        assert_eq!(json["inputSchema"]["additionalProperties"], Value::Bool(false), "{}", tool.name);
        // A client that validates refuses a reply that leaves out what is required, and one with a field too many.
        for strict in ["required", "additionalProperties"] {
            assert!(!json["outputSchema"].to_string().contains(&format!("\"{strict}\"")), "{} {strict}", tool.name);
        }
        // Hosts prefix names with their own and the server's: mcp__tair-backup-mcp__restore_instance.
        assert!(format!("mcp__tair-backup-mcp__{}", tool.name).len() <= 64);
    }
}

/// Arguments of a wrong type are named with what would be right; an unknown one with the nearest there is; null is left out.
#[test]
fn wrong_arguments_are_named() {
    use tair_backup_mcp::tools::{arguments, create_instance_from_backup, describe_backups, restore_instance};
    let fault = |json: Value| {
        let fault = arguments::parse::<describe_backups::Args>(json).unwrap_err();
        (fault.code, format!("{} {}", fault.message, fault.hint))
    };
    let id = "orders";
    let cases = [
        (json!({ "instance_id": id, "page_size": "20" }), vec!["page_size", "a whole number", "without quotes"]),
        (json!({ "instance_id": id, "page_size": -1 }), vec!["page_size", "a whole number"]),
        (json!({ "instance_id": 7 }), vec!["instance_id", "a string"]),
        (json!({ "instance": id }), vec!["instance", "Did you mean instance_id"]),
        (json!({}), vec!["instance_id"]),
        (json!([]), vec!["invalid"]),
    ];
    for (json, needles) in cases {
        let (code, message) = fault(json.clone());
        assert_eq!(code, "arguments.invalid", "{json}");
        assert!(needles.iter().all(|n| message.contains(n)), "{json}: {message}");
    }
    // The nearest is found also where the list of all arguments is too long to be shown.
    let long = json!({ "instance_id": id, "confirmation_tokken": "x" });
    assert!(arguments::parse::<restore_instance::Args>(long).unwrap_err().hint.contains("confirmation_token"));
    let nulls = json!({ "instance_id": id, "backup_id": "b-1", "restore_time": null, "recover_config_mode": null });
    arguments::parse::<create_instance_from_backup::Args>(nulls).unwrap();
}

#[test]
fn what_destroys_says_so_and_that_a_person_must_approve() {
    for tool in contract::tools() {
        let destructive = tool.annotations.as_ref().unwrap().destructive_hint;
        assert_eq!(
            destructive,
            Some(["restore_instance", "modify_backup_policy", "delete_backup"].contains(&tool.name.as_ref())),
            "{}",
            tool.name
        );
        let takes_a_token = tool.input_schema["properties"].get("confirmation_token").is_some();
        assert_eq!(tool.description.as_ref().unwrap().contains("person"), takes_a_token, "{}", tool.name);
    }
    let restore = contract::tools().iter().find(|t| t.name == "restore_instance").unwrap();
    let output = serde_json::to_value(restore).unwrap()["outputSchema"]["properties"].clone();
    assert!(output["prechecks"].is_object() && output["passed"]["items"]["type"] == "string", "{output}");
    assert!(restore.description.as_ref().unwrap().contains("a person must approve"));
}

/// Each verb has its row in the registry, description, listing, source, test and subcommand; and the row's risk is the
/// description's.
#[test]
fn every_verb_has_all_of_its_files() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for tool in &TOOLS {
        let verb = tool.name;
        let files = [
            format!("tools/{verb}.md"),
            format!("tools/{verb}.json"),
            format!("src/tools/{verb}.rs"),
            format!("tests/suite/tools/{verb}.rs"),
        ];
        for corner in files {
            assert!(root().join(&corner).is_file(), "{corner} is missing");
        }
        let tests = std::fs::read_to_string(root().join(format!("tests/suite/tools/{verb}.rs"))).unwrap();
        assert!(tests.contains("#[test]"), "tests/suite/tools/{verb}.rs has no test");
        let tested = std::fs::read_to_string(root().join("tests/suite/tools/mod.rs")).unwrap();
        assert!(tested.contains(&format!("mod {verb};")), "tests/suite/tools/{verb}.rs is not compiled");
        let line = help.lines().find(|l| l.split_whitespace().next() == Some(&verb.replace('_', "-")));
        assert!(
            line.is_some_and(|l| l.contains(tool.about)) || help.contains(tool.about),
            "the command line has no {verb}"
        );

        let (front, _) = contract::front_matter(tool.description);
        let says = |key: &str| front[key] == "true";
        let reads = front["risk"] == "none";
        assert_eq!(says("read_only"), reads, "{verb}");
        assert_eq!(says("destructive"), matches!(tool.risk, Risk::Destroys | Risk::Lowers), "{verb}");
        // One word for each risk, and no other; a tool that reads instances and writes a file here is said to have a low one.
        let word = match (tool.risk, reads) {
            (Risk::Reads, true) => "none",
            (Risk::Reads, false) | (Risk::Writes, _) => "low",
            (Risk::Lowers, _) => "medium",
            (Risk::Destroys, _) => "destructive",
            (Risk::Costs, _) => "costs",
        };
        assert_eq!(front["risk"], word, "{verb}");
    }
    for folder in ["tools", "tests/suite/tools"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let verb = name.rsplit_once('.').unwrap().0;
            assert!(NAMES.contains(&verb) || name == "mod.rs", "{folder}/{name} belongs to no verb");
        }
    }
}

/// `--read-only` refuses every tool that does more than read, before its arguments are parsed; and no other.
#[test]
fn read_only_refuses_by_risk() {
    let home = tempfile::TempDir::new().unwrap();
    let text = "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n";
    let file = home.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    for tool in &TOOLS {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp"));
        command.arg("--home").arg(home.path().join("home")).arg("--config").arg(&file).arg("--read-only");
        command.arg(tool.name.replace('_', "-"));
        if tool.name != "describe_instances" && tool.name != "describe_jobs" {
            command.args(["--instance-id", "orders"]);
        }
        if matches!(tool.name, "delete_backup" | "download_backup" | "verify_backup") {
            command.args(["--backup-id", "b-1"]);
        }
        let done = command.output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        let refused = done.status.code() == Some(3) && err.contains("[mode.read_only]");
        assert_eq!(refused, tool.risk != Risk::Reads, "{}: {err}", tool.name);
        assert!(!err.contains("Usage:"), "{}: {err}", tool.name);
    }
}

/// Prompts declare what they use, use what they declare, and name only tools that exist.
#[test]
fn prompts_agree_with_themselves_and_with_the_tools() {
    for prompt in prompts::list() {
        let (_, md) = prompts::FILES.iter().find(|(n, _)| *n == prompt.name).unwrap();
        let declared: Vec<String> = prompt.arguments.clone().unwrap_or_default().into_iter().map(|a| a.name).collect();
        assert!(!declared.is_empty() && prompt.title.is_some() && prompt.description.is_some(), "{}", prompt.name);
        let used: Vec<&str> =
            md.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect();
        for name in &used {
            assert!(declared.iter().any(|d| d == name), "{}: {{{name}}} is not declared", prompt.name);
        }
        for name in &declared {
            assert!(used.contains(&name.as_str()), "{}: {name} is declared and not used", prompt.name);
        }
        for name in md.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let looks_like_a_tool = ["describe_", "create_", "restore_", "download_", "delete_", "modify_"]
                .iter()
                .any(|p| name.starts_with(p));
            assert!(!looks_like_a_tool || NAMES.contains(&name), "{}: there is no tool {name}", prompt.name);
        }
        let arguments = declared.iter().map(|d| (d.clone(), Value::from(format!("<{d}>")))).collect();
        let filled = format!("{:?}", prompts::get(&prompt.name, Some(&arguments)).unwrap());
        for name in &declared {
            assert!(filled.contains(&format!("<{name}>")), "{}: {name} is not filled in", prompt.name);
        }
        assert!(prompts::get(&prompt.name, None).is_err(), "{}: a required argument may be left out", prompt.name);
    }
}

/// What a refusal names as a call to make is one as it stands: a tool that needs arguments is in its hint, with them.
#[test]
fn a_refusal_names_only_whole_calls() {
    let all = sources("src").join("\n");
    let lists = all.split(".next(&[").skip(1).filter_map(|rest| rest.split_once(']'));
    let named: Vec<&str> = lists.flat_map(|(list, _)| list.split('"').skip(1).step_by(2)).collect();
    assert!(named.len() > 5, "{named:?}");
    for call in named {
        let tool = contract::generate(call).expect(call);
        let required = tool["inputSchema"]["required"].as_array().is_some_and(|names| !names.is_empty());
        assert!(!required, "{call} needs arguments: name it with them in the hint");
    }
}

/// The RAM policies of the documents are JSON, each action is called by the provider, and each that it calls is in one of them.
#[test]
fn the_ram_policies_name_what_is_called() {
    let document = std::fs::read_to_string(root().join("docs/alibaba-cloud.md")).unwrap();
    let (_, rest) = document.split_once("<!-- ram -->").unwrap();
    let (section, _) = rest.split_once("<!-- /ram -->").unwrap();
    let mut named = std::collections::BTreeSet::new();
    for block in section.split("```json\n").skip(1) {
        let policy: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
        assert_eq!(policy["Version"], "1");
        for statement in policy["Statement"].as_array().unwrap() {
            for action in statement["Action"].as_array().unwrap() {
                named.insert(action.as_str().unwrap().strip_prefix("kvstore:").unwrap().to_owned());
            }
        }
    }
    let wire = sources("src/tair/wire").join("\n");
    let actions = wire.split("\naction! {").skip(1).map(|rest| {
        let is_code = |l: &&str| !l.trim().is_empty() && !l.trim().starts_with("///") && !l.trim().starts_with("#[");
        let line = rest.lines().find(is_code).unwrap();
        line.trim().split(',').next().unwrap().to_owned()
    });
    let users = [sources("src/provider/tair"), sources("src/cli/doctor")].concat().join("\n");
    let called: std::collections::BTreeSet<String> = actions
        .filter(|action| users.contains(&format!("{action} {{")) || users.contains(&format!("{action}::")))
        .collect();
    assert_eq!(named, called);
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]
fn sources(folder: &str) -> Vec<String> {
    let paths = std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path());
    paths
        .flat_map(|path| match path.strip_prefix(root()) {
            Ok(inside) if path.is_dir() => sources(inside.to_str().unwrap()),
            _ => vec![std::fs::read_to_string(&path).unwrap()],
        })
        .collect()
}
