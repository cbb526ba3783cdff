//! The client of the cloud's API: what it sends, what it repeats, what it must never repeat, and what it says of failures.

use crate::support::http_server::{Answer, Seen, Server, handler, serve};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tair_backup_mcp::config::tair::{TairConfig, address};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::tair::client::{Client, RetryPolicy};
use tair_backup_mcp::tair::environment::Environment;
use tair_backup_mcp::tair::error::TairError;
use tair_backup_mcp::tair::incoming::Incoming;
use tair_backup_mcp::tair::limiter::Limiter;
use tair_backup_mcp::tair::verify::verify;
use tair_backup_mcp::tair::wire::backups::{CreateBackup, DeleteBackup, DescribeBackups};
use tair_backup_mcp::tair::wire::clusters::DescribeClusterBackupList;
use tair_backup_mcp::tair::wire::instances::DescribeInstances;
use tair_backup_mcp::tair::wire::policy::DescribeBackupPolicy;
use tair_backup_mcp::tair::wire::regions::DescribeRegions;
use tair_backup_mcp::tair::wire::{Action, Minute};

const SECRET: &str = "s3cr3tOfTheTest";

pub fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment::of(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>())
}

fn keys() -> Environment {
    env(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "testAKID"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)])
}

pub fn config(url: &str) -> TairConfig {
    TairConfig {
        region: Some("cn-hangzhou".into()),
        endpoint: Some(address("endpoint", url, false).unwrap()),
        requests_per_second: 1000.0,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(1),
        ..TairConfig::default()
    }
}

const HASTE: RetryPolicy =
    RetryPolicy { attempts: 3, first: Duration::from_millis(2), longest: Duration::from_millis(500) };

fn client(server: &Server) -> Client {
    Client::with(config(&server.url()), &keys(), HASTE).unwrap()
}

/// The members that every policy has.
const POLICY: &str =
    r#"{"PreferredBackupTime":"02:00Z-03:00Z","PreferredBackupPeriod":"Monday","BackupRetentionPeriod":"7"}"#;

/// A policy whose request id says who answered.
fn policy_by(who: &str) -> Answer {
    Answer::ok(POLICY.replacen('{', &format!(r#"{{"RequestId":"{who}","#), 1))
}

fn policy() -> DescribeBackupPolicy {
    DescribeBackupPolicy { instance_id: "r-1".into() }
}

fn backup() -> CreateBackup {
    CreateBackup { instance_id: "r-1".into(), backup_retention_period: Some(7) }
}

fn check(seen: &Seen, secret: &str) {
    let request = Incoming { method: &seen.method, query: &seen.query, headers: &seen.headers, body: &seen.body };
    verify(&request, |id| (id == "testAKID").then(|| Secret::new(secret)), Timestamp::now()).unwrap();
}

/// What goes over the wire is what a server of the API verifies, with everything in its place.
#[tokio::test]
async fn requests_are_signed_and_complete() {
    let server = Server::start(|_, _| Answer::cloud(POLICY.replacen('{', r#"{"ClusterBackups":[],"#, 1))).await;
    let client = client(&server);
    assert_eq!(client.call(&policy()).await.unwrap().backup_retention_period, Some(7));
    let at = Minute("2026-01-02T03:04:05Z".parse().unwrap());
    let list = DescribeClusterBackupList {
        region_id: "cn-beijing".into(),
        instance_id: "r-1".into(),
        start_time: at,
        end_time: at,
        cluster_backup_id: None,
        page_number: None,
        page_size: None,
        no_shard_backup: None,
    };
    client.call(&list).await.unwrap();
    let [first, second] = &server.seen()[..] else { panic!("two requests") };
    for seen in [first, second] {
        check(seen, SECRET);
        assert_eq!((seen.path.as_str(), seen.body.len()), ("/", 0));
        assert_eq!(seen.header("host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
        assert_eq!(seen.header("accept"), Some("application/json"));
        let agent = concat!(
            "tair-backup-mcp/",
            env!("CARGO_PKG_VERSION"),
            " AlibabaCloud-Agent-Skills/alibabacloud-tair-agent-skills"
        );
        assert_eq!(seen.header("user-agent"), Some(agent));
        assert_eq!(seen.header("x-acs-security-token"), None);
        assert!(!format!("{seen:?}").contains(SECRET));
    }
    assert_eq!((first.method.as_str(), first.header("content-length")), ("POST", Some("0")));
    assert_eq!((second.method.as_str(), second.action()), ("GET", "DescribeClusterBackupList"));
    assert_eq!(first.query, "InstanceId=r-1&RegionId=cn-hangzhou");
    assert_eq!(second.param("RegionId").unwrap(), "cn-beijing");
    assert_eq!(second.param("StartTime").unwrap(), "2026-01-02T03:04Z");
}

/// An STS token travels in its two headers, signed.
#[tokio::test]
async fn a_token_is_sent_and_signed() {
    let server = Server::start(|_, _| Answer::cloud(POLICY)).await;
    let env = env(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "testAKID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "tok=="),
        ("REGION", "cn-beijing"),
    ]);
    let client = Client::with(TairConfig { region: None, ..config(&server.url()) }, &env, HASTE).unwrap();
    client.call(&policy()).await.unwrap();
    let seen = &server.seen()[0];
    check(seen, SECRET);
    assert_eq!(seen.header("x-acs-security-token"), Some("tok=="));
    assert_eq!(seen.header("x-acs-accesskey-id"), Some("testAKID"));
    assert_eq!(seen.param("RegionId").unwrap(), "cn-beijing");
    assert!(!format!("{:?} {client:?}", client.credentials().await.unwrap()).contains("tok="));
}

/// A read is sent again after failures that pass, whatever their status, each time with a nonce and signature of its own.
#[tokio::test]
async fn reads_are_repeated_by_code() {
    type Bad = fn() -> Answer;
    let passing: [(&str, Bad); 9] = [
        ("throttled", || Answer::error(400, "Throttling.User")),
        ("throttled, newer gateway", || Answer::error(429, "Throttling.Api")),
        ("unavailable", || Answer::error(503, "ServiceUnavailable")),
        ("failed", || Answer::error(500, "InternalError")),
        ("failed with an odd status", || Answer::error(403, "InternalError")),
        ("nonce used", || Answer::error(400, "SignatureNonceUsed")),
        ("a gateway without a message", || Answer::status(502, "<html>bad gateway</html>")),
        ("closed", || Answer::Close),
        ("silence", || Answer::Hang),
    ];
    for (what, bad) in passing {
        let server = Server::start(move |n, _| if n < 2 { bad() } else { Answer::cloud(POLICY) }).await;
        client(&server).call(&policy()).await.expect(what);
        let seen = server.seen();
        seen.iter().for_each(|s| check(s, SECRET));
        let nonces: HashSet<_> = seen.iter().map(|s| s.header("x-acs-signature-nonce").unwrap().to_owned()).collect();
        assert_eq!((seen.len(), nonces.len()), (3, 3), "{what}");
    }
}

/// It gives up: after its attempts, and at once for errors that waiting does not cure, whatever their status.
#[tokio::test]
async fn reads_are_not_repeated_for_ever() {
    for (status, code, attempts) in [
        (400, "Throttling", 3),
        // A server that fails may answer the next time, whatever it calls the failure.
        (503, "InvalidInstanceId.NotFound", 3),
        (500, "Forbidden.RAM", 3),
        (500, "SomethingNew", 3),
        (404, "InvalidInstanceId.NotFound", 1),
        (403, "IncorrectDBInstanceState", 1),
        (418, "SomethingNew", 1),
    ] {
        let server = Server::start(move |_, _| Answer::error(status, code)).await;
        let e = client(&server).call(&policy()).await.unwrap_err();
        assert!(e.is_code(&code.to_lowercase()), "{e}");
        assert_eq!(server.seen().len(), attempts, "{code}");
    }
}

/// The wait that the cloud names is kept; one that is too long becomes the answer.
#[tokio::test]
async fn the_clouds_wait_is_kept() {
    let server = Server::start(|n, _| match n {
        0 => Answer::error(429, "Throttling.User").header("x-acs-retry-after", "300"),
        _ => Answer::cloud(POLICY),
    })
    .await;
    let started = Instant::now();
    client(&server).call(&policy()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());

    let server = Server::start(|_, _| Answer::error(429, "Throttling.User").header("x-acs-retry-after", "90000")).await;
    let fault: Fault = client(&server).call(&policy()).await.unwrap_err().into();
    assert_eq!((fault.code, fault.retry_after), ("cloud.throttled", Some(Duration::from_secs(90))));
    assert_eq!(server.seen().len(), 1);
}

/// A write whose outcome is not known is sent once, and the answer says so.
#[tokio::test]
async fn a_write_is_never_repeated_blindly() {
    type Bad = fn() -> Answer;
    let unknown: [(&str, Bad); 13] = [
        ("silence", || Answer::Hang),
        ("closed", || Answer::Close),
        ("500 without a message", || Answer::status(500, "")),
        ("InternalError", || Answer::error(500, "InternalError")),
        ("ServiceUnavailable", || Answer::error(503, "ServiceUnavailable")),
        ("SignatureNonceUsed", || Answer::error(400, "SignatureNonceUsed")),
        ("a reply that cannot be read", || Answer::cloud("<html>")),
        ("a reply that lacks the job", || Answer::ok(r#"{"RequestId":"1"}"#)),
        ("a code that nobody published", || Answer::error(400, "Something.New")),
        ("the same with a form that a rule knows", || Answer::error(403, "Forbidden.Something.New")),
        ("a published code of a server that failed", || Answer::error(500, "Forbidden.RAM")),
        ("throttled by a server that failed", || Answer::error(503, "Throttling.User")),
        ("a proxy's message", || Answer::status(407, "<html>who are you?</html>")),
    ];
    for (what, bad) in unknown {
        let server = Server::start(move |_, _| bad()).await;
        let e = client(&server).call(&backup()).await.expect_err(what);
        assert!(e.is_uncertain(), "{what}: {e}");
        assert_eq!(server.seen().len(), 1, "{what}");
        let fault: Fault = e.into();
        assert_eq!(fault.code, "cloud.uncertain");
        assert!(!fault.next_actions.is_empty() && fault.retry_after.is_none());
    }
}

/// A write that was turned away before anything was done is sent again, and a refusal is an answer.
#[tokio::test]
async fn a_write_that_did_nothing_is_repeated() {
    let server = Server::start(|n, _| match n {
        0 => Answer::error(400, "Throttling.Api"),
        1 => Answer::error(403, "ServerBusy"),
        _ => Answer::ok(r#"{"BackupJobID":"1022,2480","RequestId":"1"}"#),
    })
    .await;
    assert_eq!(client(&server).call(&backup()).await.unwrap().jobs(), ["1022", "2480"]);
    assert_eq!(server.seen().len(), 3);
    for code in ["BackupJobExists", "IncorrectDBInstanceState", "BackupTimesExceeded"] {
        let server = Server::start(move |_, _| Answer::error(400, code)).await;
        let e = client(&server).call(&backup()).await.unwrap_err();
        assert!(e.is_code(code) && !e.is_uncertain());
        assert_eq!(server.seen().len(), 1);
    }
}

/// Where nobody listens, or no TLS is spoken, nothing was sent: even a write may be tried again, and says so.
#[tokio::test]
async fn nothing_is_sent_without_a_connection() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::with(config(&format!("http://127.0.0.1:{port}")), &keys(), HASTE).unwrap();
    let e = client.call(&backup()).await.unwrap_err();
    assert!(matches!(e, TairError::Unreachable { .. }), "{e}");
    let plain = Server::start(|_, _| Answer::cloud(POLICY)).await;
    let client = Client::with(config(&format!("https://127.0.0.1:{}", plain.port)), &keys(), HASTE).unwrap();
    let fault: Fault = client.call(&backup()).await.unwrap_err().into();
    assert_eq!(fault.code, "cloud.unreachable");
    assert!(!fault.message.contains("RetentionPeriod"), "{}", fault.message);
}

/// A clock that is off is put right by the cloud's, once.
#[tokio::test]
async fn the_clouds_clock_is_used() {
    let expired = || Answer::error(400, "InvalidTimeStamp.Expired").header("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let server = Server::start(move |n, seen| match (n, seen.action()) {
        (0, _) => expired(),
        (_, "CreateBackup") => Answer::cloud(r#"{"BackupJobID":"1"}"#),
        _ => Answer::cloud(POLICY),
    })
    .await;
    let client_ = client(&server);
    client_.call(&backup()).await.unwrap();
    assert!(server.seen()[1].header("x-acs-date").unwrap().starts_with("1994-11-06T08:49"));
    client_.call(&policy()).await.unwrap();
    assert!(server.seen()[2].header("x-acs-date").unwrap().starts_with("1994-11-06T08:49"));
    let server = Server::start(move |_, _| expired()).await;
    assert!(client(&server).call(&policy()).await.unwrap_err().is_code("InvalidTimeStamp.Expired"));
    assert_eq!(server.seen().len(), 2);
}

/// Every reply shows the cloud's clock, also one that succeeds: what is asked in its times is asked in them.
#[tokio::test]
async fn every_reply_shows_the_clock() {
    let date = |at: Timestamp| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for minutes in [-14, 14] {
        let skew = jiff::SignedDuration::from_mins(minutes);
        let server =
            Server::start(move |_, _| Answer::cloud(POLICY).header("Date", date(Timestamp::now() + skew))).await;
        let client = client(&server);
        assert!(client.now().duration_since(Timestamp::now()).abs() < jiff::SignedDuration::from_secs(1));
        client.call(&policy()).await.unwrap();
        let off = client.now().duration_since(Timestamp::now() + skew);
        assert!(off.abs() <= jiff::SignedDuration::from_secs(2), "{minutes}: {off:?}");
        client.call(&policy()).await.unwrap();
        let signed: Timestamp = server.seen()[1].header("x-acs-date").unwrap().parse().unwrap();
        assert!(signed.duration_since(client.now()).abs() <= jiff::SignedDuration::from_secs(3), "{signed}");
    }
}

/// Credentials that the cloud calls expired are renewed once, where there are others to be had.
#[tokio::test]
async fn an_expired_token_is_renewed() {
    let uri = Server::start(|n, _| {
        Answer::cloud(format!(
            r#"{{"Code":"Success","AccessKeyId":"testAKID","AccessKeySecret":"s{n}","SecurityToken":"t{n}","Expiration":"2999-01-01T00:00:00Z"}}"#
        ))
    })
    .await;
    let server = Server::start(|_, seen| match seen.header("x-acs-security-token") {
        Some("t1") => Answer::cloud(r#"{"BackupJobID":"1"}"#),
        _ => Answer::error(403, "InvalidSecurityToken.Expired"),
    })
    .await;
    let env =
        env(&[("ALIBABA_CLOUD_CREDENTIALS_URI", uri.url().as_str()), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]);
    let renewing = Client::with(config(&server.url()), &env, HASTE).unwrap();
    renewing.call(&backup()).await.unwrap();
    assert_eq!((uri.seen().len(), server.seen().len()), (2, 2));
    check(&server.seen()[1], "s1");
    // The environment's do not change: once is enough.
    let e = client(&server).call(&backup()).await.unwrap_err();
    assert!(e.is_code("InvalidSecurityToken.Expired"));
    assert_eq!(server.seen().len(), 3);
}

/// Keys that a renewal has made another account's or user's send no write that was begun before: neither where the renewal comes within the
/// write, nor where it came by a read between. Those of the same user send it.
#[tokio::test]
async fn what_one_began_another_does_not_send() {
    for (account, user, is_same) in [("123", "300", true), ("124", "300", false), ("123", "301", false)] {
        for (by_a_read, others_asked) in [(false, false), (true, false), (true, true)] {
            let mut given = 0;
            let server = Server::start(move |_, seen| {
                if seen.path == "/uri" {
                    given += 1;
                    return Answer::ok(format!(
                        r#"{{"Code":"Success","AccessKeyId":"STS.{given}","AccessKeySecret":"s","SecurityToken":"t{given}","Expiration":"2999-01-01T00:00:00Z"}}"#
                    ));
                }
                let is_renewed = seen.header("x-acs-security-token") == Some("t2");
                match seen.action() {
                    "GetCallerIdentity" if is_renewed => {
                        Answer::cloud(format!(r#"{{"AccountId":"{account}","PrincipalId":"{user}:two"}}"#))
                    }
                    "GetCallerIdentity" => Answer::cloud(r#"{"AccountId":"123","PrincipalId":"300:one"}"#),
                    _ if !is_renewed => Answer::error(403, "InvalidSecurityToken.Expired"),
                    "CreateBackup" => Answer::cloud(r#"{"BackupJobID":"1"}"#),
                    _ => Answer::cloud(POLICY),
                }
            })
            .await;
            let uri = format!("{}/uri", server.url());
            let vars =
                [("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")];
            let sts_endpoint = Some(address("sts_endpoint", &server.url(), false).unwrap());
            let config = TairConfig { sts_endpoint, ..config(&server.url()) };
            let client = Client::with(config, &env(&vars), HASTE).unwrap();
            let access = client.access().await.unwrap();
            if by_a_read {
                client.call(&policy()).await.unwrap();
            }
            let sent = if others_asked {
                // What a job has begun stays its own, whoever asked who calls since.
                client.access().await.unwrap();
                client.begun_by(&access).call(&backup()).await
            } else {
                client.call(&backup()).await
            };
            let by_renewed =
                |seen: &Seen| seen.action() == "CreateBackup" && seen.header("x-acs-security-token") == Some("t2");
            let case = format!("{account} {user}, by a read {by_a_read}, others asked {others_asked}");
            assert_eq!(server.seen().iter().filter(|seen| by_renewed(seen)).count(), usize::from(is_same), "{case}");
            match sent {
                Ok(_) => assert!(is_same, "{case}"),
                Err(e) => assert!(!is_same && matches!(e, TairError::OtherCaller { .. }), "{case}: {e}"),
            }
        }
    }
}

fn describe() -> DescribeBackups {
    let at = Minute("2026-01-02T03:04:05Z".parse().unwrap());
    DescribeBackups {
        instance_id: "r-1".into(),
        start_time: at,
        end_time: at,
        backup_id: None,
        backup_job_id: None,
        page_number: None,
        page_size: None,
    }
}

fn page_of(seen: &Seen, size: usize) -> (usize, usize) {
    let number: usize = seen.param("PageNumber").unwrap().parse().unwrap();
    ((number - 1) * size + 1, number * size)
}

/// A list is read to its end, with its own page size, and rows that come twice are given once.
#[tokio::test]
async fn lists_are_read_to_their_end() {
    // 700 sets, newest first; a new one comes up between the first and the second page, so one row comes twice.
    let server = Server::start(|n, seen| {
        assert_eq!(seen.param("PageSize").unwrap(), "300");
        let (from, to) = page_of(seen, 300);
        let rows: Vec<_> =
            (from..=to.min(700)).map(|i| format!(r#"{{"BackupId":{}}}"#, i - usize::from(n > 0))).collect();
        Answer::cloud(format!(r#"{{"PageSize":300,"TotalCount":"700","Backups":{{"Backup":[{}]}}}}"#, rows.join(",")))
    })
    .await;
    let rows = client(&server).list(&describe()).await.unwrap();
    assert_eq!((server.seen().len(), rows.len()), (3, 699));

    // A server that gives smaller pages than asked for, and no total.
    let server = Server::start(|_, seen| {
        let (from, to) = page_of(seen, 50);
        let rows: Vec<_> = (from..=to.min(120)).map(|i| format!(r#"{{"ClusterBackupId":"cb-{i}"}}"#)).collect();
        Answer::cloud(format!(r#"{{"PageSize":50,"ClusterBackups":[{}]}}"#, rows.join(",")))
    })
    .await;
    let list = DescribeClusterBackupList {
        region_id: "cn-beijing".into(),
        instance_id: "r-1".into(),
        start_time: describe().start_time,
        end_time: describe().end_time,
        cluster_backup_id: None,
        page_number: None,
        page_size: None,
        no_shard_backup: None,
    };
    assert_eq!(client(&server).list(&list).await.unwrap().len(), 120);
    assert_eq!(server.seen().len(), 3);

    let none = Server::start(|_, _| Answer::cloud(r#"{"TotalCount":0,"Instances":{"KVStoreInstance":[]}}"#)).await;
    assert!(client(&none).list(&DescribeInstances::default()).await.unwrap().is_empty());
}

/// A list that loses a row while its pages are read is read anew, for the row behind it has moved up to a page that was read already; one that
/// loses rows again and again is an error.
#[tokio::test]
async fn a_list_that_loses_rows_is_read_anew() {
    for losses in [1, 2, 9] {
        let mut gone = 0;
        let server = Server::start(move |_, seen| {
            let (from, to) = page_of(seen, 300);
            let total = 700 - gone;
            let rows: Vec<_> = (from..=to.min(total)).map(|i| format!(r#"{{"BackupId":{}}}"#, i + gone)).collect();
            // The newest goes when the first page was read.
            gone += usize::from(from == 1 && gone < losses);
            Answer::cloud(format!(
                r#"{{"PageSize":300,"TotalCount":{total},"Backups":{{"Backup":[{}]}}}}"#,
                rows.join(",")
            ))
        })
        .await;
        let read = client(&server).list(&describe()).await;
        if losses > 2 {
            assert!(matches!(read.map(|_| ()).unwrap_err(), TairError::BadReply { .. }));
            assert_eq!(server.seen().len(), 6, "three readings");
        } else {
            let ids: Vec<String> = read.unwrap().into_iter().filter_map(|row| row.backup_id).collect();
            let there: Vec<String> = (losses + 1..=700).map(|i| i.to_string()).collect();
            assert_eq!(ids, there, "{losses}");
        }
    }
}

/// A part of a list never passes for the whole.
#[tokio::test]
async fn a_broken_list_is_an_error() {
    for body in [
        r#"{"PageSize":300,"TotalCount":5,"Backups":{"Backup":[]}}"#,
        r#"{"PageSize":300,"TotalCount":5}"#,
        r#"{"PageSize":300,"TotalCount":5,"Backups":"later"}"#,
        r#"{"PageSize":300,"TotalCount":5,"Backups":{"Backup":[{"BackupId":1}]}"#,
    ] {
        let server = Server::start(move |_, _| Answer::cloud(body)).await;
        let e = client(&server).list(&describe()).await.map(|_| ()).unwrap_err();
        assert!(matches!(e, TairError::BadReply { .. }), "{e}");
    }
}

/// 200 alone is no success: what has an error's code, has no id of a request, or lacks what was asked for came from somebody else.
#[tokio::test]
async fn not_every_200_is_a_reply() {
    for body in [
        "{}",
        r#"{"status":"login required"}"#,
        r#"{"RequestId":"R"}"#,
        r#"{"RequestId":"","Backups":{"Backup":[]}}"#,
        r#"{"Backups":{"Backup":[]}}"#,
        r#"{"RequestId":"R","Code":"Forbidden.RAM","Backups":{"Backup":[]}}"#,
        r#"{"RequestId":"R","code":403,"Backups":{"Backup":[]}}"#,
        r#"{"RequestId":"R","Instances":{"KVStoreInstance":[]}}"#,
    ] {
        let server = Server::start(move |_, _| Answer::ok(body)).await;
        let read = client(&server).list(&describe()).await.map(|_| ()).unwrap_err();
        assert!(matches!(read, TairError::BadReply { .. }), "{body}: {read}");
        let policy = client(&server).call(&policy()).await.map(|_| ()).unwrap_err();
        assert!(matches!(policy, TairError::BadReply { .. }), "{body}: {policy}");
        // Something may have been done nevertheless.
        let server = Server::start(move |_, _| Answer::ok(body)).await;
        let write = client(&server).call(&backup()).await.unwrap_err();
        assert!(write.is_uncertain() && server.seen().len() == 1, "{body}: {write}");
    }
    // Old gateways name the action around the reply, and no request in it.
    let old = r#"{"DescribeBackupsResponse":{"TotalCount":"0","Backups":""}}"#;
    let server = Server::start(move |_, _| Answer::ok(old)).await;
    assert!(client(&server).list(&describe()).await.unwrap().is_empty());
}

/// Whatever a listing says of its length and its pages: all rows, or an error, and never without an end.
#[tokio::test]
async fn every_row_of_a_list_is_read_whatever_it_says_of_itself() {
    for (size, total) in
        [(true, "700"), (false, "700"), (true, "0"), (false, "0"), (true, ""), (false, ""), (true, "3")]
    {
        for rows in [0, 1, 99, 100, 101, 250, 700] {
            let server = Server::start(move |_, seen| {
                let (from, to) = page_of(seen, 100);
                let rows: Vec<_> = (from..=to.min(rows)).map(|i| format!(r#"{{"BackupId":{i}}}"#)).collect();
                let size = if size { r#""PageSize":100,"# } else { "" };
                let total = if total.is_empty() { String::new() } else { format!(r#""TotalCount":{total},"#) };
                Answer::cloud(format!(r#"{{{size}{total}"Backups":{{"Backup":[{}]}}}}"#, rows.join(",")))
            })
            .await;
            match client(&server).list(&describe()).await {
                Ok(read) => assert_eq!(read.len(), rows, "size {size}, total {total}"),
                Err(e) => assert!(total.parse().is_ok_and(|total: usize| total > rows), "{rows} of {total}: {e}"),
            }
        }
    }
    // A server that gives its first page for every number.
    for more in ["", r#""PageSize":2,"#, r#""TotalCount":9,"#, r#""PageSize":2,"TotalCount":9,"#] {
        let server = Server::start(move |_, _| {
            Answer::cloud(format!(r#"{{{more}"Backups":{{"Backup":[{{"BackupId":1}},{{"BackupId":2}}]}}}}"#))
        })
        .await;
        let read = client(&server).list(&describe()).await;
        assert_eq!(read.is_err(), !more.is_empty(), "{more}");
        assert!(server.seen().len() <= 3);
    }
}

/// A secret of ours that the cloud quotes is shown nowhere, in whatever form it is quoted.
#[tokio::test]
async fn a_quoted_secret_is_taken_out() {
    const TOKEN: &str = "CAIS/token+of/the+Test==";
    let forms = [
        TOKEN.to_owned(),
        SECRET.to_owned(),
        "CAIS%2Ftoken%2Bof%2Fthe%2BTest%3D%3D".to_owned(),
        "CAIS%2ftoken%2bof%2fthe%2bTest%3d%3d".to_owned(),
        "CAIS%252Ftoken%252Bof%252Fthe%252BTest%253D%253D".to_owned(),
        r"CAIS\/token+of\/the+Test==".to_owned(),
        r"CAIS/token+of/the+Test\u003d\u003d".to_owned(),
        r"CAIS\/token\u002bof\u002Fthe\u002BTest\u003d\u003d".to_owned(),
        "CAIS/token%2Bof/the%2BTest%3D%3D".to_owned(),
        "CAIS/token&#43;of/the&#x2B;Test&#61;&#61;".to_owned(),
        TOKEN.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
    ];
    let env = env(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "testAKID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", TOKEN),
    ]);
    for form in forms {
        let (failed, listed) = (form.clone(), form.clone());
        let server = Server::start(move |_, seen| match seen.action() {
            "DescribeInstances" => Answer::cloud(format!(
                r#"{{"TotalCount":1,"PageSize":30,"Instances":{{"KVStoreInstance":[{{"InstanceId":"r-1","InstanceName":"n {listed} n"}}]}}}}"#
            )),
            _ => Answer::status(
                400,
                format!(r#"{{"Code":"SignatureDoesNotMatch","Message":"x-acs-security-token:{failed}, so","RequestId":"{failed}"}}"#),
            ),
        })
        .await;
        let client = Client::with(config(&server.url()), &env, HASTE).unwrap();
        let e = client.call(&policy()).await.unwrap_err();
        let listed = client.list(&DescribeInstances::default()).await.unwrap();
        for shown in [format!("{e:?}"), e.to_string(), format!("{:?}", Fault::from(e)), format!("{listed:?}")] {
            assert!(!shown.contains("oken") || shown.contains("x-acs-security-token:***, so"), "{form}: {shown}");
            assert!(!shown.contains("CAIS") && !shown.contains(SECRET), "{form}: {shown}");
        }
    }
}

/// A redirect is not followed: a signature is for one host.
#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Server::start(|_, _| Answer::cloud(POLICY)).await;
    let to = other.url();
    let server = Server::start(move |_, _| Answer::status(307, "").header("Location", to.clone())).await;
    let e = client(&server).call(&policy()).await.unwrap_err();
    assert!(matches!(e, TairError::BadReply { .. }), "{e}");
    assert!(other.seen().is_empty());
}

/// A burst of a second's worth goes at once, then the rate holds; a pause holds everybody.
#[tokio::test]
async fn the_rate_is_limited() {
    let limiter = Limiter::new(100.0);
    let started = Instant::now();
    for _ in 0..150 {
        limiter.acquire().await;
    }
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());
    let started = Instant::now();
    limiter.pause(Duration::from_millis(200));
    limiter.acquire().await;
    assert!(started.elapsed() >= Duration::from_millis(195), "{:?}", started.elapsed());
    for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        Limiter::new(odd).acquire().await;
    }
}

/// The run of [`proxies_of_the_environment_are_used`], in a process whose environment names a proxy.
#[tokio::test]
#[ignore = "run by another test, with a proxy in its environment"]
async fn through_the_proxy() {
    let direct = Server::start(|_, _| policy_by("direct")).await;
    let proxied = TairConfig {
        endpoint: Some(address("endpoint", "http://r-kvstore.invalid", true).unwrap()),
        ..config(&direct.url())
    };
    let client = Client::with(proxied, &keys(), HASTE).unwrap();
    assert_eq!(client.call(&policy()).await.unwrap().request_id, "proxy");
    let client = Client::with(config(&direct.url()), &keys(), HASTE).unwrap();
    assert_eq!(client.call(&policy()).await.unwrap().request_id, "direct");
}

/// A proxy of the environment is used, except for this machine.
#[tokio::test]
async fn proxies_of_the_environment_are_used() {
    let proxy = Server::start(|_, _| policy_by("proxy")).await;
    run_again("tair::client::through_the_proxy", &[("http_proxy", proxy.url())]).await;
    let seen = &proxy.seen()[0];
    assert_eq!(seen.path, "http://r-kvstore.invalid/");
    assert_eq!(seen.header("host"), Some("r-kvstore.invalid"));
}

/// The run of [`within_a_vpc_the_regions_own_services_are_asked`], in a process whose environment names a proxy.
#[tokio::test]
#[ignore = "run by another test, with a proxy in its environment"]
async fn within_a_vpc() {
    let within = TairConfig { vpc: true, endpoint: None, ..config("http://127.0.0.1:9") };
    let client = Client::with(within, &keys(), HASTE).unwrap();
    client.access().await.unwrap_err();
    client.call(&policy()).await.unwrap_err();
}

/// Within a VPC the central services are not reached: who calls is asked at the region's own, as everything else.
#[tokio::test]
async fn within_a_vpc_the_regions_own_services_are_asked() {
    let proxy = Server::start(|_, _| Answer::status(502, "")).await;
    run_again("tair::client::within_a_vpc", &[("https_proxy", proxy.url())]).await;
    let hosts: std::collections::BTreeSet<String> = proxy.seen().into_iter().map(|seen| seen.path).collect();
    let own = ["r-kvstore-vpc.cn-hangzhou.aliyuncs.com:443", "sts-vpc.cn-hangzhou.aliyuncs.com:443"];
    assert!(hosts.iter().eq(own), "{hosts:?}");
}

/// The run of [`who_calls_the_vendor_is_asked_of_its_service`], in a process whose environment names a proxy.
#[tokio::test]
#[ignore = "run by another test, with a proxy in its environment"]
async fn at_a_named_endpoint() {
    let at = |region: &str, host: &str| {
        let endpoint = Some(address("endpoint", host, false).unwrap());
        Client::with(
            TairConfig { region: Some(region.into()), endpoint, ..config("http://127.0.0.1:9") },
            &keys(),
            HASTE,
        )
    };
    let central = at("cn-shanghai", "r-kvstore.aliyuncs.com").unwrap();
    let within = at("cn-beijing", "https://R-KVSTORE-VPC.cn-beijing.aliyuncs.com").unwrap();
    let (central, within) = tokio::join!(central.access(), within.access());
    assert!(central.is_err() && within.is_err(), "{central:?} {within:?}");
    for own in ["r-kvstore.aliyuncs.com.invalid", "notaliyuncs.com", "https://127.0.0.1:9"] {
        let access = at("cn-hangzhou", own).unwrap().access().await.unwrap();
        assert_eq!((access.account.as_str(), access.principal.as_str()), ("testAKID", "testAKID"), "{own}");
    }
}

/// An endpoint that is named and is the vendor's own has the vendor's service tell who calls, within a VPC the region's; of any other nobody
/// is asked.
#[tokio::test]
async fn who_calls_the_vendor_is_asked_of_its_service() {
    let proxy = Server::start(|_, _| Answer::status(502, "")).await;
    run_again("tair::client::at_a_named_endpoint", &[("https_proxy", proxy.url())]).await;
    let hosts: std::collections::BTreeSet<String> = proxy.seen().into_iter().map(|seen| seen.path).collect();
    assert!(hosts.iter().eq(["sts-vpc.cn-beijing.aliyuncs.com:443", "sts.aliyuncs.com:443"]), "{hosts:?}");
}

async fn run_again(test: &str, vars: &[(&str, String)]) {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).envs(vars.iter().map(|(k, v)| (*k, v.as_str())));
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// The run of [`https_is_verified`], in a process that trusts the test's authority.
#[tokio::test]
#[ignore = "run by another test, with an authority of its own in its environment"]
async fn over_tls() {
    let url = |host: &str| format!("https://{host}:{}", std::env::var("TEST_TLS_PORT").unwrap());
    let good = Client::with(config(&url("localhost")), &keys(), HASTE).unwrap();
    assert_eq!(good.call(&policy()).await.unwrap().request_id, "tls");
    // The certificate is for localhost and for nothing else.
    let other = Client::with(config(&url("127.0.0.1")), &keys(), HASTE).unwrap();
    let e = other.call(&policy()).await.unwrap_err();
    assert!(matches!(&e, TairError::Unreachable { why, .. } if why.contains("certificate")), "{e}");
}

/// A certificate has to come from an authority that the machine trusts, and be for the host.
#[tokio::test]
async fn https_is_verified() {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring};
    let dir = tempfile::tempdir().unwrap();
    let script = "set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out csr -subj /CN=localhost
printf 'subjectAltName=DNS:localhost' >ext
openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out crt";
    let out = std::process::Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "openssl must be on PATH: {}", String::from_utf8_lossy(&out.stderr));
    let chain = CertificateDer::pem_file_iter(dir.path().join("crt")).unwrap().map(Result::unwrap).collect();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(dir.path().join("key")).unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (kept, answers) = (seen.clone(), handler(|_, _| policy_by("tls")));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, kept, answers) = (acceptor.clone(), kept.clone(), answers.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answers, kept).await;
                }
            });
        }
    });
    let untrusting = Client::with(config(&format!("https://localhost:{port}")), &keys(), HASTE).unwrap();
    assert!(matches!(untrusting.call(&backup()).await.unwrap_err(), TairError::Unreachable { .. }));
    assert!(seen.lock().unwrap().is_empty());
    let authority = dir.path().join("ca.crt").display().to_string();
    run_again("tair::client::over_tls", &[("SSL_CERT_FILE", authority), ("TEST_TLS_PORT", port.to_string())]).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// Regions are listed.
#[tokio::test]
async fn regions_are_listed() {
    let server = Server::start(|_, _| Answer::cloud(r#"{"RegionIds":{"KVStoreRegion":[{"RegionId":"a"}]}}"#)).await;
    let client = client(&server);
    let all = client.call(&DescribeRegions { accept_language: Some("en-US".into()) }).await.unwrap();
    assert_eq!(all.region_ids[0].region_id, "a");
    assert_eq!(DescribeRegions::NAME, "DescribeRegions");
}

/// Nor does the transport repeat a write: on a connection that was used before, and closes when the write has been read.
#[tokio::test]
async fn a_write_on_a_used_connection_is_sent_once() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (requests, connections) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let (asked, made) = (requests.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *made.lock().unwrap() += 1;
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    *asked.lock().unwrap() += 1;
                    if *asked.lock().unwrap() > 1 {
                        break;
                    }
                    let body = POLICY.replacen('{', r#"{"RequestId":"R","#, 1);
                    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            }
        }
    });
    let client = Client::with(config(&url), &keys(), HASTE).unwrap();
    client.call(&policy()).await.unwrap();
    assert!(client.call(&backup()).await.unwrap_err().is_uncertain());
    assert_eq!((*requests.lock().unwrap(), *connections.lock().unwrap()), (2, 1));
}

/// The right to delete one set deletes no other, neither of the instance nor elsewhere: nothing is sent.
#[test]
fn a_deletion_is_of_the_set_that_was_granted() {
    let place = crate::vault::Place::new();
    let set = place.set("b-20260101T000000Z-aaaaaa");
    let client = Client::with(config("http://127.0.0.1:1"), &keys(), HASTE).unwrap();
    let delete = |instance_id: &str, backup_id: &str| {
        let request = DeleteBackup { instance_id: instance_id.into(), backup_id: backup_id.into() };
        place.run(client.granted(crate::vault::expired(&set)).call(&request)).unwrap_err()
    };
    assert!(matches!(delete("orders", "b-2"), TairError::NotGranted { .. }));
    assert!(matches!(delete("carts", &set.id), TairError::NotGranted { .. }));
    // What was granted goes out, to nobody here.
    assert!(matches!(delete("orders", &set.id), TairError::Unreachable { .. }));
}
