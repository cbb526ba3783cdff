//! What the cloud's metadata refuses is refused, whatever it is refused by; what it takes is taken; and older clients get XML.

use crate::support::emulator::{EVER, Emulator, Signing};
use crate::support::{Bench, Redis};
use jiff::{SignedDuration, Timestamp};

fn stage() -> (Redis, Redis, Bench) {
    let (source, spare) = (Redis::start("redis-7.0", &[]), Redis::start("redis-7.0", &[]));
    let instance = |id: &str, redis: &Redis, more: &str| {
        format!(
            "[[instance]]\nid = \"{id}\"\nurl = \"{}\"\nemulate = {{ generation = \"cloud_native\", flashback = true{more} }}\n",
            redis.url()
        )
    };
    let config = format!("{}{}", instance("orders", &source, ""), instance("spare", &spare, ", spare = true"));
    let bench = Bench::new(&config);
    (source, spare, bench)
}

/// Every parameter with a list of values takes each of them and nothing else.
#[test]
fn values_are_those_of_the_metadata() {
    let (_source, _spare, bench) = stage();
    let emulator = Emulator::start(&bench, &[]);
    let set = emulator.backup("orders")["BackupId"].to_string();
    let now = Timestamp::now();
    let at = |minutes: i64, form: &str| (now + SignedDuration::from_mins(minutes)).strftime(form).to_string();
    let (from, to) = (at(-5, "%Y-%m-%dT%H:%M:%SZ"), at(0, "%Y-%m-%dT%H:%M:%SZ"));
    let monitor = [("StartTime", from.as_str()), ("EndTime", to.as_str()), ("IntervalForHistory", "01m")];
    let order = [
        ("RegionId", "cn-beijing"),
        ("SrcDBInstanceId", "orders"),
        ("BackupId", set.as_str()),
        ("InstanceClass", "tair.rdb.1g"),
        ("InstanceType", "tair_rdb"),
        ("VpcId", "vpc-1"),
        ("VSwitchId", "vsw-1"),
        ("ChargeType", "PostPaid"),
        ("DryRun", "true"),
    ];
    let classic = [&order[..4], &[("InstanceType", "Redis"), ("ChargeType", "PostPaid"), ("DryRun", "true")]].concat();
    let prepaid = [&classic[..], &[("ChargeType", "PrePaid")]].concat();
    let of = [("InstanceId", "orders")];
    let policy = [&of[..], &[("PreferredBackupTime", "03:00Z-04:00Z"), ("PreferredBackupPeriod", "Monday")]].concat();
    let listed = [&of[..], &EVER[..]].concat();
    let monitored = [&of[..], &monitor[..]].concat();
    let tasks = [("FromStartTime", from.as_str()), ("ToStartTime", to.as_str())];
    let later = at(5, "%Y-%m-%dT%H:%MZ");
    let scm: Vec<_> = order.iter().filter(|(name, _)| *name != "InstanceClass").copied().collect();
    let scm = [&scm[..], &[("InstanceClass", "tair.scm.standard.1m.4d")]].concat();
    let (minute, seconds) = (at(-5, "%Y-%m-%dT%H:%MZ"), at(-5, "%Y-%m-%dT%H:%M:%SZ"));
    for (action, base, name, right, wrong) in [
        ("DescribeInstances", &[][..], "InstanceType", "tair_rdb", "rubbish"),
        ("DescribeInstances", &[], "ArchitectureType", "rwsplit", "Cluster"),
        ("DescribeInstances", &[], "EngineVersion", "7.0", "9.9"),
        ("DescribeInstances", &[], "PageSize", "1000", "1001"),
        ("DescribeInstances", &[], "InstanceStatus", "BackupRecovering", "Recovering"),
        ("DescribeInstances", &[], "GlobalInstance", "false", "some"),
        ("DescribeHistoryTasks", &tasks, "FromStartTime", &seconds, &minute),
        ("DescribeHistoryTasks", &tasks, "ToStartTime", &to, &later),
        ("DescribeHistoryTasks", &tasks, "Status", "Running,Succeed", "Running,Done"),
        ("DescribeBackups", &listed, "PageSize", "1000", "999"),
        ("DescribeBackups", &listed, "NeedAof", "1", "yes"),
        ("DescribeBackupTasks", &of, "BackupJobId", "17", "-1"),
        ("DescribeBackupTasks", &of, "BackupJobId", "17", "+1"),
        ("DescribeBackupTasks", &of, "JobMode", "Manual", "manual"),
        ("DescribeHistoryMonitorValues", &monitored, "IntervalForHistory", "60m", "7d"),
        ("DescribeHistoryMonitorValues", &monitored, "NodeRole", "MASTER", "SLAVE"),
        ("DescribeHistoryMonitorValues", &monitored, "StartTime", &seconds, &minute),
        ("ModifyBackupPolicy", &policy, "EnableBackupLog", "1", "2"),
        ("CreateTairInstance", &order, "InstanceType", "tair_rdb", "Memcache"),
        ("CreateTairInstance", &scm, "InstanceType", "tair_scm", "tair_rdb"),
        ("CreateTairInstance", &order, "InstanceClass", "tair.rdb.with.proxy.2g", "nonsense"),
        ("CreateTairInstance", &order, "InstanceClass", "tair.rdb.2g", "tair."),
        ("CreateTairInstance", &order, "InstanceClass", "tair.rdb.2g", "tair.scm.standard.1m.4d"),
        ("CreateTairInstance", &order, "EngineVersion", "7.0", "banana"),
        ("CreateTairInstance", &order, "Storage", "60", "x"),
        ("CreateTairInstance", &order, "Storage", "60", "0"),
        ("CreateTairInstance", &order, "RecoverConfigMode", "whitelist,account", "whitelist,all"),
        ("CreateTairInstance", &order, "ShardType", "STAND_ALONE", "double"),
        ("CreateTairInstance", &order, "ShardCount", "2", "0"),
        ("CreateTairInstance", &order, "Port", "6379", "80"),
        ("CreateTairInstance", &order, "AutoPay", "true", "maybe"),
        ("CreateTairInstance", &order, "RegionId", "cn-shanghai", "mars"),
        ("CreateInstance", &classic, "InstanceType", "Redis", "tair_rdb"),
        ("CreateInstance", &classic, "EngineVersion", "5.0", "5"),
        ("CreateInstance", &classic, "Capacity", "4096", "1"),
        ("CreateInstance", &prepaid, "Period", "12", "7000"),
    ] {
        let call = |value: &str| {
            let mut params: Vec<(&str, &str)> = base.iter().filter(|(other, _)| *other != name).copied().collect();
            // The later of two charge types counts.
            if params.contains(&("ChargeType", "PrePaid")) {
                params.retain(|pair| *pair != ("ChargeType", "PostPaid"));
            }
            params.push((name, value));
            emulator.call(action, &params)
        };
        let (taken, refused) = (call(right), call(wrong));
        let fine = taken.status == 200 || taken.refused() == (400, "DryRunOperation".into());
        assert!(fine, "{action} {name}={right}: {}", taken.text());
        assert!((400..500).contains(&refused.status), "{action} {name}={wrong}: {}", refused.text());
        assert_ne!(refused.refused().1, "DryRunOperation", "{action} {name}={wrong}");
    }
}

/// A call signed the older way that says no format is answered in XML, as its refusal is; and nothing else is.
#[test]
fn the_older_way_answers_in_xml() {
    let (_source, _spare, bench) = stage();
    let emulator = Emulator::start(&bench, &[]);
    let ask = |action: &str, older: bool, format: Option<&'static str>| {
        let by = Signing { older, format, ..Signing::new() };
        emulator.signed("GET", action, &[], &by).unwrap()
    };
    for format in [None, Some("XML"), Some("xml")] {
        let reply = ask("DescribeRegions", true, format);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/xml;charset=utf-8")));
        let text = reply.text();
        assert!(text.contains("<DescribeRegionsResponse>") && text.contains("<RegionIds><KVStoreRegion><"), "{text}");
        let refused = ask("Nope", true, format);
        assert_eq!((refused.status, refused.header("content-type")), (404, Some("text/xml;charset=utf-8")));
        assert!(refused.text().contains("<Error>") && refused.text().contains("<Code>InvalidAction.NotFound</Code>"));
    }
    for (older, format) in [(true, Some("JSON")), (true, Some("json")), (false, None)] {
        assert!(ask("DescribeRegions", older, format).ok()["RegionIds"].is_object());
    }
}
