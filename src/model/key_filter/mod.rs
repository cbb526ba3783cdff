//! `filter_key`: a comma-separated list of regular expressions that say which keys are meant, which people and agents write as globs.
//!
//! Read by its syntax before anything is done by it. Here an expression matches whole keys; whether the cloud matches whole keys or parts
//! of them is not documented, and said.

pub mod matcher;
mod reach;
mod syntax;

use crate::model::fault::{Fault, Kind};
use crate::model::key_filter::syntax::{Foreign, Reading, Syntax, glob_as_regex, read};
use crate::model::text::quoted;
use serde::{Deserialize, Serialize};

/// Keys without any pattern that the cloud advises at most.
const PLAIN: usize = 10;
/// Patterns that the cloud advises at most.
const PATTERNS: usize = 3;
/// Longest list that fits the URL in which it travels to the cloud, in bytes. Ours are no longer.
const LONGEST: usize = 4096;
/// Most characters of a list that the person is shown.
pub const SHOWN: usize = 160;

/// Some of the keys, as an act names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SomeKeys {
    /// The regular expressions that say which, separated by commas.
    pub filter_key: String,
    /// What the keys are called in the target: this, and behind it their own name. `None`: as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_prefix: Option<String>,
}

impl SomeKeys {
    /// Whether keys of the target that match and that the source does not have are removed. Under a prefix none is: what is there is somebody's.
    #[must_use]
    pub const fn removes(&self) -> bool {
        self.add_prefix.is_none()
    }

    /// The keys, as part of a sentence.
    #[must_use]
    pub fn describe(&self) -> String {
        let prefix = self.add_prefix.as_ref().map(|prefix| format!(", under the prefix {}", quoted(prefix)));
        format!("only keys that match {}{}", self.filter_key, prefix.unwrap_or_default())
    }

    /// The list that names in the target what this one names in the source; `None` where there is none that a person can be shown: it is too
    /// long, the prefix has a comma, or an expression asks what stands beside a key, where there would be the prefix.
    #[must_use]
    pub fn in_target(&self) -> Option<String> {
        let Some(prefix) = &self.add_prefix else { return Some(self.filter_key.clone()) };
        let prefix: String =
            prefix.chars().flat_map(|c| SPECIAL.contains(c).then_some('\\').into_iter().chain([c])).collect();
        // A key of the target has no comma that could be written here.
        let items: Vec<String> = self.filter_key.split(',').map(|i| format!("{prefix}(?:{})", i.trim())).collect();
        let list = items.join(",");
        let asks_beside = |item: &str| {
            let parsed = regex_syntax::ParserBuilder::new().utf8(false).unicode(false).build().parse(item.trim());
            parsed.is_ok_and(|read| !read.properties().look_set().is_empty())
        };
        let named =
            list.chars().count() <= SHOWN && !prefix.contains(',') && !self.filter_key.split(',').any(asks_beside);
        named.then_some(list)
    }
}

/// A call that is about the keys alone which a list names: in several steps where the list is longer than a person can be shown. Each step is
/// as gentle as the whole, for it touches the keys that it names.
#[must_use]
pub fn of_keys(call: &str, list: &str) -> String {
    let mut steps: Vec<String> = Vec::new();
    for item in list.split(',').map(str::trim) {
        match steps.last_mut() {
            Some(step) if step.chars().count() + 1 + item.chars().count() <= SHOWN => {
                step.push(',');
                step.push_str(item);
            }
            _ => steps.push(item.to_owned()),
        }
    }
    format!("{call} and filter_key {}", steps.join("; then the same with filter_key "))
}

/// What stands for something else in a regular expression.
const SPECIAL: &str = ".*?+[](){}|^$\\";

/// A list that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter {
    /// The expressions, each without blanks around it.
    pub items: Vec<String>,
    /// What is suspicious about the expressions, each as part of a sentence.
    pub warnings: Vec<String>,
    /// What cannot be looked at, because only other engines have it, each as part of a sentence.
    pub unchecked: Vec<String>,
}

/// Who matches keys with the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// This program, which matches whole keys.
    Ours,
    /// The cloud, of whose engine little is known.
    Cloud,
}

fn refused(message: String, hint: impl Into<String>) -> Fault {
    Fault::new(Kind::Usage, "restore.filter_key", message).hint(hint)
}

/// Reads a list that the cloud will match keys with: its expressions and what to warn of.
///
/// # Errors
/// `restore.filter_key`, naming the item and its mistake.
pub fn for_cloud(text: &str) -> Result<KeyFilter, Fault> {
    let mut filter = parse(text, Engine::Cloud)?;
    let patterns = filter.items.iter().filter(|i| is_pattern(i)).count();
    let plain = filter.items.len() - patterns;
    if plain > PLAIN {
        filter.warnings.push(format!("{plain} plain keys: Alibaba Cloud advises {PLAIN} at most"));
    }
    if patterns > PATTERNS {
        filter.warnings.push(format!("{patterns} regular expressions: Alibaba Cloud advises {PATTERNS} at most"));
    }
    Ok(filter)
}

/// Reads a list that this program will match whole keys with: its expressions and what to warn of.
///
/// # Errors
/// `restore.filter_key`, naming the item and its mistake.
pub fn for_us(text: &str) -> Result<KeyFilter, Fault> {
    parse(text, Engine::Ours)
}

fn parse(text: &str, engine: Engine) -> Result<KeyFilter, Fault> {
    if text.len() > LONGEST {
        return Err(refused(
            format!("filter_key has {} bytes, at most {LONGEST} can be sent", text.len()),
            "Name fewer keys, or one regular expression for all of them.",
        ));
    }
    let items = split(text)?;
    let (mut warnings, mut unchecked) = (Vec::new(), Vec::new());
    for item in &items {
        match lint_item(item, engine)? {
            Linted::Read(of_item) => warnings.extend(of_item),
            Linted::Unchecked(of_item) => unchecked.push(of_item),
        }
    }
    Ok(KeyFilter { items, warnings, unchecked })
}

fn is_pattern(item: &str) -> bool {
    item.contains(|c| SPECIAL.contains(c))
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
fn lint_item(item: &str, engine: Engine) -> Result<Linted, Fault> {
    match (read(item), engine) {
        (Reading::Read(syntax), _) => {
            if let Some(what) = syntax.ours_alone {
                let hint =
                    "Write it as other engines have it: a class with its characters named, \\b for the edge of a word.";
                return Err(refused(format!("filter_key: {} has {what}, which few engines know", quoted(item)), hint));
            }
            if syntax.by_character && engine == Engine::Ours {
                let message = format!("filter_key: {} has the flag u: keys are matched byte by byte", quoted(item));
                return Err(refused(message, "Leave the flag out."));
            }
            Ok(Linted::Read(syntax.warnings(item, engine)))
        }
        (Reading::Elsewhere(what), Engine::Cloud) => Ok(Linted::Unchecked(format!(
            "{} has {}: whether the engine of Alibaba Cloud knows that is not documented, and nothing here can check it",
            quoted(item),
            what.as_str()
        ))),
        (Reading::Elsewhere(what), Engine::Ours) => {
            let message = format!("filter_key: {} has {}, which is not known here", quoted(item), what.as_str());
            Err(refused(message, if what == Foreign::LookAround { NO_ALL_BUT } else { NO_EXPRESSION }))
        }
        (Reading::Braces(syntax), Engine::Cloud) => {
            let braces = format!(
                "{} has braces that are no repetition: some engines refuse them; for the braces themselves write {}",
                quoted(item),
                quoted(&syntax.meant)
            );
            Ok(Linted::Read([vec![braces], syntax.warnings(item, engine)].concat()))
        }
        (Reading::Braces(syntax), Engine::Ours) => {
            let hint = format!("For the braces themselves write {}.", quoted(&syntax.meant));
            Err(refused(format!("filter_key: {} has braces that are no repetition", quoted(item)), hint))
        }
        (Reading::Wrong(why), _) => {
            let hint = match glob_as_regex(item).filter(|_| item.contains(['*', '?'])) {
                Some(meant) => format!(
                    "filter_key takes regular expressions, not globs; for the keys that the glob {} names write {}",
                    quoted(item),
                    quoted(&meant)
                ),
                None => NO_EXPRESSION.to_owned(),
            };
            Err(refused(format!("filter_key: {} is not a regular expression: {why}", quoted(item)), hint))
        }
    }
}

/// Where somebody says which keys are not meant: there is no such expression, and the plan of all keys names what there is.
const NO_ALL_BUT: &str = "Name the keys that are meant, as in user:.*,cart:.*, and leave out those that are not. The plan of the same call \
                          without filter_key changes nothing and names the prefixes of all keys that it would change (impact.keys).";

const NO_EXPRESSION: &str =
    "filter_key takes regular expressions; a backslash before a special character makes it plain.";

impl Syntax {
    /// What an item means that was meant otherwise, most likely, each with what to write instead.
    fn warnings(&self, item: &str, engine: Engine) -> Vec<String> {
        let (item, meant) = (quoted(item), quoted(&self.meant));
        let parts = engine == Engine::Cloud;
        let mut warnings = Vec::new();
        // Where whole keys are matched an expression for so many characters names keys by their length, anchored or not.
        if self.any && (parts || self.endless) {
            warnings.push(format!("{item} matches every key: that is a restore of everything"));
        } else if self.any || self.by_length {
            warnings.push(format!("{item} says only how long a key is: keys of any name match"));
        } else if self.nearly_any && (self.anchored || !parts) {
            warnings.push(format!("{item} takes nearly every character: keys of nearly any name match"));
        } else if self.empty && (self.anchored || !parts) {
            warnings.extend(parts.then(|| format!("{item} matches the key whose name is empty too")));
        } else if self.empty {
            warnings.push(format!(
                "{item} matches the empty text too: where a pattern may match a part of a key, that is every key"
            ));
        } else if self.wordless && parts {
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
