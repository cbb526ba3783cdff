//! Whether a failed call is sent again, and when: by the error's code, never by the HTTP status; a write only where it is certain that nothing was
//! done.

use crate::tair::attempt::Failure;
use crate::tair::client::{Client, unreadable};
use crate::tair::error::TairError;
use crate::tair::retry::Retry;
use std::time::Duration;

/// What to do after a failure.
pub(super) enum Next {
    GiveUp(TairError),
    Again(Duration),
    /// Again with the server's clock.
    Clock(TairError),
    /// Again with new credentials.
    Renew(TairError),
}

impl Client {
    /// Decides what follows such a failure of an action, after so many attempts; `writes`: the action changes something.
    pub(super) fn after_failure(&self, failure: Failure, action: &str, writes: bool, attempts: u32) -> Next {
        let action = action.to_owned();
        let retries = self.account.retries;
        let doubled = retries.first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(retries.longest);
        let again = |wait: Duration, e: TairError| {
            if attempts >= retries.attempts || wait > retries.longest { Next::GiveUp(e) } else { Next::Again(wait) }
        };
        match failure {
            Failure::Setup(e) => Next::GiveUp(e),
            Failure::NotSent(why) => {
                let host = self.endpoint.host_str().unwrap_or_default().to_owned();
                again(jittered(doubled), TairError::Unreachable { host, why })
            }
            Failure::NoReply(why) if writes => Next::GiveUp(TairError::Uncertain { action, why }),
            Failure::NoReply(why) => again(jittered(doubled), TairError::NoReply { action, why }),
            Failure::Foreign(why) => Next::GiveUp(unreadable(&action, writes, why)),
            Failure::Cloud(e, date) => {
                let (retry, asked) = (e.meaning().retry, e.retry_after);
                let wait = asked.unwrap_or_else(|| jittered(doubled));
                // Whatever is not a refusal for certain may be a failure after the deed.
                if writes && !e.is_refusal() {
                    return Next::GiveUp(TairError::Uncertain { action, why: e.to_string() });
                }
                match retry {
                    Retry::SlowDown => {
                        self.account.limiter.pause(wait.min(retries.longest));
                        again(wait, TairError::Cloud(e))
                    }
                    Retry::Transient | Retry::NonceUsed if writes => {
                        Next::GiveUp(TairError::Uncertain { action, why: e.to_string() })
                    }
                    Retry::Transient | Retry::NonceUsed => again(wait, TairError::Cloud(e)),
                    Retry::Clock if date.is_some() => Next::Clock(TairError::Cloud(e)),
                    Retry::Clock => Next::GiveUp(TairError::Cloud(e)),
                    Retry::NewToken => Next::Renew(TairError::Cloud(e)),
                    // A server that failed may answer the next time, whatever it calls the failure.
                    _ if e.status >= 500 => again(wait, TairError::Cloud(e)),
                    Retry::Never | Retry::WhenReady | Retry::Tomorrow => Next::GiveUp(TairError::Cloud(e)),
                }
            }
        }
    }
}

/// Between a half and all of it, so that clients turned away together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let [byte] = crate::model::ids::random::<1>().unwrap_or([128]);
    wait.mul_f64(0.5 + f64::from(byte) / 510.0)
}
