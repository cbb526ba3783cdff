//! Tests of the state store: the contract of its traits, which owners count as alive, and opening earlier databases.

mod contract;
mod key;
mod liveness;
mod migration;
