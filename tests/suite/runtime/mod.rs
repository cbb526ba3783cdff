//! Tests of what one process does beside its faces.

mod metrics;
