//! The scheduler: what is due, what expires, and the service that carries both out.

mod kills;
mod listed_late;
mod month;
pub mod service;
