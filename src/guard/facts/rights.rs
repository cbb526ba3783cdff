//! Facts about what the user of a restore may do on its target: one for each step of the planned way.
//!
//! Typed, so that the choice of a way and the checks ask a value and never a server's text.

/// Whether a step could be taken, found out without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// The server would run the command.
    Granted,
    /// The user may not run the command, or not on such a key.
    Denied,
    /// The server has no such command: hidden, renamed, or newer than the server.
    Absent,
    /// The server refuses such a command now, whoever sends it: its own sentence, cleaned.
    Refused(String),
    /// Neither the server nor a probe could tell.
    Unknown,
}

/// A step of a restore and whether it could be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRight {
    /// The right as an ACL rule, such as `+restore ~*`.
    pub rule: &'static str,
    /// Whether the step could be taken.
    pub right: Right,
}

/// The rules among `steps` whose right is as `wanted` says, in order.
pub fn rules(steps: &[StepRight], wanted: impl Fn(&Right) -> bool) -> Vec<&'static str> {
    let mut rules: Vec<&'static str> = steps.iter().filter(|s| wanted(&s.right)).map(|s| s.rule).collect();
    rules.dedup();
    rules
}
