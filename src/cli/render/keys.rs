//! What becomes of keys, for people: the counts, and a row with a bar for each prefix.

use super::screen::{Screen, Tone};
use super::tables::Column;
use super::{cell, count, items, number, text};
use crate::model::text::{bytes, grouped};
use serde_json::Value;

/// The head of a line about keys, and the columns that it takes.
const KEYS: &str = "keys   ";
const MARGIN: usize = KEYS.len();
/// Characters of the longest bar.
const BAR: u64 = 30;
/// The classes that differ, each with its sign in a bar.
const CLASSES: [(&str, &str); 3] = [("lost", "-"), ("changed", "~"), ("added", "+")];

/// Renders what `compare-backups` found.
#[must_use]
pub fn compared(screen: &Screen, json: &Value) -> String {
    let side = |name: &str| {
        let Some(side) = json.get(name) else { return String::new() };
        let set = text(side, "backup_id").map_or("as it was then".to_owned(), str::to_owned);
        screen.prose(&format!("{name:<4} {} {} ({set})", cell(side, "instance_id"), cell(side, "moment")))
    };
    let keys = json.get("keys").map(|keys| lines(screen, keys)).unwrap_or_default();
    [vec![side("from"), side("to")], keys].concat().join("\n")
}

/// The lines about what becomes of keys.
#[must_use]
pub fn lines(screen: &Screen, keys: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let shown = |name: &str| grouped(number(keys, name).unwrap_or_default());
    if number(keys, "lost").is_some() {
        let expired = match number(keys, "expired") {
            None | Some(0) => String::new(),
            Some(n) => format!(", {} have expired", grouped(n)),
        };
        let (lost, changed, added, same) = (shown("lost"), shown("changed"), shown("added"), shown("untouched"));
        let counts = format!("{lost} lost, {changed} changed, {added} added, {same} stay as they are{expired}");
        out.push(screen.beside(KEYS, &counts));
    }
    if keys.get("libraries_differ").is_some() {
        out.push("functions are not the same".to_owned());
    }
    let rows = items(keys, "rows");
    if !rows.is_empty() {
        let most = rows.iter().map(different).max().unwrap_or_default();
        let drawn = rows.iter().map(|row| {
            let prefix = text(row, "prefix").map_or("(others)".to_owned(), name);
            [count(row, "db"), prefix, count(row, "lost"), count(row, "changed"), count(row, "added"), bar(row, most)]
        });
        let head = [
            Column::new("DB").less(1),
            Column::new("PREFIX"),
            Column::number("LOST"),
            Column::number("CHANGED"),
            Column::number("ADDED"),
            Column::bar("-lost ~changed +added"),
        ];
        let table = screen.within(MARGIN + 1).table(head, drawn);
        out.extend(table.lines().map(|line| format!("{:MARGIN$} {line}", "")));
    }
    out.extend(number(keys, "rows_left_out").map(|n| format!("       and {n} more prefixes")));
    for (class, _) in CLASSES {
        out.extend(items(keys, &format!("largest_{class}")).iter().map(|key| {
            let size = bytes(number(key, "bytes").unwrap_or_default());
            format!("       {class} db{} {} ({size})", count(key, "db"), name(text(key, "key").unwrap_or_default()))
        }));
    }
    if keys.get("names_missing").is_some() {
        let missing = "some names are MISSING: the time allowed (impact_seconds) was over";
        out.push(screen.paint(Tone::Mind, &screen.beside(KEYS, missing)));
    }
    out.extend(keys.get("not_compared").map(|partly| {
        let left = 100 - number(partly, "compared_percent").unwrap_or_default().min(100);
        let told = format!("{left} % were NOT COMPARED: {}", cell(partly, "why"));
        screen.paint(Tone::Mind, &screen.beside(KEYS, &told))
    }));
    out
}

/// A name in a table: as it is, or in quotes where it could be taken for something else.
fn name(of: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || ":/|.-_#{}\\@…".contains(c);
    let plain = of.chars().all(plain) && of.chars().any(char::is_alphanumeric);
    if plain { of.to_owned() } else { format!("\"{}\"", of.replace('"', "'")) }
}

fn different(row: &Value) -> u64 {
    CLASSES.iter().filter_map(|(class, _)| number(row, class)).sum()
}

/// A bar as long as the row's share of the longest, at least a sign for each class that is there.
fn bar(row: &Value, most: u64) -> String {
    let length = |n: u64| {
        let share = u128::from(n) * u128::from(BAR) / u128::from(most.max(1));
        usize::try_from(share).unwrap_or_default().max(1)
    };
    CLASSES.iter().filter_map(|(class, sign)| number(row, class).map(|n| sign.repeat(length(n)))).collect()
}

#[cfg(test)]
mod tests {
    use super::{compared, lines, name};
    use crate::cli::render::screen::Screen;
    use serde_json::json;

    /// No name passes for a column, for the others' row, or for a bar.
    #[test]
    fn names_are_names() {
        for (of, shown) in [
            ("user:", "user:"),
            (r"a\nb:", r"a\nb:"),
            ("größe.1", "größe.1"),
            ("(others)", "\"(others)\""),
            ("x   1200      0   ", "\"x   1200      0   \""),
            ("-", "\"-\""),
            ("", "\"\""),
            ("\" 1 \"", "\"' 1 '\""),
        ] {
            assert_eq!(name(of), shown);
        }
    }

    /// Every count is shown, each row has its bar, and what was not compared is said.
    #[test]
    fn keys_as_people_see_them() {
        let keys = json!({ "lost": 1204, "changed": 10, "added": 1, "untouched": 40000, "expired": 2,
            "rows": [{ "db": 0, "prefix": "user:", "lost": 1200 }, { "db": 1, "lost": 4, "changed": 10, "added": 1 }],
            "rows_left_out": 3, "largest_lost": [{ "db": 0, "key": "user:1", "bytes": 2048 }],
            "names_missing": true, "not_compared": { "compared_percent": 60, "why": "the time was over" } });
        let shown = lines(&Screen::WHOLE, &keys);
        assert_eq!(shown[0], "keys   1,204 lost, 10 changed, 1 added, 40,000 stay as they are, 2 have expired");
        let cells = |at: usize| shown[at].split_whitespace().collect::<Vec<_>>();
        assert_eq!(cells(2), ["0", "user:", "1200", "-".repeat(30).as_str()]);
        assert_eq!(cells(3), ["1", "(others)", "4", "10", "1", "-~+"]);
        let rest = [
            "       and 3 more prefixes",
            "       lost db0 user:1 (2.0 KiB)",
            "keys   some names are MISSING: the time allowed (impact_seconds) was over",
            "keys   40 % were NOT COMPARED: the time was over",
        ];
        assert_eq!(shown[4..], rest);
        let nothing = json!({ "not_compared": { "compared_percent": 0, "why": "no program" } });
        assert_eq!(lines(&Screen::WHOLE, &nothing), ["keys   100 % were NOT COMPARED: no program"]);
        let both = json!({ "from": { "instance_id": "a", "moment": "S", "backup_id": "b-1" },
            "to": { "instance_id": "a", "moment": "T" } });
        assert_eq!(compared(&Screen::WHOLE, &both), "from a S (b-1)\nto   a T (as it was then)");
    }
}
