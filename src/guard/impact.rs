//! The impact of an act, for the person who is asked: the data now, the data afterwards, what is lost, and the way back.

use crate::model::impact::{ExampleKey, ImpactRow, KeyCounts, KeyImpact};
use crate::model::text::{bytes, clean, grouped, quoted};
use serde::{Deserialize, Serialize};

/// Prefixes that a line of the question names.
const PREFIXES_TOLD: usize = 3;

/// What an act changes and costs, each field part of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// What the instance, or the vault, holds now.
    pub now: String,
    /// What the instance, or the vault, holds afterwards.
    pub after: String,
    /// What is lost, or what is paid.
    pub lost: String,
    /// The method in one word, such as `replication` or `DeleteBackup`.
    pub how: String,
    /// What the method means for the instance.
    pub how_meaning: String,
    /// How to get the old state back. For an act with a safety backup the plan names that set, and adds this as a remark.
    pub way_back: String,
    /// What becomes of keys, where a provider can tell: by the backups at rest, not by another look at the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyImpact>,
}

/// What becomes of keys, for the person who is asked: each line with what it is about, those that say what is lost, changed and added first.
#[must_use]
pub fn key_lines(keys: &KeyImpact) -> Vec<(&'static str, String)> {
    let partly = keys.not_compared.as_ref();
    if let Some(none) = partly.filter(|partly| partly.compared_percent == 0) {
        return vec![("Keys", format!("not compared: {}", clean(&none.why)))];
    }
    let line = |count: fn(&KeyCounts) -> u64, largest: &[ExampleKey], more: String| {
        format!("{}{}{more}", by_prefix(keys, count), largest.first().map(example).unwrap_or_default())
    };
    let same = format!("; {} stay as they are", grouped(keys.total.untouched));
    let expired = match keys.total.expired {
        0 => String::new(),
        n => format!("; {} have expired by then", grouped(n)),
    };
    let mut lines = vec![
        ("Keys lost", line(|counts| counts.lost, &keys.lost, String::new())),
        ("Keys changed", line(|counts| counts.changed, &keys.changed, same)),
        ("Keys added", line(|counts| counts.added, &keys.added, expired)),
    ];
    if keys.names_missing {
        lines.push(("Key names", "some are missing, as the time allowed for it (impact_seconds) was over".to_owned()));
    }
    lines.extend(partly.map(|partly| {
        let left = 100 - partly.compared_percent.min(100);
        ("Keys not compared", format!("{left} percent, and these are of the others: {}", clean(&partly.why)))
    }));
    lines
}

/// Keys of one class: how many, and of which prefixes the most.
fn by_prefix(keys: &KeyImpact, count: fn(&KeyCounts) -> u64) -> String {
    let all = count(&keys.total);
    if all == 0 {
        return "none".to_owned();
    }
    let mut rows: Vec<&ImpactRow> =
        keys.rows.iter().filter(|row| row.prefix.is_some() && count(&row.counts) > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(count(&row.counts)));
    rows.truncate(PREFIXES_TOLD);
    let told: u64 = rows.iter().map(|row| count(&row.counts)).sum();
    let mut parts: Vec<String> = rows
        .into_iter()
        .map(|row| {
            // Data, whatever it says: in quotes.
            let prefix = quoted(row.prefix.as_deref().unwrap_or_default());
            format!("db{} {prefix} {}", row.db, grouped(count(&row.counts)))
        })
        .collect();
    if told > 0 && told < all {
        parts.push(format!("others {}", grouped(all - told)));
    }
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("{}{parts}", grouped(all))
}

/// The largest key of a class, behind its counts.
fn example(key: &ExampleKey) -> String {
    format!("; the largest is {} in db{}, {}", quoted(&key.key), key.db, bytes(key.bytes))
}

/// Another call that reaches the same end where the act itself is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Why the act is not possible.
    pub why: String,
    /// The call that works instead.
    pub call: String,
}

impl Alternative {
    /// A call that is offered where a pre-check has said already why the act is not possible.
    #[must_use]
    pub fn offered(call: String) -> Self {
        Self { why: offer(&call), call }
    }
}

/// The sentence that offers a call, and says nothing else.
#[must_use]
pub fn offer(call: &str) -> String {
    format!("What can be had instead: {call}.")
}

#[cfg(test)]
mod tests {
    //! The lines say what was counted, no more than that, and show keys as data.
    use super::*;
    use crate::model::impact::NotCompared;

    fn row(prefix: Option<&str>, lost: u64, added: u64) -> ImpactRow {
        let counts = KeyCounts { lost, added, ..KeyCounts::default() };
        ImpactRow { db: 0, prefix: prefix.map(str::to_owned), counts }
    }

    #[test]
    fn three_lines_that_matter() {
        let keys = KeyImpact {
            total: KeyCounts { lost: 1204, changed: 0, added: 7, untouched: 40_000, expired: 2 },
            rows: vec![
                row(Some("user:"), 1100, 0),
                row(Some("a\"."), 50, 1),
                row(Some("b:"), 40, 5),
                row(Some("c:"), 4, 1),
                row(None, 10, 0),
            ],
            lost: vec![ExampleKey { db: 0, key: "user:\"17".into(), bytes: 2048 }],
            ..KeyImpact::default()
        };
        let lost = "1,204 (db0 \"user:\" 1,100, db0 \"a'.\" 50, db0 \"b:\" 40, others 14); the largest is \"user:'17\" in db0, 2.0 KiB";
        let added = "7 (db0 \"b:\" 5, db0 \"a'.\" 1, db0 \"c:\" 1); 2 have expired by then";
        let all = [("Keys lost", lost), ("Keys changed", "none; 40,000 stay as they are"), ("Keys added", added)];
        assert_eq!(key_lines(&keys), all.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn what_was_not_compared_says_so() {
        let partly = |compared_percent| KeyImpact {
            not_compared: Some(NotCompared { compared_percent, why: "the time was over".into(), keys_read: None }),
            ..KeyImpact::default()
        };
        assert_eq!(key_lines(&partly(0)), [("Keys", "not compared: the time was over".to_owned())]);
        let last = key_lines(&partly(60)).pop();
        let told = "40 percent, and these are of the others: the time was over";
        assert_eq!(last, Some(("Keys not compared", told.to_owned())));
        let nameless = key_lines(&KeyImpact { names_missing: true, ..KeyImpact::default() }).pop();
        let told = "some are missing, as the time allowed for it (impact_seconds) was over";
        assert_eq!(nameless, Some(("Key names", told.to_owned())));
    }
}
