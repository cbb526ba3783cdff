//! The lines that register this program with each host: to type or to paste, with this program's own path.

use super::file::Written;
use crate::config::instance::Password;
use crate::model::fault::{Fault, Kind};
use crate::model::text::shell_word;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The name under which a host knows this server.
const NAME: &str = "tair-backup";

/// One line a host. `config` is named where it is not the default file.
///
/// # Errors
/// `system.program`, where this program cannot find its own file.
pub fn lines(
    home: Option<&Path>,
    config: Option<&Path>,
    read_only: bool,
    instances: &[Written],
) -> Result<String, Fault> {
    let program = std::env::current_exe().map_err(|e| {
        Fault::new(Kind::Unexpected, "system.program", "this program cannot find its own file").because(e)
    })?;
    let program = program.to_string_lossy().into_owned();
    let mut args = Vec::new();
    for (option, path) in [("--home", home), ("--config", config)] {
        if let Some(path) = path {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            args.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
        }
    }
    if read_only {
        args.push("--read-only".into());
    }
    args.push("serve".into());
    let command: Vec<String> = std::iter::once(&program).chain(&args).map(|word| shell_word(word)).collect();
    let command = command.join(" ");
    let wanted: BTreeSet<&str> = instances
        .iter()
        .filter_map(|i| match &i.password {
            Password::Env(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let pass_on = |option: &str| wanted.iter().map(|name| format!("{option} {name}=\"${name}\" ")).collect::<String>();
    let mut cursor = json!({ "command": program, "args": args });
    let mut code = json!({ "type": "stdio", "command": program, "args": args });
    if !wanted.is_empty() {
        let env: BTreeMap<&str, String> = wanted.iter().map(|name| (*name, format!("${{env:{name}}}"))).collect();
        for server in [&mut cursor, &mut code] {
            if let Some(fields) = server.as_object_mut() {
                fields.insert("env".into(), json!(env));
            }
        }
    }
    let mut lines = vec![
        "\nTell your host of it:".to_owned(),
        format!("  Claude Code  claude mcp add {NAME} {}-- {command}", pass_on("-e")),
        format!("  Codex        codex mcp add {NAME} {}-- {command}", pass_on("--env")),
        format!("  Cursor       in .cursor/mcp.json: {}", json!({ "mcpServers": { NAME: cursor } })),
        format!("  VS Code      in .vscode/mcp.json: {}", json!({ "servers": { NAME: code } })),
    ];
    if !wanted.is_empty() {
        let wanted = Vec::from_iter(wanted).join(", ");
        lines.push(format!(
            "The server reads {wanted} from its environment. The first two lines store the value that it has in your shell now; the \
             others pass on what the host's own environment has."
        ));
    }
    Ok(lines.join("\n"))
}
