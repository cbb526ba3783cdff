//! Capture: this program attaches to an instance as a replica, for its data and, where wanted, for the commands that follow.
//!
//! A capture must never count as a safe replica: no `REPLCONF ACK` but of offset 0 is ever sent, so it cannot satisfy WAIT. It
//! must never announce a capability or a version whose format is not read here: `eof` and `psync2` are all, and to a Valkey from 9.0
//! on the newest version whose format is read whole.

pub mod follow;
pub mod handshake;
pub mod keep;
mod link;
mod mark;
mod resume;
pub mod scan;
pub mod snapshot;
pub mod split;
pub mod tail;
