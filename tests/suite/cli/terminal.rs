//! A person at a real terminal: the typed id approves an agent's plan, a no declines it, anything else leaves it open; and
//! without a terminal there is no answer.

use crate::support::{Bench, Done, Redis, root, text};
use serde_json::json;
use std::process::{Command, Stdio};

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

/// Runs the program at a pseudo-terminal, each answer typed when its question has been shown.
fn at_terminal(bench: &Bench, answers: &[(&str, &str)], args: &[&str]) -> Done {
    let typed: Vec<_> = answers.iter().map(|(question, answer)| json!([question, answer])).collect();
    let program = bench.command(args);
    let output = Command::new("python3")
        .arg(root().join("tests/support/terminal.py"))
        .arg(json!(typed).to_string())
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .output()
        .expect("python3 must be on PATH");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Done { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The agent's echo, refused for want of a person.
fn assert_open(redis: &Redis, bench: &Bench, backup: &str, token: &str) {
    let before = redis.digest();
    let echo = bench.run(&Bench::echo(backup, token));
    assert_eq!((echo.code, &echo.json()["code"]), (3, &"person.no_channel".into()), "{echo:?}");
    assert_eq!(redis.digest(), before);
    // The command that is named is the one that finds the plan.
    let (home, file) = (bench.home(), bench.dir.path().join("config.toml"));
    let command = format!("tair-backup-mcp --home {} --config {} approve", home.display(), file.display());
    let told = echo.json();
    assert!(text(&told["hint"]).contains(&command) && text(&told["next_actions"][0]).contains(&command), "{told}");
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
    let echo = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(echo.code, 0, "{echo:?}");
    let reply = echo.json();
    assert_eq!((&reply["status"], &reply["human_verified"]), (&"succeeded".into(), &true.into()), "{reply}");
    assert_eq!(redis.digest(), intact);
    let again = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((again.code, &again.json()["code"]), (3, &"confirm.used".into()), "{again:?}");
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
    assert!(done.out.contains("write_traffic") && done.out.contains("lost "), "{done:?}");
    assert_eq!(redis.digest(), intact);
    // With --json a program reads, so nobody is asked even here.
    redis.run(&["SET", "marker", "again"]);
    let token = bench.token(&backup);
    let done = at_terminal(&bench, &[], &Bench::echo(&backup, &token));
    assert!(done.code == 3 && done.out.contains("person.no_channel"), "{done:?}");
    assert!(text(&bench.jobs()[0]["kind"]) == "backup", "no restore was begun");
}
