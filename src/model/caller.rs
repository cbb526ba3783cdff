//! Who calls, and through which face. A confirmation token is bound to a caller's id, and the audit names it.

use std::fmt;

/// The id of whoever uses this home directory by standard input and output, or at a terminal: the directory belongs to one
/// user alone, so both are one caller, and a token of the one is good for the other.
const LOCAL: &str = "local";

/// Who takes a base of an instance's log, in place of a caller's id.
pub const BY_LOG: &str = "log";

/// The interface through which a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// An agent, through an MCP client.
    Mcp,
    /// A person or a script, by subcommand.
    CommandLine,
    /// A client of the cloud's API, by a signed call to the emulator.
    Emulator,
}

/// Who calls: an id for tokens and the audit, and the interface of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: String,
    face: Face,
}

impl Caller {
    /// This machine's user, through an MCP client on standard input and output.
    #[must_use]
    pub fn mcp() -> Self {
        Self { id: LOCAL.into(), face: Face::Mcp }
    }

    /// This machine's user, at the command line.
    #[must_use]
    pub fn command_line() -> Self {
        Self { id: LOCAL.into(), face: Face::CommandLine }
    }

    /// Whoever signed a call to the emulator with this access key.
    #[must_use]
    pub fn signed(access_key_id: &str) -> Self {
        Self { id: format!("emulator: {access_key_id}"), face: Face::Emulator }
    }

    /// What tokens are bound to and the audit records: the same for two faces of one user.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The interface through which the call came in.
    #[must_use]
    pub const fn face(&self) -> Face {
        self.face
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Face};

    /// A token planned through MCP is approved and echoed at the terminal: both are one caller. A signed call never is.
    #[test]
    fn one_user_is_one_caller_through_two_faces() {
        let (agent, person) = (Caller::mcp(), Caller::command_line());
        assert_eq!(agent.id(), person.id());
        assert_eq!((agent.face(), person.face()), (Face::Mcp, Face::CommandLine));
        assert_ne!(Caller::signed("local").id(), agent.id());
        assert_eq!(Caller::signed("LTAI").id(), "emulator: LTAI");
    }
}
