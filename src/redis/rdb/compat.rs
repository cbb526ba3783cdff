//! Whether a server can load an RDB, judged from its statistics, so that a set is refused before the first byte is sent: a
//! server that meets a type or opcode it does not know exits, with its own data already dropped.
//!
//! The table is of released servers, read in their sources. It must not be extended by inference except in one
//! direction: a server newer than the table loads at least what the newest known one of its flavor does.

use super::statistics::{Dialect, KeyStatistics};

/// The family that a server belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Redis, and servers with its version numbers (Tair in its Redis-compatible editions).
    Redis,
    /// Valkey.
    Valkey,
}

/// A server that may be asked to load a set: flavor and version by `INFO server` (`valkey_version` before `redis_version`,
/// which Valkey keeps at 7.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    /// The family that decides what type bytes mean.
    pub flavor: Flavor,
    /// First number of the version.
    pub major: u32,
    /// Second number of the version.
    pub minor: u32,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.flavor == Flavor::Redis { "Redis" } else { "Valkey" };
        write!(f, "{name} {}.{}", self.major, self.minor)
    }
}

impl Server {
    /// The highest version that the server loads with the magic `REDIS`.
    fn newest_redis_version(self) -> u16 {
        if self.flavor == Flavor::Valkey {
            // 12 to 79 belong to Redis alone, in every Valkey.
            return 11;
        }
        match (self.major, self.minor) {
            (0..=2, _) | (3, 0..=1) => 6,
            (3, _) => 7,
            (4, _) => 8,
            (5 | 6, _) => 9,
            (7, 0..=1) => 10,
            (7, 2..=3) => 11,
            (7, _) | (8, 0..=5) => 12,
            (8, 6..=7) => 13,
            (8, 8..=9) => 14,
            _ => 15,
        }
    }

    /// The highest version that the server loads with the magic `VALKEY`; `None` where that magic is unknown to it.
    fn newest_valkey_version(self) -> Option<u16> {
        match (self.flavor, self.major, self.minor) {
            (Flavor::Redis, ..) | (Flavor::Valkey, 0..=8, _) => None,
            (Flavor::Valkey, 9, 0..=1) => Some(80),
            (Flavor::Valkey, ..) => Some(81),
        }
    }

    /// The version that the server writes, which also tells which types and opcodes it knows.
    fn own_version(self) -> u16 {
        self.newest_valkey_version().unwrap_or(self.newest_redis_version())
    }

    /// Whether the server takes the values that another one writes, whichever their types.
    #[must_use]
    pub fn takes_from(self, writer: Self) -> bool {
        match writer.newest_valkey_version() {
            Some(version) => self.newest_valkey_version().is_some_and(|newest| version <= newest),
            None => writer.newest_redis_version() <= self.newest_redis_version(),
        }
    }

    /// Whether the server is of that one's flavor and no older: then it must load what that one wrote.
    #[must_use]
    pub fn succeeds(self, of: Self) -> bool {
        self.flavor == of.flavor && (self.major, self.minor) >= (of.major, of.minor)
    }

    pub(super) fn knows_type(self, type_byte: u8) -> bool {
        let own = self.own_version();
        match (type_byte, self.flavor) {
            (0..=4 | 9..=13, _) => true,
            (14, _) => own >= 7,
            (5 | 7, _) => own >= 8,
            (15, _) => own >= 9,
            (16..=19, _) => own >= 10,
            (20 | 21, _) => own >= 11,
            (22..=25, Flavor::Redis) => own >= 12,
            (26, Flavor::Redis) => own >= 13,
            (27 | 28, Flavor::Redis) => own >= 14,
            (29..=33, Flavor::Redis) => own >= 15,
            (22, Flavor::Valkey) => own >= 80,
            (23, Flavor::Valkey) => own >= 81,
            _ => false,
        }
    }
}

/// The modules that bring well-known data types: names in MODULE LIST differ from names of types.
const PROVIDERS: &[(&str, &[&str])] = &[
    ("ReJSON-RL", &["ReJSON", "json"]),
    ("MBbloom--", &["bf"]),
    ("MBbloomCF", &["bf"]),
    ("CMSk-TYPE", &["bf"]),
    ("TopK-TYPE", &["bf"]),
    ("TDIS-TYPE", &["bf"]),
    ("bloomfltr", &["bf"]),
    ("TSDB-TYPE", &["timeseries"]),
    ("ft_index0", &["search", "searchlight"]),
    ("ft_invidx", &["search", "searchlight"]),
    ("numericdx", &["search", "searchlight"]),
    ("geometryi", &["search", "searchlight"]),
    ("trietype0", &["search", "searchlight"]),
    ("scdtype00", &["search", "searchlight"]),
    ("Vk-Search", &["search"]),
    ("graphdata", &["graph"]),
    ("graphmeta", &["graph"]),
    ("vectorset", &["vectorset"]),
    ("exstrtype", &["exstrtype", "tairstring"]),
    ("tairhash-", &["tairhash"]),
    ("exzsettyp", &["tairzset"]),
    ("exgistype", &["tairgis"]),
    ("tair-json", &["tairdoc"]),
    ("AI_TENSOR", &["ai"]),
    ("AI__MODEL", &["ai"]),
    ("AI_SCRIPT", &["ai"]),
];

/// What is known of a target's modules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Modules<'a> {
    /// Names of the loaded modules, from MODULE LIST.
    pub loaded: &'a [String],
    /// Names of types that the server is known to have: it said so itself, or it is the very process that wrote them.
    pub brought: &'a [String],
}

impl Modules<'_> {
    /// Whether the type is there: by what the server is known to have, by the table, or by a module of the type's own name.
    pub(super) fn bring(self, type_name: &str) -> bool {
        let known = PROVIDERS.iter().find(|(t, _)| *t == type_name).map_or(&[][..], |(_, m)| m);
        self.brought.iter().any(|brought| brought == type_name)
            || self
                .loaded
                .iter()
                .any(|module| known.iter().any(|k| k.eq_ignore_ascii_case(module)) || is_named_after(type_name, module))
    }
}

/// Whether a module is loaded of which the table knows no types, so that it may bring any.
#[must_use]
pub fn any_of_own(loaded: &[String]) -> bool {
    let known =
        |module: &String| PROVIDERS.iter().any(|(_, names)| names.iter().any(|n| n.eq_ignore_ascii_case(module)));
    loaded.iter().any(|module| !known(module))
}

/// Whether a type bears the name of its module. Names of types have nine characters, so shorter ones are padded with what is no
/// letter. The start of a name says nothing: a type of another module may begin alike, and a server exits on a type it lacks.
fn is_named_after(type_name: &str, module: &str) -> bool {
    let unpadded =
        type_name.strip_prefix("META-").unwrap_or(type_name).trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let plain = |s: &str| s.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let module = plain(module);
    !module.is_empty() && (module == plain(type_name) || module == plain(unpadded))
}

/// A type byte's name for people.
pub(super) fn type_name(type_byte: u8, dialect: Dialect) -> &'static str {
    match (type_byte, dialect) {
        (15 | 19 | 21 | 26 | 27, _) => "stream",
        (16, _) => "hash in a listpack",
        (17, _) => "sorted set in a listpack",
        (18, _) => "list of listpacks",
        (20, _) => "set in a listpack",
        (22, Dialect::Valkey) | (22..=25, Dialect::Redis) => "hash with expiring fields",
        (7, _) => "module data",
        (5, _) => "sorted set with binary scores",
        (14, _) => "list of ziplists",
        _ => "newer encoding",
    }
}

/// Decides whether `server`, with these modules, can load the set with these statistics.
///
/// Not judged here, because the statistics alone cannot: memory, and `databases` (see [`KeyStatistics::databases_needed`]).
///
/// # Errors
/// Why not, for a person: what the set is, what the target is, what stands between them.
pub fn loadable(statistics: &KeyStatistics, server: Server, modules: &Modules<'_>) -> Result<(), String> {
    let set = describe(statistics);
    version_fits(statistics, server).map_err(|why| format!("{set}. The target is {server}: {why}."))?;

    for (&type_byte, &keys) in &statistics.types {
        if !server.knows_type(type_byte) {
            let name = type_name(type_byte, statistics.dialect);
            let keys = if keys == 1 { "one key is".to_owned() } else { format!("{keys} keys are") };
            return Err(format!(
                "{set}. In it {keys} of type {type_byte} ({name}) that the target, {server}, does not know; \
                 it would exit on loading them."
            ));
        }
    }
    if statistics.functions > 0 && server.own_version() < 10 {
        return Err(format!(
            "{set}. It holds function libraries; the target, {server}, has no functions \
             (Redis 7.0 brought them)."
        ));
    }
    for &opcode in &statistics.opcodes {
        let why = match (opcode, statistics.dialect) {
            (247, _) if server.own_version() < 9 => "data of modules outside the key space, which Redis 5 brought",
            (244, _) if server.own_version() < 12 => "the sizes of cluster slots, which Redis 7.4 brought",
            (243, Dialect::Redis) if server.own_version() < 13 => {
                "metadata of modules on keys, which Redis 8.6 brought"
            }
            // A target outside the cluster could not go on with the import, and the set is not whole.
            (243, Dialect::Valkey) => {
                "the state of a cluster slot migration, during which it was taken: some keys were still arriving"
            }
            _ => continue,
        };
        return Err(format!("{set}. It holds {why}; the target, {server}, cannot load it."));
    }
    let missing: Vec<&str> = statistics.modules.iter().map(String::as_str).filter(|m| !modules.bring(m)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "{set}. It holds data of module types that no module loaded on the target, {server}, is known to bring: \
             {}. Load the modules first.",
            missing.join(", ")
        ));
    }
    Ok(())
}

fn describe(statistics: &KeyStatistics) -> String {
    let version = statistics.rdb_version;
    let writer = match (statistics.aux("valkey-ver"), statistics.aux("redis-ver")) {
        (Some(v), _) => format!(", written by Valkey {v}"),
        (None, Some(v)) => format!(", written by Redis {v}"),
        (None, None) => String::new(),
    };
    format!("The backup set is in {} RDB version {version}{writer}", statistics.dialect)
}

fn version_fits(statistics: &KeyStatistics, server: Server) -> Result<(), String> {
    let version = statistics.rdb_version;
    match statistics.dialect {
        Dialect::Redis => {
            let newest = server.newest_redis_version();
            if version <= newest {
                return Ok(());
            }
            Err(match server.flavor {
                Flavor::Valkey => {
                    format!("Valkey loads Redis's format up to version {newest}, none of Redis 7.4 and later")
                }
                Flavor::Redis => format!("it loads versions up to {newest}"),
            })
        }
        Dialect::Valkey => match server.newest_valkey_version() {
            Some(newest) if version <= newest => Ok(()),
            Some(newest) => Err(format!("it loads Valkey's format up to version {newest}")),
            None if server.flavor == Flavor::Redis => Err("Redis does not load Valkey's own format".to_owned()),
            None => Err("Valkey has this format from 9.0 on".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{Checksum, Tally};
    use super::{Dialect, Flavor, KeyStatistics, Modules, Server, loadable};

    fn statistics(dialect: Dialect, version: u16, types: &[u8]) -> KeyStatistics {
        let mut statistics = Tally::new().into_statistics(dialect, version, 0, Checksum::Verified);
        statistics.types = types.iter().map(|t| (*t, 1)).collect();
        statistics
    }

    fn takes(server: (Flavor, u32, u32), statistics: &KeyStatistics) -> bool {
        let (flavor, major, minor) = server;
        loadable(statistics, Server { flavor, major, minor }, &Modules::default()).is_ok()
    }

    #[test]
    fn versions_and_magics() {
        use Flavor::{Redis, Valkey};
        for (version, yes, no) in [
            (9, (Redis, 6, 2), (Redis, 4, 0)),
            (10, (Redis, 7, 0), (Redis, 6, 2)),
            (11, (Redis, 7, 2), (Redis, 7, 0)),
            (11, (Valkey, 9, 0), (Redis, 7, 0)),
            (12, (Redis, 8, 4), (Valkey, 9, 2)),
            (13, (Redis, 8, 6), (Redis, 8, 4)),
            (14, (Redis, 8, 8), (Redis, 8, 6)),
            (15, (Redis, 9, 0), (Redis, 8, 8)),
        ] {
            let set = statistics(Dialect::Redis, version, &[0]);
            assert!(takes(yes, &set) && !takes(no, &set), "version {version}: {yes:?}, not {no:?}");
        }
        let set = statistics(Dialect::Valkey, 80, &[22]);
        assert!(takes((Valkey, 9, 0), &set) && takes((Valkey, 10, 0), &set));
        assert!(!takes((Valkey, 8, 1), &set) && !takes((Redis, 8, 10), &set));
        assert!(!takes((Valkey, 9, 1), &statistics(Dialect::Valkey, 81, &[])));
    }

    #[test]
    fn what_one_server_writes_another_takes() {
        let server = |flavor, major, minor| Server { flavor, major, minor };
        let [old, seven, eight] = [(6, 2), (7, 0), (8, 2)].map(|(major, minor)| server(Flavor::Redis, major, minor));
        let [eighth, ninth] = [(8, 1), (9, 1)].map(|(major, minor)| server(Flavor::Valkey, major, minor));
        for (target, writer) in
            [(old, old), (seven, old), (eight, seven), (eight, eighth), (ninth, eighth), (ninth, seven)]
        {
            assert!(target.takes_from(writer), "{target} from {writer}");
        }
        for (target, writer) in [(old, seven), (seven, eighth), (ninth, eight), (eight, ninth), (eighth, ninth)] {
            assert!(!target.takes_from(writer), "{target} from {writer}");
        }
    }

    #[test]
    fn what_succeeds_a_server_is_of_its_flavor_and_no_older() {
        use Flavor::{Redis, Valkey};
        let server = |(flavor, major, minor)| Server { flavor, major, minor };
        for (later, of, does) in [
            ((Redis, 7, 2), (Redis, 7, 2), true),
            ((Redis, 8, 0), (Redis, 7, 4), true),
            ((Redis, 7, 0), (Redis, 7, 2), false),
            ((Redis, 8, 0), (Valkey, 7, 2), false),
            ((Valkey, 9, 0), (Redis, 7, 2), false),
        ] {
            assert_eq!(server(later).succeeds(server(of)), does, "{later:?} of {of:?}");
        }
    }

    #[test]
    fn modules_must_be_there() {
        let mut set = statistics(Dialect::Redis, 11, &[7]);
        set.modules = vec!["ReJSON-RL".to_owned(), "mytype--1".to_owned()];
        let server = Server { flavor: Flavor::Redis, major: 7, minor: 2 };
        let of = |loaded: &[&str], brought: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let (loaded, brought) = (owned(loaded), owned(brought));
            loadable(&set, server, &Modules { loaded: &loaded, brought: &brought })
        };
        assert!(of(&["ReJSON", "mytype"], &[]).is_ok());
        let why = of(&["mytype"], &[]).err().unwrap_or_default();
        assert!(why.contains("ReJSON-RL") && !why.contains("mytype"), "{why}");
        // What the server itself is known to have needs no name.
        assert!(of(&[], &["ReJSON-RL", "mytype--1"]).is_ok());
        // A name that begins alike is another module's.
        assert!(of(&["ReJSON", "mytypes"], &[]).is_err() && of(&["ReJSON", "my"], &[]).is_err());
    }

    #[test]
    fn types_that_do_not_bear_their_modules_name() {
        let server = Server { flavor: Flavor::Redis, major: 7, minor: 2 };
        for (name, module) in
            [("exgistype", "tairgis"), ("tair-json", "tairdoc"), ("AI_TENSOR", "ai"), ("tairhash-", "tairhash")]
        {
            let mut set = statistics(Dialect::Redis, 10, &[7]);
            set.modules = vec![name.to_owned()];
            let loaded = [module.to_owned()];
            assert!(loadable(&set, server, &Modules { loaded: &loaded, brought: &[] }).is_ok(), "{name}");
            let other = ["tairstring".to_owned()];
            assert!(loadable(&set, server, &Modules { loaded: &other, brought: &[] }).is_err(), "{name}");
        }
    }
}
