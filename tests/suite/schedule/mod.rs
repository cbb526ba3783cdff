//! The scheduler: what is due, what expires, and the service that carries both out.

mod month;
pub mod service;
