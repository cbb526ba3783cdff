//! Who is told of what failed, and of what has not succeeded for too long: by a real HTTP listener and a real program, of real jobs, each event
//! once, and never at the cost of a job.

mod away;
mod broken;
mod missing;
mod once;

use crate::support::http_server::{Answer, Seen, Server};
use crate::support::{Bench, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::mpsc;
use tair_backup_mcp::state::leases::Leases;
use tair_backup_mcp::state::notified::Notified as _;
use tair_backup_mcp::state::sqlite::Sqlite;

use crate::support::log::LONG;

/// A part of each address that nobody may say.
const KEY: &str = "s3cret-key";

/// Who is told by HTTP, with a thread of its own: tests wait for processes.
struct Listener(Server);

impl Listener {
    fn start(answer: impl FnMut(usize, &Seen) -> Answer + Send + 'static) -> Self {
        let (to, from) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                to.send(Server::start(answer).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        Self(from.recv().unwrap())
    }

    fn answering() -> Self {
        Self::start(|_, _| Answer::ok(""))
    }

    /// The lines of a configuration that name it as webhook and as monitor.
    fn named(&self) -> String {
        let at = |path: &str| format!("{}/{path}/{KEY}", self.0.url());
        format!("webhook_url = \"{}\"\nping_url = \"{}\"\n", at("hook"), at("ping"))
    }

    /// What was told, in order.
    fn told(&self) -> Vec<Value> {
        let hooks = self.0.seen().into_iter().filter(|seen| seen.path == format!("/hook/{KEY}"));
        hooks
            .map(|seen| {
                assert_eq!((seen.method.as_str(), seen.header("content-type")), ("POST", Some("application/json")));
                serde_json::from_slice(&seen.body).unwrap()
            })
            .collect()
    }

    fn told_of(&self, event: &str) -> Vec<Value> {
        self.told().into_iter().filter(|told| told["event"] == event).collect()
    }

    fn wait_for(&self, event: &str) -> Value {
        wait(event, LONG, || self.told_of(event).pop())
    }

    /// Pings: of successes, and the bodies of those of failures.
    fn pings(&self) -> (usize, Vec<String>) {
        let (mut successes, mut failures) = (0, Vec::new());
        for seen in self.0.seen() {
            match (seen.method.as_str(), seen.path.strip_prefix(&format!("/ping/{KEY}"))) {
                ("GET", Some("")) => successes += 1,
                ("POST", Some("/fail")) => failures.push(String::from_utf8(seen.body).unwrap()),
                (_, None) => {}
                _ => panic!("{seen:?}"),
            }
        }
        (successes, failures)
    }
}

/// A program that is run for each event.
fn program(bench: &Bench, script: &str) -> PathBuf {
    let path = bench.dir.path().join("tell");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The state of a bench, which tells from now on.
async fn telling(bench: &Bench) -> Sqlite {
    let store = Sqlite::new(&bench.home());
    store.notified_since(Timestamp::now()).await.unwrap();
    store
}

/// Waits until some process tells.
async fn somebody_tells(store: &impl Leases) {
    while store.holder("notifier").await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// What the doctor says of it: the status, and the rest.
fn doctor(bench: &Bench) -> (String, String) {
    let done = bench.run(&["doctor", "--json"]);
    assert!(!done.out.contains(KEY) && !done.err.contains(KEY), "{done:?}");
    let checks = done.json()["checks"].as_array().unwrap().clone();
    let check = checks.iter().find(|check| check["name"] == "notifications").unwrap();
    (check["status"].as_str().unwrap().to_owned(), format!("{} {}", check["detail"], check["next"]))
}
