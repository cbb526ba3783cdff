//! Tests of the guard: what a token, a yes and a permit are worth, and what is looked at last.

mod assess;
pub mod flow;
mod last_look;
