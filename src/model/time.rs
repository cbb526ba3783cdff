//! Time: UTC only, read leniently in the forms agents send, written in one form, `yyyy-MM-ddTHH:mm:ssZ`; of a log with milliseconds.

use crate::model::fault::{Fault, Kind};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Writes a moment as `yyyy-MM-ddTHH:mm:ssZ`.
#[must_use]
pub fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The first whole second at or after a moment.
#[must_use]
pub fn up_to_second(at: Timestamp) -> Timestamp {
    let whole = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(whole).unwrap_or(at)
}

/// Writes the first whole second at or after a moment: [`written`] of a moment that must not be told too early.
#[must_use]
pub fn written_up(at: Timestamp) -> String {
    written(up_to_second(at))
}

/// Writes a moment as `yyyy-MM-ddTHH:mm:ss.SSSZ`.
#[must_use]
pub fn written_ms(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Writes a moment to the second, or to the millisecond where it is between two.
#[must_use]
pub fn written_short(at: Timestamp) -> String {
    if at.subsec_nanosecond() == 0 { written(at) } else { written_ms(at) }
}

/// Reads a moment as [`parse`] does, to the millisecond: what is finer is cut off.
///
/// # Errors
/// As [`parse`].
pub fn parse_ms(name: &str, text: &str) -> Result<Timestamp, Fault> {
    let at = parse(name, text)?;
    Ok(Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at))
}

/// Writes a moment for use in an id: `20261123T061500Z`.
#[must_use]
pub fn compact(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads `yyyy-MM-ddTHH:mmZ`, `yyyy-MM-ddTHH:mm:ssZ` or RFC 3339 with an offset.
///
/// # Errors
/// `time.bad_format`; a time without a zone is refused, because a guess would be off by hours.
pub fn parse(name: &str, text: &str) -> Result<Timestamp, Fault> {
    let trimmed = text.trim();
    if let Ok(at) = trimmed.parse::<Timestamp>() {
        return Ok(at);
    }
    let bad = |why: &str| {
        Fault::new(Kind::Usage, "time.bad_format", format!("{name}: {} {why}", super::text::quoted(trimmed)))
            .hint("Write times in UTC, like 2026-11-23T06:15Z or 2026-11-23T06:15:00Z; with another zone give its offset, like 2026-11-23T14:15:00+08:00.")
    };
    if let Ok(local) = trimmed.parse::<jiff::civil::DateTime>() {
        let utc = local.to_zoned(TimeZone::UTC).map(|z| written(z.timestamp())).unwrap_or_default();
        return Err(bad(&format!("has no time zone (if it is UTC, write {utc})")));
    }
    Err(bad("is not a time"))
}

/// How long ago `then` was, for people: `12s`, `4m`, `3h`, `5d`.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let s = now.as_second().saturating_sub(then.as_second()).max(0);
    match s {
        0..=119 => format!("{s}s"),
        120..=7199 => format!("{}m", s / 60),
        7200..=172_799 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A moment is read and written to the millisecond, and never rounded up.
    use super::{parse_ms, written, written_ms, written_short};

    #[test]
    fn milliseconds_are_kept_and_nothing_finer() {
        for (text, ms, short) in [
            ("2026-11-23T06:15:00Z", "2026-11-23T06:15:00.000Z", "2026-11-23T06:15:00Z"),
            ("2026-11-23T06:15Z", "2026-11-23T06:15:00.000Z", "2026-11-23T06:15:00Z"),
            ("2026-11-23T14:15:00.1239999+08:00", "2026-11-23T06:15:00.123Z", "2026-11-23T06:15:00.123Z"),
        ] {
            let at = parse_ms("restore_time", text).unwrap();
            assert_eq!((written_ms(at).as_str(), written_short(at).as_str()), (ms, short));
            assert_eq!(written(at), "2026-11-23T06:15:00Z");
        }
        assert_eq!(parse_ms("restore_time", "2026-11-23T06:15:00.123").unwrap_err().code, "time.bad_format");
    }
}
