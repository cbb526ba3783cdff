//! What a server keeps on its disk by itself: save points and the append-only file. Reads nothing.

use crate::model::calendar::invalid;
use crate::model::fault::Fault;
use crate::model::text::quoted;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What `appendfsync` may be, from what protects least to what protects most.
const FSYNC: [&str; 3] = ["no", "everysec", "always"];
/// Most save points of a change; servers come with three.
const POINTS_MAX: usize = 16;

/// The settings of a server's persistence. What is absent is not known, or in a change not named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistenceSettings {
    /// Save points as the server writes them, seconds and changes: `3600 1 300 100`; empty where it never saves by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<String>,
    /// Whether there is an append-only file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appendonly: Option<bool>,
    /// When the append-only file is flushed to the disk: `always`, `everysec` or `no`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appendfsync: Option<String>,
    /// Growth since the last rewrite, in per cent, at which the append-only file is rewritten; 0: never by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_aof_rewrite_percentage: Option<u64>,
    /// Bytes below which the append-only file is not rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_aof_rewrite_min_size: Option<u64>,
}

/// How a server's saves and rewrites stand. What is absent is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersistenceState {
    /// Whether the last save went well.
    pub saved: Option<bool>,
    /// When the last save that went well ended; a server that has just started says its start.
    pub saved_at: Option<Timestamp>,
    /// Whether a save runs.
    pub saving: bool,
    /// Changes since the last save.
    pub changes_since_save: Option<u64>,
    /// Whether the last rewrite of the append-only file went well.
    pub rewritten: Option<bool>,
    /// Whether a rewrite runs, or waits for another child to end.
    pub rewriting: bool,
    /// Whether the last write to the append-only file went well.
    pub written: Option<bool>,
    /// Bytes of the append-only file; absent without one.
    pub current_size: Option<u64>,
    /// Its bytes after the last rewrite.
    pub base_size: Option<u64>,
}

/// What is known of a server's persistence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistence {
    /// The settings.
    pub settings: PersistenceSettings,
    /// How saves and rewrites stand.
    pub state: PersistenceState,
    /// What cannot be read, why, and the next step, as sentences; empty where all can.
    pub unread: String,
}

/// The next step where a value is none.
const FORMS: &str = "save is pairs of seconds and changes, as 3600 1 300 100, or empty for none; appendfsync is always, everysec or no.";
/// The names of the settings, as servers and clouds have them, in the order in which they are set: what the append-only file is like comes
/// before the file.
const NAMES: [&str; 5] =
    ["appendfsync", "auto-aof-rewrite-percentage", "auto-aof-rewrite-min-size", "save", "appendonly"];

impl PersistenceSettings {
    /// The names under which [`Self::put`] takes values.
    pub const NAMES: [&str; 5] = NAMES;

    /// Takes over the value of a setting as a server writes it. What is no such value stays absent.
    pub fn put(&mut self, name: &str, value: &str) {
        match name {
            "save" => self.save = Some(spaced(value)),
            "appendonly" if matches!(value, "yes" | "no") => self.appendonly = Some(value == "yes"),
            "appendfsync" if FSYNC.contains(&value) => self.appendfsync = Some(value.to_owned()),
            "auto-aof-rewrite-percentage" => self.auto_aof_rewrite_percentage = value.parse().ok(),
            "auto-aof-rewrite-min-size" => self.auto_aof_rewrite_min_size = value.parse().ok(),
            _ => {}
        }
    }

    /// The value of a setting as a server takes it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        match name {
            "save" => self.save.clone(),
            "appendonly" => self.appendonly.map(|on| if on { "yes" } else { "no" }.to_owned()),
            "appendfsync" => self.appendfsync.clone(),
            "auto-aof-rewrite-percentage" => self.auto_aof_rewrite_percentage.map(|n| n.to_string()),
            "auto-aof-rewrite-min-size" => self.auto_aof_rewrite_min_size.map(|n| n.to_string()),
            _ => None,
        }
    }

    /// The settings that are not absent, in the order in which they are set.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, String)> {
        NAMES.into_iter().filter_map(|name| Some((name, self.value(name)?))).collect()
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These settings as somebody gave them, in the server's own form.
    ///
    /// # Errors
    /// `backup.policy_invalid`.
    pub fn checked(mut self) -> Result<Self, Fault> {
        if let Some(fsync) = &self.appendfsync
            && !FSYNC.contains(&fsync.as_str())
        {
            let message = format!("appendfsync {} is none of always, everysec and no", quoted(fsync));
            return Err(invalid(message).hint(FORMS));
        }
        if let Some(given) = &self.save {
            let found = points(given).filter(|found| found.len() <= POINTS_MAX).ok_or_else(|| {
                invalid(format!("save {} is no list of at most {POINTS_MAX} save points", quoted(given))).hint(FORMS)
            })?;
            let pair = |(seconds, changes): (u64, u64)| format!("{seconds} {changes}");
            self.save = Some(found.into_iter().map(pair).collect::<Vec<_>>().join(" "));
        }
        Ok(self)
    }

    /// These settings after a change; all that it does not name stays.
    #[must_use]
    pub fn with(&self, change: &Self) -> Self {
        let mut then = self.clone();
        for (name, value) in change.named() {
            then.put(name, &value);
        }
        then
    }

    /// What another state of the settings has otherwise.
    #[must_use]
    pub fn changed_to(&self, then: &Self) -> Self {
        let mut change = Self::default();
        for (name, value) in then.named().into_iter().filter(|(name, value)| self.value(name).as_ref() != Some(value)) {
            change.put(name, &value);
        }
        change
    }

    /// What would be less protected under other settings, or may be for all that is known of these, each as part of a sentence. When a
    /// file is rewritten protects nothing.
    #[must_use]
    pub fn lowered_by(&self, then: &Self) -> Vec<String> {
        let mut lowered = Vec::new();
        let unknown = |name: &str| format!("it is not known what {name} is, so it may protect less than that");
        match (self.appendonly, then.appendonly) {
            (Some(true), Some(false)) => {
                lowered.push("no append-only file any more: a crash loses what came since the last save".to_owned());
            }
            (None, Some(false)) => lowered.push(unknown("appendonly")),
            _ => {}
        }
        let rank = |fsync: &Option<String>| FSYNC.iter().position(|known| fsync.as_deref() == Some(*known));
        match (rank(&self.appendfsync), rank(&then.appendfsync)) {
            // Without a file nothing is flushed.
            _ if self.appendonly == Some(false) => {}
            (Some(now), Some(then)) if then < now => {
                let loses = if then == 0 { "as much as the system held back" } else { "about a second" };
                lowered.push(format!(
                    "appendfsync {} instead of {}: a crash of the machine loses {loses}",
                    FSYNC.get(then).unwrap_or(&""),
                    FSYNC.get(now).unwrap_or(&"")
                ));
            }
            (None, Some(then)) if then + 1 < FSYNC.len() => lowered.push(unknown("appendfsync")),
            _ => {}
        }
        match (&self.save, &then.save) {
            (Some(now), Some(then)) => {
                let after = points(then).unwrap_or_default();
                let kept = |(seconds, changes): &(u64, u64)| after.iter().any(|(s, c)| s <= seconds && c <= changes);
                let gone: Vec<String> = match points(now) {
                    Some(now) => now.into_iter().filter(|p| !kept(p)).map(|(s, c)| format!("{s} {c}")).collect(),
                    None if now == then => Vec::new(),
                    None => vec![now.clone()],
                };
                if !gone.is_empty() {
                    let left = if after.is_empty() { "nothing is saved by itself any more" } else { "saves are rarer" };
                    lowered.push(format!("the save points {} go: {left}", gone.join(" ")));
                }
            }
            (None, Some(_)) => lowered.push(unknown("save")),
            _ => {}
        }
        lowered
    }

    /// The settings that are not absent, as part of a sentence.
    #[must_use]
    pub fn describe(&self) -> String {
        let shown = |(name, value): (&str, String)| match name {
            "save" => format!("save \"{value}\""),
            _ => format!("{name} {value}"),
        };
        self.named().into_iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

impl PersistenceState {
    /// By how many per cent the append-only file has grown since its last rewrite.
    #[must_use]
    pub fn growth_percentage(&self) -> Option<u64> {
        let (current, base) = (self.current_size?, self.base_size?);
        current.saturating_sub(base).saturating_mul(100).checked_div(base)
    }
}

/// A text with one space between its words.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads save points: seconds, at least one, and changes. `None` where they are none.
fn points(text: &str) -> Option<Vec<(u64, u64)>> {
    let numbers = text.split_whitespace().map(|word| word.parse::<i32>().ok()).collect::<Option<Vec<_>>>()?;
    let pair = |pair: &[i32]| match pair {
        [seconds, changes] if *seconds > 0 => Some((u64::try_from(*seconds).ok()?, u64::try_from(*changes).ok()?)),
        _ => None,
    };
    numbers.chunks(2).map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! What protects less is told from what protects more, and what is unknown counts as more.
    use super::PersistenceSettings;

    fn of(settings: &[(&str, &str)]) -> PersistenceSettings {
        let mut all = PersistenceSettings::default();
        settings.iter().for_each(|(name, value)| all.put(name, value));
        all
    }

    #[test]
    fn less_is_told_from_more() {
        let now = of(&[("save", "3600 1 300 100"), ("appendonly", "yes"), ("appendfsync", "everysec")]);
        let lowers = |now: &PersistenceSettings, change: &[(&str, &str)]| now.lowered_by(&now.with(&of(change))).len();
        for (change, lowered) in [
            (("appendonly", "no"), 1),
            (("appendonly", "yes"), 0),
            (("appendfsync", "no"), 1),
            (("appendfsync", "always"), 0),
            (("save", ""), 1),
            (("save", "3600 1"), 1),
            (("save", "3600 1 300 101"), 1),
            (("save", "3600 2 300 100"), 1),
            // Every second covers both.
            (("save", "1 1"), 0),
            (("save", "3600 1 300 100 60 10000"), 0),
            (("auto-aof-rewrite-percentage", "0"), 0),
        ] {
            assert_eq!(lowers(&now, &[change]), lowered, "{change:?}");
        }
        assert_eq!(lowers(&now, &[("save", ""), ("appendonly", "no"), ("appendfsync", "no")]), 3);
        // Nothing is flushed where there is no file.
        assert_eq!(lowers(&of(&[("appendonly", "no"), ("appendfsync", "always")]), &[("appendfsync", "no")]), 0);
        let unknown = PersistenceSettings::default();
        assert_eq!(lowers(&unknown, &[("appendonly", "no"), ("appendfsync", "everysec"), ("save", "1 1")]), 3);
        assert_eq!(lowers(&unknown, &[("appendonly", "yes"), ("appendfsync", "always")]), 0);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        let save = |text: &str| of(&[("save", text)]).checked();
        assert_eq!(save("  3600  1 ").unwrap().save.unwrap(), "3600 1");
        assert_eq!(save("").unwrap().save.unwrap(), "");
        for wrong in ["3600", "0 1", "a b", "3600 -1", "99999999999 1"] {
            assert_eq!(save(wrong).unwrap_err().code, "backup.policy_invalid", "{wrong}");
        }
        let fsync = PersistenceSettings { appendfsync: Some("often".into()), ..PersistenceSettings::default() };
        assert_eq!(fsync.checked().unwrap_err().code, "backup.policy_invalid");
    }
}
