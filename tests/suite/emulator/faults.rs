//! Fault injection: each fault is injected as described, and our own client survives it: reads are repeated, writes are not.

use crate::support::emulator::{Emulator, KEY, SECRET, Signing, client_by};
use crate::support::http_server::{Answer as HttpAnswer, Server};
use crate::support::{Bench, Redis, wait};
use crate::tair::client::env;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tair_backup_mcp::tair::error::TairError;
use tair_backup_mcp::tair::wire::backups::CreateBackup;
use tair_backup_mcp::tair::wire::policy::DescribeBackupPolicy;

fn stage(more: &[&str]) -> (Redis, Bench, Emulator) {
    let redis = Redis::start("valkey-8.1", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let emulator = Emulator::start(&bench, more);
    (redis, bench, emulator)
}

/// Reads get through throttling, errors and cut connections.
#[tokio::test]
async fn reads_are_repeated() {
    let (_redis, _bench, emulator) = stage(&["--fault-control"]);
    let client = emulator.client();
    let read = DescribeBackupPolicy { instance_id: "orders".into() };
    for fault in [
        json!({"kind": "throttle", "times": 2}),
        json!({"kind": "throttle", "status": 429, "retry_after_ms": 300}),
        json!({"kind": "error"}),
        json!({"kind": "error", "code": "InternalError", "action": "DescribeBackupPolicy"}),
        json!({"kind": "error_after", "code": "ServiceUnavailable"}),
        json!({"kind": "cut"}),
        json!({"kind": "cut_after"}),
    ] {
        emulator.inject(fault.clone());
        let began = Instant::now();
        let reply = client.call(&read).await.unwrap_or_else(|e| panic!("{fault}: {e}"));
        assert_eq!(reply.backup_retention_period, Some(7));
        let wait_ms = fault["retry_after_ms"].as_u64().unwrap_or(0);
        assert!(began.elapsed() >= Duration::from_millis(wait_ms), "{fault}: {:?}", began.elapsed());
        assert_eq!(emulator.left(), json!([]), "{fault} was not injected");
    }
}

/// A write that is throttled is repeated; one whose reply is lost is not, and its effect is found.
#[tokio::test]
async fn writes_are_not_repeated() {
    let (_redis, bench, emulator) = stage(&["--fault-control"]);
    let client = emulator.client();
    let write = CreateBackup { instance_id: "orders".into(), backup_retention_period: None };
    // A set is listed a moment before its job ends, and while the job runs another backup is refused.
    let over = || bench.jobs().iter().all(|job| job["status"] != "running");
    let sets = |n: usize| {
        wait("the sets", Duration::from_secs(30), || (bench.backups().len() == n && over()).then_some(()));
    };
    emulator.inject(json!({"kind": "throttle", "action": "CreateBackup"}));
    client.call(&write).await.unwrap();
    sets(1);
    for (n, (fault, effect)) in [
        (json!({"kind": "cut_after", "action": "CreateBackup"}), true),
        (json!({"kind": "error_after", "action": "CreateBackup"}), true),
        (json!({"kind": "cut", "action": "CreateBackup"}), false),
        (json!({"kind": "error", "code": "InternalError", "action": "CreateBackup"}), false),
    ]
    .into_iter()
    .enumerate()
    {
        emulator.inject(fault.clone());
        let reply = client.call(&write).await;
        assert!(matches!(reply, Err(TairError::Uncertain { .. })), "{fault}: {reply:?}");
        sets((n + 2).min(3));
        let jobs = bench.jobs().len();
        assert_eq!(jobs, (n + 2).min(3), "{fault} {effect}");
    }
}

/// Codes and headers are as requested; faults are injected only into the calls named, and as often as named.
#[test]
fn faults_are_injected_into_the_calls_named() {
    let more =
        ["--fault", "daily_limit", "--fault", "backup_job_exists", "--fault", "expired_token,action=DescribeRegions"];
    let (_redis, _bench, emulator) = stage(&more);
    assert_eq!(emulator.call("DescribeRegions", &[]).refused(), (403, "InvalidSecurityToken.Expired".into()));
    emulator.call("DescribeRegions", &[]).ok();
    let backup = || emulator.call("CreateBackup", &[("InstanceId", "orders")]);
    assert_eq!(backup().refused(), (400, "BackupTimesExceeded".into()));
    assert_eq!(backup().refused(), (400, "BackupJobExists".into()));
    backup().ok();
}

/// A token that expires is renewed, and the call is carried out under the new one.
#[tokio::test]
async fn a_token_that_expires_is_renewed() {
    let (_redis, bench, emulator) = stage(&["--fault-control", "--security-token", "t0,t1"]);
    let uri = Server::start(|n, _| {
        let [id, secret] = [KEY, SECRET];
        HttpAnswer::ok(
            json!({"Code": "Success", "AccessKeyId": id, "AccessKeySecret": secret, "SecurityToken": format!("t{n}"),
                "Expiration": "2999-01-01T00:00:00Z"})
            .to_string(),
        )
    })
    .await;
    let at = uri.url();
    let by = env(&[("ALIBABA_CLOUD_CREDENTIALS_URI", at.as_str()), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]);
    let client = client_by(emulator.port, &by);
    emulator.inject(json!({"kind": "expired_token", "action": "CreateBackup"}));
    client.call(&CreateBackup { instance_id: "orders".into(), backup_retention_period: None }).await.unwrap();
    assert_eq!((uri.seen().len(), emulator.left()), (2, json!([])));
    wait("the set", Duration::from_secs(30), || (bench.backups().len() == 1).then_some(()));
    // One renewal is enough: the emulator would refuse a third token.
    client.call(&DescribeBackupPolicy { instance_id: "orders".into() }).await.unwrap();
    assert_eq!(uri.seen().len(), 2);
}

/// The control path parses strictly, refuses browsers, and its faults need a signed call.
#[test]
fn faults_are_set_and_cleared() {
    let (_redis, _bench, emulator) = stage(&["--fault-control"]);
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let post = |headers: &[(String, String)], body: &Value| {
        emulator.raw("POST", "/faults", headers, body.to_string().as_bytes()).unwrap().status
    };
    let list = json!([{"kind": "throttle", "retry_after_ms": 1500, "times": 2}]);
    assert_eq!(post(&[emulator.host()], &list), 403);
    let page = ("origin".to_owned(), "http://127.0.0.1".to_owned());
    assert_eq!(post(&[emulator.host(), json.clone(), page], &list), 403);
    for bad in [
        json!([{"kind": "flood"}]),
        json!([{"kind": "cut", "time": 1}]),
        json!({}),
        json!([{"kind": "error", "status": 200}]),
        // Nothing that these begin could be slow, or fail later; and there is an end to their number.
        json!([{"kind": "slow", "action": "DeleteBackup"}]),
        json!([{"kind": "task_fails", "action": "CreateBackup"}]),
        json!(vec![json!({"kind": "cut"}); 1001]),
    ] {
        assert_eq!(post(&[emulator.host(), json.clone()], &bad), 400, "{bad}");
    }
    assert_eq!(post(&[emulator.host(), json], &list), 200);
    let wrong = Signing { secret: "another".into(), ..Signing::new() };
    assert_eq!(emulator.signed("POST", "DescribeRegions", &[], &wrong).unwrap().refused().1, "SignatureDoesNotMatch");
    let reply = emulator.call("DescribeRegions", &[]);
    assert_eq!(reply.refused(), (400, "Throttling.User".into()));
    assert_eq!(reply.header("x-acs-retry-after"), Some("1500"));
    let left = emulator.raw("DELETE", "/faults", &[emulator.host()], b"").unwrap();
    assert_eq!(left.json(), json!([]));
    emulator.call("DescribeRegions", &[]).ok();
}

/// The earlier names of the flags and the path still work.
#[test]
fn the_earlier_names_still_work() {
    let (_redis, _bench, emulator) = stage(&["--mishap", "throttle,action=DescribeRegions", "--mishap-control"]);
    assert_eq!(emulator.call("DescribeRegions", &[]).refused(), (400, "Throttling.User".into()));
    let headers = [emulator.host(), ("content-type".to_owned(), "application/json".to_owned())];
    let list = json!([{"kind": "error", "action": "DescribeRegions"}]).to_string();
    assert_eq!(emulator.raw("POST", "/mishaps", &headers, list.as_bytes()).unwrap().status, 200);
    assert_eq!(emulator.call("DescribeRegions", &[]).refused(), (503, "ServiceUnavailable".into()));
    assert_eq!(emulator.raw("GET", "/mishaps", &[emulator.host()], b"").unwrap().json(), json!([]));
}
