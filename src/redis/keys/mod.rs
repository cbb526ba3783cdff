//! Some of a server's keys: which an RDB has of them, and which a server has.
//!
//! It must not write: what restores and removes them is in [`replay`](super::replay). Memory stays bounded however many keys there are.

pub mod found;
pub mod had;
pub mod names;
pub mod scan;
