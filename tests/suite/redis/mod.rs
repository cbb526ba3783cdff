//! Tests of the protocol room against real servers: the RDB walker, capture as a replica, restore as a master and by commands.

mod beside;
mod compare;
mod conn;
mod corpus;
mod damage;
mod facts;
mod fixture;
mod fold;
mod master;
mod rdb;
mod replay;
mod replica;
mod scratch;
mod shift;
mod stream;
mod unique;
pub mod values;
