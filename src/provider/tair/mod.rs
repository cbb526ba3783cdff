//! Instances of Tair on Alibaba Cloud. What is asked of the cloud and what follows from its answers; the wire is below.

pub mod architecture;
pub mod download;
pub mod filter_key;
pub mod pace;
pub mod sets;
pub mod traffic;
