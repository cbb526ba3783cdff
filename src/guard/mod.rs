//! The guard: no data is overwritten or deleted, no protection lowered and no costly order placed without a person's yes.
//!
//! The guard judges the [`facts`] it is given and calls nobody but its [`ledger::Ledger`]. There is one way to a
//! [`permit::Permit`], which every act of a provider takes by value, and to the [`grant::Grant`] that every primitive below takes:
//!
//! [`act`] → [`facts`] → [`assess`] ([`check`]s, [`preconditions`], [`impact`]) → [`plan`] → [`token`] (first call) … token verified
//! → facts again → the person's [`person::Yes`] → [`permit::redeem`], which redeems the token atomically → `Permit` → `Grant`.
//!
//! What the guard cannot do: an agent with a shell and the instance's credentials needs no tool of ours to destroy data,
//! and one that can drive a pseudo-terminal as the same user can type into `approve`. Keep credentials out of the
//! agent's reach, and run the server as a user the agent is not, where that matters.

pub mod act;
pub mod assess;
pub mod check;
pub mod estimate;
pub mod facts;
pub mod grant;
pub mod impact;
pub mod ledger;
pub mod permit;
pub mod person;
pub mod plan;
pub mod preconditions;
pub mod pruning;
pub mod retention;
pub mod room;
pub mod rules;
pub mod token;
pub mod writes;
