//! `[tair]` in the configuration: what it takes, and what it refuses by the name of the setting.

use std::time::Duration;
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::tair::{AGENT_SKILLS, TairConfig};
use tair_backup_mcp::model::fault::Fault;

fn load(toml: &str) -> Result<Option<TairConfig>, Fault> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, toml).unwrap();
    Config::load(Some(dir.path().to_owned()), Some(file), false).map(|c| c.tair)
}

/// An empty table has the defaults; no table is no cloud.
#[test]
fn the_table_is_read() {
    assert_eq!(load("").unwrap(), None);
    assert_eq!(load("[tair]\n").unwrap(), Some(TairConfig::default()));
    assert_eq!(TairConfig::default().user_agent, AGENT_SKILLS);
    let all = "[tair]\nregion = \"cn-beijing\"\nendpoint = \"http://127.0.0.1:8080\"\nsts_endpoint = \"sts.cn-beijing.aliyuncs.com\"\nprofile = \"p\"\nuser_agent = \"\"\nvpc = true\nrequests_per_second = 2.5\nconnect_timeout_seconds = 1\nread_timeout_seconds = 2\n";
    let tair = load(all).unwrap().unwrap();
    assert_eq!(tair.endpoint.unwrap().as_str(), "http://127.0.0.1:8080/");
    assert_eq!(tair.sts_endpoint.unwrap().as_str(), "https://sts.cn-beijing.aliyuncs.com/");
    assert_eq!((tair.read_timeout, tair.vpc, tair.user_agent.as_str()), (Duration::from_secs(2), true, ""));
    assert!(load("[tair]\nendpoint = \"http://emulator:8080\"\nallow_http = true\n").is_ok());
    assert!(load("[tair]\nendpoint = \"http://[::1]:8080\"\n").is_ok());
}

/// Each mistake is named.
#[test]
fn mistakes_are_named() {
    for (line, why) in [
        ("regoin = \"cn-beijing\"", "regoin"),
        ("region = \"cn-beijing.evil.example\"", "is not a region"),
        ("region = \"\"", "is not a region"),
        ("endpoint = \"http://r-kvstore.aliyuncs.com\"", "is not encrypted"),
        ("endpoint = \"https://me:hunter2@h\"", "must not hold a user name"),
        ("endpoint = \"https://h/path\"", "more than a host"),
        ("endpoint = \"ftp://h\"", "another scheme"),
        ("endpoint = \"\"", "is not an address"),
        ("requests_per_second = 0", "requests_per_second"),
        ("requests_per_second = nan", "requests_per_second"),
        ("read_timeout_seconds = 0", "read_timeout_seconds"),
        ("access_key_id = \"a\"", "access_key_id"),
    ] {
        let fault = load(&format!("[tair]\n{line}\n")).expect_err(line);
        assert_eq!(fault.code, "config.invalid", "{line}");
        assert!(fault.message.contains(why), "{line}: {}", fault.message);
        assert!(!fault.message.contains("hunter2"), "{}", fault.message);
    }
    let hint = load("[tair]\nregoin = \"x\"\n").unwrap_err().hint;
    assert_eq!(hint, "Did you mean `region`? Write it so: region = \"cn-hangzhou\"");
}
