//! How a restore of some keys ended, in figures that were seen, as the sentence that its job ends with. It must not ask the target for anything.

use crate::model::fault::Fault;
use crate::model::key_filter::SomeKeys;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::provider::local::restore::outcome::too_little_memory;
use crate::redis::replay::ReplayReport;
use crate::redis::replay::keys::Passed;
use crate::redis::replay::some::Gathered;

/// How it ended, in figures that were seen: each key that was sent was accepted or is one that was made meanwhile, and what matches was gone
/// through after that.
#[expect(clippy::too_many_arguments, reason = "each is another thing that was seen")]
pub(super) fn outcome(
    keys: &SomeKeys,
    removes: bool,
    matcher: &KeyMatcher,
    what: &str,
    gathered: &Gathered,
    report: &ReplayReport,
    passed: &Passed,
    evicted: u64,
) -> Result<String, Fault> {
    let (sent, removed) = (gathered.sent.total(), passed.removed.total());
    let by_pattern = |counts: &PatternCounts| {
        let each =
            matcher.filter().items.iter().enumerate().map(|(item, pattern)| format!("{pattern}: {}", counts.of(item)));
        if counts.total() == 0 { String::new() } else { format!(" ({})", each.collect::<Vec<_>>().join(", ")) }
    };
    let under = keys.add_prefix.as_ref().map(|prefix| format!(", under the prefix {prefix}")).unwrap_or_default();
    let mut message = format!(
        "restored {} keys that match{} as they were in {what}{under}: the target accepted each",
        report.keys,
        // Which of them were made meanwhile is not known by expression.
        if report.made == 0 { by_pattern(&gathered.sent) } else { String::new() }
    );
    if gathered.expired > 0 {
        message.push_str(&format!("; {} more had an expiry that has passed, and count as not there", gathered.expired));
    }
    message.push_str(&match removes {
        false if !keys.removes() => "; nothing was removed".to_owned(),
        false => format!(
            "; nothing was removed, for it is not known which slots of the cluster the source served then: {} other keys that match stay",
            passed.kept
        ),
        true => {
            format!(
                "; {removed} keys that match and were not there then, or have expired since, are removed{}",
                by_pattern(&passed.removed)
            )
        }
    });
    if removes && passed.kept > 0 {
        message.push_str(&format!(
            "; {} other keys that match stay, for they are in slots of the cluster that the source did not serve then",
            passed.kept
        ));
    }
    if report.made + passed.made > 0 {
        message.push_str(&format!(
            "; {} keys that match stay as clients made them meanwhile, for the safety backup does not have them ({} are in {what}, {} are not)",
            report.made + passed.made,
            report.made,
            passed.made
        ));
    }
    if evicted > 0 {
        return Err(too_little_memory(format!(
            "{message}; meanwhile the target evicted {evicted} keys to make room, and some may be of these"
        )));
    }
    if passed.met < sent.saturating_sub(gathered.may_expire) {
        let met = passed.met;
        message += &format!(
            "; afterwards only {met} of them were met as all keys were gone through: others have been removed since, by clients"
        );
    }
    Ok(message)
}
