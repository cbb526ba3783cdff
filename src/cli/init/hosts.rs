//! The lines that register this program with each host: to type or to paste, with this program's own path.

use crate::model::fault::{Fault, Kind};
use crate::model::text::shell_word;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The name under which a host knows this server.
const NAME: &str = "tair-backup";

/// What a host is told of.
pub struct Registered<'a> {
    /// The home, where it is not the default one.
    pub home: Option<&'a Path>,
    /// The configuration, where it is not the default file.
    pub config: Option<&'a Path>,
    /// Whether the server refuses what changes something.
    pub read_only: bool,
    /// Instances by their urls, without passwords.
    pub urls: &'a [String],
    /// The environment variables that the server reads.
    pub variables: BTreeSet<&'a str>,
}

/// One line a host.
///
/// # Errors
/// `system.program`, where this program cannot find its own file.
pub fn lines(registered: &Registered<'_>) -> Result<String, Fault> {
    let Registered { home, config, read_only, urls, variables: wanted } = registered;
    let program = std::env::current_exe().map_err(|e| {
        Fault::new(Kind::Unexpected, "system.program", "this program cannot find its own file").because(e)
    })?;
    let program = program.to_string_lossy().into_owned();
    let mut args = Vec::new();
    for (option, path) in [("--home", home), ("--config", config)] {
        if let Some(path) = path {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
            args.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
        }
    }
    if *read_only {
        args.push("--read-only".into());
    }
    args.push("serve".into());
    for url in *urls {
        args.extend(["--url".to_owned(), url.clone()]);
    }
    let command: Vec<String> = std::iter::once(&program).chain(&args).map(|word| shell_word(word)).collect();
    let command = command.join(" ");
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
        let wanted = wanted.iter().copied().collect::<Vec<_>>().join(", ");
        lines.push(format!(
            "The server reads {wanted} from its environment. The first two lines store the value that it has in your shell now; the \
             others pass on what the host's own environment has."
        ));
    }
    Ok(lines.join("\n"))
}
