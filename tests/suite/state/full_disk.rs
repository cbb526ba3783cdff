//! A state whose disk fills up: what was acknowledged stays, what was refused is not there, and with room again it goes on.

use super::contract::confirmation;
use crate::support::disk::SmallDisk;
use std::sync::Arc;
use tair_backup_mcp::guard::ledger::{AuditRecord, ConfirmationStatus as Status};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    let Some(disk) = SmallDisk::at(&home, 8) else { return };
    let store: Arc<dyn State> = Arc::new(Sqlite::new(&home));
    store.open(&confirmation("1", "orders", 15)).await.unwrap();
    let record = |n: usize| AuditRecord::now("asked", "a", "orders", format!("{n} {}", "x".repeat(2000)));
    disk.fill_but(64 << 10);
    let mut acknowledged = 0;
    let fault = loop {
        match store.record(record(acknowledged)).await {
            Ok(()) => acknowledged += 1,
            Err(fault) => break fault,
        }
        assert!(acknowledged < 1000, "the disk does not fill up");
    };
    assert_eq!(fault.code, "state.disk_full", "{fault:?}");
    let redeemed = store.transition("1", &[Status::Open], Status::Redeemed).await;
    disk.clear();
    // To whom it was not said that it is redeemed, it is not.
    let redeemed = redeemed.is_ok_and(|redeemed| redeemed);
    let another: Arc<dyn State> = Arc::new(Sqlite::new(&home));
    for store in [&store, &another] {
        assert_eq!(store.audit(None, None, 10_000).await.unwrap().len(), acknowledged);
        let status = store.find("1").await.unwrap().unwrap().status;
        assert_eq!(status == Status::Redeemed, redeemed, "{status:?}");
    }
    assert_eq!(store.transition("1", &[Status::Open], Status::Redeemed).await.unwrap(), !redeemed);
    another.record(record(acknowledged)).await.unwrap();
    assert_eq!(store.audit(None, None, 10_000).await.unwrap().len(), acknowledged + 1);
}
