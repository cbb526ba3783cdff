//! The operator's rules that a plan is made under.

use crate::config::guard::ConfirmationPolicy;
use serde::{Deserialize, Serialize};

/// The operator's rules. They are part of a plan: editing them voids the plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Who has to say yes.
    pub confirmation: ConfirmationPolicy,
    /// Writes per second above which a restore is blocked; `None`: never, for the person is told of the writes.
    pub max_writes_per_second: Option<f64>,
}
