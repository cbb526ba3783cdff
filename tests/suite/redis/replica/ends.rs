//! A capture ends at its mark wherever reads fall and whatever stands behind it, and a source that goes on without sending data does
//! not keep a capture for ever.

use crate::support::source::{FakeSource, MARK, marked, until_left};
use crate::vault::RDB;
use std::io::Write;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Extent};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;

const AT_ONCE: Duration = Duration::ZERO;
/// What a source may send behind its mark: nothing, one empty line or those of a pause, the stream.
const BEHIND: [&[u8]; 5] = [b"", b"\n", b"\n\n\n\n\r\n", SELECT, b"\n\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"];
const SELECT: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

/// Reads to the end, `room` bytes at a time.
async fn read(snapshot: &mut Snapshot, room: usize) -> Result<Vec<u8>, RedisError> {
    let (mut data, mut piece) = (Vec::new(), vec![0; room]);
    loop {
        match snapshot.read(&mut piece).await? {
            0 => return Ok(data),
            n => data.extend_from_slice(&piece[..n]),
        }
    }
}

/// Whether data, mark and what follows come in one write, byte by byte or cut within the mark, and however much is read at once, the
/// mark is the end and nothing behind it is data.
#[tokio::test]
async fn ends_at_its_mark_wherever_reads_fall() {
    let wanted = [RDB, MARK].concat();
    for behind in BEHIND {
        let all = [RDB, MARK, behind].concat();
        let cut = RDB.len() + 17;
        let ways: [Vec<Vec<u8>>; 4] = [
            vec![all.clone()],
            all.iter().map(|b| vec![*b]).collect(),
            vec![all[..cut].to_vec(), all[cut..].to_vec()],
            vec![RDB.to_vec(), all[RDB.len()..].to_vec()],
        ];
        for pieces in ways {
            let source = FakeSource::sending(pieces.clone(), AT_ONCE);
            for room in [1, 7, 39, 40, 41, 1 << 16] {
                let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
                let data = read(&mut snapshot, room).await.unwrap();
                assert_eq!(data, wanted, "{} writes, reads of {room}, behind: {behind:?}", pieces.len());
                assert!(snapshot.framing.ends(RDB.len() as u64, &data[RDB.len()..]));
                assert_eq!(snapshot.read(&mut [0; 9]).await.unwrap(), 0, "it stays ended");
            }
        }
    }
}

/// What was read with the mark is not lost to the stream: it has the offsets that it would have had.
#[tokio::test]
async fn the_stream_goes_on_behind_the_mark() {
    for behind in [SELECT, BEHIND[4]] {
        for room in [40, 1 << 16] {
            let source = FakeSource::sending(vec![[RDB, MARK, behind].concat()], AT_ONCE);
            let options = CaptureOptions { extent: Extent::SnapshotAndStream, ..CaptureOptions::default() };
            let mut snapshot = Snapshot::open(&source.endpoint(), options).await.unwrap();
            read(&mut snapshot, room).await.unwrap();
            let (mut stream, mut bytes) = (snapshot.into_follow().unwrap(), Vec::new());
            while bytes.len() < SELECT.len() {
                bytes.extend(stream.next().await.unwrap());
            }
            assert_eq!((&bytes[..SELECT.len()], stream.offset()), (SELECT, 100 + bytes.len() as u64));
        }
    }
}

/// Much of a mark is none, nor is one with a line within.
#[tokio::test]
async fn what_is_no_mark_is_no_end() {
    let near = [RDB, &MARK[..39], b"\n", &MARK[..20], b"\n", &MARK[20..]].concat();
    let source = FakeSource::start(
        |_| None,
        move |tcp| {
            marked(tcp)?;
            tcp.write_all(&near)
        },
    );
    let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
    let error = read(&mut snapshot, 64).await.unwrap_err();
    assert!(matches!(error, RedisError::Interrupted { .. }), "{error}");
}

/// Empty lines or PINGs instead of the answer to PSYNC, before the data or in the middle of it: the capture ends when its setting
/// says, and names that setting.
#[tokio::test]
async fn signs_of_life_without_data_end_the_capture() {
    let ping: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    let resync: &[u8] = b"+FULLRESYNC 0123456789abcdef0123456789abcdef01234567 100\r\n";
    let begun = [resync, b"$EOF:", MARK, b"\r\n", &RDB[..20]].concat();
    let length = [resync, b"$1000\r\n", &RDB[..20]].concat();
    for (first, sign) in
        [(Vec::new(), &b"\n"[..]), (resync.to_vec(), b"\n"), (begun.clone(), b"\n"), (begun, ping), (length, b"\n")]
    {
        let said = String::from_utf8_lossy(&first).into_owned();
        let source = FakeSource::start(
            |_| None,
            move |tcp| {
                tcp.write_all(&first)?;
                loop {
                    tcp.write_all(sign)?;
                    std::thread::sleep(Duration::from_millis(250));
                }
            },
        );
        let options = CaptureOptions { no_data: Duration::from_secs(1), ..CaptureOptions::default() };
        let begun = Instant::now();
        let error = match Snapshot::open(&source.endpoint(), options).await {
            Ok(mut snapshot) => read(&mut snapshot, 1 << 16).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, RedisError::NoData { .. }), "{said}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{said}: {:?}", begun.elapsed());
        let fault = Fault::from(error);
        assert_eq!(fault.code, "capture.no_data");
        assert!(fault.hint.contains("no_data_seconds"), "{}", fault.hint);
    }
}

/// A slow source is no silent one: data that trickles in for longer than the setting, and a pause between, are taken to the end.
#[tokio::test]
async fn slow_data_is_data() {
    let data = vec![b'x'; 4000];
    let mut pieces: Vec<Vec<u8>> = data.chunks(100).map(<[u8]>::to_vec).collect();
    pieces.push(MARK.to_vec());
    let source = FakeSource::sending(pieces, Duration::from_millis(50));
    let options = CaptureOptions { no_data: Duration::from_secs(1), ..CaptureOptions::default() };
    let mut snapshot = Snapshot::open(&source.endpoint(), options).await.unwrap();
    assert_eq!(read(&mut snapshot, 1 << 16).await.unwrap(), [data, MARK.to_vec()].concat());
}

/// What a source said and did when it was asked what it is, and the announcement that it got.
#[tokio::test]
async fn the_version_is_announced_where_it_decides_the_format() {
    let info = |version: &str| {
        let text = format!("# Server\r\n{version}\r\n");
        format!("${}\r\n{text}", text.len())
    };
    let hello = |server: &str, version: &str| format!("*4\r\n+server\r\n+{server}\r\n+version\r\n+{version}");
    let unknown = "-ERR unknown command".to_owned();
    let denied = "-NOPERM User bk has no permissions".to_owned();
    let (no, yes) = (None, Some("9.1.0"));
    let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:";
    for (info, hello, announced) in [
        (info("redis_version:7.0.15"), unknown.clone(), no),
        (info("redis_version:8.2.3"), hello("redis", "8.2.3"), no),
        (info(&format!("{valkey}8.1.1")), hello("valkey", "8.1.1"), no),
        (info(&format!("{valkey}9.0.0")), unknown.clone(), yes),
        (info(&format!("{valkey}10.2.0")), unknown.clone(), yes),
        // A user with the least rights may still say HELLO.
        (denied.clone(), hello("redis", "7.2.4"), no),
        (denied.clone(), hello("valkey", "9.1.2"), yes),
        // Who tells nothing about itself may be such a one.
        (denied, unknown.clone(), yes),
        (unknown.clone(), unknown, yes),
    ] {
        let case = format!("{info} {hello}");
        let source = FakeSource::start(
            move |words| match words[0].as_str() {
                "INFO" => Some(info.clone()),
                "HELLO" => Some(hello.clone()),
                _ => None,
            },
            |tcp| {
                marked(tcp)?;
                tcp.write_all(&[RDB, MARK].concat())?;
                until_left(tcp)
            },
        );
        let snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
        assert_eq!(snapshot.source.announced, announced, "{case}");
        let calls = source.received();
        let of_version: Vec<_> = calls.iter().filter(|c| c.iter().any(|w| w == "version")).collect();
        // A call of its own, behind the capabilities and before PSYNC.
        let wanted: Vec<Vec<&str>> = announced.iter().map(|v| vec!["REPLCONF", "version", v]).collect();
        assert_eq!(of_version, wanted.iter().collect::<Vec<_>>(), "{case}");
        let at = |word: &str| calls.iter().position(|c| c.iter().any(|w| w == word));
        assert!(announced.is_none() || at("capa") < at("version") && at("version") < at("PSYNC"), "{calls:?}");
    }
}

/// A source that does not know the option is captured all the same, and nothing is said to have been announced.
#[tokio::test]
async fn a_refused_announcement_is_none() {
    let refuses = |words: &[String]| {
        (words.len() > 1 && words[1] == "version").then(|| "-ERR Unrecognized REPLCONF option: version".into())
    };
    let source = FakeSource::start(refuses, |tcp| {
        marked(tcp)?;
        tcp.write_all(&[RDB, MARK].concat())
    });
    let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
    assert_eq!(snapshot.source.announced, None);
    assert_eq!(read(&mut snapshot, 1 << 16).await.unwrap().len(), RDB.len() + 40);
}

/// Who hangs up behind `+FULLRESYNC`, before the data or at its first byte, may have failed in two ways, and both are said, with the
/// version that the format was chosen by.
#[tokio::test]
async fn a_hang_up_names_its_causes() {
    for (valkey, version) in [(true, "version 9.1.0"), (false, "no version")] {
        for marks in [false, true] {
            let info = if valkey { "valkey_version:9.1.2\r\n" } else { "redis_version:7.0.15\r\n" };
            let source = FakeSource::start(
                move |words| (words[0] == "INFO").then(|| format!("${}\r\n{info}", info.len())),
                move |tcp| match marks {
                    true => marked(tcp),
                    false => tcp.write_all(b"+FULLRESYNC 0123456789abcdef0123456789abcdef01234567 100\r\n"),
                },
            );
            let error = match Snapshot::open(&source.endpoint(), CaptureOptions::default()).await {
                Ok(mut snapshot) => read(&mut snapshot, 64).await.unwrap_err(),
                Err(error) => error,
            };
            let fault = Fault::from(error);
            assert_eq!(fault.code, "capture.interrupted");
            for part in ["right after +FULLRESYNC", "fork", "RDB version", version] {
                assert!(fault.message.contains(part), "{part}: {}", fault.message);
            }
        }
    }
}

/// Each state of a source has its own words, its own code and its own next step; where waiting helps, the fault says so.
#[tokio::test]
async fn each_refusal_has_its_own_words() {
    for (command, answer, code, part, passes) in [
        ("PING", "-LOADING Redis is loading the dataset in memory", "instance.busy_loading", "loaded", true),
        (
            "PING",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "instance.master_down",
            "link",
            true,
        ),
        (
            "PSYNC",
            "-NOMASTERLINK Can't SYNC while not connected with my master",
            "instance.no_master_link",
            "link",
            true,
        ),
        (
            "PING",
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL",
            "instance.busy_script",
            "SCRIPT KILL",
            true,
        ),
        ("PING", "-ERR max number of clients reached", "instance.max_clients", "maxclients", true),
        (
            "PING",
            "-DENIED Redis is running in protected mode because protected mode is enabled",
            "instance.protected_mode",
            "password",
            false,
        ),
        (
            "PSYNC",
            "-ERR unknown command 'PSYNC', with args beginning with: '?' '-1'",
            "instance.no_replication",
            "PSYNC",
            false,
        ),
        ("REPLCONF", "-ERR unknown command `REPLCONF`, with args", "instance.no_replication", "REPLCONF", false),
        ("PSYNC", "-NOPERM User bk has no permissions to run the 'psync' command", "instance.denied", "+psync", false),
        ("PING", "-NOAUTH Authentication required.", "instance.auth", "password", false),
    ] {
        let source = FakeSource::start(move |words| (words[0] == command).then(|| answer.to_owned()), |_| Ok(()));
        let error = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap_err();
        assert_eq!(error.passes(), passes, "{error:?}");
        let fault = Fault::from(error);
        assert_eq!((fault.code, fault.retry_after.is_some()), (code, passes), "{answer}");
        assert!(fault.hint.contains(part), "{code}: {}", fault.hint);
    }
}
