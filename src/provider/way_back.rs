//! The way back in what is said of a restore that failed.

use crate::model::fault::Fault;

/// Says how to get back, whatever went wrong; `back` is the call that does it, and empty where there is no safety backup.
pub(crate) fn with_way_back(fault: Fault, back: &str) -> Fault {
    let hint = hint_with_way_back(&fault.hint, back);
    fault.hint(hint)
}

/// A hint, and after it the call that restores what was there before; the hint alone where there is none.
pub(crate) fn hint_with_way_back(hint: &str, back: &str) -> String {
    if back.is_empty() {
        return hint.to_owned();
    }
    format!("{hint} What was there before is in the safety backup: {back}.").trim().to_owned()
}
