//! How far work is and how long it takes: shares that never say too much, and estimates that say what they are from.
//!
//! Figures only; which earlier work is like the present one is for others to say. Nothing is invented: what is not known says so.

use crate::model::job::{Job, JobStatus};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most earlier jobs that an estimate is from: the latest.
const EARLIER: usize = 3;
/// Data smaller than this takes the same time, whatever its size.
const SMALL: u64 = 16 << 20;
/// How many times as large or as small the data of an earlier job may have been: beyond that it says nothing.
const LIKE: u64 = 4;

/// Per cent of the bytes done of work that is not over: never 100, for what follows the last byte takes its time too. `None` while the
/// total is unknown. Where the total is only expected, more may be done.
#[must_use]
pub fn percent(done: u64, total: u64) -> Option<u8> {
    let whole = u128::from(done) * 100;
    whole.checked_div(u128::from(total)).map(|share| u8::try_from(share).unwrap_or(u8::MAX).min(99))
}

/// Per cent of a job: 100 once it has succeeded, [`percent`] while it runs; `None` where that is unknown, or it has failed.
#[must_use]
pub fn percent_of(job: &Job) -> Option<u8> {
    match job.status {
        JobStatus::Succeeded => Some(100),
        JobStatus::Running => percent(job.done, job.total),
        JobStatus::Failed | JobStatus::Uncertain => None,
    }
}

/// How long a job took, to the millisecond; `None` while it runs.
#[must_use]
pub fn duration_of(job: &Job) -> Option<Duration> {
    let millis = job.finished_at?.as_millisecond().saturating_sub(job.created_at.as_millisecond());
    // A clock that was set back has measured nothing.
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// What an earlier job took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// Bytes of its data; `None` where nobody has told.
    pub bytes: Option<u64>,
    /// From its beginning to its end.
    pub time: Duration,
}

impl Took {
    /// What a job with so many bytes of data took; `None` where it has not succeeded.
    #[must_use]
    pub fn of(job: &Job, bytes: Option<u64>) -> Option<Self> {
        let time = duration_of(job).filter(|_| job.status == JobStatus::Succeeded)?;
        Some(Self { bytes: bytes.filter(|n| *n > 0), time })
    }

    /// Milliseconds that so many bytes would have taken at that rate; `None` where one says nothing of the other.
    fn millis_for(&self, bytes: Option<u64>) -> Option<u64> {
        let millis = self.time.as_millis();
        let scaled = match (self.bytes, bytes) {
            (Some(then), Some(now)) => {
                let (then, now) = (then.max(SMALL), now.max(SMALL));
                if then / LIKE > now || now / LIKE > then {
                    return None;
                }
                millis.saturating_mul(u128::from(now)) / u128::from(then)
            }
            (None, None) => millis,
            (Some(_), None) | (None, Some(_)) => return None,
        };
        u64::try_from(scaled).ok()
    }
}

/// How long work takes, about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Seconds from the beginning to the end, at least 1; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What the estimate is from, such as `last 3 restores` or `size`; or why there is none.
    pub from: String,
    /// What clients see while the work goes on; empty where they see nothing of it that has to be told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meanwhile: String,
}

impl Estimate {
    /// From the latest of what earlier jobs took, newest first, and so many seconds that they did not need; `None` where none of
    /// them says anything. `noun`: what such a job is called.
    #[must_use]
    pub fn by_earlier(noun: &str, bytes: Option<u64>, more: u64, earlier: &[Took]) -> Option<Self> {
        let like: Vec<u64> = earlier.iter().filter_map(|took| took.millis_for(bytes)).take(EARLIER).collect();
        let count = u64::try_from(like.len()).ok().filter(|count| *count > 0)?;
        let sum = like.into_iter().fold(0, u64::saturating_add);
        let from = match count {
            1 => format!("last {noun}"),
            n => format!("last {n} {noun}s"),
        };
        Some(Self::of((sum / count).div_ceil(1000).saturating_add(more), from))
    }

    /// From the size of the data alone, and rates that were measured elsewhere.
    #[must_use]
    pub fn by_size(seconds: u64) -> Self {
        Self::of(seconds, "size".to_owned())
    }

    /// That nothing is known: there was no such job before, or none that says anything of this one.
    #[must_use]
    pub fn unknown(noun: &str) -> Self {
        let from = format!("not known yet: no earlier {noun} of this instance tells");
        Self { seconds: None, from, meanwhile: String::new() }
    }

    fn of(seconds: u64, from: String) -> Self {
        Self { seconds: Some(seconds.max(1)), from, meanwhile: String::new() }
    }

    /// The estimate, for a reader, as the end of a sentence that begins with what takes that long.
    #[must_use]
    pub fn describe(&self) -> String {
        let time = match self.seconds {
            Some(seconds) => format!("about {}, estimated from {}", spoken(seconds), self.from),
            None => self.from.clone(),
        };
        if self.meanwhile.is_empty() { time } else { format!("{time}; meanwhile {}", self.meanwhile) }
    }
}

/// A number of seconds for people, rounded up to what matters.
fn spoken(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    //! A share never says that work is over which is not; an estimate is from what is like the work, and says from what.
    use super::{Estimate, SMALL, Took, percent};
    use std::time::Duration;

    const GIB: u64 = 1 << 30;

    fn took(bytes: Option<u64>, millis: u64) -> Took {
        Took { bytes, time: Duration::from_millis(millis) }
    }

    #[test]
    fn a_share_stays_below_100() {
        for (done, total, share) in [
            (0, 0, None),
            (7, 0, None),
            (0, 3, Some(0)),
            (1, 3, Some(33)),
            (3, 3, Some(99)),
            (9, 3, Some(99)),
            (u64::MAX, 1, Some(99)),
            (u64::MAX - 1, u64::MAX, Some(99)),
        ] {
            assert_eq!(percent(done, total), share, "{done} of {total}");
        }
    }

    #[test]
    fn the_latest_that_are_like_it_tell() {
        let by = |bytes, more, earlier: &[Took]| {
            Estimate::by_earlier("restore", bytes, more, earlier).map(|e| (e.seconds, e.from))
        };
        assert_eq!(by(Some(GIB), 0, &[]), None);
        // The rate counts, not the time.
        let one = [took(Some(GIB / 2), 10_000)];
        assert_eq!(by(Some(GIB), 0, &one), Some((Some(20), "last restore".to_owned())));
        assert_eq!(by(Some(GIB), 5, &one), Some((Some(25), "last restore".to_owned())));
        // Three of them, rounded up; the fourth is older, and the tiny one says nothing of a gigabyte.
        let many = [
            took(Some(1000), 100),
            took(Some(GIB), 10_000),
            took(Some(GIB), 20_000),
            took(Some(GIB), 31_000),
            took(Some(GIB), 900_000),
        ];
        assert_eq!(by(Some(GIB), 0, &many), Some((Some(21), "last 3 restores".to_owned())));
        assert_eq!(by(Some(GIB), 0, &many[..1]), None);
        // Of small data the time counts.
        assert_eq!(by(Some(1), 0, &[took(Some(SMALL), 2_500)]), Some((Some(3), "last restore".to_owned())));
        // What nobody knows the size of is like its like alone.
        assert_eq!(
            by(None, 0, &[took(Some(GIB), 10), took(None, 60_000)]),
            Some((Some(60), "last restore".to_owned()))
        );
        assert_eq!(by(Some(GIB), 0, &[took(None, 60_000)]), None);
    }

    #[test]
    fn an_estimate_says_from_what() {
        assert_eq!(Estimate::by_size(0).describe(), "about 1 s, estimated from size");
        let told = Estimate { meanwhile: "clients see nothing".into(), ..Estimate::by_size(150) };
        assert_eq!(told.describe(), "about 3 min, estimated from size; meanwhile clients see nothing");
        assert_eq!(Estimate::by_size(7201).describe(), "about 3 h, estimated from size");
        let unknown = Estimate::unknown("restore");
        assert_eq!(unknown.describe(), "not known yet: no earlier restore of this instance tells");
        assert_eq!(serde_json::to_value(&unknown).ok(), Some(serde_json::json!({ "from": unknown.from })));
    }
}
