//! The log: a line a message on standard error, as text or as JSON, of what the filter lets through.
//!
//! No line has colours but at a terminal, and none has what libraries carry: requests, tokens, signed URLs.

use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;
use crate::state::STATEMENTS;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

/// The variable that has the filter.
const VARIABLE: &str = "TAIR_BACKUP_MCP_LOG";
/// What each of our own targets begins with.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: an object a line.
    Json,
}

/// Sends the log to standard error, because standard output is data. The filter is `TAIR_BACKUP_MCP_LOG`, else `default`.
///
/// # Errors
/// `config.invalid` where the variable has neither a level nor a filter.
pub fn begin(default: &str, format: Format) -> Result<(), Fault> {
    let given = std::env::var_os(VARIABLE).map(|text| text.to_string_lossy().into_owned());
    let filter = filter(given.as_deref().unwrap_or_default(), default)?;
    let asked_for = statements_are_asked_for(&filter);
    // Colours are for a terminal, and for people who want them.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = fmt::layer::<Registry>().with_ansi(colours).with_writer(|| OneLine(io::stderr()));
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().with_current_span(false).with_span_list(false).boxed(),
    };
    let allowed = filter_fn(move |message| may_be_logged(message, asked_for));
    tracing_subscriber::registry().with(lines).with(filter).with(allowed).init();
    Ok(())
}

/// Writes each message as one line, whatever is in it: what a client sent, a path that it names for one, must not pass for a line of ours.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    /// A message comes whole, with the end of its line.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.write_all(&one_line(message))?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A message whose ends of lines are written as `\n`, but for its last.
fn one_line(message: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match message.strip_suffix(b"\n") {
        Some(text) => (text, b"\n".as_slice()),
        None => (message, b"".as_slice()),
    };
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(message);
    }
    let mut line = Vec::with_capacity(message.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    line.extend_from_slice(end);
    Cow::Owned(line)
}

/// Reads a filter; an empty one is `default`.
fn filter(given: &str, default: &str) -> Result<Targets, Fault> {
    let wrong = |what: &str| {
        Fault::new(Kind::Usage, "config.invalid", format!("{VARIABLE}: {} is no level of the log", quoted(what)))
            .hint(format!("Write off, error, warn, info, debug or trace, or a filter such as warn,{OURS}=debug."))
    };
    let directives: Vec<&str> = given.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() {
        return default.parse().map_err(|_| wrong(default));
    }
    for directive in directives.iter().copied() {
        // A word that is no level would be taken for a target, of which everything is logged: nothing, in place of what was asked for.
        let (target, level) = directive.rsplit_once('=').unwrap_or((OURS, directive));
        let is_level = !level.is_empty() && level.parse::<LevelFilter>().is_ok();
        let is_target = !target.is_empty() && !directive.contains(char::is_whitespace);
        if !(is_target && (is_level || directive.starts_with(OURS) && !directive.contains('='))) {
            return Err(wrong(directive));
        }
    }
    directives.join(",").parse().map_err(|_| wrong(given))
}

/// Whether a filter names the target of statements, or one above.
fn statements_are_asked_for(filter: &Targets) -> bool {
    filter.iter().any(|(target, _)| !target.is_empty() && STATEMENTS.starts_with(target))
}

/// Whether a message may be in the log whatever the filter asks for: ours, which hold no secret, and of libraries only what went
/// wrong. Below that they log what they carry: the MCP SDK whole requests and replies, with confirmation tokens and signed URLs. Statements
/// hold nothing that is bound to them, and are logged where somebody has named them.
fn may_be_logged(message: &Metadata<'_>, with_statements: bool) -> bool {
    let target = message.target();
    if target == STATEMENTS {
        return with_statements;
    }
    target.starts_with(OURS) || *message.level() <= Level::WARN
}

#[cfg(test)]
mod tests {
    //! A level and a filter are read, a slip is refused, statements are logged only where their target is named, and a message is one line.
    use super::{OneLine, STATEMENTS, filter, statements_are_asked_for};
    use std::io::Write as _;

    #[test]
    fn a_message_is_one_line() {
        let mut log = OneLine(Vec::new());
        for message in ["plain\n", "/x/a\nERROR forged\r\n\n", ""] {
            log.write_all(message.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8(log.0).unwrap(), "plain\n/x/a\\nERROR forged\\r\\n\n");
    }

    #[test]
    fn a_filter_is_read_or_refused() {
        for good in ["", " ", "off", "WARN", "debug", "warn, rmcp=debug", "tair_backup_mcp::audit", "info,rmcp=trace,"]
        {
            assert!(filter(good, "error,tair_backup_mcp=warn").is_ok(), "{good:?}");
        }
        for bad in [
            "loud",
            "debgu",
            "tair_backup_mcp=loud",
            "=debug",
            "warn,loud",
            "tair_backup_mcp=",
            "sqlx",
            "a=b=info",
            "in fo",
        ] {
            let fault = filter(bad, "warn").unwrap_err();
            assert_eq!(fault.code, "config.invalid", "{bad:?}");
            assert!(fault.hint.contains("debug or trace"), "{fault:?}");
        }
    }

    #[test]
    fn statements_are_logged_where_they_are_named() {
        let exactly = format!("{STATEMENTS}=info");
        for (given, asked_for) in
            [("debug", false), ("trace,rmcp=trace", false), ("warn,sqlx=debug", true), (&exactly, true)]
        {
            assert_eq!(statements_are_asked_for(&filter(given, "warn").unwrap()), asked_for, "{given}");
        }
    }
}
