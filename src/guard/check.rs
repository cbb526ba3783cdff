//! Pre-checks: a name, a verdict, and the figures behind the verdict. Only `assess` decides a verdict.

/// The names of all pre-checks. A provider cannot choose one: only `assess` decides which an act needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckName {
    /// The instance takes changes now.
    InstanceReady,
    /// No other job runs on the instance.
    InstanceIdle,
    /// The backup set is whole, by reading its data.
    BackupVerified,
    /// The backup set is listed as whole by the cloud, and kept long enough.
    BackupExists,
    /// The target's engine and version load all types in the set.
    EngineCompatible,
    /// How the data gets in: by replication or by commands.
    RestoreWay,
    /// The user may take every step of the planned way, and the server knows its commands.
    RestoreRights,
    /// The cloud restores this instance in place.
    RestoreInPlace,
    /// The moment is within the recovery window.
    RestoreTime,
    /// The target applies every command of the log, and would show it if it refused one.
    LogReplay,
    /// Remaining times to live count on from a moment that makes sense.
    TimeShift,
    /// How the expressions of `filter_key` will be read.
    FilterKey,
    /// How many writes a second the instance gets.
    WriteTraffic,
    /// Writes are locked while the restore runs.
    WriteFence,
    /// The target has memory for the data.
    RoomForData,
    /// This machine has memory and disk for the server that a moment is built on.
    RoomHere,
    /// A fresh backup of the data that will be overwritten exists.
    SafetyBackup,
    /// The set was taken by hand or for a restore, so deleting it is allowed.
    ManualBackup,
    /// No rule keeps any of the sets that are pruned.
    KeepRules,
    /// What counts on the set that is deleted.
    Dependents,
    /// Other sets of the instance stay after a deletion.
    OtherBackups,
    /// What a change of the policy lowers.
    Protection,
    /// The cloud's own check of an order passed.
    DryRun,
    /// How the new instance is billed.
    Billing,
}

impl CheckName {
    /// The name in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InstanceReady => "instance_ready",
            Self::InstanceIdle => "instance_idle",
            Self::BackupVerified => "backup_verified",
            Self::BackupExists => "backup_exists",
            Self::EngineCompatible => "engine_compatible",
            Self::RestoreWay => "restore_way",
            Self::RestoreRights => "restore_rights",
            Self::RestoreInPlace => "restore_in_place",
            Self::RestoreTime => "restore_time",
            Self::LogReplay => "log_replay",
            Self::TimeShift => "time_shift",
            Self::FilterKey => "filter_key",
            Self::WriteTraffic => "write_traffic",
            Self::WriteFence => "write_fence",
            Self::RoomForData => "room_for_data",
            Self::RoomHere => "room_here",
            Self::SafetyBackup => "safety_backup",
            Self::ManualBackup => "manual_backup",
            Self::KeepRules => "keep_rules",
            Self::Dependents => "dependents",
            Self::OtherBackups => "other_backups",
            Self::Protection => "protection",
            Self::DryRun => "dry_run",
            Self::Billing => "billing",
        }
    }

    /// Whether the check looks at the backup set rather than at the instance.
    #[must_use]
    pub const fn is_about_the_set(self) -> bool {
        matches!(self, Self::BackupVerified | Self::BackupExists | Self::EngineCompatible)
    }
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing stands against the act.
    Pass,
    /// The act may go on, but the person should know.
    Warn,
    /// The act has to wait.
    Pending,
    /// The act is refused while this holds.
    Block,
}

impl Status {
    /// The verdict in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Pending => "pending",
            Self::Block => "block",
        }
    }
}

/// One pre-check with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precheck {
    /// Which check it is.
    pub name: CheckName,
    /// The verdict.
    pub status: Status,
    /// The figures behind the verdict, for a reader.
    pub detail: String,
}

impl Precheck {
    pub(super) fn new(name: CheckName, status: Status, detail: impl Into<String>) -> Self {
        Self { name, status, detail: detail.into() }
    }
}

impl std::fmt::Display for Precheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name.as_str(), self.detail)
    }
}

/// Whether any check blocks.
#[must_use]
pub fn blocked(checks: &[Precheck]) -> bool {
    checks.iter().any(|c| c.status == Status::Block)
}

/// The checks of one verdict, each as `name: figures`.
#[must_use]
pub fn of_status(status: Status, checks: &[Precheck]) -> Vec<String> {
    checks.iter().filter(|c| c.status == status).map(ToString::to_string).collect()
}

/// The warnings that the person has to see: those of the checks made now, and those of the plan whose check is not made
/// again.
#[must_use]
pub fn all_warnings(planned: &[String], now: &[Precheck]) -> Vec<String> {
    let mut all = of_status(Status::Warn, now);
    let name = |warning: &str| warning.split(':').next().unwrap_or_default().to_owned();
    let known: Vec<String> = all.iter().map(|w| name(w)).collect();
    all.extend(planned.iter().filter(|w| !known.contains(&name(w))).cloned());
    all
}
