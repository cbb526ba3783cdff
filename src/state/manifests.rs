//! The manifests that this program has put on the vault and not deleted since, as a trait: a witness that whoever writes to the vault does not
//! hold. It finds what a signature alone cannot: a set that was removed, and an older manifest in the place of a newer.

use crate::model::backup::ManifestDigest;
use crate::model::fault::Fault;
use async_trait::async_trait;
use std::collections::BTreeMap;

/// What is remembered, by instance and set.
pub type Recorded = BTreeMap<(String, String), ManifestDigest>;

/// Manifests. What is written is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// What is remembered of all sets, or of one instance's.
    async fn manifests(&self, instance_id: Option<&str>) -> Result<Recorded, Fault>;

    /// Remembers the manifest of a set; where one is remembered that one stays, whatever lies in the vault by now. `None`: forgets it.
    async fn set_manifest(
        &self,
        instance_id: &str,
        backup_id: &str,
        manifest: Option<&ManifestDigest>,
    ) -> Result<(), Fault>;
}
