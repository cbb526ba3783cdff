//! The emulator: the cloud's API (`r-kvstore`, 2015-01-01) over local instances, for tests without a cloud.
//!
//! A face like MCP and the command line: it translates calls, and the rooms below carry them out. It uses `tools`, the
//! `Provider` trait and the wire types of `tair`, and knows neither the vault nor a server's protocol. Its backups and restores
//! are real. An action that the local provider cannot do is refused as the cloud refuses an instance without the feature.
//!
//! A request passes [`serve`] → [`router`] → [`auth`] and [`faults`] → [`dispatch`] → one of [`actions`] → [`account`]; none of
//! these knows one before it.

pub mod account;
pub mod actions;
pub mod answer;
pub mod auth;
pub mod dispatch;
pub mod faults;
pub mod http;
mod ids;
pub mod request;
pub mod router;
pub mod serve;
pub mod signed_url;
mod terms;
mod xml;
