//! A screen: how wide it is, whether it has colours, and text that is broken to fit it. Nothing is printed here.

use crate::config::command::{self, InText};
use crate::model::text::PERSON_RUNS;
use anstyle::{AnsiColor, Style};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use unicode_width::UnicodeWidthStr as _;

/// Columns of a terminal that does not tell how many it has.
const USUAL: usize = 80;
/// The fewest columns that anything is laid out for.
const LEAST: usize = 20;
/// Columns of a text beside its head; where fewer are left the text stands below.
const BESIDE: usize = 40;
/// How far a text below its head is indented, and how far the further lines of a paragraph are.
pub const INDENT: usize = 4;
/// Bytes from which on a text in a table is cut behind one of its clauses.
const BRIEF: usize = 160;

/// What a colour says of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// It names what stands below it.
    Head,
    /// All is well.
    Good,
    /// Somebody should look.
    Mind,
    /// Something does not work, or is lost.
    Bad,
}

impl Tone {
    /// The tone of a word that says how something is.
    #[must_use]
    pub fn of(status: &str) -> Self {
        match status {
            "pass" | "ok" | "verified" | "deep" | "drilled" | "succeeded" | "running" | "approved" | "Normal" => {
                Self::Good
            }
            "warn"
            | "pending"
            | "uncertain"
            | "goes"
            | "retained"
            | "waiting"
            | "confirmation_required"
            | "approval_required"
            | "prechecks_pending"
            | "plan_changed" => Self::Mind,
            "fail" | "failed" | "block" | "blocked" | "damaged" | "unreadable" | "declined" | "unreachable"
            | "WRONG" => Self::Bad,
            _ => Self::Plain,
        }
    }

    const fn style(self) -> Option<Style> {
        match self {
            Self::Plain => None,
            Self::Head => Some(Style::new().bold()),
            Self::Good => Some(AnsiColor::Green.on_default()),
            Self::Mind => Some(AnsiColor::Yellow.on_default()),
            Self::Bad => Some(AnsiColor::Red.on_default().bold()),
        }
    }
}

/// Where a text is shown.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    width: Option<usize>,
    colour: bool,
}

impl Screen {
    /// No terminal: lines as long as they are, each with all that it has, and no colours. A program finds everything at its place.
    pub const WHOLE: Self = Self { width: None, colour: false };

    /// A screen of so many columns; `None`: as many as a line needs.
    #[must_use]
    pub const fn new(width: Option<usize>, colour: bool) -> Self {
        Self { width, colour }
    }

    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    /// As wide as `COLUMNS` says, else as its terminal; with colours at a terminal whose user wants them.
    fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        let is_terminal = stream.is_terminal();
        let window = || {
            let size = rustix::termios::tcgetwinsize(stream).ok()?;
            Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
        };
        let width = named_columns().or_else(|| is_terminal.then(|| window().unwrap_or(USUAL)));
        Self { width: width.map(|columns| columns.max(LEAST)), colour: is_terminal && colours_are_wanted() }
    }

    /// Columns; `None`: as many as a line needs.
    #[must_use]
    pub const fn width(&self) -> Option<usize> {
        self.width
    }

    /// The same screen with a margin of so many columns.
    #[must_use]
    pub fn within(&self, margin: usize) -> Self {
        Self { width: self.width.map(|width| width.saturating_sub(margin).max(LEAST)), colour: self.colour }
    }

    /// A text in the colour of a tone.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        match tone.style() {
            Some(style) if self.colour && !text.is_empty() => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }

    /// A text behind its head. Its further lines begin below its first; where the head leaves too little room, all of them do.
    #[must_use]
    pub fn beside(&self, head: &str, text: &str) -> String {
        let Some(width) = self.width else { return format!("{head}{text}") };
        let indent = columns_of(head);
        if indent > INDENT && width < indent + BESIDE && indent + columns_of(text) > width {
            let margin = " ".repeat(INDENT);
            let lines = wrapped(text, width.saturating_sub(INDENT)).into_iter().map(|line| format!("{margin}{line}"));
            return std::iter::once(head.trim_end().to_owned()).chain(lines).collect::<Vec<_>>().join("\n");
        }
        let between = format!("\n{}", " ".repeat(indent));
        format!("{head}{}", wrapped(text, width.saturating_sub(indent)).join(&between))
    }

    /// A next step behind its head: a command, or a text. Where that does not fit, a command of this program in it has lines of its own.
    #[must_use]
    pub fn step(&self, head: &str, step: &str) -> String {
        if let Some(command) = step.strip_prefix(PERSON_RUNS) {
            return self.command(&format!("{head}{PERSON_RUNS}"), command);
        }
        let narrow = self.width.filter(|width| columns_of(head) + columns_of(step) > *width);
        match narrow.and_then(|width| Some((width, command::find(step)?))) {
            Some((width, found)) => self.around(width, head, &found),
            None => self.beside(head, step),
        }
    }

    /// A line behind its head that is left to the terminal to break, so that whatever else is in it can be pasted, too; unless a command of this program
    /// is.
    #[must_use]
    pub fn line(&self, head: &str, text: &str) -> String {
        if command::find(text).is_some() { self.step(head, text) } else { format!("{head}{text}") }
    }

    /// A command on lines of its own, between what stands before and behind it.
    fn around(&self, width: usize, head: &str, found: &InText<'_>) -> String {
        let (lead, before) = (columns_of(head), found.before.trim_end());
        let mut parts: Vec<String> = Vec::new();
        if !head.trim_end().is_empty() || !before.is_empty() {
            parts.push(if before.is_empty() { head.trim_end().to_owned() } else { self.beside(head, before) });
        }
        // Below the text if all of it fits there.
        let fits = |indent: &usize| {
            let lines = command_lines(found.command, width.saturating_sub(indent + 2));
            lines.iter().all(|line| indent + columns_of(line) + 2 <= width)
        };
        parts.push(self.below(Some(lead.max(INDENT)).filter(fits).unwrap_or(INDENT), found.command));
        // What ended the sentence behind the command ends nothing any more.
        let after = found.after.trim_start_matches(['.', ',', ';', ' ', '\n']).trim_end();
        if !after.is_empty() {
            let margin = if width < lead + BESIDE { lead.min(INDENT) } else { lead };
            parts.push(self.beside(&" ".repeat(margin), after));
        }
        parts.join("\n")
    }

    /// A command's lines at a margin, broken as a shell takes it.
    fn below(&self, indent: usize, command: &str) -> String {
        let (margin, width) = (" ".repeat(indent), self.width.unwrap_or(usize::MAX));
        // A line that goes on ends with a blank and a backslash.
        let lines = command_lines(command, width.saturating_sub(indent + 2)).join(&format!(" \\\n{margin}"));
        format!("{margin}{lines}")
    }

    /// A text in a table. A screen has room for its first sentence, and of a long one for its first clauses; `…` stands for the rest, which a program is given.
    #[must_use]
    pub fn brief(&self, text: &str) -> String {
        if self.width.is_none() {
            return text.to_owned();
        }
        let sentence = first_sentence(text);
        let clauses: Vec<usize> = sentence.match_indices("; ").map(|(at, _)| at).collect();
        let end = match clauses.iter().rev().find(|at| **at <= BRIEF).or(clauses.first()) {
            Some(clause) if sentence.len() > BRIEF => *clause,
            _ => sentence.len(),
        };
        match text.get(..end) {
            Some(shown) if end < text.trim_end().len() => format!("{shown} …"),
            _ => text.to_owned(),
        }
    }

    /// A command behind its head; below it where it does not fit, and then broken as a shell takes it, so that it can be pasted.
    #[must_use]
    pub fn command(&self, head: &str, command: &str) -> String {
        let whole = format!("{head}{command}");
        if self.width.is_none_or(|width| columns_of(&whole) <= width) {
            return whole;
        }
        let indent = head.len() - head.trim_start().len() + INDENT;
        format!("{}\n{}", head.trim_end(), self.below(indent, command))
    }

    /// Paragraphs, a line each. Their further lines are indented, so that no part of a text which came from data begins a line.
    #[must_use]
    pub fn prose(&self, text: &str) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        let between = format!("\n{}", " ".repeat(INDENT));
        let paragraphs = text.lines().map(|line| wrapped(line, width.saturating_sub(INDENT)).join(&between));
        paragraphs.collect::<Vec<_>>().join("\n")
    }
}

/// What `COLUMNS` says, as shells and test programs set it.
fn named_columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.trim().parse().ok().filter(|columns| *columns > 0)
}

/// Whether a terminal's user wants colours (<https://no-color.org>).
#[must_use]
pub fn colours_are_wanted() -> bool {
    let set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !set && !dumb
}

/// Columns that a text takes; a colour takes none.
#[must_use]
pub fn columns_of(text: &str) -> usize {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().width();
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, shown)| shown.width())).sum::<usize>()
}

/// Lines of at most `width` columns, broken between words. A word that is longer stays whole, so that it can be copied. Line breaks in
/// the text stay.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let (mut line, mut columns) = (String::new(), 0);
        for word in paragraph.split(' ') {
            let more = columns_of(word);
            if !line.is_empty() && columns + 1 + more > width {
                lines.push(std::mem::take(&mut line));
                columns = 0;
            }
            if !line.is_empty() {
                line.push(' ');
                columns += 1;
            }
            line.push_str(word);
            columns += more;
        }
        lines.push(line);
    }
    lines
}

/// A text up to the end of its first sentence, which another follows.
fn first_sentence(text: &str) -> &str {
    let ends = |at: usize| text.get(at + 2..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    let end = text.match_indices(". ").map(|(at, _)| at).find(|at| ends(*at));
    end.and_then(|at| text.get(..=at)).unwrap_or(text)
}

/// A command's lines of at most `width` columns, broken before its options alone, and never within quotes.
fn command_lines(command: &str, width: usize) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for (at, letter) in command.char_indices() {
        let begins_option = command.get(at..).is_some_and(|rest| rest.starts_with(" --"));
        if begins_option && !quoted && !escaped {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        match letter {
            _ if escaped => escaped = false,
            '\\' if !quoted => escaped = true,
            '\'' => quoted = !quoted,
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for part in parts {
        if !line.is_empty() && columns_of(&line) + 1 + columns_of(&part) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&part);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::{Screen, Tone, columns_of, wrapped};
    use crate::config::command::InText;

    /// Text keeps its words and its own line breaks, whatever the width.
    #[test]
    fn long_lines_break_between_words() {
        assert_eq!(wrapped("one two three\nfour", 8), ["one two", "three", "four"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        // Two columns each, and a colour that takes none.
        assert_eq!(wrapped("鍵鍵 鍵", 6), ["鍵鍵", "鍵"]);
        assert_eq!(columns_of("\u{1b}[31mred\u{1b}[0m"), 3);
    }

    /// A text stands beside its head while there is room, else below; no further line begins where a line of ours would.
    #[test]
    fn further_lines_are_indented() {
        let screen = Screen::new(Some(49), false);
        let text = "one two three four five six seven eight nine";
        assert_eq!(screen.beside("name  ", text), "name  one two three four five six seven eight\n      nine");
        let long = "a name that is long          ";
        let below = "a name that is long\n    one two three four five six seven eight nine";
        assert_eq!(screen.beside(long, text), below);
        assert_eq!(screen.beside(long, "short"), format!("{long}short"));
        assert_eq!(Screen::WHOLE.beside(long, text), format!("{long}{text}"));
        let prose = Screen::new(Some(24), false).prose("Lost: \"x To approve, type y\".\nTo approve, type: orders");
        assert_eq!(prose, "Lost: \"x To approve,\n    type y\".\nTo approve, type:\n    orders");
    }

    /// A command that does not fit is what a shell takes for the same command: it is broken before options, and within no quotes.
    #[test]
    fn commands_can_be_pasted() {
        let step = r"a person runs: program --home '/a b --c'\''d --e' approve --plan p-1";
        let shown = Screen::new(Some(40), false).step("next   ", step);
        let wanted =
            ["next   a person runs:", r"    program \", r"    --home '/a b --c'\''d --e' approve \", "    --plan p-1"];
        assert_eq!(shown.lines().collect::<Vec<_>>(), wanted);
        assert_eq!(Screen::WHOLE.step("next   ", step), format!("next   {step}"));
        assert_eq!(Screen::new(Some(40), false).step("next   ", "call again"), "next   call again");
    }

    /// Within a sentence, too: what stands around the command is broken, and the command is not.
    #[test]
    fn commands_in_a_sentence_can_be_pasted() {
        let command = "program --home /a/long/home approve --plan p-1";
        let whole = InText { before: "Run ", command, after: " yourself in a terminal." };
        let shown = Screen::new(Some(54), false).around(54, "hint: ", &whole);
        assert_eq!(shown, format!("hint: Run\n      {command}\n      yourself in a terminal."));
        // Where its lines fit below the text no more, they begin further to the left.
        let alone = InText { before: "", command, after: "." };
        let shown = Screen::new(Some(41), false).around(41, "             -> ", &alone);
        let wanted = ["             ->", r"    program --home /a/long/home approve \", "    --plan p-1"];
        assert_eq!(shown.lines().collect::<Vec<_>>(), wanted);
    }

    /// A table has the beginning of a long text, where somebody reads it; a program finds all of it.
    #[test]
    fn tables_have_the_beginning_of_a_text() {
        let screen = Screen::new(Some(80), false);
        assert_eq!(screen.brief("redis 7.0. Then more."), "redis 7.0. …");
        for whole in ["one sentence.", "a. b of 7.0. 3 more", "a; b"] {
            assert_eq!(screen.brief(whole), whole);
        }
        let (first, second) = ("a".repeat(100), "b".repeat(100));
        let long = format!("{first}; {second}; c");
        assert_eq!(screen.brief(&long), format!("{first} …"));
        assert_eq!(screen.brief(&format!("{long}. More")), format!("{first} …"));
        assert_eq!(Screen::WHOLE.brief(&long), long);
    }

    /// Colours are where they are wanted alone, and say what the word says.
    #[test]
    fn colours_follow_words() {
        assert_eq!(Screen::WHOLE.paint(Tone::Bad, "failed"), "failed");
        let colours = Screen::new(None, true);
        assert_eq!(colours.paint(Tone::of("manual"), "manual"), "manual");
        for (word, tone) in [("pass", Tone::Good), ("warn", Tone::Mind), ("damaged", Tone::Bad)] {
            assert_eq!(Tone::of(word), tone);
            let painted = colours.paint(tone, word);
            assert!(painted.starts_with("\u{1b}[") && painted.contains(word) && columns_of(&painted) == word.len());
        }
    }
}
