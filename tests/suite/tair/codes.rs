//! Every error code that the cloud publishes becomes a fault that says what to do, and nothing leaks on the way.

use std::collections::BTreeSet;
use std::time::Duration;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::tair::codes::{self, meaning};
use tair_backup_mcp::tair::error::{CloudError, FailedLink, NoCredentials, TairError};
use tair_backup_mcp::tair::published;
use tair_backup_mcp::tair::retry::Retry;

fn error(code: &str) -> CloudError {
    CloudError {
        action: "CreateBackup".into(),
        code: code.into(),
        message: published::find(code).map_or_else(String::new, |p| p.message.into()),
        request_id: "AD425AD3-0000".into(),
        status: 400,
        retry_after: None,
    }
}

fn fault(code: &str) -> Fault {
    TairError::Cloud(Box::new(error(code))).into()
}

/// The whole published table: each code has a row of its own, and its fault a dotted code, a hint, and a message of ours.
#[test]
fn every_published_code_becomes_a_fault() {
    let mut codes = BTreeSet::new();
    for row in published::all() {
        assert!((400..600).contains(&row.status), "{row:?}");
        codes.insert(row.code);
        let fault = fault(row.code);
        assert_ne!(fault.code, "cloud.refused", "{} has no row", row.code);
        assert!(fault.code.split('.').count() == 2 && !fault.code.contains(char::is_uppercase), "{}", fault.code);
        assert!(fault.hint.len() > 20, "{} has no hint", row.code);
        assert!(fault.message.contains(row.code) && fault.message.contains("AD425AD3"), "{}", fault.message);
        assert_eq!(fault.retry_after, meaning(row.code).retry.after(), "{}", row.code);
    }
    assert!(codes.len() > 215, "only {} codes", codes.len());
}

/// No row is asked for a code twice, and each code that a row has is published.
#[test]
fn the_rows_are_disjoint_and_published() {
    let published: BTreeSet<String> = published::all().map(|p| p.code.to_ascii_lowercase()).collect();
    let mut seen = BTreeSet::new();
    for code in codes::all().iter().flat_map(|m| m.codes()) {
        assert!(seen.insert(code.to_ascii_lowercase()), "{code} is in two rows");
        assert!(published.contains(&code.to_ascii_lowercase()), "{code} is not published");
    }
}

/// The judgements that calls are repeated by.
#[test]
fn retries_follow_the_code() {
    for (code, retry, kind) in [
        ("Throttling.User", Retry::SlowDown, Kind::Provider),
        ("Throttling.Whatever.Comes", Retry::SlowDown, Kind::Provider),
        ("throttling", Retry::SlowDown, Kind::Provider),
        ("ServiceUnavailable", Retry::Transient, Kind::Provider),
        ("InternalError", Retry::Transient, Kind::Provider),
        ("SignatureNonceUsed", Retry::NonceUsed, Kind::Provider),
        ("InvalidTimeStamp.Expired", Retry::Clock, Kind::Provider),
        ("InvalidSecurityToken.Expired", Retry::NewToken, Kind::Usage),
        ("BackupJobExists", Retry::WhenReady, Kind::Provider),
        ("IncorrectDBInstanceState", Retry::WhenReady, Kind::Provider),
        ("TaskExists", Retry::WhenReady, Kind::Provider),
        ("LockTimeout", Retry::SlowDown, Kind::Provider),
        ("BackupTimesExceeded", Retry::Tomorrow, Kind::Provider),
        ("INVALIDINSTANCEID.NOTFOUND", Retry::Never, Kind::NotFound),
        ("InvalidDBInstanceId.NotFound", Retry::Never, Kind::NotFound),
        ("Forbidden.RAM", Retry::Never, Kind::Provider),
        ("Forbidden.SomethingNew", Retry::Never, Kind::Provider),
        ("SomethingNobodyPublished", Retry::Never, Kind::Provider),
        ("", Retry::Never, Kind::Provider),
    ] {
        assert_eq!((meaning(code).retry, meaning(code).kind), (retry, kind), "{code}");
    }
    assert_eq!(meaning("SomethingNobodyPublished").fault, "cloud.refused");
}

/// The wait that the server asks for reaches the caller.
#[test]
fn the_servers_wait_is_passed_on() {
    let e = CloudError { retry_after: Some(Duration::from_millis(1500)), ..error("Throttling") };
    assert_eq!(Fault::from(TairError::Cloud(Box::new(e))).retry_after, Some(Duration::from_millis(1500)));
}

/// What the provider decides by is asked of the error, not read off its code.
#[test]
fn an_error_says_what_follows_from_it() {
    for code in ["InvalidInstanceId.NotFound", "invaliddbinstanceid.notfound", "SomeInstance.NotFound"] {
        assert!(error(code).says_no_such_instance(), "{code}");
    }
    for code in ["InvalidBackupSetID.NotFound", "Forbidden.RAM", "Nobody.Knows"] {
        assert!(!error(code).says_no_such_instance(), "{code}");
    }
    assert!(error("backupjobexists").says_backup_runs() && !error("TaskExists").says_backup_runs());
    assert!(error("DryRunOperation").says_dry_run_passed() && !error("Nobody.Knows").says_dry_run_passed());
    assert!(error("TaskExists").says_wait_until_ready() && !error("Throttling").says_wait_until_ready());
    assert!(error("Forbidden.RAM").is_final() && !error("Throttling").is_final());
    let daily = CloudError { message: "Exceeding the daily backup times of this instance.".into(), ..error("Odd") };
    assert!(daily.says_daily_limit_by_message() && !error("Odd").says_daily_limit_by_message());
    // The published code has a fault of its own, whatever the message.
    assert!(!CloudError { code: "BackupTimesExceeded".into(), ..daily }.says_daily_limit_by_message());
    let cloud = |code| TairError::Cloud(Box::new(error(code)));
    for code in ["Throttling", "InternalError", "IncorrectDBInstanceState"] {
        assert!(cloud(code).may_pass(), "{code}");
    }
    for code in ["BackupTimesExceeded", "Forbidden.RAM", "Nobody.Knows"] {
        assert!(!cloud(code).may_pass(), "{code}");
    }
    assert!(TairError::NoReply { action: String::new(), why: String::new() }.may_pass());
    assert!(!TairError::Uncertain { action: String::new(), why: String::new() }.may_pass());
    assert!(!TairError::NoRegion.is_cloud(|_| true));
}

/// Text from the wire is cleaned and capped before a model reads it.
#[test]
fn a_hostile_message_is_cleaned() {
    let message = format!("ignore\u{202e}\u{200b}\nall {}", "x".repeat(5000));
    let fault = Fault::from(TairError::Cloud(Box::new(CloudError { message, ..error("A\u{0}B") })));
    assert!(fault.message.len() < 700, "{}", fault.message.len());
    assert!(!fault.message.contains(['\u{202e}', '\u{200b}', '\n', '\u{0}']));
}

/// Every link that failed is named, in order.
#[test]
fn missing_credentials_name_every_link() {
    let link = |link: &str, why: &str| FailedLink { link: link.into(), why: why.into() };
    let e = NoCredentials(vec![link("environment", "X is not set"), link("OIDC", "Y is not set")]);
    let fault = Fault::from(TairError::NoCredentials(e));
    assert_eq!(fault.message, "no credentials for Alibaba Cloud — environment: X is not set; OIDC: Y is not set");
    assert_eq!((fault.kind, fault.code), (Kind::Usage, "credentials.none"));
}
