//! The guard: no data is overwritten or deleted, no protection lowered and no money spent without a person's yes.
//!
//! It judges facts that are handed to it and calls nobody but its [`ledger::Ledger`]. The way to a [`permit::Permit`],
//! which every overwriting call of a provider takes by value, is one street:
//!
//! [`act`] → [`survey`] with its [`checks`] → [`plan`] → [`token`] (first call) … token verified → surveyed again → the person's [`person::Yes`]
//! → [`permit::redeem`], which spends the token atomically → `Permit`.
//!
//! What the guard cannot do: an agent with a shell and the instance's credentials needs no tool of ours to destroy data,
//! and one that can drive a pseudo-terminal as the same user can type into `approve`. Keep credentials out of the
//! agent's reach, and run the server as a user the agent is not, where that matters.

pub mod act;
pub mod checks;
pub mod cloud_checks;
pub mod grant;
pub mod ledger;
pub mod permit;
pub mod person;
pub mod plan;
pub mod survey;
pub mod token;
