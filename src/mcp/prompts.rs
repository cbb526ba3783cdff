//! Prompts: the runbooks of `prompts/`, embedded. A test checks that arguments declared and placeholders used agree.

use crate::mcp::contract::front_matter;
use crate::model::text::{clean, nearest};
use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

/// Longest name of a prompt or its argument, in bytes.
const NAME_MAX: usize = 64;
/// Longest text of an argument, in bytes.
const ARGUMENT_MAX: usize = 1024;

/// The runbooks: name, and text with front matter.
pub const FILES: [(&str, &str); 3] = [
    ("safe_restore", include_str!("../../prompts/safe_restore.md")),
    ("find_the_mistake", include_str!("../../prompts/find_the_mistake.md")),
    ("before_risky_change", include_str!("../../prompts/before_risky_change.md")),
];

fn text<'a>(front: &'a serde_json::Map<String, Value>, key: &str) -> &'a str {
    front.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A runbook's arguments, declared as `arguments: name (what it is); name? (…)`; `?` marks an optional one.
fn arguments(front: &serde_json::Map<String, Value>) -> Vec<PromptArgument> {
    let declared = text(front, "arguments").split("; ").filter_map(|one| {
        let (name, what) = one.split_once(" (")?;
        let argument = PromptArgument::new(name.trim_end_matches('?')).with_description(what.trim_end_matches(')'));
        Some(argument.with_required(!name.ends_with('?')))
    });
    declared.collect()
}

/// All prompts.
#[must_use]
pub fn list() -> Vec<Prompt> {
    let prompt = |(name, md): &(&str, &str)| {
        let (front, _) = front_matter(md);
        Prompt::new(*name, Some(text(&front, "description")), Some(arguments(&front))).with_title(text(&front, "title"))
    };
    FILES.iter().map(prompt).collect()
}

/// One prompt, with its arguments filled in.
///
/// # Errors
/// Which argument is missing or which prompt unknown, as a sentence.
pub fn get(name: &str, given: Option<&JsonObject>) -> Result<GetPromptResult, String> {
    if name.len() > NAME_MAX {
        return Err(format!("the name of the prompt has {} bytes; at most {NAME_MAX}", name.len()));
    }
    let Some((_, md)) = FILES.iter().find(|(n, _)| *n == name) else {
        let near =
            nearest(name, FILES.iter().map(|(n, _)| *n)).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        return Err(format!("there is no prompt {}{near}", crate::model::text::quoted(name)));
    };
    let (front, body) = front_matter(md);
    for (argument, value) in given.into_iter().flatten() {
        let bytes = value.as_str().map_or(0, str::len);
        if argument.len() > NAME_MAX || bytes > ARGUMENT_MAX {
            return Err(format!(
                "an argument of a prompt has a name of at most {NAME_MAX} bytes and a text of at most {ARGUMENT_MAX}; here are {} and {bytes}",
                argument.len()
            ));
        }
    }
    let mut filled = body.to_owned();
    for argument in arguments(&front) {
        let value = given.and_then(|g| g.get(&argument.name)).and_then(Value::as_str).map(clean).unwrap_or_default();
        if value.is_empty() && argument.required == Some(true) {
            return Err(format!("prompt {name} needs the argument {}", argument.name));
        }
        let value = if value.is_empty() { "(not given)".into() } else { value };
        filled = filled.replace(&format!("{{{}}}", argument.name), &value);
    }
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, filled)])
        .with_description(text(&front, "description")))
}
