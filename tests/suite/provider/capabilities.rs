//! What an instance lacks is looked up only for what is asked: a look lists its log, and then all of its sets.

use std::sync::Arc;
use tair_backup_mcp::config::Config;
use tair_backup_mcp::model::instance::Capability;
use tair_backup_mcp::provider::Provider as _;
use tair_backup_mcp::provider::local::Local;
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

/// Without a log no moment can be had, which is found out by whoever asks for one; another call does not even look.
#[tokio::test]
async fn what_is_not_asked_is_not_looked_up() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n").unwrap();
    let config = Config::load(Some(dir.path().join("home")), Some(file), false).unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(config.home.dir()));
    let local = Local::new(&config, state);
    let moment = [Capability::RestoreToMoment];
    let lacks = local.capabilities("orders", &moment).await.unwrap().need(&moment).unwrap_err();
    assert_eq!(lacks.code, "restore.no_flashback");
    assert!(lacks.hint.contains("create_backup with instance_id orders"), "{}", lacks.hint);
    let others: [&[Capability]; 3] = [&[], &[Capability::Clone], &[Capability::BackupPolicy]];
    for asked in others {
        assert!(local.capabilities("orders", asked).await.unwrap().need(&moment).is_ok(), "{asked:?}");
    }
}
