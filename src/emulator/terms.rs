//! What the cloud's metadata says of parameters: the values that they take, and the form of their moments. What it refuses is refused here
//! before an action looks at it: a wrong value that passes here would fail in the cloud.
//!
//! Parameters that no row names are accepted, as the cloud does.

use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::tair::wire::Scalar as _;

/// What a parameter takes.
enum Takes {
    /// One of these.
    One(&'static [&'static str]),
    /// Some of these, between commas.
    Some(&'static [&'static str]),
    /// A whole number within these bounds, both included.
    Whole(i64, i64),
    /// A boolean.
    Flag,
    /// A moment to the second.
    Second,
    /// Digits alone.
    Digits,
    /// Two numbers, as in `7.0`: the servers here may have versions that the cloud has not.
    Version,
}

const ONE_ZERO: Takes = Takes::One(&["0", "1"]);
const STATUS: Takes = Takes::One(&[
    "Normal",
    "Creating",
    "Changing",
    "Inactive",
    "Flushing",
    "Released",
    "Transforming",
    "Unavailable",
    "Error",
    "Migrating",
    "BackupRecovering",
    "MinorVersionUpgrading",
    "NetworkModifying",
    "SSLModifying",
    "MajorVersionUpgrading",
]);
const TASK: Takes = Takes::Some(&["Scheduled", "Running", "Succeed", "Failed", "Cancelling", "Canceled", "Waiting"]);
const SHARDS: Takes = Takes::Whole(1, 256);
const PORT: Takes = Takes::Whole(1024, 65535);
const CHARGE: Takes = Takes::One(&["PostPaid", "PrePaid"]);
const PERIOD: Takes = Takes::One(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "12", "24", "36", "60"]);
const RECOVERED: Takes = Takes::Some(&["whitelist", "config", "account"]);

/// The rows: action, parameter, what it takes.
const TERMS: &[(&str, &str, Takes)] = &[
    ("DescribeRegions", "AcceptLanguage", Takes::One(&["zh-CN", "en-US"])),
    (
        "DescribeInstances",
        "InstanceType",
        Takes::One(&["Redis", "Memcache", "Tair", "tair_rdb", "tair_scm", "tair_essd", "tair_skv"]),
    ),
    ("DescribeInstances", "ArchitectureType", Takes::One(&["cluster", "standard", "rwsplit"])),
    ("DescribeInstances", "EditionType", Takes::One(&["Community", "Enterprise"])),
    ("DescribeInstances", "EngineVersion", Takes::One(&["1.0", "2.8", "4.0", "5.0", "6.0", "7.0"])),
    ("DescribeInstances", "ChargeType", CHARGE),
    ("DescribeInstances", "NetworkType", Takes::One(&["CLASSIC", "VPC"])),
    ("DescribeInstances", "NodeType", Takes::One(&["MASTER_SLAVE", "STAND_ALONE", "double", "single"])),
    ("DescribeInstances", "InstanceStatus", STATUS),
    ("DescribeInstances", "Expired", Takes::One(&["true", "false"])),
    ("DescribeInstances", "GlobalInstance", Takes::Flag),
    ("DescribeBackups", "NeedAof", ONE_ZERO),
    ("DescribeBackupTasks", "BackupJobId", Takes::Digits),
    ("DescribeBackupTasks", "JobMode", Takes::One(&["Manual", "Automated"])),
    ("DescribeClusterBackupList", "NoShardBackup", Takes::One(&["True", "False"])),
    ("ModifyBackupPolicy", "EnableBackupLog", ONE_ZERO),
    ("CreateInstance", "InstanceType", Takes::One(&["Redis", "Memcache"])),
    ("CreateInstance", "NetworkType", Takes::One(&["CLASSIC", "VPC"])),
    ("CreateInstance", "NodeType", Takes::One(&["MASTER_SLAVE", "STAND_ALONE", "double", "single"])),
    ("CreateInstance", "ChargeType", CHARGE),
    ("CreateInstance", "Period", PERIOD),
    ("CreateInstance", "RecoverConfigMode", RECOVERED),
    ("CreateInstance", "EngineVersion", Takes::Version),
    ("CreateInstance", "ShardCount", SHARDS),
    ("CreateInstance", "Port", PORT),
    ("CreateTairInstance", "InstanceType", Takes::One(&["tair_rdb", "tair_scm", "tair_essd", "tair_skv", "Redis"])),
    ("CreateTairInstance", "ShardType", Takes::One(&["MASTER_SLAVE", "STAND_ALONE"])),
    ("CreateTairInstance", "ChargeType", CHARGE),
    ("CreateTairInstance", "Period", PERIOD),
    ("CreateTairInstance", "RecoverConfigMode", RECOVERED),
    ("CreateTairInstance", "EngineVersion", Takes::Version),
    ("CreateTairInstance", "ShardCount", SHARDS),
    ("CreateTairInstance", "Port", PORT),
    ("CreateTairInstance", "Storage", Takes::Whole(1, i64::MAX)),
    ("CreateTairInstance", "AutoPay", Takes::Flag),
    ("DescribeHistoryTasks", "FromStartTime", Takes::Second),
    ("DescribeHistoryTasks", "ToStartTime", Takes::Second),
    ("DescribeHistoryTasks", "Status", TASK),
    ("DescribeHistoryMonitorValues", "IntervalForHistory", Takes::One(&["01m", "05m", "15m", "60m"])),
    ("DescribeHistoryMonitorValues", "NodeRole", Takes::One(&["MASTER", "READONLY"])),
    ("DescribeHistoryMonitorValues", "StartTime", Takes::Second),
    ("DescribeHistoryMonitorValues", "EndTime", Takes::Second),
];

/// Checks a request against the terms.
///
/// # Errors
/// The first parameter with a value that the cloud would refuse.
pub fn check(request: &ActionRequest<'_>) -> Result<(), Refused> {
    for (action, name, takes) in TERMS {
        let given = request.param(name).filter(|_| *action == request.action);
        if given.is_some_and(|value| !takes.fit(value)) {
            return Err(Refused::malformed(name));
        }
    }
    Ok(())
}

impl Takes {
    fn fit(&self, value: &str) -> bool {
        match self {
            Self::One(values) => values.contains(&value),
            Self::Some(values) => value.split(',').all(|item| values.contains(&item)),
            Self::Whole(least, most) => i64::read(value).is_some_and(|n| (*least..=*most).contains(&n)),
            Self::Flag => bool::read(value).is_some(),
            Self::Digits => !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()),
            Self::Version => {
                value.split_once('.').is_some_and(|(major, minor)| Self::Digits.fit(major) && Self::Digits.fit(minor))
            }
            Self::Second => value.len() == "yyyy-MM-ddTHH:mm:ssZ".len(),
        }
    }
}
