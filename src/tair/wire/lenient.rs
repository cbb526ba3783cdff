//! Reading what arrives: numbers as text, text as numbers, lists bare or wrapped, replies in an envelope of their own.
//!
//! It never quotes a value in an error: replies hold signed URLs.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Parses the body of a reply, taking off the wrapper `{"<Action>Response": {…}}` that old gateways put around it.
///
/// # Errors
/// What is wrong and where, without quoting the body.
pub fn read_reply<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let value = parse(body)?;
    serde_json::from_value(value).map_err(|e| said(&e))
}

/// Members by which a reply says that it is an error's, in whatever letter case.
const OF_ERRORS: [&str; 3] = ["Code", "Error", "ErrorCode"];

/// Reads the reply of an action that succeeded. What has an error's code, or nothing that says it is the cloud's, is no reply: anybody on
/// the way can answer 200.
///
/// # Errors
/// As [`read_reply`].
pub fn read_success<T: DeserializeOwned>(action: &str, body: &[u8]) -> Result<T, String> {
    let (value, wrapper) = unwrapped(body)?;
    let members = || value.as_object().into_iter().flatten();
    let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let failed = members().any(|(name, value)| {
        OF_ERRORS.iter().any(|of_error| is(name, of_error)) && !value.is_null()
            || is(name, "Success") && scalar(value).is_some_and(|flag| is(&flag, "false"))
    });
    if failed {
        return Err("it has an error's code, and a status that says success".to_owned());
    }
    let id = members().find(|(name, _)| is(name, "RequestId")).and_then(|(_, id)| scalar(id));
    // Old gateways name the action around the reply instead.
    let named = wrapper.is_some_and(|wrapper| wrapper.strip_suffix("Response") == Some(action));
    if !named && id.is_none_or(|id| id.trim().is_empty()) {
        return Err("it has no RequestId, as every reply of the cloud does".to_owned());
    }
    serde_json::from_value(value).map_err(|e| said(&e))
}

/// Parses a body to an object, without its wrapper.
pub(crate) fn parse(body: &[u8]) -> Result<Value, String> {
    unwrapped(body).map(|(value, _)| value)
}

/// The object of a body, and the name of the wrapper that was around it.
fn unwrapped(body: &[u8]) -> Result<(Value, Option<String>), String> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| format!("it is not JSON (line {}, column {})", e.line(), e.column()))?;
    let Value::Object(mut map) = value else { return Err("it is not a JSON object".to_owned()) };
    let wrapper = map.keys().next().filter(|k| map.len() == 1 && k.ends_with("Response")).cloned();
    match wrapper.as_ref().and_then(|k| map.remove(k)) {
        Some(inner @ Value::Object(_)) => Ok((inner, wrapper)),
        Some(_) => Err("its wrapper holds no JSON object".to_owned()),
        None => Ok((Value::Object(map), None)),
    }
}

/// Serde quotes the value it minds; only messages of ours are repeated.
fn said(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.strip_prefix(OURS) {
        Some(ours) => ours.to_owned(),
        None if text.starts_with("missing field") => text,
        None => "a field has another form than the API promises".to_owned(),
    }
}

const OURS: &str = "reply: ";

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Text, also from a number or a boolean; missing when empty, null or anything else.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(scalar(&Value::deserialize(from)?).filter(|t| !t.is_empty()))
}

/// Text, empty when it is missing.
pub(super) fn plain_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(scalar(&Value::deserialize(from)?).unwrap_or_default())
}

/// An id: text or number, never empty.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    scalar(&Value::deserialize(from)?)
        .filter(|t| !t.is_empty())
        .ok_or_else(|| D::Error::custom(format!("{OURS}an id is missing")))
}

/// An id that need not be there: text or number as it is, empty where it is of another form.
pub(super) fn opaque_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        value => Some(scalar(&value).unwrap_or_default()),
    })
}

/// A whole number, also from text.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        #[expect(clippy::cast_possible_truncation, reason = "the API's numbers are whole; a fraction is cut")]
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
        Value::String(t) => t.trim().trim_end_matches('%').parse().ok(),
        Value::Bool(b) => Some(i64::from(b)),
        _ => None,
    })
}

/// A boolean, also from text or a number.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(scalar(&Value::deserialize(from)?).and_then(|t| super::Scalar::read(&t)))
}

/// A list, bare or as the only member of an object (`{"Backup": […]}`); empty when missing or null.
///
/// # Errors
/// When it is something else, or one of its rows cannot be read.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let rows = match Value::deserialize(from)? {
        Value::Null => return Ok(Vec::new()),
        Value::String(t) if t.is_empty() => return Ok(Vec::new()),
        Value::Array(rows) => rows,
        Value::Object(map) => match map.into_iter().map(|(_, inner)| inner).find(|v| !v.is_null()) {
            None => return Ok(Vec::new()),
            Some(Value::String(t)) if t.is_empty() => return Ok(Vec::new()),
            Some(Value::Array(rows)) => rows,
            // A list of one that some converter has flattened.
            Some(row @ Value::Object(_)) => vec![row],
            Some(_) => return Err(D::Error::custom(format!("{OURS}a list is of another form"))),
        },
        _ => return Err(D::Error::custom(format!("{OURS}a list is of another form"))),
    };
    // Serde would make a row of nothing out of an array.
    if rows.iter().any(Value::is_array) {
        return Err(D::Error::custom(format!("{OURS}a field has another form than the API promises")));
    }
    rows.into_iter()
        .map(|row| T::deserialize(row).map_err(|e| D::Error::custom(format!("{OURS}{}", said(&e)))))
        .collect()
}

/// JSON that travels as text, or as it is; missing when it is neither.
pub(super) fn inner<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        value => value,
    })
}

/// Lists are written in an object of one member, as the API does.
macro_rules! wrapped {
    ($module:ident, $member:literal) => {
        pub(super) mod $module {
            use serde::de::{DeserializeOwned, Deserializer};
            use serde::ser::{Serialize, SerializeMap as _, Serializer};

            pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(
                from: D,
            ) -> Result<Vec<T>, D::Error> {
                super::list(from)
            }

            pub(crate) fn serialize<S: Serializer, T: Serialize>(rows: &[T], to: S) -> Result<S::Ok, S::Error> {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry($member, rows)?;
                map.end()
            }
        }
    };
}

wrapped!(backup, "Backup");
wrapped!(kv_store_instance, "KVStoreInstance");
wrapped!(db_instance_attribute, "DBInstanceAttribute");
wrapped!(kv_store_region, "KVStoreRegion");
wrapped!(zone_id, "ZoneId");
wrapped!(tag, "Tag");

/// Written as text where the API has text.
pub(super) fn as_text<S: serde::Serializer, T: ToString>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_str(&value.to_string()),
        None => to.serialize_none(),
    }
}

/// Written as a number where it is one.
#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
pub(super) fn as_number<S: serde::Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    match value.as_ref().map(|text| (text, text.parse::<i64>())) {
        Some((_, Ok(number))) => to.serialize_i64(number),
        Some((text, Err(_))) => to.serialize_str(text),
        None => to.serialize_none(),
    }
}

/// Written as 1 or 0.
#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
pub(super) fn as_one_zero<S: serde::Serializer>(value: &Option<bool>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_u8(u8::from(*value)),
        None => to.serialize_none(),
    }
}

/// Written as "1" or "0".
pub(super) fn as_one_zero_text<S: serde::Serializer>(value: &Option<bool>, to: S) -> Result<S::Ok, S::Error> {
    as_text(&value.map(u8::from), to)
}
