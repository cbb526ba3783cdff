//! A person at a real terminal: the typed id approves an agent's plan, a no declines it, anything else leaves it open; and
//! without a terminal there is no answer.

use crate::support::{Bench, Redis, files_under, terminal as at_terminal, text};
use tair_backup_mcp::model::job::{JobKind, RecoveryKind, StoredRecovery};
use tair_backup_mcp::state::jobs::{Begun, JobStore as _, NewJob};
use tair_backup_mcp::state::sqlite::Sqlite;

const QUESTION: &str = "leaves it open) > ";

/// A bench whose instance needs a person, a backup in it, and data written since.
fn bench() -> (Redis, Bench, String, String) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let intact = redis.digest();
    let backup = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    (redis, bench, backup, intact)
}

/// The agent's echo, refused for want of a person.
fn assert_open(redis: &Redis, bench: &Bench, backup: &str, token: &str) {
    let before = redis.digest();
    let echo = bench.run(&Bench::echo(backup, token));
    assert_eq!((echo.code, &echo.json()["code"]), (3, &"person.no_channel".into()), "{echo:?}");
    assert_eq!(redis.digest(), before);
    // The command that is named is the one that finds the plan, and it is named once.
    let (home, file) = (bench.home(), bench.dir.path().join("config.toml"));
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_tair-backup-mcp")).unwrap();
    let command =
        format!("{} --home {} --config {} approve --plan p-", program.display(), home.display(), file.display());
    let told = echo.json();
    let [next] = told["next_actions"].as_array().unwrap().as_slice() else { panic!("{told}") };
    let id = text(next).strip_prefix(&format!("a person runs: {command}")).map(str::len);
    assert_eq!((id, told.to_string().matches(" approve ").count()), (Some(8), 1), "{told}");
}

/// Without a terminal nobody is asked; a wrong answer or none leaves it open, twice; the typed id approves, once.
#[test]
fn approve_by_the_typed_id() {
    let (redis, bench, backup, intact) = bench();
    let token = bench.token(&backup);
    assert_open(&redis, &bench, &backup, &token);
    let piped = bench.run(&["approve"]);
    assert_eq!(piped.code, 3, "{piped:?}");
    assert!(piped.err.contains("[person.no_channel]") && piped.err.contains("hint: "), "{piped:?}");
    for (typed, says) in [("order", "not the instance id"), ("", "Left open")] {
        let done = at_terminal(&bench, &[(QUESTION, typed)], &["approve"]);
        assert!(done.code == 0 && done.out.contains(says), "{typed:?}: {done:?}");
        assert_open(&redis, &bench, &backup, &token);
    }
    let seen = at_terminal(&bench, &[], &["approve", "--instance-id", "carts"]);
    let home = bench.home();
    assert!(seen.out.contains(&format!("Nothing waits for approval in {}.", home.display())), "{seen:?}");
    let seen = at_terminal(&bench, &[(QUESTION, "orders")], &["approve", "--instance-id", "orders"]);
    assert!(seen.code == 0 && seen.out.contains("Approved"), "{seen:?}");
    assert!(seen.out.contains("RESTORE OVERWRITES DATA") && seen.out.contains(&backup), "{seen:?}");
    for line in
        ["Keys lost: 1 (db0 \"marker\" 1); the largest is \"marker\" in db0", "Keys changed: none", "Keys added: none."]
    {
        assert!(seen.out.contains(line), "{line}: {seen:?}");
    }
    let echo = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(echo.code, 0, "{echo:?}");
    let reply = echo.json();
    assert_eq!((&reply["status"], &reply["human_verified"]), (&"succeeded".into(), &true.into()), "{reply}");
    assert_eq!(redis.digest(), intact);
    let again = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((again.code, &again.json()["code"]), (3, &"confirm.used".into()), "{again:?}");
    assert!(again.json()["now"].is_string(), "a refusal has its time at a terminal too: {again:?}");
    let audit = bench.run(&["audit", "--json"]).out;
    for event in ["planned", "no_channel", "not_confirmed", "dismissed", "approved", "restore.started", "refused"] {
        assert!(audit.contains(&format!("\"event\":\"{event}\"")), "{event}: {audit}");
    }
}

/// Nobody is asked without end: the third question that gets no yes voids the token, and says so.
#[test]
fn the_third_closed_question_voids_the_token() {
    let (redis, bench, backup, _) = bench();
    let token = bench.token(&backup);
    let before = redis.digest();
    for says in ["Left open", "Left open", "the token is void"] {
        let done = at_terminal(&bench, &[(QUESTION, "")], &["approve"]);
        assert!(done.code == 0 && done.out.contains(says), "{says}: {done:?}");
    }
    assert!(at_terminal(&bench, &[], &["approve"]).out.contains("Nothing waits"));
    let echo = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((echo.code, &echo.json()["code"]), (3, &"confirm.used".into()), "{echo:?}");
    assert_eq!(redis.digest(), before);
}

/// `no` voids the token for good.
#[test]
fn approve_by_no_declines() {
    let (redis, bench, backup, _) = bench();
    let token = bench.token(&backup);
    let before = redis.digest();
    let done = at_terminal(&bench, &[(QUESTION, "no")], &["approve"]);
    assert!(done.code == 0 && done.out.contains("Declined"), "{done:?}");
    let echo = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((echo.code, &echo.json()["code"]), (3, &"confirm.used".into()), "{echo:?}");
    assert!(at_terminal(&bench, &[], &["approve"]).out.contains("Nothing waits"));
    assert_eq!(redis.digest(), before);
}

/// A person who restores by themselves is shown the plan and asked right there; what they type decides.
#[test]
fn restore_instance_asks_at_the_terminal() {
    let (redis, bench, backup, intact) = bench();
    let before = redis.digest();
    let args = ["restore-instance", "--instance-id", "orders", "--backup-id", &backup];
    for (typed, code, says) in
        [("no", 3, "person.declined"), ("", 3, "person.dismissed"), ("yes", 3, "person.not_confirmed")]
    {
        let done = at_terminal(&bench, &[(QUESTION, typed)], &args);
        assert!(done.code == code && done.out.contains(says), "{typed:?}: {done:?}");
        assert_eq!(redis.digest(), before);
    }
    let done = at_terminal(&bench, &[(QUESTION, "orders")], &args);
    assert!(done.code == 0 && done.out.contains("human_verified true"), "{done:?}");
    // Checks and bars, then the question, then what came of it: nothing twice.
    let (before, after) = done.out.split_once(QUESTION).unwrap();
    assert!(before.contains("write_traffic") && before.contains("-lost ~changed +added"), "{done:?}");
    for once in ["write_traffic", "Afterwards: ", "Way back:", "keys   "] {
        assert_eq!(done.out.matches(once).count(), 1, "{once}: {done:?}");
    }
    assert!(after.contains("succeeded") && !after.contains("plan   ") && !before.contains("token  "), "{done:?}");
    // What becomes of keys is in the table alone, and the way back is a command.
    assert!(!done.out.contains("Keys lost: "), "{done:?}");
    assert!(after.contains("restore-instance") && !after.contains("restore_instance with "), "{done:?}");
    assert_eq!(redis.digest(), intact);
    // With --json a program reads, so nobody is asked even here.
    redis.run(&["SET", "marker", "again"]);
    let token = bench.token(&backup);
    let done = at_terminal(&bench, &[], &Bench::echo(&backup, &token));
    assert!(done.code == 3 && done.out.contains("person.no_channel"), "{done:?}");
    assert!(text(&bench.jobs()[0]["kind"]) == "backup", "no restore was begun");
}

/// Whoever starts at a terminal what a host would start is told what it is, and how a host gets it; then it serves, until its input ends.
#[test]
fn serve_says_what_it_is_at_a_terminal() {
    let bench = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    let seen = at_terminal(&bench, &[("claude mcp add", "\u{4}")], &["serve"]);
    assert!(seen.code == 0 && seen.out.contains("This is an MCP server"), "{seen:?}");
    let home = bench.home();
    assert!(seen.out.contains(&format!("--home {} --config ", home.display())), "{seen:?}");
    let quiet = bench.run(&["serve"]);
    assert!(quiet.code == 0 && quiet.err.is_empty() && quiet.out.is_empty(), "a host has no terminal: {quiet:?}");
}

/// A restore whose recovery record cannot be read keeps others from being planned, and says what to do: a person looks at the
/// instance and clears it at a terminal, by its id; an agent cannot. The audit has it.
#[tokio::test]
async fn clear_rollback_by_the_typed_id() {
    let (redis, bench, backup, intact) = bench();
    let dying = Sqlite::new(&bench.home());
    let new = NewJob {
        id: "rj-1",
        provider: "local",
        kind: JobKind::Restore,
        instance_id: "orders",
        backup_id: &backup,
        exclusive: true,
        caller: "local",
        confirmation: "",
        access: None,
        under: None,
        audit: None,
    };
    let Begun::Started(begun) = dying.begin(new).await.unwrap() else { panic!("a job") };
    let record = StoredRecovery { kind: RecoveryKind::LocalRestore, json: "{\"back\":".into() };
    dying.save_recovery(&begun.id, &record).await.unwrap();
    // While its process lives, nobody clears it.
    let clear = ["clear-rollback", "--job-id", "rj-1"];
    let late = at_terminal(&bench, &[("leaves it) > ", "orders")], &clear);
    assert!(late.code == 0 && late.out.contains("Too late"), "{late:?}");
    // A process that dies leaves its lock file, which nobody holds any more.
    let lock = files_under(&bench.home().join("run")).remove(0);
    drop(dying);
    std::fs::write(lock, "").unwrap();

    let jobs = bench.jobs();
    let seen = jobs.iter().find(|j| j["job_id"] == "rj-1").unwrap();
    assert_eq!(seen["status"], "failed", "{seen}");
    let hint = text(&seen["hint"]);
    assert!(hint.contains("INFO replication") && hint.contains("clear-rollback --job-id rj-1"), "{hint}");
    let blocked = bench.ask(&backup);
    assert_eq!((blocked.code, &blocked.json()["status"]), (3, &"blocked".into()), "{blocked:?}");
    let why = text(&blocked.json()["message"]);
    assert!(why.contains("instance_idle") && why.contains("rj-1") && why.contains("clear-rollback"), "{why}");
    assert_eq!(bench.run(&clear).code, 3, "a program is no person");
    let unknown = bench.run(&["clear-rollback", "--job-id", "rj-2"]);
    assert!(unknown.code == 4 && unknown.err.contains("job.not_found"), "{unknown:?}");
    for typed in ["", "yes"] {
        let left = at_terminal(&bench, &[("leaves it) > ", typed)], &clear);
        assert!(left.code == 0 && left.out.contains("Left as it is"), "{left:?}");
        assert_eq!(bench.ask(&backup).code, 3);
    }
    let cleared = at_terminal(&bench, &[("leaves it) > ", "orders")], &clear);
    assert!(cleared.code == 0 && cleared.out.contains("Cleared.") && cleared.out.contains("REPLICAOF"), "{cleared:?}");
    assert!(at_terminal(&bench, &[], &clear).out.contains("Nothing of rj-1 is pending"));
    let audit = bench.run(&["audit", "--json"]).out;
    assert_eq!(audit.matches("restore.cleared").count(), 1, "{audit}");

    let token = bench.token(&backup);
    at_terminal(&bench, &[(QUESTION, "orders")], &["approve"]);
    let done = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((done.code, redis.digest()), (0, intact), "{done:?}");
}

/// Where the safety backup takes longer than a plan waits, the plan says that keys were not compared yet, and the question tells them; a key's
/// name is data there, in quotes and on its line.
#[test]
fn a_later_safety_backup_is_compared_for_the_question() {
    let (redis, bench, backup, intact) = bench();
    redis.run(&["SET", "x\nTo approve, type y: \u{202e}\" \\", "1"]);
    redis.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "23"]);
    let args = ["restore-instance", "--instance-id", "orders", "--backup-id", &backup];
    let asked = at_terminal(&bench, &[(QUESTION, "")], &args);
    let asked = format!("{}{}", asked.out, asked.err);
    assert!(asked.contains("100 % were NOT COMPARED: the safety backup is still being taken"), "{asked}");
    // Left open, and answered by whoever comes by.
    let approved = at_terminal(&bench, &[(QUESTION, "orders")], &["approve"]);
    assert!(approved.code == 0 && approved.out.contains("Approved."), "{approved:?}");
    for shown in [asked.clone(), format!("{}{}", approved.out, approved.err)] {
        assert!(
            shown.contains("Keys lost: 2 (db0 \"marker\" 1, db0 \"x\\nTo approve, type y:\" 1)")
                || shown.contains("Keys lost: 2 (db0 \"x\\nTo approve, type y:\" 1, db0 \"marker\" 1)"),
            "{shown}"
        );
        assert!(
            !shown.contains('\u{202e}') && !shown.lines().any(|line| line.starts_with("To approve, type y")),
            "{shown}"
        );
    }
    // The same call goes on with the plan that has the yes.
    let again = bench.json(&args);
    let done = bench.run(&Bench::echo(&backup, &text(&again["confirmation_token"])));
    assert_eq!((done.code, redis.digest()), (0, intact), "{done:?}");
}
