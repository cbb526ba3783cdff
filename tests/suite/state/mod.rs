//! The state store: what every implementation of its traits promises, who counts as alive, and that earlier databases open.

mod contract;
mod key;
mod liveness;
mod migration;
