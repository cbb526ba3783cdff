//! The `Fault` that each failure between this program and an instance becomes: its code, the next step, and whether waiting helps.
//!
//! It must not read a message: everything follows from the error's type.

use std::time::Duration;

use super::error::{RedisError, TlsProblem};
use super::prefix::ErrorPrefix;
use super::target::TargetState;
use crate::model::fault::{Fault, Kind};

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
        E::Tls { problem, .. } => (Kind::Provider, "instance.tls", tls_hint(*problem), None),
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
        E::Auth { needless: true, .. } => (
            Kind::Provider,
            "instance.auth",
            "the server has no password: take the user and the password of the instance out of the configuration, or out of its url",
            None,
        ),
        E::Auth { .. } => {
            (Kind::Provider, "instance.auth", "set the user and password of the instance in the configuration", None)
        }
        E::Denied { hint, .. } => {
            let hint = format!("{hint}; tair-backup-mcp doctor names every right that the user lacks");
            return (Kind::Provider, "instance.denied", hint, None);
        }
        E::Loading { .. } => {
            (Kind::Provider, "instance.busy_loading", "wait until the instance has loaded its data", Some(10))
        }
        E::NoMasterLink { .. } => (
            Kind::Provider,
            "instance.no_master_link",
            "repair the replica's link, or name its master as the source",
            Some(30),
        ),
        E::MasterDown { .. } => (
            Kind::Provider,
            "instance.master_down",
            "repair the replica's link, or name its master as the source",
            Some(30),
        ),
        E::Busy { .. } => (
            Kind::Provider,
            "instance.busy_script",
            "wait until the script has ended; SCRIPT KILL or FUNCTION KILL ends one that has written nothing",
            Some(10),
        ),
        E::MaxClients { .. } => (
            Kind::Provider,
            "instance.max_clients",
            "wait until others have left, or raise it: CONFIG SET maxclients",
            Some(10),
        ),
        E::ProtectedMode { .. } => (
            Kind::Provider,
            "instance.protected_mode",
            "give the server a password (requirepass, or an ACL user) and the configuration the same; or run this program on the server's machine",
            None,
        ),
        E::NoReplication { .. } => (
            Kind::Provider,
            "instance.no_replication",
            "name a server that hands out its data: a node of its own instead of a proxy, with PSYNC and REPLCONF under their own names; a managed service has its own backups",
            None,
        ),
        E::Sentinel(sentinel) => return (Kind::Provider, "instance.sentinel", sentinel.hint(), None),
        E::Server { prefix: ErrorPrefix::Misconf, .. } => (
            Kind::Provider,
            "instance.error_reply",
            "the server cannot save its data and refuses writes: free its disk, and read its log",
            None,
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
        E::NoData { .. } => (
            Kind::Provider,
            "capture.no_data",
            "nothing was kept; look at the source's log and INFO persistence. Where saving takes it longer, raise no_data_seconds of the instance",
            None,
        ),
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
        E::Stream { source, .. } => return describe(source),
        E::ReplayBroken { .. } => {
            (Kind::Provider, "restore.replay_broken", "see the target's log for why it let go", None)
        }
        E::CommandsRefused { .. } => (
            Kind::Provider,
            "restore.command_refused",
            "the target's log names each (sending an error to its master); restore to a moment before them, or into a server like the one that wrote the log",
            None,
        ),
        E::ReplayUnproven { .. } => (
            Kind::Provider,
            "restore.replay_unproven",
            "see that nobody resets the target's statistics (CONFIG RESETSTAT) meanwhile, then restore again",
            None,
        ),
        E::Withheld { fault } | E::Stopped { fault } => return (fault.kind, fault.code, fault.hint.clone(), None),
        E::AnotherTarget { .. } => (
            Kind::Provider,
            "restore.target_changed",
            "nothing was sent; look whether a proxy or a failover puts other servers behind the address, then make a new plan",
            None,
        ),
        E::RollbackIncomplete { .. } => {
            (Kind::Provider, "restore.unsettled", "put the target's settings back by hand", None)
        }
        E::Restore { state, not_rolled_back, source } => {
            let (kind, code, inner, _) = describe(source);
            let mut hint = inner;
            match state {
                TargetState::Unknown => {
                    hint = format!(
                        "look at the target before anything else: it may hold the old data, the new, or be down. {hint}"
                    );
                }
                TargetState::Gone => hint = format!("start the target again and look at what it holds. {hint}"),
                TargetState::Unfinished => hint = format!("what it holds is of no moment: restore again. {hint}"),
                TargetState::Untouched | TargetState::Replaced => {}
            }
            if let Some(what) = not_rolled_back {
                hint = format!("the target is not as it was: {what}. {hint}");
            }
            return (kind, code, hint.trim().to_owned(), None);
        }
        E::NotCutOver { .. } => (
            Kind::Provider,
            "restore.not_cut_over",
            "mend what the message names and make a new plan; nothing of the set is left in the target",
            None,
        ),
        E::Replay { .. } => {
            (Kind::Provider, "restore.partial", "the target holds a part of the backup; restore again", None)
        }
        E::SomeKeys { .. } => {
            (Kind::Provider, "restore.partial", "restore again: what has been written stays as it is", None)
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

/// The next step after TLS failed.
fn tls_hint(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::OwnAuthority => {
            "have the authority sign a certificate of the server's own; or make the server a self-signed one that is no authority: openssl req -x509 … -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:<its name>"
        }
        TlsProblem::UnknownAuthority => "name the authority's certificate as tls_ca_file in the configuration",
        TlsProblem::WrongName => {
            "use a name in the url that the certificate has, or name one as tls_server_name in the configuration"
        }
        TlsProblem::Expired => "renew the server's certificate, or set the clock of this machine right",
        TlsProblem::ClientCertificate => {
            "name a certificate that the server trusts as tls_cert_file, and its key as tls_key_file, in the configuration"
        }
        TlsProblem::NotTls => "check the port: what answers there speaks no TLS",
        TlsProblem::Other => "check the certificate files, the server's name, and whether this port speaks TLS",
    }
}
