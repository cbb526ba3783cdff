//! The table behind [`codes`](super::codes): groups of the cloud's codes, and what each group means for a caller.
//!
//! One group is one fault. A code stands in one group only.

use crate::model::fault::Kind;
use crate::tair::retry::Retry;

/// The meaning of a group of codes.
#[derive(Debug)]
pub struct Meaning {
    /// The fault's code.
    pub fault: &'static str,
    /// The fault's kind.
    pub kind: Kind,
    /// What sending the same call again is good for.
    pub retry: Retry,
    /// The next step for whoever called.
    pub hint: &'static str,
    /// Calls of ours that make sense now.
    pub next: &'static [&'static str],
    /// The cloud's codes, apart by white space.
    pub(super) codes: &'static str,
}

const fn row(
    fault: &'static str,
    kind: Kind,
    retry: Retry,
    hint: &'static str,
    next: &'static [&'static str],
    codes: &'static str,
) -> Meaning {
    Meaning { fault, kind, retry, hint, next, codes }
}

/// For a code that no rule knows.
pub(super) static UNKNOWN: Meaning = row(
    "cloud.refused",
    Kind::Provider,
    Retry::Never,
    "The cloud gave a code that is not in its published tables; its message says what it minds. The request id lets Alibaba Cloud's support find the call.",
    &[],
    "",
);

pub(super) static MEANINGS: [Meaning; 38] = [
    row(
        "instance.not_found",
        Kind::NotFound,
        Retry::Never,
        "Use an instance id of the configured account and region; an instance of another region is unknown here.",
        &["describe_instances"],
        "InvalidInstanceId.NotFound InvalidDbInstanceId.NotFound InvalidDBInstance.NotFound \
         DBInstanceNotFound EntityNotExists.Resource",
    ),
    row(
        "cloud.instance_busy",
        Kind::Provider,
        Retry::WhenReady,
        "The instance is changing, restoring or starting. Wait until describe_instances shows it as Normal, then call again.",
        &["describe_instances"],
        "IncorrectDBInstanceState InstanceStatus.NotSupport InvalidStatus",
    ),
    row(
        "cloud.instance_locked",
        Kind::Provider,
        Retry::Never,
        "The instance is locked: by a write lock, an overdue payment or its expiry. Unlock or renew it first.",
        &["describe_instances"],
        "IncorrectDBInstanceLockMode",
    ),
    row(
        "cloud.instance_protected",
        Kind::Refused,
        Retry::Never,
        "Release protection is on. Only its owner should switch it off, in the console.",
        &[],
        "InstanceReleaseProtection",
    ),
    row(
        "cloud.not_supported",
        Kind::Provider,
        Retry::Never,
        "This instance's architecture, edition or version does not offer the operation. What cannot be restored in place can be restored into a new instance.",
        &["describe_instances"],
        "InstanceType.NotSupport IncorrectDBInstanceType ServiceNotSupport IncorrectDBInstance.NotSupported \
         IncorrectCharacterType ClusterNotSupport EngineNotSupported GdcInstanceNotSupport \
         DtsOpendNotSupportTrans VpcFreePasswordNoSupport",
    ),
    row(
        "cloud.version_not_supported",
        Kind::Provider,
        Retry::Never,
        "The instance's engine or minor version does not offer the operation. Upgrade its minor version in the console, in its maintenance window.",
        &["describe_instances"],
        "IncorrectEngineVersion UnsupportedEngineVersion IncorrectMinorVersion Forbbiden.MinorVersion \
         InvalidEngineVersion.Format InvalidEngineVersion.Malformed InvalidRedisVersionPattern \
         IncorrectTargetMajorVersion ParamNotSupportedForCurrentVersion \
         DirectTransUpgradeMajorVersionNotSupport MissingRedisShardingUnsupportPerfItem",
    ),
    row(
        "cloud.backup_running",
        Kind::Provider,
        Retry::WhenReady,
        "One backup job runs at a time. Wait for the running one: its set is as good as one of your own.",
        &["describe_jobs", "describe_backups"],
        "BackupJobExists",
    ),
    row(
        "cloud.backup_daily_limit",
        Kind::Provider,
        Retry::Tomorrow,
        "An instance can be backed up by hand 30 times in 24 hours. Use a set that exists.",
        &["describe_backups"],
        "BackupTimesExceeded",
    ),
    row(
        "backup.not_found",
        Kind::NotFound,
        Retry::Never,
        "Use a backup_id from describe_backups, unchanged; expired sets are gone.",
        &["describe_backups"],
        "InvalidBackupSetID.NotFound InvalidBackupIdOrRestoreTime.NotFound",
    ),
    row(
        "backup.not_usable",
        Kind::Provider,
        Retry::Never,
        "The set failed, has expired or is not finished. Choose another.",
        &["describe_backups"],
        "IncorrectBackupSetState",
    ),
    row(
        "backup.policy_invalid",
        Kind::Usage,
        Retry::Never,
        "A policy has a whole UTC hour such as 02:00Z-03:00Z, English weekdays joined by commas, and 7 to 730 days of retention.",
        &[],
        "InvalidBackupRetentionPeriod.Malformed InvalidPreferredBackupTime InvalidPreferredBackupTime.Format \
         InvalidPreferredBackupPeriod.Malformed InvalidRetention",
    ),
    row(
        "restore.time_invalid",
        Kind::Usage,
        Retry::Never,
        "restore_time lies in the recovery window: not before backup_log_start_time and not after now, in UTC.",
        &["describe_instances"],
        "InvalidRestoreTime.Format",
    ),
    row(
        "restore.no_binlog",
        Kind::Provider,
        Retry::Never,
        "The log archive has a gap there: it cannot reach this moment. Choose another moment, or a backup set.",
        &["describe_backups"],
        "InvalidBinlog.NotValid",
    ),
    row(
        "restore.source_invalid",
        Kind::Usage,
        Retry::Never,
        "Give either backup_id, or restore_time with restore_type 1, not both.",
        &[],
        "ResroreParamNotMatch",
    ),
    row(
        "backup.flashback_off",
        Kind::Provider,
        Retry::Never,
        "Data flashback is off for the source instance, so no moment can be restored, only backup sets. It can be enabled for the future with enable_backup_log.",
        &["describe_backups"],
        "InvalidBackupLogStatus",
    ),
    row(
        "cloud.task_running",
        Kind::Provider,
        Retry::WhenReady,
        "Another task or order of this instance is in progress. Wait until it is done, then call again.",
        &["describe_instances"],
        "TaskExists TaskHasExist Task.Conflict ZoneMigrationError.StillingRunning Order.LatestOrderIsHanding \
         HasRenewChangeOrder",
    ),
    row(
        "cloud.throttled",
        Kind::Provider,
        Retry::SlowDown,
        "The account's or the API's rate limit is reached. Wait, and call less often.",
        &[],
        "Throttling Throttling.User Throttling.Api Rejected.Throttling",
    ),
    row(
        "cloud.server_busy",
        Kind::Provider,
        Retry::SlowDown,
        "The cloud is busy with this instance. Wait a little and call again.",
        &[],
        "ServerBusy LockTimeout",
    ),
    row(
        "cloud.server_failed",
        Kind::Provider,
        Retry::Transient,
        "The cloud failed, not the call. Wait and call again; after a call that changes something, look at the state first.",
        &["describe_instances", "describe_jobs"],
        "ServiceUnavailable InternalError ResourceConfigError VpcServiceError",
    ),
    row(
        "cloud.nonce_used",
        Kind::Provider,
        Retry::NonceUsed,
        "A copy of the request arrived before this one: something on the way repeats requests. Look at the state before calling again.",
        &["describe_instances", "describe_jobs"],
        "SignatureNonceUsed",
    ),
    row(
        "cloud.forbidden",
        Kind::Provider,
        Retry::Never,
        "Give the RAM user or role the permission kvstore:<Action> on acs:kvstore:<region>:<account>:instance/<id>.",
        &[],
        "Forbidden.RAM NoPermission Forbidden Forbedden.NotSupportRAM Forbidden.RiskControl Forbbiden.SubUser \
         AuthorizationFailure ServiceAccount.NoPermission",
    ),
    row(
        "credentials.unknown_key",
        Kind::Usage,
        Retry::Never,
        "The AccessKey id is unknown or disabled. Check the credentials; an id that starts with STS. needs its security token too.",
        &[],
        "InvalidAccessKeyId.NotFound InvalidAccessKeyId.Inactive",
    ),
    row(
        "credentials.wrong_secret",
        Kind::Usage,
        Retry::Never,
        "The secret does not belong to the AccessKey id, or something on the way changed the request. Check for white space around the secret.",
        &[],
        "SignatureDoesNotMatch IncompleteSignature",
    ),
    row(
        "credentials.token_expired",
        Kind::Usage,
        Retry::NewToken,
        "The STS token has expired. Get new temporary credentials, or configure a source that renews them.",
        &[],
        "InvalidSecurityToken.Expired",
    ),
    row(
        "credentials.token_invalid",
        Kind::Usage,
        Retry::Never,
        "Access key id, secret and STS token have to come from one and the same set of temporary credentials.",
        &[],
        "MissingSecurityToken InvalidSecurityToken.Malformed InvalidSecurityToken.MismatchWithAccessKey",
    ),
    row(
        "cloud.clock_skewed",
        Kind::Provider,
        Retry::Clock,
        "This machine's clock is more than 15 minutes off. Set it, for instance by NTP.",
        &[],
        "InvalidTimeStamp.Expired InvalidTimeStamp.Format",
    ),
    row(
        "cloud.wrong_endpoint",
        Kind::Usage,
        Retry::Never,
        "The endpoint does not offer this action of r-kvstore 2015-01-01. Check [tair] region and endpoint.",
        &[],
        "InvalidAction.NotFound InvalidApi.NotFound InvalidAction InvalidVersion InvalidProduct.NotFound \
         UnsupportedHTTPMethod InvalidProtocol.NeedSsl InvalidRegion.Format",
    ),
    row(
        "clone.dry_run_passed",
        Kind::Provider,
        Retry::Never,
        "The dry run passed: the cloud reports its success as an error. Nothing was ordered.",
        &[],
        "DryRunOperation",
    ),
    row(
        "clone.token_reused",
        Kind::Provider,
        Retry::Never,
        "The idempotency token stands for another call. Look whether the instance exists already.",
        &["describe_instances"],
        "IdempotentParameterMismatch RequestTokenConflict TokenServiceError InvalidToken.Malformed",
    ),
    row(
        "clone.class_invalid",
        Kind::Usage,
        Retry::Never,
        "Choose a class of the source's engine and architecture with at least the source's memory.",
        &["describe_instances"],
        "InstanceClass.NotMatch InvalidCapacity.NotFound InvalidDBInstanceClass.NotFound InvalidInstancelevel \
         InvalidShardInfo.Format TargetMemoryLessThanCurrentUsed DirectTargetLevelNotSupport \
         DirectTransNodeDoubleLevelError DirectTransPreCheckError",
    ),
    row(
        "clone.network_invalid",
        Kind::Usage,
        Retry::Never,
        "VPC and vSwitch belong together, and the vSwitch to the zone. The source instance's own are a safe choice.",
        &["describe_instances"],
        "InvalidvSwitchId InvalidVPCId.NotFound InvalidVpcIdOrVswitchId.NotSupported \
         InvalidVpcIdRegion.NotSupported InvalidVSwitchId.Mismatch VSwithNotBelongToNotVpcFault \
         VpcVerifyError VpcAndVSwitchNotChange InvalidIPNotInSubnet MissingSwitchId InvalidVPCParamGroup \
         IzNotSupportVpcError IzNotSupportSwitchNetworkError NetworkType.NotSupport",
    ),
    row(
        "clone.zone_unavailable",
        Kind::Provider,
        Retry::Never,
        "The zone sells no such instance now. Choose another zone of the region.",
        &[],
        "Zone.Closed ZoneIdNotFound InvalidIzNo.NotSupported InvalidReginAvzNotFound \
         InvalidRegionZoneNotFound ResourceNotAvailable InsufficientResourceCapacity NoQuota QuotaNotEnough",
    ),
    row(
        "account.billing",
        Kind::Provider,
        Retry::Never,
        "The account cannot pay for this, or the instance's billing does not allow it. Clear that in the console.",
        &[],
        "InsufficientBalance PaymentMethodNotFound PayIllegalAgreement CASH_BOOK_INSUFFICIENT \
         SecurityRisk.AuthVerification AccountMoneyValidateError RealNameAuthenticationError \
         UserCannotBuyNotInnerCommodity AlreadyPrePaid AlreadyHadTemporaryBandwidth \
         AbnormalResourceStatusForRenew",
    ),
    row(
        "account.quota",
        Kind::Provider,
        Retry::Never,
        "A quota of the account or the instance is used up. Free something, or have the quota raised.",
        &[],
        "QuotaExceed QuotaExceed.AfterpayInstance OperationDenied.QuotaExceed AccountLimitExceeded \
         NumberExceed.Tags NumberExceed.CustomTags NumberExceed.ResourceIds \
         AssociatedEcsSecurityGroupId.QuotaExceed AssociatedEcsSecurityGroupIdQuotaExceed \
         InvalidSecurityIPList.QuotaExceeded",
    ),
    row(
        "cloud.argument_missing",
        Kind::Usage,
        Retry::Never,
        "The cloud's message names the parameter it misses.",
        &[],
        "MissingParameter MissingInstanceId MissingPort MissingConnectionString MissParameter.TagOrResourceId \
         RequiredParam.NotFound",
    ),
    row(
        "cloud.time_range_invalid",
        Kind::Usage,
        Retry::Never,
        "Times are UTC, like 2026-11-23T06:15Z; the end lies after the start.",
        &[],
        "InvalidStartTime.Malformed InvalidEndTime.Malformed InvalidEndTime.Format InvalidEndTime.Invalid \
         InvalidStartTimeAndEndTime.Malformed InvalidQueryTime.Format Param.Invalid.TimeEndBeforeStart \
         StartTimeBeforeNow SwitchTimeAfterDeadline",
    ),
    row(
        "cloud.argument_invalid",
        Kind::Usage,
        Retry::Never,
        "The cloud's message names the parameter it minds.",
        &[],
        "InvalidParameter InvalidParameter.Format InvalidParameter.ResourceId InvalidParameter.ResourceType \
         InvalidParameter.Scope InvalidParameters.Format InvalidParam Param.Invalid IllegalParameter \
         IllegalParamError InvalidPageSize.Malformed InvalidPageNumbers.Malformed InvalidBackupType.Format \
         InvalidBackupMethod.Format InvalidInstanceIds.Malformed InvalidInstances.Format \
         InvalidInstances.Malformed InvalidInstanceName.Malformed InvalidPassword.Malformed \
         InvalidTagKey.Malformed InvalidTagValue.Malformed Duplicate.TagKey ResourceGroupId.InValid \
         ResourceGroupNotExist ClassicExpiredDaysError",
    ),
    row(
        "cloud.setting_invalid",
        Kind::Provider,
        Retry::Never,
        "The cloud minds an account, address, whitelist or task setting of the instance; its message says which. Change it in the console.",
        &[],
        "AtLeastOneNetTypeExists ConnectionStringAlreadyExists DirectConnectionAlreadyExists \
         EnabledSSLNotSupport IncorrectAccount IncorrectTaskStatus InvalidAccountDescription.Format \
         InvalidAccountName.Duplicate InvalidAccountName.Forbid InvalidAccountName.Format \
         InvalidAccountName.NotFound InvalidAccountPassword.Format InvalidAccountPrivilege.Format \
         InvalidAccountPrivilege.Malformed InvalidConnType InvalidConnectionString \
         InvalidConnectionString.Format InvalidConnectionStringOrPort.Duplicate \
         InvalidDBInstanceAccountMode.Format InvalidGroupName.Format InvalidIPType.Format \
         InvalidSecurityIPList.Duplicate InvalidSecurityIPList.Format InvalidSecurityIPList.NotFound \
         InvalidUser.NotFound NetTypeExists NetTypeNotExists NewConnectionStringNotSupport \
         NewSSLAlreadyEnabled OperationDenied.AccountStatus ResourceAlreadyExists SSLNotSupportNetType \
         SecurityIPList.Duplicate TaskModifyError",
    ),
];
