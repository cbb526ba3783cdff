//! What the provider makes of replies that are not what they should be: they come from a server that the emulator cannot be.

use crate::provider::cloud::Ours;
use crate::provider::cloud_faults::scene::hurried;
use crate::redis::values::{entry, rdb, string};
use crate::support::emulator::client_at;
use crate::support::http_server::{Answer, Seen, Server};
use crate::support::wait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tair_backup_mcp::guard::act::PolicyChange;
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::job::{Job, JobStatus};
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::model::verification::Level;
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::provider::{InstanceQuery, Raised, Range};
use tair_backup_mcp::tools::modify_backup_policy;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A server on a thread of its own, for as long as what is given back is kept.
pub(crate) fn server(mut answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> (u16, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            tell.send(Server::start(move |_, seen| answer(seen)).await.port).unwrap();
            let _ = stopped.await;
        });
    });
    (told.recv().unwrap(), stop)
}

/// A page of instances that is full is not believed to be the last, whatever it says: in the end all are told, or that some are missing.
#[test]
fn a_total_that_is_wrong_hides_no_instance() {
    for total in [0, 20, 30, 45, 75, 76, 10_000, -1] {
        let (port, _running) = server(move |seen| {
            let number = |name| seen.param(name).and_then(|n| n.parse::<usize>().ok()).unwrap();
            let (page, size) = (number("PageNumber"), number("PageSize"));
            let rows: Vec<_> = ((page - 1) * size..(page * size).min(75))
                .map(|n| json!({"InstanceId": format!("r-{n}"), "InstanceStatus": "Normal"}))
                .collect();
            let body = json!({"RequestId": "R", "TotalCount": total, "PageSize": size, "Instances": {"KVStoreInstance": rows}});
            Answer::ok(body.to_string())
        });
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        // As whoever pages does: up to the end that was told last.
        let (mut seen, mut page, mut end) = (0, 1, 1);
        while seen < end {
            let query = InstanceQuery { search: None, page_number: page, page_size: 20 };
            match ours.run(ours.provider().instances(&query)) {
                Ok((rows, all)) => (seen, page, end) = (seen + rows.len() as u64, page + 1, all),
                Err(fault) => {
                    assert!(total > 75 && fault.code == "cloud.bad_reply", "{total}: {fault:?}");
                    seen = 75;
                    break;
                }
            }
        }
        assert_eq!(seen, 75, "{total}");
    }
}

/// The attributes of another instance say nothing of the one that was asked for, not even that there is none.
#[test]
fn another_instance_is_no_answer() {
    for (rows, code) in [(json!([]), "instance.not_found"), (json!([{"InstanceId": "r-other"}]), "cloud.bad_reply")] {
        let (port, _running) = server(move |_| {
            let body = json!({"RequestId": "R", "Instances": {"DBInstanceAttribute": rows.clone()}});
            Answer::ok(body.to_string())
        });
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        assert_eq!(ours.run(ours.provider().describe("r-1")).unwrap_err().code, code);
    }
}

/// A row of the list of a cluster's sets.
pub(crate) fn cluster_set(id: &str, mode: &str, status: &str, began: Timestamp) -> Value {
    let at = written(began);
    json!({"ClusterBackupId": id, "ClusterBackupStatus": status, "ClusterBackupMode": mode, "ClusterBackupSize": "2048",
        "ClusterBackupStartTime": at, "ClusterBackupEndTime": at, "IsAvail": 1, "Progress": "100%",
        "Backups": [{"BackupId": "5", "InstanceName": "r-1-db-0", "BackupStatus": "OK", "IsAvail": "1", "BackupSize": "2048",
            "BackupStartTime": at, "BackupEndTime": at}]})
}

/// The set that a backup of a cluster made is the one asked for: not one that the cloud took by itself meanwhile and had listed earlier. One
/// that ran before the call, and was joined, is whoever's it is.
#[test]
fn a_clusters_set_is_the_one_asked_for() {
    for joined in [false, true] {
        let (mut called, mut looks) = (false, 0);
        let now = Timestamp::now();
        let earlier = now - SignedDuration::from_mins(if joined { 50 } else { 1 });
        let (port, _running) = server(move |seen| {
            let region = seen.param("RegionId").unwrap();
            let body = match seen.action() {
                "DescribeInstanceAttribute" => json!({"Instances": {"DBInstanceAttribute": [{"InstanceId": "r-1",
                    "InstanceStatus": "Normal", "ComputingType": "Ecs", "ArchitectureType": "cluster",
                    "NodeType": "MASTER_SLAVE", "RegionId": region}]}}),
                "DescribeBackupTasks" if joined && looks < 4 => json!({"InstanceId": "r-1", "BackupJobs": [
                    {"BackupJobID": 7, "BackupProgressStatus": "Running", "Progress": "10", "JobMode": "Automated"}]}),
                "DescribeBackupTasks" => json!({"InstanceId": "r-1", "BackupJobs": []}),
                "DescribeBackups" => {
                    json!({"PageNumber": 1, "PageSize": 30, "TotalCount": 0, "Backups": {"Backup": []}})
                }
                "CreateBackup" if joined => return Answer::error(403, "BackupJobExists"),
                "CreateBackup" => {
                    called = true;
                    json!({"BackupJobID": "8"})
                }
                "DescribeClusterBackupList" => {
                    looks += usize::from(called || joined);
                    let status = |over: bool| if over { "OK" } else { "RUNNING" };
                    let mut rows = Vec::new();
                    if joined {
                        rows.push(cluster_set("cb-theirs", "Automated", status(looks > 4), earlier));
                    } else if called {
                        rows.push(cluster_set("cb-theirs", "Automated", "OK", earlier));
                        if looks > 1 {
                            rows.push(cluster_set("cb-ours", "Manual", status(looks > 3), now));
                        }
                    }
                    json!({"PageNumber": 1, "PageSize": 300, "MaxResults": rows.len(), "ClusterBackups": rows})
                }
                other => panic!("{other}"),
            };
            Answer::cloud(body.to_string())
        });
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        let (job, was_joined) =
            ours.run(ours.provider().create_backup("r-1", Mode::Manual, "", None, "local")).unwrap();
        let done = ours.ended(&job.id);
        let set = if joined { "cb-theirs" } else { "cb-ours" };
        assert_eq!((done.status, done.backup_id.as_str(), was_joined), (JobStatus::Succeeded, set, joined), "{done:?}");
    }
}

/// Two orders of one instant on a cluster whose backups are one job for all shards make two sets: where the reply to ours is lost, its set is that
/// of one job, and not of both together.
#[test]
fn two_orders_make_two_sets() {
    let mut called = false;
    let (port, _running) = server(move |seen| {
        let now = written(Timestamp::now());
        let shard = |id: i64, job: i64, shard: i64| {
            json!({"BackupId": id, "BackupJobID": job, "NodeInstanceId": format!("r-1-db-{shard}"), "BackupStatus": "Success",
                "BackupMode": "Manual", "BackupType": "FullBackup", "BackupSize": 10, "BackupStartTime": now, "BackupEndTime": now})
        };
        let task = |job: i64| {
            json!({"BackupJobID": job, "BackupProgressStatus": "Finished", "Progress": "100", "JobMode": "Manual",
                "NodeId": "r-1", "StartTime": now})
        };
        let body = match seen.action() {
            "DescribeInstanceAttribute" => json!({"Instances": {"DBInstanceAttribute": [{"InstanceId": "r-1",
                "InstanceStatus": "Normal", "ComputingType": "Machine", "ArchitectureType": "cluster", "ShardCount": 2,
                "NodeType": "MASTER_SLAVE", "RegionId": seen.param("RegionId").unwrap()}]}}),
            "CreateBackup" => {
                called = true;
                return Answer::Close;
            }
            "DescribeBackupTasks" => {
                let tasks = if called { vec![task(8), task(9)] } else { Vec::new() };
                json!({"InstanceId": "r-1", "BackupJobs": tasks})
            }
            "DescribeBackups" => {
                let rows = if called {
                    vec![shard(10, 8, 0), shard(11, 9, 0), shard(12, 8, 1), shard(13, 9, 1)]
                } else {
                    Vec::new()
                };
                json!({"PageSize": 300, "TotalCount": rows.len(), "Backups": {"Backup": rows}})
            }
            other => panic!("{other}"),
        };
        Answer::cloud(body.to_string())
    });
    let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, hurried());
    let (job, _) = ours.run(ours.provider().create_backup("r-1", Mode::Manual, "", None, "local")).unwrap();
    let done = ours.ended(&job.id);
    let end = (done.status, done.backup_id.as_str(), done.cloud_jobs.as_slice());
    assert_eq!(end, (JobStatus::Succeeded, "10,12", &[8][..]), "{done:?}");
}

/// Where each shard of a cluster has a job of its own and the reply is lost, all of those are looked for: they may be listed one after the other, and the
/// first be over by then. Where the others never come the end is that the set is not whole.
#[test]
fn the_jobs_of_all_shards_are_looked_for() {
    for (all_come, visible) in [(true, 400), (false, 100)] {
        let (mut called, mut looks) = (None, 0);
        let (port, _running) = server(move |seen| {
            let since = called.map_or(Duration::ZERO, |at: Instant| at.elapsed());
            let is_done = since > Duration::from_millis(visible * 6);
            let now = written(Timestamp::now());
            let task = |job: i64, status: &str| {
                json!({"BackupJobID": job, "BackupProgressStatus": status, "Progress": "50", "JobMode": "Manual",
                    "NodeId": format!("r-1-db-{}", job - 8), "StartTime": now})
            };
            let shard = |job: i64| {
                json!({"BackupId": job + 2, "BackupJobID": job, "NodeInstanceId": format!("r-1-db-{}", job - 8), "BackupStatus": "Success",
                    "BackupMode": "Manual", "BackupType": "FullBackup", "BackupSize": 10, "BackupStartTime": now, "BackupEndTime": now})
            };
            let body = match seen.action() {
                "DescribeInstanceAttribute" => json!({"Instances": {"DBInstanceAttribute": [{"InstanceId": "r-1",
                    "InstanceStatus": "Normal", "ComputingType": "Machine", "ArchitectureType": "cluster", "ShardCount": 2,
                    "NodeType": "MASTER_SLAVE", "RegionId": seen.param("RegionId").unwrap()}]}}),
                "CreateBackup" => {
                    called = Some(Instant::now());
                    return Answer::Close;
                }
                "DescribeBackupTasks" => {
                    looks += usize::from(called.is_some());
                    let tasks = match looks {
                        0 => Vec::new(),
                        1 | 2 => vec![task(8, "Uploading")],
                        _ if !all_come => vec![task(8, "Finished")],
                        3 => Vec::new(),
                        _ => vec![task(9, if is_done { "Finished" } else { "Uploading" })],
                    };
                    json!({"InstanceId": "r-1", "BackupJobs": tasks})
                }
                "DescribeBackups" => {
                    let rows = match (is_done, all_come) {
                        (false, _) => Vec::new(),
                        (true, false) => vec![shard(8)],
                        (true, true) => vec![shard(8), shard(9)],
                    };
                    json!({"PageSize": 300, "TotalCount": rows.len(), "Backups": {"Backup": rows}})
                }
                other => panic!("{other}"),
            };
            Answer::cloud(body.to_string())
        });
        let visibility_delay = Duration::from_millis(visible);
        let polling = Polling { visibility_delay, backup_timeout: Duration::from_secs(30), ..hurried() };
        let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, polling);
        let (job, _) = ours.run(ours.provider().create_backup("r-1", Mode::Manual, "", None, "local")).unwrap();
        let done = ours.ended(&job.id);
        let end = (done.status, done.code.as_str(), done.backup_id.as_str(), done.cloud_jobs.as_slice());
        let wanted = if all_come {
            (JobStatus::Succeeded, "", "10,11", &[8, 9][..])
        } else {
            (JobStatus::Uncertain, "backup.lost", "", &[][..])
        };
        assert_eq!(end, wanted, "{done:?}");
    }
}

/// Of two jobs that run on an instance with one shard a call that is turned away joins one: its set is that of one job.
#[test]
fn of_two_that_run_one_is_joined() {
    let mut looks = 0;
    let (port, _running) = server(move |seen| {
        let now = written(Timestamp::now());
        let body = match seen.action() {
            "DescribeInstanceAttribute" => attributes(false, &seen.param("RegionId").unwrap()),
            "CreateBackup" => return Answer::error(403, "BackupJobExists"),
            "DescribeBackupTasks" => {
                let task = |job: i64| json!({"BackupJobID": job, "BackupProgressStatus": "Uploading", "NodeId": "r-1"});
                json!({"InstanceId": "r-1", "BackupJobs": [task(7), task(8)]})
            }
            "DescribeBackups" => {
                looks += 1;
                let row = |job: i64| {
                    json!({"BackupId": job * 10, "BackupJobID": job, "NodeInstanceId": "r-1", "BackupStatus": "Success",
                        "BackupMode": "Manual", "BackupSize": 10, "BackupStartTime": now, "BackupEndTime": now})
                };
                let rows = if looks > 4 { vec![row(7), row(8)] } else { Vec::new() };
                json!({"PageSize": 300, "TotalCount": rows.len(), "Backups": {"Backup": rows}})
            }
            other => panic!("{other}"),
        };
        Answer::cloud(body.to_string())
    });
    let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, hurried());
    let (job, joined) = ours.run(ours.provider().create_backup("r-1", Mode::Manual, "", None, "local")).unwrap();
    let done = ours.ended(&job.id);
    let end = (done.status, done.backup_id.as_str(), done.cloud_jobs.as_slice(), joined);
    assert_eq!(end, (JobStatus::Succeeded, "70", &[7][..], true), "{done:?}");
}

/// What an instance says of itself, as all of these servers have it.
pub(crate) fn attributes(cloud_native: bool, region: &str) -> Value {
    let (computing, architecture) = if cloud_native { ("Ecs", "cluster") } else { ("Machine", "standard") };
    json!({"Instances": {"DBInstanceAttribute": [{"InstanceId": "r-1", "InstanceStatus": "Normal", "ComputingType": computing,
        "ArchitectureType": architecture, "NodeType": "MASTER_SLAVE", "RegionId": region}]}})
}

/// A policy that the cloud does not tell may be more than what is asked for: none of it is changed without a person's yes, and the plan says
/// that it is not known.
#[test]
fn a_policy_that_is_not_told_is_not_lowered_unasked() {
    for unknown in [json!(""), json!(null), json!("-"), json!("30.0")] {
        for field in ["BackupRetentionPeriod", "PreferredBackupPeriod"] {
            let value = unknown.clone();
            let (port, _running) = server(move |seen| {
                let region = seen.param("RegionId").unwrap();
                let mut policy = json!({"PreferredBackupTime": "02:00Z-03:00Z", "PreferredBackupPeriod": "Monday",
                    "BackupRetentionPeriod": "7", "EnableBackupLog": 0});
                policy[field] = value.clone();
                match seen.action() {
                    "DescribeInstanceAttribute" => Answer::cloud(attributes(false, &region).to_string()),
                    "DescribeBackupPolicy" => Answer::cloud(policy.to_string()),
                    other => Answer::error(403, &format!("Forbidden.{other}")),
                }
            });
            let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
            let (days, period) = (Some(7), Some(vec!["Monday".to_owned()]));
            let change = PolicyChange {
                backup_retention_period: days,
                preferred_backup_period: period,
                ..PolicyChange::default()
            };
            let raised = ours.run(ours.provider().raise_backup_policy("r-1", &change, "local"));
            assert!(matches!(raised, Ok(Raised::Lowers)), "{field} {unknown}: {raised:?}");
            let args =
                json!({"instance_id": "r-1", "backup_retention_period": 7, "preferred_backup_period": ["Monday"]});
            let plan = ours.tool(&args, modify_backup_policy::run).unwrap();
            assert_eq!(plan["status"], "confirmation_required", "{plan:#}");
            let told = plan.to_string();
            assert!(told.contains("not known what is in force") || told.contains("no backups on"), "{plan:#}");
        }
    }
}

/// A set that was taken while the cloud's clock was ahead of ours, or ours behind, is in the list, whatever it is asked by.
#[test]
fn a_clock_that_is_behind_hides_no_set() {
    let began = Timestamp::now() + SignedDuration::from_hours(24 * 400);
    let (port, _running) = server(move |seen| {
        let body = match seen.action() {
            "DescribeInstanceAttribute" => attributes(false, &seen.param("RegionId").unwrap()),
            "DescribeBackups" => {
                let row = json!({"BackupId": 7, "BackupJobID": 1, "NodeInstanceId": "r-1", "BackupStatus": "Success",
                    "BackupMode": "Manual", "BackupSize": 10, "BackupStartTime": written(began), "BackupEndTime": written(began)});
                let rows = if seen.param("EndTime").unwrap() > written(began) { vec![row] } else { Vec::new() };
                json!({"PageSize": 300, "TotalCount": rows.len(), "Backups": {"Backup": rows}})
            }
            other => panic!("{other}"),
        };
        Answer::cloud(body.to_string())
    });
    let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
    let range = Range { start: Timestamp::now(), end: None };
    for asked in [None, Some(range)] {
        assert_eq!(ours.run(ours.provider().backups("r-1", asked)).unwrap().len(), 1, "{asked:?}");
    }
    assert!(ours.run(ours.provider().backup("r-1", "7")).is_ok());
}

/// A backup that is over under a word that nobody has published, and leaves no whole set, is not followed for hours: its end is that nobody
/// knows. One whose figure moves is at work, whatever its word.
#[test]
fn a_word_that_nobody_knows_ends_a_backup() {
    let long = Polling { backup_timeout: Duration::from_secs(60), ..hurried() };
    for (cluster, word) in [(true, "Canceled"), (false, "Failed"), (false, "Dumping")] {
        let (mut called, moves) = (None, word == "Dumping");
        let (port, _running) = server(move |seen| {
            let since = called.map_or(Duration::ZERO, |at: Instant| at.elapsed());
            let is_done = moves && since > long.listed_by() + Duration::from_secs(1);
            let body = match seen.action() {
                "DescribeInstanceAttribute" => attributes(cluster, &seen.param("RegionId").unwrap()),
                "CreateBackup" => {
                    called = Some(Instant::now());
                    json!({"BackupJobID": "8"})
                }
                "DescribeBackupTasks" if called.is_some() && !is_done => {
                    let percent = if moves { since.as_millis() / 70 } else { 40 };
                    json!({"InstanceId": "r-1", "BackupJobs": [{"BackupJobID": 8, "BackupProgressStatus": word,
                        "Progress": percent.to_string(), "JobMode": "Manual"}]})
                }
                "DescribeBackupTasks" => json!({"InstanceId": "r-1", "BackupJobs": []}),
                "DescribeBackups" => {
                    let now = written(Timestamp::now());
                    let row = json!({"BackupId": 7, "BackupJobID": 8, "NodeInstanceId": "r-1", "BackupStatus": "Success",
                        "BackupMode": "Manual", "BackupSize": 10, "BackupStartTime": now, "BackupEndTime": now});
                    let rows = if is_done { vec![row] } else { Vec::new() };
                    json!({"PageSize": 300, "TotalCount": rows.len(), "Backups": {"Backup": rows}})
                }
                "DescribeClusterBackupList" if called.is_some() => {
                    json!({"PageSize": 300, "ClusterBackups": [cluster_set("cb-1", "Manual", word, Timestamp::now())]})
                }
                "DescribeClusterBackupList" => json!({"PageSize": 300, "ClusterBackups": []}),
                other => panic!("{other}"),
            };
            Answer::cloud(body.to_string())
        });
        let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, long);
        let (job, _) = ours.run(ours.provider().create_backup("r-1", Mode::Manual, "", None, "local")).unwrap();
        let done = ours.ended(&job.id);
        let end = if moves { (JobStatus::Succeeded, "") } else { (JobStatus::Uncertain, "backup.lost") };
        assert_eq!((done.status, done.code.as_str()), end, "{word}: {done:?}");
    }
}

/// Damage of one file is damage of its set, whether that file was looked at or the whole set was; and either look lifts it. Of two looks one reads at
/// a time.
#[test]
fn damage_of_one_file_is_the_sets() {
    let sound = rdb("REDIS0009", &entry(0, "key", &string(b"value")), true);
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let second = Arc::new(Mutex::new(Vec::new()));
    let hangs = Arc::new(AtomicBool::new(false));
    let (first, served, first_hangs) = (sound.clone(), Arc::clone(&second), Arc::clone(&hangs));
    let (port, _running) = server(move |seen| {
        match seen.path.as_str() {
            "/1" if first_hangs.load(Ordering::Relaxed) => return Answer::Hang,
            "/1" => return Answer::bytes(first.clone()),
            "/2" => return Answer::bytes(served.lock().unwrap().clone()),
            _ => {}
        }
        let host = seen.header("host").unwrap().to_owned();
        let row = |id: i64| {
            json!({"BackupId": id, "BackupJobID": 8, "NodeInstanceId": format!("r-1-db-{id}"), "BackupStatus": "Success",
                "BackupMode": "Manual", "BackupType": "FullBackup", "BackupSize": first.len(),
                "BackupStartTime": "2026-11-01T00:00:00Z", "BackupEndTime": "2026-11-01T00:01:00Z",
                "BackupDownloadURL": format!("http://{host}/{id}")})
        };
        let body = match seen.action() {
            "DescribeInstanceAttribute" => json!({"Instances": {"DBInstanceAttribute": [{"InstanceId": "r-1",
                "InstanceStatus": "Normal", "ComputingType": "Machine", "ArchitectureType": "cluster", "ShardCount": 2,
                "NodeType": "MASTER_SLAVE", "RegionId": seen.param("RegionId").unwrap()}]}}),
            "DescribeBackups" => json!({"PageSize": 300, "TotalCount": 2, "Backups": {"Backup": [row(1), row(2)]}}),
            other => panic!("{other}"),
        };
        Answer::cloud(body.to_string())
    });
    let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
    let verify = |set: &str| {
        let job = ours.run(ours.provider().verify(("r-1", set), Level::Checksum, "local")).unwrap();
        ours.ended(&job.id)
    };
    let refused = |set: &str| ours.run(ours.provider().backup("r-1", set)).err().map(|fault| fault.code);
    for (found_by, lifted_by) in [("2", "1,2"), ("1,2", "2"), ("1,2", "1,2")] {
        second.lock().unwrap().clone_from(&flipped);
        let found = verify(found_by);
        assert_eq!((found.status, found.code.as_str()), (JobStatus::Failed, "backup.damaged"), "{found:?}");
        let listed = ours.run(ours.provider().backups("r-1", None)).unwrap().remove(0).unwrap_err();
        assert!(listed.id == "1,2" && listed.reason.contains("the file of backup 2"), "{listed:?}");
        let damaged = Some("backup.damaged");
        assert_eq!(["1,2", "2", "1"].map(refused), [damaged, damaged, None], "found by a look at {found_by}");
        second.lock().unwrap().clone_from(&sound);
        let lifted = verify(lifted_by);
        assert_eq!(lifted.status, JobStatus::Succeeded, "{lifted:?}");
        assert_eq!(["1,2", "2", "1"].map(refused), [None; 3], "lifted by a look at {lifted_by}");
    }
    hangs.store(true, Ordering::Relaxed);
    let begin = |set: &str| ours.run(ours.provider().verify(("r-1", set), Level::Checksum, "local"));
    let is_at = |job: &Job, stage: &str| {
        wait(stage, Duration::from_secs(20), || Some(ours.job(&job.id)).filter(|job| job.stage.starts_with(stage)))
    };
    is_at(&begin("1").unwrap(), "reading");
    let second = is_at(&begin("2").unwrap(), "waiting");
    let busy = begin("2").unwrap_err();
    assert!(busy.code == "job.busy" && busy.message.contains(&second.id), "{busy:?}");
}
