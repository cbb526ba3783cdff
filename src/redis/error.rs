//! Everything that can go wrong between this program and an instance, and the `Fault` that each failure becomes.
//!
//! Code branches on these types and on [`ErrorPrefix`], never on a server's text. That text comes from outside: it is shortened
//! and cleaned here, before it travels further.

use std::io;
use std::time::Duration;

use super::prefix::ErrorPrefix;
use super::target::{Refusal, TargetState};
use crate::model::fault::{Fault, Kind};
use crate::model::text::clean;

/// Everything that can go wrong between us and an instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The address cannot be read. The reason never quotes the address, which may hold a password.
    #[error("cannot read the address of the instance: {reason}")]
    BadAddress {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No connection could be opened.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address that was called.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS settings cannot be used, or the handshake failed.
    #[error("TLS with {address} failed: {reason}")]
    Tls {
        /// The address that was called.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// TLS was asked for, and the server speaks plain Redis on this port.
    #[error("{address} does not speak TLS on this port: write redis://")]
    NoTls {
        /// The address that was called.
        address: String,
    },
    /// TLS was not asked for, and the server speaks nothing else on this port.
    #[error("{address} speaks TLS on this port: write rediss://")]
    OnlyTls {
        /// The address that was called.
        address: String,
    },
    /// The server did not answer in time.
    #[error("{address} did not answer {during} within {} s", after.as_secs_f32())]
    Timeout {
        /// The address that was asked.
        address: String,
        /// The command or the step.
        during: String,
        /// How long the caller waited.
        after: Duration,
    },
    /// The connection ended.
    #[error("the connection to {address} was lost during {during}: {source}")]
    Lost {
        /// The address of the other end.
        address: String,
        /// The command or the step.
        during: String,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier failure left the connection out of step; open a new one.
    #[error("the connection to {address} is out of step after an earlier failure")]
    Broken {
        /// The address of the other end.
        address: String,
    },
    /// The server does not accept the credentials, or wants some.
    #[error("{address} refused the credentials: {message}")]
    Auth {
        /// The address that refused.
        address: String,
        /// What the server said.
        message: String,
    },
    /// The user may not run this command.
    #[error("the user may not run {command}: {message}")]
    Denied {
        /// The command that was refused.
        command: String,
        /// What the server said.
        message: String,
        /// The rights that would be enough.
        hint: String,
    },
    /// The server is loading its data.
    #[error("{address} is still loading its data")]
    Loading {
        /// The address of the busy server.
        address: String,
    },
    /// The source is a replica that has lost its own master.
    #[error("{address} is a replica without a working link to its master, so it hands out no data")]
    NoMasterLink {
        /// The address of the replica.
        address: String,
    },
    /// An error reply that none of the variants above stands for.
    #[error("{command} was answered with an error: {message}")]
    Server {
        /// The command.
        command: String,
        /// The first word of the reply: what code may branch on.
        prefix: ErrorPrefix,
        /// What the server said, shortened and cleaned.
        message: String,
    },
    /// The other end does not speak RESP and the replication protocol as this program knows them.
    #[error("{address} answered outside the protocol: {what}")]
    Protocol {
        /// The address of the other end.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// A capture ended before its end.
    #[error("the capture from {address} stopped after {received} bytes: {reason}")]
    Interrupted {
        /// The address of the source.
        address: String,
        /// Bytes of data received until then.
        received: u64,
        /// Why the transfer ended.
        reason: String,
    },
    /// The target cannot be restored through replication.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The target was told to follow this program and did not connect.
    #[error("the target did not connect back to {address} within {} s ({rejected} other connections were rejected)", waited.as_secs())]
    TargetDidNotConnect {
        /// Where this program listened.
        address: String,
        /// For how long.
        waited: Duration,
        /// Connections that did not prove to be the target.
        rejected: u32,
    },
    /// The target took the data and then did not confirm it.
    #[error("the target gave up the load after {sent} bytes: {reason}")]
    Rejected {
        /// Bytes sent until then.
        sent: u64,
        /// Why the transfer ended.
        reason: String,
    },
    /// The supplier of the data failed; the target got no end mark.
    #[error("the data to restore could not be supplied: {reason}")]
    Supply {
        /// What the supplier said.
        reason: String,
    },
    /// The target refuses writes now, and the look at it then found that the restore must not go on.
    #[error("{}", fault.message)]
    Withheld {
        /// Why not, and the next step.
        fault: Fault,
    },
    /// A restore went well up to its last step: the target's role or settings are not as they were.
    #[error("the data is restored, but {what}")]
    RollbackIncomplete {
        /// What is left to do.
        what: String,
    },
    /// A restore as master failed, and in what state that leaves the target.
    #[error("{source}; {state}")]
    Restore {
        /// What is in the target now.
        state: TargetState,
        /// Why the target's role and settings are not as they were; `None` where they are.
        not_rolled_back: Option<String>,
        /// What failed.
        source: Box<RedisError>,
    },
    /// The server could not write to its disk what it holds.
    #[error("the instance could not finish {what}; its log says why")]
    NotOnDisk {
        /// What failed, or did not end.
        what: &'static str,
    },
    /// A restore by commands failed half way.
    #[error("the restore by commands stopped after {done} keys: {}; {failed} refused in all, and the target now holds only a part", first.join("; "))]
    Replay {
        /// Keys accepted.
        done: u64,
        /// Commands refused.
        failed: u64,
        /// The first few refusals with their keys, and what else stopped it.
        first: Vec<String>,
    },
    /// The system refused something ordinary (a temporary file, a random number).
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

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
            ErrorPrefix::NoAuth | ErrorPrefix::WrongPass | ErrorPrefix::Denied => Self::Auth { address, message },
            ErrorPrefix::Loading => Self::Loading { address },
            ErrorPrefix::NoMasterLink => Self::NoMasterLink { address },
            // Before 6.0 a wrong password is an ERR.
            ErrorPrefix::Err if command == "AUTH" => Self::Auth { address, message },
            prefix => Self::Server { command, prefix, message },
        }
    }

    /// The error of an operating system that gave no random bytes.
    pub(super) fn no_randomness(fault: Fault) -> Self {
        Self::System { what: "no random numbers".to_owned(), source: io::Error::other(fault) }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let message = error.to_string();
        let (kind, code, hint, retry) = describe(&error);
        let mut fault = Fault::new(kind, code, message).hint(hint).because(error);
        if let Some(seconds) = retry {
            fault = fault.retry_after(Duration::from_secs(seconds));
        }
        fault
    }
}

/// Kind, code and hint of an error, and seconds to wait where waiting alone may cure it.
fn describe(error: &RedisError) -> (Kind, &'static str, String, Option<u64>) {
    use RedisError as E;
    let (kind, code, hint, retry) = match error {
        E::BadAddress { .. } => (Kind::Usage, "instance.bad_address", "", None),
        E::Connect { .. } => (
            Kind::Provider,
            "instance.unreachable",
            "check that the instance runs and that its address and port are right",
            Some(5),
        ),
        E::Tls { .. } => (
            Kind::Provider,
            "instance.tls",
            "check the certificate files, the server's name, and whether this port speaks TLS",
            None,
        ),
        E::NoTls { .. } => (
            Kind::Provider,
            "instance.tls",
            "write redis:// instead of rediss://, or name the port on which the server does speak TLS",
            None,
        ),
        E::OnlyTls { .. } => (
            Kind::Provider,
            "instance.protocol",
            "write rediss:// instead of redis://; tls_ca_file in the configuration names the authority to trust",
            None,
        ),
        E::Timeout { .. } => {
            (Kind::Provider, "instance.timeout", "the instance may be busy or out of reach; try again", Some(10))
        }
        E::Lost { .. } | E::Broken { .. } => (Kind::Provider, "instance.connection_lost", "try again", Some(5)),
        E::Auth { .. } => {
            (Kind::Provider, "instance.auth", "set the user and password of the instance in the configuration", None)
        }
        E::Denied { hint, .. } => return (Kind::Provider, "instance.denied", hint.clone(), None),
        E::Loading { .. } => {
            (Kind::Provider, "instance.busy_loading", "wait until the instance has loaded its data", Some(10))
        }
        E::NoMasterLink { .. } => (
            Kind::Provider,
            "instance.no_master_link",
            "repair the replica's link, or name its master as the source",
            Some(30),
        ),
        E::Server { .. } => (Kind::Provider, "instance.error_reply", "", None),
        E::Protocol { .. } => (
            Kind::Provider,
            "instance.protocol",
            "check that the address is a Redis or Valkey server, and whether its port speaks TLS (rediss://)",
            None,
        ),
        E::Interrupted { .. } => {
            (Kind::Provider, "capture.interrupted", "nothing was kept of it; start the backup again", Some(10))
        }
        E::Refused(refusal) => return (Kind::Provider, refusal.code(), refusal.hint(), None),
        E::TargetDidNotConnect { .. } => (
            Kind::Provider,
            "restore.target_did_not_connect",
            "the target must be able to open a connection to this machine: check firewalls and the announced address, or restore by commands",
            None,
        ),
        E::Rejected { .. } => {
            (Kind::Provider, "restore.rejected_by_target", "the target's log says why it refused the data", None)
        }
        E::Supply { .. } => (Kind::Provider, "restore.source_failed", "check the backup set", None),
        E::Withheld { fault } => return (fault.kind, fault.code, fault.hint.clone(), None),
        E::RollbackIncomplete { .. } => {
            (Kind::Provider, "restore.unsettled", "put the target's settings back by hand", None)
        }
        E::Restore { state, not_rolled_back, source } => {
            let (kind, code, inner, _) = describe(source);
            let mut hint = inner;
            if *state == TargetState::Unknown {
                hint = format!(
                    "look at the target before anything else: it may hold the old data, the new, or be down. {hint}"
                );
            }
            if let Some(what) = not_rolled_back {
                hint = format!("the target is not as it was: {what}. {hint}");
            }
            return (kind, code, hint.trim().to_owned(), None);
        }
        E::Replay { .. } => {
            (Kind::Provider, "restore.partial", "the target holds a part of the backup; restore again", None)
        }
        E::NotOnDisk { .. } => (
            Kind::Provider,
            "restore.not_on_disk",
            "see that its disk has room and can be written, then send it BGSAVE",
            None,
        ),
        E::System { .. } => (Kind::Unexpected, "system", "", None),
    };
    (kind, code, hint.to_owned(), retry)
}
