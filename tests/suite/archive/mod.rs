//! Tests of the log.

mod collector;
