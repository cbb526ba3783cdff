//! `prune`: what no rule keeps goes by one yes to the very sets, and nothing else; the rest stays, and says why. Nobody there to say it, something that
//! has changed, or an end in the middle: nothing goes that was not agreed to, and no manifest is without its data.

use crate::archive::{FIRST, REPLID, T0, limits, new_timeline, put as append, seal, set};
use crate::guard::flow::{Silent, app};
use crate::state::contract::new;
use crate::support::backup_set::put_set;
use crate::support::log::archive;
use crate::support::preload::Preload;
use crate::support::{Bench, Dice, Done, Redis, finish, terminal as at_terminal, text, write_over};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use tair_backup_mcp::guard::act::Act;
use tair_backup_mcp::guard::ledger::{Confirmation, ConfirmationStatus::Approved, ConfirmationStatus::Open};
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, typed_answer};
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::job::JobKind;
use tair_backup_mcp::model::pruning::{Keep, PrunedModes};
use tair_backup_mcp::provider::Carried;
use tair_backup_mcp::state::jobs::NewJob;
use tair_backup_mcp::tools::{App, Asked, Outcome, Person, ToolCall, guarded};

const QUESTION: &str = "deletes nothing) > ";
/// An instance that nobody has to reach: sets are the vault's.
const AWAY: &str = "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n";
const NO_PERSON: &str = "[guard]\nconfirmation = \"token\"\n";

fn prune(bench: &Bench, args: &[&str]) -> Done {
    bench.run(&[&["prune", "orders"], args].concat())
}

/// Puts a set of so many days ago on a bench's vault; its id.
async fn put(bench: &Bench, n: u32, mode: Mode, days: i64) -> String {
    put_at(bench, n, mode, days, ("i", 0)).await
}

/// The same, of this position in a history.
async fn put_at(bench: &Bench, n: u32, mode: Mode, days: i64, position: (&str, u64)) -> String {
    let id = format!("b-20260101T000000Z-{n:06}");
    let started_at = Timestamp::now() - SignedDuration::from_hours(24 * days);
    put_set(bench, &id, mode, (started_at, None), position).await;
    id
}

/// Manual sets of so many days ago, numbered from 1.
async fn put_manual<const N: usize>(bench: &Bench, days: [i64; N]) -> [String; N] {
    let mut ids = Vec::new();
    for (n, days) in (1..).zip(days) {
        ids.push(put(bench, n, Mode::Manual, days).await);
    }
    ids.try_into().unwrap()
}

/// The ids of all that has a manifest, each with data.
fn there(bench: &Bench) -> BTreeSet<String> {
    let folders = std::fs::read_dir(bench.home().join("vault/orders")).unwrap().map(|entry| entry.unwrap().path());
    let whole = folders.filter(|folder| folder.join("manifest.json").exists());
    let id = |folder: std::path::PathBuf| {
        assert!(folder.join("data.rdb.zst").exists(), "{}: a manifest without data", folder.display());
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    };
    whole.map(id).collect()
}

fn set_of<const N: usize>(ids: [&String; N]) -> BTreeSet<String> {
    ids.map(String::clone).into()
}

/// What would go; it is told of all that is there, and nothing goes by that.
fn would_go(bench: &Bench, rules: &[&str]) -> BTreeSet<String> {
    let before = there(bench);
    let told = bench.json(&[&["prune", "orders", "--dry-run"], rules].concat());
    assert!(told["now"].is_string(), "{told}");
    let rows = told["backups"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| text(&row["backup_id"])).collect::<BTreeSet<_>>(), before, "{told}");
    assert!(rows.iter().all(|row| !text(&row["why"]).is_empty()), "{told}");
    let goes: BTreeSet<String> =
        rows.iter().filter(|row| row["goes"] == true).map(|row| text(&row["backup_id"])).collect();
    assert_eq!((&told["goes"], there(bench)), (&goes.len().into(), before), "{told}");
    goes
}

fn deletions(bench: &Bench) -> usize {
    bench.run(&["audit", "--json", "--limit", "100000"]).out.matches("\"backup.deleted\"").count()
}

/// One rule and both, of a mode alone; then it is done, each deletion is in the audit, and once more nothing is left to do.
#[tokio::test]
async fn what_no_rule_keeps_goes() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let [m1, m2, m3, _] = put_manual(&bench, [40, 30, 20, 10]).await;
    let s1 = put(&bench, 5, Mode::Safety, 35).await;
    put(&bench, 6, Mode::Safety, 5).await;
    let automated = put(&bench, 7, Mode::Automated, 50).await;
    bench.backup();
    for (rules, goes) in [
        (vec!["--keep-last", "2"], set_of([&m1, &m2, &m3])),
        (vec!["--keep-last", "1", "--mode", "safety"], set_of([&s1])),
        (vec!["--keep-within", "25d"], set_of([&m1, &m2, &s1])),
        (vec!["--keep-within", "3w", "--keep-last", "4"], set_of([&m1])),
        (vec!["--keep-within", "1000d"], BTreeSet::new()),
    ] {
        assert_eq!(would_go(&bench, &rules), goes, "{rules:?}");
    }
    let told = prune(&bench, &["--keep-last", "2", "--dry-run"]);
    assert!(told.code == 0 && told.out.contains("3 of 8 backups go, "), "{told:?}");
    let line = told.out.lines().find(|line| line.contains(&automated)).unwrap();
    assert!(line.starts_with("stays") && line.contains("taken by the policy"), "{line}");

    let before = there(&bench);
    let done = prune(&bench, &["--keep-last", "2", "--json"]);
    let reply = done.json();
    assert_eq!((done.code, &reply["status"]), (0, &"succeeded".into()), "{done:?}");
    let rows = reply["backups"].as_array().unwrap();
    let ids: Vec<String> = rows.iter().map(|row| text(&row["backup_id"])).collect();
    assert_eq!(ids, [m1.clone(), m2.clone(), m3.clone()], "the oldest first");
    assert!(rows.iter().all(|row| row["status"] == "deleted" && row["freed_bytes"].as_u64() > Some(0)), "{reply}");
    assert_eq!(
        reply["freed_bytes"].as_u64(),
        rows.iter().map(|row| row["freed_bytes"].as_u64()).sum::<Option<u64>>(),
        "{reply}"
    );
    assert_eq!(there(&bench), &before - &set_of([&m1, &m2, &m3]));
    assert!(bench.left_over().is_empty(), "{:?}", bench.left_over());
    assert_eq!(deletions(&bench), 3);
    let verified = bench.run(&["vault", "verify"]);
    assert_eq!(verified.code, 0, "nothing seems to have been removed by somebody else: {verified:?}");
    let again = prune(&bench, &["--keep-last", "2"]);
    assert!(again.code == 0 && again.out.contains("Nothing goes of 5 backups."), "{again:?}");
    let one = bench.run(&["prune", "--instance-id", "orders", "--keep-last", "1"]);
    assert!(one.code == 0 && one.out.contains("deleted") && one.out.contains("2 of 2 backups deleted; "), "{one:?}");
}

/// Without a rule, and with one that says nothing, nothing is looked at, and it is said what to write.
#[test]
fn a_rule_is_needed() {
    let bench = Bench::new(&format!("{NO_PERSON}{AWAY}"));
    let none = prune(&bench, &["--dry-run"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("[arguments.invalid]") && none.err.contains("--keep-last 5"), "{none:?}");
    for wrong in [&["--keep-last", "0"][..], &["--keep-within", "30"], &["--keep-last", "1", "--mode", "automated"]] {
        let refused = prune(&bench, wrong);
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
    assert_eq!(bench.run(&["prune", "--keep-last", "1"]).code, 2, "which instance is not said");
    let unknown = bench.run(&["prune", "carts", "--keep-last", "1"]);
    assert!(unknown.code == 4 && unknown.err.contains("instance.not_found"), "{unknown:?}");
    let writes = bench.run(&["--read-only", "prune", "orders", "--keep-last", "1"]);
    assert!(writes.code == 3 && writes.err.contains("mode.read_only"), "{writes:?}");
    let reads = bench.run(&["--read-only", "prune", "orders", "--keep-last", "1", "--dry-run"]);
    assert_eq!(reads.code, 0, "{reads:?}");
}

/// A set in which a verification has found a fault is none of the last, and the last good one stays whatever was taken before a restore since.
#[tokio::test]
async fn damaged_sets_do_not_count_and_the_last_good_one_stays() {
    let bench = Bench::new(&format!("{NO_PERSON}{AWAY}"));
    let [m1, m2, m3, m4] = put_manual(&bench, [40, 30, 20, 10]).await;
    assert_eq!(would_go(&bench, &["--keep-last", "2"]), set_of([&m1, &m2]));
    let damage = |id: &str| {
        let file = bench.home().join("vault/orders").join(id).join("data.rdb.zst");
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] = !bytes[at];
        write_over(&file, &bytes);
        let verify = ["verify-backup", "--instance-id", "orders", "--level", "checksum", "--backup-id", id];
        let found = bench.run(&verify);
        assert_eq!(found.code, 6, "{found:?}");
    };
    damage(&m4);
    assert_eq!(would_go(&bench, &["--keep-last", "2"]), set_of([&m1]));
    damage(&m3);
    put(&bench, 5, Mode::Safety, 0).await;
    // The newest manual one that is good is older than the rule keeps.
    let goes = would_go(&bench, &["--keep-within", "1d"]);
    assert_eq!(goes, set_of([&m1, &m3, &m4]));
    let done = prune(&bench, &["--keep-within", "1d"]);
    assert_eq!(done.code, 0, "{done:?}");
    let left = prune(&bench, &["--keep-within", "1d"]);
    let line = left.out.lines().find(|line| line.contains(&m2)).unwrap();
    assert!(line.starts_with("stays") && line.contains("the last good set"), "{left:?}");
}

/// What moments of the log lead back to alone stays.
#[tokio::test]
async fn what_the_log_begins_with_stays() {
    let bench = Bench::new(&format!("{NO_PERSON}{AWAY}"));
    let begins = put_at(&bench, 1, Mode::Manual, 40, (REPLID, FIRST)).await;
    let other = put(&bench, 2, Mode::Manual, 30).await;
    put(&bench, 3, Mode::Manual, 20).await;
    let log = archive(&bench);
    let timeline = log.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
    let mut writer = log.writer(&timeline, limits(1 << 20)).unwrap();
    append(&mut writer, &set("a", "1"), T0);
    seal(&mut writer);
    assert_eq!(would_go(&bench, &["--keep-last", "1"]), set_of([&other]));
    let told = prune(&bench, &["--keep-last", "1", "--dry-run"]);
    let line = told.out.lines().find(|line| line.contains(&begins)).unwrap();
    assert!(line.starts_with("stays") && line.contains("moments of the log"), "{line}");
}

/// What a restore of the last days can be undone with stays, and so does what a plan counts on.
#[test]
fn the_way_back_of_a_restore_stays() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let mut ways_back = Vec::new();
    for n in ["2", "3"] {
        redis.run(&["SET", "a", n]);
        let done = bench.restore(&backup);
        assert_eq!(done.code, 0, "{done:?}");
        let reply = done.json();
        ways_back.push((text(&reply["plan"]["safety_backup_id"]), text(&reply["job_id"])));
    }
    let newer = bench.backup();
    let waits = bench.token(&backup);
    let told = prune(&bench, &["--keep-last", "1", "--dry-run"]);
    assert!(told.out.contains("Nothing goes of "), "{told:?}");
    let line = |id: &str| told.out.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id}: {told:?}"));
    let (first, job) = &ways_back[0];
    assert!(line(first).contains(&format!("restore {job} can be undone with it")), "{told:?}");
    assert!(line(&backup).contains("a plan that waits needs it"), "{told:?}");
    assert!(line(&newer).contains("keep-last 1"), "{told:?}");
    let restored = bench.run(&Bench::echo(&backup, &waits));
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(would_go(&bench, &["--keep-last", "1", "--mode", "manual"]), set_of([&backup]));
}

/// A person at a terminal is shown what goes and is asked once: their yes is the instance's id, and anything else leaves all as it is. A program is no
/// person, with or without a terminal.
#[tokio::test]
async fn a_person_is_asked_once() {
    let bench = Bench::new(AWAY);
    let [m1, m2, m3] = put_manual(&bench, [40, 30, 20]).await;
    let before = there(&bench);
    let rules = ["prune", "orders", "--keep-last", "1", "--mode", "manual"];
    for refused in [bench.run(&rules), at_terminal(&bench, &[], &[&rules[..], &["--json"]].concat())] {
        let told = format!("{}{}", refused.out, refused.err);
        assert!(refused.code == 3 && told.contains("[person.no_channel]"), "{refused:?}");
        // At a terminal the command has lines of its own.
        let words: Vec<&str> = told.split([' ', '\r', '\n', '\\', '`']).filter(|word| !word.is_empty()).collect();
        assert!(words.join(" ").contains(" prune orders --keep-last 1 --mode manual yourself"), "{refused:?}");
    }
    for typed in ["no", "", "yes", "order"] {
        let left = at_terminal(&bench, &[(QUESTION, typed)], &rules);
        assert!(left.code == 3 && left.out.contains("Left as it is: nothing was deleted."), "{typed:?}: {left:?}");
        assert_eq!(there(&bench), before, "{typed:?}");
    }
    let nothing = at_terminal(&bench, &[], &["approve"]);
    assert!(nothing.out.contains("Nothing waits"), "a plan that nobody can carry out waits for nobody: {nothing:?}");
    let done = at_terminal(&bench, &[(QUESTION, "orders")], &rules);
    assert_eq!(done.code, 0, "{done:?}");
    for shown in
        ["A DELETED BACKUP CANNOT BE BROUGHT BACK", "deletion of 2 backups of orders", "2 of 2 backups deleted"]
    {
        assert!(done.out.split_whitespace().collect::<Vec<_>>().join(" ").contains(shown), "{shown}: {done:?}");
    }
    let question = done.out.split_once("Lost: ").unwrap().1;
    assert!(question.contains(&m1) && question.contains(&m2) && !question.contains(&m3), "{done:?}");
    assert_eq!((there(&bench), deletions(&bench)), (set_of([&m3]), 2));
}

/// What happens while the person thinks.
enum Meanwhile {
    Nothing,
    /// A job has begun that reads one of the sets.
    Needed,
    /// Somebody has removed one.
    Gone,
    /// The program is asked to end.
    Ended,
}

/// A person who says yes, after something has happened.
struct Slow<'a> {
    bench: &'a Bench,
    app: &'a App,
    set: &'a str,
    meanwhile: Meanwhile,
}

#[async_trait]
impl Person for Slow<'_> {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, open: &Confirmation, _: &str) -> Asked {
        match self.meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Needed => {
                let job = NewJob { backup_id: self.set, ..new("rj-1", JobKind::Restore, "carts") };
                self.app.state.begin(job).await.unwrap();
            }
            Meanwhile::Ended => self.app.provider.shut_down(true).await,
            Meanwhile::Gone => {
                std::fs::remove_dir_all(self.bench.home().join("vault/orders").join(self.set)).unwrap();
            }
        }
        Asked::Answered(typed_answer(&open.plan, "orders", Channel::Terminal))
    }
}

/// The rule that keeps the newest set alone.
const KEEP: Keep = Keep { last: Some(1), within_hours: None, of: PrunedModes::All };

/// Three sets of an instance, of which the two older ones may go, and who asks for that.
struct Prunable {
    bench: Bench,
    app: App,
    caller: Caller,
    /// The oldest first.
    sets: [String; 3],
}

impl Prunable {
    async fn new() -> Self {
        let bench = Bench::new(AWAY);
        let sets = put_manual(&bench, [40, 30, 20]).await;
        let (app, caller) = (app(&bench), Caller::command_line());
        Self { bench, app, caller, sets }
    }

    fn act(&self) -> Act {
        Act::Prune { keep: KEEP, backup_ids: self.sets[..2].to_vec() }
    }

    /// A person to whom something happens with the second set.
    fn person(&self, meanwhile: Meanwhile) -> Slow<'_> {
        Slow { bench: &self.bench, app: &self.app, set: &self.sets[1], meanwhile }
    }

    fn call<'a>(&'a self, person: &'a Slow<'a>) -> ToolCall<'a> {
        ToolCall { app: &self.app, caller: &self.caller, person, progress: &Silent }
    }
}

/// What a call is answered with.
async fn answer(call: &ToolCall<'_>, act: &Act, token: Option<&str>) -> Value {
    match guarded::run(call, "orders", act.clone(), token, None).await.unwrap() {
        Outcome::Reply { json, .. } => json,
        Outcome::AskPerson { .. } => panic!("nobody defers here"),
    }
}

/// A yes is one to what was there: where one of the sets does not go any more, none goes, and its token is used up. What was approved elsewhere of a
/// command that was left is put anew to whoever types it again.
#[tokio::test]
async fn what_changes_before_the_yes_voids_it() {
    for (meanwhile, why) in [
        (Meanwhile::Needed, Some("a job that runs needs it")),
        (Meanwhile::Gone, Some("not there any more")),
        (Meanwhile::Nothing, None),
    ] {
        let prunable = Prunable::new().await;
        let Prunable { bench, app, sets: [m1, m2, m3], .. } = &prunable;
        let (person, act) = (prunable.person(meanwhile), prunable.act());
        let call = prunable.call(&person);
        let planned = answer(&call, &act, None).await;
        assert_eq!(planned["status"], "confirmation_required", "{planned}");
        let nonce = app.state.redeemable().await.unwrap().remove(0).nonce;
        assert!(app.state.transition(&nonce, &[Open], Approved).await.unwrap());
        let planned = answer(&call, &act, None).await;
        assert_eq!(planned["plan"]["supersedes"], "approved", "{planned}");
        let token = text(&planned["confirmation_token"]);
        let done = answer(&call, &act, Some(&token)).await;
        match why {
            Some(why) => {
                assert_eq!(done["status"], "blocked", "{done}");
                assert!(text(&done["message"]).contains(why), "{done}");
                let left =
                    if matches!(person.meanwhile, Meanwhile::Gone) { set_of([m1, m3]) } else { set_of([m1, m2, m3]) };
                assert_eq!(there(bench), left);
                let again = guarded::run(&call, "orders", act.clone(), Some(&token), None).await;
                assert!(again.is_err_and(|fault| fault.code == "confirm.used"));
            }
            None => {
                assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{done}");
                assert_eq!(there(bench), set_of([m3]));
            }
        }
        // Of what one rule keeps, or another instance has, nothing is planned.
        let kept = Act::Prune { keep: KEEP, backup_ids: vec![m3.clone()] };
        let refused = answer(&call, &kept, None).await;
        assert!(refused["status"] == "blocked" && text(&refused["message"]).contains("keep-last 1"), "{refused}");
    }
}

/// A question that was left at a terminal waits for nobody elsewhere, who would not see all that goes: the same command asks anew.
#[tokio::test]
async fn a_question_that_was_left_is_asked_anew() {
    let prunable = Prunable::new().await;
    let Prunable { bench, app, sets: [_, _, m3], .. } = &prunable;
    let person = prunable.person(Meanwhile::Nothing);
    answer(&prunable.call(&person), &prunable.act(), None).await;
    assert_eq!(app.state.redeemable().await.unwrap().len(), 1, "a plan that is open");
    let approve = at_terminal(bench, &[], &["approve"]);
    assert!(approve.code == 0 && approve.out.contains("Nothing waits"), "{approve:?}");
    assert!(!approve.out.contains("what else there is"), "nothing else there is: {approve:?}");
    let listed = bench.run(&["approve", "--list"]);
    assert!(listed.code == 0 && listed.out.starts_with("No plan waits"), "nobody can say yes to it there: {listed:?}");
    let jobs = bench.json(&["describe-jobs"]);
    assert!(!jobs.to_string().contains("\"act\":\"prune\""), "no agent can carry it out: {jobs}");
    let done = at_terminal(bench, &[(QUESTION, "orders")], &["prune", "orders", "--keep-last", "1"]);
    assert!(done.code == 0 && done.out.contains("2 of 2 backups deleted"), "{done:?}");
    assert_eq!(there(bench), set_of([m3]));
}

/// What is asked to end goes on to no other set: all that were not reached are there, and are told.
#[tokio::test]
async fn what_was_not_reached_is_kept() {
    let prunable = Prunable::new().await;
    let Prunable { bench, sets: [m1, m2, m3], .. } = &prunable;
    let (person, act) = (prunable.person(Meanwhile::Ended), prunable.act());
    let call = prunable.call(&person);
    let planned = answer(&call, &act, None).await;
    let done = answer(&call, &act, Some(&text(&planned["confirmation_token"]))).await;
    assert_eq!(done["status"], "failed", "{done}");
    let rows = done["backups"].as_array().unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["status"] == "retained"), "{done}");
    assert!(text(&rows[0]["why"]).contains("asked to end"), "{done}");
    assert_eq!(there(bench), set_of([m1, m2, m3]));
}

/// Behind the yes it deletes only while a sound set is there that stays: whoever deletes that one meanwhile, by a yes of its own, leaves the planned
/// ones where they are. And where the vault fails it, it stops: the others are not reached.
#[tokio::test]
async fn the_last_one_stays_and_a_failure_ends_it() {
    for vault_fails in [false, true] {
        let prunable = Prunable::new().await;
        let Prunable { bench, app, sets: [m1, m2, m3], .. } = &prunable;
        let person = prunable.person(Meanwhile::Nothing);
        answer(&prunable.call(&person), &prunable.act(), None).await;
        let open = app.state.redeemable().await.unwrap().remove(0);
        let Answer::Yes(yes) = typed_answer(&open.plan, "orders", Channel::Terminal) else { panic!("no yes") };
        let permit = permit::redeem(app.state.as_ref(), &open, yes).await.unwrap();
        let sets = bench.home().join("vault/orders");
        if vault_fails {
            std::fs::rename(&sets, bench.home().join("elsewhere")).unwrap();
            std::fs::write(&sets, "no folder").unwrap();
        } else {
            std::fs::remove_dir_all(sets.join(m3)).unwrap();
        }
        let Carried::Pruned(done) = app.provider.carry_out(permit).await.unwrap() else { panic!("no pruning") };
        let told: Vec<(&str, &str)> =
            done.iter().map(|set| (set.fate.as_str(), set.fate.why().unwrap_or_default())).collect();
        if vault_fails {
            assert!(told[0].0 == "failed" && told[1].0 == "retained" && told[1].1.contains("not reached"), "{told:?}");
        } else {
            assert!(told.len() == 2, "{told:?}");
            assert!(told.iter().all(|(fate, why)| *fate == "retained" && why.contains("no sound backup")), "{told:?}");
            assert_eq!(there(bench), set_of([m1, m2]));
        }
    }
}

/// Killed behind any of its steps, it leaves no manifest without data, and the same rules once more leave what they would have left.
#[tokio::test]
async fn killed_in_the_middle_and_repeated() {
    /// More steps than it takes.
    const ALL: i64 = 1 << 20;
    let bench = Bench::new(&format!("{NO_PERSON}{AWAY}"));
    let preload = Preload::new();
    let rules = ["prune", "orders", "--keep-last", "1"];
    let stays = put(&bench, 0, Mode::Manual, 0).await;
    let mut n = 0;
    let mut dice = Dice::new("prune");
    let mut steps = vec![ALL];
    while let Some(step) = steps.pop() {
        for _ in 0..3 {
            n += 1;
            put(&bench, n, Mode::Manual, i64::from(n)).await;
        }
        let mut command = bench.command(&rules);
        preload.give(&mut command);
        preload.dies_behind(step);
        let done = finish(command.spawn().unwrap());
        let left = preload.steps_left();
        let when = format!("killed behind step {step} ({left} left): {done:?}");
        assert_eq!(left == 0, done.code == -1, "{when}");
        if step == ALL {
            assert_eq!(done.code, 0, "{when}");
            let all = ALL - left;
            assert!(all > 12, "only {all} steps");
            steps = (0..5).map(|_| 1 + i64::try_from(dice.below(usize::try_from(all).unwrap())).unwrap()).collect();
        }
        // Says whether a manifest is without data.
        there(&bench);
        let again = bench.run(&rules);
        assert_eq!(again.code, 0, "{when}: {again:?}");
        assert_eq!(there(&bench), set_of([&stays]), "{when}");
        assert!(bench.left_over().is_empty(), "{when}: {:?}", bench.left_over());
    }
    let verified = bench.run(&["vault", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
