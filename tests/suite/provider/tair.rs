//! What follows from the cloud's answers, without the cloud: what an instance can do, which rows make a set, what a policy
//! keeps, what a filter means, what an order says. Rows are read by the wire's own reader.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tair_backup_mcp::config::guard::ConfirmationPolicy;
use tair_backup_mcp::guard::act::{Act, CloneOrder, PolicyChange, Source};
use tair_backup_mcp::guard::assess::assess;
use tair_backup_mcp::guard::check::{CheckName, Status};
use tair_backup_mcp::guard::facts::backup::CloudDeletion;
use tair_backup_mcp::guard::facts::clone::CloneFacts;
use tair_backup_mcp::guard::facts::restore::{CloudRestore, CloudSource, InPlace, MeasuredWrites};
use tair_backup_mcp::guard::facts::{CloudInstance, CloudState, Facts, NotPossible};
use tair_backup_mcp::guard::person::question;
use tair_backup_mcp::guard::plan::Plan;
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::model::access::Access;
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::calendar;
use tair_backup_mcp::model::ids::check_backup_id;
use tair_backup_mcp::model::key_filter::{self, SomeKeys};
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::provider::tair::architecture::{Architecture, RestoreScope};
use tair_backup_mcp::provider::tair::clone::order::Order;
use tair_backup_mcp::provider::tair::sets::{self, CloudSet, Listed};
use tair_backup_mcp::provider::tair::{policy, traffic};
use tair_backup_mcp::tair::wire::attribute::{InstanceAttribute, InstanceAttributes};
use tair_backup_mcp::tair::wire::backups::{Backup, Backups};
use tair_backup_mcp::tair::wire::clusters::ClusterBackups;
use tair_backup_mcp::tair::wire::monitor::MonitorValues;
use tair_backup_mcp::tair::wire::read_reply;

fn attribute(fields: Value) -> InstanceAttribute {
    let mut all = json!({"InstanceId": "r-1", "ArchitectureType": "standard", "EditionType": "Enterprise",
        "InstanceType": "tair_rdb", "InstanceClass": "tair.rdb.2g", "EngineVersion": "7.0", "ComputingType": "Machine",
        "NodeType": "double", "ZoneId": "cn-hangzhou-h", "VpcId": "vpc-1", "VSwitchId": "vsw-1",
        "ChargeType": "PrePaid", "InstanceStatus": "Normal"});
    let Value::Object(fields) = fields else { panic!() };
    all.as_object_mut().unwrap().extend(fields);
    let body = json!({"Instances": {"DBInstanceAttribute": [all]}}).to_string();
    read_reply::<InstanceAttributes>(body.as_bytes()).unwrap().instances.remove(0)
}

/// In place only what is classic, keys only on classic Tair, moments only with flashback, nothing without a replica; each
/// no has a reason, and where there is a way, the call that goes it.
#[test]
fn what_an_instance_can_do_follows_from_what_it_is() {
    let log = json!("2026-11-01T00:00:00Z");
    let (set, moment, keys) = (RestoreScope::Set("12"), RestoreScope::Moment("T"), RestoreScope::Keys("T"));
    let case = |fields: Value| {
        let a = Architecture::of(&attribute(fields));
        [set, moment, keys].map(|w| a.can_restore_in_place("r-1", w).is_ok())
    };
    assert_eq!(case(json!({"BackupLogStartTime": log})), [true, true, true]);
    assert_eq!(case(json!({})), [true, false, false]);
    let community = json!({"EditionType": "Community", "InstanceType": "Redis", "BackupLogStartTime": log});
    assert_eq!(case(community), [true, true, false]);
    assert_eq!(case(json!({"ComputingType": "Ecs", "BackupLogStartTime": log})), [false; 3]);
    assert_eq!(case(json!({"ComputingType": "", "NodeType": "", "BackupLogStartTime": log})), [false; 3]);
    assert_eq!(case(json!({"NodeType": "single", "BackupLogStartTime": log})), [false; 3]);
    let native = Architecture::of(&attribute(json!({"ComputingType": "Ecs", "ArchitectureType": "cluster"})));
    assert!(native.lists_cluster_sets() && native.can_delete_sets().is_ok());
    let no = native.can_restore_in_place("r-1", RestoreScope::Set("cb-1")).unwrap_err();
    let call = "create_instance_from_backup {\"instance_id\": \"r-1\", \"backup_id\": \"cb-1\"}";
    assert_eq!(no.call.as_deref(), Some(call));
    let classic = Architecture::of(&attribute(json!({"ArchitectureType": "cluster"})));
    assert!(!classic.lists_cluster_sets() && classic.can_delete_sets().is_err());
    let single = Architecture::of(&attribute(json!({"NodeType": "STAND_ALONE"})));
    assert!(single.can_back_up().unwrap_err().call.is_none());
}

fn row(id: i64, job: i64, node: &str, start: &str, more: Value) -> Value {
    let mut row = json!({"BackupId": id, "BackupJobID": job, "NodeInstanceId": node, "BackupStartTime": start,
        "BackupEndTime": "2026-11-02T00:10:00Z", "BackupStatus": "Success", "BackupMode": "Manual", "BackupSize": 100,
        "EngineVersion": "5.0", "RecoverConfigMode": "{\"whitelist\":true,\"config\":true,\"account\":false}"});
    let Value::Object(more) = more else { panic!() };
    row.as_object_mut().unwrap().extend(more);
    row
}

fn backups(rows: &[Value]) -> Vec<Backup> {
    let body = json!({"Backups": {"Backup": rows}}).to_string();
    read_reply::<Backups>(body.as_bytes()).unwrap().backups
}

fn ids(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|l| l.as_ref().map_or_else(|d| format!("!{}", d.id), |s| s.set.id.clone())).collect()
}

/// Shards of one job are one set; shards with a job each are one by time; what failed or misses a shard is named as
/// damaged; what is not done is no set.
#[test]
fn rows_make_sets() {
    let (t1, t2) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:05Z");
    let none = || json!({});
    let standard = backups(&[row(7, 1, "r-1", t1, none()), row(8, 2, "r-1", t2, none())]);
    assert_eq!(ids(&sets::shards::of_rows("r-1", standard, Some(1))), ["8", "7"]);
    // Two shards, a job each, twice; rows in any order.
    let legacy = [
        row(1022, 11, "r-1-db-0", t1, none()),
        row(2481, 14, "r-1-db-1", t2, none()),
        row(2480, 12, "r-1-db-1", "2026-11-01T00:00:40Z", none()),
        row(1023, 13, "r-1-db-0", t2, none()),
    ];
    let listed = sets::shards::of_rows("r-1", backups(&legacy), Some(2));
    assert_eq!(ids(&listed), ["1023,2481", "1022,2480"]);
    let whole = listed[1].as_ref().unwrap();
    assert_eq!((whole.set.rdb_bytes, whole.jobs.as_slice(), whole.set.mode), (200, &[11, 12][..], Mode::Manual));
    // One job for all its shards, begun next to another.
    let newer = [
        row(1, 21, "r-1-db-0", t1, none()),
        row(2, 22, "r-1-db-0", "2026-11-01T00:01:00Z", json!({"BackupMode": "Automated"})),
        row(3, 21, "r-1-db-1", "2026-11-01T00:02:00Z", none()),
        row(4, 22, "r-1-db-1", "2026-11-01T00:02:30Z", json!({"BackupMode": "Automated"})),
    ];
    assert_eq!(ids(&sets::shards::of_rows("r-1", backups(&newer), Some(2))), ["2,4", "1,3"]);
    let broken = [
        row(1, 31, "r-1-db-0", t1, none()),
        row(2, 32, "r-1-db-0", t2, none()),
        row(3, 33, "r-1-db-1", t2, json!({"BackupStatus": "Failed"})),
    ];
    assert_eq!(ids(&sets::shards::of_rows("r-1", backups(&broken), Some(2))), ["!2,3", "!1"]);
    let running = [row(0, 41, "r-1", t1, json!({"BackupStatus": ""})), row(5, 42, "r-1", t2, none())];
    assert_eq!(ids(&sets::shards::of_rows("r-1", backups(&running), Some(1))), ["5"]);
    // What was taken of the whole instance, right before it got shards, is a set by itself.
    let converted = [
        row(6, 51, "r-1", t1, none()),
        row(7, 52, "r-1-db-0", "2026-11-01T00:10:00Z", none()),
        row(8, 53, "r-1-db-1", "2026-11-01T00:10:30Z", none()),
    ];
    assert_eq!(ids(&sets::shards::of_rows("r-1", backups(&converted), Some(2))), ["7,8", "6"]);
    // Several files of one shard are no set. The instance may have had more shards then.
    let one = |rows: &[(i64, Option<&str>)], shards| {
        let rows: Vec<Value> =
            (1..).zip(rows).map(|(id, (job, node))| row(id, *job, "", t1, json!({"NodeInstanceId": node}))).collect();
        sets::shards::one("r-1", backups(&rows), shards).unwrap().is_ok()
    };
    let (whole, a, b, c) = (Some("r-1"), Some("r-1-db-0"), Some("r-1-db-1"), Some("r-1-db-2"));
    for shards in [None, Some(1), Some(2)] {
        assert!(one(&[(1, whole)], shards) && one(&[(1, None)], shards), "{shards:?}");
        for rows in
            [[(7, whole), (8, whole)], [(7, None), (8, None)], [(7, a), (8, a)], [(7, a), (7, a)], [(7, whole), (8, a)]]
        {
            assert!(!one(&rows, shards), "{rows:?} {shards:?}");
        }
    }
    for rows in [[(7, a), (8, b), (9, c)], [(7, a), (7, b), (7, c)]] {
        assert_eq!([Some(1), Some(3), Some(4), None].map(|n| one(&rows, n)), [true, true, false, true], "{rows:?}");
    }
    // A set is found by its list in any order; a shard by its own id.
    let found =
        |id: &str| sets::find_file(sets::shards::of_rows("r-1", backups(&legacy), Some(2)), id).map(Result::unwrap);
    assert_eq!(found("2480,1022").unwrap().shards.len(), 2);
    let shard = found("2480").unwrap();
    assert_eq!((shard.set.id.as_str(), shard.shards.len(), shard.set.rdb_bytes), ("2480", 1, 100));
    assert!(found("99").is_none());
    for (id, good) in [("1022,2480", true), ("165000050", true), ("cb-zmdqj2m3", true), ("1,", false), ("1,a", false)] {
        assert_eq!(check_backup_id(id).is_ok(), good, "{id}");
    }
}

/// A row that cannot be read is shown as such, and nothing is made of a word that nobody has published: no set that is whole, none that may
/// be deleted.
#[test]
fn what_a_row_does_not_say_is_not_assumed() {
    let of = |more: Value| {
        let rows = backups(&[
            row(7, 9, "r-1", "2026-11-02T00:00:00Z", more),
            row(8, 10, "r-1", "2026-11-03T00:00:00Z", json!({})),
        ]);
        let mut listed = sets::shards::of_rows("r-1", rows, None);
        assert!(listed[0].as_ref().is_ok_and(|other| other.set.id == "8"), "the other row stays");
        (listed.len() == 2).then(|| listed.remove(1))
    };
    for id in [json!("1,2"), json!([7]), json!({"a": 1}), json!("a b"), json!(1.5), json!(true), json!("9\u{202e}")] {
        let damaged = of(json!({ "BackupId": id })).unwrap();
        let known = id == json!(true);
        assert!(known || damaged.is_err_and(|set| set.reason.contains("cannot be read")), "{id}");
    }
    for id in [json!("b-17"), json!("9007199254740993"), json!(7)] {
        assert!(
            of(json!({ "BackupId": id })).unwrap().is_ok_and(|set| json!(set.set.id) == id || id == json!(7)),
            "{id}"
        );
    }
    for running in [json!(null), json!(0), json!("0"), json!("")] {
        assert!(of(json!({ "BackupId": running })).is_none(), "{running}");
    }
    for job in [json!(null), json!("none")] {
        let nameless = of(json!({ "BackupId": null, "BackupJobID": job })).unwrap();
        assert!(nameless.is_err_and(|set| set.reason.contains("cannot be read")), "{job}");
    }
    for status in [json!("Deleting"), json!(null), json!(""), json!([])] {
        assert!(of(json!({ "BackupStatus": status })).unwrap().is_err(), "{status}");
    }
    for (mode, known) in [
        (json!("Manual"), true),
        (json!("manual"), true),
        (json!("Semi"), false),
        (json!(null), false),
        (json!("Automated"), false),
    ] {
        let set = of(json!({ "BackupMode": mode })).unwrap().unwrap();
        assert_eq!((set.facts().manual, set.set.mode == Mode::Manual), (known, known), "{mode}");
    }
    let rows = json!({"ClusterBackups": [{"ClusterBackupStatus": "OK", "IsAvail": 1, "ClusterBackupStartTime": "2024-01-10T17:21:25Z"}]});
    let rows = read_reply::<ClusterBackups>(rows.to_string().as_bytes()).unwrap().cluster_backups;
    assert!(
        sets::clusters::of_cluster_rows("r-1", rows)[0]
            .as_ref()
            .is_err_and(|set| set.reason.contains("cannot be read"))
    );
}

/// A cluster's set is whole only where the cloud says so of the set and of each of its shards.
#[test]
fn a_cluster_set_is_as_good_as_its_worst_shard() {
    let whole = |set: Value, shard: Value| {
        let mut shards = vec![json!({"BackupId": "1", "BackupStatus": "OK", "IsAvail": "1", "BackupSize": "9"}); 2];
        let mut row = json!({"ClusterBackupId": "cb-1", "ClusterBackupStatus": "OK", "IsAvail": 1, "ClusterBackupStartTime": "2024-01-10T17:21:25Z"});
        let extend = |value: &mut Value, more: Value| {
            let Value::Object(more) = more else { panic!() };
            value.as_object_mut().unwrap().extend(more);
        };
        extend(&mut shards[1], shard);
        extend(&mut row, json!({ "Backups": shards }));
        extend(&mut row, set);
        let rows = json!({ "ClusterBackups": [row] }).to_string();
        let rows = read_reply::<ClusterBackups>(rows.as_bytes()).unwrap().cluster_backups;
        sets::clusters::of_cluster_rows("r-1", rows)[0].is_ok()
    };
    assert!(whole(json!({}), json!({})));
    assert!(whole(json!({"ClusterBackupStatus": "ok"}), json!({"BackupStatus": "Ok"})));
    for value in [json!(null), json!(0), json!("2"), json!("yes?"), json!({})] {
        assert!(!whole(json!({ "IsAvail": value }), json!({})), "set {value}");
        assert!(!whole(json!({}), json!({ "IsAvail": value })), "shard {value}");
    }
    for status in [json!(null), json!("ERROR"), json!("Success"), json!("Odd")] {
        assert!(!whole(json!({ "ClusterBackupStatus": status }), json!({})), "set {status}");
        assert!(!whole(json!({}), json!({ "BackupStatus": status })), "shard {status}");
    }
}

/// A size that cannot be read is not 0 bytes: the set is shown as one that nobody knows enough of. What the cloud calls 0 bytes is.
#[test]
fn a_size_that_cannot_be_read_is_none() {
    let start = "2026-11-01T00:00:00Z";
    let listed = |size: Value| {
        let listed =
            sets::shards::of_rows("r-1", backups(&[row(7, 1, "r-1", start, json!({ "BackupSize": size }))]), Some(1));
        listed[0].as_ref().map(|set| set.set.rdb_bytes).map_err(|damaged| (damaged.id.clone(), damaged.reason.clone()))
    };
    for unreadable in
        [json!(null), json!(""), json!("12 MB"), json!("1,024"), json!(-1), json!("-5"), json!({}), json!("?")]
    {
        let (id, reason) = listed(unreadable.clone()).unwrap_err();
        assert!(id == "7" && reason.contains("how large"), "{unreadable}: {reason}");
    }
    for (size, bytes) in [(json!(0), 0), (json!("1024"), 1024), (json!(1024.0), 1024), (json!(" 7 "), 7)] {
        assert_eq!(listed(size.clone()), Ok(bytes), "{size}");
    }
    let cluster = |whole: Value, shard: Value| {
        let row = json!({"ClusterBackupId": "cb-1", "ClusterBackupStatus": "OK", "IsAvail": 1, "ClusterBackupStartTime": start,
            "ClusterBackupSize": whole, "Backups": [{"BackupId": "1", "BackupStatus": "OK", "IsAvail": "1", "BackupSize": shard}]});
        let rows = json!({ "ClusterBackups": [row] }).to_string();
        let rows = read_reply::<ClusterBackups>(rows.as_bytes()).unwrap().cluster_backups;
        sets::clusters::of_cluster_rows("r-1", rows)[0].as_ref().ok().map(|set| set.set.rdb_bytes)
    };
    assert_eq!(cluster(json!("2048"), json!("9")), Some(2048));
    // The sum of its shards, where only they have sizes.
    assert_eq!((cluster(json!(null), json!("9")), cluster(json!("many"), json!(9))), (Some(9), Some(9)));
    assert_eq!(cluster(json!(null), json!(null)), None);
    // What is told of the set is not doubted for a shard of which nothing is told.
    assert_eq!((cluster(json!("2048"), json!("few")), cluster(json!("2048"), json!(null))), (Some(2048), Some(2048)));
    let row = json!({"ClusterBackupId": "cb-1", "ClusterBackupStatus": "OK", "IsAvail": 1, "ClusterBackupStartTime": start,
        "ClusterBackupSize": 2048, "Backups": [{"BackupId": "1", "BackupStatus": "OK", "IsAvail": "1"},
            {"BackupId": "2", "BackupStatus": "OK", "IsAvail": "1", "BackupSize": 9}]});
    let rows = json!({ "ClusterBackups": [row] }).to_string();
    let rows = read_reply::<ClusterBackups>(rows.as_bytes()).unwrap().cluster_backups;
    let listed = sets::clusters::of_cluster_rows("r-1", rows);
    let file = |id: &str| sets::find_file(listed.clone(), id).unwrap().map(|set| set.set.rdb_bytes);
    assert_eq!((file("cb-1").unwrap(), file("2").unwrap()), (2048, 9));
    assert!(file("1").unwrap_err().reason.contains("how large"));
}

/// The published sample of a cluster's list is one set; a running one is none yet; one whose shard is missing is damaged.
#[test]
fn cluster_rows_make_sets() {
    let shard = json!({"BackupId": "514645788", "InstanceName": "r-1-db-0", "BackupSize": "1024", "IsAvail": "1",
        "BackupStatus": "OK", "RecoverConfigMode": "null", "ExtraInfo": {"CustinsDbVersion": "5.0"}});
    let set = |id: &str, status: &str, avail: i64| {
        json!({"ClusterBackupId": id, "ClusterBackupStatus": status, "IsAvail": avail, "ClusterBackupSize": "2048",
            "ClusterBackupStartTime": "2024-01-10T17:21:25Z", "ClusterBackupEndTime": "2024-01-10T17:21:55Z",
            "ClusterBackupMode": "Automated", "Backups": [shard]})
    };
    let rows = json!({"ClusterBackups": [set("cb-1", "OK", 1), set("cb-2", "RUNNING", 0), set("cb-3", "OK", 0), set("cb-4", "BAD", 1)]});
    let rows = read_reply::<ClusterBackups>(rows.to_string().as_bytes()).unwrap().cluster_backups;
    let listed = sets::clusters::of_cluster_rows("r-1", rows);
    assert_eq!(ids(&listed), ["cb-1", "!cb-3", "!cb-4"]);
    let whole = listed[0].as_ref().unwrap();
    assert!(whole.of_cluster);
    assert_eq!((whole.set.mode, whole.set.rdb_bytes, whole.set.version.as_str()), (Mode::Automated, 2048, "5.0"));
    assert_eq!(sets::find_file(listed, "514645788").unwrap().unwrap().set.rdb_bytes, 1024);
}

/// A glob is recognised and explained with the expression meant; an ordinary expression is left alone; what is none is
/// refused by name.
#[test]
fn a_filter_is_read_as_the_cloud_will() {
    let warned = |text: &str| key_filter::for_cloud(text).unwrap().warnings;
    let warnings = warned("session:*");
    assert!(warnings[0].contains("\"session\" and any number of colons"), "{warnings:?}");
    assert!(warnings[0].contains("session:.*"), "{warnings:?}");
    assert!(warned("user.v1:*")[0].contains("user\\\\.v1:.*") || warned("user.v1:*")[0].contains("user\\.v1:.*"));
    for fine in ["session:.*", "user:[0-9]+", "h.?llo", "h.*llo,user:1", "a(b|c)d", "plain", "[^x]*y", "user:1, user:2"]
    {
        assert_eq!(warned(fine), Vec::<String>::new(), "{fine}");
    }
    assert_eq!(key_filter::for_cloud("user:1, user:2").unwrap().items, ["user:1", "user:2"]);
    assert!(warned("a.,b.,c.,d.")[0].contains("advises 3"));
    let many: Vec<String> = (0..11).map(|n| format!("k{n}")).collect();
    assert!(warned(&many.join(","))[0].contains("advises 10"));
    assert!(warned(".*")[0].contains("every key"));
    for (bad, named) in [
        ("a,,b", "empty"),
        ("", "empty"),
        ("a{1,3}", "comma"),
        ("[a,b]", "comma"),
        ("a\\,b", "comma"),
        ("user:[0-9", "user:[0-9"),
        ("ok,*:sessions", "*:sessions"),
        ("(a", "(a"),
        ("a[9-0]", "a[9-0]"),
    ] {
        let fault = key_filter::for_cloud(bad).unwrap_err();
        assert_eq!(fault.code, "restore.filter_key");
        assert!(fault.message.contains(named), "{bad}: {fault:?}");
    }
    assert!(key_filter::for_cloud("*:sessions").unwrap_err().hint.contains(".*:sessions"));
}

/// What an expression means is taken from its syntax, not from its spelling: each kind of surprise is told with what to write instead, and
/// only what no other engine has is refused.
#[test]
fn what_a_filter_means_is_told() {
    let warned = |text: &str| key_filter::for_cloud(text).unwrap().warnings.join("; ").replace(r"\\", r"\");
    for every in [
        ".{3}",
        "..",
        "x*.+",
        "(user:)?.*",
        ".*:?",
        "(?i)",
        ".*",
        "(.*)",
        "^.+$|x",
        ".*.*",
        "^.*$",
        "[\\s\\S]*",
        "[\\d\\D]+",
        "(?:.|x)+",
        "(a|.*)",
        ".+",
        "^",
        "(?s).*",
    ] {
        assert!(warned(every).contains("every key: that is a restore of everything"), "{every}: {}", warned(every));
    }
    for empty in ["user:1|", "(a|b)*", "[0-9]*", "(user)?", "a{0}", "()", "\\d*"] {
        assert!(
            warned(empty).contains("empty text") || warned(empty).contains("every key"),
            "{empty}: {}",
            warned(empty)
        );
    }
    // Whole keys that are so long, and the one whose name is empty.
    for length in ["^.{3}$", "^...$", "\\A(..|.)\\z", "(^.$)"] {
        assert!(warned(length).contains("how long a key is"), "{length}: {}", warned(length));
    }
    for empty in ["^$", "^(user)?$", "^[0-9]*$"] {
        let told = warned(empty);
        assert!(
            !told.contains("every key") && (told.contains("how long") || told.contains("empty")),
            "{empty}: {told}"
        );
    }
    // Nearly every character says hardly more than every character.
    let ours = |text: &str| key_filter::for_us(text).unwrap().warnings.join("; ");
    for nearly in ["\\S+", "\\p{Any}+", "[!-~]+", "[^ ]+", "\\P{C}*", "(\\S{3}\\S*)", "[^{}]+", "\\S\\S+", "[^\\s'\"]+"]
    {
        let told = warned(&format!("^{nearly}$"));
        assert!(told.contains("nearly any name"), "^{nearly}$: {told}");
        assert!(ours(nearly).contains("nearly any name"), "{nearly}: {}", ours(nearly));
    }
    for says in ["^[^:]+$", "^[^./]+$", "^[A-Za-z0-9:]+$", "^\\w+$", "^\\S+:1$"] {
        assert!(!warned(says).contains("nearly any name"), "{says}: {}", warned(says));
    }
    // Where a part of a key is enough, a class says little.
    for wordless in ["\\w+", "[^:]+", "\\S", "[ -~]+", "\\p{Any}+", "(?:[a-z]|\\d)+", "^[a-z]+"] {
        assert!(warned(wordless).contains("keys of any name"), "{wordless}: {}", warned(wordless));
    }
    for (tag, meant) in
        [("user:{42}:cart", r"user:\{42\}:cart"), ("cart:{7}", r"cart:\{7\}"), ("{user}:1", r"\{user\}:1")]
    {
        assert!(warned(tag).contains(meant), "{tag}: {}", warned(tag));
    }
    for (glob, meant) in [
        ("user:?", "\"user:.\""),
        ("user:0719?", "user:0719."),
        ("用户:*", "用户:.*"),
        ("a.*:*", "a.*:.*"),
        ("x*", "x.*"),
        ("(a|b):*", "(a|b):.*"),
        ("a.b?", r"a\.b."),
        ("user:*?", "user:.*."),
        ("user:??", "\"user:..\""),
        ("user:???", "user:..."),
        ("user:**", "user:.*.*"),
        ("user:*:profile:*", "user:.*:profile:.*"),
        ("a.*:*:*", "a.*:.*:.*"),
        ("{user}:*", r"\{user\}:.*"),
        ("user:{42}:*", r"user:\{42\}:.*"),
    ] {
        assert!(warned(glob).contains("glob") && warned(glob).contains(meant), "{glob}: {}", warned(glob));
    }
    for (dot, meant) in
        [("cfg.v1", r"cfg\.v1"), ("cfg.v.*", r#""cfg\.v.*""#), ("my_.x", r"my_\.x"), ("{a}.b.c", r"\{a\}.b\.c")]
    {
        assert!(warned(dot).contains(meant), "{dot}: {}", warned(dot));
    }
    for (dot, meant) in [("cfg.[0-9]", r"cfg\.[0-9]"), ("app.(a|b)", r"app\.(a|b)"), (r"\d.v1", r"\d\.v1")] {
        assert!(warned(dot).contains(meant), "{dot}: {}", warned(dot));
    }
    let unchecked = |text: &str| key_filter::for_cloud(text).unwrap().unchecked.join("; ");
    for elsewhere in [
        "(?=user:)user:1",
        "(?<!x)y",
        "(user)\\1",
        "\\Quser:1\\E",
        "(?>a)b",
        "(?#note)a",
        "(?|a|b)",
        "\\h+a",
        "\\k<n>",
        "a\\Kb",
        "(?&x)",
    ] {
        assert!(unchecked(elsewhere).contains("not documented"), "{elsewhere}: {}", unchecked(elsewhere));
        assert_eq!(warned(elsewhere), "", "{elsewhere}");
    }
    assert_eq!(unchecked("user:.*,a|b"), "");
    for odd in ["user:.*+", "a++", "(?U)a", "(?-u)a", "\\u0041", "\\u{41}", "(?x)user: 1", "[a&&b]", "[a[bc]]"] {
        assert!(warned(odd).contains("engine"), "{odd}: {}", warned(odd));
    }
    for ours in ["\\p{sc!=Greek}", "[a--b]", "[a~~b]", "\\b{start}a", "(?R)a", "\\U{1F600}"] {
        let fault = key_filter::for_cloud(ours).unwrap_err();
        assert_eq!(fault.code, "restore.filter_key", "{ours}");
    }
    for fine in [
        "用户:.*",
        "(?i)USER:.*",
        "user\\:1",
        "user:[0-9]{4}",
        "user:\\d+",
        "a\\.b",
        "a.*?b",
        "[[:alpha:]]+:1",
        "^user:1$",
        "^[0-9]+$",
        "(ab){3}",
        "user:[0-9]*",
        "[ab][01]",
        "^[0-9]{3}$",
        "^\\w+$",
        "(^a$|^b$)",
        "\\Auser\\z",
    ] {
        assert_eq!(warned(fine), "", "{fine}");
    }
}

fn kept() -> BackupPolicy {
    BackupPolicy {
        preferred_backup_time: "02:00Z-03:00Z".into(),
        preferred_backup_period: vec!["Monday".into(), "Thursday".into()],
        backup_retention_period: 30,
        preferred_next_backup_time: None,
        enable_backup_log: true,
        backup_log_start_time: None,
    }
}

/// What is not named stays, above all data flashback; what is wrong is refused before the cloud hears of it; what lowers
/// protection is known as such.
#[test]
fn a_policy_is_changed_in_what_is_named() {
    let same = policy::values::changed(&kept(), &PolicyChange::default()).unwrap();
    assert_eq!(same, kept());
    for (good, written) in
        [("02:00Z-03:00Z", "02:00Z-03:00Z"), ("23:00Z-24:00Z", "23:00Z-24:00Z"), ("23:00Z-00:00Z", "23:00Z-24:00Z")]
    {
        assert_eq!(calendar::window(good).unwrap(), written);
    }
    for bad in [
        "02:00-03:00",
        "02:30Z-03:30Z",
        "02:00Z-04:00Z",
        "24:00Z-25:00Z",
        "2:00Z-3:00Z",
        "",
        "03:00Z-02:00Z",
        "00:00Z-00:00Z",
    ] {
        assert_eq!(calendar::window(bad).unwrap_err().code, "backup.policy_invalid", "{bad}");
    }
    assert_eq!(calendar::weekdays(["sunday", "Monday", "monday"]).unwrap(), ["Monday", "Sunday"]);
    assert!(calendar::weekdays(["Mon"]).is_err() && calendar::weekdays([]).is_err());
    for days in [6, 731] {
        let change = PolicyChange { backup_retention_period: Some(days), ..PolicyChange::default() };
        assert!(policy::values::changed(&kept(), &change).is_err(), "{days}");
    }
    // A value that the cloud leaves out cannot be written back.
    let untold = BackupPolicy { backup_retention_period: 0, ..kept() };
    assert!(policy::values::changed(&untold, &PolicyChange::default()).is_err());
    // And may be more than what comes.
    let named = PolicyChange { backup_retention_period: Some(730), ..PolicyChange::default() };
    assert_eq!(untold.lowered_by(&policy::values::changed(&untold, &named).unwrap()).len(), 1);
    assert!(BackupPolicy::none().lowered_by(&BackupPolicy::none()).is_empty());
    let lowered = |change: PolicyChange| kept().lowered_by(&policy::values::changed(&kept(), &change).unwrap()).len();
    assert_eq!(lowered(PolicyChange { enable_backup_log: Some(false), ..PolicyChange::default() }), 1);
    assert_eq!(lowered(PolicyChange { backup_retention_period: Some(29), ..PolicyChange::default() }), 1);
    assert_eq!(
        lowered(PolicyChange { preferred_backup_period: Some(vec!["Friday".into()]), ..PolicyChange::default() }),
        1
    );
    assert_eq!(
        lowered(PolicyChange { preferred_backup_time: Some("04:00Z-05:00Z".into()), ..PolicyChange::default() }),
        0
    );
    let more =
        PolicyChange { backup_retention_period: Some(60), enable_backup_log: Some(true), ..PolicyChange::default() };
    assert_eq!(lowered(more), 0);
}

fn a_set(of_cluster: bool) -> CloudSet {
    let rows = backups(&[row(7, 1, "r-1", "2026-11-02T00:00:00Z", json!({}))]);
    let set = sets::shards::one("r-1", rows, None).unwrap().unwrap();
    CloudSet { of_cluster, ..set }
}

fn wanted() -> CloneOrder {
    CloneOrder {
        source: Source::Backup { backup_id: "7".into() },
        instance_name: None,
        instance_class: None,
        zone_id: None,
        vswitch_id: None,
        recover_config_mode: Vec::new(),
    }
}

/// An order is like its source, always PostPaid whatever the source is, and goes to the call of its kind; what cannot be
/// ordered is refused with what to give.
#[test]
fn an_order_is_like_its_source() {
    let Order::Tair(order) = Order::new("cn-hangzhou", &attribute(json!({})), Some(&a_set(false)), &wanted()).unwrap()
    else {
        panic!("not Tair")
    };
    assert_eq!((order.charge_type.as_str(), order.instance_type.as_str()), ("PostPaid", "tair_rdb"));
    assert_eq!((order.backup_id.as_deref(), order.cluster_backup_id, order.dry_run), (Some("7"), None, None));
    assert_eq!((order.v_switch_id.as_str(), order.engine_version.as_deref()), ("vsw-1", Some("7.0")));
    let redis = json!({"InstanceType": "Redis", "InstanceClass": "redis.shard.small.ce", "ComputingType": "Ecs",
        "ArchitectureType": "cluster", "ShardCount": 3});
    let Order::Redis(order) =
        Order::new("cn-hangzhou", &attribute(redis.clone()), Some(&a_set(true)), &wanted()).unwrap()
    else {
        panic!("not Redis")
    };
    assert_eq!(
        (order.charge_type.as_str(), order.cluster_backup_id.as_deref(), order.backup_id),
        ("PostPaid", Some("7"), None)
    );
    assert_eq!(order.shard_count, Some(3));
    let refused = |source: &Value, set: &CloudSet, order: CloneOrder| {
        Order::new("cn-hangzhou", &attribute(source.clone()), Some(set), &order).unwrap_err().code
    };
    let moved = CloneOrder { zone_id: Some("cn-hangzhou-b".into()), ..wanted() };
    assert_eq!(refused(&json!({}), &a_set(false), moved), "clone.network_invalid");
    assert_eq!(refused(&json!({"VpcId": ""}), &a_set(false), wanted()), "clone.network_invalid");
    let with =
        |modes: &[&str]| CloneOrder { recover_config_mode: modes.iter().map(|m| (*m).into()).collect(), ..wanted() };
    assert_eq!(refused(&redis, &a_set(true), with(&["account"])), "clone.recover_config");
    assert_eq!(refused(&json!({}), &a_set(false), with(&["config"])), "clone.recover_config");
    let kept =
        Order::new("cn-hangzhou", &attribute(redis), Some(&a_set(true)), &with(&["whitelist", "config"])).unwrap();
    assert!(matches!(kept, Order::Redis(o) if o.recover_config_mode.as_deref() == Some("whitelist,config")));
}

/// What is not sent is zero; the latest key count counts; names with `$db` are the same metric.
#[test]
fn measurements_are_read() {
    let read = |text: &str| {
        let body = json!({"MonitorHistory": text}).to_string();
        read_reply::<MonitorValues>(body.as_bytes()).unwrap().monitor_history.unwrap()
    };
    assert_eq!(traffic::peak(&read("{}"), "PutQps"), 0.0);
    let history = read(
        r#"{"2026-11-01T00:00:00Z":{"PutQps":"3.5","Keys":"9"},"2026-11-01T00:01:00Z":{"PutQps$db":"1","Keys":"7"}}"#,
    );
    assert_eq!(traffic::peak(&history, "PutQps"), 3.5);
    assert_eq!(traffic::counted(&history).unwrap().keys, 7);
    assert_eq!(traffic::counted(&read(r#"{"2026-11-01T00:00:00Z":{"UsedMemory":"1"}}"#)).unwrap().keys, 0);
    assert!(traffic::counted(&read("{}")).is_none());
    // Figures with a hole of more than the lag and a point say nothing, wherever the hole is.
    let at = |seconds: i64| "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
    let (from, now) = (at(0), at(600));
    let says = |measured: &dyn Fn(i64) -> bool| {
        let points = (0..=600).step_by(20).filter(|s| measured(*s));
        let points: Vec<String> = points.map(|s| format!(r#""{}":{{"UsedMemory":"1"}}"#, at(s))).collect();
        traffic::measured(Some(&read(&format!("{{{}}}", points.join(",")))), from, now).peak.is_some()
    };
    for (hole, known) in [(180, true), (200, false), (290, false), (320, false)] {
        assert_eq!(says(&|s| s <= 600 - hole), known, "{hole} s at the end");
        assert_eq!(says(&|s| s >= hole), known, "{hole} s at the beginning");
        assert_eq!(says(&|s| s <= 100 || s >= 100 + hole), known, "{hole} s in between");
    }
    assert!(!says(&|_| false));
}

/// A moment has to lie in the recovery window, and times to live count on from between it and now.
#[test]
fn moments_are_judged() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (start, now) = (at("2026-11-01T00:00:00Z"), at("2026-11-03T00:00:00Z"));
    // One restore to a moment, and what one of its checks comes to.
    let judged = |check, time: Timestamp, shift, start, peak, most, write_fence| {
        let instance = CloudInstance {
            address: "r-1.redis:6379".into(),
            architecture: "classic standard".into(),
            instance_class: "tair.rdb.1g".into(),
            engine_version: "7.0".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
            region: String::new(),
            access: Access::default(),
        };
        let facts = Facts::CloudRestore(Box::new(CloudRestore {
            instance_id: "r-1".into(),
            state: CloudState { instance, status: "Normal".into(), read_at: now },
            pending_rollback: None,
            filter: None,
            in_place: Ok(InPlace {
                remark: "it may refuse".into(),
                source: CloudSource::Moment { at: time, time_shift: shift, log_start: start },
                traffic: MeasuredWrites { peak, window_seconds: 300.0, delay_seconds: 60.0 },
                keys: None,
            }),
        }));
        let rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: most };
        let source = Source::Moment { restore_time: time, time_shift: shift };
        let act = Act::restore(source, write_fence);
        let checks = assess(&act, &facts, None, rules).unwrap().checks;
        checks.into_iter().find(|c| c.name == check).unwrap()
    };
    let restore = |time: &str, start| {
        let check = judged(CheckName::RestoreTime, at(time), None, start, Some(0.0), None, false);
        (check.status, check.detail)
    };
    assert_eq!(restore("2026-11-02T00:00:00Z", Some(start)).0, Status::Pass);
    assert_eq!(restore("2026-11-01T00:00:00Z", Some(start)).0, Status::Pass);
    assert_eq!(restore("2026-11-02T00:00:00Z", None).0, Status::Block);
    // Outside, the nearest moment that is in the window is named.
    for (time, near) in [
        ("2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z (after)"),
        ("2026-11-03T00:00:01Z", "2026-11-03T00:00:00Z (before)"),
        ("2026-11-02T00:00:00.500Z", "2026-11-02T00:00:00Z (before), 2026-11-02T00:00:01Z (after)"),
    ] {
        let (status, detail) = restore(time, Some(start));
        assert!(status == Status::Block && detail.ends_with(&format!("the nearest in it: {near}")), "{detail}");
    }
    // Between two seconds at an edge only one of them is in it; a start between two is told as the next.
    let odd = Some(at("2026-11-01T00:00:00.250Z"));
    let (_, detail) = restore("2026-11-01T00:00:00.500Z", odd);
    assert!(detail.ends_with("the nearest in it: 2026-11-01T00:00:01Z (after)"), "{detail}");
    // Further back than the cloud documents is the person's to try.
    let (status, detail) = restore("2026-10-26T23:59:59Z", Some(at("2026-10-01T00:00:00Z")));
    assert!(status == Status::Warn && detail.contains("7 days"), "{detail}");
    let judged = |check, time, shift, start, peak, most, write_fence| {
        judged(check, time, shift, start, peak, most, write_fence).status
    };
    let moment = at("2026-11-02T00:00:00Z");
    let shift = |time: &str| judged(CheckName::TimeShift, moment, Some(at(time)), Some(start), Some(0.0), None, false);
    assert_eq!((shift("2026-11-02T12:00:00Z"), shift("2026-11-01T12:00:00Z")), (Status::Pass, Status::Block));
    assert_eq!(shift("2026-11-03T00:00:01Z"), Status::Block);
    let traffic = |peak, most, fenced| judged(CheckName::WriteTraffic, moment, None, Some(start), peak, most, fenced);
    // Told to the person; blocked only where the operator says so.
    let (none, one) = (Some(0.0), Some(1.0));
    assert_eq!((traffic(none, None, false), traffic(one, None, false)), (Status::Pass, Status::Warn));
    assert_eq!((traffic(one, Some(0.0), false), traffic(one, Some(5.0), false)), (Status::Block, Status::Warn));
    assert_eq!(traffic(one, Some(0.0), true), Status::Warn);
    // What nobody knows is told, and blocks where there is a limit that it may be above.
    assert_eq!((traffic(None, None, false), traffic(None, Some(5.0), false)), (Status::Warn, Status::Block));
    assert_eq!(traffic(None, Some(5.0), true), Status::Warn);
}

/// An instance of another region than calls go to is refused, whatever is wanted of it. The words of its status have no letter case.
#[test]
fn an_instance_of_another_region_is_refused() {
    let judged = |region: &str, status: &str, deletion: bool| {
        let access = Access { region: "cn-hangzhou".into(), ..Access::default() };
        let (address, architecture) = ("r-1.redis:6379".into(), "classic standard".into());
        let (instance_class, engine_version, created_at) = (String::new(), String::new(), String::new());
        let region = region.into();
        let instance =
            CloudInstance { address, architecture, instance_class, engine_version, created_at, region, access };
        let state = CloudState { instance, status: status.into(), read_at: Timestamp::now() };
        let no = NotPossible { why: "it is a single node".into(), call: None };
        let (act, facts) = if deletion {
            let set = Ok(a_set(false).facts());
            let facts = CloudDeletion { state, set, refused: None, others: 1, dependents: Vec::new() };
            (Act::DeleteBackup { backup_id: "7".into() }, Facts::CloudDeletion(facts))
        } else {
            let facts = Facts::Clone(Box::new(CloneFacts { instance_id: "r-1".into(), state, order: Err(no) }));
            (Act::CreateInstanceFromBackup { order: wanted() }, facts)
        };
        let rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: None };
        let checks = assess(&act, &facts, None, rules).unwrap().checks;
        checks.into_iter().find(|check| check.name == CheckName::InstanceReady)
    };
    let ready = |region: &str, status: &str| judged(region, status, false).unwrap().status;
    assert_eq!(
        (ready("cn-hangzhou", "Normal"), ready("", "normal"), ready("", " NORMAL")),
        (Status::Pass, Status::Pass, Status::Pass)
    );
    for status in ["", "Changing", "Normal?", "正常", "BACKUPRECOVERING"] {
        assert_eq!(ready("", status), Status::Block, "{status}");
    }
    // A set may be deleted whatever the instance does, but not by calls to another region.
    assert!(judged("cn-hangzhou", "Changing", true).is_none());
    for deletion in [false, true] {
        let elsewhere = judged("cn-shanghai", "Normal", deletion).unwrap();
        assert!(elsewhere.status == Status::Block && elsewhere.detail.contains("[tair] region"), "{elsewhere:?}");
    }
}

/// What only other engines have is told beside the verdict, which it does not change: in the check, and in the question to the person.
#[test]
fn what_no_check_can_look_at_is_told() {
    let planned = |text: &str| {
        let act = Act::RestoreInstance {
            source: Source::Moment { restore_time: Timestamp::UNIX_EPOCH, time_shift: None },
            write_fence: false,
            source_instance_id: None,
            keys: Some(SomeKeys { filter_key: text.into(), add_prefix: None }),
        };
        let now = Timestamp::now();
        let instance = CloudInstance {
            address: "r-1.redis:6379".into(),
            architecture: "classic standard".into(),
            instance_class: String::new(),
            engine_version: String::new(),
            created_at: String::new(),
            region: String::new(),
            access: Access::default(),
        };
        let facts = Facts::CloudRestore(Box::new(CloudRestore {
            instance_id: "r-1".into(),
            state: CloudState { instance, status: "Normal".into(), read_at: now },
            pending_rollback: None,
            filter: Some(key_filter::for_cloud(text).unwrap()),
            in_place: Ok(InPlace {
                remark: "it may refuse".into(),
                source: CloudSource::Moment {
                    at: Timestamp::UNIX_EPOCH,
                    time_shift: None,
                    log_start: Some(Timestamp::UNIX_EPOCH),
                },
                traffic: MeasuredWrites { peak: Some(0.0), window_seconds: 300.0, delay_seconds: 60.0 },
                keys: None,
            }),
        }));
        let rules = Rules { confirmation: ConfirmationPolicy::Person, max_writes_per_second: None };
        let assessment = assess(&act, &facts, None, rules).unwrap();
        let check = assessment.checks.iter().find(|check| check.name == CheckName::FilterKey).unwrap().clone();
        let checks = assessment.checks.clone();
        let plan = Plan::new(act, "r-1", assessment, &checks, None, rules);
        (check, question(&plan, None, &plan.warnings))
    };
    let (check, question) = planned("user:1,(?=user:)user:2");
    assert!(check.status == Status::Pass && check.detail.contains("a look around"), "{check:?}");
    assert!(question.contains("a look around"), "{question}");
    let (check, question) = planned("session:*,(a)\\1");
    assert!(
        check.status == Status::Warn && check.detail.contains("glob") && check.detail.contains("a reference"),
        "{check:?}"
    );
    assert!(question.contains("glob") && question.contains("a reference"), "{question}");
    let (check, question) = planned("user:.*");
    assert!(check.status == Status::Pass && !question.contains("unchecked"), "{question}");
}

/// Figures that are missing, cannot be read, are old or have holes are not "no writes"; points that were measured and have no writes are.
#[test]
fn unknown_figures_are_not_zero() {
    let now: Timestamp = "2026-11-01T00:05:00Z".parse().unwrap();
    let from = traffic::looked_from(None, now);
    let measured = |reply: &str| {
        let reply = read_reply::<MonitorValues>(reply.as_bytes()).unwrap();
        traffic::measured(reply.monitor_history.as_ref(), from, now)
    };
    for unknown in [
        json!({}),
        json!({"MonitorHistory": ""}),
        json!({"MonitorHistory": "-"}),
        json!({"MonitorHistory": "{}"}),
        json!({"MonitorHistory": null}),
        json!({"MonitorHistory": []}),
        json!({"MonitorHistory": "{\"2026-11-01T00:04:00Z\":{\"PutQps\":\"50"}),
        json!({"MonitorHistory": {"2026-11-01T00:04:00Z": [{"PutQps": "500"}]}}),
        json!({"MonitorHistory": {"2026-11-01T00:04:00Z": {"PutQps": "1,500"}}}),
        json!({"MonitorHistory": {"2026-11-01T00:04:00Z": {"PutQps": null}}}),
        json!({"MonitorHistory": {"yesterday": {"UsedMemory": "1"}}}),
        json!({"MonitorHistory": {"2026-10-31T23:59:00Z": {"UsedMemory": "1"}}}),
        // One point does not speak for all the time; nor do points in which nothing was measured, or something else.
        json!({"MonitorHistory": {"2026-11-01T00:04:00Z": {"UsedMemory": "1"}}}),
        json!({"MonitorHistory": {"2026-11-01T00:04:00Z": {"PutQps": "3"}}}),
        json!({"MonitorHistory": {"2026-11-01T00:02:00Z": {}, "2026-11-01T00:04:00Z": {"UsedMemory": "1"}}}),
        json!({"MonitorHistory": {"2026-11-01T00:02:00Z": {"Keys": "7"}, "2026-11-01T00:04:00Z": {"Keys": "7"}}}),
        json!({"MonitorHistory": {"2026-11-01T00:00:00Z": {"UsedMemory": "1"}, "2026-11-01T00:04:00Z": {"UsedMemory": "1"}}}),
        // A figure that no server has says that nothing was measured.
        json!({"MonitorHistory": {"2026-11-01T00:02:00Z": {"PutQps": "-1"}, "2026-11-01T00:04:00Z": {"PutQps": "-1"}}}),
    ] {
        assert_eq!(measured(&unknown.to_string()).peak, None, "{unknown}");
    }
    let idle = json!({"MonitorHistory": {"2026-11-01T00:03:00Z": {"UsedMemory": "1"}, "2026-11-01T00:02:00Z": {"UsedMemory": "1"}}});
    assert_eq!((measured(&idle.to_string()).peak, measured(&idle.to_string()).delay_seconds), (Some(0.0), 120.0));
    let busy = json!({"MonitorHistory": {"2026-11-01T00:01:00Z": {"GetQps": "1"}, "2026-11-01T00:04:00Z": {"UsedMemory$db": "1", "PutQps$db": 3}}});
    assert_eq!((measured(&busy.to_string()).peak, measured(&busy.to_string()).delay_seconds), (Some(3.0), 60.0));
    // Half an hour since a plan, of which the last minute was measured.
    let minutes = |from: i64, to: i64| -> String {
        let at = |minute| (now - jiff::SignedDuration::from_mins(minute)).to_string();
        let points: serde_json::Map<String, Value> = (from..=to).map(|m| (at(m), json!({"UsedMemory": "1"}))).collect();
        json!({"MonitorHistory": points}).to_string()
    };
    let since = |reply: &str| {
        let reply = read_reply::<MonitorValues>(reply.as_bytes()).unwrap();
        traffic::measured(reply.monitor_history.as_ref(), now - jiff::SignedDuration::from_mins(30), now).peak
    };
    assert_eq!([since(&minutes(0, 1)), since(&minutes(0, 26)), since(&minutes(0, 28))], [None, None, Some(0.0)]);
}
