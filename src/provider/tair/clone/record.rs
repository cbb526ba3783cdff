//! The recovery record of an order, and what is said where it is not known whether an instance was made of it.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{RecoveryKind, StoredRecovery};
use crate::model::text::clean;
use crate::provider::jobs::Recoverable;
use crate::provider::tair::clone::order::Stored;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a later process needs to go on with an order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// When the order was written down, right before it was sent.
    pub ordered_at: Timestamp,
    /// The order itself, with its token.
    pub order: Stored,
    /// Whether an attempt at the order had no reply: then there may be an instance, whatever later attempts are answered.
    #[serde(default)]
    pub uncertain: bool,
    /// The new instance, once the cloud has named it.
    pub new_instance_id: Option<String>,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudClone;
}

/// Whether a record is of an order that may have been sent and was not answered: going on with it is ordering again.
pub fn is_unanswered(stored: Option<&StoredRecovery>) -> bool {
    matches!(Record::read(stored), Ok(Some(record)) if record.new_instance_id.is_none())
}

/// The hint where it is not known whether an instance was made.
pub const MAY_BE: &str = "A new instance may exist and be billed: look with describe_instances, and release it in the console if it is not wanted.";

/// The fault of an order that had no reply, with the latest answer. Its recovery record is still needed.
pub fn may_be(last: &str) -> Fault {
    let message = format!(
        "an attempt at the order had no reply, so a new instance may exist and be billed; the last attempt: {last}"
    );
    Fault::new(Kind::Uncertain, "clone.uncertain", message).hint(MAY_BE).next(&["describe_instances"])
}

/// The next step after a failed clone that is reconciled.
pub fn reconciled_hint(record: Option<&StoredRecovery>, hint: &str) -> String {
    match Record::read(record) {
        Ok(Some(Record { new_instance_id: Some(new), .. })) => {
            format!("New instance {} is billed (PostPaid) until somebody releases it. {hint}", clean(&new))
        }
        Ok(Some(_)) | Err(_) if !hint.contains(MAY_BE) => format!("{MAY_BE} {hint}"),
        _ => hint.to_owned(),
    }
}
