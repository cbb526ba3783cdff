//! Backups of instances that this program reaches itself: the capture, the safety backup before a restore, and which sets are being
//! made meanwhile.

mod attach;
pub(super) mod capture;
mod feed;
pub(super) mod locks;
mod pruning;
mod reconcile;
mod retention;
mod room;
mod safety;
pub(super) mod staging;
