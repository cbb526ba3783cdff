//! What a service manager is told (`Type=notify`): ready, stopping, and that this process still turns. A datagram to the socket that
//! `NOTIFY_SOCKET` names; where none is named, nothing is told.
//!
//! It must not fail the service: a manager that cannot be told is its own fault.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// The manager that the environment names.
    #[must_use]
    pub fn of_environment() -> Self {
        Self::named(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// The manager at a socket: a path, or a name in the abstract namespace behind `@`.
    #[must_use]
    pub fn named(socket: Option<OsString>) -> Self {
        let open = |name: OsString| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&name)?,
            };
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read must not hold us up.
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>((socket, address))
        };
        let opened = socket.filter(|name| !name.is_empty()).map(open).transpose();
        Self(opened.unwrap_or_else(|e| {
            tracing::warn!("the service manager that NOTIFY_SOCKET names cannot be told anything: {e}");
            None
        }))
    }

    /// Tells the manager something: `READY=1`, `STOPPING=1`, `STATUS=…`.
    pub fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(e) = socket.send_to_addr(what.as_bytes(), address)
        {
            tracing::debug!("the service manager was not told {what}: {e}");
        }
    }

    /// How often the manager wants to hear that this process still turns, halved for safety; `None`: it does not ask.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?;
        let limit: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        Some(Duration::from_micros(limit / 2)).filter(|often| !often.is_zero())
    }
}

#[cfg(test)]
mod tests {
    //! What is told arrives at a socket file and at an abstract name; no manager, and one that is gone, hold nothing up.
    use super::*;

    #[test]
    fn a_manager_hears_what_it_is_told() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, name) = (dir.path().join("notify"), format!("notify-{}", std::process::id()));
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (listening, named) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{name}").into()),
        ] {
            Manager::named(Some(named)).tell("READY=1\nSTATUS=following");
            let mut told = [0; 64];
            let n = listening.recv(&mut told).unwrap();
            assert_eq!(&told[..n], b"READY=1\nSTATUS=following");
        }
        Manager::named(Some(path.into_os_string())).tell("READY=1");
        Manager::named(None).tell("READY=1");
        assert_eq!(Manager::named(Some(OsString::new())).watchdog(), None);
    }
}
