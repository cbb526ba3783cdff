//! `emulate = { … }` of an `[[instance]]`: as what the emulator of the cloud shows the instance.

use serde::Deserialize;

/// The two generations of the cloud's instances; how one can be restored depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// On physical machines; restored in place.
    #[default]
    Classic,
    /// On virtual machines; restored into a new instance.
    CloudNative,
}

/// Architecture of an instance of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// One data shard.
    #[default]
    Standard,
    /// A cluster; the emulated one has a single shard, the server itself.
    Cluster,
}

/// `emulate = { … }`: as which kind of cloud instance the emulator shows an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Emulate {
    /// The generation shown, which decides whether a restore goes in place.
    pub generation: Generation,
    /// The architecture shown.
    pub architecture: Architecture,
    /// Whether data flashback can be switched on.
    pub flashback: bool,
    /// Whether the instance is a spare: hidden until a call that creates an instance gets it; its data is overwritten then.
    pub spare: bool,
    /// Whether the instance has no replica, and so no backups.
    pub single: bool,
}
