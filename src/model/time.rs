//! Time: UTC only, read leniently in the forms agents send and people type, written in one form, `yyyy-MM-ddTHH:mm:ssZ`; of a log with
//! milliseconds.

use crate::model::fault::{Fault, Kind};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};

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

/// What a time may be that is not written out, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The beginning of a range: of a day its first moment.
    From,
    /// The end of a range: of a day its last millisecond.
    UpTo,
    /// One moment: a day is none.
    Moment,
    /// One moment that several calls name: only what is written out is the same with every one of them.
    Fixed,
}

/// What a text means that is no time written out.
enum Meant {
    Moment(Timestamp),
    Day { first: Timestamp, last: Timestamp },
}

/// Reads a time to the millisecond: whatever [`parse`] reads; `now`, or a distance such as `2h ago`, to the second; a date alone, `today` or
/// `yesterday`, as days of UTC.
///
/// # Errors
/// `time.bad_format`: it is no time, a day where one moment is meant, or nothing that a later call would mean the same by.
pub fn read(name: &str, text: &str, reading: Reading, now: Timestamp) -> Result<Timestamp, Fault> {
    let refused = |why: &str, hint: String| {
        let message = format!("{name}: {} {why}", super::text::quoted(text.trim()));
        Err(Fault::new(Kind::Usage, "time.bad_format", message).hint(hint))
    };
    match (meaning(text, now), reading) {
        (Some(Meant::Moment(at)), Reading::Fixed) => refused(
            "means another moment with every call",
            format!("Write it out, in both calls alike: {}.", written(at)),
        ),
        (Some(Meant::Moment(at)), _) => Ok(at),
        (Some(Meant::Day { first, .. }), Reading::From) => Ok(first),
        (Some(Meant::Day { last, .. }), Reading::UpTo) => Ok(last),
        (Some(Meant::Day { first, .. }), Reading::Moment | Reading::Fixed) => {
            let day = first.strftime("%Y-%m-%d");
            refused("is a whole day, and one moment of it is needed", format!("Add the time, UTC: {day}T06:15:00Z."))
        }
        (None, _) => parse_ms(name, text).map_err(|fault| {
            let more = match reading {
                Reading::From | Reading::UpTo => " Or a day: 2026-11-23, yesterday. Or a distance: 2h ago.",
                Reading::Moment => " Or a distance: 2h ago.",
                Reading::Fixed => "",
            };
            let hint = format!("{}{more}", fault.hint);
            fault.hint(hint)
        }),
    }
}

/// What a text means that is a word, a date or a distance; `None` for any other.
fn meaning(text: &str, now: Timestamp) -> Option<Meant> {
    let text = text.trim().to_ascii_lowercase();
    let to_second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let here = now.to_zoned(TimeZone::UTC);
    let date = match text.as_str() {
        "now" => return Some(Meant::Moment(to_second(now))),
        "today" => here.date(),
        "yesterday" => here.date().yesterday().ok()?,
        distance if distance.ends_with(" ago") => {
            let span: Span = distance.parse().ok()?;
            return Some(Meant::Moment(to_second(here.checked_add(span).ok()?.timestamp())));
        }
        date => Date::strptime("%Y-%m-%d", date).ok()?,
    };
    let first_of = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let last = first_of(date.tomorrow().ok()?)?.checked_sub(1.milliseconds()).ok()?;
    Some(Meant::Day { first: first_of(date)?, last })
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
    //! A moment is read and written to the millisecond, and never rounded up; what people type instead is read as days of UTC and distances.
    use super::{Reading, parse_ms, read, written, written_ms, written_short};

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

    #[test]
    fn days_and_distances_are_read() {
        let now = "2026-11-27T00:30:15.700Z".parse().unwrap();
        let of = |text: &str, reading| read("start_time", text, reading, now).map(written_short);
        for (text, reading, meant) in [
            ("yesterday", Reading::From, "2026-11-26T00:00:00Z"),
            (" Yesterday ", Reading::UpTo, "2026-11-26T23:59:59.999Z"),
            ("today", Reading::From, "2026-11-27T00:00:00Z"),
            ("2026-02-28", Reading::UpTo, "2026-02-28T23:59:59.999Z"),
            ("2h ago", Reading::Moment, "2026-11-26T22:30:15Z"),
            ("90 minutes ago", Reading::From, "2026-11-26T23:00:15Z"),
            ("1d ago", Reading::UpTo, "2026-11-26T00:30:15Z"),
            ("2 weeks ago", Reading::From, "2026-11-13T00:30:15Z"),
            ("now", Reading::UpTo, "2026-11-27T00:30:15Z"),
            ("2026-11-23T06:15:00.123Z", Reading::Fixed, "2026-11-23T06:15:00.123Z"),
        ] {
            assert_eq!(of(text, reading).unwrap(), meant, "{text}");
        }
        for (text, reading, told) in [
            ("yesterday", Reading::Moment, "2026-11-26T06:15:00Z"),
            ("2026-11-23", Reading::Fixed, "2026-11-23T06:15:00Z"),
            // The very time to write, so that the second call means the same.
            ("2h ago", Reading::Fixed, "2026-11-26T22:30:15Z"),
            ("now", Reading::Fixed, "2026-11-27T00:30:15Z"),
            ("soon", Reading::From, "yesterday"),
            ("h ago", Reading::Moment, "2h ago"),
            ("-2h ago", Reading::From, "2h ago"),
            ("1700000000", Reading::From, "2h ago"),
            ("2026-11-23T06:15:00", Reading::From, "2h ago"),
            ("", Reading::UpTo, "2h ago"),
        ] {
            let fault = of(text, reading).unwrap_err();
            assert_eq!(fault.code, "time.bad_format", "{text}");
            assert!(fault.hint.contains(told), "{text}: {}", fault.hint);
        }
    }
}
