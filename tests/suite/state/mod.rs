//! Tests of the state store: the contract of its traits, on each database; which owners count as alive; opening earlier databases; and what
//! only a database on another machine can do to it.

/// Runs each promise on each database, on a place of its own.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(&tempfile::TempDir::new().unwrap()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(&crate::support::postgres::Database::new()).await; })*
        }
    };
}

mod contract;
mod key;
mod liveness;
mod migration;
mod places;
mod postgres;
mod shared;
