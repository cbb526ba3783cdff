//! Restores: planned, echoed and done, to the byte; and what they cannot be asked for is refused before anything is read.

use crate::support::{Bench, Redis, finish, text, unattended, write_over};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// A plan changes nothing; its echo brings back what the set holds; and the plan names the set that undoes it.
#[test]
fn a_plan_and_its_echo() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let (intact, backup) = (redis.digest(), bench.backup());
    redis.run(&["SET", "marker", "written since"]);
    let damaged = redis.digest();
    let plan = bench.ask(&backup).json();
    assert_eq!(plan["status"], "confirmation_required", "{plan}");
    assert_eq!(redis.digest(), damaged, "a plan changes nothing");
    let estimate = &plan["plan"]["estimate"];
    assert!(estimate["seconds"].as_u64() >= Some(1) && estimate["from"] == "size", "{estimate}");
    assert!(text(&estimate["meanwhile"]).contains("writes are refused (READONLY)"), "{estimate}");
    let safety = text(&plan["plan"]["safety_backup_id"]);
    let done = bench.run(&Bench::echo(&backup, &text(&plan["confirmation_token"])));
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    assert_eq!(redis.digest(), intact);
    // What that took tells how long the next one takes.
    let back = bench.restore(&safety).json();
    assert_eq!((&back["status"], &back["plan"]["estimate"]["from"]), (&"succeeded".into(), &"last restore".into()));
    assert_eq!(redis.digest(), damaged, "the safety backup brings back what the restore overwrote");
}

/// What only the cloud can do, or nobody could show to a person, is refused on an instance of our own.
#[test]
fn what_cannot_be_asked_for_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let long = "x".repeat(161);
    let moment = ["restore-instance", "--restore-time", "2026-11-23T06:15:00Z"];
    refused(&bench, &[&moment[..], &["--filter-key", &long]].concat(), "arguments.invalid");
    refused(&bench, &[&moment[..], &["--filter-key", "user:\u{202e}.*"]].concat(), "arguments.invalid");
    refused(&bench, &moment, "restore.no_flashback");
    let set = ["restore-instance", "--backup-id", "b-1"];
    for wrong in ["", "a\u{202e}", &"p".repeat(65)] {
        refused(&bench, &[&set[..], &["--filter-key", "user:.*", "--add-prefix", wrong]].concat(), "arguments.invalid");
    }
    // The way back has to name the keys in the target.
    for (list, prefix) in [("^user:.*$", "r:"), ("user:.*", "a,b"), (&"k".repeat(150), "restored:")] {
        refused(&bench, &[&set[..], &["--filter-key", list, "--add-prefix", prefix]].concat(), "arguments.invalid");
    }
    refused(&bench, &[&set[..], &["--filter-key", "^user:.*$"]].concat(), "backup.not_found");
    refused(&bench, &[&set[..], &["--filter-key", "user:["]].concat(), "backup.not_found");
    refused(&bench, &[&set[..], &["--source-instance-id", "nobody"]].concat(), "instance.not_found");
    refused(&bench, &[&set[..], &["--time-shift", "now"]].concat(), "arguments.invalid");
    refused(&bench, &["restore-instance"], "arguments.invalid");
    // The type that the cloud's own command takes says no more than the other arguments do.
    for args in [
        &["--restore-type", "1", "--backup-id", "b-1"][..],
        &["--restore-type", "0", "--restore-time", "2026-11-23T06:15:00Z"],
        &["--restore-type", "2", "--backup-id", "b-1"],
        &["--restore-type", "1"],
        &["--restore-type", "0"],
    ] {
        refused(&bench, &[&["restore-instance"], args].concat(), "arguments.invalid");
    }
    let agent = ["--user-agent", "AlibabaCloud-Agent-Skills/alibabacloud-tair-agent-skills"];
    refused(&bench, &[&moment[..], &["--restore-type", "1"], &agent].concat(), "restore.no_flashback");
    refused(
        &bench,
        &[&["restore-instance", "--restore-type", "0", "--backup-id", "b-1"], &agent[..]].concat(),
        "backup.not_found",
    );
    refused(&bench, &[&moment[..], &["--backup-id", "b-1"]].concat(), "arguments.invalid");
}

/// A dead end names what works on this very instance, with its arguments: a set where there is no log, and how a log is kept from now on, which
/// only the operator says where the file does; and whose a set is that another instance has.
#[test]
fn without_a_log_the_hint_names_what_there_is() {
    let (redis, other) = (Redis::start("redis-7.0", &[]), Redis::start("redis-7.0", &[]));
    let carts = format!("[[instance]]\nid = \"carts\"\nurl = \"{}\"\n", other.url());
    let config = |more: &str| unattended(&redis, &format!("{more}\n{carts}"));
    let bench = Bench::new(&config(""));
    let hint = |more: &[&str]| {
        let done = bench.run(&[&["restore-instance", "--instance-id", "orders", "--json"][..], more].concat());
        assert_ne!(done.code, 0, "{done:?}");
        text(&done.json()["hint"])
    };
    let moment = ["--restore-time", "2026-11-23T06:15:00Z"];
    let told = hint(&moment);
    assert!(told.contains("create_backup with instance_id orders"), "{told}");
    assert!(told.contains("modify_backup_policy with instance_id orders and enable_backup_log true"), "{told}");
    let backup = bench.backup();
    let told = hint(&moment);
    assert!(told.contains(&format!("restore_instance with instance_id orders and backup_id {backup}")), "{told}");
    bench.configure(&config("enable_backup_log = false"));
    let told = hint(&moment);
    let file = bench.dir.path().join("config.toml").display().to_string();
    assert!(told.contains(&format!("enable_backup_log = true in the [[instance]] orders of {file}")), "{told}");
    assert!(!told.contains("modify_backup_policy"), "{told}");
    // What the file says already is not to be written.
    bench.configure(&config("enable_backup_log = true"));
    let told = hint(&moment);
    assert!(told.contains("Its log is on, and nothing is in it yet") && !told.contains("its operator"), "{told}");

    let foreign = text(&bench.json(&["create-backup", "--instance-id", "carts"])["backup_id"]);
    let told = hint(&["--backup-id", &foreign]);
    assert!(told.contains("It is a set of carts") && told.contains("source_instance_id"), "{told}");
    let planned = bench.json(&[
        "restore-instance",
        "--instance-id",
        "orders",
        "--source-instance-id",
        "carts",
        "--backup-id",
        &foreign,
    ]);
    assert_eq!(planned["status"], "confirmation_required", "{planned}");
}

/// Changes a byte of a set's data.
fn damage(bench: &Bench, id: &str) {
    let data = bench.home().join("vault/orders").join(id).join("data.rdb.zst");
    let mut bytes = std::fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    write_over(&data, bytes);
}

/// No hint offers the newest safety backup, which most likely holds the mistake, in the place of a set or a moment that there is not.
#[test]
fn a_safety_backup_is_offered_in_the_place_of_nothing() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let first = bench.backup();
    redis.run(&["SET", "a", "damage"]);
    let safety = text(&bench.ask(&first).json()["plan"]["safety_backup_id"]);
    assert_ne!(safety, first);
    let hint = |more: &[&str]| {
        let done = bench.run(&[&["restore-instance", "--instance-id", "orders", "--json"][..], more].concat());
        assert_ne!(done.code, 0, "{done:?}");
        text(&done.json()["hint"])
    };
    let gone = ["--backup-id", "b-20200101T000000Z-000000"];
    let moment = ["--restore-time", "2026-11-23T06:15:00Z"];
    let call = format!("restore_instance with instance_id orders and backup_id {first}");
    let told = hint(&gone);
    assert!(told.starts_with(&format!("The latest is {first}.")), "{told}");
    let told = hint(&moment);
    assert!(told.contains(&call) && !told.contains(&safety), "{told}");
    let second = bench.backup();
    damage(&bench, &second);
    let blocked = bench.ask(&second).json();
    assert_eq!(
        (&blocked["status"], &blocked["next_actions"][0]),
        (&"blocked".into(), &call.as_str().into()),
        "{blocked}"
    );
    let remove = |id: &str| std::fs::remove_dir_all(bench.home().join("vault/orders").join(id)).unwrap();
    remove(&first);
    remove(&second);
    let third = bench.backup();
    damage(&bench, &third);
    let blocked = bench.ask(&third).json();
    let told = text(&blocked["hint"]);
    assert!(told.contains("safety backups alone") && !blocked["next_actions"].to_string().contains("b-"), "{blocked}");
    remove(&third);
    for more in [&gone, &moment] {
        let told = hint(more);
        assert!(told.contains("safety backups alone") && !told.contains(&safety), "{told}");
        assert!(told.contains("describe_backups with instance_id orders"), "{told}");
    }
}

/// A damaged set names the newest one beside it, and that one can be planned.
#[test]
fn a_damaged_set_names_another() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let (whole, damaged) = (bench.backup(), bench.backup());
    damage(&bench, &damaged);
    let blocked = bench.ask(&damaged).json();
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    let call = format!("restore_instance with instance_id orders and backup_id {whole}");
    assert_eq!(blocked["next_actions"][0], call.as_str(), "{blocked}");
    assert!(text(&blocked["hint"]).contains(&call), "{blocked}");
    assert_eq!(bench.ask(&whole).json()["status"], "confirmation_required");
}

/// A set that the target cannot load is offered as a clone where a server program here loads it, and else not.
#[test]
fn a_clone_is_offered_where_one_can_be_made() {
    let (old, new) = (Redis::start("redis-6.2", &[]), Redis::start("redis-8.0", &[]));
    new.run(&["SET", "a", "1"]);
    let carts = format!("[[instance]]\nid = \"carts\"\nurl = \"{}\"\n", new.url());
    let bench = Bench::new(&unattended(&old, &carts));
    let set = text(&bench.json(&["create-backup", "--instance-id", "carts"])["backup_id"]);
    let call = format!("create_instance_from_backup with instance_id carts and backup_id {set}");
    let restore = ["restore-instance", "--instance-id", "orders", "--source-instance-id", "carts", "--backup-id", &set];
    for (kind, offered) in [("redis-8.0", true), ("redis-6.2", false)] {
        let blocked = finish(bench.command_beside(kind, &[&restore[..], &["--json"]].concat()).spawn().unwrap()).json();
        assert_eq!(blocked["status"], "blocked", "{kind}: {blocked}");
        assert_eq!(text(&blocked["hint"]).contains(&call), offered, "{kind}: {blocked}");
    }
}
