//! Everything that can go wrong between this program and an instance.
//!
//! Code branches on these types and on [`ErrorPrefix`], never on a server's text. That text comes from outside: where an error is
//! made of it (`error_reply`) it is shortened and cleaned, before it travels further.

use std::io;
use std::time::Duration;

use super::prefix::ErrorPrefix;
use super::sentinel::Sentinel;
use super::target::{Refusal, TargetState};
use crate::model::fault::Fault;
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
        /// What kind of failure that is.
        problem: TlsProblem,
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
        /// Whether a password was sent, and the server has none.
        needless: bool,
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
    /// The source is a replica that has lost its master and serves nothing meanwhile.
    #[error("{address} is a replica without a link to its master and is configured to serve nothing meanwhile")]
    MasterDown {
        /// The address of the replica.
        address: String,
    },
    /// A script or function runs on the server, which answers nothing else until it ends.
    #[error("{address} is busy running a script or function")]
    Busy {
        /// The address of the busy server.
        address: String,
    },
    /// The server takes no more connections.
    #[error("{address} has as many clients as it takes (maxclients)")]
    MaxClients {
        /// The address of the full server.
        address: String,
    },
    /// The server has no password and lets nobody in from another machine.
    #[error("{address} is in protected mode: it has no password and lets in nobody from another machine")]
    ProtectedMode {
        /// The address that refused.
        address: String,
    },
    /// The server hands out no data by replication: a command that this needs is unknown there, or was renamed.
    #[error("{address} does not know {command}, so it hands out no data by replication")]
    NoReplication {
        /// The address of the server.
        address: String,
        /// The command.
        command: String,
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
    /// A source sent signs of life and no data.
    #[error("{address} has sent signs of life and no data for {} s, after {received} bytes of data", after.as_secs())]
    NoData {
        /// The address of the source.
        address: String,
        /// Bytes received until then.
        received: u64,
        /// For how long.
        after: Duration,
    },
    /// A Sentinel answers, which has no data.
    #[error(transparent)]
    Sentinel(#[from] Sentinel),
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
    /// The commands behind a loaded snapshot were not all applied, or it is not known that they were.
    #[error("{source}, after it had applied {applied} bytes of the log")]
    Stream {
        /// Bytes of the stream that the target had acknowledged.
        applied: u64,
        /// What broke the stream off.
        source: Box<RedisError>,
    },
    /// The target left the stream before its end.
    #[error("the target did not take the log to its end: {reason}")]
    ReplayBroken {
        /// Why the stream ended.
        reason: String,
    },
    /// The target refused commands of the stream, and went on without them.
    #[error("the target refused {count} commands of the log{}", named(names))]
    CommandsRefused {
        /// How many.
        count: u64,
        /// Names of those that are known.
        names: Vec<String>,
    },
    /// The target does not show whether it refused commands of the stream.
    #[error("whether the target refused commands of the log cannot be told: {what}")]
    ReplayUnproven {
        /// Why not.
        what: String,
    },
    /// Whoever answers for the restore has found that it must not go on: right before the target refuses writes, or by the look at it then.
    #[error("{}", fault.message)]
    Withheld {
        /// Why not, and the next step.
        fault: Fault,
    },
    /// Whoever had it carried out has stopped it half way: how far it came is not told.
    #[error("{}", fault.message)]
    Stopped {
        /// Why, and the next step.
        fault: Fault,
    },
    /// What answers on the connection is not what was switched.
    #[error("the target is not what it was a moment ago: {what}")]
    AnotherTarget {
        /// What differs.
        what: String,
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
    /// A restore by commands beside the old data failed before the cutover.
    #[error("the set could not be loaded beside the old data: stopped after {done} keys: {}; {failed} refused in all, and the target still has its old data", first.join("; "))]
    NotCutOver {
        /// Keys accepted.
        done: u64,
        /// Commands refused.
        failed: u64,
        /// The first few refusals with their keys, and what else stopped it.
        first: Vec<String>,
    },
    /// The server could not write to its disk what it holds.
    #[error("the instance could not finish {what}; its log says why")]
    NotOnDisk {
        /// What failed, or did not end.
        what: &'static str,
    },
    /// A restore of some keys failed half way.
    #[error("the restore of some keys stopped after {done} of them: {}; {failed} refused in all; the others of them may be as they were before, and no other key was touched", first.join("; "))]
    SomeKeys {
        /// Keys accepted.
        done: u64,
        /// Commands refused.
        failed: u64,
        /// The first few refusals with their keys, and what else stopped it.
        first: Vec<String>,
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

/// Names of commands behind a count.
fn named(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" ({})", clean(&names.join(", "))) }
}

/// Why TLS failed, as far as the next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsProblem {
    /// The server's certificate is the authority's own: one that may sign others is not taken for a server's.
    OwnAuthority,
    /// No authority that is trusted has signed the server's certificate.
    UnknownAuthority,
    /// The server's certificate is for another name.
    WrongName,
    /// The server's certificate is not valid yet, or not any more.
    Expired,
    /// The server wants a certificate of ours, or another one.
    ClientCertificate,
    /// What answers speaks no TLS.
    NotTls,
    /// Something else; the reason says what.
    Other,
}

impl RedisError {
    /// Whether the server may be restarting, or busy with what it had loaded. A refusal will not change.
    pub(super) fn is_transient(&self) -> bool {
        use RedisError as E;
        matches!(self, E::Connect { .. } | E::Timeout { .. } | E::Lost { .. } | E::Broken { .. } | E::Loading { .. })
    }

    /// Whether the server is in a state that passes by itself, so that a later attempt may go well.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Loading { .. }
                | Self::NoMasterLink { .. }
                | Self::MasterDown { .. }
                | Self::Busy { .. }
                | Self::MaxClients { .. }
        )
    }

    /// The error of an operating system that gave no random bytes.
    pub(super) fn no_randomness(fault: Fault) -> Self {
        Self::System { what: "no random numbers".to_owned(), source: io::Error::other(fault) }
    }
}
