//! Tests of the configuration file.

mod secrets;
