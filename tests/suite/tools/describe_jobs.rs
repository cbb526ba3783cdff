//! Jobs: each with its result, newest first, by instance or by id, a page at a time.

use crate::state::places::run_at;
use crate::support::{Bench, Redis, text, unattended};

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

    // What is over has no stage and no bytes left, and says how long it took.
    for job in &jobs {
        assert!(job["stage"].is_null() && job["bytes"].is_null() && job["duration_seconds"].is_number(), "{job}");
    }
    assert_eq!((&made["progress"], failed.get("progress")), (&1.0.into(), None));
    for (page, shown) in [(1, Some(failed)), (2, Some(made)), (3, None)] {
        let reply = bench.json(&["describe-jobs", "--page-size", "1", "--page-number", &page.to_string()]);
        assert_eq!(reply["jobs"], serde_json::Value::from_iter(shown.cloned()), "{reply}");
        assert_eq!((&reply["total"], &reply["page_number"]), (&2.into(), &page.into()), "{reply}");
        assert!(text(&reply["now"]) >= text(&made["finished_at"]), "{reply}");
    }
    for wrong in [["--page-number", "0"], ["--page-size", "0"], ["--page-size", "51"]] {
        let refused = bench.run(&[&["describe-jobs"], &wrong[..]].concat());
        assert!(refused.code == 2 && refused.err.contains("[arguments.invalid]"), "{refused:?}");
    }

    let of_carts = bench.json(&["describe-jobs", "--instance-id", "carts"]);
    assert_eq!(of_carts["jobs"], serde_json::json!([failed]));
    let one = bench.json(&["describe-jobs", "--job-id", made["job_id"].as_str().unwrap()]);
    assert_eq!(one["jobs"], serde_json::json!([made]));
    let unknown = bench.run(&["describe-jobs", "--job-id", "bj-none"]);
    assert!(unknown.code == 4 && unknown.err.contains("[job.not_found]"), "{unknown:?}");
}

/// A restore's job has the key statistics of source and target, and so has the audit; a moment's are those of its end, and what the
/// target lacks is no agreement.
#[test]
fn a_restore_shows_the_keys_of_source_and_target() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    redis.run_in(3, &["SET", "elsewhere", "1"]);
    let bench = Bench::unattended(&redis);
    let (backup, keys) = (bench.backup(), redis.statistics());
    for (how, more) in [("replication", ""), ("commands", "restore_way = \"commands\"")] {
        bench.configure(&unattended(&redis, more));
        redis.run(&["SET", "marker", how]);
        let done = bench.restore(&backup).json();
        assert_eq!((&done["status"], &done["plan"]["way"]), (&"succeeded".into(), &how.into()), "{done}");
        let job = bench.json(&["describe-jobs", "--job-id", &text(&done["job_id"])])["jobs"][0].clone();
        let statistics = &job["key_statistics"];
        assert_eq!(statistics["agreement"], "same", "{job}");
        assert!(statistics["source"].as_u64() > Some(1) && statistics["source"] == statistics["target"], "{job}");
        assert_eq!(redis.statistics(), keys);
        let audit = bench.run(&["audit", "--json"]).out;
        let ended = audit.lines().rfind(|line| line.contains("restore.succeeded")).unwrap();
        let told = format!("key statistics: source {} keys", statistics["source"]);
        assert!(ended.contains(&told) && ended.contains("the same in every database"), "{ended}");
    }
    let made = bench.jobs().into_iter().find(|job| job["kind"] == "backup").unwrap();
    assert!(made.get("key_statistics").is_none(), "{made}");

    // A key that has expired meanwhile is in the source alone.
    redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    redis.run(&["SET", "soon", "1", "PX", "1200"]);
    let backup = bench.backup();
    redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    crate::support::wait("the key to expire", std::time::Duration::from_secs(30), || {
        (redis.run(&["EXISTS", "soon"]).text() == "0").then_some(())
    });
    let done = bench.restore(&backup).json();
    assert_eq!(done["status"], "succeeded", "{done}");
    let job = bench.json(&["describe-jobs", "--job-id", &text(&done["job_id"])])["jobs"][0].clone();
    let statistics = &job["key_statistics"];
    assert_eq!(statistics["agreement"], "fewer", "{job}");
    assert_eq!(statistics["source"].as_u64().unwrap(), statistics["target"].as_u64().unwrap() + 1, "{job}");
}

/// A plan shows as waiting, approved and lapsed, each with the next step and none with a token; once it is carried out or withdrawn its job tells.
#[tokio::test]
async fn plans_that_are_not_carried_out_are_shown() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let plans = || bench.json(&["describe-jobs"])["plans"].clone();
    assert!(plans().is_null());
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    let planned = bench.ask(&backup).json();
    let shown = |status: &str, next: &str| {
        let plans = plans();
        let [plan] = plans.as_array().unwrap().as_slice() else { panic!("{plans}") };
        assert_eq!(
            (&plan["plan_id"], &plan["act"], &plan["instance_id"], &plan["status"]),
            (&planned["plan"]["plan_id"], &"restore_instance".into(), &"orders".into(), &status.into()),
        );
        assert!(text(&plan["next"]).contains(next) && !plans.to_string().contains("rt1-"), "{plans}");
        assert!(plan["expires_at"].is_string(), "{plan}");
        assert!(bench.run(&["describe-jobs"]).out.contains(&text(&plan["plan_id"])));
    };
    shown("waiting", " approve");
    assert!(bench.json(&["describe-jobs", "--instance-id", "orders"])["plans"].is_array());
    run_at(&bench.home(), "UPDATE confirmations SET status = 'approved'".into()).await;
    shown("approved", "restore_instance again, with confirmation_token");
    run_at(&bench.home(), "UPDATE confirmations SET caller = 'other'".into()).await;
    let theirs = plans();
    assert!(theirs[0]["plan_id"].is_string() && theirs[0]["next"].is_null(), "{theirs}");
    run_at(&bench.home(), "UPDATE confirmations SET caller = 'local', expires_at = created_at + 1".into()).await;
    shown("lapsed", "without confirmation_token");
    // The next equal plan takes its place.
    let again = bench.ask(&backup).json();
    let plans = plans();
    assert_eq!((plans.as_array().unwrap().len(), &plans[0]["plan_id"]), (1, &again["plan"]["plan_id"]), "{plans}");
}
