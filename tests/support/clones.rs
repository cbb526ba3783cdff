//! Clones of a bench: made through the program, asked as a person would ask them, and looked for where they must not be any more.

use crate::support::{Bench, Done, Redis, Reply, program, run_at, text, unattended, wait};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const VERB: &str = "create-instance-from-backup";

/// A clone as it was told of.
pub struct Cloned {
    pub id: String,
    pub port: u16,
    pub dir: PathBuf,
    pub message: String,
}

impl Cloned {
    /// Asks as whoever has read the clone's password.
    pub fn ask(&self, args: &[&str]) -> Reply {
        let password = std::fs::read_to_string(self.dir.join("password")).unwrap();
        run_at(self.port, &[&password], args).unwrap()
    }

    /// Asks as the program does, which may do everything.
    pub fn as_admin(&self, args: &[&str]) -> Reply {
        let password = std::fs::read_to_string(self.dir.join("admin-password")).unwrap();
        run_at(self.port, &["tair-backup-mcp", &password], args).unwrap()
    }

    /// The processes that belong to the clone: keeper and server, oldest first.
    pub fn processes(&self) -> Vec<u32> {
        let lock = std::fs::metadata(self.dir.join("lock")).unwrap();
        let mut found: Vec<u32> = processes(|process| {
            std::fs::metadata(process.join("fd/0")).is_ok_and(|m| (m.dev(), m.ino()) == (lock.dev(), lock.ino()))
        });
        found.sort_unstable();
        found
    }

    /// The server's process.
    pub fn server(&self) -> u32 {
        let info = self.as_admin(&["INFO", "server"]).text();
        info.lines().find_map(|l| l.strip_prefix("process_id:")).unwrap().trim().parse().unwrap()
    }

    /// The process that keeps the server.
    pub fn keeper(&self) -> u32 {
        let server = self.server();
        let mut others = self.processes();
        others.retain(|pid| *pid != server);
        assert_eq!(others.len(), 1, "{others:?}");
        others[0]
    }

    /// That nothing of it is left: no process, no file, and its port is free.
    pub fn assert_gone(&self, processes: &[u32], when: &str) {
        wait(&format!("nothing to be left of {} {when}", self.id), Duration::from_secs(30), || {
            let lives = processes.iter().any(|pid| is_alive(*pid));
            (!lives && !self.dir.exists() && TcpListener::bind(("127.0.0.1", self.port)).is_ok()).then_some(())
        });
    }

    /// That it has ended without another command: no process, no data, and its port is free. Its record waits for the next command.
    pub fn assert_ended(&self, processes: &[u32], when: &str) {
        wait(&format!("{} to end {when}", self.id), Duration::from_secs(30), || {
            let lives = processes.iter().any(|pid| is_alive(*pid));
            let left = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
            let data = left.map(|entry| entry.file_name()).any(|name| name != "clone.json" && name != "lock");
            (!lives && !data && TcpListener::bind(("127.0.0.1", self.port)).is_ok()).then_some(())
        });
    }

    /// Writes into its record when its life is over.
    pub fn ends_at(&self, at: jiff::Timestamp) {
        let path = self.dir.join("clone.json");
        let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        record["of"]["ends_at"] = at.to_string().into();
        let new = self.dir.join("new");
        std::fs::write(&new, record.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

/// Whether a process runs; one that is dead and not yet waited for does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim().chars().next(), Some('Z' | 'X') | None))
}

fn processes(is: impl Fn(&Path) -> bool) -> Vec<u32> {
    let number = |entry: std::fs::DirEntry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()));
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(number);
    all.filter(|(pid, path)| is(path) && is_alive(*pid)).map(|(pid, _)| pid).collect()
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// A bench whose clones run that kind of server.
pub fn bench(redis: &Redis, kind: &str) -> Bench {
    let named = format!("server_programs = [{:?}]\n", program(kind, "server"));
    Bench::new(&(named + &unattended(redis, "")))
}

impl Bench {
    /// The first call of a clone, whatever its result.
    pub fn plan_clone(&self, source: &[&str]) -> Done {
        self.run(&[&[VERB, "--instance-id", "orders", "--json"], source].concat())
    }

    /// The arguments of the second call.
    pub fn clone_echo(&self, source: &[&str]) -> Vec<String> {
        let planned = self.plan_clone(source);
        assert_eq!(planned.code, 0, "{planned:?}");
        let token = text(&planned.json()["confirmation_token"]);
        let args = [&[VERB, "--instance-id", "orders", "--json"], source, &["--confirmation-token", &token]].concat();
        args.into_iter().map(str::to_owned).collect()
    }

    /// Both calls.
    pub fn cloned(&self, source: &[&str]) -> Cloned {
        let echo = self.clone_echo(source);
        let done = self.run(&echo.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(done.code, 0, "{done:?}");
        let reply = done.json();
        assert_eq!(reply["status"], "succeeded", "{reply}");
        self.told(&text(&reply["message"]))
    }

    /// The clone of which a job's end tells.
    pub fn told(&self, message: &str) -> Cloned {
        let id = message.split(' ').next().unwrap().to_owned();
        let port = message.rsplit(' ').next().unwrap().parse().unwrap();
        let dir = self.home().join("clones").join(&id);
        Cloned { id, port, dir, message: message.to_owned() }
    }

    /// The rows of all clones that are listed.
    pub fn listed_clones(&self) -> Vec<Value> {
        let all = self.json(&["describe-instances"])["instances"].as_array().unwrap().clone();
        all.into_iter().filter(|row| row["kind"] == "clone").collect()
    }

    /// Directories of clones, whole or not.
    pub fn clone_dirs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home().join("clones")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Processes that work in the bench's home.
    pub fn processes(&self) -> Vec<u32> {
        let home = self.home();
        processes(|process| std::fs::read_link(process.join("cwd")).is_ok_and(|dir| dir.starts_with(&home)))
    }

    /// That no clone, and nothing of one, is there once a command has looked.
    pub fn assert_no_clones(&self, when: &str) {
        wait(&format!("no clone to be left {when}"), Duration::from_secs(30), || {
            self.listed_clones();
            (self.clone_dirs().is_empty() && self.processes().is_empty()).then_some(())
        });
    }

    pub fn delete_clone(&self, id: &str) -> Done {
        self.run(&["delete-instance", "--instance-id", id])
    }
}

/// What a server of that kind holds that has loaded the file.
pub fn digest_of(kind: &str, rdb: &Path) -> String {
    let mut redis = Redis::start(kind, &["--databases", "64"]);
    std::fs::copy(rdb, redis.dir.path().join("dump.rdb")).unwrap();
    redis.restart();
    redis.digest()
}
