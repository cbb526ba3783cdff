//! The person at a terminal, and a progress bar for them.
//!
//! The question goes to the terminal itself, not to standard input: what a program pipes in is not a person.

use crate::cli::print;
use crate::cli::render::screen::{Screen, Tone};
use crate::cli::render::typed;
use crate::config::Config;
use crate::guard::ledger::Confirmation;
use crate::guard::person::{Answer, Channel, typed_answer, without_keys};
use crate::model::estimate::percent;
use crate::model::fault::{Fault, Kind};
use crate::tools::{Asked, Person, Progress, with_bytes};
use async_trait::async_trait;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the person wants neither progress nor notes.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Shows neither progress nor notes from now on, or both.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Tells something by the way, on standard error.
pub fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Tells whoever asked the process to end what becomes of its jobs.
pub fn stopping() {
    let _ = writeln!(std::io::stderr(), "stopping: a backup is cancelled, a restore that has begun is seen to its end");
}

/// Whether a person sits at this process's terminal: standard input and standard error are terminals.
#[must_use]
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Makes sure that a person sits at this process's terminal, for what nobody else may do. `words` stand behind the subcommand in what the refusal
/// tells to run.
///
/// # Errors
/// `person.no_channel`.
pub fn required(config: &Config, subcommand: &str, words: &str) -> Result<(), Fault> {
    if is_interactive() {
        return Ok(());
    }
    let message = format!("{subcommand} needs a person at a terminal; standard input is not one");
    let command = config.command(subcommand);
    Err(Fault::new(Kind::Refused, "person.no_channel", message)
        .hint(format!("Run `{command}{words}` yourself in a terminal.")))
}

/// Whether the person types this id at a question; where they do not, it is said that all is left as it is.
#[must_use]
pub async fn types(question: String, id: &str) -> bool {
    let typed = read_line(question).await;
    let is_typed = typed.as_deref() == Some(id);
    if !is_typed {
        print("Left as it is.");
    }
    is_typed
}

/// Shows a text at the terminal and reads a line; `None` without a terminal or at its end.
#[must_use]
pub async fn read_line(question: String) -> Option<String> {
    let ask = move || -> std::io::Result<Option<String>> {
        let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        write!(tty, "{question}")?;
        tty.flush()?;
        let mut line = String::new();
        let n = BufReader::new(tty).read_line(&mut line)?;
        Ok((n > 0).then(|| line.trim().to_owned()))
    };
    // A thread that waits for a key cannot be stopped; it must not keep the process from ending.
    let (tx, rx) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || tx.send(ask().ok().flatten()));
    rx.await.ok().flatten()
}

/// The person who typed the command.
pub struct TerminalPerson<'a> {
    quiet: bool,
    /// Whether they are shown the plan before they are asked, and with it what becomes of keys.
    shown: bool,
    bar: &'a Bar,
}

impl<'a> TerminalPerson<'a> {
    /// `quiet`: a program reads our output, so nobody is asked; `shown`: they are shown the plan first. The bar is taken away before a question.
    #[must_use]
    pub const fn new(quiet: bool, shown: bool, bar: &'a Bar) -> Self {
        Self { quiet, shown, bar }
    }
}

#[async_trait]
impl Person for TerminalPerson<'_> {
    fn puts_the_question(&self) -> bool {
        !self.quiet && is_interactive()
    }

    async fn ask(&self, open: &Confirmation, question: &str) -> Asked {
        if !self.puts_the_question() {
            return Asked::Answered(Answer::NoChannel);
        }
        // Its spinner goes on by itself, and would draw over the question.
        self.bar.clear();
        if self.shown {
            return Asked::Answered(ask(open, &without_keys(question, &open.plan)).await);
        }
        Asked::Answered(ask(open, question).await)
    }
}

/// The line of a question that has a call in it, which a person can type later.
const WAY_BACK: &str = "Way back: ";

/// A question as it stands at the terminal: its first line says what is at stake, and stands out.
#[must_use]
pub fn laid_out(question: &str) -> String {
    let screen = Screen::stderr();
    let (first, rest) = question.split_once('\n').unwrap_or((question, ""));
    let mut lines = vec![screen.paint(Tone::Bad, &screen.prose(first))];
    lines.extend(rest.lines().map(|line| match line.strip_prefix(WAY_BACK) {
        Some(back) => screen.step(WAY_BACK, &typed(&screen, back)),
        None => screen.prose(line),
    }));
    lines.join("\n")
}

/// Asks for the instance id; `no` declines, an empty line leaves the plan open.
pub async fn ask(open: &Confirmation, question: &str) -> Answer {
    match read_line(format!("{}\n(`no` declines, Enter leaves it open) > ", laid_out(question))).await.as_deref() {
        None | Some("") => Answer::Dismissed,
        Some("no" | "n") => Answer::Declined,
        Some(typed) => typed_answer(&open.plan, typed, Channel::Terminal),
    }
}

/// A progress bar on standard error, where that is a terminal.
pub struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    /// A bar that shows nothing until there is progress.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

#[async_trait]
impl Progress for Bar {
    async fn report(&self, done: u64, total: u64, message: &str) {
        if QUIET.load(Ordering::Relaxed) || !std::io::stderr().is_terminal() {
            return;
        }
        let mut slot = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bar = slot.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let percent = percent(done, total);
        let template = if percent.is_some() { "{spinner} {msg} {wide_bar} {pos}%" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(100);
        bar.set_position(percent.unwrap_or_default().into());
        bar.set_message(with_bytes(message, done, total));
    }
}
