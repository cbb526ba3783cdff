//! Tests of the configuration file.

mod advice;
mod secrets;
mod wrong;
