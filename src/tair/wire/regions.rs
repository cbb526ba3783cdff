//! Regions, with the endpoint that the cloud itself names for each.
//!
//! The one list that is true at run time; our own table is for the call that asks for it.

use crate::tair::wire::lenient::{id, plain_text, text};
use crate::tair::wire::{action, lenient};
use serde::{Deserialize, Serialize};

/// A region that sells instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Region {
    /// The region's id.
    #[serde(deserialize_with = "id")]
    pub region_id: String,
    /// Its name for people.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub local_name: Option<String>,
    /// Its endpoint, as the cloud lists it.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub region_endpoint: Option<String>,
    /// Its zones, joined by commas.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub zone_ids: Option<String>,
    /// The region's zones.
    #[serde(default, with = "lenient::zone_id")]
    pub zone_id_list: Vec<String>,
}

/// Reply of `DescribeRegions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Regions {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// All regions of the product.
    #[serde(with = "lenient::kv_store_region")]
    pub region_ids: Vec<Region>,
}

action! {
    /// Lists the regions that sell instances.
    DescribeRegions, Post, writes: false, Regions, {
        /// `zh-CN` or `en-US`.
        accept_language: Option<String> = "AcceptLanguage",
    }
}
