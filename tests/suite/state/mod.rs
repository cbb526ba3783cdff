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

/// Runs each test with the state in the home, and on a PostgreSQL.
macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(None); })*
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(Some(&crate::support::postgres::Database::new())); })*
        }
    };
}

pub mod contract;
mod crash;
mod full_disk;
mod key;
mod left;
mod liveness;
mod migration;
pub mod places;
mod portable;
pub mod postgres;
mod shared;
