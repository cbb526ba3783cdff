//! Commands of a replication stream that say when something expires, and where they say it.
//!
//! A command that is not here has no expiry; it must not be guessed from what an argument looks like.

/// From when a time counts, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    /// Milliseconds of a unit.
    pub(super) unit: i64,
    /// Whether the time counts from when the command runs.
    pub(super) relative: bool,
}

pub(super) const MILLIS: Time = Time { unit: 1, relative: false };
pub(super) const SECONDS: Time = Time { unit: 1000, relative: false };
pub(super) const IN_MILLIS: Time = Time { unit: 1, relative: true };
pub(super) const IN_SECONDS: Time = Time { unit: 1000, relative: true };

/// Where a command has its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nowhere, or behind a word that is not known.
    None,
    /// As its second argument; the command's name with a time in milliseconds.
    Second(Time, &'static str),
    /// Behind an option, from this argument on, up to the word FIELDS.
    Option { from: u64 },
    /// Behind an option, which follows so many pairs as the first argument says.
    Pairs,
    /// As the second argument of SETEX: becomes an option of SET.
    SetEx(Time),
    /// RESTORE: as its second argument, and in the payload.
    Restore,
    /// HPERSIST, which takes times away.
    Persist,
}

impl Form {
    /// Where a command of this name, in upper case, has its time.
    pub(super) fn of(name: &[u8], relative: bool) -> Self {
        match name {
            b"PEXPIREAT" => Self::Second(MILLIS, "PEXPIREAT"),
            b"EXPIREAT" => Self::Second(SECONDS, "PEXPIREAT"),
            b"HPEXPIREAT" => Self::Second(MILLIS, "HPEXPIREAT"),
            b"HEXPIREAT" => Self::Second(SECONDS, "HPEXPIREAT"),
            b"PEXPIRE" if relative => Self::Second(IN_MILLIS, "PEXPIREAT"),
            b"EXPIRE" if relative => Self::Second(IN_SECONDS, "PEXPIREAT"),
            b"PSETEX" if relative => Self::SetEx(IN_MILLIS),
            b"SETEX" if relative => Self::SetEx(IN_SECONDS),
            b"SET" => Self::Option { from: 3 },
            b"GETEX" | b"HSETEX" | b"HGETEX" => Self::Option { from: 2 },
            b"MSETEX" => Self::Pairs,
            b"RESTORE" | b"RESTORE-ASKING" => Self::Restore,
            b"HPERSIST" => Self::Persist,
            _ => Self::None,
        }
    }
}
