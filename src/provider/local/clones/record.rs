//! A clone's record: what it is made of, for whom, and whether it is whole. It stands in the clone's own directory, which is all that
//! there is of it.
//!
//! It must not hold a password, nor say of a clone that it is made before its keys were counted.

use crate::config::durable;
use crate::config::home::file_fault;
use crate::model::fault::Fault;
use crate::model::ids::check_instance_id;
use crate::model::instance::CloneOf;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Name of the record in a clone's directory.
pub(super) const RECORD: &str = "clone.json";

/// What is written down of a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::provider::local) struct Record {
    /// The clone's id, which is its directory's name.
    pub(in crate::provider::local) id: String,
    /// What it is made of, and how long it lives.
    pub(in crate::provider::local) of: CloneOf,
    /// The job that makes it.
    pub(in crate::provider::local) job_id: String,
    /// What its program says that it is.
    pub(in crate::provider::local) program: String,
    /// Whether it was loaded whole and its keys were counted. Before that nobody is shown it.
    pub(in crate::provider::local) made: bool,
}

impl Record {
    /// Writes the record in place of the one that is there. Blocking.
    ///
    /// # Errors
    /// `home.failed`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Fault> {
        let path = dir.join(RECORD);
        let text = serde_json::to_vec_pretty(self).map_err(|e| file_fault("write", &path, e.into()))?;
        durable::replace(&path, &text).map_err(|e| file_fault("write", &path, e))
    }

    /// Reads the record of a directory; `None` where there is none that is whole and of that directory. Blocking.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join(RECORD)).ok()?;
        let record: Self = serde_json::from_slice(&text).ok()?;
        let own = dir.file_name().is_some_and(|name| name.to_str() == Some(&record.id));
        (own && check_instance_id(&record.id).is_ok()).then_some(record)
    }
}
