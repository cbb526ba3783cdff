//! Restore by acting as master: the target follows this program for as long as it takes to load the data, and no longer.
//!
//! Not a byte is written that the supplier has not verified, and never the end of the data before the supplier says that all
//! data is good: with `repl-diskless-load swapdb` a transfer that breaks off leaves the old data in place, while a complete
//! but bad one makes the target exit. Whatever goes wrong after REPLICAOF, the session rolls the target's role and settings
//! back, or says that it could not.
//!
//! A crash leaves a target that follows a dead address. Whoever starts a restore writes [`session::Session::rollback_record`]
//! down before [`session::Session::run`], and hands the record to [`rollback::roll_back`] at the next start. Dropping the
//! future of `run` is such a crash.

pub mod cutover;
pub mod fold;
#[cfg(test)]
mod folded;
pub mod rollback;
pub mod session;
pub mod shift;
#[cfg(test)]
mod shifted;
pub mod types;

mod expiring;
mod foldable;
mod listener;
mod stream;
mod transfer;
