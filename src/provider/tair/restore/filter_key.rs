//! `filter_key`, looked at before the cloud sees it: a comma-separated list of regular expressions, which people and
//! agents write as globs. Whether the cloud matches whole keys or parts of them is not documented, and said.

mod reach;
mod syntax;

use crate::guard::facts::restore::FilterFacts;
use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;
use crate::provider::tair::restore::filter_key::syntax::{Reading, Syntax, glob_as_regex, read};

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
    let (mut warnings, mut unchecked) = (Vec::new(), Vec::new());
    for item in &items {
        match lint_item(item)? {
            Linted::Read(of_item) => warnings.extend(of_item),
            Linted::Unchecked(of_item) => unchecked.push(of_item),
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
    Ok(FilterFacts { items, warnings, unchecked })
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

/// What can be said of an item.
enum Linted {
    /// It was read: what to warn of.
    Read(Vec<String>),
    /// It was not, as only other engines do: why.
    Unchecked(String),
}

/// One item: refused when it is no regular expression, or one that no engine but ours would read so; warned of when it is one that hardly
/// anybody means.
fn lint_item(item: &str) -> Result<Linted, Fault> {
    match read(item) {
        Reading::Read(syntax) => {
            if let Some(what) = syntax.ours_alone {
                let hint =
                    "Write it as other engines have it: a class with its characters named, \\b for the edge of a word.";
                return Err(refused(format!("filter_key: {} has {what}, which few engines know", quoted(item)), hint));
            }
            Ok(Linted::Read(syntax.warnings(item)))
        }
        Reading::Elsewhere(what) => Ok(Linted::Unchecked(format!(
            "{} has {what}: whether the engine of Alibaba Cloud knows that is not documented, and nothing here can check it",
            quoted(item)
        ))),
        Reading::Braces(syntax) => {
            let braces = format!(
                "{} has braces that are no repetition: some engines refuse them; for the braces themselves write {}",
                quoted(item),
                quoted(&syntax.meant)
            );
            Ok(Linted::Read([vec![braces], syntax.warnings(item)].concat()))
        }
        Reading::Wrong(why) => {
            let hint = match glob_as_regex(item).filter(|_| item.contains(['*', '?'])) {
                Some(meant) => format!(
                    "filter_key takes regular expressions, not globs; for the keys that the glob {} names write {}",
                    quoted(item),
                    quoted(&meant)
                ),
                None => "filter_key takes regular expressions; a backslash before a special character makes it plain."
                    .to_owned(),
            };
            Err(refused(format!("filter_key: {} is not a regular expression: {why}", quoted(item)), hint))
        }
    }
}

impl Syntax {
    /// What an item means that was meant otherwise, most likely, each with what to write instead.
    fn warnings(&self, item: &str) -> Vec<String> {
        let (item, meant) = (quoted(item), quoted(&self.meant));
        let mut warnings = Vec::new();
        if self.any {
            warnings.push(format!("{item} matches every key: that is a restore of everything"));
        } else if self.empty && self.anchored {
            warnings.push(format!("{item} matches the key whose name is empty too"));
        } else if self.empty {
            warnings.push(format!(
                "{item} matches the empty text too: where a pattern may match a part of a key, that is every key"
            ));
        } else if self.by_length {
            warnings.push(format!("{item} says only how long a key is: keys of any name match"));
        } else if self.wordless {
            warnings.push(format!(
                "{item} names no character that a key has: where a pattern may match a part of a key, keys of any name match"
            ));
        }
        if let Some(wildcard) = &self.glob {
            warnings.push(format!(
                "{item} looks like a glob; as a regular expression it means {}. For the keys that the glob names, write {meant}",
                wildcard.explain()
            ));
        }
        if let Some((literal, times)) = &self.repeated {
            warnings.push(format!(
                "in {item} braces are a repetition: {} {times}. For braces that the key has, such as a hash tag's, write {meant}",
                quoted(&literal.to_string())
            ));
        }
        if self.dot_in_name {
            warnings.push(format!(
                "the dot in {item} is any character, not only a dot; where only a dot is meant, write {meant}"
            ));
        }
        warnings.extend(self.odd.map(|what| format!("{item} has {what}, which other engines read otherwise")));
        warnings
    }
}
