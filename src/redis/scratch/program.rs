//! Server programs on this machine: which there are, and which of them loads a given RDB.
//!
//! It must start none of them as a server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::redis::rdb::compat::{Flavor, Modules, Server, loadable};
use crate::redis::rdb::statistics::KeyStatistics;

/// Names a server program to use before those in PATH.
pub const SERVER_ENV: &str = "TAIR_BACKUP_MCP_SANDBOX_SERVER";
/// Names of server programs.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// A server program and what it says that it is.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where the program is.
    pub path: PathBuf,
    /// Flavor and version.
    pub server: Server,
    /// Flavor and whole version, for a message.
    pub name: String,
}

/// The programs: the one that the environment names, then those in PATH.
#[must_use]
pub fn programs() -> Vec<PathBuf> {
    let named = std::env::var_os(SERVER_ENV).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let in_path = PROGRAMS.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    named.into_iter().chain(in_path.filter(|program| is_program(program))).collect()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The first program that loads a set with these statistics. Blocking: each is asked for its version.
#[must_use]
pub fn program_for(statistics: &KeyStatistics) -> Option<Program> {
    let fits = |program: &Program| loadable(statistics, program.server, &Modules::default()).is_ok();
    programs().into_iter().filter_map(|path| version_of(&path)).find(fits)
}

/// The program that builds what a target is to take by commands: of those that load what it begins with and write what the target
/// takes, the one that is most like the target. Blocking: each is asked for its version.
#[must_use]
pub fn builder_for(target: Server, begins_with: &KeyStatistics) -> Option<Program> {
    nearest_to(&[], target, begins_with, |program| target.takes_from(program.server))
}

/// The program that is most like a server, of those named and those here that load a set and are `wanted`. Blocking: each is asked for its
/// version.
#[must_use]
pub fn nearest_to(
    named: &[PathBuf],
    server: Server,
    loads: &KeyStatistics,
    wanted: impl Fn(&Program) -> bool,
) -> Option<Program> {
    let fits = |program: &Program| wanted(program) && loadable(loads, program.server, &Modules::default()).is_ok();
    let all = named.iter().cloned().chain(programs());
    all.filter_map(|path| version_of(&path)).filter(fits).min_by_key(|p| p.unlike(server))
}

/// The server that a set was taken from, as its manifest names it.
#[must_use]
pub fn server_named(engine: &str, version: &str) -> Server {
    let flavor = if engine.eq_ignore_ascii_case("valkey") { Flavor::Valkey } else { Flavor::Redis };
    let mut numbers = version.split('.').map(|n| n.parse().unwrap_or_default());
    Server { flavor, major: numbers.next().unwrap_or_default(), minor: numbers.next().unwrap_or_default() }
}

impl Program {
    /// How little the program is like a server: the less, the more alike.
    fn unlike(&self, other: Server) -> (bool, u32, u32) {
        let Server { flavor, major, minor } = self.server;
        (flavor != other.flavor, major.abs_diff(other.major), minor.abs_diff(other.minor))
    }

    /// The settings by which a server ends where it would drop a command of its master, where it has such.
    pub(super) const fn strict(&self) -> &'static [&'static str] {
        match self.server {
            Server { flavor: Flavor::Redis, major: ..7, .. } => &[],
            _ => &["--propagation-error-behavior", "panic"],
        }
    }
}

/// The server that a program's [`Program::name`] names.
#[must_use]
pub fn server_of(name: &str) -> Option<Server> {
    name.split_once(' ').map(|(flavor, version)| server_named(flavor, version))
}

/// What a program says with `--version`: `Redis server v=7.0.15 sha=…`.
fn version_of(path: &Path) -> Option<Program> {
    let said = Command::new(path).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let (server, name) = parse(&said)?;
    Some(Program { path: path.into(), server, name })
}

fn parse(said: &str) -> Option<(Server, String)> {
    let flavor = if said.starts_with("Valkey") { Flavor::Valkey } else { Flavor::Redis };
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = version.split('.').map(|n| n.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let name = format!("{} {version}", if flavor == Flavor::Valkey { "Valkey" } else { "Redis" });
    Some((Server { flavor, major, minor }, name))
}

#[cfg(test)]
mod tests {
    use super::{Flavor, Server, parse, server_of};

    #[test]
    fn versions_are_read() {
        let redis = Server { flavor: Flavor::Redis, major: 7, minor: 0 };
        let valkey = Server { flavor: Flavor::Valkey, major: 8, minor: 1 };
        for (said, expected) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Some((redis, "Redis 7.0.15"))),
            ("Valkey server v=8.1.1 sha=00000000:0", Some((valkey, "Valkey 8.1.1"))),
            ("usage: something else", None),
            ("Redis server v=unstable", None),
        ] {
            assert_eq!(parse(said), expected.map(|(server, name)| (server, name.to_owned())), "{said}");
            assert!(expected.is_none_or(|(server, name)| server_of(name) == Some(server)), "{said}");
        }
    }
}
