//! The error that an error reply of a server stands for, by the reply's first word and the command that it answers.

use super::error::RedisError;
use super::prefix::ErrorPrefix;
use crate::model::text::clean;

/// The fewest rights that a capture needs, as an ACL rule.
const CAPTURE_RIGHTS: &str = "ACL SETUSER <user> on ><password> +psync +replconf +ping";

impl RedisError {
    /// The error of an error reply (without its dash) to a command.
    pub(crate) fn from_reply(address: &str, command: &str, text: &str) -> Self {
        let (address, command, message) = (address.to_owned(), command.to_owned(), clean(text));
        match ErrorPrefix::of(text) {
            ErrorPrefix::NoPerm => {
                let hint = match command.as_str() {
                    "PSYNC" | "REPLCONF" | "PING" => format!("give the user the rights of a replica: {CAPTURE_RIGHTS}"),
                    name => format!("give the user the right: +{}", name.to_ascii_lowercase().replace(' ', "|")),
                };
                Self::Denied { command, message, hint }
            }
            ErrorPrefix::NoAuth | ErrorPrefix::WrongPass => Self::Auth { address, message, needless: false },
            ErrorPrefix::NoPasswordSet => Self::Auth { address, message, needless: true },
            ErrorPrefix::Denied => Self::ProtectedMode { address },
            ErrorPrefix::Loading => Self::Loading { address },
            ErrorPrefix::NoMasterLink => Self::NoMasterLink { address },
            ErrorPrefix::MasterDown => Self::MasterDown { address },
            ErrorPrefix::Busy => Self::Busy { address },
            ErrorPrefix::MaxClients => Self::MaxClients { address },
            ErrorPrefix::UnknownCommand if matches!(command.as_str(), "PSYNC" | "REPLCONF") => {
                Self::NoReplication { address, command }
            }
            // Before 6.0 a wrong password is an ERR.
            ErrorPrefix::Err if command == "AUTH" => Self::Auth { address, message, needless: false },
            prefix => Self::Server { command, prefix, message },
        }
    }

    /// Whether a reply of the server says this, and the connection may go on.
    pub(super) fn is_reply(&self) -> bool {
        self.passes()
            || matches!(
                self,
                Self::Auth { .. }
                    | Self::Denied { .. }
                    | Self::ProtectedMode { .. }
                    | Self::NoReplication { .. }
                    | Self::Server { .. }
            )
    }
}
