//! Tests of the protocol room against real servers: the RDB walker, capture as a replica, restore as a master.

mod rdb;
mod replication;
