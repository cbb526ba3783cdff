//! What the join counted, and the names of that, as it is told.

use super::join::{Example, Joined};
use super::names::Names;
use super::record::Keys;
use crate::model::impact::{ExampleKey, ImpactRow, KeyCounts, KeyImpact, KeysRead, NotCompared};

/// Most rows that are told: those by prefix, and one for each database, of which there may be thousands.
const ROWS_MAX: usize = 1024;

/// The whole answer.
pub(super) fn impact(joined: &Joined, names: &Names, keys: &Keys) -> KeyImpact {
    let (mut rows, mut others) = (Vec::new(), joined.total.clone());
    for (place, counts) in &joined.places {
        // Without a name it stays among the others.
        let (Some(prefix), Some(others)) = (names.prefixes.get(place), others.get_mut(place.db() as usize)) else {
            continue;
        };
        *others = others.without(*counts);
        rows.push(ImpactRow { db: keys.db(place.db()), prefix: Some(prefix.clone()), counts: *counts });
    }
    for (db, counts) in (0_u32..).zip(others) {
        if counts != KeyCounts::default() {
            rows.push(ImpactRow { db: keys.db(db), prefix: None, counts });
        }
    }
    rows.sort_by(|a, b| {
        let by = |row: &ImpactRow| (std::cmp::Reverse(row.counts.different()), row.db);
        by(a).cmp(&by(b)).then_with(|| a.prefix.cmp(&b.prefix))
    });
    let rows_left_out = rows.iter().skip(ROWS_MAX).filter(|row| row.counts.different() > 0).count() as u64;
    rows.truncate(ROWS_MAX);
    let examples = |largest: &[Example]| {
        let named = largest.iter().filter_map(|((bytes, _), record)| {
            let key = names.keys.get(&record.id())?.clone();
            Some(ExampleKey { db: keys.db(record.place().db()), key, bytes: *bytes })
        });
        named.collect()
    };
    let [lost, changed, added] = &joined.largest;
    let mut largest = joined.largest.iter().flatten();
    let names_missing = joined.places_missing
        || joined.places.iter().any(|(place, _)| !names.prefixes.contains_key(place))
        || largest.any(|(_, record)| !names.keys.contains_key(&record.id()));
    KeyImpact {
        total: joined.total.iter().fold(KeyCounts::default(), |sum, counts| sum.plus(*counts)),
        rows,
        rows_left_out,
        libraries_differ: false,
        lost: examples(lost),
        changed: examples(changed),
        added: examples(added),
        names_missing,
        not_compared: (joined.compared_percent < 100).then(|| out_of_time(joined.compared_percent)),
    }
}

/// So much was compared in time.
fn out_of_time(compared_percent: u64) -> NotCompared {
    NotCompared { compared_percent, why: "the time allowed for it was over".to_owned(), keys_read: None }
}

/// Nothing was compared, for only so many keys of either state were read in time.
pub(super) fn not_read(met: [u64; 2]) -> KeyImpact {
    let keys_read = Some(met.map(|read| KeysRead { read, of: None }));
    KeyImpact { not_compared: Some(NotCompared { keys_read, ..out_of_time(0) }), ..KeyImpact::default() }
}
