//! What can go wrong on the way to the cloud and back, and the one place where a failure becomes a `Fault`.
//!
//! Nothing here holds a credential, a signed URL or a query: what is shown comes cleaned.

use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean, clean_to};
use crate::tair::codes::{is_published, meaning};
use crate::tair::meanings::Meaning;
use crate::tair::retry::Retry;
use std::fmt;
use std::time::Duration;

/// An error that the cloud answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    /// The action that was called.
    pub action: String,
    /// The cloud's code: what everything is decided by.
    pub code: String,
    /// The cloud's message.
    pub message: String,
    /// For Alibaba Cloud's support; empty when there was none.
    pub request_id: String,
    /// The HTTP status, for the log.
    pub status: u16,
    /// What `x-acs-retry-after` asked for.
    pub retry_after: Option<Duration>,
}

impl CloudError {
    /// The meaning of the error's code.
    #[must_use]
    pub fn meaning(&self) -> &'static Meaning {
        meaning(&self.code)
    }

    /// Whether the error says for certain that nothing was done: its code is published, and the failure is not the server's.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status < 500 && is_published(&self.code)
    }

    /// Whether the error has this code, in any letter case.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code)
    }

    /// Whether the account has no such instance in the region that was asked.
    #[must_use]
    pub fn says_no_such_instance(&self) -> bool {
        std::ptr::eq(self.meaning(), meaning("InvalidInstanceId.NotFound"))
    }

    /// Whether a backup job runs on the instance, so that no second one begins.
    #[must_use]
    pub fn says_backup_runs(&self) -> bool {
        self.is("BackupJobExists")
    }

    /// Whether the instance is locked.
    #[must_use]
    pub fn says_locked(&self) -> bool {
        self.is("IncorrectDBInstanceLockMode")
    }

    /// Whether a dry run passed: the cloud reports its success as an error.
    #[must_use]
    pub fn says_dry_run_passed(&self) -> bool {
        self.is("DryRunOperation")
    }

    /// Whether the instance is busy for now, and nothing was done.
    #[must_use]
    pub fn says_wait_until_ready(&self) -> bool {
        self.meaning().retry == Retry::WhenReady
    }

    /// Whether the same call fails however often it is sent.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.meaning().retry == Retry::Never
    }

    /// Whether only the message says that the day's backups by hand are used up: the message is documented, and does not
    /// come everywhere under its published code.
    #[must_use]
    pub fn says_daily_limit_by_message(&self) -> bool {
        self.meaning().retry != Retry::Tomorrow && self.message.to_ascii_lowercase().contains("daily backup times")
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = clean_to(&self.message, 400);
        write!(f, "the cloud refused {}: {}", self.action, message.trim_end_matches('.'))?;
        write!(f, " ({}", clean(&self.code))?;
        if !self.request_id.is_empty() {
            write!(f, ", request {}", clean(&self.request_id))?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for CloudError {}

/// A link of the credentials chain that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLink {
    /// The link's name.
    pub link: String,
    /// Why the link gave nothing, without secrets.
    pub why: String,
}

/// No credentials: every link that was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials(pub Vec<FailedLink>);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no credentials for Alibaba Cloud")?;
        for (n, FailedLink { link, why }) in self.0.iter().enumerate() {
            write!(f, "{}{link}: {why}", if n == 0 { " — " } else { "; " })?;
        }
        Ok(())
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum TairError {
    /// The operating system has no randomness for a nonce.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// A key that cannot sign. Does not happen with HMAC.
    #[error("the secret cannot be used to sign")]
    UnusableKey,
    /// A setting that makes calls impossible; says which and why.
    #[error("{0}")]
    Setup(String),
    /// No region is configured, in the environment or in a profile.
    #[error("no region is configured for Alibaba Cloud")]
    NoRegion,
    /// No link of the credentials chain gave credentials.
    #[error("{0}")]
    NoCredentials(NoCredentials),
    /// The cloud answered with an error.
    #[error("{0}")]
    Cloud(Box<CloudError>),
    /// The grant for this call was for another instance: a bug. Nothing was sent.
    #[error("the grant for {action} is not for {instance}")]
    NotGranted {
        /// The action that was not called.
        action: &'static str,
        /// The instance that it would have been called on.
        instance: String,
    },
    /// The keys have become another account's or user's since a write was begun. It was not sent by them.
    #[error("{action} was not sent: the credentials are no longer those of the account and user that began it")]
    OtherCaller {
        /// The action that was not called.
        action: String,
    },
    /// No connection was made, so nothing was sent.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// The host of the endpoint.
        host: String,
        /// What kept the call from its reply.
        why: String,
    },
    /// The request went out, and no usable reply came back.
    #[error("no usable reply to {action}: {why}")]
    NoReply {
        /// The action that was called.
        action: String,
        /// What kept the call from its reply.
        why: String,
    },
    /// A write went out and its outcome is not known: read the state before anything is sent again.
    #[error("it is not known whether {action} took effect: {why}")]
    Uncertain {
        /// The action that was called.
        action: String,
        /// What kept the call from its reply.
        why: String,
    },
    /// A reply that says something else than the API promises.
    #[error("the reply to {action} cannot be read: {why}")]
    BadReply {
        /// The action that was called.
        action: String,
        /// What is wrong with the reply.
        why: String,
    },
}

impl TairError {
    /// The cloud's error, when it is one.
    #[must_use]
    pub fn cloud(&self) -> Option<&CloudError> {
        match self {
            Self::Cloud(e) => Some(e),
            _ => None,
        }
    }

    /// Whether this is the cloud's error of that code, in any letter case.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        self.cloud().is_some_and(|e| e.is(code))
    }

    /// Whether the cloud answered with an error of which `says` holds.
    #[must_use]
    pub fn is_cloud(&self, says: impl FnOnce(&CloudError) -> bool) -> bool {
        self.cloud().is_some_and(says)
    }

    /// Whether the failure may pass by itself, so that the same question is worth asking again later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoReply { .. } | Self::BadReply { .. } | Self::NoCredentials(_) => true,
            Self::Cloud(cloud) => {
                cloud.status >= 500 || !matches!(cloud.meaning().retry, Retry::Never | Retry::Tomorrow)
            }
            _ => false,
        }
    }

    /// Whether a write may have taken effect although it failed.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        matches!(self, Self::Uncertain { .. })
    }
}

const AGAIN: Duration = Duration::from_secs(10);

impl From<TairError> for Fault {
    fn from(e: TairError) -> Self {
        let message = e.to_string();
        let fault = |kind, code| Self::new(kind, code, message.clone());
        let made = match &e {
            TairError::NoRandomness => fault(Kind::Unexpected, "system.no_randomness"),
            TairError::UnusableKey => fault(Kind::Unexpected, "credentials.unusable"),
            TairError::Setup(_) => fault(Kind::Usage, "tair.invalid_setup").hint("Check [tair] in the configuration."),
            TairError::NotGranted { .. } => fault(Kind::Unexpected, "act.unsupported"),
            TairError::OtherCaller { .. } => fault(Kind::Refused, "credentials.changed")
                .hint("Call again as whoever is to do it: what needs a plan needs a new one."),
            TairError::NoRegion => fault(Kind::Usage, "tair.no_region")
                .hint("Set [tair] region, such as \"cn-hangzhou\", or ALIBABA_CLOUD_REGION_ID."),
            TairError::NoCredentials(_) => fault(Kind::Usage, "credentials.none")
                .hint("Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, run `aliyun configure`, or give this machine a RAM role."),
            TairError::Unreachable { .. } => fault(Kind::Provider, "cloud.unreachable")
                .hint("Check the network, the proxy variables, and [tair] region and endpoint. Nothing was sent.")
                .retry_after(AGAIN),
            TairError::NoReply { .. } => fault(Kind::Provider, "cloud.no_reply").hint("Call again.").retry_after(AGAIN),
            TairError::Uncertain { .. } => fault(Kind::Uncertain, "cloud.uncertain")
                .hint("Look at the state before you call again: it may have taken effect.")
                .next(&["describe_jobs", "describe_instances"]),
            TairError::BadReply { .. } => fault(Kind::Provider, "cloud.bad_reply")
                .hint("Check that [tair] endpoint is Alibaba Cloud's, or a server of its API."),
            TairError::Cloud(cloud) => {
                let meaning = cloud.meaning();
                let fault = fault(meaning.kind, meaning.fault).hint(meaning.hint).next(meaning.next);
                // A token that has expired is renewed by us; what gets here could not be.
                match cloud.retry_after.or(meaning.retry.after()) {
                    Some(after) if meaning.retry != Retry::Never => fault.retry_after(after),
                    _ => fault,
                }
            }
        };
        made.because(e)
    }
}
