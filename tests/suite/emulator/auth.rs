//! Authentication by the emulator: both signatures are accepted, and each refusal has the cloud's code and message.

use crate::support::emulator::{EVER, Emulator, SECRET, Signing};
use crate::support::{Bench, Redis, finish, free_port};
use jiff::{SignedDuration, Timestamp};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

fn stage() -> (Redis, Bench) {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    (redis, bench)
}

/// V3 and V1, POST and GET, in the query and in a form: each is admitted, once.
#[test]
fn every_way_to_sign_is_admitted_once() {
    let (_redis, bench) = stage();
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(emulator.announced, format!("emulating 1 instances at http://127.0.0.1:{}\n", emulator.port));
    let params = [("InstanceId", "orders"), ("Unknown", "h.*llo,user:[0-9]+ ~key/中")];
    for (method, older, form) in [
        ("POST", false, false),
        ("GET", false, false),
        ("POST", false, true),
        ("POST", true, false),
        ("GET", true, false),
        ("POST", true, true),
    ] {
        let by = Signing { older, form, ..Signing::new() };
        let send = || emulator.signed(method, "DescribeBackupPolicy", &params, &by).unwrap();
        let first = send();
        assert_eq!(first.ok()["PreferredBackupTime"], "02:00Z-03:00Z", "{method} {older} {form}");
        assert_eq!(first.header("x-acs-request-id"), first.json()["RequestId"].as_str());
        assert_eq!(first.header("content-type"), Some("application/json;charset=utf-8"));
        assert_eq!(send().refused(), (400, "SignatureNonceUsed".into()), "{method} {older} {form}");
    }
}

/// Wrong secrets, keys, dates, versions, tokens and actions are refused, each with the cloud's code.
#[test]
fn what_the_gateway_refuses() {
    let (_redis, bench) = stage();
    let emulator = Emulator::start(&bench, &[]);
    let now = Timestamp::now();
    for older in [false, true] {
        let of = |change: fn(&mut Signing)| {
            let mut by = Signing { older, ..Signing::new() };
            change(&mut by);
            emulator.signed("POST", "DescribeRegions", &[], &by).unwrap().refused()
        };
        assert_eq!(of(|by| by.secret = "another".into()), (400, "SignatureDoesNotMatch".into()));
        assert_eq!(of(|by| by.key = "nobody".into()), (404, "InvalidAccessKeyId.NotFound".into()));
        assert_eq!(of(|by| by.version = "2014-05-26".into()), (400, "InvalidVersion".into()));
        let token = "InvalidSecurityToken.MismatchWithAccessKey";
        assert_eq!(of(|by| by.token = Some("tok".into())), (400, token.into()));
        for minutes in [-16, 16] {
            let date = now + SignedDuration::from_mins(minutes);
            let by = Signing { older, date, ..Signing::new() };
            let reply = emulator.signed("POST", "DescribeRegions", &[], &by).unwrap();
            assert_eq!(reply.refused(), (400, "InvalidTimeStamp.Expired".into()), "{minutes}");
        }
        for minutes in [-14, 14] {
            let date = now + SignedDuration::from_mins(minutes);
            let by = Signing { older, date, ..Signing::new() };
            emulator.signed("POST", "DescribeRegions", &[], &by).unwrap().ok();
        }
    }
    // A wrong signature does not use up the nonce of a right one.
    let right = Signing::new();
    let wrong = Signing { secret: "another".into(), ..right.clone() };
    emulator.signed("POST", "DescribeRegions", &[], &wrong).unwrap().refused();
    emulator.signed("POST", "DescribeRegions", &[], &right).unwrap().ok();

    let unknown = emulator.call("FlushInstance", &[("InstanceId", "orders")]);
    assert_eq!(unknown.refused(), (404, "InvalidAction.NotFound".into()));
    assert_eq!(unknown.json()["Message"], "Specified api is not found, please check your url and method.");
    let cluster = [&[("RegionId", "cn-beijing"), ("InstanceId", "orders")], &EVER[..]].concat();
    assert_eq!(emulator.call("DescribeClusterBackupList", &cluster).refused().1, "InvalidAction.NotFound");
    let lock = emulator.get("LockDBInstanceWrite", &[("DBInstanceId", "orders")]);
    assert_eq!(lock.refused().1, "InvalidAction.NotFound");
    let missing = emulator.call("DescribeBackupPolicy", &[]);
    assert_eq!(missing.refused(), (400, "MissingInstanceId".into()));
    assert_eq!(missing.json()["Message"], "InstanceId is mandatory for this action.");
    let nobody = emulator.call("DescribeBackupPolicy", &[("InstanceId", "order")]);
    assert_eq!(nobody.refused(), (404, "InvalidInstanceId.NotFound".into()));
    assert_eq!(emulator.raw("GET", "/else", &[emulator.host()], b"").unwrap().refused().0, 404);
    // Fault control is not switched on.
    for path in ["/faults", "/mishaps"] {
        assert_eq!(emulator.raw("GET", path, &[emulator.host()], b"").unwrap().refused().0, 404, "{path}");
    }
}

/// A temporary key needs its token, and no other.
#[test]
fn only_the_token_of_the_key_is_accepted() {
    let (_redis, bench) = stage();
    let emulator = Emulator::start(&bench, &["--security-token", "tok=="]);
    for older in [false, true] {
        let with = |token: Option<&str>| {
            let by = Signing { older, token: token.map(str::to_owned), ..Signing::new() };
            emulator.signed("POST", "DescribeRegions", &[], &by).unwrap()
        };
        with(Some("tok==")).ok();
        assert_eq!(with(None).refused(), (400, "MissingSecurityToken".into()));
        assert_eq!(with(Some("tok")).refused().1, "InvalidSecurityToken.MismatchWithAccessKey");
    }
}

/// Garbage, oversized heads and bodies, and silent connections do not stop the emulator.
#[test]
fn garbage_does_not_stop_the_emulator() {
    let (_redis, bench) = stage();
    let emulator = Emulator::start(&bench, &[]);
    let mut silent = TcpStream::connect(("127.0.0.1", emulator.port)).unwrap();
    silent.write_all(b"POST / HT").unwrap();
    for garbage in [&b"\0\0\0\0\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut tcp = TcpStream::connect(("127.0.0.1", emulator.port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        tcp.write_all(garbage).unwrap();
        // An answer or an end, and not silence until the deadline.
        match tcp.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("{garbage:?}: {e}"),
        }
    }
    let long = [emulator.host(), ("x-long".to_owned(), "a".repeat(1 << 20))];
    let reply = emulator.raw("GET", "/", &long, b"").map(|a| a.status);
    assert_eq!(reply, Some(431));
    let reply = emulator.raw("POST", "/", &[emulator.host()], &vec![b'a'; 2 << 20]);
    assert!(reply.is_none_or(|t| t.status == 413));
    let odd = [emulator.host(), ("authorization".to_owned(), "ACS3-HMAC-SHA256 Credential=,,=".to_owned())];
    assert_eq!(emulator.raw("POST", "/?%zz=%&&=", &odd, b"").unwrap().refused().1, "IncompleteSignature");
    emulator.call("DescribeRegions", &[]).ok();
    assert_eq!(emulator.interrupt(), Some(0));
    // SIGTERM, as from service managers.
    assert_eq!(Emulator::start(&bench, &[]).end("-TERM").0, Some(0));
}

/// Only loopback is listened on, and one process serves a home; a violation is refused, and the secret never printed.
#[test]
fn the_emulator_listens_on_loopback_and_once_a_home() {
    let (_redis, bench) = stage();
    let run = |more: &[&str]| {
        let mut command = bench.command(&["emulate", "--access-key-id", "id", "--access-key-secret", SECRET]);
        let done = finish(command.args(more).spawn().unwrap());
        assert!(!format!("{done:?}").contains(SECRET), "{done:?}");
        done
    };
    let reply = run(&["--listen", &format!("0.0.0.0:{}", free_port())]);
    assert!(reply.code == 3 && reply.err.contains("[emulator.not_loopback]"), "{reply:?}");
    let reply = run(&["--listen", "127.0.0.1:0", "--fault", "throtle,action=CreateBackup"]);
    assert!(reply.code == 2 && reply.err.contains("did you mean throttle?"), "{reply:?}");
    let emulator = Emulator::start(&bench, &["--listen", "0.0.0.0:0", "--listen-beyond-loopback"]);
    assert!(emulator.announced.contains("http://0.0.0.0:"), "{}", emulator.announced);
    emulator.call("DescribeRegions", &[]).ok();
    let reply = run(&["--listen", "127.0.0.1:0"]);
    assert!(reply.code == 2 && reply.err.contains("[emulator.running]"), "{reply:?}");
    drop(emulator);
    let reply = bench.run(&["emulate", "--help"]);
    for needle in ["--fault-control", "cloud_native", "retry_after_ms", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"] {
        assert!(reply.out.contains(needle), "{needle}: {}", reply.out);
    }
}

/// With `--read-only` calls may read and change nothing, as those of a RAM user without write permissions.
#[test]
fn read_only_holds_for_signed_callers() {
    let (_redis, bench) = stage();
    let emulator = Emulator::start_with(&bench, &["--read-only"], &[]);
    emulator.call("DescribeBackupPolicy", &[("InstanceId", "orders")]).ok();
    for action in ["CreateBackup", "RestoreInstance", "DeleteBackup", "ModifyBackupPolicy", "LockDBInstanceWrite"] {
        let reply = emulator.call(action, &[("InstanceId", "orders"), ("DBInstanceId", "orders"), ("BackupId", "1")]);
        assert_eq!(reply.refused(), (403, "Forbidden.RAM".into()), "{action}");
        assert_eq!(reply.json()["AccessDeniedDetail"]["AuthAction"], "-", "{action}");
    }
    assert!(bench.backups().is_empty());
}

/// An unknown key or value in the configuration is refused with the nearest known one.
#[test]
fn the_configuration_is_read_strictly() {
    let redis = Redis::start("redis-7.0", &[]);
    let with = |emulate: &str| {
        let bench = Bench::new(&crate::support::unattended(&redis, &format!("emulate = {{ {emulate} }}")));
        let reply = bench.run(&["describe-instances"]);
        assert_eq!(reply.code, 2, "{reply:?}");
        reply.err
    };
    assert!(with("generatoin = \"classic\"").contains("Did you mean `generation`?"));
    assert!(with("generation = \"cloud-native\"").contains("Did you mean `cloud_native`?"));
    assert!(with("spare = 1").contains("invalid type"));
}
