//! Tests of the emulator: the cloud's API over a real server, called by signed requests over real sockets.

mod auth;
mod backups;
mod clones;
mod faults;
mod moments;
mod restores;
mod terms;
