//! Where files are fetched from: nowhere that only this machine can reach, unless the endpoint is there too.

use crate::tair::client::{config, env};
use tair_backup_mcp::config::tair::{Place, TairConfig, place_of};
use tair_backup_mcp::tair::client::Client;
use tair_backup_mcp::tair::fetch::{FetchError, open};
use tair_backup_mcp::tair::wire::DownloadUrl;
use url::Url;

const MACHINE: [&str; 9] = [
    "127.0.0.1",
    "127.9.9.9",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::ffff:127.0.0.1]",
];
const PRIVATE: [&str; 19] = [
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[::127.0.0.1]",
    "localhost.localdomain",
    "db.localhost",
    "10.0.0.1",
    "172.16.49.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "[fd00::1]",
    "[fe80::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::192.168.1.1]",
    "198.18.0.1",
    "192.0.0.192",
    "metadata",
    "vault.internal",
    "printer.local.",
];
const INTERNET: [&str; 7] = [
    "rdsbak-st-v2.oss-cn-shenzhen.aliyuncs.com",
    "oss-cn-huhehaote-internal.aliyuncs.com",
    "8.8.8.8",
    "100.0.0.1",
    "[64:ff9b::8.8.8.8]",
    "[2002:808:808::]",
    "[2400::1]",
];

/// Each address has its place, however it is written; and a URL of another place than the endpoint's is not even tried.
#[tokio::test]
async fn urls_lead_nowhere_that_the_endpoint_is_not() {
    let places = [(&MACHINE[..], Place::Machine), (&PRIVATE, Place::Private), (&INTERNET, Place::Internet)];
    let keys = env(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")]);
    for endpoint in ["http://127.0.0.1:9", "https://10.9.9.9", "https://r-kvstore.aliyuncs.com"] {
        let endpoint = Url::parse(endpoint).unwrap();
        let config = TairConfig { endpoint: Some(endpoint.clone()), ..config("http://127.0.0.1:9") };
        let client = Client::new(config, &keys).unwrap();
        for (hosts, place) in places {
            for host in hosts {
                let url = format!("http://{host}/custins1/a.rdb?Signature=SECRET");
                assert_eq!(place_of(&Url::parse(&url).unwrap()), place, "{host}");
                if place == Place::Internet || place == place_of(&endpoint) {
                    continue;
                }
                let refused = open(&client, &DownloadUrl::new(url), 0).await.unwrap_err();
                assert!(matches!(&refused, FetchError::Refused(why) if why.contains("endpoint")), "{host}: {refused}");
                assert!(!refused.to_string().contains("SECRET"));
            }
        }
    }
}
