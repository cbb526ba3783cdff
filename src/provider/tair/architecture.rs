//! What an instance of the cloud is, and what follows from that: where its sets are listed, whether it can be restored in
//! place, and which call restores where it cannot. Reads nothing itself.

use crate::guard::facts::NotPossible;
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::instances::Generation;
use crate::tair::wire::moment;
use jiff::Timestamp;

/// How an instance's data is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One shard, without a proxy for reads.
    Standard,
    /// Several shards, each with a part of the keys.
    Cluster,
    /// One shard, with replicas that are read through a proxy.
    ReadWriteSplit,
}

/// All of an instance from which it follows what can be done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Whether the instance is classic or cloud-native.
    pub generation: Generation,
    /// How the instance's data is spread.
    pub shape: Shape,
    /// Whether the instance is Tair (Enterprise) rather than Community.
    pub enterprise: bool,
    /// Whether the instance has no replica.
    pub single: bool,
    /// From when any moment can be restored; `None` while data flashback is off.
    pub log_start: Option<Timestamp>,
}

/// What is to be restored.
#[derive(Debug, Clone, Copy)]
pub enum RestoreScope<'a> {
    /// A set, whole.
    Set(&'a str),
    /// A moment, whole.
    Moment(&'a str),
    /// A moment, of some keys only.
    Keys(&'a str),
}

impl RestoreScope<'_> {
    /// The call that restores the same into a new instance.
    #[must_use]
    pub fn clone_call(self, instance_id: &str) -> String {
        match self {
            Self::Set(id) => {
                format!("create_instance_from_backup {{\"instance_id\": \"{instance_id}\", \"backup_id\": \"{id}\"}}")
            }
            Self::Moment(at) | Self::Keys(at) => {
                format!(
                    "create_instance_from_backup {{\"instance_id\": \"{instance_id}\", \"restore_time\": \"{at}\"}}"
                )
            }
        }
    }
}

impl Architecture {
    /// Reads the architecture off an instance's attributes.
    #[must_use]
    pub fn of(a: &InstanceAttribute) -> Self {
        let shape = if a.is_cluster() {
            Shape::Cluster
        } else if a.is_read_write_split() {
            Shape::ReadWriteSplit
        } else {
            Shape::Standard
        };
        Self {
            generation: a.generation(),
            shape,
            enterprise: a.is_enterprise(),
            single: a.is_single(),
            log_start: moment(a.backup_log_start_time.as_deref()),
        }
    }

    /// For people: `classic cluster, Tair Enterprise`.
    #[must_use]
    pub fn describe(&self) -> String {
        let generation = match self.generation {
            Generation::Classic => "classic",
            Generation::CloudNative => "cloud-native",
            Generation::Unknown => "unknown generation",
        };
        let shape = match self.shape {
            Shape::Standard => "standard",
            Shape::Cluster => "cluster",
            Shape::ReadWriteSplit => "read/write splitting",
        };
        let edition = if self.enterprise { "Tair (Enterprise)" } else { "Community" };
        format!("{generation} {shape}, {edition}{}", if self.single { ", single node" } else { "" })
    }

    /// Whether the instance's sets are listed by `DescribeClusterBackupList`, under one id for all shards, and not by
    /// `DescribeBackups`.
    #[must_use]
    pub fn lists_cluster_sets(&self) -> bool {
        self.generation == Generation::CloudNative && self.shape == Shape::Cluster
    }

    /// Whether the instance can be backed up at all.
    ///
    /// # Errors
    /// `NotPossible`, with the reason.
    pub fn can_back_up(&self) -> Result<(), NotPossible> {
        if !self.single {
            return Ok(());
        }
        Err(NotPossible {
            why: "it is a single node without a replica, and Alibaba Cloud neither backs up nor restores those".into(),
            call: None,
        })
    }

    /// Whether the instance can be restored in place, and what a person should know about it.
    ///
    /// # Errors
    /// Why not, and the call that restores into a new instance instead.
    pub fn can_restore_in_place(&self, instance_id: &str, wanted: RestoreScope<'_>) -> Result<String, NotPossible> {
        let no = |why: &str| Err(NotPossible { why: why.into(), call: Some(wanted.clone_call(instance_id)) });
        self.can_back_up()?;
        let to_a_moment = !matches!(wanted, RestoreScope::Set(_));
        if to_a_moment && self.log_start.is_none() {
            return Err(NotPossible {
                why: "data flashback is off, so no moment can be restored, only backup sets".into(),
                call: Some(format!("describe_backups {{\"instance_id\": \"{instance_id}\"}}")),
            });
        }
        match self.generation {
            Generation::Classic => {}
            Generation::CloudNative => {
                return no("it is cloud-native: Alibaba Cloud restores those into a new instance only");
            }
            Generation::Unknown => {
                return no(
                    "the cloud does not tell whether it is classic, and only classic instances are restored in place",
                );
            }
        }
        match wanted {
            RestoreScope::Keys(_) if !self.enterprise => no(
                "single keys are restored on classic Tair (Enterprise) instances only; this one is a Community edition",
            ),
            RestoreScope::Keys(_) => Ok("only the keys that match filter_key are replaced".into()),
            RestoreScope::Set(_) => Ok(
                "Alibaba Cloud calls restoring a set in place retired (RestoreType 0): it may refuse; a new instance from the set always works"
                    .into(),
            ),
            RestoreScope::Moment(_) => Ok(
                "Alibaba Cloud documents whole restores to a moment for new instances only: it may refuse this one"
                    .into(),
            ),
        }
    }

    /// Whether the instance's manual sets can be deleted.
    ///
    /// # Errors
    /// `NotPossible`, with the reason.
    pub fn can_delete_sets(&self) -> Result<(), NotPossible> {
        // Of an instance of unknown generation the cloud is asked: it refuses by itself, and nothing is lost.
        if self.generation != Generation::Classic {
            return Ok(());
        }
        Err(NotPossible {
            why: "it is classic: Alibaba Cloud deletes backup sets of cloud-native instances only, those of classic ones go when their retention ends".into(),
            call: None,
        })
    }
}
