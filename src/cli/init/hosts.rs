//! The lines that register this program with each host: to type or to paste, with this program's own path.

use super::file::Written;
use crate::config::instance::Password;
use crate::model::fault::{Fault, Kind};
use serde_json::json;
use std::path::Path;

/// The name under which a host knows this server.
const NAME: &str = "tair-backup";

/// One line a host. `config` is named where it is not the default file.
///
/// # Errors
/// `system.program`, where this program cannot find its own file.
pub fn lines(home: Option<&Path>, config: Option<&Path>, instances: &[Written]) -> Result<String, Fault> {
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
    args.push("serve".into());
    let command: Vec<String> = std::iter::once(&program).chain(&args).map(|argument| shell_quoted(argument)).collect();
    let command = command.join(" ");
    let cursor = json!({ "mcpServers": { NAME: { "command": program, "args": args } } });
    let code = json!({ "servers": { NAME: { "type": "stdio", "command": program, "args": args } } });
    let mut lines = vec![
        "\nTell your host of it:".to_owned(),
        format!("  Claude Code  claude mcp add {NAME} -- {command}"),
        format!("  Codex        codex mcp add {NAME} -- {command}"),
        format!("  Cursor       in .cursor/mcp.json: {cursor}"),
        format!("  VS Code      in .vscode/mcp.json: {code}"),
    ];
    let variables: Vec<&str> = instances
        .iter()
        .filter_map(|i| match &i.password {
            Password::Env(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if !variables.is_empty() {
        lines.push(format!(
            "The server reads {} from its environment: the host has to pass it on.",
            variables.join(", ")
        ));
    }
    Ok(lines.join("\n"))
}

/// An argument, quoted for a shell_quoted where it needs quotes.
fn shell_quoted(argument: &str) -> String {
    let plain =
        !argument.is_empty() && argument.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-=:@%+,".contains(&b));
    if plain { argument.to_owned() } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::shell_quoted;

    /// A path with blanks or quotes stays one argument.
    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(shell_quoted("/usr/bin/x-1.0"), "/usr/bin/x-1.0");
        assert_eq!(shell_quoted("/my files/x"), "'/my files/x'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
    }
}
