//! One admitted request of the API: its action and parameters, who signed it, and the account.
//!
//! Each action parses its parameters itself, by the types of the wire.

use crate::emulator::account::Account;
use crate::emulator::answer::Refused;
use crate::model::caller::Caller;
use crate::tair::params::{Params, first};
use crate::tair::wire::Action;
use std::sync::Arc;

/// An admitted request.
pub struct ActionRequest<'a> {
    /// The account that the action works with.
    pub account: &'a Arc<Account>,
    /// The action's name.
    pub action: &'a str,
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The action's parameters.
    pub params: &'a Params,
    /// The host as the client names it: the endpoint, which also serves downloads.
    pub host: &'a str,
    /// Id of the access key that signed the request.
    pub access_key_id: &'a str,
    /// The request's own id.
    pub request_id: &'a str,
    /// The region that the request is for.
    pub region: String,
}

impl<'a> ActionRequest<'a> {
    /// A zone of the region.
    #[must_use]
    pub fn zone(&self) -> String {
        format!("{}-a", self.region)
    }

    /// The value of a parameter; `None` where it is missing or empty.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a str> {
        first(self.params, name).filter(|value| !value.is_empty())
    }

    /// Parses the action's parameters into their type.
    ///
    /// # Errors
    /// A mandatory parameter is missing, or one has a value of the wrong form.
    pub fn read<A: Action>(&self) -> Result<A, Refused> {
        Ok(A::from_params(self.params)?)
    }

    /// The caller, for the audit.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::signed(self.access_key_id)
    }
}
