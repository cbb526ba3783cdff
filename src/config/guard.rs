//! `[guard]`: the operator's rules for acts that need a yes.

use crate::config::wrong::out_of_range;
use serde::{Deserialize, Serialize};

/// Who has to say yes to a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationPolicy {
    /// A person, through a channel the model does not control.
    #[default]
    Person,
    /// Nobody: echoing the token is enough. An operator's choice, said in every reply.
    Token,
}

impl ConfirmationPolicy {
    /// The policy in replies, as written in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Token => "token",
        }
    }
}

/// `[guard]`: the operator's rules for acts that need a yes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Who has to say yes.
    pub confirmation: ConfirmationPolicy,
    /// Writes per second above which a restore is blocked; `None`: never.
    pub max_writes_per_second: Option<f64>,
    /// Minutes a confirmation token is good for.
    pub token_minutes: u32,
    /// Days that a safety backup is kept.
    pub safety_retention_days: u32,
    /// Seconds that a plan spends on what becomes of keys, at most; 0: none.
    pub impact_seconds: u32,
    /// Megabytes on this machine's disk that the tail of a restore takes at most.
    pub tail_megabytes: u32,
    /// Whether a set without a signature is refused where one is restored.
    pub require_signed: bool,
}

impl GuardConfig {
    /// Checks what was read.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub(super) fn check(self) -> Result<Self, String> {
        if let Some(most) = self.max_writes_per_second.filter(|most| !most.is_finite() || *most < 0.0) {
            return Err(format!(
                "guard.max_writes_per_second is {most}, and must be 0 or more; write max_writes_per_second = 100, or leave it out"
            ));
        }
        let usual = Self::default();
        for (key, value, least, most, usual) in [
            ("token_minutes", self.token_minutes, 1, 1440, usual.token_minutes),
            ("safety_retention_days", self.safety_retention_days, 1, 3650, usual.safety_retention_days),
            ("impact_seconds", self.impact_seconds, 0, 3600, usual.impact_seconds),
            ("tail_megabytes", self.tail_megabytes, 1, 1 << 24, usual.tail_megabytes),
        ] {
            if !(least..=most).contains(&value) {
                return Err(out_of_range("guard.", key, value, (least, most), usual));
            }
        }
        Ok(self)
    }

    /// Bytes that the tail of a restore takes at most.
    #[must_use]
    pub const fn tail_bytes(&self) -> u64 {
        (self.tail_megabytes as u64) << 20
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            confirmation: ConfirmationPolicy::Person,
            max_writes_per_second: None,
            token_minutes: 15,
            safety_retention_days: 7,
            impact_seconds: 20,
            tail_megabytes: 4096,
            require_signed: false,
        }
    }
}
