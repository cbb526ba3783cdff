//! Actions of the API, one file a group of them: each a function from a typed request and the account to a reply.
//!
//! None knows how requests come in or how its name is looked up, and none calls another; what several need stands in a file
//! of its own.

pub mod backups;
pub mod clone;
pub mod clusters;
pub mod downloads;
mod figures;
pub mod instances;
pub mod locks;
pub mod monitor;
mod overwrite;
mod paging;
pub mod policy;
pub mod restore;
mod sets;
pub mod settings;
