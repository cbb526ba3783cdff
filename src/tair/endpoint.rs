//! Where the cloud is: an address of one's own, else the table of regions, else the rule that new regions follow.
//!
//! Also which region: from the configuration, else the profile, else the environment, as the official command line does.

use crate::config::tair::{TairConfig, address, is_region};
use crate::model::text::quoted;
use crate::tair::environment::Environment;
use crate::tair::error::TairError;
use url::{Host, Url};

/// Regions served by the central endpoint, `r-kvstore.aliyuncs.com`.
const CENTRAL: [&str; 5] = ["cn-hangzhou", "cn-hangzhou-finance", "cn-heyuan", "cn-shanghai", "cn-wulanchabu"];

/// Regions with an endpoint of their own, `r-kvstore.<region>.aliyuncs.com`.
const REGIONAL: [&str; 32] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-chengdu",
    "cn-fuzhou",
    "cn-guangzhou",
    "cn-hongkong",
    "cn-huhehaote",
    "cn-nanjing",
    "cn-qingdao",
    "cn-shanghai-finance-1",
    "cn-shenzhen",
    "cn-shenzhen-finance-1",
    "cn-wuhan-lr",
    "cn-zhangjiakou",
    "cn-zhengzhou-jva",
    "eu-central-1",
    "eu-west-1",
    "me-central-1",
    "me-east-1",
    "na-south-1",
    "us-east-1",
    "us-southeast-1",
    "us-west-1",
];

/// Variables that name the region, in the order in which the official command line asks them.
const VARIABLES: [&str; 5] =
    ["ALIBABA_CLOUD_REGION_ID", "ALIBABACLOUD_REGION_ID", "ALICLOUD_REGION_ID", "REGION_ID", "REGION"];

/// The regions known when this was built, sorted. The cloud may have more.
#[must_use]
pub fn regions() -> Vec<&'static str> {
    let mut all: Vec<_> = CENTRAL.into_iter().chain(REGIONAL).collect();
    all.sort_unstable();
    all
}

fn checked(region: &str) -> Result<&str, TairError> {
    if is_region(region) {
        return Ok(region);
    }
    Err(TairError::Setup(format!("{} is not a region such as cn-hangzhou", quoted(region))))
}

/// Whether an address is one of the vendor's own hosts.
#[must_use]
pub fn is_vendors(url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else { return false };
    // A whole name may end with a dot.
    host.strip_suffix('.').unwrap_or(host).ends_with(".aliyuncs.com")
}

/// Whether an address is one of the vendor's hosts within a region's VPC.
#[must_use]
pub fn is_in_vpc(url: &Url) -> bool {
    let service = url.host_str().and_then(|host| host.split('.').next());
    is_vendors(url) && service.is_some_and(|service| service.ends_with("-vpc"))
}

/// The host name of a region's endpoint.
///
/// # Errors
/// When the text cannot be a region; it would become part of a host name.
pub fn host(region: &str, vpc: bool) -> Result<String, TairError> {
    let region = checked(region)?;
    Ok(if vpc {
        format!("r-kvstore-vpc.{region}.aliyuncs.com")
    } else if CENTRAL.contains(&region) {
        "r-kvstore.aliyuncs.com".to_owned()
    } else {
        format!("r-kvstore.{region}.aliyuncs.com")
    })
}

/// The address that calls for a region go to.
///
/// # Errors
/// As [`host`].
pub fn kvstore(config: &TairConfig, region: &str) -> Result<Url, TairError> {
    let region = checked(region)?;
    match &config.endpoint {
        Some(url) => Ok(url.clone()),
        None => at(&host(region, config.vpc)?),
    }
}

/// The address of the Security Token Service. Only a regional one exists within a VPC.
///
/// # Errors
/// As [`host`].
pub fn sts(own: Option<&Url>, region: Option<&str>, vpc: bool) -> Result<Url, TairError> {
    match (own, region.filter(|r| !r.is_empty())) {
        (Some(url), _) => Ok(url.clone()),
        (None, None) => at("sts.aliyuncs.com"),
        (None, Some(region)) => at(&format!("sts{}.{}.aliyuncs.com", if vpc { "-vpc" } else { "" }, checked(region)?)),
    }
}

fn at(host: &str) -> Result<Url, TairError> {
    address("endpoint", host, false).map_err(TairError::Setup)
}

/// The region: configured, else the profile's, else the environment's.
///
/// # Errors
/// [`TairError::NoRegion`], or when what was found cannot be a region.
pub fn region(config: &TairConfig, profile: Option<&str>, env: &Environment) -> Result<String, TairError> {
    let found = config.region.clone().or_else(|| profile.filter(|r| !r.is_empty()).map(str::to_owned));
    let found = found.or_else(|| VARIABLES.into_iter().find_map(|name| env.get(name)));
    checked(&found.ok_or(TairError::NoRegion)?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Table, rule, VPC and an address of one's own, in their order.
    #[test]
    fn addresses_follow_the_table_then_the_rule() {
        let url = |config: &TairConfig, region: &str| kvstore(config, region).unwrap().to_string();
        let plain = TairConfig::default();
        assert_eq!(url(&plain, "cn-hangzhou"), "https://r-kvstore.aliyuncs.com/");
        assert_eq!(url(&plain, "cn-beijing"), "https://r-kvstore.cn-beijing.aliyuncs.com/");
        assert_eq!(url(&plain, "cn-mars-1"), "https://r-kvstore.cn-mars-1.aliyuncs.com/");
        let vpc = TairConfig { vpc: true, ..TairConfig::default() };
        assert_eq!(url(&vpc, "cn-hangzhou"), "https://r-kvstore-vpc.cn-hangzhou.aliyuncs.com/");
        let own = TairConfig { endpoint: Url::parse("http://127.0.0.1:18761").ok(), ..TairConfig::default() };
        assert_eq!(url(&own, "cn-hangzhou"), "http://127.0.0.1:18761/");
        for evil in ["", "cn.evil.example", "a/b", "CN-HANGZHOU", "a@b", "-"] {
            assert!(kvstore(&plain, evil).is_err() && kvstore(&own, evil).is_err(), "{evil}");
        }
        assert_eq!(sts(None, None, true).unwrap().as_str(), "https://sts.aliyuncs.com/");
        assert_eq!(sts(None, Some("cn-beijing"), true).unwrap().as_str(), "https://sts-vpc.cn-beijing.aliyuncs.com/");
        assert_eq!(regions().len(), 37);
    }

    /// The vendor's hosts are told by the host's last labels, and by nothing else of an address.
    #[test]
    fn the_vendors_hosts_are_known() {
        for (address, vendors, in_vpc) in [
            ("https://r-kvstore.aliyuncs.com/", true, false),
            ("https://R-KVSTORE.cn-beijing.AliyunCS.com./", true, false),
            ("https://r-kvstore-vpc.cn-beijing.aliyuncs.com:443/", true, true),
            ("https://aliyuncs.com/", false, false),
            ("https://r-kvstore-vpc.notaliyuncs.com/", false, false),
            ("https://r-kvstore-vpc.aliyuncs.com.evil.example/", false, false),
            ("https://evil.example/r-kvstore.aliyuncs.com", false, false),
            ("https://r-kvstore.aliyuncs.com@evil.example/", false, false),
            ("http://127.0.0.1:18761/", false, false),
        ] {
            let url = Url::parse(address).unwrap();
            assert_eq!((is_vendors(&url), is_in_vpc(&url)), (vendors, in_vpc), "{address}");
        }
        for region in regions() {
            let url = |vpc| Url::parse(&format!("https://{}", host(region, vpc).unwrap())).unwrap();
            assert!(is_vendors(&url(false)) && !is_in_vpc(&url(false)) && is_in_vpc(&url(true)), "{region}");
        }
    }

    /// Configuration before profile before environment.
    #[test]
    fn the_region_is_asked_in_order() {
        let env = Environment::of(HashMap::from([
            ("REGION".into(), "eu-west-1".into()),
            ("REGION_ID".into(), String::new()),
        ]));
        let plain = TairConfig::default();
        assert_eq!(region(&plain, None, &env).unwrap(), "eu-west-1");
        assert_eq!(region(&plain, Some("cn-beijing"), &env).unwrap(), "cn-beijing");
        let configured = TairConfig { region: Some("cn-heyuan".into()), ..TairConfig::default() };
        assert_eq!(region(&configured, Some("cn-beijing"), &env).unwrap(), "cn-heyuan");
        assert!(matches!(region(&plain, None, &Environment::of(HashMap::new())), Err(TairError::NoRegion)));
    }
}
