//! Tair on Alibaba Cloud: the wire, the signatures and the client of its OpenAPI (`r-kvstore`, version 2015-01-01).
//!
//! This room knows requests and replies, not what they are for: waiting, routing by architecture and asking a person is
//! done above. A write whose outcome is not known is never sent again here; see [`error::TairError::Uncertain`]. The
//! types of [`wire`], [`incoming`] and [`published`] serve a server of the API as well.

pub mod access_key;
pub mod acs3;
mod attempt;
pub mod client;
pub mod codes;
pub mod credentials;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod fetch;
pub mod http;
pub mod incoming;
pub mod limiter;
mod listing;
mod meanings;
pub mod params;
pub mod published;
pub mod retry;
pub mod rpc1;
pub mod verify;
pub mod wire;
