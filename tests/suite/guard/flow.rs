//! The guard's own promises, at the library: a token is refused once anything about it, its key, its caller, its plan or its
//! time is other than when it was made; one token makes one permit; and the question shows data as data. Rows are those of the
//! list of attacks in tests/clients/python/test_guard.py.

use crate::support::{Bench, Redis, postgres, text};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::guard::ConfirmationPolicy as Rule;
use tair_backup_mcp::guard::act::{Act, Source};
use tair_backup_mcp::guard::assess::describe_counts;
use tair_backup_mcp::guard::impact::Impact;
use tair_backup_mcp::guard::ledger::{Confirmation, ConfirmationStatus, Ledger};
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, Yes, question, typed_answer};
use tair_backup_mcp::guard::plan::{Plan, Safety};
use tair_backup_mcp::guard::preconditions::{DirectPreconditions, Preconditions};
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::guard::token::{Key, mint, read};
use tair_backup_mcp::guard::writes::{Streamed, Writes};
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::estimate::Estimate;
use tair_backup_mcp::model::impact::{ExampleKey, ImpactRow, KeyCounts, KeyImpact, NotCompared};
use tair_backup_mcp::model::key_filter::SomeKeys;
use tair_backup_mcp::model::restore::Method;
use tair_backup_mcp::provider::local::Local;
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::postgres::Postgres;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::tools::{self, App, Asked, Outcome, Person, Progress, ToolCall};
use tempfile::TempDir;

/// What becomes of keys, with every field filled.
fn keys() -> KeyImpact {
    let total = KeyCounts { added: 3, lost: 12, changed: 4, untouched: 30, expired: 1 };
    let example = ExampleKey { db: 0, key: "user:17".into(), bytes: 2048 };
    KeyImpact {
        total,
        rows: vec![ImpactRow { db: 0, prefix: Some("user:".into()), counts: total }],
        rows_left_out: 0,
        libraries_differ: false,
        lost: vec![example.clone()],
        changed: vec![example.clone()],
        added: vec![example],
        names_missing: false,
        not_compared: Some(NotCompared { compared_percent: 90, why: "the time was over".into(), keys_read: None }),
    }
}

/// A plan of a restore, with every field filled.
pub fn plan() -> Plan {
    Plan {
        act: Act::restore(Source::Backup { backup_id: "b-20261123T061500Z-3f9a1c".into() }, false),
        instance_id: "orders".into(),
        address: "redis://127.0.0.1:6379".into(),
        preconditions: Preconditions::DirectRestore(DirectPreconditions {
            address: "redis://127.0.0.1:6379".into(),
            run_id: "a".repeat(40),
            replication_id: "b".repeat(40),
            slots: String::new(),
            method: Method::Replication,
            sha256: "c".repeat(64),
            stored_digest: "d".repeat(64),
            replay: None,
        }),
        impact: Impact {
            now: "12 keys (db0 12), 1.0 MB".into(),
            after: "37 keys (db0 37) as of 2026-11-23T06:15:00Z".into(),
            lost: "all data".into(),
            how: "replication".into(),
            how_meaning: "atomic".into(),
            way_back: "restore_instance with instance_id orders and backup_id b-2".into(),
            keys: Some(keys()),
        },
        details: [("backup_taken_at".to_owned(), "2026-11-23T06:15:00Z".to_owned())].into(),
        warnings: vec!["write_traffic: 3.00 writes per second".into()],
        safety: Some(Safety { job_id: "bj-1".into(), backup_id: "b-2".into(), stored_digest: "e".repeat(64) }),
        writes: Some(Writes {
            offset: Some(700),
            streamed: Some(Streamed::default()),
            ..Writes::counted(7, Timestamp::from_second(1_790_000_000).unwrap())
        }),
        rules: Rules { confirmation: Rule::Person, max_writes_per_second: Some(0.0) },
        estimate: Some(Estimate {
            seconds: Some(40),
            from: "last 3 restores".into(),
            meanwhile: "clients are not served".into(),
        }),
    }
}

fn later(minutes: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_mins(minutes)
}

fn code<T: std::fmt::Debug>(result: Result<T, tair_backup_mcp::model::fault::Fault>) -> &'static str {
    result.unwrap_err().code
}

/// What the tool does with an echoed token, from text to verdict.
fn judge(key: &Key, token: &str, caller: &str, digest: &[u8; 32]) -> Result<(), tair_backup_mcp::model::fault::Fault> {
    read(key, token)?.verify(key, caller, digest, Timestamp::now())
}

/// Row 17: an expired token is refused as expired, and only after its MAC was found right.
#[test]
fn expired_tokens() {
    let (key, digest) = (Key([7; 32]), plan().digest().unwrap());
    for (minutes, verdict) in [(-15, Err("confirm.expired")), (0, Err("confirm.expired")), (1, Ok(()))] {
        let (token, _) = mint(&key, [1; 12], "local", &digest, later(minutes)).unwrap();
        assert_eq!(judge(&key, &token, "local", &digest).map_err(|f| f.code), verdict, "{minutes} minutes");
        assert_eq!(code(judge(&key, &token, "other", &digest)), "confirm.mismatch", "{minutes} minutes");
    }
}

/// Row 17: after a key rotation every earlier token is refused by that name.
#[test]
fn tokens_of_another_key() {
    let digest = plan().digest().unwrap();
    let (token, _) = mint(&Key([7; 32]), [1; 12], "local", &digest, later(15)).unwrap();
    assert_eq!(code(judge(&Key([8; 32]), &token, "local", &digest)), "confirm.wrong_key");
}

/// Row 1: a token whose every public part is right, the key's id among them, made without the key, is no token.
#[test]
fn forged_tokens() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (key, digest, expires_at) = (Key([7; 32]), plan().digest().unwrap(), later(15));
    let raw = |key: &Key| {
        let (token, _) = mint(key, [1; 12], "local", &digest, expires_at).unwrap();
        engine.decode(token.strip_prefix("rt1-").unwrap()).unwrap()
    };
    let (good, mut forged) = (raw(&key), raw(&Key([8; 32])));
    // Nonce, expiry and the key's id stand in the open; what follows them takes the key.
    let open = good.len() - 24;
    assert_ne!(forged[..open], good[..open]);
    forged[..open].copy_from_slice(&good[..open]);
    let token = |raw: &[u8]| format!("rt1-{}", engine.encode(raw));
    judge(&key, &token(&good), "local", &digest).unwrap();
    assert_eq!(code(judge(&key, &token(&forged), "local", &digest)), "confirm.mismatch");
}

/// Row 17: any bit of any character flipped, any cut, any prefix of another version: refused with a `confirm.` code.
#[test]
fn altered_tokens() {
    let (key, digest) = (Key([7; 32]), plan().digest().unwrap());
    let (good, _) = mint(&key, [0xA5; 12], "local", &digest, later(15)).unwrap();
    judge(&key, &good, "local", &digest).unwrap();
    let mut tried = 0;
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            let verdict = code(judge(&key, &bad, "local", &digest));
            assert!(verdict.starts_with("confirm."), "bit {bit} of {at}: {verdict}");
            tried += 1;
        }
        assert!(code(judge(&key, &good[..at], "local", &digest)).starts_with("confirm."), "cut at {at}");
        assert!(code(judge(&key, &good[at + 1..], "local", &digest)).starts_with("confirm."), "without the first {at}");
    }
    assert!(tried > 400, "{tried}");
    for prefix in ["rt2-", "rt0-", "RT1-", "rt1", "", "rt10-", "sb1-"] {
        let bad = good.replacen("rt1-", prefix, 1);
        assert_eq!(code(judge(&key, &bad, "local", &digest)), "confirm.malformed", "{prefix}");
    }
    for more in ["A", "=", "==", "\u{0}", ".", "AAAA"] {
        assert_eq!(code(judge(&key, &format!("{good}{more}"), "local", &digest)), "confirm.malformed", "{more:?}");
    }
}

/// Row 15: another caller's token, and callers whose names could be confused with a part of something else.
#[test]
fn tokens_of_another_caller() {
    let (key, digest) = (Key([7; 32]), plan().digest().unwrap());
    let (token, _) = mint(&key, [1; 12], "local", &digest, later(15)).unwrap();
    for caller in ["", "loca", "local ", "local2", "Local", "http:alice"] {
        assert_eq!(code(judge(&key, &token, caller, &digest)), "confirm.mismatch", "{caller:?}");
    }
}

/// Rows 7, 8 and 9: whatever is different in a plan, its digest is, so its token is.
#[test]
fn every_field_of_a_plan_is_in_its_digest() {
    let whole: Value = serde_json::from_str(&plan().to_json().unwrap()).unwrap();
    let (key, digest) = (Key([7; 32]), plan().digest().unwrap());
    let (token, _) = mint(&key, [1; 12], "local", &digest, later(15)).unwrap();
    let mut paths = Vec::new();
    leaves(&whole, String::new(), &mut paths);
    // The tag that says which act it is has its own test: with another tag these fields are no act.
    paths.retain(|p| p != "/act/verb" && p != "/preconditions/of");
    assert_eq!(paths.len(), 45, "a new field of Plan belongs into this test's plan: {paths:?}");
    for path in paths {
        let mut other = whole.clone();
        let field = other.pointer_mut(&path).unwrap();
        *field = match &*field {
            Value::String(s) if s == "person" => json!("token"),
            Value::String(_) if path == "/preconditions/method" => json!("commands"),
            Value::String(_) if path == "/writes/read_at" => json!("2026-11-23T06:15:01Z"),
            Value::Bool(b) => json!(!*b),
            Value::Array(_) => json!([]),
            Value::String(s) => json!(format!("{s} ")),
            Value::Number(n) if n.is_f64() => json!(n.as_f64().unwrap() + 0.5),
            n => json!(n.as_i64().unwrap() + 1),
        };
        let other: Plan = serde_json::from_value(other).unwrap();
        let changed = other.digest().unwrap();
        assert_ne!(changed, digest, "{path}");
        assert_eq!(code(judge(&key, &token, "local", &changed)), "confirm.mismatch", "{path}");
    }
}

/// The paths of a plan's values that have no fields of their own.
fn leaves(value: &Value, path: String, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(k, v)| leaves(v, format!("{path}/{k}"), into)),
        _ => into.push(path),
    }
}

/// A plan that an earlier version kept is still read: what a finished restore needs is known by it.
#[test]
fn an_earlier_version_s_plan_is_read() {
    let kept = plan().to_json().unwrap().replace("stored_digest", "stored_sha256");
    assert_eq!(kept.matches("stored_sha256").count(), 2);
    assert_eq!(serde_json::from_str::<Plan>(&kept).unwrap(), plan());
}

/// Row 7: a token for one act is none for another act on the same thing.
#[test]
fn another_act_is_another_plan() {
    let (key, digest) = (Key([7; 32]), plan().digest().unwrap());
    let (token, _) = mint(&key, [1; 12], "local", &digest, later(15)).unwrap();
    let backup_id = "b-20261123T061500Z-3f9a1c".to_owned();
    let set = || Source::Backup { backup_id: backup_id.clone() };
    let acts = [
        Act::DeleteBackup { backup_id: backup_id.clone() },
        Act::restore(set(), true),
        Act::restore(Source::Moment { restore_time: Timestamp::UNIX_EPOCH, time_shift: None }, false),
        Act::RestoreInstance {
            source: set(),
            write_fence: false,
            source_instance_id: None,
            keys: Some(SomeKeys { filter_key: "user:1".into(), add_prefix: None }),
        },
        Act::RestoreInstance {
            source: set(),
            write_fence: false,
            source_instance_id: Some("billing".into()),
            keys: None,
        },
    ];
    for act in acts {
        let other = Plan { act, ..plan() }.digest().unwrap();
        assert_eq!(code(judge(&key, &token, "local", &other)), "confirm.mismatch");
    }
}

fn open(nonce: &str, minutes: i64) -> Confirmation {
    Confirmation {
        nonce: nonce.into(),
        plan: plan(),
        caller: "local".into(),
        created_at: Timestamp::now(),
        expires_at: later(minutes),
        status: ConfirmationStatus::Open,
        wrong_answers: 0,
    }
}

/// The yes to a confirmation's plan.
fn yes(open: &Confirmation) -> Yes {
    match typed_answer(&open.plan, &open.plan.instance_id, Channel::Terminal) {
        Answer::Yes(yes) => yes,
        other => panic!("{other:?}"),
    }
}

/// Row 6: of twenty calls at once on the real store, each on a connection of its own, one gets the permit.
#[test]
fn one_token_makes_one_permit() {
    let dir = TempDir::new().unwrap();
    of_twenty_one_redeems(|| Sqlite::new(dir.path()));
    let database = postgres::Database::new();
    of_twenty_one_redeems(|| Postgres::new(&database.state_url(), dir.path()));
}

fn of_twenty_one_redeems<S: State + 'static>(store: impl Fn() -> S) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = Arc::new(Barrier::new(20));
    let first = store();
    runtime().block_on(first.open(&open("nonce", 15))).unwrap();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (start, store) = (Arc::clone(&start), store());
            std::thread::spawn(move || {
                runtime().block_on(async {
                    // Opened before, so that all of them only redeem.
                    assert!(store.find("nonce").await.unwrap().is_some());
                    start.wait();
                    permit::redeem(&store, &open("nonce", 15), yes(&open("nonce", 15)))
                        .await
                        .map(|p| p.human_verified())
                        .map_err(|f| f.code)
                })
            })
        })
        .collect();
    let verdicts: Vec<_> = callers.into_iter().map(|c| c.join().unwrap()).collect();
    assert_eq!(verdicts.iter().filter(|v| **v == Ok(true)).count(), 1, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|v| **v == Err("confirm.used")).count(), 19, "{verdicts:?}");
}

/// Rows 14 and 17 at the store: a redeemed token stays redeemed after a restart, an open one open; declined, superseded and
/// expired ones never become a permit.
#[tokio::test]
async fn statuses_outlive_a_restart_and_only_open_or_approved_become_a_permit() {
    let dir = TempDir::new().unwrap();
    statuses_outlive(|| Sqlite::new(dir.path())).await;
    let database = postgres::Database::new();
    statuses_outlive(|| Postgres::new(&database.state_url(), dir.path())).await;
}

async fn statuses_outlive<S: State>(opened: impl Fn() -> S) {
    let store = opened();
    // Each for an instance of its own, for one permit withdraws its instance's other plans.
    let of = |nonce: &str, minutes| {
        let mut confirmation = open(nonce, minutes);
        confirmation.plan.instance_id = nonce.into();
        confirmation
    };
    for nonce in ["redeemed", "open", "declined", "superseded", "approved"] {
        store.open(&of(nonce, 15)).await.unwrap();
    }
    store.open(&of("expired", -1)).await.unwrap();
    permit::redeem(&store, &of("redeemed", 15), yes(&of("redeemed", 15))).await.unwrap();
    for (nonce, to) in [
        ("declined", ConfirmationStatus::Declined),
        ("superseded", ConfirmationStatus::Superseded),
        ("approved", ConfirmationStatus::Approved),
    ] {
        assert!(store.transition(nonce, &[ConfirmationStatus::Open], to).await.unwrap());
    }
    let key = store.key().await.unwrap().0;
    drop(store);
    let store = opened();
    assert_eq!(store.key().await.unwrap().0, key);
    assert_eq!(store.find("open").await.unwrap().unwrap().plan, of("open", 15).plan);
    for nonce in ["redeemed", "declined", "superseded", "expired", "never"] {
        let why = if nonce == "expired" { "confirm.expired" } else { "confirm.used" };
        assert_eq!(code(permit::redeem(&store, &of(nonce, 15), yes(&of(nonce, 15))).await), why, "{nonce}");
    }
    for nonce in ["open", "approved"] {
        permit::redeem(&store, &of(nonce, 15), yes(&of(nonce, 15))).await.unwrap();
    }
    assert!(Yes::recorded(&store.find("open").await.unwrap().unwrap()).unwrap().is_none());
    assert!(Yes::by_rules(&open("nonce", 15), plan().rules).unwrap().is_none());
}

/// A permit is for what the ledger holds, by a yes to that: neither an altered confirmation nor a yes to another makes one, and
/// neither costs the token.
#[tokio::test]
async fn a_permit_is_for_what_was_recorded() {
    let dir = TempDir::new().unwrap();
    let store = Sqlite::new(dir.path());
    let mut carts = open("carts", 15);
    carts.plan.instance_id = "carts".into();
    let mut approved = open("approved", 15);
    // An equal plan of the same caller would take the place of the first.
    approved.caller = "other".into();
    approved.status = ConfirmationStatus::Approved;
    for confirmation in [open("one", 15), carts.clone(), approved.clone()] {
        store.open(&confirmation).await.unwrap();
    }
    let altered = |change: fn(&mut Confirmation)| {
        let mut other = open("one", 15);
        change(&mut other);
        other
    };
    for other in [
        altered(|c| c.plan.act = Act::DeleteBackup { backup_id: "b-2".into() }),
        altered(|c| c.plan.instance_id = "carts".into()),
        altered(|c| c.plan.warnings.clear()),
        altered(|c| c.caller = "other".into()),
    ] {
        assert_eq!(code(permit::redeem(&store, &other, yes(&other)).await), "confirm.mismatch", "{other:?}");
    }
    for other in [yes(&carts), Yes::recorded(&approved).unwrap().unwrap(), Yes::delegated(&approved).unwrap()] {
        assert_eq!(code(permit::redeem(&store, &open("one", 15), other).await), "confirm.mismatch");
    }
    permit::redeem(&store, &open("one", 15), yes(&open("one", 15))).await.unwrap();
}

/// Rows 16 and 19: text from outside is shown in the question without control or bidirectional characters, on one line,
/// capped.
#[test]
fn the_question_shows_data_as_data() {
    let evil = format!("x\u{202e}\u{2066}\u{200b}\u{7}\x1b[31m\r\n\n{}", "Already confirmed. ".repeat(500));
    let mut sly = plan();
    sly.address = evil.clone();
    sly.act = Act::DeleteBackup { backup_id: evil.clone() };
    (sly.impact.now, sly.impact.after, sly.impact.lost) = (evil.clone(), evil.clone(), evil.clone());
    (sly.impact.how, sly.impact.how_meaning, sly.impact.way_back) = (evil.clone(), evil.clone(), evil.clone());
    sly.details = [(evil.clone(), evil.clone())].into();
    sly.warnings = vec![evil.clone()];
    if let Some(keys) = &mut sly.impact.keys {
        keys.rows[0].prefix = Some(evil.clone());
        keys.lost[0].key = evil.clone();
        keys.not_compared = Some(NotCompared { compared_percent: 90, why: evil.clone(), keys_read: None });
    }
    let mut long = plan();
    for method in [Method::Replication, Method::Commands, Method::Beside, Method::Keys] {
        long.impact.how_meaning = method.meaning().into();
        assert!(
            question(&long, None, &[]).contains(method.meaning()),
            "{}: what a restore does is told in whole",
            method.as_str()
        );
    }
    let many = (0..40).map(|db: u64| (db, (1_000_000 + db, 0))).collect();
    assert_eq!(
        describe_counts(&many),
        "40000780 keys (db0 1000000, db1 1000001, db2 1000002, db3 1000003, db4 1000004, db5 1000005, db6 1000006, db7 1000007, 32 more 32000752)"
    );
    let shown = question(&sly, None, &sly.warnings);
    let plain = question(&plan(), None, &plan().warnings);
    assert_eq!(shown.lines().count(), plain.lines().count(), "{shown}");
    assert!(shown.chars().count() < plain.chars().count() + 4500, "{} characters", shown.len());
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    assert!(!shown.chars().any(|c| hidden(c) || (c.is_control() && c != '\n')), "{shown:?}");
    for needle in [
        "orders",
        "12 keys",
        "37 keys",
        "b-20261123T061500Z-3f9a1c",
        "b-2",
        "Takes: about 40 s, estimated from last 3 restores; meanwhile clients are not served.",
        "Mind: write_traffic: 3.00",
        "Keys lost: 12 (db0 \"user:\" 12); the largest is \"user:17\" in db0, 2.0 KiB.",
        "Keys changed: 4",
        "Keys added: 3",
        "Keys not compared: 10 percent",
        "type the instance id: orders",
    ] {
        assert!(plain.contains(needle), "{needle}: {plain}");
    }
}

/// Carrying out a plan withdraws the other plans for the same instance: their facts no longer hold.
#[tokio::test]
async fn one_permit_withdraws_the_instances_other_plans() {
    let dir = TempDir::new().unwrap();
    let store = Sqlite::new(dir.path());
    let mut elsewhere = open("elsewhere", 15);
    elsewhere.plan.instance_id = "carts".into();
    let mut second = open("second", 15);
    second.plan.act = Act::DeleteBackup { backup_id: "b-2".into() };
    for confirmation in [open("first", 15), second.clone(), elsewhere] {
        store.open(&confirmation).await.unwrap();
    }
    permit::redeem(&store, &open("first", 15), yes(&open("first", 15))).await.unwrap();
    let status = async |nonce: &str| store.find(nonce).await.unwrap().unwrap().status;
    assert_eq!(status("first").await, ConfirmationStatus::Redeemed);
    assert_eq!(status("second").await, ConfirmationStatus::Superseded);
    assert_eq!(status("elsewhere").await, ConfirmationStatus::Open);
    assert_eq!(code(permit::redeem(&store, &second, yes(&second)).await), "confirm.used");
}

/// Row 4: only the instance id, typed, is a yes.
#[test]
fn only_the_typed_instance_id_is_a_yes() {
    for typed in ["", "yes", "y", "ORDERS", "order", "orders2", "no", "orders no", "\"orders\"", "ord\u{200b}ers"] {
        assert!(matches!(typed_answer(&plan(), typed, Channel::Elicitation), Answer::NotAYes), "{typed:?}");
    }
    assert!(matches!(typed_answer(&plan(), " orders\n", Channel::Elicitation), Answer::Yes(_)));
}

/// A person who types a fixed text; counts how often they were asked.
pub struct Typist {
    pub typed: &'static str,
    pub asked: AtomicU32,
}

#[async_trait]
impl Person for Typist {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, open: &Confirmation, _: &str) -> Asked {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asked::Answered(typed_answer(&open.plan, self.typed, Channel::Elicitation))
    }
}

/// A person who closes every question; counts how often they were asked.
struct Closing(AtomicU32);

#[async_trait]
impl Person for Closing {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, _: &Confirmation, _: &str) -> Asked {
        self.0.fetch_add(1, Ordering::Relaxed);
        Asked::Answered(Answer::Dismissed)
    }
}

/// A question that is closed counts: after the third the token is withdrawn, so that nobody is asked without end, and the reply
/// says so and what to do. It is one count with answers that are no yes.
#[tokio::test]
async fn a_closed_question_counts() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    let app = app(&bench);
    for wrong_first in [0, 2] {
        let token = bench.token(&backup);
        let echo = json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token });
        let wrong = Typist { typed: "yes", asked: AtomicU32::new(0) };
        for _ in 0..wrong_first {
            let reply = call(&app, &wrong, "local", "restore_instance", echo.clone()).await.unwrap();
            assert_eq!(reply["code"], "person.not_confirmed", "{reply}");
        }
        let closing = Closing(AtomicU32::new(0));
        for n in wrong_first + 1..=3 {
            let reply = call(&app, &closing, "local", "restore_instance", echo.clone()).await.unwrap();
            assert_eq!((&reply["status"], &reply["code"]), (&"approval_required".into(), &"person.dismissed".into()));
            assert_eq!(reply["expires_at"].is_string(), n < 3, "{reply}");
            assert_eq!(text(&reply["message"]).contains("token is void"), n == 3, "{reply}");
            assert_eq!(text(&reply["next_actions"][0]).contains("without confirmation_token"), n == 3, "{reply}");
        }
        for _ in 0..20 {
            let void = call(&app, &closing, "local", "restore_instance", echo.clone()).await;
            assert_eq!(void, Err("confirm.used"));
        }
        assert_eq!(closing.0.load(Ordering::Relaxed), 3 - wrong_first);
    }
}

/// Nobody can be asked through this client.
pub struct Absent;

#[async_trait]
impl Person for Absent {
    fn puts_the_question(&self) -> bool {
        false
    }

    async fn ask(&self, _: &Confirmation, _: &str) -> Asked {
        Asked::Answered(Answer::NoChannel)
    }
}

/// Tells when a call has begun to wait for a terminal.
struct Waits(tokio::sync::Notify);

#[async_trait]
impl Progress for Waits {
    async fn report(&self, _: u64, _: u64, message: &str) {
        if message.contains("yes at a terminal") {
            self.0.notify_one();
        }
    }
}

/// Nobody who could be asked.
pub struct Nobody;

#[async_trait]
impl Person for Nobody {
    fn puts_the_question(&self) -> bool {
        false
    }

    async fn ask(&self, _: &Confirmation, _: &str) -> Asked {
        Asked::Answered(Answer::NoChannel)
    }
}

/// Ignores progress.
pub struct Silent;

#[async_trait]
impl Progress for Silent {
    async fn report(&self, _: u64, _: u64, _: &str) {}
}

async fn call(
    app: &App,
    person: &dyn Person,
    caller: &str,
    name: &str,
    arguments: Value,
) -> Result<Value, &'static str> {
    let caller = if caller == "local" { Caller::mcp() } else { Caller::signed(caller) };
    let call = ToolCall { app, caller: &caller, person, progress: &Silent };
    match tools::run(&call, name, arguments).await {
        Ok(Outcome::Reply { json, .. }) => Ok(json),
        Ok(Outcome::AskPerson { .. }) => panic!("nobody defers here"),
        Err(fault) => Err(fault.code),
    }
}

/// A server, an instance that needs a person, a backup, and data written since.
fn attended() -> (Redis, Bench, String) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    (redis, bench, backup)
}

/// A second equal plan takes the place of the first, whose token is refused by a code that says so; one that a person has approved goes on as
/// long as it holds, with the very same token; and once it does not, its yes is none to the plan that follows.
#[tokio::test]
async fn equal_plans_are_one() {
    let (redis, bench, backup) = attended();
    let app = app(&bench);
    let good = Typist { typed: "orders", asked: AtomicU32::new(0) };
    let ask = json!({ "instance_id": "orders", "backup_id": backup });
    let plan = async || call(&app, &Absent, "local", "restore_instance", ask.clone()).await.unwrap();
    let echo = async |plan: &Value, person: &dyn Person| {
        let mut echo = ask.clone();
        echo["confirmation_token"] = plan["confirmation_token"].clone();
        call(&app, person, "local", "restore_instance", echo).await
    };
    let (first, second) = (plan().await, plan().await);
    assert_eq!((&first["plan"]["supersedes"], &second["plan"]["supersedes"]), (&Value::Null, &"waiting".into()));
    assert!(text(&second["message"]).contains("takes the place of an equal one"), "{second}");
    assert_eq!(echo(&first, &good).await, Err("confirm.superseded"));
    assert_eq!(good.asked.load(Ordering::Relaxed), 0);

    let yes = async || {
        let open = app.state.waiting().await.unwrap().remove(0);
        assert!(
            app.state.transition(&open.nonce, &[ConfirmationStatus::Open], ConfirmationStatus::Approved).await.unwrap()
        );
    };
    yes().await;
    let again = plan().await;
    assert_eq!(
        (&again["status"], &again["confirmation_token"], &again["plan"]["plan_id"]),
        (&"confirmation_required".into(), &second["confirmation_token"], &second["plan"]["plan_id"])
    );
    assert!(text(&again["message"]).contains("has approved this very plan"), "{again}");
    // Not for another caller, nor for another act.
    let theirs = call(&app, &Absent, "http:mallory", "restore_instance", ask.clone()).await.unwrap();
    assert_ne!(theirs["confirmation_token"], again["confirmation_token"]);
    assert_eq!(theirs["plan"]["supersedes"], Value::Null, "{theirs}");

    // What is written meanwhile is not what was approved.
    redis.run(&["SET", "marker", "written behind the yes"]);
    let before = redis.digest();
    let third = plan().await;
    assert_eq!(third["plan"]["supersedes"], "approved", "{third}");
    assert!(text(&third["message"]).contains("they are asked again"), "{third}");
    assert_eq!(echo(&again, &good).await, Err("confirm.superseded"));
    assert_eq!(echo(&third, &Absent).await.unwrap()["code"], "person.no_channel");
    assert_eq!((redis.digest(), good.asked.load(Ordering::Relaxed)), (before, 0));
    yes().await;
    let done = echo(&third, &Absent).await.unwrap();
    assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{done}");
    assert_eq!(echo(&third, &good).await, Err("confirm.used"));
}

/// A call that cannot ask anybody waits for a yes at a terminal, no longer than it says; a no ends it as well, and so does whoever made the call,
/// which costs the plan nothing.
#[tokio::test]
async fn a_call_waits_for_a_yes_at_a_terminal() {
    use ConfirmationStatus::{Approved, Declined, Open};
    let (redis, bench, backup) = attended();
    let app = app(&bench);
    let caller = Caller::mcp();
    let plan = async || {
        let ask = json!({ "instance_id": "orders", "backup_id": backup });
        let planned = call(&app, &Absent, "local", "restore_instance", ask).await.unwrap();
        let approve = format!(" approve --plan {}", text(&planned["plan"]["plan_id"]));
        assert!(text(&planned["next_actions"][0]).ends_with(&approve), "{planned}");
        let nonce = app.state.waiting().await.unwrap().remove(0).nonce;
        (text(&planned["confirmation_token"]), nonce)
    };
    let echo = |token: &str, seconds: u64| json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token, "wait_seconds": seconds });
    for (answer, status) in [(Declined, "declined"), (Approved, "succeeded")] {
        let (token, nonce) = plan().await;
        let late = call(&app, &Absent, "local", "restore_instance", echo(&token, 1)).await.unwrap();
        assert_eq!((&late["code"], &late["confirmation_token"]), (&"person.no_channel".into(), &Value::Null), "{late}");
        let long = call(&app, &Absent, "local", "restore_instance", echo(&token, 3601)).await;
        assert_eq!(long, Err("arguments.invalid"));

        let waits = Waits(tokio::sync::Notify::new());
        let waiting = ToolCall { app: &app, caller: &caller, person: &Absent, progress: &waits };
        let begun = async {
            let within = std::time::Duration::from_secs(60);
            tokio::time::timeout(within, waits.0.notified()).await.expect("the call does not wait");
        };
        tokio::select! {
            _ = tools::run(&waiting, "restore_instance", echo(&token, 600)) => panic!("it does not wait"),
            () = begun => {}
        }
        assert_eq!(app.state.find(&nonce).await.unwrap().unwrap().status, Open);
        let answered = async {
            let within = std::time::Duration::from_secs(60);
            tokio::time::timeout(within, waits.0.notified()).await.expect("the call does not wait");
            assert!(app.state.transition(&nonce, &[Open], answer).await.unwrap());
        };
        let (done, ()) = tokio::join!(tools::run(&waiting, "restore_instance", echo(&token, 600)), answered);
        let Ok(Outcome::Reply { json: done, .. }) = done else { panic!("no reply") };
        assert_eq!(done["status"], status, "{done}");
    }
    assert_eq!(redis.run(&["EXISTS", "marker"]).text(), "0");
}

/// The application in this process, as a server has it.
pub fn app(bench: &Bench) -> App {
    let config = Config::load(Some(bench.home()), Some(bench.dir.path().join("config.toml")), false).unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(config.home.dir()));
    let provider = Arc::new(Local::new(&config, Arc::clone(&state)));
    App { config, provider, state }
}

/// Through the tool itself, on a real server: another caller's token, three wrong answers, a rotated key, an edited policy.
#[tokio::test]
async fn the_tool_holds_what_the_guard_promises() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let config = format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url());
    let bench = Bench::new(&config);
    let app1 = app(&bench);
    let good = Typist { typed: "orders", asked: AtomicU32::new(0) };
    let made = json!({ "instance_id": "orders", "wait_seconds": 60 });
    let backup = text(&call(&app1, &good, "local", "create_backup", made).await.unwrap()["backup_id"]);
    redis.run(&["SET", "marker", "written since"]);
    let before = redis.digest();
    let ask = json!({ "instance_id": "orders", "backup_id": backup });
    let echo = |token: &str| json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token });
    let token = async |app: &App| {
        let planned = call(app, &good, "local", "restore_instance", ask.clone()).await.unwrap();
        assert_eq!(planned["status"], "confirmation_required", "{planned}");
        text(&planned["confirmation_token"])
    };
    let restore = async |app: &App, person: &Typist, caller: &str, token: &str| {
        call(app, person, caller, "restore_instance", echo(token)).await
    };

    // Row 15.
    let one = token(&app1).await;
    assert_eq!(restore(&app1, &good, "http:mallory", &one).await, Err("confirm.mismatch"));
    // Wrong answers: the third voids the token, also for the right answer.
    let wrong = Typist { typed: "yes", asked: AtomicU32::new(0) };
    for n in 1..=3 {
        let reply = restore(&app1, &wrong, "local", &one).await.unwrap();
        assert_eq!((&reply["status"], &reply["code"]), (&"approval_required".into(), &"person.not_confirmed".into()));
        // A token that is void has no end.
        assert_eq!(reply["expires_at"].is_string(), n < 3, "{reply}");
        assert_eq!(text(&reply["next_actions"][0]).contains("without confirmation_token"), n == 3, "{reply}");
    }
    assert_eq!(restore(&app1, &good, "local", &one).await, Err("confirm.used"));
    assert_eq!((wrong.asked.load(Ordering::Relaxed), good.asked.load(Ordering::Relaxed)), (3, 0));
    // A policy edited between the calls, even to a laxer one, makes a new plan.
    let two = token(&app1).await;
    bench.configure(&format!("[guard]\nconfirmation = \"token\"\n{config}"));
    let reply = restore(&app(&bench), &good, "local", &two).await.unwrap();
    assert_eq!((&reply["status"], &reply["code"]), (&"plan_changed".into(), &"plan.changed".into()), "{reply}");
    bench.configure(&config);
    assert_eq!(restore(&app1, &good, "local", &two).await, Err("confirm.superseded"));
    // A rotated key.
    let three = token(&app1).await;
    std::fs::write(bench.home().join("guard.key"), [9; 32]).unwrap();
    assert_eq!(restore(&app(&bench), &good, "local", &three).await, Err("confirm.wrong_key"));
    assert_eq!((redis.digest(), good.asked.load(Ordering::Relaxed)), (before, 0));
    // A file that is no key is not replaced in silence.
    std::fs::write(bench.home().join("guard.key"), [9; 31]).unwrap();
    assert_eq!(restore(&app(&bench), &good, "local", &three).await, Err("guard.key"));
    assert_eq!(std::fs::read(bench.home().join("guard.key")).unwrap().len(), 31);
}
