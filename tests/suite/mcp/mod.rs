//! Tests of the face for agents: what is published, and the server on a pipe.

mod bounds;
mod building;
mod contract;
mod log;
mod requests;
mod server;
