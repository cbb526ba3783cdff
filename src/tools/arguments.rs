//! The arguments of every tool: bounded first, then read. What is too much is refused by the name of its limit and its figure, and
//! nothing of it is repeated, compared or copied.

use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean, quoted, unknown_field};
use crate::model::time::{Reading, parse as written_out, read, written_short};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use std::time::Duration;

/// Longest name of a tool or an argument, in bytes.
pub const NAME_MAX: usize = 64;
/// Most arguments of a call; no tool has half as many.
const ARGUMENTS_MAX: usize = 32;
/// Most items of an argument that is a list.
const ITEMS_MAX: usize = 32;
/// Levels that arguments may be nested: the arguments themselves, and the list that one of them may be.
const DEPTH_MAX: usize = 2;
/// Longest text of an argument, in bytes, where [`LONGER`] has no other limit. Most have a shorter one of their own.
const TEXT_MAX: usize = 1024;
/// The arguments whose text may be longer: a path as long as the system takes them, and the ids of all shards of a large cluster.
const LONGER: [(&str, usize); 2] = [("directory", 4096), ("backup_id", 256 * 21)];

/// Longest wait that a call may ask for, in seconds.
pub const MAX_WAIT: u64 = 3600;

/// How long a call waits: as long as it says, in seconds, or as usual where it does not.
///
/// # Errors
/// `arguments.invalid` where that is longer than a call may wait.
pub fn wait(wait_seconds: Option<u64>, usual: u64) -> Result<Duration, Fault> {
    match wait_seconds.unwrap_or(usual) {
        wait if wait <= MAX_WAIT => Ok(Duration::from_secs(wait)),
        wait => {
            Err(Fault::new(Kind::Usage, "arguments.invalid", format!("wait_seconds is {wait}; at most {MAX_WAIT}"))
                .hint("Wait less, and follow it with describe_jobs."))
        }
    }
}

/// Reads a tool's arguments from JSON. An explicit null counts as an argument left out: some clients send every argument they know.
///
/// # Errors
/// `arguments.invalid`, naming the argument and what is wrong with it, and the nearest right name for an unknown one.
pub fn parse<A: DeserializeOwned>(mut json: Value) -> Result<A, Fault> {
    check(&json)?;
    if let Some(given) = json.as_object_mut() {
        given.retain(|_, value| !value.is_null());
    }
    serde_path_to_error::deserialize(json).map_err(|e| {
        let at = e.path().to_string();
        let reason = e
            .into_inner()
            .to_string()
            .replace("expected usize", "expected a whole number")
            .replace("expected u64", "expected a whole number")
            .replace("expected u32", "expected a whole number");
        let hint = match unknown_field(&reason).filter(|_| reason.starts_with("unknown field")) {
            Some((_, Some(near))) => format!("Did you mean {near}? The tool's input schema names every argument."),
            Some((_, None)) => "Leave it out; the tool's input schema names every argument. No argument can stand in for a person's yes.".into(),
            None => "The tool's input schema gives each argument's type; ids are strings, numbers stand without quotes.".into(),
        };
        let message = if at == "." || reason.contains(" field `") { reason } else { format!("{at}: {reason}") };
        Fault::new(Kind::Usage, "arguments.invalid", clean(&message)).hint(hint)
    })
}

/// The arguments that are times, each with what it is for.
const TIMES: [(&str, Reading); 4] = [
    ("start_time", Reading::From),
    ("end_time", Reading::UpTo),
    ("restore_time", Reading::Moment),
    ("time_shift", Reading::Moment),
];

/// A time that was given by its day or its distance, and how it was read.
pub struct ReadTime {
    /// Name of the argument.
    pub name: &'static str,
    /// What was given.
    pub given: String,
    /// The time that stands in its place now.
    pub at: String,
}

impl ReadTime {
    /// Reads a person's time; `None` where it is written out.
    ///
    /// # Errors
    /// `time.bad_format`: no time, or a day where one moment is meant.
    pub fn of(name: &'static str, given: &str, reading: Reading, now: Timestamp) -> Result<Option<Self>, Fault> {
        if written_out(name, given).is_ok() {
            return Ok(None);
        }
        let at = written_short(read(name, given, reading, now)?);
        Ok(Some(Self { name, given: given.to_owned(), at }))
    }

    /// The note that tells how it was read.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("note: --{} {} is {}", self.name.replace('_', "-"), self.given, self.at)
    }
}

/// Writes out the times of a person's arguments that are given by their day or their distance, so that every call that is made with these
/// arguments means the same.
///
/// # Errors
/// `time.bad_format`: no time, or a day where one moment is meant.
pub fn write_out_times(arguments: &mut Value, now: Timestamp) -> Result<Vec<ReadTime>, Fault> {
    let mut times = Vec::new();
    for (name, reading) in TIMES {
        let Some(value) = arguments.get_mut(name) else { continue };
        let Some(time) = value.as_str().map(|given| ReadTime::of(name, given, reading, now)).transpose()?.flatten()
        else {
            continue;
        };
        *value = time.at.clone().into();
        times.push(time);
    }
    Ok(times)
}

/// A list of texts, or one text with commas, as the cloud's own commands have it.
///
/// # Errors
/// When it is neither.
pub fn comma_list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let split = |text: &str| text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
    let given = match Value::deserialize(from)? {
        // Some clients write a list as a text of JSON.
        Value::String(text) if text.trim_start().starts_with('[') => serde_json::from_str(&text).unwrap_or_default(),
        Value::Null => return Ok(None),
        given => given,
    };
    match given {
        Value::String(text) => Ok(Some(split(&text))),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(split))
            .collect::<Option<Vec<_>>>()
            .map(|lists| Some(lists.concat()))
            .ok_or_else(|| D::Error::custom("expected a list of texts")),
        _ => Err(D::Error::custom("expected a list of texts, or one text with commas")),
    }
}

/// A text, also where it is written as a number.
///
/// # Errors
/// When it is neither.
pub fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        // 1.0 is 1: some clients know no whole numbers.
        Value::Number(number) => Ok(Some(match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        })),
        _ => Err(D::Error::custom("expected a text or a number")),
    }
}

/// A boolean, also as 1 or 0, as the cloud's own commands have it.
///
/// # Errors
/// When it is neither.
pub fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Bool(on) => Ok(Some(on)),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") || text.trim() == "1" => Ok(Some(true)),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") || text.trim() == "0" => Ok(Some(false)),
        value if value.as_f64() == Some(1.0) => Ok(Some(true)),
        value if value.as_f64() == Some(0.0) => Ok(Some(false)),
        _ => Err(D::Error::custom("expected true or false")),
    }
}

/// Checks that arguments are within their limits.
fn check(json: &Value) -> Result<(), Fault> {
    let too_much = |message: String| {
        Err(Fault::new(Kind::Usage, "arguments.invalid", message)
            .hint("The tool's input schema names every argument. Nothing was looked at or changed."))
    };
    let Some(given) = json.as_object() else { return Ok(()) };
    if given.len() > ARGUMENTS_MAX {
        return too_much(format!("there are {} arguments; at most {ARGUMENTS_MAX}", given.len()));
    }
    for (name, value) in given {
        if name.len() > NAME_MAX {
            return too_much(format!("the name of an argument has {} bytes; at most {NAME_MAX}", name.len()));
        }
        let limit = LONGER.iter().find(|(longer, _)| longer == name).map_or(TEXT_MAX, |(_, limit)| *limit);
        if let Err(why) = bounded(value, limit, DEPTH_MAX) {
            return too_much(format!("{} {why}", shown(name)));
        }
    }
    Ok(())
}

/// The name of an argument, for a message: as it is where it can be one of ours.
fn shown(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { name.to_owned() } else { quoted(name) }
}

/// Whether a value is within its limits; else which one it breaks, as part of a sentence.
fn bounded(value: &Value, text_max: usize, levels: usize) -> Result<(), String> {
    let items: &mut dyn Iterator<Item = (Option<&String>, &Value)> = match value {
        Value::String(text) if text.len() > text_max => {
            return Err(format!("has {} bytes; at most {text_max}", text.len()));
        }
        Value::Array(items) if items.len() > ITEMS_MAX => {
            return Err(format!("has {} items; at most {ITEMS_MAX}", items.len()));
        }
        Value::Object(fields) if fields.len() > ITEMS_MAX => {
            return Err(format!("has {} fields; at most {ITEMS_MAX}", fields.len()));
        }
        Value::Array(_) | Value::Object(_) if levels <= 1 => {
            return Err(format!("is nested too deep; at most {DEPTH_MAX} levels, the arguments themselves included"));
        }
        Value::Array(items) => &mut items.iter().map(|item| (None, item)),
        Value::Object(fields) => &mut fields.iter().map(|(name, field)| (Some(name), field)),
        _ => return Ok(()),
    };
    for (name, item) in items {
        if let Some(name) = name.filter(|name| name.len() > NAME_MAX) {
            return Err(format!("has a field whose name has {} bytes; at most {NAME_MAX}", name.len()));
        }
        bounded(item, text_max, levels - 1).map_err(|why| format!("has an item that {why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NAME_MAX, TEXT_MAX, parse, write_out_times};
    use crate::tools::download_backup::Args;
    use serde_json::{Value, json};

    fn refused(arguments: Value) -> String {
        let fault = parse::<Args>(arguments).unwrap_err();
        assert_eq!(fault.code, "arguments.invalid");
        assert!(fault.message.len() < 300, "{}", fault.message);
        fault.message
    }

    /// What a person says of a time is written out once, as that argument means it; a time that is written out stays as it is.
    #[test]
    fn times_are_written_out_once() {
        let now = "2026-11-27T00:30:15Z".parse().unwrap();
        let mut given = json!({ "instance_id": "today", "start_time": "yesterday", "end_time": "yesterday", "restore_time": "2h ago",
            "time_shift": "2026-11-01T08:00+08:00", "note": null });
        let read = write_out_times(&mut given, now).unwrap();
        assert_eq!(read.iter().map(|time| time.name).collect::<Vec<_>>(), ["start_time", "end_time", "restore_time"]);
        assert_eq!((read[2].given.as_str(), read[2].at.as_str()), ("2h ago", "2026-11-26T22:30:15Z"));
        let wanted = json!({ "instance_id": "today", "start_time": "2026-11-26T00:00:00Z",
            "end_time": "2026-11-26T23:59:59.999Z", "restore_time": "2026-11-26T22:30:15Z",
            "time_shift": "2026-11-01T08:00+08:00", "note": null });
        assert_eq!(given, wanted);
        assert!(write_out_times(&mut given, now).unwrap().is_empty());
        for (name, text) in [("restore_time", "yesterday"), ("time_shift", "2026-11-23"), ("start_time", "soon")] {
            let Err(fault) = write_out_times(&mut json!({ name: text }), now) else { panic!("{name} {text}") };
            assert_eq!(fault.code, "time.bad_format");
        }
    }

    /// The cloud's own commands have lists as one text, and a type as a number; both are read, and nothing else.
    #[test]
    fn the_forms_of_the_clouds_commands_are_read() {
        use crate::tools::{modify_backup_policy, restore_instance};
        let days = |value: Value| {
            let given = json!({ "instance_id": "a", "preferred_backup_period": value });
            parse::<modify_backup_policy::Args>(given).map(|args| args.preferred_backup_period.unwrap_or_default())
        };
        for form in [
            json!("Monday,Friday"),
            json!("Monday, Friday"),
            json!(["Monday", "Friday"]),
            json!(["Monday,Friday"]),
            json!("[\"Monday\", \"Friday\"]"),
        ] {
            assert_eq!(days(form).unwrap(), ["Monday", "Friday"]);
        }
        let log = |value: Value| {
            let given = json!({ "instance_id": "a", "enable_backup_log": value });
            parse::<modify_backup_policy::Args>(given).map(|args| args.enable_backup_log)
        };
        for (on, form) in [
            (true, json!(true)),
            (true, json!(1)),
            (true, json!("1")),
            (false, json!(0)),
            (false, json!("0")),
            (true, json!("True")),
            (false, json!(0.0)),
        ] {
            assert_eq!(log(form).unwrap(), Some(on));
        }
        for wrong in [json!([1, "Monday"]), json!({"a": 1}), json!("[\"Monday\""), json!(7)] {
            assert!(days(wrong.clone()).is_err(), "{wrong}");
        }
        for wrong in [json!(2), json!("on"), json!([1]), json!(0.5), json!("01"), json!("")] {
            assert_eq!(log(wrong.clone()).unwrap_err().code, "arguments.invalid", "{wrong}");
        }
        let kind = |value: Value| {
            let given = json!({ "instance_id": "a", "restore_type": value });
            parse::<restore_instance::Args>(given).map(|args| args.restore_type)
        };
        for form in [json!(1), json!("1"), json!(1.0)] {
            assert_eq!(kind(form).unwrap().as_deref(), Some("1"));
        }
        for wrong in [json!(true), json!({ "a": 1 }), json!([1])] {
            assert_eq!(days(wrong.clone()).unwrap_err().code, "arguments.invalid", "{wrong}");
            assert_eq!(kind(wrong.clone()).unwrap_err().code, "arguments.invalid", "{wrong}");
        }
    }

    /// What is beyond a limit is refused by that limit, and nothing of it is repeated; what is at the limit is read.
    #[test]
    fn every_limit_is_named_and_nothing_is_echoed() {
        let long = |n: usize| "z".repeat(n);
        let given = |name: &str, value: Value| json!({ "instance_id": "a", "backup_id": "b", name: value });
        for (name, limit) in
            [("instance_id", TEXT_MAX), ("file_name", TEXT_MAX), ("directory", 4096), ("backup_id", 5376)]
        {
            assert!(parse::<Args>(given(name, long(limit).into())).is_ok(), "{name}");
            let message = refused(given(name, long(limit + 1).into()));
            assert!(
                message.contains(name) && message.contains(&limit.to_string()) && !message.contains("zz"),
                "{message}"
            );
        }
        let mut nested = json!("x");
        for _ in 0..100 {
            nested = json!([nested]);
        }
        let many: serde_json::Map<String, Value> = (0..33).map(|n| (format!("a{n}"), Value::Null)).collect();
        for (arguments, told) in [
            (given(&long(NAME_MAX + 1), 1.into()), "64"),
            (given(&long(8 << 20), 1.into()), "64"),
            (given("directory", nested), "2 levels"),
            (given("directory", json!({ "a": { "b": 1 } })), "2 levels"),
            (given("directory", json!({ long(65): 1 })), "64"),
            (given("directory", json!(vec![1; 33])), "32"),
            (given("x", json!([long(TEXT_MAX + 1)])), "1024"),
            (many.into(), "32"),
        ] {
            let message = refused(arguments);
            assert!(message.contains(told) && !message.contains("zz"), "{told}: {message}");
        }
        assert!(refused(given("note", "x".into())).contains("unknown field"));
    }
}
