//! A connection that failed half way is of no more use and says so; one that cannot be opened says why, in words of its own.

use crate::redis::fixture::KIND;
use crate::support::source::FakeSource;
use crate::support::{Redis, free_port};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::endpoint::{Endpoint, TlsSettings};
use tair_backup_mcp::redis::error::{RedisError, TlsProblem};
use tempfile::TempDir;

/// A call that is dropped or late leaves the connection unusable instead of out of step.
#[tokio::test]
async fn connection_out_of_step_says_so() {
    let server = Redis::start(KIND, &[]);
    let mut c = server.conn().await;
    c.set_timeout(Duration::from_millis(100));
    assert!(matches!(c.cmd_str(&["BLPOP", "none", "0"]).await, Err(RedisError::Timeout { .. })));
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    let mut c = server.conn().await;
    tokio::select! { biased; _ = c.cmd_str(&["BLPOP", "none", "0"]) => panic!("answered"), () = tokio::time::sleep(Duration::from_millis(50)) => {} }
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    assert!(c.is_broken());
}

/// A port that forwards TLS to another and answers nothing else: it waits for a handshake for ever.
fn silent_but_for_tls(to: u16) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut first = [0];
                while from.peek(&mut first).is_ok_and(|n| n > 0) && first[0] != 0x16 {
                    std::thread::park();
                }
                let to = std::net::TcpStream::connect(("127.0.0.1", to)).unwrap();
                let (mut back, mut there) = (to.try_clone().unwrap(), from.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back, &mut there));
                std::io::copy(&mut &from, &mut &to).ok();
            });
        }
    });
    port
}

/// What a first command to a url comes to, and how long that takes.
async fn ping(url: &str) -> (RedisError, Duration) {
    let begun = Instant::now();
    let error = match Conn::open(&Endpoint::parse(url).unwrap(), Duration::from_secs(15)).await {
        Ok(mut conn) => conn.cmd_str(&["PING"]).await.unwrap_err(),
        Err(error) => error,
    };
    (error, begun.elapsed())
}

/// Whatever answers, the scheme that does not fit is found out within a second: at a port that waits for a handshake for ever, at one
/// that greets, at one that greets without an end of line, at a server that lets nobody in.
#[tokio::test]
async fn a_wrong_scheme_is_found_out_whatever_answers() {
    let dir = TempDir::new().unwrap();
    let (_tls, port) = tls_server(dir.path(), "").await;
    let silent = silent_but_for_tls(port);
    for url in [format!("redis://127.0.0.1:{silent}"), format!("redis://:secret@127.0.0.1:{silent}")] {
        let (error, took) = ping(&url).await;
        assert!(
            matches!(error, RedisError::OnlyTls { .. }) && took < Duration::from_secs(1),
            "{url}: {error} {took:?}"
        );
    }
    let denied = b"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n";
    let full = b"-ERR max number of clients reached\r\n";
    for greeting in [&denied[..], full] {
        let port = FakeSource::greeting(greeting);
        let (error, took) = ping(&format!("rediss://127.0.0.1:{port}")).await;
        assert!(matches!(error, RedisError::NoTls { .. }) && took < Duration::from_secs(1), "{error} {took:?}");
    }
    for greeting in [&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], b"220 mail ESMTP", b"J\0\0\0\x0a11.4.2-MariaDB"] {
        let port = FakeSource::greeting(greeting);
        let (error, took) = ping(&format!("redis://127.0.0.1:{port}")).await;
        assert!(matches!(error, RedisError::Protocol { .. }) && took < Duration::from_secs(1), "{error:?} {took:?}");
        let (error, took) = ping(&format!("rediss://127.0.0.1:{port}")).await;
        let no_tls = matches!(error, RedisError::Tls { problem: TlsProblem::NotTls, .. });
        assert!(no_tls && took < Duration::from_secs(1), "{error:?} {took:?}");
    }
}

/// A server that hangs up at once has said why, and that is the error, whichever of its reply and our command came first.
#[tokio::test]
async fn the_reason_of_a_server_that_lets_nobody_in() {
    let denied = b"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n";
    let port = FakeSource::greeting(denied);
    for _ in 0..20 {
        for url in [format!("redis://127.0.0.1:{port}"), format!("redis://:secret@127.0.0.1:{port}")] {
            let (error, _) = ping(&url).await;
            assert!(matches!(error, RedisError::ProtectedMode { .. }), "{error:?}");
        }
    }
    let server = Redis::start(KIND, &["--maxclients", "1"]);
    let held = server.conn().await;
    let (error, _) = ping(&server.url()).await;
    assert!(matches!(error, RedisError::MaxClients { .. }), "{error:?}");
    drop(held);
}

/// A server over TLS whose certificate is self-signed, made with these further arguments.
async fn tls_server(dir: &Path, more: &str) -> (Redis, u16) {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout own.key -out own.crt -days 2 \
         -subj /CN=redis -addext subjectAltName=IP:127.0.0.1 {more}"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(dir).output().expect("openssl must be on PATH");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (port, certificate, key) = (free_port(), file("own.crt"), file("own.key"));
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let server = Redis::start(KIND, &[&tls[..], &["--tls-ca-cert-file", &certificate]].concat());
    (server, port)
}

/// What TLS fails of decides the next step. A self-signed certificate that is an authority is not accepted as its own, and the hint's
/// way out is one: the same without that right is.
#[tokio::test]
async fn each_failure_of_tls_has_its_own_next_step() {
    let dir = TempDir::new().unwrap();
    let certificate = dir.path().join("own.crt");
    let (server, port) = tls_server(dir.path(), "").await;
    server.run(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    let attempt = async |port: u16, tls: TlsSettings| {
        let endpoint = Endpoint { tls: Some(tls), ..Endpoint::parse(&format!("rediss://127.0.0.1:{port}")).unwrap() };
        Conn::open(&endpoint, Duration::from_secs(15)).await?.cmd_str(&["PING"]).await
    };
    let refused = async |port, tls| match attempt(port, tls).await {
        Err(RedisError::Tls { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let named = TlsSettings { ca_file: Some(certificate.clone()), ..TlsSettings::default() };
    let error = attempt(port, named.clone()).await.unwrap_err();
    assert!(matches!(error, RedisError::Tls { problem: TlsProblem::OwnAuthority, .. }), "{error:?}");
    let fault = Fault::from(error);
    assert!(fault.message.contains("authority's own certificate") && fault.hint.contains("CA:FALSE"), "{fault:?}");

    let (server, port) = tls_server(dir.path(), "-addext basicConstraints=critical,CA:FALSE").await;
    assert_eq!(refused(port, named.clone()).await, TlsProblem::ClientCertificate);
    server.run(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    attempt(port, named.clone()).await.unwrap();
    assert_eq!(refused(port, TlsSettings::default()).await, TlsProblem::UnknownAuthority);
    let other = TlsSettings { server_name: Some("elsewhere.example".into()), ..named };
    assert_eq!(refused(port, other).await, TlsProblem::WrongName);
}
