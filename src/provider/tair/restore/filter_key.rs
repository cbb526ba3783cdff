//! `filter_key`, looked at before the cloud sees it: a comma-separated list of regular expressions, which people and
//! agents write as globs. Whether the cloud matches whole keys or parts of them is not documented, and said.

use crate::guard::facts::restore::FilterFacts;
use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;

/// Keys without any pattern that the cloud advises at most.
const PLAIN: usize = 10;
/// Patterns that the cloud advises at most.
const PATTERNS: usize = 3;
/// Longest list that fits the URL in which it travels, in bytes.
const LONGEST: usize = 4096;

fn refused(message: String, hint: impl Into<String>) -> Fault {
    Fault::new(Kind::Usage, "restore.filter_key", message).hint(hint)
}

/// Reads a `filter_key` into its items and what to warn of.
///
/// # Errors
/// `restore.filter_key`, naming the item and its mistake.
pub fn lint(text: &str) -> Result<FilterFacts, Fault> {
    if text.len() > LONGEST {
        return Err(refused(
            format!("filter_key has {} bytes, at most {LONGEST} can be sent", text.len()),
            "Name fewer keys, or one regular expression for all of them.",
        ));
    }
    let items = split(text)?;
    let mut warnings = Vec::new();
    for item in &items {
        if let Some(warning) = lint_item(item)? {
            warnings.push(warning);
        }
    }
    let patterns = items.iter().filter(|i| is_pattern(i)).count();
    let plain = items.len() - patterns;
    if plain > PLAIN {
        warnings.push(format!("{plain} plain keys: Alibaba Cloud advises {PLAIN} at most"));
    }
    if patterns > PATTERNS {
        warnings.push(format!("{patterns} regular expressions: Alibaba Cloud advises {PATTERNS} at most"));
    }
    Ok(FilterFacts { items, warnings })
}

fn is_pattern(item: &str) -> bool {
    item.contains(['.', '*', '?', '+', '[', ']', '(', ')', '{', '}', '|', '^', '$', '\\'])
}

/// Splits at commas. There is no way to write a comma within an item, so one inside brackets is a mistake that would
/// silently cut a pattern in two.
fn split(text: &str) -> Result<Vec<String>, Fault> {
    let comma = |item: &str| {
        refused(
            format!("filter_key: the comma within {} would cut it in two; commas cannot be escaped", quoted(item)),
            "Use a pattern without a comma: '.' stands for any character.",
        )
    };
    let (mut open, mut escaped) = (Vec::new(), false);
    for c in text.chars() {
        match c {
            ',' if escaped || !open.is_empty() => return Err(comma(text)),
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            // Within a class only its end counts.
            ']' if open.last() == Some(&'[') => drop(open.pop()),
            _ if open.last() == Some(&'[') => {}
            '[' | '{' | '(' => open.push(c),
            '}' if open.last() == Some(&'{') => drop(open.pop()),
            ')' if open.last() == Some(&'(') => drop(open.pop()),
            _ => {}
        }
    }
    let items: Vec<String> = text.split(',').map(|i| i.trim().to_owned()).collect();
    if items.iter().any(String::is_empty) {
        return Err(refused(
            format!("filter_key: {} has an empty item, which might match every key", quoted(text)),
            "Separate regular expressions by single commas, as in user:1,session:.*",
        ));
    }
    Ok(items)
}

/// One item: refused when it is no regular expression, warned of when it is one that hardly anybody means.
fn lint_item(item: &str) -> Result<Option<String>, Fault> {
    let meant = glob_as_regex(item);
    if let Err(why) = compiles(item) {
        let hint = match meant {
            Some(meant) => format!(
                "filter_key takes regular expressions, not globs; for the keys that the glob {} names write {}",
                quoted(item),
                quoted(&meant)
            ),
            None => "filter_key takes regular expressions; a backslash before a special character makes it plain."
                .to_owned(),
        };
        return Err(refused(format!("filter_key: {} is not a regular expression: {why}", quoted(item)), hint));
    }
    if matches!(item, ".*" | ".+" | "." | "^" | "$" | "^.*$") {
        return Ok(Some(format!("{} matches every key: that is a restore of everything", quoted(item))));
    }
    Ok(meant.map(|meant| {
        format!(
            "{} looks like a glob; as a regular expression it means {}. For the keys that the glob names, write {}",
            quoted(item),
            explain_star(item),
            quoted(&meant)
        )
    }))
}

/// What the first star of something that was meant as a glob says as a regular expression: `"session" and any number of
/// colons`.
fn explain_star(item: &str) -> String {
    let Some((before, _)) = item.split_once('*') else {
        return "something else".into();
    };
    let mut chars = before.chars();
    match chars.next_back() {
        None => "something else".into(),
        Some(':') => format!("{} and any number of colons, none included", quoted(chars.as_str())),
        Some(last) => {
            format!("{} and any number of {}, none included", quoted(chars.as_str()), quoted(&last.to_string()))
        }
    }
}

/// The regular expression for what a glob names, when the item looks like a glob: a star after a plain character, with
/// nothing that only regular expressions have.
fn glob_as_regex(item: &str) -> Option<String> {
    if !item.contains('*') || item.contains(['+', '(', ')', '{', '}', '|', '^', '$', '\\']) {
        return None;
    }
    // `.*` and `[0-9]*` are what regular expressions are written with.
    let mut last = None;
    for c in item.chars() {
        if c == '*' && matches!(last, Some('.' | ']')) {
            return None;
        }
        last = Some(c);
    }
    let mut out = String::new();
    for c in item.chars() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '.' => out.push_str("\\."),
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether an item is a regular expression, as nearly every dialect has them. The cloud's own is not documented.
fn compiles(item: &str) -> Result<(), String> {
    regex_syntax::ast::parse::Parser::new().parse(item).map(|_| ()).map_err(|e| e.kind().to_string())
}
