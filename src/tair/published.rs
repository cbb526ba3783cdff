//! The error codes that the cloud publishes, with status and message: what a server of its API answers with.
//!
//! What they mean for a caller is [`codes`](super::codes)' business.

/// One row of the cloud's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The code, as the cloud spells it, its slips included.
    pub code: &'static str,
    /// The HTTP status that the tables give. The gateway does not keep to it.
    pub status: u16,
    /// The message; empty where none is published.
    pub message: &'static str,
}

const TABLE: &str = include_str!("published.tsv");

/// All rows, by code.
pub fn all() -> impl Iterator<Item = Published> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Published {
            code: fields.next()?,
            status: fields.next()?.parse().ok()?,
            message: fields.next().unwrap_or_default(),
        })
    })
}

/// The first row of a code.
#[must_use]
pub fn find(code: &str) -> Option<Published> {
    all().find(|row| row.code == code)
}
