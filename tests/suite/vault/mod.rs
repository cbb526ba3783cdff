//! Tests of the vault: sets at rest, how they come to be, and what a crash leaves of them.

mod sets;
