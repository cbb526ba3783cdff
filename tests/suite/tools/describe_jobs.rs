//! Jobs: each with its result, newest first, by instance or by id.

use crate::support::{Bench, Redis, text};

/// A backup that was made and one that failed are told apart, with the code and the next step; an unknown job is not found.
#[test]
fn each_job_shows_its_result() {
    let redis = Redis::start("redis-7.0", &[]);
    let away = "[[instance]]\nid = \"carts\"\nurl = \"redis://127.0.0.1:1\"\n";
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n{away}", redis.url()));
    let backup = bench.backup();
    assert_eq!(bench.run(&["create-backup", "--instance-id", "carts"]).code, 5);
    let jobs = bench.jobs();
    assert_eq!(jobs.len(), 2);
    let (failed, made) = (&jobs[0], &jobs[1]);
    assert_eq!((&made["status"], &made["backup_id"]), (&"succeeded".into(), &backup.as_str().into()), "{made}");
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"instance.unreachable".into()), "{failed}");
    assert!(!text(&failed["message"]).is_empty() && failed["backup_id"].is_null(), "{failed}");
    assert!(text(&failed["started_at"]) >= text(&made["started_at"]), "newest first");

    let of_carts = bench.json(&["describe-jobs", "--instance-id", "carts"]);
    assert_eq!(of_carts["jobs"], serde_json::json!([failed]));
    let one = bench.json(&["describe-jobs", "--job-id", made["job_id"].as_str().unwrap()]);
    assert_eq!(one["jobs"], serde_json::json!([made]));
    let unknown = bench.run(&["describe-jobs", "--job-id", "bj-none"]);
    assert!(unknown.code == 4 && unknown.err.contains("[job.not_found]"), "{unknown:?}");
}
