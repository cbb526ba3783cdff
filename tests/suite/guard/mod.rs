//! Tests of the guard: tokens, the person's yes and permits, assessment, and the last look.

mod assess;
mod estimate;
pub mod flow;
mod keys;
mod last_look;
mod pruning;
mod replay;
mod retention;
mod way_back;
