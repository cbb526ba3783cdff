//! Retention of sets here: safety backups expire by the setting and not while something needs them, plans leave no more than five an
//! hour, and a set for which there is no room is refused before its source is asked.

use crate::archive::{FIRST, REPLID, T0, limits, new_timeline, put as append, seal, set};
use crate::schedule::service::{days, wednesday};
use crate::state::contract::new;
use crate::support::backup_set::{put_set, put_set_on};
use crate::support::log::{LONG, Service, archive, service_log};
use crate::support::s3::{self, Fate, Line, Request};
use crate::support::{Bench, Redis, files_under, finish, text, unattended, wait};
use jiff::{SignedDuration, Timestamp};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tair_backup_mcp::guard::grant::Expired;
use tair_backup_mcp::model::backup::{BackupSet, Mode};
use tair_backup_mcp::model::calendar::usual;
use tair_backup_mcp::model::job::JobKind;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::{Begun, JobStore as _, NewJob};
use tair_backup_mcp::state::manifests::Manifests as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::vault::signing::Signing;

/// Puts a safety backup on a bench's vault, begun and expiring at these moments.
async fn put(bench: &Bench, id: &str, started_at: Timestamp, expires_at: Option<Timestamp>) -> BackupSet {
    put_set(bench, id, Mode::Safety, (started_at, expires_at), ("i", 0)).await
}

fn ids(bench: &Bench) -> Vec<String> {
    let mut ids: Vec<String> = bench.backups().iter().map(|b| text(&b["backup_id"])).collect();
    ids.sort();
    ids
}

/// What has expired is gone at the next start, and the audit says who took it; what has not, or is needed by a plan that waits,
/// stays, and the plan can be carried out.
#[tokio::test]
async fn expired_sets_go_unless_they_are_needed() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let now = Timestamp::now();
    let (past, future) = (now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(1));
    put(&bench, "b-20260101T000000Z-000001", past, Some(future)).await;
    put(&bench, "b-20260101T000000Z-000002", past, None).await;
    let needed =
        put(&bench, "b-20260101T000000Z-000003", past, Some(Timestamp::now() + SignedDuration::from_secs(12))).await;
    let token = bench.token(&needed.id);
    put(&bench, "b-20260101T000000Z-000004", past, Some(past)).await;
    wait("the set to expire", Duration::from_secs(30), || (needed.expires_at <= Some(Timestamp::now())).then_some(()));
    bench.json(&["--read-only", "describe-jobs"]);
    let there = bench.home().join("vault/orders/b-20260101T000000Z-000004/manifest.json");
    assert!(there.exists(), "nothing is deleted by who may only read");
    // Any command is a start, and this one reconciles what was left behind.
    bench.jobs();
    let left = ids(&bench);
    assert_eq!(left[..3], [1, 2, 3].map(|n| format!("b-20260101T000000Z-00000{n}")), "{left:?}");
    assert!(!left.contains(&"b-20260101T000000Z-000004".to_owned()), "{left:?}");
    let audit = bench.run(&["audit", "--json"]).out;
    assert!(audit.contains("backup.expired") && audit.contains("retention"), "{audit}");
    let done = bench.run(&Bench::echo(&needed.id, &token));
    assert_eq!(done.code, 0, "{done:?}");
    // Now nothing needs it any more.
    bench.jobs();
    assert!(!ids(&bench).contains(&needed.id), "{:?}", ids(&bench));
}

/// A set that a running job reads stays for as long as that runs, however many jobs came since.
#[tokio::test]
async fn a_set_that_a_running_job_reads_stays() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let past = Timestamp::now() - SignedDuration::from_hours(1);
    let set = put(&bench, "b-20260101T000000Z-000001", past, Some(past)).await;
    // This process lives, so that nobody reconciles its job.
    let running = Sqlite::new(&bench.home());
    let restore = NewJob { backup_id: &set.id, ..new("rj-1", JobKind::Restore, "carts") };
    assert!(matches!(running.begin(restore).await.unwrap(), Begun::Started(_)));
    for n in 0..60 {
        let id = format!("vj-{n}");
        running.begin(NewJob { exclusive: false, ..new(&id, JobKind::Verification, "orders") }).await.unwrap();
        running.finish(&id, Ok(""), None).await.unwrap();
    }
    bench.jobs();
    assert_eq!(ids(&bench), [set.id.as_str()]);
    running.finish("rj-1", Ok(""), None).await.unwrap();
    bench.jobs();
    assert!(ids(&bench).is_empty(), "{:?}", ids(&bench));
}

/// What somebody does while sets are deleted.
#[derive(Clone, Copy)]
enum Meanwhile {
    KeepsThemForDays(u32),
    /// A job begins that needs the set of this number.
    Needs(u8),
}

impl Meanwhile {
    async fn done(self, state: &Arc<dyn State>) {
        match self {
            Self::KeepsThemForDays(days) => {
                let policy = BackupPolicy { backup_retention_period: days, ..usual() };
                let under = state.acquire("policy/orders").await.unwrap().unwrap();
                state.set_policy("orders", &policy, &under).await.unwrap();
                state.give_back(&under).await.unwrap();
            }
            Self::Needs(n) => {
                let restore = NewJob { backup_id: &numbered(n), ..new("rj-1", JobKind::Restore, "carts") };
                assert!(matches!(state.begin(restore).await.unwrap(), Begun::Started(_)));
            }
        }
    }
}

fn numbered(n: u8) -> String {
    format!("b-20260101T000000Z-{n:06}")
}

/// Of three sets in a bucket that a policy lets go, the third first, and two that it keeps, those that are left where something is done as the
/// deletion of the first begins.
fn left_where(meanwhile: Meanwhile) -> Vec<String> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut bench, prefix) = (Bench::new(""), s3::prefix());
    let open = |home: &std::path::Path| -> Arc<dyn State> { Arc::new(Sqlite::new(home)) };
    let (home, mut is_first) = (bench.home(), true);
    let line = Line::to(s3::port(), move |request: &Request| {
        let of_a_manifest = request.target.split('?').next().unwrap().ends_with("/manifest.json");
        if is_first && of_a_manifest && request.method == "DELETE" {
            is_first = false;
            let state = open(&home);
            runtime().block_on(meanwhile.done(&state));
            // Whoever began the job lives on.
            std::mem::forget(state);
        }
        Fate::Pass
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    bench.configure(&format!("vault = \"{url}\"\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n"));
    bench.env = s3::environment(s3::KEY.1);
    let signing = Arc::new(Signing::new(&bench.home(), Vec::new(), false));
    let vault = s3::vault_at(s3::port(), &prefix, bench.dir.path()).signed(signing);
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let of_its_week = wednesday(now);
    let begun = [of_its_week - days(1), of_its_week - hour * 2, of_its_week - hour, of_its_week, now];
    runtime().block_on(async {
        for (n, at) in (1..).zip(begun) {
            put_set_on(&vault, &numbered(n), Mode::Automated, (at, None), ("i", 0)).await;
        }
        // What somebody took each day since shows that the days have passed.
        for n in 1..u8::MAX {
            let at = of_its_week + days(i64::from(n));
            if at >= now {
                break;
            }
            put_set_on(&vault, &numbered(100 + n), Mode::Manual, (at, None), ("i", 0)).await;
        }
        let state = open(&bench.home());
        Meanwhile::KeepsThemForDays(7).done(&state).await;
    });
    let left = || -> Vec<String> {
        let names = s3::store_at(s3::port(), &prefix).list("orders").unwrap();
        let ids = names.iter().filter_map(|name| name.strip_suffix("/manifest.json")).map(str::to_owned);
        ids.filter(|id| *id < numbered(100)).collect()
    };
    let _service = Service::start(&bench);
    wait("what goes to be gone", LONG, || match meanwhile {
        Meanwhile::KeepsThemForDays(_) => service_log(&bench).contains("the policy was changed while").then(left),
        // The last that goes.
        Meanwhile::Needs(_) => Some(left()).filter(|left| !left.contains(&numbered(1))),
    })
}

/// Deletions in a bucket take minutes, and what is in force and what is needed is read again before each: a policy that was raised meanwhile keeps
/// what is still there, and a set that a job has come to need stays.
#[test]
fn what_changes_while_sets_are_deleted_counts() {
    let ids = |all: &[u8]| all.iter().map(|n| numbered(*n)).collect::<Vec<_>>();
    assert_eq!(left_where(Meanwhile::KeepsThemForDays(60)), ids(&[1, 2, 4, 5]));
    assert_eq!(left_where(Meanwhile::Needs(2)), ids(&[2, 4, 5]));
}

/// Processes that let the same sets go at the same time leave none that seems to have been removed by somebody else.
#[tokio::test]
async fn what_two_processes_delete_is_not_missed() {
    let bench = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    let (past, state) = (Timestamp::now() - SignedDuration::from_hours(1), Sqlite::new(&bench.home()));
    for n in 0..10 {
        let set = put(&bench, &format!("b-20260101T000000Z-00000{n}"), past, Some(past)).await;
        state.set_manifest("orders", &set.id, set.manifest.as_ref()).await.unwrap();
    }
    for process in [bench.spawn(&["describe-jobs"]), bench.spawn(&["describe-jobs"])] {
        let done = finish(process);
        assert_eq!(done.code, 0, "{done:?}");
    }
    let verified = bench.run(&["vault", "verify"]);
    assert!(verified.code == 0 && verified.out.contains("0 sets"), "{verified:?}");
}

/// A safety backup says when it expires, by the setting; a manual one never does.
#[test]
fn safety_backups_expire_by_the_setting() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&unattended(&redis, "").replace("[guard]\n", "[guard]\nsafety_retention_days = 2\n"));
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    bench.token(&backup);
    let at = |row: &serde_json::Value, name: &str| text(&row[name]).parse::<Timestamp>().unwrap();
    for row in bench.backups() {
        if row["backup_id"] == backup.as_str() {
            assert!(row["expires_at"].is_null(), "{row}");
        } else {
            assert_eq!(row["mode"], "safety", "{row}");
            assert_eq!(at(&row, "expires_at").duration_since(at(&row, "taken_at")), SignedDuration::from_hours(48));
        }
    }
    for wrong in ["0", "3651", "-1", "\"7\""] {
        bench.configure(
            &unattended(&redis, "").replace("[guard]\n", &format!("[guard]\nsafety_retention_days = {wrong}\n")),
        );
        let refused = bench.run(&["describe-instances"]);
        assert!(refused.code == 2 && refused.err.contains("config.invalid"), "{wrong}: {refused:?}");
    }
}

/// Plans ask nobody, so they must not fill the disk: however many are made, five safety backups of an hour are left, the latest
/// and those that a carried-out restore is undone with; and each plan can be carried out as long as it is the latest.
#[test]
fn plans_leave_no_more_than_five_safety_backups_an_hour() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "n", "start"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "n", "precious"]);
    let precious = redis.digest();
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
    let undoes = text(&done.json()["plan"]["safety_backup_id"]);
    let mut taken = vec![undoes.clone()];
    for n in 0..7 {
        redis.run(&["SET", "n", &n.to_string()]);
        taken.push(text(&bench.ask(&backup).json()["plan"]["safety_backup_id"]));
    }
    let mut wanted = [&[backup.clone(), undoes.clone()], &taken[4..]].concat();
    wanted.sort();
    assert_eq!(ids(&bench), wanted, "of {taken:?}");
    assert_eq!(bench.run(&["audit", "--json"]).out.matches("backup.replaced").count(), 3);
    let back = bench.restore(&undoes);
    assert_eq!((back.code, redis.digest()), (0, precious), "{back:?}");
}

/// The set that a restore takes after the yes, because of what was written since the plan, is what the restore is undone with: however
/// many plans follow, it stays, and who would delete it is told. What was kept of the stream behind it goes with it.
#[test]
fn what_a_restore_took_itself_is_needed() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "n", "start"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let planned = AtomicBool::new(false);
    let token = std::thread::scope(|scope| {
        // Traffic, so that the plan tells of some and holds when something is written.
        scope.spawn(|| {
            while !planned.load(Ordering::SeqCst) {
                redis.run(&["DEL", "missing"]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let token = bench.token(&backup);
        planned.store(true, Ordering::SeqCst);
        token
    });
    redis.run(&["SET", "n", "precious"]);
    let precious = redis.digest();
    let done = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(done.code, 0, "{done:?}");
    let reply = done.json();
    let (job, message) = (text(&reply["job_id"]), text(&reply["message"]));
    assert!(message.contains("(taken after the yes)"), "{message}");
    let took = format!("b-{}", job.split_once('-').unwrap().1);
    for n in 0..7 {
        redis.run(&["SET", "n", &n.to_string()]);
        bench.ask(&backup);
    }
    assert!(ids(&bench).contains(&took), "{took}: {:?}", ids(&bench));
    let row = bench.backups().into_iter().find(|b| b["backup_id"] == took.as_str()).unwrap();
    assert!(row["needed_by"].to_string().contains(&job), "{row}");
    let back = bench.restore(&took);
    assert_eq!((back.code, redis.digest()), (0, precious), "{back:?}");

    let tails =
        || files_under(&bench.home().join("tails")).iter().filter(|p| p.to_string_lossy().contains(&job)).count();
    assert_ne!(tails(), 0);
    let delete = |more: &[&str]| {
        let args = [&["delete-backup", "--instance-id", "orders", "--backup-id", &took, "--json"][..], more].concat();
        bench.run(&args).json()
    };
    let plan = delete(&[]);
    assert!(text(&plan["impact"]["lost"]).contains(&job), "{plan}");
    let gone = delete(&["--confirmation-token", &text(&plan["confirmation_token"])]);
    assert_eq!((gone["status"].as_str(), tails()), (Some("succeeded"), 0), "{gone}");
}

/// A set that a plan would restore is not crowded out by the plans that follow, as long as that one waits.
#[test]
fn what_a_plan_restores_is_not_crowded_out() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "n", "start"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "n", "wanted"]);
    let wanted = text(&bench.ask(&backup).json()["plan"]["safety_backup_id"]);
    redis.run(&["SET", "n", "again"]);
    assert_eq!(bench.ask(&wanted).code, 0);
    for n in 0..7 {
        redis.run(&["SET", "n", &n.to_string()]);
        bench.ask(&backup);
    }
    assert!(ids(&bench).contains(&wanted), "{wanted}: {:?}", ids(&bench));
}

/// A set that moments of the log lead back to alone stays when its time is over, and where too many safety backups were taken: others go.
#[tokio::test]
async fn what_the_log_begins_with_stays() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    let log = archive(&bench);
    let timeline = log.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
    let mut writer = log.writer(&timeline, limits(1 << 20)).unwrap();
    append(&mut writer, &set("a", "1"), T0);
    seal(&mut writer);
    let now = Timestamp::now();
    let (id, past) = (|n: i64| format!("b-20260101T000000Z-00000{n}"), Some(now - SignedDuration::from_mins(1)));
    let begun = |n: i64| now - SignedDuration::from_mins(50 - n);
    put_set(&bench, &id(1), Mode::Safety, (begun(1), past), (REPLID, FIRST)).await;
    for n in 2..7 {
        put(&bench, &id(n), begun(n), None).await;
    }
    put(&bench, &id(7), begun(7), past).await;
    // Of two that lead to the same moments one is enough.
    put_set(&bench, &id(8), Mode::Safety, (begun(8), past), (REPLID, FIRST)).await;
    // One for which nobody vouches is none of too many, nor anything that the log begins with.
    put_set(&bench, &id(9), Mode::Safety, (begun(0), None), (REPLID, FIRST)).await;
    std::fs::remove_file(bench.home().join("vault/orders").join(id(9)).join("manifest.json.minisig")).unwrap();
    let taken = text(&bench.ask(&backup).json()["plan"]["safety_backup_id"]);
    let mut wanted = vec![id(1), id(3), id(4), id(5), id(6), id(9), backup, taken];
    wanted.sort();
    assert_eq!(ids(&bench), wanted, "the second was crowded out; the seventh and the eighth had expired");
}

/// The verdict itself: of six within an hour the oldest that may go; none of five, none that is older, manual, locked or needed.
#[tokio::test]
async fn who_is_crowded_out() {
    let bench = Bench::new("");
    let now = Timestamp::now();
    let mut sets = Vec::new();
    for n in 0..6 {
        let at = now - SignedDuration::from_mins(50 - n);
        sets.push(put(&bench, &format!("b-20260101T000000Z-00000{n}"), at, None).await);
    }
    let verdict = |sets: &[BackupSet], needed: &[&str]| {
        let needed: Vec<String> = needed.iter().map(|id| (*id).to_owned()).collect();
        Expired::crowded_out(sets, &needed, now).map(|verdict| verdict.backup_id().to_owned())
    };
    let id = |n: usize| sets[n].id.clone();
    assert_eq!(verdict(&sets, &[]), Some(id(0)));
    assert_eq!(verdict(&sets[1..], &[]), None);
    assert_eq!(verdict(&sets, &[&id(0), &id(1)]), Some(id(2)));
    let all: Vec<&str> = sets.iter().map(|set| set.id.as_str()).collect();
    assert_eq!(verdict(&sets, &all), None);
    let changed = |change: fn(&mut BackupSet)| {
        let mut sets = sets.clone();
        change(&mut sets[0]);
        sets
    };
    assert_eq!(verdict(&changed(|set| set.mode = Mode::Manual), &[]), None);
    assert_eq!(verdict(&changed(|set| set.started_at -= SignedDuration::from_hours(2)), &[]), None);
    assert_eq!(verdict(&changed(|set| set.locked_until = Some(Timestamp::MAX)), &[]), Some(id(1)));
}

/// A server that says it holds more than any disk does. Nobody ever asks it for its data.
fn boasting() -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = std::thread::spawn(move || {
        let mut asked = Vec::new();
        // One connection after the other; the last is the test's own, which says that it is over.
        for stream in listener.incoming().map_while(Result::ok) {
            let mut from = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while from.read_line(&mut line).is_ok_and(|n| n > 0) {
                let count: usize = line.trim_end().trim_start_matches('*').parse().unwrap();
                let mut words = Vec::new();
                for _ in 0..count {
                    line.clear();
                    from.read_line(&mut line).unwrap();
                    let mut word = vec![0; line.trim_end().trim_start_matches('$').parse::<usize>().unwrap() + 2];
                    from.read_exact(&mut word).unwrap();
                    words.push(String::from_utf8_lossy(&word).trim_end().to_uppercase());
                }
                line.clear();
                if words == ["QUIT"] {
                    return asked;
                }
                let info = "redis_version:7.0.15\r\nrun_id:abc\r\nrole:master\r\nused_memory:1000000000000000\r\n";
                let reply = if words[0] == "INFO" {
                    format!("${}\r\n{info}\r\n", info.len())
                } else {
                    "-ERR not here\r\n".to_owned()
                };
                asked.push(words.join(" "));
                let _ = (&stream).write_all(reply.as_bytes());
            }
        }
        asked
    });
    (port, serve)
}

/// A backup for which the disk of the vault has no room is refused with both figures, before the source is asked for its data.
#[test]
fn no_room_is_said_before_anything_is_asked_for() {
    let (port, server) = boasting();
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:{port}\"\n"));
    let refused = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!((refused.code, &refused.json()["code"]), (1, &"vault.no_room".into()), "{refused:?}");
    let message = text(&refused.json()["message"]);
    assert!(message.contains("909.5 TiB are needed") && message.contains("free on the disk"), "{message}");
    assert!(bench.backups().is_empty() && bench.left_over().is_empty());
    let mut over = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    over.write_all(b"*1\r\n$4\r\nQUIT\r\n").unwrap();
    let asked = server.join().unwrap();
    assert!(!asked.is_empty() && !asked.iter().any(|words| words.contains("SYNC")), "{asked:?}");
}
