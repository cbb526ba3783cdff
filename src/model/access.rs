//! As whom and where a cloud is called. What was begun in one account, region or endpoint is nobody else's to go on with.

use serde::{Deserialize, Serialize};
use std::fmt;

/// As whom and where calls of a cloud go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Id of the account; where nobody tells the account, the access key's own id, or where temporary keys come from.
    pub account: String,
    /// Id of the user or role within the account; where nobody tells it, what stands for the account.
    pub principal: String,
    /// Region whose instances are called.
    pub region: String,
    /// Address that calls go to.
    pub endpoint: String,
}

impl Access {
    /// Whether calls by this access reach what was begun by that one. Another user of the account does.
    #[must_use]
    pub fn reaches_same(&self, other: &Self) -> bool {
        self.account == other.account && self.region == other.region && self.endpoint == other.endpoint
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}, region {} at {}", self.account, self.region, self.endpoint)
    }
}
