//! Tair on Alibaba Cloud: the wire, the signatures and the client of its OpenAPI (`r-kvstore`, version 2015-01-01).

pub mod acs3;
pub mod codes;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod incoming;
pub mod paging;
pub mod params;
pub mod published;
pub mod rpc1;
pub mod wire;
