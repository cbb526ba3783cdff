//! The cloud's replies: the published samples are read, written as published, and nothing from the wire is fatal.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use tair_backup_mcp::tair::params::Params;
use tair_backup_mcp::tair::wire::attribute::InstanceAttributes;
use tair_backup_mcp::tair::wire::backups::{
    BackupStarted, BackupTasks, Backups, CreateBackup, DescribeBackups, RecoverConfig,
};
use tair_backup_mcp::tair::wire::clone::{CreateTairInstance, NewInstance};
use tair_backup_mcp::tair::wire::clusters::ClusterBackups;
use tair_backup_mcp::tair::wire::instances::{DescribeInstances, Generation, InstanceState, Instances};
use tair_backup_mcp::tair::wire::monitor::MonitorValues;
use tair_backup_mcp::tair::wire::policy::{BackupPolicy, ModifyBackupPolicy};
use tair_backup_mcp::tair::wire::regions::Regions;
use tair_backup_mcp::tair::wire::restore::{RestoreInstance, WriteLock};
use tair_backup_mcp::tair::wire::settings::HistoryTasks;
use tair_backup_mcp::tair::wire::{
    Action, BadParam, Done, DownloadUrl, Minute, OneZero, Second, Tag, moment, read_reply, read_success,
};

const BACKUPS: &str = r#"{"RequestId":"963C20F0-7CE1-4591-AAF3-6F3CD1CE****","PageNumber":1,"PageSize":30,"TotalCount":5,"FullStorageSize":1000,"LogStorageSize":5000,"FreeSize":100000,"Backups":{"Backup":[{"BackupStatus":"Success","BackupStartTime":"2019-03-14T05:28:50Z","BackupType":"FullBackup","BackupDownloadURL":"https://rdsbak-hk45-v2.oss-cn-hongkong.aliyuncs.com/********","NodeInstanceId":"r-bp10noxlhcoim2****-db-1","BackupEndTime":"2019-03-14T05:31:13Z","BackupId":165000050,"BackupDBNames":"all","EngineVersion":"4.0","BackupIntranetDownloadURL":"https://rdsbak-hk45-v2.oss-cn-hongkong.aliyuncs.com/********","BackupSize":1024,"BackupMode":"Automated","BackupMethod":"Physical","BackupJobID":24340,"RecoverConfigMode":"","ExpectExpireTime":""}]},"AccessDeniedDetail":{"AuthAction":"-","PolicyType":"-"}}"#;
const TASKS: &str = r#"{"InstanceId":"r-bp1zxszhcgatnx****","RequestId":"BB73740C-0","BackupJobs":[{"StartTime":"2021-01-05T19:24:00Z","Process":"0","JobMode":"Manual","BackupJobID":0,"BackupProgressStatus":"NoStart","NodeId":"****","TaskAction":"NormalBackupTask","Progress":"27"}]}"#;
const CLUSTER: &str = r#"{"RequestId":"C009DA42-3B19-5B81-963D-1509DE2408DD","MaxResults":4,"PageNumber":1,"PageSize":30,"FullStorageSize":1000,"LogStorageSize":5000,"FreeSize":100000,"ClusterBackups":[{"IsAvail":1,"ClusterBackupId":"cb-zmdqj2m3xyxjtdt0","ClusterBackupStatus":"OK","ClusterBackupSize":"2048","ClusterBackupStartTime":"2024-01-10T17:21:25Z","ClusterBackupEndTime":"2024-01-10T17:21:55Z","ClusterBackupMode":"Automated","ShardClassMemory":1024,"Progress":"100%","Backups":[{"BackupId":"514645788","InstanceName":"r-bp1y4is8svonly****-db-0","BackupDownloadURL":"http://rdsbakbucket-huhehaote-v2.oss-cn-huhehaote.aliyuncs.com/custins424747958/hins100322105_data_20240110012135.rdb","BackupIntranetDownloadURL":"http://rdsbakbucket-huhehaote-v2.oss-cn-huhehaote-internal.aliyuncs.com/custins424747958/hins100322105_data_20240110012135.rdb","RecoverConfigMode":"null","BackupStartTime":"2024-01-09T17:21:30Z","BackupEndTime":"2024-01-09T17:21:57","BackupSize":"1024","IsAvail":"1","BackupStatus":"OK","BackupName":"hins100322105_data_20240110012135.rdb","Engine":"redis","ExtraInfo":{"CustinsDbVersion":"5.0"}}]}]}"#;
const POLICY: &str = r#"{"BackupRetentionPeriod":"7","RequestId":"90B82DB7-0","PreferredBackupPeriod":"Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday","PreferredNextBackupTime":"2019-03-14T05:28Z","PreferredBackupTime":"05:00Z-06:00Z","EnableBackupLog":1,"DbsInstance":"0"}"#;
const INSTANCES: &str = r#"{"RequestId":"1E83311F-0EE4-4922-A3BF-730B312B****","PageNumber":1,"PageSize":30,"TotalCount":1,"Instances":{"KVStoreInstance":[{"VpcId":"vpc-bp1nme44gek34slfc****","PrivateIp":"172.16.49.***","Capacity":4096,"ReplacateId":"grr-bp11381ebc16****","CreateTime":"2018-11-07T08:49:00Z","ConnectionDomain":"r-bp1zxszhcgatnx****.redis.rds.aliyuncs.com","IsRds":true,"ChargeType":"PostPaid","ArchitectureType":"cluster","NetworkType":"CLASSIC","ConnectionMode":"Standard","Port":6379,"SecondaryZoneId":"cn-hangzhou-h","EngineVersion":"4.0","PackageType":"standard","Config":"{\"maxmemory-policy\":\"volatile-lfu\"}","Bandwidth":96,"InstanceName":"apitest","ShardCount":3,"UserName":"r-bp1zxszhcgatnx****","GlobalInstanceId":"gr-bp14rkqrhac****","QPS":100000,"InstanceClass":"redis.logic.sharding.2g.2db.0rodb.4proxy.default","DestroyTime":"2019-04-28T10:03:01Z","InstanceId":"r-bp1zxszhcgatnx****","InstanceType":"Redis","HasRenewChangeOrder":false,"RegionId":"cn-hangzhou","EndTime":"2019-06-13T16:00:00Z","VSwitchId":"vsw-bp1e7clcw529l773d****","NodeType":"double","Connections":20000,"ResourceGroupId":"rg-acfmyiu4ekp****","ZoneId":"cn-hangzhou-b","InstanceStatus":"Normal","ComputingType":"Ecs","EditionType":"Enterprise","Tags":{"Tag":[{"Key":"key1","Value":"value1"}]},"ShardClass":"redis.shard.small.ce","ReplicaCount":1,"SlaveReplicaCount":1,"ReadOnlyCount":"1","SlaveReadOnlyCount":1}]}}"#;
const ATTRIBUTE: &str = r#"{"RequestId":"1E83311F","Instances":{"DBInstanceAttribute":[{"InstanceId":"r-bp1zxszhcgatnx****","InstanceStatus":"Normal","NodeType":"double","ComputingType":"Machine","ReadOnlyCount":1,"HasRenewChangeOrder":"false","Tags":{"Tag":[]},"Engine":"Redis","ReplicationMode":"master-slave","BackupLogStartTime":"2021-07-06T05:49:55Z","MaintainStartTime":"18:00Z","MaintainEndTime":"22:00Z","IsSupportTDE":true,"IsOrderCompleted":true,"InstanceReleaseProtection":false,"VpcAuthMode":"Open","AuditLogRetention":"15","SecurityIPList":"127.0.0.1","AvailabilityValue":"100%","RealInstanceClass":"tair.rdb.with.proxy.1g","ZoneType":"singlezone"}]}}"#;
const MONITOR: &str = r#"{"MonitorHistory":"{\"2022-11-06T00:00:00Z\":{\"memoryUsage\":\"6.67\"},\"2022-11-06T00:00:05Z\":{\"memoryUsage\":\"6.67\"}}","RequestId":"F0997EE8"}"#;
const REGIONS: &str = r#"{"RequestId":"AD425AD3","RegionIds":{"KVStoreRegion":[{"RegionEndpoint":"r-kvstore.aliyuncs.com","LocalName":"China (Hangzhou)","RegionId":"cn-hangzhou","ZoneIds":"cn-hangzhou-h","ZoneIdList":{"ZoneId":["cn-hangzhou-h"]}}]}}"#;
const CREATED: &str = r#"{"VpcId":"vpc-1","QPS":100000,"Capacity":16384,"ConnectionDomain":"r-bp1zxszhcgatnx****.redis.rds.aliyuncs.com","ChargeType":"PostPaid","NetworkType":"VPC","InstanceId":"r-bp1zxszhcgatnx****","Port":6379,"Config":"{}","RegionId":"cn-hongkong","EndTime":"2019-01-18T16:00:00Z","VSwitchId":"vsw-1","RequestId":"5DEA3CC9","NodeType":"MASTER_SLAVE","Connections":10000,"Bandwidth":32,"InstanceName":"apitest","ZoneId":"cn-hangzhou-b","InstanceStatus":"Creating","PrivateIpAddr":"172.16.0.10","UserName":"r-bp1zxszhcgatnx****","OrderId":2084452111111}"#;
const LOCK: &str =
    r#"{"RequestId":"2BE6E619","DBInstanceName":"r-2ev03avw0r0552***","TaskId":21986,"LockReason":"why"}"#;
const HISTORY: &str = r#"{"PageNumber":1,"PageSize":10,"TotalCount":5,"RequestId":"x","Items":[{"Status":"Running","TaskId":"t-83br18hloy3faf****","CurrentStepName":"exec_task","StartTime":"2022-02-03T11:31:03Z","EndTime":"2022-02-03T12:06:17Z","TaskType":"ModifyInsSpec","RemainTime":1000,"Progress":79.0,"InstanceId":"r-bp1"}]}"#;

fn read<T: DeserializeOwned>(text: &str) -> T {
    read_reply(text.as_bytes()).unwrap()
}

/// What was read is written with the sample's names and forms; what we leave out is only what is empty or not ours.
fn writes_as_published<T: DeserializeOwned + Serialize + PartialEq + Debug>(sample: &str, not_ours: &[&str]) {
    fn compare(path: &str, published: &Value, written: &Value, not_ours: &[&str]) {
        match (published, written) {
            (Value::Object(p), Value::Object(w)) => {
                for (k, v) in p {
                    match w.get(k) {
                        Some(w) => compare(&format!("{path}.{k}"), v, w, not_ours),
                        None => assert!(*v == json!("") || not_ours.contains(&k.as_str()), "{path}.{k} is lost"),
                    }
                }
                w.keys().for_each(|k| assert!(p.contains_key(k), "{path}.{k} is made up"));
            }
            (Value::Array(p), Value::Array(w)) => {
                assert_eq!(p.len(), w.len(), "{path}");
                p.iter().zip(w).for_each(|(p, w)| compare(path, p, w, not_ours));
            }
            (Value::Number(p), Value::Number(w)) => assert_eq!(p.as_f64(), w.as_f64(), "{path}"),
            _ => assert_eq!(published, written, "{path}"),
        }
    }
    let value: T = read(sample);
    let written = serde_json::to_value(&value).unwrap();
    compare("", &serde_json::from_str(sample).unwrap(), &written, not_ours);
    // And what we write, we read as the same.
    assert_eq!(read::<T>(&written.to_string()), value);
}

/// Every published sample, both ways.
#[test]
fn samples_are_written_as_they_were_read() {
    writes_as_published::<Backups>(BACKUPS, &["AccessDeniedDetail"]);
    writes_as_published::<BackupTasks>(TASKS, &[]);
    writes_as_published::<ClusterBackups>(CLUSTER, &[]);
    writes_as_published::<BackupPolicy>(POLICY, &[]);
    writes_as_published::<Instances>(INSTANCES, &[]);
    writes_as_published::<InstanceAttributes>(ATTRIBUTE, &[]);
    writes_as_published::<MonitorValues>(MONITOR, &[]);
    writes_as_published::<Regions>(REGIONS, &[]);
    writes_as_published::<NewInstance>(CREATED, &[]);
    writes_as_published::<WriteLock>(LOCK, &[]);
    writes_as_published::<HistoryTasks>(HISTORY, &[]);
    writes_as_published::<Done>(r#"{"RequestId":"8D0C0AFC-E9CD-47A4-8395-5C31BF9B****"}"#, &[]);
}

/// What the samples mean.
#[test]
fn samples_are_understood() {
    let backup = &read::<Backups>(BACKUPS).backups[0];
    assert_eq!(backup.id(), Some("165000050"));
    assert_eq!((backup.backup_size, backup.expect_expire_time.as_deref()), (Some(1024), None));
    assert!(moment(backup.backup_end_time.as_deref()) > moment(backup.backup_start_time.as_deref()));
    let task = &read::<BackupTasks>(TASKS).backup_jobs[0];
    assert_eq!((task.percent(), task.is_finished()), (Some(27), false));
    let set = &read::<ClusterBackups>(CLUSTER).cluster_backups[0];
    assert!(set.is_whole());
    // The sample lacks the Z.
    assert!(moment(set.backups[0].backup_end_time.as_deref()).is_some());
    assert_eq!(RecoverConfig::read(set.backups[0].recover_config_mode.as_deref()), RecoverConfig::default());
    let policy: BackupPolicy = read(POLICY);
    assert_eq!((policy.enable_backup_log, policy.backup_retention_period), (Some(true), Some(7)));
    assert_eq!(read::<Instances>(INSTANCES).instances[0].generation(), Generation::CloudNative);
    let attribute = &read::<InstanceAttributes>(ATTRIBUTE).instances[0];
    assert_eq!((attribute.generation(), attribute.instance_status.as_deref()), (Generation::Classic, Some("Normal")));
    assert_eq!(attribute.has_renew_change_order, Some(false));
    assert_eq!(read::<MonitorValues>(MONITOR).monitor_history.unwrap()["2022-11-06T00:00:05Z"]["memoryUsage"], 6.67);
}

/// The documentation's two samples of a started backup, one with quotes within its text.
#[test]
fn job_ids_are_taken_apart() {
    let started: BackupStarted = read(r#"{"BackupJobID":"\"1022,2480\"","RequestId":"2FF6158E"}"#);
    assert_eq!(started.jobs(), ["1022", "2480"]);
    assert_eq!(read::<BackupStarted>(r#"{"BackupJobID":4679933}"#).jobs(), ["4679933"]);
    let none = read_reply::<BackupStarted>(br#"{"RequestId":"2FF6158E"}"#).unwrap_err();
    assert!(none.contains("BackupJobID"), "{none}");
}

/// What says that it is an error, or does not say that it is the cloud's, is no reply, whatever else it has.
#[test]
fn a_success_is_the_clouds_own() {
    let read = |body: &str| read_success::<Done>("DeleteBackup", body.as_bytes());
    for good in [
        r#"{"RequestId":"A1"}"#,
        r#"{"requestId":7}"#,
        r#"{"RequestId":"A1","Code":null,"Success":true,"Extra":{"Code":"x"}}"#,
        r#"{"DeleteBackupResponse":{}}"#,
        r#"{"DeleteBackupResponse":{"RequestId":"A1"}}"#,
        r#"{"OtherResponse":{"RequestId":"A1"}}"#,
    ] {
        assert!(read(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "null",
        "[]",
        "true",
        r#""OK""#,
        "{}",
        "\u{feff}{\"RequestId\":\"A1\"}",
        r#"{"RequestId":""}"#,
        r#"{"RequestId":" "}"#,
        r#"{"RequestId":null}"#,
        r#"{"RequestId":["A1"]}"#,
        r#"{"RequestId":{"Value":"A1"}}"#,
        r#"{"RequestId":"A1","Code":"Forbidden"}"#,
        r#"{"RequestId":"A1","Code":200}"#,
        r#"{"RequestId":"A1","code":""}"#,
        r#"{"RequestId":"A1","CODE":false}"#,
        r#"{"RequestId":"A1","ErrorCode":"x"}"#,
        r#"{"RequestId":"A1","error":{"Code":"x"}}"#,
        r#"{"RequestId":"A1","Success":false}"#,
        r#"{"RequestId":"A1","success":"False"}"#,
        r#"{"DeleteBackupResponse":{"Code":"x"}}"#,
        r#"{"DeleteBackupResponse":[]}"#,
        r#"{"DeleteBackupResponse":{},"Code":"x"}"#,
        r#"{"LoginResponse":{}}"#,
        r#"{"DescribeBackupsResponse":{}}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

/// The old form: every number as text, and an envelope around all of it.
#[test]
fn old_replies_are_read_as_well() {
    let old = r#"{"DescribeBackupsResponse":{"PageNumber":"1","PageSize":"30","TotalCount":"1","Backups":{"Backup":{"BackupId":"48","BackupSize":"1024","BackupStatus":"Success"}}}}"#;
    let backups: Backups = read(old);
    assert_eq!((backups.total_count, backups.backups[0].id()), (Some(1), Some("48")));
    for empty in [
        r#"{"Backups":null}"#,
        r#"{"Backups":{}}"#,
        r#"{"Backups":{"Backup":[]}}"#,
        r#"{"Backups":""}"#,
        r#"{"Backups":{"Backup":""}}"#,
    ] {
        assert!(read::<Backups>(empty).backups.is_empty(), "{empty}");
    }
    // No list is not an empty one.
    assert_eq!(read_reply::<Backups>(b"{}").unwrap_err(), "missing field `Backups`");
    for history in [r#"{"MonitorHistory":{"t":{"PutQps":3}}}"#, r#"{"MonitorHistory":"{\"t\":{\"PutQps\":\"3\"}}"}"#] {
        assert_eq!(read::<MonitorValues>(history).monitor_history.unwrap()["t"]["PutQps"], 3.0);
    }
    assert!(read::<MonitorValues>(r#"{"MonitorHistory":"{}"}"#).monitor_history.unwrap().is_empty());
    for none in [r#"{"MonitorHistory":""}"#, r#"{}"#] {
        assert!(read::<MonitorValues>(none).monitor_history.is_none());
    }
    assert!(RecoverConfig::read(Some(r#"{"whitelist":true,"config":"true","account":null}"#)).config);
    assert_eq!(RecoverConfig::read(Some("[")), RecoverConfig::default());
}

/// Instances are read as leniently: numbers as text, text as numbers, flags in any form, empty as missing; and of a row that
/// cannot be read, both calls say the same.
#[test]
fn instances_are_read_in_any_form() {
    const ROW: &str = r#"{"Tags":[{"Key":1,"Value":true}],"InstanceId":48,"Port":"6379","QPS":"100000","Capacity":4096.9,"Bandwidth":18446744073709551615,"ShardCount":"many","Connections":true,"InstanceName":"","EngineVersion":5,"ZoneId":null,"Config":{"a":1},"NodeType":"STAND_ALONE","ReadOnlyCount":"2","HasRenewChangeOrder":"1","IsRds":0,"Unknown":[]}"#;
    let list: Instances = read(&format!(r#"{{"TotalCount":"1","Instances":{{"KVStoreInstance":{ROW}}}}}"#));
    let row = &list.instances[0];
    assert_eq!(
        (row.instance_id.as_str(), row.port, row.qps, row.capacity),
        ("48", Some(6379), Some(100_000), Some(4096))
    );
    assert_eq!((row.bandwidth, row.shard_count, row.connections), (Some(i64::MAX), None, Some(1)));
    assert_eq!((row.engine_version.as_deref(), row.instance_name.as_deref()), (Some("5"), None));
    assert_eq!((row.zone_id.as_deref(), row.config.as_deref()), (None, None));
    assert_eq!((row.read_only_count, row.has_renew_change_order, row.is_rds), (Some(2), Some(true), Some(false)));
    assert_eq!(row.tags, [Tag { key: "1".into(), value: "true".into() }]);
    let written = serde_json::to_value(row).unwrap();
    assert_eq!(
        written,
        json!({"InstanceId": "48", "Port": 6379, "QPS": 100_000, "Capacity": 4096, "Bandwidth": i64::MAX, "Connections": 1,
            "EngineVersion": "5", "NodeType": "STAND_ALONE", "ReadOnlyCount": "2", "HasRenewChangeOrder": true,
            "IsRds": false, "Tags": {"Tag": [{"Key": "1", "Value": "true"}]}})
    );
    let whole: InstanceAttributes = read(&format!(r#"{{"Instances":[{ROW}]}}"#));
    let written = serde_json::to_value(&whole.instances[0]).unwrap();
    assert_eq!((&written["ReadOnlyCount"], &written["HasRenewChangeOrder"]), (&json!(2), &json!("true")));
    assert!(whole.instances[0].is_single() && whole.instances[0].generation() == Generation::CloudNative);
    for (row, error) in [
        (r#"{"Tags":[]}"#, "missing field `InstanceId`"),
        (r#"{"InstanceId":""}"#, "an id is missing"),
        (r#"{"InstanceId":null,"Tags":7}"#, "an id is missing"),
        (r#"{"Tags":7,"InstanceId":null}"#, "a list is of another form"),
        (r#"{"Tags":["SECRET"]}"#, "a field has another form than the API promises"),
        (r#""SECRET""#, "a field has another form than the API promises"),
        ("[]", "a field has another form than the API promises"),
    ] {
        let list = read_reply::<Instances>(format!(r#"{{"Instances":[{row}]}}"#).as_bytes()).unwrap_err();
        let whole = read_reply::<InstanceAttributes>(format!(r#"{{"Instances":[{row}]}}"#).as_bytes()).unwrap_err();
        assert_eq!((list.as_str(), whole.as_str()), (error, error), "{row}");
    }
}

/// Nonsense gives an error or nothing, never a panic; and no error repeats a value, because values hold signed URLs.
#[test]
fn nonsense_is_survived_and_never_quoted() {
    let nonsense = [
        json!(null),
        json!("Signature=SECRET"),
        json!(-1),
        json!(1e300),
        json!([{"SECRET": 1}]),
        json!({"a": {"SECRET": []}}),
    ];
    let template: Value = serde_json::from_str(BACKUPS).unwrap();
    for bad in &nonsense {
        for field in ["BackupId", "BackupSize", "BackupDownloadURL", "BackupStatus"] {
            let mut reply = template.clone();
            reply["Backups"]["Backup"][0][field] = bad.clone();
            let backups = read_reply::<Backups>(reply.to_string().as_bytes()).unwrap();
            let _ = (backups.backups[0].id(), format!("{backups:?}"));
        }
        let mut reply = template.clone();
        reply["Backups"] = bad.clone();
        if let Err(e) = read_reply::<Backups>(reply.to_string().as_bytes()) {
            assert!(!e.contains("SECRET"), "{e}");
        }
    }
    for body in ["", "<html>SECRET", "[1]", "\"SECRET\"", "{\"a\":", "{\"XResponse\":1}"] {
        let e = read_reply::<Backups>(body.as_bytes()).unwrap_err();
        assert!(!e.contains("SECRET") && !e.is_empty(), "{e}");
    }
}

/// A signed URL is shown by nobody's Debug, and its end is known.
#[test]
fn a_download_url_is_a_secret_with_a_date() {
    let url = DownloadUrl::new(
        "https://rdsbak-st-v2.oss-cn-shenzhen.aliyuncs.com/custins4588367/hins3402581_data_20171018183408.rdb?OSSAccessKeyId=LTAI&Expires=1508409386&Signature=abc%3D",
    );
    assert!(!format!("{url:?}").contains("LTAI"));
    assert_eq!(url.expires_at().unwrap().as_second(), 1_508_409_386);
    let newer = DownloadUrl::new(
        "https://b.oss.aliyuncs.com/o?x-oss-date=20260102T030405Z&x-oss-expires=60&x-oss-signature=abc",
    );
    assert_eq!(newer.expires_at().unwrap().to_string(), "2026-01-02T03:05:05Z");
    for none in
        ["", "https://h/o", "https://h/o?Expires=x", "https://h/o?x-oss-date=1&x-oss-expires=99999999999999999999"]
    {
        assert_eq!(DownloadUrl::new(none).expires_at(), None);
    }
}

/// A status counts in whatever case it is written; one that nobody has published means that something goes on.
#[test]
fn statuses_are_read_in_any_case() {
    for (text, state) in [
        ("Normal", InstanceState::Normal),
        ("NORMAL", InstanceState::Normal),
        ("backupRecovering", InstanceState::Recovering),
        ("released", InstanceState::Lost),
        ("Unavailable", InstanceState::Down),
        ("inactive", InstanceState::Down),
        ("Migrating", InstanceState::Changing),
        ("", InstanceState::Untold),
    ] {
        assert_eq!(InstanceState::of(text), state, "{text}");
    }
}

fn pairs(params: &Params) -> String {
    params.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

/// Requests are written in the forms that the API names, and read back from them.
#[test]
fn requests_are_written_strictly() {
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let describe = DescribeBackups {
        instance_id: "r-1".into(),
        start_time: Minute(at),
        end_time: Minute(at),
        backup_id: None,
        backup_job_id: Some(7),
        page_number: None,
        page_size: None,
    };
    assert_eq!(
        pairs(&describe.params()),
        "InstanceId=r-1&StartTime=2026-01-02T03:04Z&EndTime=2026-01-02T03:04Z&BackupJobId=7"
    );
    let read = DescribeBackups::from_params(&describe.params()).unwrap();
    assert_eq!(read.backup_job_id, Some(7));
    let restore = RestoreInstance {
        instance_id: "r-1".into(),
        backup_id: None,
        restore_type: Some("1".into()),
        restore_time: Some(Second(at)),
        filter_key: Some("a.*,b".into()),
        time_shift: None,
    };
    assert_eq!(
        pairs(&restore.params()),
        "InstanceId=r-1&RestoreType=1&RestoreTime=2026-01-02T03:04:05Z&FilterKey=a.*,b"
    );
    assert_eq!(RestoreInstance::from_params(&restore.params()).unwrap(), restore);
    let policy = ModifyBackupPolicy {
        instance_id: "r-1".into(),
        preferred_backup_time: "23:00Z-24:00Z".into(),
        preferred_backup_period: "Monday".into(),
        backup_retention_period: Some(7),
        enable_backup_log: OneZero(true),
    };
    assert!(pairs(&policy.params()).ends_with("&EnableBackupLog=1"));
    assert_eq!(ModifyBackupPolicy::from_params(&policy.params()).unwrap(), policy);
    let tags = vec![Tag { key: "a".into(), value: "b".into() }, Tag { key: "c".into(), value: String::new() }];
    let list = DescribeInstances { tags, ..DescribeInstances::default() };
    assert_eq!(pairs(&list.params()), "Tag.1.Key=a&Tag.1.Value=b&Tag.2.Key=c&Tag.2.Value=");
    assert_eq!(DescribeInstances::from_params(&list.params()).unwrap(), list);
    let many = vec![Tag { key: "k".into(), value: "v".into() }; 30];
    let list = DescribeInstances { tags: many, ..DescribeInstances::default() };
    assert_eq!(DescribeInstances::from_params(&list.params()).unwrap().tags.len(), 21);
    assert_eq!(CreateBackup::from_params(&Params::new()).unwrap_err(), BadParam::Missing("InstanceId".into()));
    let bad = vec![("InstanceId".into(), "r-1".into()), ("BackupRetentionPeriod".into(), "soon".into())];
    assert_eq!(CreateBackup::from_params(&bad).unwrap_err(), BadParam::Malformed("BackupRetentionPeriod".into()));
    const { assert!(CreateTairInstance::WRITES && !DescribeInstances::WRITES && RestoreInstance::WRITES) };
}
