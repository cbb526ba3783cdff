//! A capture is a whole and valid RDB, needs only the rights of a replica, is never taken for a safe copy, and a source that
//! dies half way is never the end of the data.

use crate::redis::fixture::{KIND, capture, check_rdb, facts, fill};
use crate::support::{Redis, free_port, wait};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::endpoint::{Endpoint, TlsSettings};
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Framing};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;
use tair_backup_mcp::redis::resp::Value;
use tempfile::TempDir;

/// With the rights of a replica and no others, in both framings, a capture is a valid RDB.
#[tokio::test]
async fn capture_with_the_least_rights_in_both_framings() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    source.run(&["ACL", "SETUSER", "bk", "on", ">pw", "+psync", "+replconf", "+ping"]);
    let endpoint = Endpoint::parse(&format!("redis://bk:pw@127.0.0.1:{}", source.port)).unwrap();
    for (diskless, marked) in [("yes", true), ("no", false)] {
        source.run(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        let (data, framing, replid) = capture(&endpoint).await.unwrap();
        assert_eq!(matches!(framing, Framing::Mark(_)), marked);
        assert_eq!(replid, facts(&source).await.replid);
        check_rdb(&data);
    }
    assert!(matches!(
        capture(&Endpoint::parse(&format!("redis://bk:no@127.0.0.1:{}", source.port)).unwrap()).await,
        Err(RedisError::Auth { .. })
    ));
    source.run(&["ACL", "SETUSER", "bk", "-psync"]);
    let fault = Fault::from(capture(&endpoint).await.unwrap_err());
    assert_eq!(fault.code, "instance.denied");
    assert!(fault.hint.contains("+psync +replconf +ping"), "{}", fault.hint);
}

/// While a capture hangs on the source, WAIT counts no replica.
#[tokio::test]
async fn capture_does_not_satisfy_wait() {
    let source = Redis::start(KIND, &["--rdbcompression", "no"]);
    source.run(&["DEBUG", "POPULATE", "64", "big", "1000000"]);
    for diskless in ["yes", "no"] {
        source.run(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
        let mut piece = vec![0; 1 << 16];
        assert!(snapshot.read(&mut piece).await.unwrap() > 0);
        let mut c = source.conn().await;
        c.cmd_str(&["SET", "x", "1"]).await.unwrap();
        assert_eq!(c.cmd_str(&["WAIT", "1", "300"]).await.unwrap(), Value::Int(0));
        while snapshot.read(&mut piece).await.unwrap() > 0 {}
        c.cmd_str(&["SET", "x", "2"]).await.unwrap();
        assert_eq!(c.cmd_str(&["WAIT", "1", "300"]).await.unwrap(), Value::Int(0));
    }
}

/// A replica of the instance can be the source, on the same history; one without a link says so.
#[tokio::test]
async fn capture_from_a_replica() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    let replica = Redis::start(KIND, &[]);
    replica.run(&["REPLICAOF", "127.0.0.1", &source.port.to_string()]);
    let link = |replica: &Redis, status: &str| {
        let so = || (replica.info("master_link_status") == status).then_some(());
        wait(&format!("the link to be {status}"), Duration::from_secs(30), so);
    };
    link(&replica, "up");
    let (data, _, replid) = capture(&replica.endpoint()).await.unwrap();
    check_rdb(&data);
    assert_eq!(replid, facts(&source).await.replid);
    drop(source);
    link(&replica, "down");
    let error = capture(&replica.endpoint()).await.unwrap_err();
    assert!(matches!(error, RedisError::NoMasterLink { .. }), "{error}");
}

/// Over TLS with our own authority and a client certificate; without the authority nothing is sent.
#[tokio::test]
async fn capture_over_tls() {
    let dir = TempDir::new().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name);
    let port = free_port();
    let (port_text, cert, key, ca) = (port.to_string(), path("server.crt"), path("server.key"), path("ca.crt"));
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    let (cert, key, ca_text) = (text(&cert), text(&key), text(&ca));
    let source = Redis::start(
        KIND,
        &[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca_text,
            "--tls-auth-clients",
            "yes",
        ],
    );
    fill(&source).await;
    let mut endpoint = Endpoint::parse(&format!("rediss://127.0.0.1:{port}")).unwrap();
    let refused = capture(&endpoint).await.unwrap_err();
    assert!(matches!(refused, RedisError::Tls { .. }), "{refused}");
    let mut tls = TlsSettings {
        ca_file: Some(ca),
        cert_file: Some(path("client.crt")),
        key_file: Some(path("client.key")),
        ..TlsSettings::default()
    };
    endpoint.tls = Some(tls.clone());
    check_rdb(&capture(&endpoint).await.unwrap().0);
    tls.server_name = Some("elsewhere.example".into());
    endpoint.tls = Some(tls.clone());
    assert!(matches!(capture(&endpoint).await, Err(RedisError::Tls { .. })));
    tls.insecure_skip_verify = true;
    endpoint.tls = Some(tls);
    check_rdb(&capture(&endpoint).await.unwrap().0);
}

fn certificates(dir: &Path) {
    let script = r#"set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > ext
  openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.crt
done"#;
    let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("openssl must be on PATH");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// A source that dies half way is an interrupted capture, never a short one.
#[tokio::test]
async fn capture_of_a_dying_source_is_interrupted() {
    for diskless in ["yes", "no"] {
        let mut source = Redis::start(KIND, &["--rdbcompression", "no", "--repl-diskless-sync", diskless]);
        source.run(&["DEBUG", "POPULATE", "64", "big", "1000000"]);
        let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
        let mut piece = vec![0; 1 << 16];
        let mut got = snapshot.read(&mut piece).await.unwrap() as u64;
        assert!(got > 0);
        source.kill();
        let error = loop {
            match snapshot.read(&mut piece).await {
                Ok(n) => {
                    assert!(n > 0, "a dead source looked like the end");
                    got += n as u64;
                }
                Err(error) => break error,
            }
        };
        let RedisError::Interrupted { received, .. } = error else { panic!("{error}") };
        assert_eq!(received, got);
        assert_eq!(Fault::from(error).code, "capture.interrupted");
    }
}
