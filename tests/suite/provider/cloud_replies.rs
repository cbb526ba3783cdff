//! What the provider makes of replies that are not what they should be: they come from a server that the emulator cannot be.

use crate::provider::cloud::Ours;
use crate::support::emulator::client_at;
use crate::support::http_server::{Answer, Seen, Server};
use serde_json::json;
use std::sync::Arc;
use tair_backup_mcp::provider::InstanceQuery;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A server on a thread of its own, for as long as what is given back is kept.
fn server(mut answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> (u16, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            tell.send(Server::start(move |_, seen| answer(seen)).await.port).unwrap();
            let _ = stopped.await;
        });
    });
    (told.recv().unwrap(), stop)
}

/// A page of instances that is full is not believed to be the last, whatever it says: in the end all are told, or that some are missing.
#[test]
fn a_total_that_is_wrong_hides_no_instance() {
    for total in [0, 20, 30, 45, 75, 76, 10_000, -1] {
        let (port, _running) = server(move |seen| {
            let number = |name| seen.param(name).and_then(|n| n.parse::<usize>().ok()).unwrap();
            let (page, size) = (number("PageNumber"), number("PageSize"));
            let rows: Vec<_> = ((page - 1) * size..(page * size).min(75))
                .map(|n| json!({"InstanceId": format!("r-{n}"), "InstanceStatus": "Normal"}))
                .collect();
            let body = json!({"RequestId": "R", "TotalCount": total, "PageSize": size, "Instances": {"KVStoreInstance": rows}});
            Answer::ok(body.to_string())
        });
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        // As whoever pages does: up to the end that was told last.
        let (mut seen, mut page, mut end) = (0, 1, 1);
        while seen < end {
            let query = InstanceQuery { search: None, page_number: page, page_size: 20 };
            match ours.run(ours.provider().instances(&query)) {
                Ok((rows, all)) => (seen, page, end) = (seen + rows.len() as u64, page + 1, all),
                Err(fault) => {
                    assert!(total > 75 && fault.code == "cloud.bad_reply", "{total}: {fault:?}");
                    seen = 75;
                    break;
                }
            }
        }
        assert_eq!(seen, 75, "{total}");
    }
}

/// The attributes of another instance say nothing of the one that was asked for, not even that there is none.
#[test]
fn another_instance_is_no_answer() {
    for (rows, code) in [(json!([]), "instance.not_found"), (json!([{"InstanceId": "r-other"}]), "cloud.bad_reply")] {
        let (port, _running) = server(move |_| {
            let body = json!({"RequestId": "R", "Instances": {"DBInstanceAttribute": rows.clone()}});
            Answer::ok(body.to_string())
        });
        let ours = Ours::behind(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9);
        assert_eq!(ours.run(ours.provider().describe("r-1")).unwrap_err().code, code);
    }
}
