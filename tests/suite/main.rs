//! The suite: what the library and the binary promise, against real servers. One binary, so that it links once.

mod contract;
mod crash;
mod demo;
mod harness;
mod rdb;
mod replication;
