//! Facts: what a provider read before an act, typed per act. Nothing here is a verdict and nothing is worded for the person:
//! both are for `assess`, so that no provider can forget a check or soften its sentence.

pub mod backup;
pub mod clone;
pub mod keys;
pub mod look;
pub mod policy;
pub mod replay;
pub mod restore;
pub mod rights;

use crate::model::access::Access;
use jiff::Timestamp;

/// What a provider read for an act.
#[derive(Debug, Clone)]
pub enum Facts {
    /// A restore of an instance that this program reaches itself.
    DirectRestore(Box<restore::DirectRestore>),
    /// A restore of an instance that this program reaches itself to a moment that cannot be restored.
    NoMoment(replay::NoMoment),
    /// A restore of an instance of the cloud.
    CloudRestore(Box<restore::CloudRestore>),
    /// A deletion of a set in this program's own vault.
    VaultDeletion(backup::VaultDeletion),
    /// A deletion of several sets in this program's own vault, by rules that keep others.
    Pruning(backup::Pruning),
    /// A deletion of a set that the cloud keeps.
    CloudDeletion(backup::CloudDeletion),
    /// A change of a backup policy that the cloud keeps.
    PolicyChange(policy::PolicyFacts),
    /// A change of a backup policy that this program keeps.
    OwnPolicy(policy::OwnPolicyFacts),
    /// A new instance of the cloud.
    Clone(Box<clone::CloneFacts>),
    /// A clone on this machine.
    LocalClone(Box<clone::LocalClone>),
}

/// An instance of the cloud, by its attributes. They must not change between plan and act.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CloudInstance {
    /// Where clients connect to the instance.
    pub address: String,
    /// Generation, shape and edition, for a reader: `classic standard, Community`.
    pub architecture: String,
    /// The class that the instance is billed as; empty where the cloud does not tell.
    pub instance_class: String,
    /// The engine's version, such as `5.0`; empty where the cloud does not tell.
    pub engine_version: String,
    /// When the instance was created, as the cloud writes it.
    pub created_at: String,
    /// The region that the instance is in; empty where the cloud does not tell.
    #[serde(default)]
    pub region: String,
    /// As whom and where the cloud was called.
    #[serde(default)]
    pub access: Access,
}

impl CloudInstance {
    /// Whether the instance is in another region than calls go to.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let (region, called) = (&self.region, &self.access.region);
        !region.is_empty() && !called.is_empty() && !region.eq_ignore_ascii_case(called)
    }
}

/// An instance of the cloud, and whether it takes changes now.
#[derive(Debug, Clone)]
pub struct CloudState {
    /// The instance's attributes.
    pub instance: CloudInstance,
    /// The instance's status, as the cloud writes it: `Normal`; empty where the cloud does not tell.
    pub status: String,
    /// When this was read, by the cloud's clock.
    pub read_at: Timestamp,
}

/// An act that the cloud cannot carry out on an instance: why, and the call that reaches the same end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPossible {
    /// Why not, as a part of a sentence.
    pub why: String,
    /// The call that works instead; `None` where none does.
    pub call: Option<String>,
}
