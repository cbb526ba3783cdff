//! Scratch servers load a file and say what is in it, or end with a reason; their directory is gone in either case.

use crate::redis::values::{entry, rdb, string};
use crate::support::{KINDS, program};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tair_backup_mcp::redis::rdb::compat::{Flavor, Server};
use tair_backup_mcp::redis::scratch::program::Program;
use tair_backup_mcp::redis::scratch::{ScratchDir, ScratchError, ScratchServer};

async fn start(kind: &str, parent: &Path, bytes: &[u8]) -> Result<ScratchServer, ScratchError> {
    let dir = ScratchDir::new(parent).unwrap();
    dir.dump().unwrap().write_all(bytes).unwrap();
    let server = Server { flavor: Flavor::Redis, major: 7, minor: 0 };
    let program = Program { path: program(kind, "server"), server, name: kind.to_owned() };
    ScratchServer::start(&program, dir, 20, Duration::from_secs(30)).await
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_file_is_loaded_or_the_reason_is_told_and_nothing_stays() {
    let parent = tempfile::tempdir().unwrap();
    let key = |name: &str| entry(0, name, &string(b"v"));
    let good = [&key("a")[..], &[254, 19], &key("b"), &key("c")].concat();
    for kind in KINDS {
        let server = start(kind, parent.path(), &rdb("REDIS0009", &good, true)).await.unwrap();
        assert_eq!(
            server.counts().await.unwrap().into_iter().collect::<Vec<_>>(),
            [(0, (1, 0)), (19, (2, 0))],
            "{kind}"
        );
        assert_eq!(names(parent.path()), 1);
        server.stop().await;
        assert_eq!(names(parent.path()), 0, "{kind}");

        let twice = rdb("REDIS0009", &[key("a"), key("a")].concat(), true);
        match start(kind, parent.path(), &twice).await {
            Err(ScratchError::Died { code, log }) => assert!(code != "0" && !log.is_empty(), "{kind}: {code}: {log}"),
            other => panic!("{kind}: {other:?}"),
        }
        // Its own check of the file passes, so that it ends as if it had been asked to.
        let library = [&[245][..], &string(b"#!lua name=lib\nthis is no code")].concat();
        let started = start(kind, parent.path(), &rdb("REDIS0010", &library, true)).await;
        assert!(matches!(started, Err(ScratchError::Died { .. })), "{kind}: {started:?}");
        assert_eq!(names(parent.path()), 0, "{kind}");
    }
}

/// What a crash of the machine has left goes with the next scratch server; what is used, is young or is not ours stays.
#[test]
fn what_nobody_uses_is_swept() {
    let parent = tempfile::tempdir().unwrap();
    let age = |dir: &Path| {
        let then = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::open(dir).unwrap().set_modified(then).unwrap();
    };
    let used = ScratchDir::new(parent.path()).unwrap();
    let used_path = std::fs::read_dir(parent.path()).unwrap().next().unwrap().unwrap().path();
    let [left, young, theirs] = ["0123456789ab", "ba9876543210", "somebody-else"].map(|n| parent.path().join(n));
    for dir in [&left, &young, &theirs] {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(dir.join("dump.rdb"), b"REDIS").unwrap();
    }
    for dir in [&used_path, &left, &theirs] {
        age(dir);
    }
    let next = ScratchDir::new(parent.path()).unwrap();
    assert_eq!([&used_path, &left, &young, &theirs].map(|dir| dir.exists()), [true, false, true, true]);
    drop(used);
    assert!(!used_path.exists());
    drop(next);
    assert_eq!(names(parent.path()), 2);
}

#[test]
fn a_path_too_long_for_a_socket_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let far = parent.path().join("d".repeat(120));
    let why = ScratchDir::new(&far).unwrap_err().to_string();
    assert!(why.contains("too long") && !far.exists(), "{why}");
}
