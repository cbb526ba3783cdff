//! `Fault`: the one shape in which every room reports failure to a face.
//!
//! The code is stable and dotted (`backup.not_found`), the message is for the reader, the hint is the next step. The
//! source is for the log and never leaves the process: it may quote addresses or server text.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The class of a failure; the command line's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bug, or an operating system that refused something ordinary. Exit code 1.
    Unexpected,
    /// The arguments or the configuration are wrong. Exit code 2.
    Usage,
    /// The guard, or a rule of protection, said no. Exit code 3.
    Refused,
    /// What was named does not exist. Exit code 4.
    NotFound,
    /// The instance or its provider failed or cannot do it. Exit code 5.
    Provider,
    /// Stored data is damaged. Exit code 6.
    Damaged,
    /// Something was asked for, and it is not known what came of it. Exit code 5.
    Uncertain,
}

impl Kind {
    /// The exit code of the command line for this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Provider | Self::Uncertain => 5,
            Self::Damaged => 6,
        }
    }

    /// The word stored with a job that failed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::Provider => "provider",
            Self::Damaged => "damaged",
            Self::Uncertain => "uncertain",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Unexpected,
            Self::Usage,
            Self::Refused,
            Self::NotFound,
            Self::Provider,
            Self::Damaged,
            Self::Uncertain,
        ];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A failure, ready to be shown. Made by each room's one `From`, or directly where a rule is broken.
#[derive(Debug)]
pub struct Fault {
    /// The class of the failure; decides the exit code.
    pub kind: Kind,
    /// Stable, dotted code such as `backup.not_found`: part of the contract, listed in `docs/errors.md`.
    pub code: &'static str,
    /// One or two sentences for the reader. No secrets, no credentials.
    pub message: String,
    /// The next step, for the reader. Empty where there is none.
    pub hint: String,
    /// The calls that make sense now, for an agent, each as it is made: a tool alone only where it needs no arguments. A call with arguments is in the
    /// hint.
    pub next_actions: &'static [&'static str],
    /// How long to wait before another attempt, where waiting alone may cure the failure.
    pub retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// The same for another reader; its cause stays with the first.
    #[must_use]
    pub fn without_cause(&self) -> Self {
        Self {
            kind: self.kind,
            code: self.code,
            message: self.message.clone(),
            hint: self.hint.clone(),
            next_actions: self.next_actions,
            retry_after: self.retry_after,
            source: None,
        }
    }

    /// A fault without hint, retry or source.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            hint: String::new(),
            next_actions: &[],
            retry_after: None,
            source: None,
        }
    }

    /// Sets the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Sets the calls that make sense now.
    #[must_use]
    pub fn next(mut self, calls: &'static [&'static str]) -> Self {
        self.next_actions = calls;
        self
    }

    /// Says that trying again after this long may work.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Message and hint as one text, for a place that has no line for each.
    #[must_use]
    pub fn told(&self) -> String {
        match self.hint.chars().next() {
            None => self.message.clone(),
            Some(first) => {
                // A hint is a sentence of its own, or the end of one.
                let between = if first.is_lowercase() { "; " } else { ". " };
                format!("{}{between}{}", self.message.trim_end_matches('.'), self.hint)
            }
        }
    }

    /// What the cause says, and what is behind it, for the log alone: without what the message has already. `None` where nothing is left.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let mut told: Vec<String> = Vec::new();
        for cause in std::iter::successors(self.source(), |&cause| cause.source()) {
            let text = cause.to_string();
            // Many an error names its own cause.
            if !self.message.contains(&text) && !told.iter().any(|before| before.contains(&text)) {
                told.push(text);
            }
        }
        (!told.is_empty()).then(|| told.join(": "))
    }

    /// Keeps the cause, for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
