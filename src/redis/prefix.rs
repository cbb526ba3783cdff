//! The first word of an error reply, parsed once: the only part of a server's text that code may branch on.
//!
//! It must not judge what a prefix means for a caller: [`error`](super::error) and the callers do.

/// What an error reply begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorPrefix {
    /// `ERR`, for everything without a prefix of its own.
    Err,
    /// `ERR unknown command …`: an older server, or a command that its operator renamed away.
    UnknownCommand,
    /// `ERR max number of clients …`: the server takes no more connections.
    MaxClients,
    /// `ERR AUTH <password> called without any password configured …`, before 6.0 `ERR Client sent AUTH, but no password is set`: the server wants none.
    NoPasswordSet,
    /// `NOPERM`: the ACL of the user does not allow the command.
    NoPerm,
    /// `NOAUTH`: nobody has logged in on this connection.
    NoAuth,
    /// `WRONGPASS`: the user or the password is wrong.
    WrongPass,
    /// `DENIED`: protected mode lets nobody in from another machine.
    Denied,
    /// `LOADING`: the server loads its data.
    Loading,
    /// `MASTERDOWN`: a replica without a link that must not serve stale data.
    MasterDown,
    /// `NOMASTERLINK`: a replica without a link that is asked to be a source.
    NoMasterLink,
    /// `READONLY`: a replica is asked to write.
    ReadOnly,
    /// `NOREPLICAS`: too few replicas for a write.
    NoReplicas,
    /// `MISCONF`: the server cannot save and therefore refuses writes.
    Misconf,
    /// `OOM`: `maxmemory` is reached.
    Oom,
    /// `BUSY`: a script runs.
    Busy,
    /// `MOVED`: the slot belongs to another node.
    Moved,
    /// `ASK`: the slot is on its way to another node.
    Ask,
    /// `CLUSTERDOWN`: the cluster does not serve this slot.
    ClusterDown,
    /// `CROSSSLOT`: the keys of one command are in several slots.
    CrossSlot,
    /// `WRONGTYPE`: the key holds a value of another type.
    WrongType,
    /// Any other word, or a sentence that is not a server's.
    Other,
}

/// How a server says that it has no password, and was sent one.
const NO_PASSWORD: [&str; 2] =
    ["AUTH <password> called without any password", "Client sent AUTH, but no password is set"];

impl ErrorPrefix {
    /// Reads the text of an error reply, without its dash.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (prefix, rest) = text.split_once(' ').unwrap_or((text, ""));
        match prefix.trim_end() {
            "ERR" if rest.trim_start().starts_with("unknown command") => Self::UnknownCommand,
            "ERR" if rest.trim_start().starts_with("max number of clients") => Self::MaxClients,
            "ERR" if NO_PASSWORD.iter().any(|said| rest.trim_start().starts_with(said)) => Self::NoPasswordSet,
            "ERR" => Self::Err,
            "NOPERM" => Self::NoPerm,
            "NOAUTH" => Self::NoAuth,
            "WRONGPASS" => Self::WrongPass,
            "DENIED" => Self::Denied,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::MasterDown,
            "NOMASTERLINK" => Self::NoMasterLink,
            "READONLY" => Self::ReadOnly,
            "NOREPLICAS" => Self::NoReplicas,
            "MISCONF" => Self::Misconf,
            "OOM" => Self::Oom,
            "BUSY" => Self::Busy,
            "MOVED" => Self::Moved,
            "ASK" => Self::Ask,
            "CLUSTERDOWN" => Self::ClusterDown,
            "CROSSSLOT" => Self::CrossSlot,
            "WRONGTYPE" => Self::WrongType,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    //! What real servers say is told apart by its first word, and nothing behind that word decides.
    use super::ErrorPrefix;

    #[test]
    fn replies_of_real_servers() {
        for (text, prefix) in [
            ("ERR unknown command 'FUNCTION', with args beginning with: 'FLUSH' ", ErrorPrefix::UnknownCommand),
            ("ERR unknown command `RESTORE`, with args beginning with: ", ErrorPrefix::UnknownCommand),
            ("ERR Bad data format", ErrorPrefix::Err),
            ("ERR no MOVED here, nor an unknown command", ErrorPrefix::Err),
            ("ERR max number of clients reached", ErrorPrefix::MaxClients),
            ("ERR max number of clients + cluster connections reached", ErrorPrefix::MaxClients),
            (
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                ErrorPrefix::NoPasswordSet,
            ),
            ("ERR Client sent AUTH, but no password is set", ErrorPrefix::NoPasswordSet),
            ("MOVED 3999 127.0.0.1:6381", ErrorPrefix::Moved),
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorPrefix::Oom),
            ("NOPERM User bk has no permissions to run the 'psync' command", ErrorPrefix::NoPerm),
            ("NOMASTERLINK Can't SYNC while not connected with my master", ErrorPrefix::NoMasterLink),
            ("LOADING", ErrorPrefix::Loading),
            ("OOMPH", ErrorPrefix::Other),
            ("", ErrorPrefix::Other),
        ] {
            assert_eq!(ErrorPrefix::of(text), prefix, "{text}");
        }
    }
}
