//! Backups through the emulated API: real sets, listed in the cloud's format, fetched by URLs that expire; and the policy.

use crate::support::emulator::{EVER, Emulator};
use crate::support::{Bench, Redis, program, text, unattended, wait, write_over};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::tair::wire::Minute;
use tair_backup_mcp::tair::wire::backups::{CreateBackup, DescribeBackupTasks, DescribeBackups};
use tair_backup_mcp::tair::wire::clusters::DescribeClusterBackupList;
use tair_backup_mcp::tair::wire::instances::{DescribeInstances, Generation};
use tair_backup_mcp::tair::wire::regions::DescribeRegions;

fn stage(emulate: &str) -> (Redis, Bench) {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, &format!("emulate = {{ {emulate} }}")));
    (redis, bench)
}

fn all(id: &str) -> DescribeBackups {
    let at = |text: &str| Minute(text.parse().unwrap());
    DescribeBackups {
        instance_id: id.into(),
        start_time: at("2010-01-01T10:00:00Z"),
        end_time: at("2050-01-01T10:00:00Z"),
        backup_id: None,
        backup_job_id: None,
        page_number: None,
        page_size: None,
    }
}

/// A round of a client of the cloud: describe, back up, poll, list, fetch. The file fetched is the instance's data.
#[tokio::test]
async fn a_round_with_our_own_client() {
    let (redis, bench) = stage("");
    redis.fill(5, 7);
    let emulator = Emulator::start(&bench, &[]);
    let client = emulator.client();
    let regions = client.call(&DescribeRegions { accept_language: None }).await.unwrap();
    assert_eq!(regions.region_ids[0].local_name.as_deref(), Some("Emulated"));
    assert_eq!(regions.region_ids[0].region_endpoint, Some(format!("127.0.0.1:{}", emulator.port)));
    let listed = client.list(&DescribeInstances::default()).await.unwrap();
    assert_eq!(
        (listed.len(), listed[0].instance_id.as_str(), listed[0].generation()),
        (1, "orders", Generation::Classic)
    );
    assert_eq!((listed[0].instance_status.as_deref(), listed[0].port), (Some("Normal"), Some(redis.port.into())));
    let job = client.call(&CreateBackup { instance_id: "orders".into(), backup_retention_period: None }).await.unwrap();
    let tasks = DescribeBackupTasks {
        instance_id: "orders".into(),
        backup_job_id: Some(job.backup_job_id.clone()),
        job_mode: Some("Manual".into()),
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let set = loop {
        assert!(Instant::now() < deadline, "the job does not end");
        let reply = client.call(&tasks).await.unwrap().backup_jobs;
        assert_eq!((reply.len(), reply[0].task_action.as_deref()), (1, Some("TempBackupTask")));
        assert_eq!(reply[0].backup_job_id.unwrap().to_string(), job.backup_job_id);
        if reply[0].is_finished() {
            let mut sets = client.list(&all("orders")).await.unwrap();
            assert_eq!(sets.len(), 1);
            break sets.remove(0);
        }
    };
    assert_eq!(set.backup_job_id.unwrap().to_string(), job.backup_job_id);
    assert_ne!(set.backup_job_id.map(|id| id.to_string()), set.backup_id);
    assert_eq!((set.backup_status.as_deref(), set.backup_mode.as_deref()), (Some("Success"), Some("Manual")));
    assert_eq!((set.engine_version.as_deref(), set.node_instance_id.as_deref()), (Some("7.0"), Some("orders")));
    let url = set.backup_download_url.unwrap();
    assert!(url.expires_at().unwrap() > Timestamp::now());
    let file = emulator.fetch(url.expose(), &[]);
    assert_eq!((file.status, file.body.len() as i64, file.whole), (200, set.backup_size.unwrap(), true));
    let path = bench.dir.path().join("fetched.rdb");
    std::fs::write(&path, &file.body).unwrap();
    assert!(Command::new(program("redis-7.0", "check-rdb")).arg(&path).output().unwrap().status.success());
    assert_eq!(hex(&Sha256::digest(&file.body)), text(&manifest(&bench)["rdb"]["sha256"]));
    assert!(emulator.fetch(set.backup_intranet_download_url.unwrap().expose(), &[]).whole);
}

fn manifest(bench: &Bench) -> Value {
    let id = text(&bench.backups()[0]["backup_id"]);
    let path = bench.home().join("vault/orders").join(id).join("manifest.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Parts of a file are parts of the whole; an altered or expired URL, or one for another method, opens nothing; damage is
/// not sent.
#[test]
fn urls_open_one_file_for_a_while() {
    let (redis, bench) = stage("");
    redis.fill(5, 3);
    let emulator = Emulator::start(&bench, &["--url-seconds", "3"]);
    let row = emulator.backup("orders");
    let url = || text(&emulator.rows("orders", &[])[0]["BackupDownloadURL"]);
    let whole = emulator.fetch(&url(), &[]).body;
    let n = whole.len();
    assert!(n > 2_500_000, "{n}");
    let last = format!("bytes={}-", n - 1);
    for (range, from, to) in [("bytes=0-", 0, n), ("bytes=1048570-2097160", 1_048_570, 2_097_161), (&last, n - 1, n)] {
        let part = emulator.fetch(&url(), &[("range", range)]);
        assert_eq!((part.status, part.whole), (206, true), "{range}");
        assert!(part.body == whole[from..to], "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{}/{n}", to - 1).as_str()));
    }
    let past = emulator.fetch(&url(), &[("range", &format!("bytes={n}-"))]);
    assert_eq!((past.status, past.header("content-range")), (416, Some(format!("bytes */{n}").as_str())));
    assert!(past.text().contains("<Code>InvalidRange</Code>"), "{}", past.text());
    assert_eq!(emulator.fetch(&url(), &[("range", "lines=1-2")]).status, 200);

    let good = url();
    let expires = good.split("Expires=").nth(1).unwrap().split('&').next().unwrap();
    let later = (expires.parse::<i64>().unwrap() + 1).to_string();
    for (bad, code) in [
        (good.replace(expires, &later), "SignatureDoesNotMatch"),
        (good.replace("_data_", "_date_"), "SignatureDoesNotMatch"),
        (good.split('?').next().unwrap().to_owned(), "AccessDenied"),
        (good.replace("LTAIemulator", "LTAInobody"), "InvalidAccessKeyId"),
    ] {
        let reply = emulator.fetch(&bad, &[]);
        assert_eq!(reply.status, 403, "{bad}");
        assert!(reply.text().contains(&format!("<Code>{code}</Code>")), "{bad}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/xml"));
    }
    let target = good.split(&emulator.port.to_string()).nth(1).unwrap();
    assert_eq!(emulator.raw("PUT", target, &[emulator.host()], b"").unwrap().status, 403);
    let reply = wait("the URL to expire", Duration::from_secs(20), || {
        Some(emulator.fetch(&good, &[])).filter(|reply| reply.status == 403)
    });
    assert!(reply.text().contains("<Message>Request has expired.</Message>"), "{}", reply.text());

    // A damaged byte in the middle: the transfer must not end as if the file were whole.
    let id = text(&bench.backups()[0]["backup_id"]);
    let data = bench.home().join("vault/orders").join(id).join("data.rdb.zst");
    let mut bytes = std::fs::read(&data).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    write_over(&data, &bytes);
    let broken = emulator.fetch(&url(), &[]);
    assert!(broken.status == 200 && !broken.whole && broken.body.len() < n, "{} of {n}", broken.body.len());
    assert_eq!(row["BackupStatus"], "Success");
}

/// One backup at a time, thirty a day, none without a replica; and a failed job is reported as the cloud reports it.
#[test]
fn backups_are_refused_as_the_cloud_refuses_them() {
    let (mut redis, bench) = stage("");
    let emulator = Emulator::start(&bench, &["--fault-control"]);
    for days in ["6", "731", "0", "-2", "x"] {
        let reply = emulator.call("CreateBackup", &[("InstanceId", "orders"), ("BackupRetentionPeriod", days)]);
        assert_eq!(reply.refused(), (400, "InvalidBackupRetentionPeriod.Malformed".into()), "{days}");
    }
    emulator.inject(json!({"kind": "slow", "action": "CreateBackup", "seconds": 6}));
    let job = text(&emulator.call("CreateBackup", &[("InstanceId", "orders")]).ok()["BackupJobID"]);
    assert_eq!(emulator.call("CreateBackup", &[("InstanceId", "orders")]).refused(), (400, "BackupJobExists".into()));
    let mut seen = Vec::new();
    wait("the job's end", Duration::from_secs(30), || {
        let reply = emulator.call("DescribeBackupTasks", &[("InstanceId", "orders"), ("BackupJobId", &job)]).ok();
        let row = &reply["BackupJobs"][0];
        assert_eq!(row["BackupJobID"].as_i64().unwrap().to_string(), job);
        let status = text(&row["BackupProgressStatus"]);
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        // A set is there when its job is finished, and not before.
        let sets = emulator.rows("orders", &[("BackupJobId", &job)]).len();
        assert!(status == "Finished" || sets == 0 || seen.len() == 3, "{status} {sets}");
        (status == "Finished").then_some(())
    });
    assert_eq!(seen, ["NoStart", "Preparing", "Uploading", "Finished"]);
    for _ in 1..30 {
        emulator.backup("orders");
    }
    let reply = emulator.call("CreateBackup", &[("InstanceId", "orders")]);
    assert_eq!(reply.refused(), (400, "BackupTimesExceeded".into()));
    assert_eq!(reply.json()["Message"], "Exceeding the daily backup times of this DB instance.");

    let page = |number: &str, size: &str| {
        let params = [&[("InstanceId", "orders"), ("PageNumber", number), ("PageSize", size)], &EVER[..]].concat();
        emulator.call("DescribeBackups", &params)
    };
    assert_eq!(page("1", "50").ok()["TotalCount"], 30);
    assert_eq!(page("1", "50").ok()["Backups"]["Backup"].as_array().unwrap().len(), 30);
    assert_eq!(page("2", "30").ok()["Backups"]["Backup"], json!([]));
    assert_eq!(page("1", "1000").ok()["PageSize"], 1000);
    for size in ["0", "31", "1001", "-1"] {
        assert_eq!(page("1", size).refused(), (400, "InvalidPageSize.Malformed".into()));
    }
    assert_eq!(page("0", "30").refused().1, "InvalidPageNumbers.Malformed");
    let range = |from: &str, to: &str| {
        emulator.call("DescribeBackups", &[("InstanceId", "orders"), ("StartTime", from), ("EndTime", to)])
    };
    let (early, late) = (EVER[0].1, EVER[1].1);
    assert_eq!(range(late, early).refused().1, "InvalidStartTimeAndEndTime.Malformed");
    assert_eq!(range("2026-01-01", late).refused().1, "InvalidStartTime.Malformed");
    assert_eq!(range(early, "2026-01-01T00:00:00Z").refused().1, "InvalidEndTime.Malformed");
    assert_eq!(range(early, "2020-01-01T00:00Z").ok()["TotalCount"], 0);

    // An unreachable server: the job is accepted and fails.
    drop(emulator);
    std::fs::remove_file(bench.home().join("emulator.json")).unwrap();
    redis.kill();
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(emulator.status("orders"), "Unavailable");
    let job = text(&emulator.call("CreateBackup", &[("InstanceId", "orders")]).ok()["BackupJobID"]);
    let failed = wait("the failure", Duration::from_secs(30), || {
        emulator.rows("orders", &[("BackupJobId", &job)]).into_iter().next()
    });
    assert_eq!((&failed["BackupStatus"], &failed["BackupDownloadURL"]), (&json!("Failed"), &Value::Null));
    let reply = emulator.call("DescribeBackupTasks", &[("InstanceId", "orders"), ("BackupJobId", &job)]).ok();
    assert_eq!(reply["BackupJobs"], json!([]));
}

/// Ids, policy and requested backups outlive the process; a manual set can be deleted, an automated one cannot.
#[test]
fn a_restart_changes_nothing() {
    let (redis, bench) = stage("generation = \"cloud_native\", flashback = true");
    redis.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &[]);
    let policy = |emulator: &Emulator| {
        let mut reply = emulator.call("DescribeBackupPolicy", &[("InstanceId", "orders")]).ok();
        reply.as_object_mut().unwrap().remove("RequestId");
        reply
    };
    let modify = |more: &[(&str, &str)]| {
        let base = [("InstanceId", "orders"), ("PreferredBackupPeriod", "Sunday,Monday")];
        emulator.call("ModifyBackupPolicy", &[&base, more].concat())
    };
    let hour = ("PreferredBackupTime", "23:00Z-24:00Z");
    assert_eq!(policy(&emulator)["EnableBackupLog"], 0);
    modify(&[hour, ("EnableBackupLog", "1"), ("BackupRetentionPeriod", "30")]).ok();
    let reply = policy(&emulator);
    assert_eq!((&reply["BackupRetentionPeriod"], &reply["EnableBackupLog"]), (&json!("30"), &json!(1)));
    assert_eq!(
        (&reply["PreferredBackupPeriod"], &reply["PreferredBackupTime"]),
        (&json!("Monday,Sunday"), &json!(hour.1))
    );
    assert!(reply["BackupLogStartTime"].is_string() && reply["PreferredNextBackupTime"].is_string(), "{reply}");
    for (param, code) in [
        (("PreferredBackupTime", "05:30Z-06:30Z"), "InvalidPreferredBackupTime.Format"),
        (("PreferredBackupTime", "05:00Z-07:00Z"), "InvalidPreferredBackupTime.Format"),
    ] {
        assert_eq!(modify(&[param]).refused(), (400, code.into()));
    }
    for days in ["6", "731", "x"] {
        let reply = modify(&[hour, ("BackupRetentionPeriod", days)]).refused();
        assert_eq!(reply.1, "InvalidBackupRetentionPeriod.Malformed", "{days}");
    }
    let odd = [("InstanceId", "orders"), ("PreferredBackupPeriod", "Mon"), hour];
    assert_eq!(emulator.call("ModifyBackupPolicy", &odd).refused().1, "InvalidPreferredBackupPeriod.Malformed");
    assert_eq!(modify(&[]).refused().1, "MissingParameter");
    assert_eq!(policy(&emulator), reply, "a refusal changed something");

    let manual = emulator.backup("orders");
    drop(emulator);
    let rows = |emulator: &Emulator| {
        let mut rows = emulator.rows("orders", &[]);
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !name.ends_with("URL"));
        }
        rows
    };
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(policy(&emulator), reply);
    assert_eq!(rows(&emulator)[0]["BackupId"], manual["BackupId"]);
    assert_eq!(rows(&emulator)[0]["BackupMode"], "Manual");
    let set = |config: &str| emulator.call("ModifyInstanceConfig", &[("InstanceId", "orders"), ("Config", config)]);
    set(r#"{"appendonly":"yes"}"#).ok();
    assert_eq!(redis.setting("appendonly"), "yes");
    // Data flashback needs it.
    assert_eq!(set(r#"{"appendonly":"no"}"#).refused(), (400, "ParamNotSupportedForCurrentVersion".into()));
    assert_eq!(set(r#"{"save":""}"#).refused(), (400, "ParamNotSupportedForCurrentVersion".into()));
    for wrong in ["appendonly", "{}", r#"{"appendonly":1}"#] {
        assert_eq!(set(wrong).refused(), (400, "InvalidParameters.Format".into()), "{wrong}");
    }
    // A parameter left out takes the default: flashback is off again.
    let base = [("InstanceId", "orders"), ("PreferredBackupPeriod", "Monday"), hour];
    emulator.call("ModifyBackupPolicy", &base).ok();
    let reply = policy(&emulator);
    assert_eq!((&reply["EnableBackupLog"], &reply["BackupRetentionPeriod"]), (&json!(0), &json!("7")));

    set(r#"{"appendonly":"no"}"#).ok();
    assert_eq!(redis.setting("appendonly"), "no");

    // An automated set, by its manifest.
    let id = text(&bench.backups()[0]["backup_id"]);
    let path = bench.as_of_before(&id);
    let manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let with = |mode: &str| {
        let mut changed = manifest.clone();
        (changed["mode"], changed["checksum"]) = (mode.into(), "".into());
        changed["checksum"] = hex(&Sha256::digest(changed.to_string())).into();
        write_over(&path, changed.to_string());
    };
    with("automated");
    let number = manual["BackupId"].to_string();
    let delete = |id: &str| emulator.call("DeleteBackup", &[("InstanceId", "orders"), ("BackupId", id)]);
    assert_eq!(rows(&emulator)[0]["BackupMode"], "Automated");
    assert_eq!(delete(&number).refused(), (400, "IncorrectBackupSetState".into()));
    let keep = |until: &str| {
        let params = [("InstanceId", "orders"), ("BackupId", number.as_str()), ("ExpectExpireTime", until)];
        emulator.call("ModifyBackupExpireTime", &params)
    };
    let far = "2049-07-06T07:25:57Z";
    assert_eq!(keep(far).refused(), (400, "IncorrectBackupSetState".into()));
    with("manual");
    keep(far).ok();
    assert_eq!(rows(&emulator)[0]["ExpectExpireTime"], far);
    assert_eq!(keep("2049-07-06T07:25Z").refused().0, 400, "it may not be shortened");
    let settings = emulator.call("DescribeInstanceConfig", &[("InstanceId", "orders")]).ok();
    let config: Value = serde_json::from_str(settings["Config"].as_str().unwrap()).unwrap();
    assert_eq!((&config["appendonly"], &config["appendfsync"]), (&json!("no"), &json!("everysec")), "{settings}");
    let classic = emulator.call("DescribeParameters", &[("DBInstanceId", "orders")]);
    assert_eq!(classic.refused().1, "InstanceType.NotSupport");
    assert_eq!(delete("12345").refused(), (400, "InvalidBackupSetID.NotFound".into()));
    delete(&number).ok();
    // What is left is the one with which data flashback began.
    let left = rows(&emulator);
    assert!(
        left.len() == 1 && left[0]["BackupMode"] == "Automated" && left[0]["BackupId"] != manual["BackupId"],
        "{left:?}"
    );
    assert_eq!(bench.backups().len(), 1);
    let audit = bench.run(&["audit", "--json"]).out;
    assert!(audit.contains("emulator: testAKID") && audit.contains("delegated by a signed caller"), "{audit}");
    // A classic instance has none of these actions.
    drop(emulator);
    bench.configure(&unattended(&redis, ""));
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    let set = [("InstanceId", "orders"), ("BackupId", number.as_str()), ("ExpectExpireTime", far)];
    assert_eq!(emulator.call("DeleteBackup", &set).refused(), (400, "ServiceNotSupport".into()));
    assert_eq!(emulator.call("ModifyBackupExpireTime", &set).refused(), (400, "InstanceType.NotSupport".into()));
    assert_eq!(emulator.call("DescribeInstanceConfig", &set).refused(), (400, "InstanceType.NotSupport".into()));
    assert_eq!(emulator.rows("orders", &[]).len(), 2);
    let kept = std::fs::read_to_string(bench.home().join("emulator.json")).unwrap();
    assert!(!kept.contains("Signature") && !kept.contains(crate::support::emulator::SECRET), "{kept}");
}

/// A cloud-native cluster has a listing of its own, which other instances lack.
#[tokio::test]
async fn clusters_are_listed_apart() {
    let (redis, bench) = stage("generation = \"cloud_native\", architecture = \"cluster\"");
    redis.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &["--fault", "slow,action=CreateBackup,seconds=1"]);
    let client = emulator.client();
    let listed = client.list(&DescribeInstances::default()).await.unwrap();
    assert_eq!(listed[0].generation(), Generation::CloudNative);
    let at = |text: &str| Minute(text.parse().unwrap());
    let list = DescribeClusterBackupList {
        region_id: "cn-beijing".into(),
        instance_id: "orders".into(),
        start_time: at("2010-01-01T10:00:00Z"),
        end_time: at("2050-01-01T10:00:00Z"),
        cluster_backup_id: None,
        page_number: None,
        page_size: None,
        no_shard_backup: None,
    };
    client.call(&CreateBackup { instance_id: "orders".into(), backup_retention_period: Some(7) }).await.unwrap();
    let running = client.list(&list).await.unwrap();
    assert_eq!((running.len(), running[0].cluster_backup_status.as_deref()), (1, Some("RUNNING")));
    assert_eq!(running[0].cluster_backup_mode.as_deref(), Some("Manual"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let sets = loop {
        assert!(Instant::now() < deadline, "the backup does not end");
        let sets = client.list(&list).await.unwrap();
        assert_eq!((sets.len(), &sets[0].cluster_backup_id), (1, &running[0].cluster_backup_id));
        if sets[0].is_whole() {
            break sets;
        }
    };
    assert!(sets[0].cluster_backup_id.starts_with("cb-"));
    let shard = &sets[0].backups[0];
    assert_eq!((shard.instance_name.as_deref(), shard.backup_status.as_deref()), (Some("orders-db-0"), Some("OK")));
    assert!(emulator.fetch(shard.backup_download_url.as_ref().unwrap().expose(), &[]).whole);
    let none = DescribeClusterBackupList { no_shard_backup: Some("True".into()), ..list.clone() };
    assert!(client.list(&none).await.unwrap()[0].backups.is_empty());
    let sets = [&[("InstanceId", "orders")], &EVER[..]].concat();
    assert_eq!(emulator.call("DescribeBackups", &sets).refused(), (400, "InstanceType.NotSupport".into()));
    drop(emulator);

    // A classic cluster is listed as its shards are, by their own ids.
    bench.configure(&unattended(&redis, "emulate = { architecture = \"cluster\" }"));
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(emulator.backup("orders")["NodeInstanceId"], "orders-db-0");
    let params = [&[("RegionId", "cn-beijing"), ("InstanceId", "orders")], &EVER[..]].concat();
    assert_eq!(emulator.get("DescribeClusterBackupList", &params).refused().1, "InstanceType.NotSupport");
    drop(emulator);

    bench.configure(&unattended(&redis, "emulate = { single = true }"));
    let emulator = Emulator::start(&bench, &[]);
    let params = [&[("RegionId", "cn-beijing"), ("InstanceId", "orders")], &EVER[..]].concat();
    assert_eq!(emulator.get("DescribeClusterBackupList", &params).refused().1, "InstanceType.NotSupport");
    assert_eq!(emulator.call("CreateBackup", &[("InstanceId", "orders")]).refused().1, "InstanceType.NotSupport");
}
