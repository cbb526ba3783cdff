//! How the demo prints: numbered steps, each with who does what, in colour at a terminal.

use crate::cli::print;
use crate::cli::render::screen::{colours_are_wanted, wrapped};
use anstyle::{AnsiColor, Style};
use std::io::IsTerminal as _;

/// Columns of a line.
const WIDTH: usize = 100;
/// Columns before the text, for the label.
const INDENT: usize = 11;

/// Who does or says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The agent calls a tool.
    Agent,
    /// The server answers.
    Server,
    /// The server says no.
    Refused,
    /// The person sees or types.
    Person,
    /// The damage done to the data.
    Damage,
    /// The data itself, compared.
    Proof,
}

impl Who {
    const fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Server | Self::Refused => "server",
            Self::Person => "person",
            Self::Damage => "damage",
            Self::Proof => "proof",
        }
    }

    const fn style(self) -> Style {
        let colour = match self {
            Self::Agent => AnsiColor::Cyan,
            Self::Server => AnsiColor::Blue,
            Self::Refused => AnsiColor::Yellow,
            Self::Person => AnsiColor::Magenta,
            Self::Damage => AnsiColor::Red,
            Self::Proof => AnsiColor::Green,
        };
        colour.on_default().bold()
    }
}

/// The demo's output: its colour and the number of the current step.
pub struct Stage {
    colour: bool,
    step: u32,
}

impl Stage {
    /// Output in colour at a terminal, unless its user wants none.
    pub fn new() -> Self {
        Self { colour: std::io::stdout().is_terminal() && colours_are_wanted(), step: 0 }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Prints a line of its own, in bold.
    pub fn heading(&self, text: &str) {
        print(&self.styled(Style::new().bold(), text));
    }

    /// Prints plain text.
    pub fn text(&self, text: &str) {
        for line in wrapped(text, WIDTH) {
            print(&line);
        }
    }

    /// Begins the next step.
    pub fn step(&mut self, title: &str) {
        self.step += 1;
        print("");
        self.heading(&format!("{}. {title}", self.step));
    }

    /// Prints what somebody does or says.
    pub fn says(&self, who: Who, text: &str) {
        let mut label = format!("   {:<width$}", who.label(), width = INDENT - 3);
        for line in wrapped(text, WIDTH - INDENT) {
            print(&format!("{}{line}", self.styled(who.style(), &label)));
            label = " ".repeat(INDENT);
        }
    }

    /// Prints further text of the same speaker. `head` precedes the text, whose further lines are indented to its beginning.
    pub fn more(&self, head: &str, text: &str) {
        let mut before = format!("{}{head}", " ".repeat(INDENT));
        let indent = before.chars().count();
        for line in wrapped(text, WIDTH - indent) {
            print(&format!("{before}{line}"));
            before = " ".repeat(indent);
        }
    }

    /// Prints lines unwrapped, cut where too wide, fainter than the rest.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            let room = WIDTH + 20;
            let cut: String = if line.chars().count() > room {
                line.chars().take(room - 1).chain(['…']).collect()
            } else {
                line.to_owned()
            };
            print(&self.styled(Style::new().dimmed(), &format!("  {cut}")));
        }
    }
}
