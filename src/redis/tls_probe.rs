//! Whether a port speaks TLS: probed only when a connection fails in a way that a wrong scheme would explain.
//!
//! Each probe is on a connection of its own, with no credentials, and changes nothing on the server.

use super::endpoint::TlsSettings;
use super::tls;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, Error};

/// The first byte of a TLS record that is an alert: how many servers answer a client that does not speak TLS.
pub(super) const ALERT: u8 = 0x15;

/// A handshake, or a first reply, that takes longer is probed.
pub(super) const SLOW: Duration = Duration::from_millis(300);

/// Time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(600);

/// Whether the server answers a plain PING, as one without TLS on this port does, also before AUTH.
pub(super) async fn is_plain(host: &str, port: u16) -> bool {
    let probe = async {
        let mut tcp = TcpStream::connect((host, port)).await.ok()?;
        tcp.write_all(b"PING\r\n").await.ok()?;
        let mut first = [0; 1];
        tcp.read_exact(&mut first).await.ok()?;
        Some(matches!(first, [b'+' | b'-']))
    };
    timeout(PROBE_TIMEOUT, probe).await.ok().flatten() == Some(true)
}

/// Whether the server takes part in a TLS handshake, successful or not.
pub(super) async fn is_tls(host: &str, port: u16) -> bool {
    let probe = async {
        // Nothing is sent over the connection, so it does not matter who answers.
        let settings = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        let connector = tokio::task::spawn_blocking(move || tls::connector(&settings)).await.ok()?.ok()?;
        let name = ServerName::try_from(host.to_owned()).or_else(|_| ServerName::try_from("localhost")).ok()?;
        let tcp = TcpStream::connect((host, port)).await.ok()?;
        Some(match connector.connect(name, tcp).await {
            Ok(_) => true,
            // An older version than ours, or a wish that we do not fulfil, is TLS as well. A plain server says something else,
            // or hangs up.
            Err(e) => e.get_ref().and_then(|e| e.downcast_ref::<Error>()).is_some_and(|e| {
                matches!(e, Error::AlertReceived(alert) if *alert != AlertDescription::CloseNotify)
                    || matches!(e, Error::PeerIncompatible(_) | Error::InvalidCertificate(_))
            }),
        })
    };
    timeout(PROBE_TIMEOUT, probe).await.ok().flatten() == Some(true)
}

/// Comes back once it is known that the server takes part in a TLS handshake; else never.
pub(super) async fn until_tls(host: &str, port: u16) {
    if !is_tls(host, port).await {
        std::future::pending().await
    }
}
