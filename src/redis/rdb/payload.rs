//! RESTORE payloads: the version in their footer, and whether a server takes values one by one, judged by their types.
//!
//! What holds for a whole RDB, whose version counts too, is in [`compat`](super::compat).

use std::collections::BTreeMap;

use super::compat::{Flavor, Modules, Server, type_name};
use super::statistics::Dialect;

/// The lowest version of a RESTORE payload that any server asks for.
pub const LOWEST_FOOTER: u16 = 9;

/// The lowest version of a RESTORE payload for a value of this type: every server that knows the type takes it. Servers compare versions
/// with their own newest one, and read the value by its type.
#[must_use]
pub const fn lowest_footer(dialect: Dialect, type_byte: u8) -> u16 {
    match (type_byte, dialect) {
        (0..=15, _) => LOWEST_FOOTER,
        (16..=19, _) => 10,
        (20 | 21, _) => 11,
        (22..=25, Dialect::Redis) => 12,
        (26, Dialect::Redis) => 13,
        (27 | 28, Dialect::Redis) => 14,
        (_, Dialect::Redis) => 15,
        (22, Dialect::Valkey) => 80,
        (_, Dialect::Valkey) => 81,
    }
}

/// Types from here on mean something else in the other dialect.
const FORKED: u8 = 22;

/// Whether `server`, with these modules, takes values of these types (with the number of keys of each) one by one, whatever else is in
/// the RDB that they are from.
///
/// # Errors
/// Why not, for a person.
pub fn restorable(
    dialect: Dialect,
    types: &BTreeMap<u8, u64>,
    module_types: impl IntoIterator<Item = String>,
    server: Server,
    modules: &Modules<'_>,
) -> Result<(), String> {
    let own = if server.flavor == Flavor::Redis { Dialect::Redis } else { Dialect::Valkey };
    for (&type_byte, &keys) in types {
        if !server.knows_type(type_byte) || (type_byte >= FORKED && dialect != own) {
            return Err(format!(
                "of the keys that match, {keys} are of type {type_byte} ({}) that the target, {server}, does not know",
                type_name(type_byte, dialect)
            ));
        }
    }
    let missing: Vec<String> = module_types.into_iter().filter(|name| !modules.bring(name)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "the keys that match hold data of module types that no module loaded on the target, {server}, is known to bring: {}",
            missing.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::compat::{Flavor, Modules, Server};
    use super::{Dialect, lowest_footer, restorable};

    /// A server takes the lowest footer of every type that it knows, and no footer that is lower is of a version without the type.
    #[test]
    fn footers_are_as_low_as_types_allow() {
        let servers = [
            (Flavor::Redis, 6, 2, 9..=9),
            (Flavor::Redis, 7, 0, 9..=10),
            (Flavor::Redis, 8, 2, 9..=12),
            (Flavor::Valkey, 8, 1, 9..=11),
        ];
        for (flavor, major, minor, footers) in servers {
            let server = Server { flavor, major, minor };
            for type_byte in (0..=33).filter(|t| server.knows_type(*t)) {
                let footer = lowest_footer(Dialect::Redis, type_byte);
                assert!(footers.contains(&footer), "{server}: type {type_byte}, footer {footer}");
            }
        }
        let valkey = Server { flavor: Flavor::Valkey, major: 9, minor: 1 };
        let hash = [(22, 1)].into();
        let taken = |dialect, server| restorable(dialect, &hash, [], server, &Modules::default());
        assert!(taken(Dialect::Valkey, valkey).is_ok() && lowest_footer(Dialect::Valkey, 22) == 80);
        // The same number, another type.
        assert!(taken(Dialect::Redis, valkey).is_err());
        let redis = Server { flavor: Flavor::Redis, major: 8, minor: 2 };
        assert!(taken(Dialect::Redis, redis).is_ok() && taken(Dialect::Valkey, redis).is_err());
    }
}
