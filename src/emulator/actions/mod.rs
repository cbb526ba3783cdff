//! Actions of the API, one file a group: each a function from a typed request and the account to a reply.
//!
//! No action knows how requests arrive or how its name is looked up, and none calls another; code that several need is in a file
//! of its own.

pub mod backups;
pub mod clone;
pub mod clusters;
pub mod downloads;
mod figures;
pub mod instances;
pub mod locks;
mod moments;
pub mod monitor;
mod overwrite;
mod paging;
pub mod policy;
pub mod restore;
mod sets;
pub mod settings;
