//! Joins two states at rest, key by key: which keys an act adds, loses, changes and leaves as they are.
//!
//! Both sides are walked at once, each on a thread of its own, and every key leaves 32 bytes ([`record`]): a hash of it, a number of what it
//! holds and when it expires. These are parted by the hash into files without a name ([`partitions`]) and joined part by part ([`join`]), so that
//! memory is bounded however many keys there are, and room on disk is 32 bytes a key and side. Of names those are kept that are most likely told
//! ([`kept`]); where others are, the side that has them is walked once more ([`names`]).
//!
//! A key is there if it is in the state, holds anything, and does not expire by the state's moment; a hash all of whose fields expire by then is not
//! there. Every key of either state is in exactly one class:
//!
//! | | now there | now not there, or expired |
//! | --- | --- | --- |
//! | then there | changed, or untouched | added |
//! | then not there, or expired | lost | expired |
//!
//! Where the two have different moments, what only one of them has counts as expired if it expires by the later moment: nobody took or
//! brought it; nor does a field that does so make a hash another. For a plan both moments are now.
//!
//! Two keys are taken for one with a probability below 10⁻¹³ among 10⁸ keys of both states together, a changed value for the same one with about
//! 2⁻⁶⁴ a key: hashes have a fresh random key each time. What counts as the same value, [`contents`](super::rdb::contents) says; how often or how
//! recently a key was used, and what modules attached to it, is not compared; of function libraries only whether they are the same.
//!
//! It must not vouch for a state: what is damaged is an error, and what a walk does not look for (a member that is there twice) is not found.
//! The call blocks; run it on a thread that may.

pub mod error;

mod collect;
mod join;
mod kept;
mod names;
mod partitions;
mod record;
mod told;

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use self::collect::{Ends, both};
use self::error::{CompareError, Side};
use self::kept::Kept;
use self::names::Names;
use self::partitions::{Bounds, Partitions};
use self::record::{Keys, Record};
use crate::model::impact::KeyImpact;

/// Opens a state at rest as a plain RDB. Called as often as the state is needed, from threads of this room's own.
pub type Open<'a> = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'a;

/// Something of a key, by its name.
pub type Wanted<'a> = dyn Fn(&[u8]) -> bool + Send + Sync + 'a;

/// The keys that alone are compared.
#[derive(Clone, Copy)]
pub struct Only<'a> {
    /// Whether a key is one of them, by its name in the state to come.
    pub wanted: &'a Wanted<'a>,
    /// Whether a key of the state now goes where the state to come does not have it; another stays as it is.
    pub goes: &'a Wanted<'a>,
    /// What they are called now: this, and behind it that name.
    pub prefix: &'a [u8],
}

impl Only<'_> {
    /// The name by which a key of a state is joined; `None` where it is not wanted.
    #[inline]
    fn name<'k>(&self, side: Side, key: &'k [u8]) -> Option<&'k [u8]> {
        let name = if side == Side::Now { key.strip_prefix(self.prefix)? } else { key };
        (self.wanted)(name).then_some(name)
    }
}

/// The two states.
pub struct Sides<'a> {
    /// What the instance holds now.
    pub now: &'a Open<'a>,
    /// What it would hold.
    pub then: &'a Open<'a>,
}

/// How they are compared.
pub struct Options<'a> {
    /// Where files without a name are made, 32 bytes a key and side; none where there are few keys.
    pub dir: PathBuf,
    /// The moments of the state now and of the one to come, in milliseconds since 1970: what expires by then is not there.
    pub at_ms: [i64; 2],
    /// When to stop, and tell what was compared by then.
    pub deadline: Option<Instant>,
    /// Only such keys are compared; no others are counted.
    pub only: Option<Only<'a>>,
}

impl Options<'_> {
    /// The name by which a key of a state is joined; `None` where it is not compared.
    #[inline]
    fn name<'k>(&self, side: Side, key: &'k [u8]) -> Option<&'k [u8]> {
        self.only.map_or(Some(key), |only| only.name(side, key))
    }

    /// Whether a key of the state now stays where the state to come does not have it.
    #[inline]
    fn stays(&self, key: &[u8]) -> bool {
        self.only.is_some_and(|only| !(only.goes)(key))
    }

    /// The later moment of the two.
    fn later_ms(&self) -> i64 {
        let [now, then] = self.at_ms;
        now.max(then)
    }

    /// The moment of a state, and the later one of the two.
    fn moments(&self, side: Side) -> [i64; 2] {
        let [now, then] = self.at_ms;
        [if side == Side::Now { now } else { then }, self.later_ms()]
    }

    /// What stands before the names by which keys are joined when they are shown.
    fn prefix(&self) -> &[u8] {
        self.only.map_or(&[], |only| only.prefix)
    }
}

/// Bytes on disk that comparing states of so many keys takes at least.
#[must_use]
pub fn on_disk(keys: [u64; 2]) -> u64 {
    keys.into_iter().map(|keys| Bounds::USUAL.on_disk(keys)).fold(0, u64::saturating_add)
}

/// Compares two states.
///
/// # Errors
/// See [`CompareError`]. That the time was over is none: see [`KeyImpact::not_compared`].
pub fn compare(sides: &Sides<'_>, options: &Options<'_>) -> Result<KeyImpact, CompareError> {
    within(sides, options, Bounds::USUAL)
}

fn within(sides: &Sides<'_>, options: &Options<'_>, bounds: Bounds) -> Result<KeyImpact, CompareError> {
    let (keys, ends) = (Keys::random(), Ends::at(options.deadline));
    let new = || Partitions::new(options.dir.clone(), bounds);
    let Some((now, then)) = both(sides, &ends, |side, rdb| collect::walk(rdb, new(), side, &keys, options))? else {
        return Ok(told::not_read(ends.met()));
    };
    // A restore of some keys leaves libraries alone.
    let libraries_differ = options.only.is_none() && now.libraries != then.libraries;
    let kept = [now.kept, then.kept];
    let known: HashSet<(u64, u32)> = kept.iter().flat_map(Kept::keys).map(|key| key.id).collect();
    let is_known = |record: &Record| known.contains(&record.id());
    let joined = join::join(&[now.partitions, then.partitions], &is_known, &|| ends.here())?;
    let found = Names::kept(&kept, &joined, options);
    // Names for which no time is left stay away, which is told; the counts are whole without them.
    let others = both(sides, &ends, |side, rdb| names::walk(rdb, (&joined, &found), side, &keys, options))?;
    let names = others.into_iter().fold(found, |found, (now, then)| found.and(now).and(then));
    Ok(KeyImpact { libraries_differ, ..told::impact(&joined, &names, &keys) })
}

#[cfg(test)]
mod tests {
    //! Whatever fits into memory, and in however many passes the rest is read back, the counts are the same; and nothing stays on disk.
    use super::partitions::Bounds;
    use super::{CompareError, KeyImpact, Options, Sides, within};
    use crate::model::impact::KeyCounts;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Instant;

    /// An RDB of strings.
    fn rdb(keys: &BTreeMap<String, String>) -> Vec<u8> {
        let mut out = b"REDIS0011".to_vec();
        for (key, value) in keys {
            out.push(0);
            for text in [key, value] {
                out.push(u8::try_from(text.len()).unwrap());
                out.extend(text.bytes());
            }
        }
        out.push(255);
        out.extend([0; 8]);
        out
    }

    fn compared(now: &[u8], then: &[u8], dir: &Path, bounds: Bounds) -> Result<KeyImpact, CompareError> {
        let open = |rdb: &[u8]| {
            let rdb = rdb.to_vec();
            move || Ok(Box::new(std::io::Cursor::new(rdb.clone())) as Box<dyn std::io::Read + Send>)
        };
        let sides = Sides { now: &open(now), then: &open(then) };
        within(&sides, &Options { dir: dir.into(), at_ms: [0; 2], deadline: None, only: None }, bounds)
    }

    #[test]
    fn however_little_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let (mut now, mut then) = (BTreeMap::new(), BTreeMap::new());
        for n in 0..20_000_u32 {
            // A hundred thousand prefixes, of which a few have many keys.
            let key = if n % 3 == 0 { format!("p{}:{n}", n % 7) } else { format!("k{n}:x") };
            if n % 5 != 0 {
                now.insert(key.clone(), "a".to_owned());
            }
            if n % 7 != 0 {
                then.insert(key, if n % 11 == 0 { "b" } else { "a" }.to_owned());
            }
        }
        let of = |prefix: &str| {
            let mut counts = KeyCounts::default();
            for (key, value) in now.iter().filter(|(key, _)| key.starts_with(prefix)) {
                match then.get(key) {
                    None => counts.lost += 1,
                    Some(other) if other == value => counts.untouched += 1,
                    Some(_) => counts.changed += 1,
                }
            }
            counts.added = then.keys().filter(|key| key.starts_with(prefix) && !now.contains_key(*key)).count() as u64;
            counts
        };
        for (block, held, places) in [(256, 1 << 18, 1 << 16), (8, 1 << 18, 1 << 16), (8, 10, 1 << 16), (3, 7, 100)] {
            let impact =
                compared(&rdb(&now), &rdb(&then), dir.path(), Bounds { block, held, places, ..Bounds::USUAL }).unwrap();
            assert_eq!((impact.total, &impact.not_compared), (of(""), &None), "{block} {held} {places}");
            let mut sum = KeyCounts::default();
            for row in &impact.rows {
                sum = sum.plus(row.counts);
                if let Some(prefix) = &row.prefix {
                    assert_eq!(row.counts, of(prefix), "{prefix}");
                }
            }
            assert_eq!(sum, impact.total);
            for n in 0..7 {
                assert!(impact.rows.iter().any(|r| r.prefix == Some(format!("p{n}:"))), "{n}: {:?}", impact.rows);
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the files have no names");
    }

    #[test]
    fn a_key_twice_is_damage_of_its_side() {
        let dir = tempfile::tempdir().unwrap();
        let good = rdb(&BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        let twice = [&good[..14], &good[9..]].concat();
        let error = compared(&good, &twice, dir.path(), Bounds::USUAL).unwrap_err();
        assert!(matches!(error, CompareError::Twice { side: super::error::Side::Then }), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let keys: BTreeMap<_, _> = (0..5000).map(|n| (n.to_string(), String::new())).collect();
        let dir = Path::new("/nonexistent");
        let error = compared(&rdb(&keys), &rdb(&keys), dir, Bounds { block: 2, ..Bounds::USUAL }).unwrap_err();
        assert!(matches!(error, CompareError::File { .. }) && error.to_string().contains("/nonexistent"), "{error}");
    }

    /// On a disk that has no more than is to stay free nothing is appended; what fits into memory is compared all the same.
    #[test]
    fn the_disk_is_not_filled() {
        let dir = tempfile::tempdir().unwrap();
        let keys: BTreeMap<_, _> = (0..5000).map(|n| (n.to_string(), String::new())).collect();
        let full = Bounds { reserve: u64::MAX, ..Bounds::USUAL };
        assert_eq!(compared(&rdb(&keys), &rdb(&keys), dir.path(), full).unwrap().total.untouched, 5000);
        let error = compared(&rdb(&keys), &rdb(&keys), dir.path(), Bounds { block: 2, ..full }).unwrap_err();
        let fault = crate::model::fault::Fault::from(error);
        assert_eq!(fault.code, "compare.no_room", "{fault:?}");
        let most = 256 * 256;
        assert_eq!([[0, most], [most + 1, most + 2]].map(super::on_disk), [0, 96]);
    }

    #[test]
    fn no_time_at_all() {
        let all = || Ok(Box::new(std::io::empty()) as Box<dyn std::io::Read + Send>);
        let deadline = Some(Instant::now());
        let options = Options { dir: "/".into(), at_ms: [0; 2], deadline, only: None };
        let impact = within(&Sides { now: &all, then: &all }, &options, Bounds::USUAL).unwrap();
        let not = impact.not_compared.unwrap();
        assert_eq!(
            (impact.total, not.compared_percent, not.keys_read),
            (KeyCounts::default(), 0, Some(Default::default()))
        );
    }
}
