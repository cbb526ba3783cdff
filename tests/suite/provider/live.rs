//! Against the real cloud, only where `TAIR_BACKUP_MCP_LIVE` names an instance of the account (`region/r-…`): it reads, and
//! changes nothing. Without it, it says that it was skipped.

use std::sync::Arc;
use tair_backup_mcp::config::tair::TairConfig;
use tair_backup_mcp::provider::tair::Tair;
use tair_backup_mcp::provider::{InstanceQuery, Provider as _};
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::tair::client::Client;
use tair_backup_mcp::tair::environment::Environment;

/// Instances, sets and policy of a real account are read, by the credentials of the environment.
#[test]
fn a_real_account_is_read() {
    let Ok(named) = std::env::var("TAIR_BACKUP_MCP_LIVE") else {
        // Past the runner, which swallows what a passing test prints.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "live: skipped, TAIR_BACKUP_MCP_LIVE is not set to region/instance");
        return;
    };
    let (region, id) = named.split_once('/').expect("TAIR_BACKUP_MCP_LIVE is region/instance");
    let home = tempfile::TempDir::new().unwrap();
    let config = TairConfig { region: Some(region.to_owned()), ..TairConfig::default() };
    let client = Client::new(config, &Environment::process()).unwrap();
    let provider = Tair::new(client, Arc::new(Sqlite::new(home.path())), true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wanted = InstanceQuery { search: None, page_number: 1, page_size: 30 };
        let (rows, total) = provider.instances(&wanted).await.unwrap();
        assert!(total >= u64::try_from(rows.len()).unwrap() && !rows.is_empty(), "no instance in {region}");
        let described = provider.describe(id).await.unwrap();
        let sets = provider.backups(id, None).await.unwrap();
        let policy = provider.backup_policy(id).await.unwrap();
        assert!((7..=730).contains(&policy.backup_retention_period), "{policy:?}");
        println!("{described:?}\n{} sets\n{policy:?}", sets.len());
    });
}
