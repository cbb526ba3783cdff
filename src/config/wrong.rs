//! What is told of a configuration that is wrong: the key, what was found, and a line to write instead.
//!
//! It must not quote a value of a wrong type, which may be a password. The lines are those of the example that operators copy from, which
//! has every key.

use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean, nearest, unknown_field};
use std::fmt::Display;
use std::path::Path;

/// What is switched off has a line there too, behind a `#`; behind `# ` is prose.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The next step where the message has all that is to be written.
const THEN: &str = "Correct that line; `tair-backup-mcp doctor` then looks at all that the file names.";

/// What stands in a reason before what to write.
const WRITE: &str = "; write ";

/// The fault of a value that cannot be; `why` says what to write, mostly behind [`WRITE`]: then the hint has that.
pub(super) fn refused(path: &Path, why: &str) -> Fault {
    let (what, hint) = match why.rsplit_once(WRITE) {
        Some((what, line)) => {
            (what, format!("There write {line}. `tair-backup-mcp doctor` then looks at all that the file names."))
        }
        None => (why, THEN.to_owned()),
    };
    Fault::new(Kind::Usage, "config.invalid", format!("{}: {what}", path.display())).hint(hint)
}

/// Says of a number that it is out of its range, and what to write. `before` stands before the key: `guard.`, or nothing.
pub(super) fn out_of_range(
    before: &str,
    key: &str,
    found: impl Display,
    (least, most): (impl Display, impl Display),
    write: impl Display,
) -> String {
    format!("{before}{key} is {found}, and must be between {least} and {most}; write {key} = {write}")
}

/// Turns a TOML error into one line, with what to write instead.
pub(super) fn invalid(path: &Path, text: &str, e: &toml::de::Error) -> Fault {
    let place = e.span().map(|span| Place::of(text, span.start)).unwrap_or_default();
    let at = if place.line == 0 { String::new() } else { format!(" line {}", place.line) };
    let (message, hint) = told(e.message(), place);
    Fault::new(Kind::Usage, "config.invalid", format!("{}{at}: {message}", path.display())).hint(hint)
}

/// A key of the example.
#[derive(Clone, Copy)]
struct Example {
    /// The header that the key stands under; empty above the first.
    header: &'static str,
    key: &'static str,
    /// The whole line.
    line: &'static str,
}

/// Every line of the example that sets a key.
fn examples() -> impl Iterator<Item = Example> {
    let mut header = "";
    EXAMPLE.lines().filter_map(move |line| {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            header = line;
        }
        let key = key_of(line).filter(|_| !line.starts_with(' '))?;
        Some(Example { header, key, line })
    })
}

/// The line of a key under a header.
fn example_of(header: &str, key: &str) -> Option<Example> {
    examples().find(|example| example.header == header && example.key == key)
}

/// The header of a table, as it is to be written: `[[instance]]`. `None` where no table has that name.
fn header_named(name: &str) -> Option<&'static str> {
    let lines = EXAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    lines.filter(|line| line.starts_with('[')).find(|header| name_of(header) == name)
}

/// The name within a header, however many brackets it has.
fn name_of(header: &str) -> &str {
    header.trim().trim_start_matches('[').split(']').next().unwrap_or_default().trim()
}

/// The key that a line sets, where it is written without quotes; with the table before it where it is dotted.
fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (!key.is_empty() && key.bytes().all(plain)).then_some(key)
}

/// A place in the file.
#[derive(Clone, Copy, Default)]
struct Place<'t> {
    /// From 1; 0 where it is not known.
    line: usize,
    /// The header above, or there, as it is to be written; empty above the first, or where it is none of ours.
    header: &'static str,
    /// The key whose value it is in; `None` in a header.
    key: Option<&'t str>,
}

impl<'t> Place<'t> {
    fn of(text: &'t str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let here = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let mut place = Self { line: before.matches('\n').count() + 1, header: "", key: None };
        if here.trim_start().starts_with('[') {
            place.header = header_named(name_of(here)).unwrap_or_default();
            return place;
        }
        // A value may go over several lines: then its key stands above.
        let above = before.get(..begin).unwrap_or_default().lines().rev();
        for line in std::iter::once(here).chain(above) {
            if let Some(header) = line.trim_start().starts_with('[').then(|| header_named(name_of(line))).flatten() {
                place.header = header;
                break;
            }
            place.key = place.key.or_else(|| key_of(line));
        }
        if let Some((table, key)) = place.key.and_then(|key| key.rsplit_once('.'))
            && let Some(header) = header_named(table)
        {
            (place.header, place.key) = (header, Some(key));
        }
        place
    }

    fn example(self) -> Option<Example> {
        example_of(self.header, self.key?)
    }
}

/// A hint with the line to write.
fn write(example: Example) -> String {
    format!("Write it so: {}", example.line)
}

/// The first name in back quotes behind this beginning of a message of serde's.
fn named<'m>(message: &'m str, beginning: &str) -> Option<&'m str> {
    message.strip_prefix(beginning)?.split('`').next()
}

/// The message and the hint of what the parser says.
fn told(said: &str, place: Place<'_>) -> (String, String) {
    if let Some(given) = named(said, "unknown field `") {
        return unknown_key(given, said, place);
    }
    if let Some(missing) = named(said, "missing field `") {
        let example = example_of(place.header, missing).or_else(|| examples().find(|one| one.key == missing));
        let table = example.map(|one| one.header).unwrap_or_default();
        return (format!("{table} has no `{missing}`"), example.map_or_else(|| THEN.to_owned(), write));
    }
    let wrong = clean(&without_values(said));
    let near = unknown_field(said).and_then(|(_, near)| near);
    let example = place.example();
    let hint = match (near, example) {
        (Some(near), _) => format!("Did you mean `{near}`?"),
        (None, Some(example)) => write(example),
        (None, None) if place.key.is_none() && !place.header.is_empty() => {
            format!("The header is written so: {}", place.header)
        }
        (None, None) => THEN.to_owned(),
    };
    (example.map_or_else(|| wrong.clone(), |example| format!("{}: {wrong}", example.key)), hint)
}

/// The same of a key, or a table, that there is not.
fn unknown_key(given: &str, said: &str, place: Place<'_>) -> (String, String) {
    // serde lists the known ones behind it, each in back quotes.
    let known: Vec<&str> = said.split('`').skip(1).step_by(2).skip(1).collect();
    let within = match place.key.filter(|key| *key != given && example_of(place.header, key).is_some()) {
        // The key is one of an inline table.
        Some(key) => format!(" in {key}"),
        None if place.header.is_empty() => String::new(),
        None => format!(" in {}", place.header),
    };
    let hint = if let Some(elsewhere) = examples().find(|example| example.key == given) {
        let under = match elsewhere.header {
            "" => "above the first [table]".to_owned(),
            header => format!("under {header}"),
        };
        format!("It stands {under}: {}", elsewhere.line)
    } else if let Some(near) = nearest(given, known.iter().copied()) {
        match (header_named(near), example_of(place.header, near)) {
            (Some(header), _) => format!("Did you mean {header}?"),
            (None, Some(example)) => format!("Did you mean `{near}`? {}", write(example)),
            (None, None) => format!("Did you mean `{near}`?"),
        }
    } else {
        let known: Vec<&str> = known.into_iter().map(|name| header_named(name).unwrap_or(name)).collect();
        format!("Known there: {}.", known.join(", "))
    };
    (format!("unknown key `{}`{within}", clean(given)), hint)
}

/// The message of a TOML error without the value that it is about, which may be a password: of a value that is wrong only what was
/// expected is kept. Names of keys stay, and so do the words that a setting can have.
fn without_values(message: &str) -> String {
    for what in ["invalid type", "invalid value", "invalid length"] {
        if let Some(rest) = message.strip_prefix(what) {
            let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("{what}: expected {}", in_words(expected));
        }
    }
    message.to_owned()
}

/// What serde says that it expects, without the names of our types.
fn in_words(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        ours if ours.starts_with("struct ") => "a table",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    //! The example is read as what it is, and a place in a file is told by its header and its key.
    use super::{Place, examples, header_named};

    #[test]
    fn the_example_has_a_line_for_each_key() {
        let has = |header: &str, line: &str| examples().any(|one| one.header == header && one.line == line);
        assert!(has("", "background = false") && has("[guard]", "token_minutes = 15"));
        assert!(has("[[instance]]", "id = \"orders\"") && has("[[instance]]", "password = \"change-me\""));
        assert!(has("[tair]", "vpc = false") && examples().count() > 50);
        assert!(examples().all(|one| !one.key.is_empty() && !one.line.starts_with(['#', ' '])));
        assert_eq!((header_named("instance"), header_named("gaurd")), (Some("[[instance]]"), None));
    }

    #[test]
    fn a_place_has_a_header_and_a_key() {
        let text = "background = true\n[guard]\ntoken_minutes = 1 # [x]\n[ notify ]\ncommand = [\n  \"a\",\n  5,\n]\n[instance]\nguard.token_minutes = 5\n";
        for (within, line, header, key) in [
            ("true", 1, "", Some("background")),
            ("token", 3, "[guard]", Some("token_minutes")),
            ("5,", 7, "[notify]", Some("command")),
            ("[instance", 9, "[[instance]]", None),
            ("5\n", 10, "[guard]", Some("token_minutes")),
        ] {
            let place = Place::of(text, text.find(within).unwrap());
            assert_eq!((place.line, place.header, place.key), (line, header, key), "{within}");
        }
        assert_eq!(Place::of("größe", 3).line, 1);
    }
}
