//! The guard's key: one for all processes of a home, and never waited for in a way that stops its own process.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use tair_backup_mcp::state::State as _;
use tair_backup_mcp::state::jobs::JobStore as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

/// Asks for the key at many moments of the first opening, on the one thread that serves; says how many came to their end.
fn rounds(home: impl Fn() -> Arc<TempDir> + Send + 'static) {
    const ROUNDS: u32 = 40;
    let (ended, ends) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for round in 0..ROUNDS {
            let home = home();
            let store = Sqlite::new(home.path());
            runtime.block_on(async {
                let later = async {
                    tokio::time::sleep(Duration::from_micros(250) * round).await;
                    store.key().await.map(|key| key.0)
                };
                let (jobs, key) = tokio::join!(store.jobs(None), later);
                assert!(jobs.unwrap().is_empty());
                assert_eq!(key.unwrap().as_slice(), std::fs::read(home.path().join("guard.key")).unwrap());
            });
            ended.send(round).unwrap();
        }
    });
    for round in 0..ROUNDS {
        assert_eq!(ends.recv_timeout(Duration::from_secs(60)), Ok(round), "the process stands still");
    }
}

#[test]
fn a_fresh_home_opens_while_its_key_is_made() {
    rounds(|| Arc::new(TempDir::new().unwrap()));
}

#[test]
fn a_home_opens_while_its_key_is_read() {
    let home = Arc::new(TempDir::new().unwrap());
    rounds(move || Arc::clone(&home));
}

/// Of many that make the key at once, all have the same.
#[test]
fn a_home_has_one_key() {
    let home = TempDir::new().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all: Vec<_> = (0..8)
        .map(|_| {
            let store = Sqlite::new(home.path());
            std::thread::spawn(move || runtime().block_on(store.key()).unwrap().0)
        })
        .collect();
    let keys: Vec<[u8; 32]> = all.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
    std::fs::write(home.path().join("guard.key"), "short").unwrap();
    assert_eq!(runtime().block_on(Sqlite::new(home.path()).key()).unwrap_err().code, "guard.key");
}
