//! `approve` beside its question: what a reply tells a person to run works as it is pasted, whatever is in its paths, and every answer says which
//! home was looked in.

use crate::support::{Bench, Done, Redis, root, terminal, text};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

pub const QUESTION: &str = "leaves it open) > ";

/// A bench in a directory whose name a shell would take apart; a backup, and a write since.
fn bench() -> (Redis, Bench, String) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let dir = tempfile::Builder::new().prefix("somebody's $home ").tempdir().unwrap();
    let bench = Bench { dir, env: Vec::new() };
    bench.configure(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    (redis, bench, backup)
}

/// What a person sees who pastes a line into a shell at a terminal, in an environment of their own, and answers.
pub fn pasted(answers: &Value, line: &str) -> Done {
    let mut command = Command::new("python3");
    command.arg(root().join("tests/support/terminal.py")).arg(answers.to_string());
    command.args(["sh", "-c", line]).stdin(Stdio::null()).current_dir("/");
    command.env("TAIR_BACKUP_MCP_HOME", "/nowhere/home").env("TAIR_BACKUP_MCP_CONFIG", "/nowhere/config.toml");
    command.env_remove("COLUMNS");
    let output = command.output().expect("python3 must be on PATH");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Done { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The command of a reply is pasted as it is and finds the plan; `approve --list` shows each plan from its making to its end, with who asked.
#[test]
fn what_is_told_to_be_run_works_as_it_stands() {
    let (redis, bench, backup) = bench();
    let home = bench.home().display().to_string();
    let list = || {
        let listed = bench.run(&["approve", "--list"]);
        assert_eq!(listed.code, 0, "{listed:?}");
        assert!(listed.out.contains(&home), "{listed:?}");
        listed.out
    };
    assert!(list().starts_with("No plan waits"));
    let planned = bench.ask(&backup).json();
    let (token, id) = (text(&planned["confirmation_token"]), text(&planned["plan"]["plan_id"]));
    let line = |status: &str| {
        let all = list();
        let line =
            all.lines().find(|line| line.trim_start().starts_with(&id)).unwrap_or_else(|| panic!("no {id}: {all}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1..5], [status, "local", "restore_instance", "orders"], "{all}");
        assert!(!all.contains("rt1-"), "{all}");
    };
    line("waiting");
    // Only of one instance, if one is named.
    assert!(bench.run(&["approve", "--list", "--instance-id", "carts"]).out.starts_with("No plan waits"));

    let next = text(&planned["next_actions"][0]);
    let command = next.strip_prefix("a person runs: ").unwrap();
    let closed = bench.run(&Bench::echo(&backup, &token)).json();
    assert_eq!(closed["next_actions"][0], next, "{closed}");
    let seen = pasted(&json!([[QUESTION, "orders"]]), command);
    assert!(seen.code == 0 && seen.out.contains("Approved.") && seen.out.contains(&home), "{seen:?}");
    line("approved");
    let nothing = pasted(&json!([]), command);
    assert!(nothing.out.contains(&format!("Nothing waits for approval in {home}.")), "{nothing:?}");
    // What was approved is not hidden: the command that shows it has lines of its own, which a shell takes for the one that they are.
    let told = nothing.out.replace("\r\n", "\n");
    let told = told.split_once("is approved already.\n").unwrap_or_else(|| panic!("{nothing:?}")).1;
    let (other, _) = told.split_once("\nshows what else there is: 1.").unwrap_or_else(|| panic!("{nothing:?}"));
    let shown = pasted(&json!([]), other);
    assert!(shown.code == 0 && shown.out.contains(&id) && shown.out.contains("approved"), "{shown:?}");
    let done = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((done.code, redis.run(&["GET", "a"]).text().as_str()), (0, "1"), "{done:?}");
    assert!(list().starts_with("No plan waits"), "a job shows it now");
}

/// By its id one plan is asked, and no other that waits; of one that was made anew since, the newer; one that there is not is told as that.
#[test]
fn one_plan_is_asked_by_its_id() {
    let (_redis, bench, backup) = bench();
    let other = bench.backup();
    let plan = |backup: &str| bench.ask(backup).json();
    let id = |plan: &Value| text(&plan["plan"]["plan_id"]);
    let asked = |plan: &str, answers: &[(&str, &str)]| {
        let seen = terminal(&bench, answers, &["approve", "--plan", plan]);
        (seen.code, format!("{}{}", seen.out, seen.err))
    };
    let (first, second) = (plan(&backup), plan(&other));
    let (code, seen) = asked(&id(&second), &[(QUESTION, "orders")]);
    assert!(code == 0 && seen.contains("Approved.") && seen.matches(QUESTION).count() == 1, "{seen}");
    let listed = bench.run(&["approve", "--list", "--plan", &id(&first)]).out;
    assert!(listed.contains(" waiting ") && !listed.contains(&id(&second)), "{listed}");
    assert!(listed.contains(&backup) && !listed.contains(&other), "what it would do: {listed}");

    let anew = plan(&backup);
    assert_eq!(anew["plan"]["supersedes"], "waiting", "{anew}");
    let (code, seen) = asked(&id(&first), &[(QUESTION, "no")]);
    assert!(code == 0 && seen.contains(&format!("the new one is {}.", id(&anew))), "{seen}");
    assert!(seen.contains("Declined."), "{seen}");
    for (plan, became) in [(id(&first), "was withdrawn"), (id(&anew), "was declined"), (id(&second), "is approved")] {
        let (code, seen) = asked(&plan, &[]);
        assert!(code == 0 && seen.contains(&format!("Plan {plan} {became}")), "{seen}");
    }
    let (code, seen) = asked("p-00000000", &[]);
    assert!(code == 4 && seen.contains("[plan.not_found]"), "{seen}");
}

/// A plan that is made anew while the person reads the old one is put to them in its place: their answer to the old one is none to the new, nor is
/// the old one left open by none.
#[test]
fn a_plan_that_is_made_anew_is_asked_in_its_place() {
    let (redis, bench, backup) = bench();
    let planned = bench.ask(&backup).json();
    let next = text(&planned["next_actions"][0]);
    let anew = bench.command(&["restore-instance", "--instance-id", "orders", "--backup-id", &backup, "--json"]);
    let anew: Vec<&str> =
        std::iter::once(anew.get_program()).chain(anew.get_args()).map(|w| w.to_str().unwrap()).collect();
    let before = redis.digest();
    let answers = json!([[QUESTION, "", anew], [QUESTION, "orders", anew], [QUESTION, "no"]]);
    let seen = pasted(&answers, next.strip_prefix("a person runs: ").unwrap());
    assert!(seen.code == 0 && seen.out.contains("has made the plan anew"), "{seen:?}");
    assert!(seen.out.contains("Declined.") && !seen.out.contains("Approved."), "{seen:?}");
    assert!(!seen.out.contains("Left open."), "{seen:?}");
    let echo = bench.run(&Bench::echo(&backup, &text(&planned["confirmation_token"])));
    assert_eq!((echo.code, &echo.json()["code"]), (3, &"confirm.used".into()), "no plan is left: {echo:?}");
    assert_eq!(redis.digest(), before);
}
