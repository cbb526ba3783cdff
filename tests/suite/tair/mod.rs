//! Tests of the cloud's wire and client: signatures, credentials, codes, retries, lenient reading.

pub mod client;
mod codes;
mod config;
mod credentials;
mod fetch;
mod signing;
mod wire;
