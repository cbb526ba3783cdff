//! Figures of the server behind an instance, in the cloud's units.

use crate::emulator::account::instance::EmulatedInstance;
use crate::model::instance::{Instance, Live};

/// The class of an instance.
pub fn class(instance: &EmulatedInstance) -> &'static str {
    match (instance.is_cloud_native(), instance.is_cluster()) {
        (true, false) => "tair.rdb.1g",
        (true, true) => "tair.rdb.with.proxy.1g",
        (false, false) => "redis.amber.master.small.multithread",
        (false, true) => "redis.amber.logic.sharding.1g.2db.0rodb.6proxy.multithread",
    }
}

/// Memory in MB: the server's limit, or without a limit the memory used, at least 1024.
pub fn capacity(live: Option<&Live>) -> i64 {
    const MB: u64 = 1 << 20;
    let limit = live.and_then(|l| l.maxmemory).filter(|n| *n > 0);
    let used = live.and_then(|l| l.used_memory).unwrap_or(0);
    let mb = limit.map_or_else(|| used.div_ceil(MB).max(1024), |limit| limit.div_ceil(MB));
    i64::try_from(mb).unwrap_or(i64::MAX)
}

/// Major and minor version, without the patch level: `7.0`.
pub fn engine_version(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Host and port at which the server can be reached.
pub fn host_and_port(local: &Instance) -> (String, i64) {
    match local.address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            let host = host.rsplit_once("://").map_or(host, |(_, h)| h);
            (host.to_owned(), port.parse().unwrap_or(0))
        }
        _ => (local.address.clone(), 0),
    }
}

#[cfg(test)]
mod tests {
    //! Addresses with and without a port, versions of three parts and of none.
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(engine_version("7.0.15"), "7.0");
        assert_eq!(engine_version(""), "");
        assert_eq!(capacity(None), 1024);
        for (address, host, port) in [
            ("redis://127.0.0.1:6379", "127.0.0.1", 6379),
            ("cache.example:6380", "cache.example", 6380),
            ("unix:/run/redis.sock", "unix:/run/redis.sock", 0),
        ] {
            let instance = Instance {
                id: String::new(),
                address: address.into(),
                kind: "local",
                clone_of: None,
                live: Err(String::new()),
                sentinel: false,
            };
            assert_eq!(host_and_port(&instance), (host.to_owned(), port));
        }
    }
}
