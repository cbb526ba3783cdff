//! Matches keys with a list of regular expressions: whole keys, byte by byte, whatever bytes a key has.
//!
//! What a match costs is bounded by the length of the key times the size of the compiled list, and that by a constant.

use crate::model::fault::{Fault, Kind};
use crate::model::key_filter::{KeyFilter, SomeKeys, for_us};
use crate::model::text::quoted;
use regex::bytes::{RegexSet, RegexSetBuilder};

/// Bytes that a compiled expression may take: each byte of a key may cost a step through all of it.
const PROGRAM_BYTES_MAX: usize = 64 << 10;
/// Bytes that the compiled list may take.
const LIST_BYTES_MAX: usize = 256 << 10;
/// Bytes of what a list's matching remembers.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// A list that was compiled, and what the keys are called in the target.
#[derive(Debug, Clone)]
pub struct KeyMatcher {
    filter: KeyFilter,
    prefix: Vec<u8>,
    set: RegexSet,
}

impl KeyMatcher {
    /// Reads and compiles.
    ///
    /// # Errors
    /// `restore.filter_key`, where the list is none, or needs more memory than it may.
    pub fn new(keys: &SomeKeys) -> Result<Self, Fault> {
        let filter = for_us(&keys.filter_key)?;
        let refused = |item: &str, why: &regex::Error| {
            let message = match why {
                regex::Error::CompiledTooBig(_) => {
                    format!("filter_key: {} needs more memory than an expression may", quoted(item))
                }
                why => format!(
                    "filter_key: {} cannot be matched with keys, which are bytes: {}",
                    quoted(item),
                    why.to_string().lines().last().unwrap_or_default()
                ),
            };
            Fault::new(Kind::Usage, "restore.filter_key", message).hint(
                "Repeat less, and name characters that are no ASCII one by one, as in (?:ä|ö): '.', \\w and classes stand for one byte.",
            )
        };
        // One by one first, so that the one is named that is wrong.
        for item in &filter.items {
            compile(std::slice::from_ref(item), PROGRAM_BYTES_MAX).map_err(|why| refused(item, &why))?;
        }
        let set = compile(&filter.items, LIST_BYTES_MAX).map_err(|why| refused(&keys.filter_key, &why))?;
        let prefix = keys.add_prefix.clone().unwrap_or_default().into_bytes();
        Ok(Self { filter, prefix, set })
    }

    /// What was read.
    #[must_use]
    pub const fn filter(&self) -> &KeyFilter {
        &self.filter
    }

    /// What stands before the names that the keys get in the target; empty for nothing.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether any expression matches a key of the source.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        self.set.is_match(key)
    }

    /// The name that a key has in the source which is called so in the target; `None` where it is none of the keys.
    #[must_use]
    pub fn source_name<'k>(&self, target_name: &'k [u8]) -> Option<&'k [u8]> {
        target_name.strip_prefix(self.prefix.as_slice()).filter(|key| self.matches(key))
    }

    /// The places in the list of all expressions that match a key of the source.
    #[must_use]
    pub fn items(&self, key: &[u8]) -> Vec<usize> {
        if self.matches(key) { self.set.matches(key).iter().collect() } else { Vec::new() }
    }

    /// Counts a key of the source with every expression that matches it.
    pub fn count(&self, key: &[u8], counts: &mut PatternCounts) {
        counts.add(&self.items(key));
    }
}

/// Keys by the expression that matches them, in the order of the list, and all of them: a key that two match is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternCounts(Vec<u64>, u64);

impl PatternCounts {
    /// Keys that the expression at this place of the list matches.
    #[must_use]
    pub fn of(&self, item: usize) -> u64 {
        self.0.get(item).copied().unwrap_or_default()
    }

    /// Counts one key that the expressions at these places match.
    pub fn add(&mut self, items: &[usize]) {
        let most = items.iter().max().map_or(0, |most| most + 1);
        self.0.resize(self.0.len().max(most), 0);
        for item in items {
            if let Some(count) = self.0.get_mut(*item) {
                *count += 1;
            }
        }
        self.1 += 1;
    }

    /// Keys that any expression matches.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.1
    }
}

fn compile(items: &[String], most: usize) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(items.iter().map(|item| format!(r"\A(?:{item})\z")))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(most)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Whole keys are matched, of any bytes; what is not one expression, or too large a one, is refused by name.
    use super::*;
    use crate::model::key_filter::{SHOWN, of_keys};

    fn keys(filter_key: &str) -> SomeKeys {
        SomeKeys { filter_key: filter_key.into(), add_prefix: None }
    }

    #[test]
    fn whole_keys_of_any_bytes() {
        for (list, matched, not) in [
            ("h.?llo", vec!["hllo", "hello"], vec!["heello", "hello!", "ahllo", ""]),
            ("h.*llo", vec!["hllo", "heeeello", "h\n\0llo"], vec!["hell"]),
            ("user:1,session:.*", vec!["user:1", "session:", "session:a,b"], vec!["user:12", "xsession:1"]),
            ("a|bc", vec!["a", "bc"], vec!["ac", "abc", "b"]),
            ("(?i)USER:.*", vec!["user:1", "USER:2"], vec!["us"]),
            ("(?m)^a$|b", vec!["a", "b"], vec!["a\nb", "a\n"]),
            ("用户:.*", vec!["用户:1", "用户:ü"], vec!["用:1"]),
            ("[^x]+", vec!["a\nb"], vec!["axb", ""]),
            ("\\$x\\.y", vec!["$x.y"], vec!["$xay"]),
        ] {
            let matcher = KeyMatcher::new(&keys(list)).unwrap();
            for key in matched {
                assert!(matcher.matches(key.as_bytes()), "{list}: {key:?}");
            }
            for key in not {
                assert!(!matcher.matches(key.as_bytes()), "{list}: {key:?}");
            }
        }
        let matcher = KeyMatcher::new(&keys("k.,\\xff+")).unwrap();
        assert!(matcher.matches(b"k\xff") && matcher.matches(b"\xff\xff") && !matcher.matches(b"k\xc3\xbc"));
    }

    #[test]
    fn keys_are_counted_by_expression_and_once() {
        let matcher = KeyMatcher::new(&SomeKeys { filter_key: "a.*,.*b".into(), add_prefix: Some("p.".into()) });
        let (matcher, mut counts) = (matcher.unwrap(), PatternCounts::default());
        for key in ["ab", "a", "xb"] {
            matcher.count(key.as_bytes(), &mut counts);
        }
        assert_eq!((counts.of(0), counts.of(1), counts.of(2), counts.total()), (2, 2, 0, 3));
        assert_eq!(matcher.source_name(b"p.ab"), Some(&b"ab"[..]));
        assert_eq!((matcher.source_name(b"ab"), matcher.source_name(b"p.x")), (None, None));
    }

    #[test]
    fn what_cannot_be_matched_is_refused_by_name() {
        for (list, named) in [
            ("a,(?:x{1000}){1000}", "memory"),
            (".*[13579bdf].{12}(?:.?){20000}", "memory"),
            (".*[13579bdf].{12}(?:.?){2000}", "memory"),
            ("a,[ä]", "[ä]"),
            ("\\pL", "pL"),
            ("(?u:.)x", "flag u"),
            ("(?=a)b", "look around"),
            ("{a}:1", "braces"),
            ("*a", "*a"),
            ("(?x)a # b", "(?x)"),
        ] {
            let fault = KeyMatcher::new(&keys(list)).unwrap_err();
            assert!(fault.code == "restore.filter_key" && fault.message.contains(named), "{list}: {fault:?}");
        }
    }

    /// What people write fits: many names, long ones, and classes that are repeated.
    #[test]
    fn what_is_meant_for_keys_is_not_too_large() {
        let names: Vec<String> = (0..40).map(|n| format!("tenant:{n}:session:[0-9a-f]{{40}}(:.*)?")).collect();
        for list in [names.join(","), "x".repeat(1000), "(?i)user:\\w{64}:(?:.?){200}".to_owned()] {
            assert!(KeyMatcher::new(&keys(&list)).is_ok(), "{list}");
        }
    }

    /// Each step of a call can be made, and all of them name what the list names.
    #[test]
    fn a_long_list_is_named_in_steps() {
        assert_eq!(of_keys("restore", "a.*, b|c"), "restore and filter_key a.*,b|c");
        let item = |n: usize| format!("{}:{n}", "x".repeat(SHOWN - 2 - n * 13));
        let list = (0..9).map(item).collect::<Vec<_>>().join(", ");
        let named = of_keys("restore", &list);
        let steps: Vec<&str> = named.split("filter_key ").skip(1).map(|step| step.split(';').next().unwrap()).collect();
        assert!(steps.len() > 3 && steps.iter().all(|step| step.chars().count() <= SHOWN), "{named}");
        assert_eq!(steps.join(", ").replace(", ", ","), list.replace(", ", ","));
    }

    /// The list for the target names what the prefix has made of the keys, and nothing else.
    #[test]
    fn the_keys_of_the_target_have_a_list_of_their_own() {
        let some = SomeKeys { filter_key: "a.*, b|c".into(), add_prefix: Some("x.{1}:".into()) };
        let list = some.in_target().unwrap();
        let matcher = KeyMatcher::new(&keys(&list)).unwrap();
        for (key, matched) in
            [("x.{1}:a1", true), ("x.{1}:b", true), ("x.{1}:c", true), ("c", false), ("x-{1}:c", false)]
        {
            assert_eq!(matcher.matches(key.as_bytes()), matched, "{list}: {key}");
        }
        assert_eq!(SomeKeys { filter_key: "a".repeat(200), add_prefix: Some("p".into()) }.in_target(), None);
        for asks_beside in ["^user:.*$", "a,(^b|c)", r"\bä", r"a\z", "p(?m:$)"] {
            let some = SomeKeys { filter_key: asks_beside.into(), add_prefix: Some("r:".into()) };
            assert_eq!(some.in_target(), None, "{asks_beside}");
        }
        let class = SomeKeys { filter_key: r"[^a]\$ä\w".into(), add_prefix: Some("r:".into()) };
        assert_eq!(class.in_target().as_deref(), Some(r"r:(?:[^a]\$ä\w)"));
        assert_eq!(keys("a,b").in_target().as_deref(), Some("a,b"));
    }
}
