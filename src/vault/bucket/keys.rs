//! Who calls a bucket, where that is not for the store's own chain of credentials to say: the vault knows no cloud.

use crate::model::secret::Secret;
use async_trait::async_trait;
use std::fmt::Debug;
use std::io;

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// The secret that belongs to the id.
    pub secret: Secret,
    /// The token of a temporary key.
    pub token: Option<Secret>,
}

/// Gives the access key of the moment.
#[async_trait]
pub trait AccessKeys: Debug + Send + Sync {
    /// A key that is good for a while. Asked for before each request, so a source keeps its own until it has to be renewed.
    ///
    /// # Errors
    /// Why there is none.
    async fn get(&self) -> io::Result<AccessKey>;
}

/// One key for ever.
#[async_trait]
impl AccessKeys for AccessKey {
    async fn get(&self) -> io::Result<AccessKey> {
        Ok(self.clone())
    }
}
