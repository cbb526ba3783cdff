//! What is due, and carrying it out: the backups that policies ask for, and the copies of them.
//!
//! What is due is judged from what has been, at a moment that the caller tells, and by no timer: so it survives a process that was down, a
//! machine that slept and a clock that was set. It acts through the provider alone.

pub mod copies;
pub mod drill;
pub mod due;
pub mod runner;
pub mod stale;
