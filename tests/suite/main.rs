//! The suite: what the library and the binary promise, against real servers. One binary, so that it links once.

mod contract;
mod demo;
mod rdb;
mod replication;
