//! Fault injection: failures that a client of the cloud has to survive, injected into its next calls on demand.
//!
//! Faults are injected after the signature was verified, so that a stranger cannot use them up. They change replies and states
//! alone; backups and restores are done in full.

use crate::emulator::answer::Refused;
use crate::model::fault::{Fault, Kind};
use crate::model::text::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The description of faults, for `--help`.
pub const HELP: &str = "Faults, injected into the next calls: --fault KIND[,KEY=VALUE]...
  throttle             Throttling.User; with retry_after_ms=N the header x-acs-retry-after says so
  error                code=CODE, by default ServiceUnavailable; nothing was done
  error_after          code=CODE, by default InternalError; the call was carried out
  cut                  the connection is cut; nothing was done
  cut_after            the connection is cut; the call was carried out
  slow                 seconds=N: the job, task or status that the call begins takes at least so long (CreateBackup,
                       RestoreInstance, CreateInstance, CreateTairInstance, LockDBInstanceWrite, UnlockDBInstanceWrite)
  task_fails           the task that the call begins fails, and nothing is done (LockDBInstanceWrite, UnlockDBInstanceWrite)
  daily_limit          BackupTimesExceeded on CreateBackup
  backup_job_exists    BackupJobExists on CreateBackup
  expired_token        InvalidSecurityToken.Expired
Keys: action=NAME (any action without it), times=N (1 without it), code=CODE, status=N (the published one without it),
retry_after_ms=N, seconds=N. Example: --fault error_after,action=CreateBackup,code=ServiceUnavailable
With --fault-control they are also set while it runs, from this machine only: POST /faults with a JSON list such as
[{\"kind\":\"throttle\",\"action\":\"DescribeBackups\",\"times\":2}], GET /faults for those left, DELETE /faults.";

/// Most faults waiting to be injected.
const MAX_WAITING: usize = 1000;
/// Actions that begin a job, task or state which can be slow.
const SLOW_ACTIONS: [&str; 6] = [
    "CreateBackup",
    "RestoreInstance",
    "CreateInstance",
    "CreateTairInstance",
    "LockDBInstanceWrite",
    "UnlockDBInstanceWrite",
];
/// Actions that begin a task which can fail.
const TASK_ACTIONS: [&str; 2] = ["LockDBInstanceWrite", "UnlockDBInstanceWrite"];

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The call is refused for calling too often.
    Throttle,
    /// The call is refused before anything is done.
    Error,
    /// The call is carried out, and answered with an error.
    ErrorAfter,
    /// Nothing is done, and the connection is cut without a reply.
    Cut,
    /// The call is carried out, and the connection is cut without a reply.
    CutAfter,
    /// The job, task or state that the call begins lasts long.
    Slow,
    /// The task that the call begins fails, and nothing is done.
    TaskFails,
    /// The call is refused because of too many backups today.
    DailyLimit,
    /// The call is refused because a backup runs already.
    BackupJobExists,
    /// The call is refused because the STS token has expired.
    ExpiredToken,
}

fn once() -> u32 {
    1
}

/// A fault to be injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedFault {
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The action into whose calls the fault is injected; any action where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Number of calls into which the fault is injected.
    #[serde(default = "once")]
    pub times: u32,
    /// The code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds for the header `x-acs-retry-after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// How long a slow job or state lasts at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl InjectedFault {
    /// Parses `kind,key=value,…`.
    ///
    /// # Errors
    /// What is wrong, with the nearest name that would be right.
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

    /// Parses a fault from JSON.
    ///
    /// # Errors
    /// As [`InjectedFault::parse`].
    pub fn read(json: Value) -> Result<Self, String> {
        let fault: Self = serde_json::from_value(json).map_err(|e| {
            let message = e.to_string();
            let mut named = message.split('`').skip(1).step_by(2);
            match named.next().and_then(|given| nearest(given, named)) {
                Some(near) => format!("{message}; did you mean {near}?"),
                None => message.clone(),
            }
        })?;
        if fault.status.is_some_and(|s| !(400..=599).contains(&s)) {
            return Err("status must be between 400 and 599".into());
        }
        let begins = |actions: &[&str]| {
            fault.action.as_deref().is_none_or(|action| actions.iter().any(|a| a.eq_ignore_ascii_case(action)))
        };
        match fault.kind {
            FaultKind::Slow if !begins(&SLOW_ACTIONS) => {
                return Err(format!("slow is for {}: nothing else begins what can last", SLOW_ACTIONS.join(", ")));
            }
            FaultKind::TaskFails if !begins(&TASK_ACTIONS) => {
                return Err(format!("task_fails is for {}: nothing else begins a task", TASK_ACTIONS.join(" and ")));
            }
            _ => {}
        }
        Ok(fault)
    }

    fn applies_to(&self, action: &str) -> bool {
        let only = match self.kind {
            FaultKind::DailyLimit | FaultKind::BackupJobExists => Some("CreateBackup"),
            _ => None,
        };
        self.action.as_deref().or(only).is_none_or(|a| a.eq_ignore_ascii_case(action))
    }

    fn refusal(&self) -> Refused {
        let code = match self.kind {
            FaultKind::Throttle => "Throttling.User",
            FaultKind::ErrorAfter => "InternalError",
            FaultKind::DailyLimit => "BackupTimesExceeded",
            FaultKind::BackupJobExists => "BackupJobExists",
            FaultKind::ExpiredToken => "InvalidSecurityToken.Expired",
            _ => "ServiceUnavailable",
        };
        let mut refused = Refused::new(self.code.as_deref().unwrap_or(code));
        refused.status = self.status.unwrap_or(refused.status);
        refused.retry_after = self.retry_after_ms;
        refused
    }
}

/// The effect of an injected fault on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injected {
    /// The call is refused.
    Refused(Refused),
    /// The connection is cut without a reply.
    Cut,
}

/// The faults still to be injected.
#[derive(Debug, Default)]
pub struct FaultInjection(Mutex<Vec<InjectedFault>>);

impl FaultInjection {
    /// Adds all of the faults, or none.
    ///
    /// # Errors
    /// There would be too many.
    pub fn add(&self, mut more: Vec<InjectedFault>) -> Result<(), String> {
        more.retain(|m| m.times > 0);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() + more.len() > MAX_WAITING {
            return Err(format!("more than {MAX_WAITING} faults would be waiting"));
        }
        all.extend(more);
        Ok(())
    }

    /// The faults not injected yet.
    pub fn left(&self) -> Vec<InjectedFault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self, action: &str, matches: impl Fn(FaultKind) -> bool) -> Option<InjectedFault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = all.iter_mut().find(|m| matches(m.kind) && m.applies_to(action))?;
        fault.times -= 1;
        let taken = fault.clone();
        all.retain(|m| m.times > 0);
        tracing::info!(action, kind = ?taken.kind, "a fault is injected");
        Some(taken)
    }

    /// The fault for a call that is not carried out yet.
    pub fn before(&self, action: &str) -> Option<Injected> {
        use FaultKind::{CutAfter, ErrorAfter, Slow, TaskFails};
        let kinds = |k| !matches!(k, ErrorAfter | CutAfter | Slow | TaskFails);
        self.take(action, kinds)
            .map(|m| if m.kind == FaultKind::Cut { Injected::Cut } else { Injected::Refused(m.refusal()) })
    }

    /// The fault for a call that was carried out.
    pub fn after(&self, action: &str) -> Option<Injected> {
        self.take(action, |k| matches!(k, FaultKind::ErrorAfter | FaultKind::CutAfter))
            .map(|m| if m.kind == FaultKind::CutAfter { Injected::Cut } else { Injected::Refused(m.refusal()) })
    }

    /// Whether the task that a call begins has to fail.
    pub fn task_fails(&self, action: &str) -> bool {
        self.take(action, |k| k == FaultKind::TaskFails).is_some()
    }

    /// How long the job, task or state that a call begins has to last at least.
    pub fn delay(&self, action: &str) -> Duration {
        self.take(action, |k| k == FaultKind::Slow)
            .map_or(Duration::ZERO, |m| Duration::from_secs(m.seconds.unwrap_or(5)))
    }
}

/// Parses the faults of the command line.
///
/// # Errors
/// `emulator.mishap`.
pub fn read_all(texts: &[String]) -> Result<Vec<InjectedFault>, Fault> {
    texts
        .iter()
        .map(|text| {
            InjectedFault::parse(text).map_err(|why| {
                Fault::new(Kind::Usage, "emulator.mishap", format!("--fault {text}: {why}"))
                    .hint("`tair-backup-mcp emulate --help` describes them.")
            })
        })
        .collect()
}
