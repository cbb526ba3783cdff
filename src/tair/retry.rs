//! What sending a call of the cloud's API again is good for, by what its error code means.

use std::time::Duration;

/// What sending the same call again is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: it fails again.
    Never,
    /// The call was turned away before anything was done: slow down and send it again.
    SlowDown,
    /// The server failed: a read may be sent again; whether a write took effect is not known.
    Transient,
    /// A copy of the request arrived before: a read may be sent again; a write may have taken effect.
    NonceUsed,
    /// Our clock is off: send it again with the server's time.
    Clock,
    /// The STS token has expired: send it again with a new one.
    NewToken,
    /// The instance is busy: look at its state, and send it again when it is ready.
    WhenReady,
    /// Nothing before tomorrow: the day's quota is used up.
    Tomorrow,
}

impl Retry {
    /// How long to wait before another call makes sense, when waiting alone may cure it.
    #[must_use]
    pub const fn after(self) -> Option<Duration> {
        match self {
            Self::Never | Self::NewToken => None,
            Self::SlowDown | Self::Transient | Self::NonceUsed | Self::Clock => Some(Duration::from_secs(5)),
            Self::WhenReady => Some(Duration::from_secs(30)),
            Self::Tomorrow => Some(Duration::from_secs(24 * 3600)),
        }
    }
}
