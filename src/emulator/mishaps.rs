//! Mishaps on demand: what a client of the cloud has to survive, played to it the next time it calls.
//!
//! They strike after the signature was judged, so that a stranger cannot use them up. What they pretend is pretended in
//! replies and states alone; backups and restores behind them are done in full.

use crate::emulator::answer::Refused;
use crate::model::fault::{Fault, Kind};
use crate::model::text::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// For `--help`.
pub const HELP: &str = "Mishaps, played to the next calls: --mishap KIND[,KEY=VALUE]...
  throttle             Throttling.User; with retry_after_ms=N the header x-acs-retry-after says so
  error                code=CODE, by default ServiceUnavailable; nothing was done
  error_after          code=CODE, by default InternalError; the call was carried out
  cut                  the connection is cut; nothing was done
  cut_after            the connection is cut; the call was carried out
  slow                 seconds=N: the job or status that the call begins takes at least so long (CreateBackup,
                       RestoreInstance, CreateInstance, CreateTairInstance)
  daily_limit          BackupTimesExceeded on CreateBackup
  backup_job_exists    BackupJobExists on CreateBackup
  expired_token        InvalidSecurityToken.Expired
Keys: action=NAME (any action without it), times=N (1 without it), code=CODE, status=N (the published one without it),
retry_after_ms=N, seconds=N. Example: --mishap error_after,action=CreateBackup,code=ServiceUnavailable
With --mishap-control they are also set while it runs, from this machine only: POST /mishaps with a JSON list such as
[{\"kind\":\"throttle\",\"action\":\"DescribeBackups\",\"times\":2}], GET /mishaps for those left, DELETE /mishaps.";

/// Mishaps waiting at most.
const MOST: usize = 1000;
/// Actions that begin something which can be slow.
const LONG: [&str; 4] = ["CreateBackup", "RestoreInstance", "CreateInstance", "CreateTairInstance"];

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Turned away for calling too often.
    Throttle,
    /// Refused before anything is done.
    Error,
    /// Carried out, and an error all the same.
    ErrorAfter,
    /// No reply, and nothing done.
    Cut,
    /// No reply, and carried out.
    CutAfter,
    /// The state that the call begins takes long.
    Slow,
    /// Too many backups today.
    DailyLimit,
    /// A backup runs already.
    BackupJobExists,
    /// The STS token has expired.
    ExpiredToken,
}

fn once() -> u32 {
    1
}

/// One mishap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mishap {
    /// Its kind.
    pub kind: What,
    /// The action it strikes; any without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How many calls it strikes.
    #[serde(default = "once")]
    pub times: u32,
    /// The code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What `x-acs-retry-after` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// How long a slow state lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl Mishap {
    /// Reads `kind,key=value,…`.
    ///
    /// # Errors
    /// What is wrong, with the nearest right word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Map::new();
        for (n, part) in text.split(',').enumerate() {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None if n == 0 => ("kind", part.trim()),
                None => return Err(format!("{part} is not key=value")),
            };
            let value = value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from);
            fields.insert(key.to_owned(), value);
        }
        Self::read(Value::Object(fields))
    }

    /// Reads one out of JSON.
    ///
    /// # Errors
    /// As [`Mishap::parse`].
    pub fn read(json: Value) -> Result<Self, String> {
        let mishap: Self = serde_json::from_value(json).map_err(|e| {
            let message = e.to_string();
            let mut words = message.split('`').skip(1).step_by(2);
            match words.next().and_then(|word| nearest(word, words)) {
                Some(near) => format!("{message}; did you mean {near}?"),
                None => message.clone(),
            }
        })?;
        if mishap.status.is_some_and(|s| !(400..=599).contains(&s)) {
            return Err("status must be between 400 and 599".into());
        }
        let begins = |action: &str| LONG.iter().any(|long| long.eq_ignore_ascii_case(action));
        if let (What::Slow, Some(action)) = (mishap.kind, mishap.action.as_deref())
            && !begins(action)
        {
            return Err(format!("slow is for {}: nothing else begins what can last", LONG.join(", ")));
        }
        Ok(mishap)
    }

    fn strikes(&self, action: &str) -> bool {
        let only = match self.kind {
            What::DailyLimit | What::BackupJobExists => Some("CreateBackup"),
            _ => None,
        };
        self.action.as_deref().or(only).is_none_or(|a| a.eq_ignore_ascii_case(action))
    }

    fn refusal(&self) -> Refused {
        let code = match self.kind {
            What::Throttle => "Throttling.User",
            What::ErrorAfter => "InternalError",
            What::DailyLimit => "BackupTimesExceeded",
            What::BackupJobExists => "BackupJobExists",
            What::ExpiredToken => "InvalidSecurityToken.Expired",
            _ => "ServiceUnavailable",
        };
        let mut refused = Refused::new(self.code.as_deref().unwrap_or(code));
        refused.status = self.status.unwrap_or(refused.status);
        refused.retry_after = self.retry_after_ms;
        refused
    }
}

/// What a mishap does to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Struck {
    /// It is refused.
    Refused(Refused),
    /// It gets no reply.
    Cut,
}

/// Those still to come.
#[derive(Debug, Default)]
pub struct Mishaps(Mutex<Vec<Mishap>>);

impl Mishaps {
    /// Adds some, or none of them.
    ///
    /// # Errors
    /// There would be too many.
    pub fn add(&self, mut more: Vec<Mishap>) -> Result<(), String> {
        more.retain(|m| m.times > 0);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() + more.len() > MOST {
            return Err(format!("more than {MOST} mishaps would be waiting"));
        }
        all.extend(more);
        Ok(())
    }

    /// Those left.
    pub fn left(&self) -> Vec<Mishap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// None any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self, action: &str, of: impl Fn(What) -> bool) -> Option<Mishap> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mishap = all.iter_mut().find(|m| of(m.kind) && m.strikes(action))?;
        mishap.times -= 1;
        let taken = mishap.clone();
        all.retain(|m| m.times > 0);
        tracing::info!(action, kind = ?taken.kind, "a mishap strikes");
        Some(taken)
    }

    /// Before a call is carried out.
    pub fn before(&self, action: &str) -> Option<Struck> {
        let kinds = |k| !matches!(k, What::ErrorAfter | What::CutAfter | What::Slow);
        self.take(action, kinds).map(|m| if m.kind == What::Cut { Struck::Cut } else { Struck::Refused(m.refusal()) })
    }

    /// After it was.
    pub fn after(&self, action: &str) -> Option<Struck> {
        self.take(action, |k| matches!(k, What::ErrorAfter | What::CutAfter))
            .map(|m| if m.kind == What::CutAfter { Struck::Cut } else { Struck::Refused(m.refusal()) })
    }

    /// For how long a state that a call begins is to last at least.
    pub fn hold(&self, action: &str) -> Duration {
        self.take(action, |k| k == What::Slow).map_or(Duration::ZERO, |m| Duration::from_secs(m.seconds.unwrap_or(5)))
    }
}

/// Reads what stands on the command line.
///
/// # Errors
/// `emulator.mishap`.
pub fn read_all(texts: &[String]) -> Result<Vec<Mishap>, Fault> {
    texts
        .iter()
        .map(|text| {
            Mishap::parse(text).map_err(|why| {
                Fault::new(Kind::Usage, "emulator.mishap", format!("--mishap {text}: {why}"))
                    .hint("`tair-backup-mcp emulate --help` describes them.")
            })
        })
        .collect()
}
