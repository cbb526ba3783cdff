//! How each host is told of this program: the lines to type or to paste, with this program's own path.

use super::file::Written;
use crate::config::instance::Password;
use crate::model::fault::{Fault, Kind};
use serde_json::json;
use std::path::Path;

/// The name under which a host knows this server.
const NAME: &str = "tair-backup";

/// One line a host. `config` is named where it is not the file that is read anyway.
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
    let command: Vec<String> = std::iter::once(&program).chain(&args).map(|word| shell(word)).collect();
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
    let wanted: Vec<&str> = instances
        .iter()
        .filter_map(|i| match &i.password {
            Password::Env(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if !wanted.is_empty() {
        lines.push(format!("The server reads {} from its environment: the host has to pass it on.", wanted.join(", ")));
    }
    Ok(lines.join("\n"))
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-=:@%+,".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::shell;

    /// A path with blanks or quotes stays one word.
    #[test]
    fn words_of_a_shell() {
        assert_eq!(shell("/usr/bin/x-1.0"), "/usr/bin/x-1.0");
        assert_eq!(shell("/my files/x"), "'/my files/x'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }
}
